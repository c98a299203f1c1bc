/* SPDX-License-Identifier: ISC */
/*
 * A fast SMTP server for measurements: one process, epoll, throws content away. It answers as
 * little as a client needs, and tells on standard output when the N-th message has arrived.
 *
 * usage: sink [-v] [-a address] [-d seconds] [-n messages] [-t file] port
 * Prints "ready" when it listens, and after N messages (at SIGTERM, without -n) one line:
 *   messages sessions first last      (first and last: seconds on the monotonic clock)
 * With -d every reply comes that much later. With -v also a line "at TIME" for each message; with
 * -t it offers STARTTLS, key and certificate being in that file. SIGTERM ends it.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FD = 20000, IN_SIZE = 4096, OUT_SIZE = 1024, READ_SIZE = 65536, EVENTS = 256 };

struct conn {
	bool in_data;
	bool quit;
	bool to_tls;     /* behind the replies that are to be written */
	SSL *ssl;        /* NULL: in the clear */
	bool waits;      /* for the time of its replies */
	unsigned serial; /* which session it is */
	unsigned tail;   /* the last four bytes of content, for CRLF.CRLF */
	size_t in_len;   /* an unfinished command line */
	size_t out_len;  /* replies not yet written */
	char in[IN_SIZE];
	char out[OUT_SIZE];
};

/* Replies that wait: the time is the same for all, so they are in order. */
struct held {
	double due;
	int fd;
	unsigned serial;
};

static struct conn conns[MAX_FD];
static struct held held[MAX_FD];
static unsigned held_first, held_len;
static double delay;
static unsigned long messages, sessions, wanted;
static double first, last;
static bool verbose;
static SSL_CTX *tls;
static volatile sig_atomic_t stopping;

static void stop(int sig)
{
	(void)sig;
	stopping = 1;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void say(struct conn *c, const char *text)
{
	size_t len = strlen(text);

	if (c->out_len + len > sizeof(c->out)) {
		c->quit = true;
		return;
	}
	memcpy(c->out + c->out_len, text, len);
	c->out_len += len;
}

static void report(void)
{
	printf("%lu %lu %.6f %.6f\n", messages, sessions, first, last);
	fflush(stdout);
}

static void count_message(void)
{
	last = now();
	if (messages++ == 0)
		first = last;
	if (verbose) {
		printf("at %.6f\n", last);
		fflush(stdout);
	}
	if (messages == wanted)
		report();
}

static void command(struct conn *c, const char *line)
{
	if (strncasecmp(line, "DATA", 4) == 0) {
		c->in_data = true;
		c->tail = '\r' << 8 | '\n';
		say(c, "354 go\r\n");
	} else if (strncasecmp(line, "EHLO", 4) == 0 || strncasecmp(line, "LHLO", 4) == 0) {
		say(c, "250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n");
		if (tls != NULL && c->ssl == NULL)
			say(c, "250-STARTTLS\r\n");
		say(c, "250 ENHANCEDSTATUSCODES\r\n");
	} else if (strncasecmp(line, "STARTTLS", 8) == 0 && tls != NULL) {
		say(c, "220 2.0.0 go\r\n");
		c->to_tls = true;
	} else if (strncasecmp(line, "QUIT", 4) == 0) {
		say(c, "221 2.0.0 bye\r\n");
		c->quit = true;
	} else {
		say(c, "250 2.0.0 ok\r\n");
	}
}

/* Takes content up to its end; returns the number of bytes used. */
static size_t content(struct conn *c, const char *data, size_t len)
{
	const unsigned dot = (unsigned)'\n' << 24 | '.' << 16 | '\r' << 8 | '\n';
	size_t i = 0;

	while (i < len) {
		if (data[i] != '\n' && (c->tail & 0xff) != '\n' && (c->tail & 0xff) != '\r' &&
			(c->tail & 0xffff) != ('\n' << 8 | '.')) {
			/* In the middle of a line: nothing can end here before the next CR. */
			const char *cr = memchr(data + i, '\r', len - i);
			size_t skip = cr == NULL ? len - i : (size_t)(cr - data) - i;
			if (skip > 0) {
				i += skip;
				c->tail = 'x';
				continue;
			}
		}
		c->tail = c->tail << 8 | (unsigned char)data[i++];
		if (c->tail == dot) {
			c->in_data = false;
			count_message();
			say(c, "250 2.0.0 ok\r\n");
			break;
		}
	}
	return i;
}

static void input(struct conn *c, const char *data, size_t len)
{
	while (len > 0 && !c->quit) {
		size_t used;

		if (c->in_data) {
			used = content(c, data, len);
		} else {
			const char *lf = memchr(data, '\n', len);
			used = lf == NULL ? len : (size_t)(lf - data) + 1;
			if (c->in_len + used >= sizeof(c->in)) {
				c->quit = true;
				return;
			}
			memcpy(c->in + c->in_len, data, used);
			c->in_len += used;
			if (lf != NULL) {
				c->in[c->in_len] = '\0';
				c->in_len = 0;
				command(c, c->in);
			}
		}
		data += used;
		len -= used;
	}
}

/* One reply of a session waits at a time; false: nothing is to be written yet. */
static bool is_time(int fd, struct conn *c)
{
	if (delay <= 0 || c->out_len == 0)
		return true;
	if (!c->waits && held_len < MAX_FD)
		held[(held_first + held_len++) % MAX_FD] =
			(struct held){now() + delay, fd, c->serial};
	c->waits = true;
	return false;
}

static bool flush(int fd, struct conn *c);
static void end(int fd);

/* Writes what is due; returns the milliseconds until the next. */
static int release(void)
{
	while (held_len > 0) {
		struct held *h = &held[held_first];
		double left = h->due - now();

		if (left > 0)
			return (int)(left * 1000) + 1;
		held_first = (held_first + 1) % MAX_FD;
		held_len--;
		if (!conns[h->fd].waits || conns[h->fd].serial != h->serial)
			continue;
		conns[h->fd].waits = false;
		if (!flush(h->fd, &conns[h->fd]))
			end(h->fd);
	}
	return -1;
}

static bool flush(int fd, struct conn *c)
{
	if (c->out_len > 0) {
		/* Replies are short and the client reads them: a full socket buffer is its fault.
		 */
		ssize_t n = c->ssl != NULL ? SSL_write(c->ssl, c->out, (int)c->out_len)
					   : write(fd, c->out, c->out_len);
		if (n != (ssize_t)c->out_len)
			return false;
		c->out_len = 0;
	}
	if (c->to_tls) {
		c->to_tls = false;
		c->ssl = SSL_new(tls);
		if (c->ssl == NULL || SSL_set_fd(c->ssl, fd) != 1)
			return false;
		SSL_set_accept_state(c->ssl);
	}
	return !c->quit;
}

static void end(int fd)
{
	if (conns[fd].ssl != NULL) {
		SSL_shutdown(conns[fd].ssl);
		SSL_free(conns[fd].ssl);
		ERR_clear_error();
		conns[fd].ssl = NULL;
	}
	conns[fd].waits = false;
	close(fd);
}

static void accept_all(int listener, int epoll)
{
	const int on = 1;
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};

		if (fd >= MAX_FD) {
			close(fd);
			continue;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		conns[fd] = (struct conn){.serial = (unsigned)++sessions};
		say(&conns[fd], "220 sink ESMTP\r\n");
		if ((is_time(fd, &conns[fd]) && !flush(fd, &conns[fd])) ||
			epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev) != 0)
			end(fd);
	}
}

/* All that a session has; false: it is over. */
static bool serve_tls(int fd, struct conn *c)
{
	static char data[READ_SIZE];
	int n;

	ERR_clear_error();
	while ((n = SSL_read(c->ssl, data, sizeof(data))) > 0)
		input(c, data, (size_t)n);
	n = SSL_get_error(c->ssl, n);
	return (n == SSL_ERROR_WANT_READ || n == SSL_ERROR_WANT_WRITE) && flush(fd, c);
}

static void serve(int fd)
{
	static char data[READ_SIZE];
	struct conn *c = &conns[fd];
	ssize_t n;

	if (c->ssl != NULL) {
		if (!serve_tls(fd, c))
			end(fd);
		return;
	}
	n = read(fd, data, sizeof(data));
	if (n < 0 && errno == EAGAIN)
		return;
	if (n > 0)
		input(c, data, (size_t)n);
	if (n <= 0 || (is_time(fd, c) && !flush(fd, c)))
		end(fd);
}

static void offer_tls(const char *file)
{
	tls = SSL_CTX_new(TLS_server_method());
	if (tls == NULL || SSL_CTX_use_certificate_chain_file(tls, file) != 1 ||
		SSL_CTX_use_PrivateKey_file(tls, file, SSL_FILETYPE_PEM) != 1)
		errx(1, "%s: no key and certificate", file);
	SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);
}

static int listen_on(const char *address, const char *port)
{
	const char *bad = NULL;
	struct sockaddr_in sin = {.sin_family = AF_INET};
	const int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	sin.sin_port = htons((in_port_t)strtonum(port, 1, 65535, &bad));
	if (bad != NULL)
		errx(1, "port %s: %s", port, bad);
	if (inet_pton(AF_INET, address, &sin.sin_addr) != 1)
		errx(1, "bad address %s", address);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
		bind(fd, (struct sockaddr *)&sin, sizeof(sin)) != 0 || listen(fd, 4096) != 0)
		err(1, "listen on %s:%s", address, port);
	return fd;
}

static void run(int listener)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS];
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &ev) != 0)
		err(1, "epoll");
	while (!stopping) {
		int n = epoll_wait(epoll, events, EVENTS, release());
		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == listener)
				accept_all(listener, epoll);
			else
				serve(events[i].data.fd);
		}
	}
}

int main(int argc, char **argv)
{
	const char *address = "127.0.0.1", *bad = NULL;
	struct sigaction sa = {.sa_handler = stop};
	int c;

	while ((c = getopt(argc, argv, "a:d:n:t:v")) != -1) {
		if (c == 'v')
			verbose = true;
		else if (c == 'a')
			address = optarg;
		else if (c == 'd')
			delay = (double)strtonum(optarg, 0, 3600, &bad);
		else if (c == 'n')
			wanted = (unsigned long)strtonum(optarg, 0, 1000000000, &bad);
		else if (c == 't')
			offer_tls(optarg);
		if (c == '?' || bad != NULL)
			errx(2, "usage: sink [-v] [-a address] [-d seconds] [-n messages] [-t "
				"file] port");
	}
	if (argc - optind != 1)
		errx(2, "usage: sink [-v] [-a address] [-d seconds] [-n messages] [-t file] port");
	sigaction(SIGTERM, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	int listener = listen_on(address, argv[optind]);
	puts("ready");
	fflush(stdout);
	run(listener);
	if (wanted == 0 || messages < wanted)
		report();
	return 0;
}

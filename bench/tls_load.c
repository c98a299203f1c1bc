/* SPDX-License-Identifier: ISC */
/*
 * Clients that speak TLS, for measurements.
 *
 * usage: tls_load PORT new|resumed PROCESSES SECONDS   TLS from connect, a greeting, close
 *        tls_load PORT relay PROCESSES MESSAGES EACH   STARTTLS, EACH messages of 4 KB a session
 *        tls_load PORT idle 1 SESSIONS                 opens them, prints "ready", holds till end
 * of input tls_load PORT ping 1 SECONDS                  NOOP after NOOP in one session Each
 * process opens one session after the other on 127.0.0.1. Prints "start end done resumed median p99
 * most": seconds on the monotonic clock, sessions, messages or NOOPs that went well, and how long
 * they took in milliseconds.
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/clock.h"

enum { TIMES = 100000, PROCESSES_MOST = 200, LINE = 8192 };

/* Shared by all processes, a part each. */
static struct part {
	unsigned long good, resumed, n;
	double msec[TIMES];
} * parts;

static struct sockaddr_in server = {.sin_family = AF_INET};
static SSL_CTX *ctx;
static SSL_SESSION *kept;
static char content[4300];

struct session {
	int fd;
	SSL *ssl; /* NULL: in the clear */
};

static int keep(SSL *ssl, SSL_SESSION *session)
{
	SSL_SESSION_free(kept);
	kept = session;
	return 1;
}

static void start_library(bool resume)
{
	ctx = SSL_CTX_new(TLS_client_method());
	if (ctx == NULL)
		errx(1, "no OpenSSL");
	SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
	if (resume) {
		SSL_CTX_set_session_cache_mode(
			ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
		SSL_CTX_sess_set_new_cb(ctx, keep);
	}
}

static void connect_to(struct session *s)
{
	int one = 1;

	*s = (struct session){.fd = socket(AF_INET, SOCK_STREAM, 0)};
	if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&server, sizeof(server)) != 0)
		err(1, "connect");
	setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static bool handshake(struct session *s)
{
	s->ssl = SSL_new(ctx);
	SSL_set_fd(s->ssl, s->fd);
	if (kept != NULL) {
		/* A copy: a server may give no new ticket for one that was used. */
		SSL_SESSION *copy = SSL_SESSION_dup(kept);

		SSL_set_session(s->ssl, copy);
		SSL_SESSION_free(copy);
	}
	return SSL_connect(s->ssl) == 1;
}

static void finish(struct session *s)
{
	if (s->ssl != NULL) {
		SSL_shutdown(s->ssl);
		SSL_free(s->ssl);
	}
	close(s->fd);
}

/* The code of a reply, the last line of it. */
static int get_reply(struct session *s)
{
	char text[LINE];
	size_t len = 0;

	for (;;) {
		int room = (int)(LINE - 1 - len);
		ssize_t n = s->ssl != NULL ? SSL_read(s->ssl, text + len, room)
					   : read(s->fd, text + len, (size_t)room);
		const char *last = text;

		if (n <= 0)
			return 0;
		len += (size_t)n;
		text[len] = '\0';
		if (text[len - 1] != '\n')
			continue;
		for (const char *p = text; (p = strchr(p, '\n')) != NULL && p[1] != '\0'; p++)
			last = p + 1;
		if (strlen(last) >= 4 && last[3] == ' ')
			return last[0] * 100 + last[1] * 10 + last[2] - '0' * 111;
	}
}

static int command(struct session *s, const char *text, size_t len)
{
	ssize_t n = s->ssl != NULL ? SSL_write(s->ssl, text, (int)len) : write(s->fd, text, len);

	return n == (ssize_t)len ? get_reply(s) : 0;
}

#define SAY(s, text) command((s), (text), sizeof(text) - 1)

static void note(struct part *p, int64_t start, bool resumed)
{
	p->good++;
	p->resumed += resumed;
	if (p->n < TIMES)
		p->msec[p->n++] = (double)(clock_mono() - start) / 1000;
}

/* TLS from connect; the session stays open. */
static bool greet(struct session *s)
{
	connect_to(s);
	return handshake(s) && get_reply(s) == 220;
}

static void handshakes(struct part *p, double seconds)
{
	int64_t end = clock_mono() + (int64_t)(seconds * (double)CLOCK_SEC), now;

	while ((now = clock_mono()) < end) {
		struct session s;

		if (greet(&s))
			note(p, now, SSL_session_reused(s.ssl) == 1);
		finish(&s);
	}
}

static bool starttls(struct session *s)
{
	connect_to(s);
	return get_reply(s) == 220 && SAY(s, "EHLO load.example\r\n") == 250 &&
	       SAY(s, "STARTTLS\r\n") == 220 && handshake(s) &&
	       SAY(s, "EHLO load.example\r\n") == 250;
}

static bool message(struct session *s)
{
	return SAY(s, "MAIL FROM:<a@client.example>\r\n") == 250 &&
	       SAY(s, "RCPT TO:<b@next.example>\r\n") == 250 && SAY(s, "DATA\r\n") == 354 &&
	       command(s, content, strlen(content)) == 250;
}

static void relay(struct part *p, unsigned long messages, unsigned long each)
{
	while (messages > 0) {
		struct session s;
		bool good = starttls(&s);

		for (unsigned long i = 0; good && i < each && messages > 0; i++, messages--) {
			int64_t start = clock_mono();

			good = message(&s);
			if (good)
				note(p, start, SSL_session_reused(s.ssl) == 1);
		}
		if (!good)
			errx(1, "a session failed");
		SAY(&s, "QUIT\r\n");
		finish(&s);
	}
}

static void idle(unsigned long sessions)
{
	for (unsigned long i = 0; i < sessions; i++) {
		struct session s;

		if (!greet(&s) || SAY(&s, "EHLO load.example\r\n") != 250)
			errx(1, "session %lu failed", i);
	}
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}

static void ping(struct part *p, double seconds)
{
	int64_t end = clock_mono() + (int64_t)(seconds * (double)CLOCK_SEC), now;
	struct session s;

	if (!greet(&s) || SAY(&s, "EHLO load.example\r\n") != 250)
		errx(1, "no session");
	while ((now = clock_mono()) < end) {
		if (SAY(&s, "NOOP\r\n") != 250)
			errx(1, "the session ended");
		note(p, now, false);
		usleep(5000);
	}
	finish(&s);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void report(unsigned processes, int64_t start)
{
	static double times[TIMES];
	unsigned long good = 0, resumed = 0;
	size_t n = 0;

	for (unsigned i = 0; i < processes; i++) {
		good += parts[i].good;
		resumed += parts[i].resumed;
		for (unsigned long k = 0; k < parts[i].n && n < TIMES; k++)
			times[n++] = parts[i].msec[k];
	}
	qsort(times, n, sizeof(*times), compare);
	printf("%.6f %.6f %lu %lu %.3f %.3f %.3f\n", (double)start / 1e6,
		(double)clock_mono() / 1e6, good, resumed, n > 0 ? times[n / 2] : 0,
		n > 0 ? times[n - 1 - n / 100] : 0, n > 0 ? times[n - 1] : 0);
}

static void make_content(void)
{
	char *p = content;
	int i;

	p += snprintf(p, sizeof(content), "Subject: load\r\n\r\n");
	for (i = 0; i < 55; i++) {
		memset(p, 'x', 72);
		memcpy(p + 72, "\r\n", 2);
		p += 74;
	}
	memcpy(p, ".\r\n", 4);
}

static void work(struct part *p, char **argv, unsigned processes, unsigned i)
{
	const char *mode = argv[2];
	double number = strtod(argv[4], NULL);

	if (strcmp(mode, "relay") == 0) {
		unsigned long all = (unsigned long)number, share = all / processes;

		relay(p, share + (i < all % processes), strtoul(argv[5], NULL, 10));
	} else if (strcmp(mode, "ping") == 0)
		ping(p, number);
	else
		handshakes(p, number);
}

int main(int argc, char **argv)
{
	struct rlimit files = {100000, 100000};
	int64_t start;
	int status, failed = 0;

	if (argc < 5 || (strcmp(argv[2], "relay") == 0 && argc < 6))
		errx(2, "usage: tls_load PORT new|resumed|relay|idle|ping PROCESSES NUMBER [EACH]");
	setrlimit(RLIMIT_NOFILE, &files);
	signal(SIGPIPE, SIG_IGN);
	server.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	make_content();
	start_library(strcmp(argv[2], "resumed") == 0);
	if (strcmp(argv[2], "idle") == 0) {
		idle(strtoul(argv[4], NULL, 10));
		return 0;
	}
	unsigned processes = (unsigned)strtoul(argv[3], NULL, 10);
	if (processes < 1 || processes > PROCESSES_MOST)
		errx(2, "1 to %d processes", PROCESSES_MOST);
	parts = mmap(NULL, processes * sizeof(*parts), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (parts == MAP_FAILED)
		err(1, "mmap");
	start = clock_mono();
	for (unsigned i = 0; i < processes; i++)
		if (fork() == 0) {
			work(&parts[i], argv, processes, i);
			_exit(0);
		}
	while (wait(&status) > 0)
		failed |= status;
	report(processes, start);
	return failed != 0;
}

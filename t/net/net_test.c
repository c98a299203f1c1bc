/* SPDX-License-Identifier: ISC */
#include "net/addr.h"
#include "net/stream.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "t/tap.h"
#include "util/err.h"
#include "util/fd.h"

/* A stream under test; the other end is a plain descriptor. */
struct end {
	struct stream *s;
	int fd;
	size_t shown, keep; /* bytes shown last; how many to leave unread */
	unsigned inputs, drained;
	int ended;
	bool finish;
};

static void on_input(struct stream *s, void *arg)
{
	struct end *e = arg;
	struct slice in = stream_input(s);

	e->inputs++;
	e->shown = in.len;
	if (e->finish) {
		stream_write(s, "bye", 3);
		stream_finish(&e->s);
		return;
	}
	if (in.len > e->keep)
		stream_consume(s, in.len - e->keep);
}

static void on_drained(struct stream *s, void *arg)
{
	(void)s;
	((struct end *)arg)->drained++;
}

static void on_end(struct stream *s, int err, void *arg)
{
	struct end *e = arg;

	(void)s;
	e->ended = err;
	if (err != ERR_TIMEOUT)
		stream_free(&e->s);
}

static const struct stream_events events = {on_input, on_drained, on_end};

static void begin(struct end *e, size_t in_limit, size_t out_limit)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		bail_out("socketpair");
	*e = (struct end){.fd = fds[1]};
	fd_set_nonblock(e->fd, true);
	e->s = stream_new(fds[0], &events, e, in_limit, out_limit);
	stream_read(e->s, true);
}

static void finish(struct end *e)
{
	stream_free(&e->s);
	fd_close(&e->fd);
}

static void settle(void)
{
	for (int i = 0; i < 4; i++)
		loop_once(clock_mono() + 2 * CLOCK_MSEC);
}

static void say(struct end *e, const char *text)
{
	if (write(e->fd, text, strlen(text)) != (ssize_t)strlen(text))
		bail_out("write");
	settle();
}

static void test_input(void)
{
	struct end e;
	char big[300];

	begin(&e, 100, 100);
	e.keep = 3;
	say(&e, "abcdef");
	is_int(e.shown, 6, "input is shown");
	say(&e, "gh");
	is_int(e.shown, 5, "with what was left unread before");
	e.keep = 1000;
	memset(big, 'x', sizeof(big));
	if (write(e.fd, big, sizeof(big)) != sizeof(big))
		bail_out("write");
	settle();
	is_int(stream_input(e.s).len, 100, "at its limit reading stops");
	is_int(e.inputs, 3, "and nobody is called");
	e.keep = 0;
	stream_again(e.s);
	settle();
	is_int(stream_input(e.s).len, 0, "when something is consumed it goes on");
	fd_close(&e.fd);
	settle();
	is_int(e.ended, ERR_CLOSED, "the end is told");
	ok(e.s == NULL, "and the owner may free the stream then");
	finish(&e);
}

/* What the kernel has counts as well as what was read, and the end as well as bytes. */
static void test_quiet(void)
{
	struct end e;

	begin(&e, 100, 100);
	ok(stream_is_quiet(e.s), "nothing was said");
	is_int(write(e.fd, "ab", 2), 2, "bytes are written");
	ok(!stream_is_quiet(e.s), "which nobody has read");
	e.keep = 2;
	settle();
	is_int(stream_input(e.s).len, 2, "now they are read");
	ok(!stream_is_quiet(e.s), "but not taken");
	stream_consume(e.s, 2);
	ok(stream_is_quiet(e.s), "then they are");
	fd_close(&e.fd);
	ok(!stream_is_quiet(e.s), "the peer is gone, and nobody knows");
	settle();
	ok(e.s == NULL || !stream_is_quiet(e.s), "now all do");
	finish(&e);
}

static void test_output(void)
{
	static char block[1 << 20], sink[1 << 16];
	struct end e;
	ssize_t n;
	size_t got = 0;

	begin(&e, 100, sizeof(block));
	is_int(stream_write(e.s, block, sizeof(block)), 0, "output is gathered");
	is_int(stream_write(e.s, "x", 1), ERR_LIMIT, "up to a limit");
	settle();
	ok(stream_unsent(e.s) > 0 && e.drained == 0, "what the peer does not read waits");
	for (int i = 0; i < 1000 && got < sizeof(block); i++) {
		n = read(e.fd, sink, sizeof(sink));
		if (n > 0)
			got += (size_t)n;
		else
			loop_once(clock_mono() + CLOCK_MSEC);
	}
	settle();
	is_int(got, sizeof(block), "all of it arrives");
	is_int(e.drained, 1, "and that is told once");
	fd_close(&e.fd);
	stream_write(e.s, "x", 1);
	settle();
	ok(e.ended == ERR_SYS || e.ended == ERR_CLOSED, "writing to nobody ends the stream");
	finish(&e);
}

static void test_deadline(void)
{
	struct end e;

	begin(&e, 100, 100);
	stream_deadline(e.s, loop_now() + 1000 * CLOCK_SEC);
	stream_deadline(e.s, loop_now() + CLOCK_MSEC);
	settle();
	is_int(e.ended, ERR_TIMEOUT, "a deadline passes");
	e.ended = 0;
	stream_write(e.s, "421", 3);
	stream_deadline(e.s, loop_now() + 1000 * CLOCK_SEC);
	settle();
	is_int(e.ended, 0, "the stream is usable behind it, with a new one");
	finish(&e);
}

static void test_finish(void)
{
	struct end e;
	char text[8] = "";

	begin(&e, 100, 100);
	e.finish = true;
	say(&e, "QUIT");
	is_int(read(e.fd, text, sizeof(text)), 3, "the last words are sent");
	is_int(read(e.fd, text, sizeof(text)), 0, "then the stream is closed");
	is_int(e.ended, 0, "and the owner hears no more");
	finish(&e);
}

/* A filter that gives each byte twice and shows one byte at a time. */
struct twice {
	char next;
	bool has;
};

static int twice_read(void *filter, int fd, void *p, size_t len, size_t *done, int *want)
{
	struct twice *t = filter;

	if (len == 0)
		return ERR_AGAIN;
	if (t->has) {
		*(char *)p = t->next;
		t->has = false;
		*done = 1;
		return 0;
	}
	if (read(fd, &t->next, 1) != 1) {
		*want = LOOP_READ;
		return errno == EAGAIN ? ERR_AGAIN : ERR_CLOSED;
	}
	*(char *)p = t->next;
	t->has = true;
	*done = 1;
	return 0;
}

static int twice_write(void *filter, int fd, const void *p, size_t len, size_t *done, int *want)
{
	(void)filter;
	(void)want;
	for (*done = 0; *done < len; (*done)++)
		for (int i = 0; i < 2; i++)
			if (write(fd, (const char *)p + *done, 1) != 1)
				return ERR_SYS;
	return 0;
}

static bool twice_pending(void *filter)
{
	return ((struct twice *)filter)->has;
}

static void twice_nothing(void *filter, int fd)
{
	(void)filter;
	(void)fd;
}

static unsigned freed;

static void twice_free(void *filter)
{
	(void)filter;
	freed++;
}

static const struct stream_filter twice = {
	twice_read, twice_write, twice_pending, twice_nothing, twice_free};

static void test_filter(void)
{
	struct end e;
	struct twice t = {0};
	char text[16] = "";

	begin(&e, 100, 100);
	e.keep = 100;
	say(&e, "plain");
	is_int(stream_discard(e.s), 5, "what came before a filter is discarded");
	stream_filter(e.s, &twice, &t);
	if (write(e.fd, "abc", 3) != 3)
		bail_out("write");
	for (int i = 0; i < 10; i++)
		settle();
	is_slice(stream_input(e.s), "aabbcc", "input comes through the filter");
	stream_write(e.s, "xy", 2);
	settle();
	is_int(read(e.fd, text, sizeof(text)), 4, "output goes through it");
	is_str(text, "xxyy", "as it makes it");
	finish(&e);
	is_int(freed, 1, "and it is freed with the stream");
}

/*
 * A filter as TLS is one: it takes what it likes, gives little, wants to write before it can read
 * on, and fails in the middle.
 */
struct moody {
	int reads, writes;
	bool is_broken;
};

static int moody_read(void *filter, int fd, void *p, size_t len, size_t *done, int *want)
{
	struct moody *t = filter;
	ssize_t n;

	if (t->is_broken)
		return ERR_CORRUPT;
	/* Every other time it waits, for the socket to be writable. */
	if (t->reads++ % 2 == 0) {
		*want = LOOP_WRITE;
		return ERR_AGAIN;
	}
	n = read(fd, p, len < 3 ? len : 3);
	*want = LOOP_READ;
	if (n <= 0)
		return n < 0 && errno == EAGAIN ? ERR_AGAIN : ERR_CLOSED;
	*done = (size_t)n;
	return 0;
}

static int moody_write(void *filter, int fd, const void *p, size_t len, size_t *done, int *want)
{
	struct moody *t = filter;
	ssize_t n;

	if (t->is_broken)
		return ERR_CORRUPT;
	*want = LOOP_WRITE;
	if (t->writes++ % 2 == 0)
		return ERR_AGAIN;
	n = write(fd, p, len < 2 ? len : 2);
	if (n <= 0)
		return ERR_SYS;
	*done = (size_t)n;
	return 0;
}

static bool moody_pending(void *filter)
{
	(void)filter;
	return false;
}

static const struct stream_filter moody = {
	moody_read, moody_write, moody_pending, twice_nothing, twice_free};

static void test_moody_filter(void)
{
	struct end e;
	struct moody t = {0};
	char text[16] = "";
	size_t got = 0;

	freed = 0;
	begin(&e, 100, 100);
	e.keep = 100;
	stream_filter(e.s, &moody, &t);
	if (write(e.fd, "abcdefgh", 8) != 8)
		bail_out("write");
	for (int i = 0; i < 20; i++)
		settle();
	is_slice(stream_input(e.s), "abcdefgh", "a filter that splits and waits loses no input");
	stream_write(e.s, "0123456", 7);
	for (int i = 0; i < 20; i++)
		settle();
	for (ssize_t n; got < 7 && (n = read(e.fd, text + got, sizeof(text) - 1 - got)) > 0;)
		got += (size_t)n;
	is_str(text, "0123456", "and no output");
	is_int(e.ended, 0, "the stream lives");
	t.is_broken = true;
	if (write(e.fd, "x", 1) != 1)
		bail_out("write");
	for (int i = 0; i < 5; i++)
		settle();
	is_int(e.ended, ERR_CORRUPT, "a filter that fails ends it");
	finish(&e);
	is_int(freed, 1, "and is freed");
}

static unsigned fired, ran;

static void fire(void *arg)
{
	(void)arg;
	fired++;
}

static void run(void *arg)
{
	if (++ran < 3)
		loop_soon(arg);
}

static void test_loop(void)
{
	struct loop_timer t;
	struct loop_task task;
	int64_t due = loop_now() + 20 * CLOCK_MSEC;

	loop_timer_init(&t, fire, NULL);
	loop_timer_set(&t, loop_now() + CLOCK_MSEC);
	loop_timer_set(&t, due);
	loop_once(clock_mono() + 5 * CLOCK_MSEC);
	ok(fired == 0 || clock_mono() >= due, "a timer that was moved on does not fire early");
	for (int i = 0; i < 20 && fired == 0; i++)
		loop_once(clock_mono() + 10 * CLOCK_MSEC);
	is_int(fired, 1, "but when its time has come");
	loop_timer_set(&t, loop_now());
	loop_timer_set(&t, CLOCK_NEVER);
	settle();
	is_int(fired, 1, "one that was cancelled does not");
	loop_timer_clear(&t);
	loop_task_init(&task, run, &task);
	loop_soon(&task);
	loop_soon(&task);
	settle();
	is_int(ran, 3, "tasks run once, and those that tasks give as well");
	loop_soon(&task);
	loop_task_cancel(&task);
	settle();
	is_int(ran, 3, "not when they were cancelled");
}

static void test_addresses(void)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{"192.0.2.1", "192.0.2.1"},
		{"2001:db8::1", "2001:db8::1"},
		{"IPv6:2001:DB8:0::1", "2001:db8::1"},
		{"::ffff:192.0.2.1", "192.0.2.1"},
		{"192.0.2", NULL},
		{"192.0.2.1.", NULL},
		{"", NULL},
		{"localhost", NULL},
		{"1:2:3:4:5:6:7:8:9", NULL},
		{"192.0.2.1\n", NULL},
	};
	struct net_addr a, b;
	char text[NET_ADDR_TEXT];

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		int err = net_addr_parse(slice_str(rows[i].in), 25, &a);

		net_addr_text(&a, text);
		is_int(err, rows[i].out ? 0 : ERR_SYNTAX, "parse \"%s\"", rows[i].in);
		is_str(text, rows[i].out ? rows[i].out : "", "as text");
	}
	net_addr_parse(SLICE_LIT("::ffff:192.0.2.1"), 25, &a);
	net_addr_parse(SLICE_LIT("192.0.2.1"), 25, &b);
	ok(net_addr_eq(&a, &b), "a mapped address is the IPv4 one");
	is_int(net_addr_port(&b), 25, "port");
	is_int(net_addr_unix("/run/x", &a), 0, "a UNIX address");
	net_addr_text(&a, text);
	is_str(text, "/run/x", "as text");
}

int main(void)
{
	loop_init();
	test_input();
	test_quiet();
	test_output();
	test_deadline();
	test_finish();
	test_filter();
	test_moody_filter();
	test_loop();
	test_addresses();
	return done_testing();
}

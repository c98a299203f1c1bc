/* SPDX-License-Identifier: ISC */
#include "net/pool.h"

#include <string.h>
#include <sys/socket.h>

#include "t/tap.h"
#include "util/err.h"
#include "util/mem.h"

/*
 * The service of this test answers lines: "echo X" by "X", "mute" never, "hang up" by the end of
 * the connection, "late X" by "X" when the test says so, "long" by a reply without an end, "two" by
 * two replies at once, "junk" by what is no reply.
 */
enum { SIDES = 64 };

struct side {
	struct stream *s;
	bool live, late;
};

static struct side sides[SIDES];
static unsigned made, next_side, refusals, asked;

static void answer(struct side *d, struct slice line)
{
	static const char filler[200] = {[0 ... 199] = 'x'};

	asked++;
	if (slice_starts(line, "echo "))
		stream_printf(d->s, "%.*s\n", SLICE_FMT(slice_from(line, 5)));
	else if (slice_starts(line, "late "))
		d->late = true;
	else if (slice_eq_str(line, "long"))
		stream_write(d->s, filler, sizeof(filler));
	else if (slice_eq_str(line, "two"))
		stream_printf(d->s, "one\ntwo\n");
	else if (slice_eq_str(line, "junk"))
		stream_printf(d->s, "!\n");
	else if (slice_eq_str(line, "hang up"))
		stream_finish(&d->s);
}

static void on_line(struct stream *s, void *arg)
{
	struct side *d = arg;
	ptrdiff_t end = slice_find(stream_input(s), '\n');

	if (end < 0)
		return;
	char *line = slice_dup(slice_first(stream_input(s), (size_t)end));
	stream_consume(s, (size_t)end + 1);
	answer(d, slice_str(line));
	mem_free(line);
}

static void on_gone(struct stream *s, int err, void *arg)
{
	(void)s;
	(void)err;
	stream_free(&((struct side *)arg)->s);
}

static const struct stream_events service = {.on_input = on_line, .on_end = on_gone};

/* The connector: a socket pair, handed over by the loop. */
static struct {
	void (*done)(int err, int fd, void *arg);
	void *arg;
	int fd;
} pending[SIDES];

static void hand_over(void *arg)
{
	unsigned i = (unsigned)(uintptr_t)arg;

	if (pending[i].done != NULL)
		pending[i].done(pending[i].fd < 0 ? ERR_SYS : 0, pending[i].fd, pending[i].arg);
}

static uint64_t make_one(const char *name, void (*done)(int err, int fd, void *arg), void *arg)
{
	int fds[2];
	unsigned i = next_side++;

	made++;

	if (i >= SIDES || strcmp(name, "unix:service") != 0 ||
		socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0)
		bail_out("connector");
	pending[i].done = done;
	pending[i].arg = arg;
	pending[i].fd = refusals > 0 ? -1 : fds[1];
	if (refusals > 0) {
		refusals--;
	} else {
		sides[i].s = stream_new(fds[0], &service, &sides[i], 1000, 1000);
		stream_read(sides[i].s, true);
	}
	loop_defer(hand_over, (void *)(uintptr_t)i);
	return i + 1;
}

static void cancel_one(uint64_t handle)
{
	pending[handle - 1].done = NULL;
}

static ptrdiff_t line_frame(struct slice in)
{
	if (slice_starts(in, "!"))
		return ERR_SYNTAX;
	return slice_find(in, '\n') + 1;
}

/* What a request came to. */
struct result {
	unsigned calls;
	int err;
	char text[64];
};

static void done(void *arg, int err, struct slice reply)
{
	struct result *r = arg;

	r->calls++;
	r->err = err;
	reply = slice_first(slice_trim(reply), sizeof(r->text) - 1);
	memcpy(r->text, reply.len > 0 ? reply.p : "", reply.len);
	r->text[reply.len] = '\0';
}

static struct pool *pool_of(unsigned limit, unsigned waiting, int64_t timeout)
{
	struct pool_spec spec = {.name = "unix:service",
		.limit = limit,
		.waiting = waiting,
		.tries = 2,
		.timeout = timeout,
		.idle = 100 * CLOCK_SEC,
		.ttl = 100 * CLOCK_SEC,
		.reply_limit = 100,
		.frame = line_frame};

	made = asked = 0;
	return pool_new(&spec);
}

static void settle(struct result *r)
{
	for (int i = 0; i < 500 && r->calls == 0; i++)
		loop_once(clock_mono() + 10 * CLOCK_MSEC);
	loop_once(clock_mono());
}

static struct result ask(struct pool *p, const char *line)
{
	struct result r = {0};

	pool_ask(p, slice_str(line), done, &r);
	is_int(r.calls, 0, "%.*s: told from the loop, not from inside", (int)strlen(line) - 1,
		line);
	settle(&r);
	return r;
}

static void test_replies(void)
{
	static const struct {
		const char *ask;
		int err;
		const char *reply;
		unsigned made;
	} rows[] = {
		{"echo a\n", 0, "a", 1},
		{"echo b\n", 0, "b", 1},
		{"two\n", 0, "one", 1},
		{"echo c\n", 0, "c", 2},
		{"junk\n", ERR_SYNTAX, "", 2},
		{"long\n", ERR_LIMIT, "", 3},
		{"hang up\n", ERR_CLOSED, "", 5},
		{"echo d\n", 0, "d", 6},
	};
	struct pool *p = pool_of(4, 10, 30 * CLOCK_SEC);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct result r = ask(p, rows[i].ask);

		is_int(r.err, rows[i].err, "its result");
		is_str(r.text, rows[i].reply, "its reply");
		is_int(made, rows[i].made, "connections made so far");
		is_int(r.calls, 1, "told once");
	}
	pool_free(&p);
}

static void test_time(void)
{
	struct pool *p = pool_of(1, 10, 50 * CLOCK_MSEC);
	struct result first = {0}, second = {0};

	pool_ask(p, SLICE_LIT("mute\n"), done, &first);
	pool_ask(p, SLICE_LIT("echo x\n"), done, &second);
	settle(&first);
	settle(&second);
	is_int(first.err, ERR_TIMEOUT, "a mute service: the deadline ends the request");
	is_int(second.err, ERR_TIMEOUT, "one that waits behind it has its own deadline");
	/* In time, when the machine lets it. */
	struct result r = ask(p, "echo y\n");
	for (int i = 0; i < 50 && r.err == ERR_TIMEOUT; i++)
		r = ask(p, "echo y\n");
	is_str(r.text, "y", "the connection to a mute service is not used again");
	pool_free(&p);
}

static void test_limits(void)
{
	struct pool *p = pool_of(2, 2, 30 * CLOCK_SEC);
	struct result r[6] = {0};
	struct side *side = &sides[next_side];

	for (int i = 0; i < 2; i++)
		pool_ask(p, SLICE_LIT("late x\n"), done, &r[i]);
	loop_once(clock_mono());
	for (int i = 2; i < 5; i++)
		pool_ask(p, SLICE_LIT("echo x\n"), done, &r[i]);
	settle(&r[4]);
	is_int(r[4].err, ERR_LIMIT, "over the waiting line: refused at once");
	is_int(r[2].calls + r[3].calls, 0, "the others wait");
	is_int(made, 2, "no more connections than the limit");
	for (int i = 0; i < 2; i++)
		stream_printf(side[i].s, "z\n");
	settle(&r[2]);
	settle(&r[3]);
	is_str(r[0].text, "z", "a late answer");
	is_int(r[2].err + r[3].err, 0, "then those that waited");
	is_int(made, 2, "over the same connections");
	pool_free(&p);
}

static void test_withdrawn(void)
{
	struct pool *p = pool_of(1, 10, 30 * CLOCK_SEC);
	struct result gone = {0}, next = {0};
	struct side *side = &sides[next_side];
	struct pool_request *r = pool_ask(p, SLICE_LIT("late x\n"), done, &gone);

	for (int i = 0; i < 3; i++)
		loop_once(clock_mono() + CLOCK_MSEC);
	pool_cancel(&r);
	ok(r == NULL, "withdrawn");
	pool_ask(p, SLICE_LIT("echo y\n"), done, &next);
	stream_printf(side->s, "old\n");
	settle(&next);
	is_str(next.text, "y", "the next request does not get the answer of the one withdrawn");
	is_int(gone.calls, 0, "which is told to nobody");
	is_int(made, 1, "over the same connection");
	r = pool_ask(p, SLICE_LIT("echo z\n"), done, &gone);
	pool_cancel(&r);
	pool_cancel(&r);
	pool_free(&p);
	loop_once(clock_mono());
	is_int(gone.calls, 0, "nor is one that never left");
}

static void test_refused(void)
{
	struct pool *p = pool_of(1, 10, 30 * CLOCK_SEC);

	refusals = 1;
	struct result r = ask(p, "echo x\n");
	is_str(r.text, "x", "refused once: tried again");
	pool_free(&p);
	p = pool_of(1, 10, 30 * CLOCK_SEC);
	refusals = 2;
	r = ask(p, "echo x\n");
	is_int(r.err, ERR_CLOSED, "refused as often as tries says: the end");
	is_int(refusals, 0, "no more attempts");
	/* The service restarts between two requests: the stale connection costs no try. */
	(void)ask(p, "echo a\n");
	for (int i = 0; i < SIDES; i++)
		stream_free(&sides[i].s);
	r = ask(p, "echo b\n");
	is_str(r.text, "b", "a connection that went stale is made anew");
	pool_free(&p);
	pool_free(&p);
}

int main(void)
{
	loop_init();
	pool_set_connector(make_one, cancel_one);
	test_replies();
	test_time();
	test_limits();
	test_withdrawn();
	test_refused();
	return done_testing();
}

/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "net/loop.h"
#include "policy/tally_client.h"
#include "util/log.h"

/* The test is tally. */
struct tally {
	struct ipc *here, *there;
	unsigned entered, left;
	bool silent;
};

static void tally_msg(struct ipc *c, struct ipc_msg *m, void *arg)
{
	struct tally *t = arg;
	if (m->type == PROTO_TALLY_DISCONNECT) {
		t->left++;
		return;
	}
	t->entered++;
	if (!t->silent) {
		ipc_begin(c, PROTO_TALLY_COUNT, m->id);
		ipc_put_u64(c, FIELD_COUNT, t->entered);
		ipc_put_u64(c, FIELD_RATE, 0);
		ipc_put_u64(c, FIELD_FLAGS, 0);
		(void)ipc_end(c);
	}
}

static void client_msg(struct ipc *c, struct ipc_msg *m, void *arg)
{
	tally_client_msg(c, m);
}

static void ended(struct ipc *c, int err, void *arg)
{
}

static void tally_start(struct tally *t)
{
	static const struct ipc_events mine = {tally_msg, ended, NULL},
				       theirs = {client_msg, ended, NULL};
	int fds[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
		bail_out("socketpair failed");
	}
	*t = (struct tally){0};
	t->here = ipc_new(fds[0], ROLE_TALLY, ROLE_SMTPD, &mine, t, 0);
	t->there = ipc_new(fds[1], ROLE_SMTPD, ROLE_TALLY, &theirs, NULL, 0);
	tally_client_add(t->there);
}

static void tally_stop(struct tally *t)
{
	tally_client_remove(t->there);
	ipc_free(&t->there);
	ipc_free(&t->here);
}

struct got {
	unsigned calls;
	uint64_t connections;
};

static void take(void *arg, const struct tally_reply *r)
{
	struct got *g = arg;
	g->calls++;
	g->connections = r->connections;
}

static void turn(void)
{
	for (int i = 0; i < 4; i++) {
		loop_once(clock_mono() + 5 * CLOCK_MSEC);
	}
}

static struct tally_session *enter(struct got *g)
{
	*g = (struct got){.connections = 99};
	return tally_enter(SLICE_LIT("smtp"), SLICE_LIT("192.0.2.1"), 0, take, g);
}

int main(void)
{
	struct tally t;
	struct got g, h;
	log_set_level(LOG_LEVEL_NONE);
	loop_init();

	struct tally_session *a = enter(&g);
	is_int(g.calls, 0, "without tally: not from inside the call");
	turn();
	ok(g.calls == 1 && g.connections == 0, "the session goes on at once");
	tally_start(&t);
	turn();
	is_int(t.entered, 1, "a tally that comes is told of it");
	is_int(g.calls, 1, "whose answer is not waited for any more");
	struct tally_session *b = enter(&h);
	turn();
	ok(h.calls == 1 && h.connections == 2, "the next one is counted");
	tally_leave(&a);
	ok(a == NULL, "one leaves");
	turn();
	is_int(t.left, 1, "tally is told");
	tally_leave(&a);

	t.silent = true;
	int64_t took = 0;
	/* The shortest of some: a machine that is busy takes its time, too. */
	for (int i = 0; i < 20 && (i == 0 || took >= TALLY_WAIT * 5); i++) {
		tally_leave(&a);
		int64_t begun = clock_mono();
		a = enter(&g);
		while (g.calls == 0) {
			loop_once(clock_mono() + CLOCK_SEC);
		}
		took = clock_mono() - begun;
	}
	ok(g.connections == 0 && took >= TALLY_WAIT && took < TALLY_WAIT * 5,
		"a silent tally is waited for 200 ms");
	tally_stop(&t);
	tally_start(&t);
	turn();
	is_int(t.entered, 2, "one that restarts hears of all sessions");
	struct tally_session *c = enter(&g);
	tally_leave(&c);
	turn();
	ok(g.calls == 0 && t.entered == 3 && t.left == 1,
		"one that leaves at once is not answered");
	tally_leave(&a);
	tally_leave(&b);
	tally_stop(&t);
	return done_testing();
}

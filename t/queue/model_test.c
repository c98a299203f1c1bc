/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "t/queue/world.h"
#include "t/tap.h"
#include "util/clock.h"

/*
 * Each script is run once as it is, then again and again with a stop at every I/O call that
 * writes, syncs or names something: a power cut (what was not synced is forgotten, kept, torn, all
 * or one by one or at random), the death of all, the death of the process that made the call; then
 * once more with a second power cut during recovery. MODEL_ONLY=name runs one script alone,
 * MODEL_AT=n stops it at the n-th call only, MODEL_ALL=1 stops long ones at every call too,
 * MODEL_VERBOSE=1 prints what the store reports.
 */
struct script {
	const char *name;
	void (*run)(struct world *w);
};

static void rest(struct world *w)
{
	world_pump(w);
	world_wait(w, 2 * CLOCK_SEC);
	world_wait(w, 2 * CLOCK_SEC);
}

static void commit_one(struct world *w)
{
	world_submit(w, 0, "o", 0);
	world_commit(w, 0);
	rest(w);
}

static void commit_shared(struct world *w)
{
	world_submit(w, 0, "od", 0);
	world_submit(w, 0, "o", 6000);
	world_submit(w, 0, "f", 0);
	world_commit(w, 0);
	world_pump(w);
	world_submit(w, 0, "o", 0);
	world_commit(w, 0);
	rest(w);
	world_wait(w, 120 * CLOCK_SEC);
}

/* Five messages of six blocks a segment's fourteen: every third begins another. */
static void reuse(struct world *w)
{
	for (int i = 0; i < 9; i++) {
		world_submit(w, 0, "o", 20000);
		world_commit(w, 0);
		if (i % 2 == 1)
			rest(w);
	}
	rest(w);
}

static void failed_sync(struct world *w)
{
	world_submit(w, 0, "o", 0);
	world_commit(w, 0);
	world_submit(w, 0, "oo", 0);
	world_submit(w, 0, "o", 5000);
	world_fail_next_sync(w, "incoming/0", 7);
	world_commit(w, 0);
	world_pump(w);
	world_submit(w, 0, "o", 0);
	world_commit(w, 0);
	rest(w);
}

/* The keeper cannot make the cut durable in time: nobody may be told 451. */
static void failed_sync_alone(struct world *w)
{
	world_submit(w, 0, "o", 0);
	world_commit(w, 0);
	rest(w);
	world_set_slow_keeper(w, true);
	world_submit(w, 0, "oo", 0);
	world_fail_next_sync(w, "incoming/0", UINT64_MAX);
	world_commit(w, 0);
	world_submit(w, 0, "o", 0);
	world_commit(w, 0);
	world_set_slow_keeper(w, false);
	rest(w);
}

static void failed_log_sync(struct world *w)
{
	world_submit(w, 0, "od", 0);
	world_commit(w, 0);
	world_pump(w);
	world_fail_next_sync(w, "log/", 7);
	world_submit(w, 0, "of", 0);
	world_commit(w, 0);
	rest(w);
	world_wait(w, 110 * CLOCK_SEC);
	world_wait(w, 2 * CLOCK_SEC);
}

static void takeover(struct world *w)
{
	world_submit(w, 0, "o", 0);
	world_commit(w, 0);
	world_pump(w);
	world_submit(w, 0, "od", 0);
	world_commit_quiet(w, 0);
	world_submit(w, 0, "o", 0);
	world_kill_cleanup(w, 0);
	world_pump(w);
	world_start(w);
	world_submit(w, 0, "o", 0);
	world_commit(w, 0);
	rest(w);
}

/* Q2: the pages are marked clean, the worker is dead, our own sync would say yes. */
static void takeover_failed(struct world *w)
{
	world_submit(w, 0, "o", 0);
	world_commit(w, 0);
	rest(w);
	world_set_queue_up(w, true);
	world_submit(w, 0, "q", 0);
	world_submit(w, 0, "qo", 6000);
	world_commit_and_die(w, 0);
	world_pump(w);
	world_start(w);
	rest(w);
	world_set_queue_up(w, false);
	world_wait(w, 101 * CLOCK_SEC);
}

static void two_cleanups(struct world *w)
{
	world_submit(w, 0, "o", 0);
	world_submit(w, 1, "d", 0);
	world_commit(w, 1);
	world_commit(w, 0);
	world_pump(w);
	world_submit(w, 1, "o", 9000);
	world_commit_quiet(w, 1);
	world_kill_cleanup(w, 1);
	world_submit(w, 0, "o", 0);
	world_commit(w, 0);
	rest(w);
}

static void to_file(struct world *w)
{
	world_set_queue_up(w, true);
	world_submit(w, 0, "qo", 0);
	world_submit(w, 0, "q", 7000);
	world_commit(w, 0);
	rest(w);
	world_wait(w, 31 * CLOCK_SEC);
	rest(w);
	world_wait(w, 100 * CLOCK_SEC);
	rest(w);
	world_set_queue_up(w, false);
	world_wait(w, 101 * CLOCK_SEC);
	rest(w);
}

static void large_body(struct world *w)
{
	world_set_queue_up(w, true);
	world_submit_large(w, 0, "q", 70000);
	world_submit_large(w, 0, "o", 9000);
	world_commit(w, 0);
	rest(w);
	world_wait(w, 31 * CLOCK_SEC);
	rest(w);
	world_set_queue_up(w, false);
	world_wait(w, 101 * CLOCK_SEC);
	rest(w);
}

static void hold_release(struct world *w)
{
	int held, early;

	world_set_queue_up(w, true);
	held = world_submit(w, 0, "qo", 0);
	world_submit_held(w, 0, "o");
	world_commit(w, 0);
	world_pump(w);
	world_hold(w, held);
	rest(w);
	early = world_submit(w, 0, "o", 0);
	world_commit(w, 0);
	world_set_slow_keeper(w, true);
	world_pump(w);
	world_hold(w, early);
	world_set_slow_keeper(w, false);
	rest(w);
	world_release(w, held);
	world_release(w, early);
	world_set_queue_up(w, false);
	rest(w);
	world_wait(w, 101 * CLOCK_SEC);
}

static void deletion(struct world *w)
{
	int a, b;

	world_set_queue_up(w, true);
	a = world_submit(w, 0, "q", 0);
	b = world_submit(w, 0, "q", 0);
	world_commit(w, 0);
	world_pump(w);
	world_delete(w, a);
	rest(w);
	world_wait(w, 31 * CLOCK_SEC);
	rest(w);
	world_delete(w, b);
	rest(w);
	world_set_queue_up(w, false);
	world_wait(w, 101 * CLOCK_SEC);
}

static void requeue(struct world *w)
{
	int a, b;

	world_set_queue_up(w, true);
	a = world_submit(w, 0, "qo", 0);
	b = world_submit(w, 0, "q", 0);
	world_commit(w, 0);
	rest(w);
	world_requeue(w, a);
	rest(w);
	world_wait(w, 31 * CLOCK_SEC);
	rest(w);
	world_requeue(w, b);
	rest(w);
	world_set_queue_up(w, false);
	world_wait(w, 101 * CLOCK_SEC);
}

static void notice(struct world *w)
{
	world_submit(w, 0, "of", 0);
	world_commit(w, 0);
	world_pump(w);
	world_submit(w, 0, "ff", 0);
	world_commit(w, 0);
	rest(w);
}

/* The notice is committed, its worker dies before it can say so. */
static void notice_lost(struct world *w)
{
	world_submit(w, 1, "fq", 0);
	world_submit(w, 1, "o", 0);
	world_set_queue_up(w, true);
	world_set_child_dies(w);
	world_commit(w, 1);
	world_pump(w);
	rest(w);
	world_start(w);
	rest(w);
}

static void qmgr_dies(struct world *w)
{
	world_set_slow_worker(w, true);
	world_submit(w, 0, "od", 0);
	world_submit(w, 0, "f", 0);
	world_commit(w, 0);
	world_pump(w);
	world_kill_qmgr(w);
	world_start(w);
	world_pump(w);
	world_submit(w, 0, "o", 0);
	world_commit(w, 0);
	world_pump(w);
	world_kill_worker(w);
	world_set_slow_worker(w, false);
	rest(w);
}

static void clean_stop(struct world *w)
{
	world_set_queue_up(w, true);
	world_submit(w, 0, "oq", 0);
	world_commit(w, 0);
	rest(w);
	world_stop_qmgr(w);
	world_submit(w, 0, "o", 0);
	world_commit(w, 0);
	world_start(w);
	rest(w);
	world_set_queue_up(w, false);
	world_wait(w, 101 * CLOCK_SEC);
}

/* Pieces of 16 blocks, a sync a block: the log runs through them, and drops the oldest. */
static void compaction(struct world *w)
{
	world_set_queue_up(w, true);
	world_submit(w, 0, "q", 0);
	world_submit(w, 0, "qd", 0);
	world_commit(w, 0);
	rest(w);
	world_wait(w, 31 * CLOCK_SEC);
	for (int i = 0; i < 40; i++) {
		if (i % 8 == 0) {
			world_submit(w, 0, i == 16 ? "q" : "o", 0);
			world_commit(w, 0);
		}
		world_wait(w, 50 * CLOCK_SEC);
	}
	world_set_queue_up(w, false);
	world_wait(w, 101 * CLOCK_SEC);
}

static void full_disk(struct world *w)
{
	world_set_queue_up(w, true);
	world_submit(w, 0, "qo", 0);
	world_commit(w, 0);
	rest(w);
	disk_set_space(world_disk(w), 3);
	world_wait(w, 31 * CLOCK_SEC);
	for (int i = 0; i < 4; i++) {
		world_submit(w, 0, "o", 20000);
		world_commit(w, 0);
	}
	rest(w);
	disk_set_space(world_disk(w), UINT64_MAX);
	world_set_queue_up(w, false);
	rest(w);
	world_wait(w, 101 * CLOCK_SEC);
}

/* Read, above every floor at first, and handed out when the floors have gone past it. */
static void late_hand_out(struct world *w)
{
	int other;

	world_set_paused(w, true);
	world_submit(w, 0, "o", 0);
	other = world_submit(w, 0, "o", 0);
	world_commit(w, 0);
	world_pump(w);
	for (int i = 0; i < 2; i++) {
		world_hold(w, other);
		rest(w);
		world_release(w, other);
		rest(w);
	}
	world_set_paused(w, false);
	world_pump(w);
	world_submit(w, 0, "o", 0);
	world_commit(w, 0);
	rest(w);
}

/* The parent is in a file; its end must not come before "notified" is durable. */
static void notice_of_file(struct world *w)
{
	world_submit(w, 0, "e", 0);
	world_commit(w, 0);
	rest(w);
	world_wait(w, 31 * CLOCK_SEC);
	rest(w);
	world_wait(w, 70 * CLOCK_SEC);
	rest(w);
}

/* Syncs under way while more is noted: batches can survive one without the other. */
static void slow_keeper(struct world *w)
{
	world_submit(w, 0, "of", 0);
	world_commit(w, 0);
	world_pump(w);
	world_set_slow_keeper(w, true);
	for (int i = 0; i < 3; i++) {
		world_wait(w, 2 * CLOCK_SEC);
		world_submit(w, 0, "of", 0);
		world_commit(w, 0);
		world_pump(w);
	}
	world_set_slow_keeper(w, false);
	rest(w);
}

/* "Failed" in one batch, "notified" in the next, neither synced: the second alone is nothing. */
static void two_batches(struct world *w)
{
	world_pump(w);
	world_set_queue_up(w, true);
	world_kill_cleanup(w, 0);
	world_submit(w, 1, "fq", 0);
	world_commit(w, 1);
	world_pump(w);
	world_set_slow_keeper(w, true);
	world_wait(w, 2 * CLOCK_SEC);
	world_start(w);
	world_pump(w);
	for (int i = 0; i < 6; i++) {
		world_submit(w, 1, "o", 0);
		world_commit(w, 1);
		world_pump(w);
	}
	world_set_slow_keeper(w, false);
	world_set_queue_up(w, false);
	rest(w);
}

/* The same at every place of a piece, its end among them. */
static void rotation(struct world *w)
{
	world_set_queue_up(w, true);
	for (int i = 0; i < 8; i++) {
		world_submit(w, 1, "fq", 0);
		world_commit(w, 1);
		world_set_slow_keeper(w, true);
		world_pump(w);
		world_wait(w, 2 * CLOCK_SEC);
		world_submit(w, 1, "f", 0);
		world_commit(w, 1);
		world_pump(w);
		world_set_slow_keeper(w, false);
		world_pump(w);
	}
	world_set_queue_up(w, false);
	rest(w);
}

/* A worker that qmgr has not heard of: alive, then dead (Q7, Q8). */
static void unknown_worker(struct world *w)
{
	world_pump(w);
	world_kill_cleanup(w, 1);
	world_set_silent(w, 1);
	world_start(w);
	world_submit(w, 1, "o", 0);
	world_commit_quiet(w, 1);
	world_submit(w, 0, "o", 0);
	world_commit(w, 0);
	world_pump(w);
	world_kill_cleanup(w, 0);
	world_wait(w, 20 * CLOCK_SEC);
	rest(w);
	world_submit(w, 1, "o", 0);
	world_commit_quiet(w, 1);
	world_kill_qmgr(w);
	world_pump(w);
	world_submit(w, 1, "o", 0);
	world_commit_quiet(w, 1);
	world_kill_cleanup(w, 1);
	world_wait(w, 20 * CLOCK_SEC);
	world_set_silent(w, -1);
	world_start(w);
	for (int i = 0; i < 4; i++) {
		world_submit(w, i % 2, "o", 20000);
		world_commit(w, i % 2);
	}
	rest(w);
}

/* Everything of a living worker's segment is done, and another comes (Q9). */
static void all_done(struct world *w)
{
	for (int i = 0; i < 3; i++) {
		world_submit(w, 0, "o", 0);
		world_commit(w, 0);
		rest(w);
	}
}

/* A job waits for its note when the operator holds or deletes its message (Q17). */
static void withdrawal(struct world *w)
{
	int held, deleted;

	world_set_queue_up(w, true);
	held = world_submit(w, 0, "q", 0);
	deleted = world_submit(w, 0, "q", 0);
	world_commit(w, 0);
	rest(w);
	world_set_queue_up(w, false);
	world_set_slow_keeper(w, true);
	world_wait(w, 110 * CLOCK_SEC);
	world_hold(w, held);
	world_delete(w, deleted);
	world_pump(w);
	world_set_slow_keeper(w, false);
	rest(w);
	world_release(w, held);
	rest(w);
}

/* In doubt, sent again, and the power goes (Q16). */
static void doubt_twice(struct world *w)
{
	world_set_slow_worker(w, true);
	world_submit(w, 0, "o", 0);
	world_commit(w, 0);
	rest(w);
	world_kill_worker(w);
	rest(w);
	world_kill_qmgr(w);
	world_kill_worker(w);
	world_start(w);
	rest(w);
	world_set_slow_worker(w, false);
	rest(w);
}

static const struct script scripts[] = {
	{"commit", commit_one},
	{"shared commit", commit_shared},
	{"segment reuse (Q15)", reuse},
	{"failed sync (Q18)", failed_sync},
	{"failed sync, keeper away (Q18)", failed_sync_alone},
	{"failed sync of the log (Q12)", failed_log_sync},
	{"takeover (Q6)", takeover},
	{"takeover after a failed sync (Q2)", takeover_failed},
	{"two cleanups", two_cleanups},
	{"unknown worker (Q7, Q8)", unknown_worker},
	{"segment with all done (Q9)", all_done},
	{"late hand-out (Q1)", late_hand_out},
	{"move to a file (Q10)", to_file},
	{"large body", large_body},
	{"hold and release", hold_release},
	{"withdrawal (Q17)", withdrawal},
	{"delete (Q3)", deletion},
	{"requeue (Q14)", requeue},
	{"notice (Q14)", notice},
	{"notice of a file (Q3)", notice_of_file},
	{"notice of a dead worker (Q14)", notice_lost},
	{"slow keeper (Q4)", slow_keeper},
	{"two batches (Q4)", two_batches},
	{"rotation (Q4)", rotation},
	{"death of qmgr (Q5)", qmgr_dies},
	{"doubt, and doubt again (Q16)", doubt_twice},
	{"clean stop (Q11)", clean_stop},
	{"log compaction (Q3)", compaction},
	{"full disk", full_disk},
};

/* What was unlinked, but not for good, before all died; then the log forgets; then the power goes.
 */
static void unlinked(struct world *w)
{
	world_set_queue_up(w, true);
	world_submit(w, 0, "q", 0);
	world_commit(w, 0);
	rest(w);
	world_wait(w, 31 * CLOCK_SEC);
	rest(w);
	world_set_queue_up(w, false);
	world_wait(w, 101 * CLOCK_SEC);
	rest(w);
}

static void forget(struct world *w)
{
	world_start(w);
	for (int i = 0; i < 30; i++) {
		world_submit(w, 0, "o", 0);
		world_commit(w, 0);
		world_wait(w, 50 * CLOCK_SEC);
		world_wait(w, 2 * CLOCK_SEC);
	}
	world_cut_power(w, DISK_FORGET_ALL);
}

struct tally {
	unsigned runs, bad;
	char first[400];
};

static const char *const stops[] = {"no stop", "power cut", "death of all", "death of one"};

static void run_one(const struct script *s, enum world_stop stop, enum disk_choice choice,
	uint64_t seed, uint64_t at, bool in_middle, uint64_t again, struct tally *t)
{
	struct world *w = world_new(stop, choice, seed);
	const char *wrong;

	world_stop_in(w, at, in_middle);
	world_stop_again(w, again);
	world_start(w);
	s->run(w);
	wrong = world_finish(w);
	t->runs++;
	if (wrong != NULL && t->bad++ == 0)
		snprintf(t->first, sizeof(t->first),
			"%s at call %llu%s, choice %d, seed %llu, again %llu: %s", stops[stop],
			(unsigned long long)at, in_middle ? " in its middle" : "", (int)choice,
			(unsigned long long)seed, (unsigned long long)again, wrong);
	world_free(&w);
}

static uint64_t plain(const struct script *s)
{
	struct world *w = world_new(STOP_NEVER, DISK_KEEP_ALL, 1);
	const char *wrong;
	uint64_t n;

	world_start(w);
	s->run(w);
	n = world_calls(w);
	wrong = world_finish(w);
	ok(wrong == NULL, "%s, no stop: %s", s->name, wrong != NULL ? wrong : "all is well");
	world_free(&w);
	return n;
}

static void all_stops(const struct script *s, uint64_t from, uint64_t calls, uint64_t step)
{
	struct tally t = {0};

	for (uint64_t at = from; at <= calls; at += step) {
		run_one(s, STOP_POWER, DISK_FORGET_ALL, at, at, false, 0, &t);
		run_one(s, STOP_POWER, DISK_KEEP_ALL, at, at, false, 0, &t);
		run_one(s, STOP_POWER, DISK_ONE_KEPT, at * 7, at, false, 0, &t);
		run_one(s, STOP_POWER, DISK_ONE_LOST, at * 5, at, false, 0, &t);
		run_one(s, STOP_POWER, DISK_RANDOM, at, at, true, 0, &t);
		run_one(s, STOP_POWER, DISK_RANDOM, at * 3, at, false, 1 + at * 31 % 60, &t);
		run_one(s, STOP_POWER, DISK_FORGET_ALL, at, at, false, 1 + at * 17 % 60, &t);
		run_one(s, STOP_ALL, DISK_KEEP_ALL, at, at, at % 2 == 0, 0, &t);
		run_one(s, STOP_ALL, DISK_KEEP_ALL, at, at, false, 1 + at * 13 % 60, &t);
		run_one(s, STOP_ALL, DISK_KEEP_ALL, at, at, false, 1 + at * 29 % 90, &t);
		run_one(s, STOP_PROCESS, DISK_KEEP_ALL, at, at, at % 3 == 0, 0, &t);
	}
	ok(t.bad == 0, "%s, stopped at each of %llu calls: %u of %u runs wrong%s%s", s->name,
		(unsigned long long)calls, t.bad, t.runs, t.bad > 0 ? "; first: " : "", t.first);
}

static void forgotten(void)
{
	const struct script s = {"unlinked and forgotten (Q10)", unlinked};
	uint64_t calls = plain(&s);
	unsigned bad = 0;
	char first[200] = "";

	for (uint64_t at = calls / 2; at <= calls; at++) {
		struct world *w = world_new(STOP_ALL, DISK_FORGET_ALL, at);
		const char *wrong;

		world_stop_in(w, at, false);
		world_start(w);
		s.run(w);
		forget(w);
		wrong = world_finish(w);
		if (wrong != NULL && bad++ == 0)
			snprintf(first, sizeof(first), "; first: at call %llu: %s",
				(unsigned long long)at, wrong);
		world_free(&w);
	}
	ok(bad == 0, "%s: %u wrong%s", s.name, bad, first);
}

/* A worker dies between a large body and its record: nothing of it stays. */
static void leftovers(void)
{
	struct world *w = world_new(STOP_NEVER, DISK_KEEP_ALL, 1);
	const char *wrong;

	world_start(w);
	world_lone_body(w, 1);
	world_set_queue_up(w, true);
	world_submit_large(w, 0, "q", 9000);
	world_commit(w, 0);
	world_pump(w);
	is_int(world_bodies(w), 2, "a body that somebody writes stays, and one with a message");
	world_kill_cleanup(w, 1);
	world_kill_qmgr(w);
	world_start(w);
	world_wait(w, 2 * CLOCK_SEC);
	is_int(world_bodies(w), 1,
		"the one without a message is removed at start, the other stays");
	world_set_queue_up(w, false);
	wrong = world_finish(w);
	ok(wrong == NULL, "leftovers: %s", wrong != NULL ? wrong : "all is well");
	is_int(world_bodies(w), 0, "no body is left at the end");
	world_free(&w);
}

static void keeper_lives(void)
{
	struct world *w = world_new(STOP_NEVER, DISK_KEEP_ALL, 1);

	world_start(w);
	world_submit(w, 0, "o", 0);
	world_commit(w, 0);
	world_pump(w);
	ok(world_is_locked_out(w), "Q13: no new qmgr before the old keeper is gone");
	world_free(&w);
}

int main(void)
{
	const char *only = getenv("MODEL_ONLY");
	const char *at = getenv("MODEL_AT");

	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
		uint64_t calls;

		if (only != NULL && strcmp(only, scripts[i].name) != 0)
			continue;
		calls = plain(&scripts[i]);
		if (at != NULL)
			all_stops(&scripts[i], (uint64_t)atoll(at), (uint64_t)atoll(at), 1);
		else
			/* Long ones at every third call, so that the suite stays short. */
			all_stops(&scripts[i], 1, calls,
				calls > 250 && getenv("MODEL_ALL") == NULL ? 3 : 1);
	}
	if (only == NULL || strcmp(only, "forgotten") == 0)
		forgotten();
	leftovers();
	keeper_lives();
	return done_testing();
}

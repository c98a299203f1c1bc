/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "t/queue/model_scripts.h"
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
/* What was unlinked, but not for good, before all died; then the log forgets; then the power goes.
 */
static void unlinked(struct world *w)
{
	world_set_queue_up(w, true);
	world_submit(w, 0, "q", 0);
	world_commit(w, 0);
	world_rest(w);
	world_wait(w, 31 * CLOCK_SEC);
	world_rest(w);
	world_set_queue_up(w, false);
	world_wait(w, 101 * CLOCK_SEC);
	world_rest(w);
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

	for (size_t i = 0; scripts[i].name != NULL; i++) {
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

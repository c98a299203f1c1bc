/* SPDX-License-Identifier: ISC */
#include "t/queue/model_scripts.h"

#include "util/clock.h"

void world_rest(struct world *w)
{
	world_pump(w);
	world_wait(w, 2 * CLOCK_SEC);
	world_wait(w, 2 * CLOCK_SEC);
}

/* A message of the first cleanup, committed at once. */
static void mail(struct world *w, const char *rcpts, size_t size)
{
	world_submit(w, 0, rcpts, size);
	world_commit(w, 0);
}

static void commit_one(struct world *w)
{
	mail(w, "o", 0);
	world_rest(w);
}

static void commit_shared(struct world *w)
{
	world_submit(w, 0, "od", 0);
	world_submit(w, 0, "o", 6000);
	mail(w, "f", 0);
	world_pump(w);
	mail(w, "o", 0);
	world_rest(w);
	world_wait(w, 120 * CLOCK_SEC);
}

/* Five messages of six blocks a segment's fourteen: every third begins another. */
static void reuse(struct world *w)
{
	for (int i = 0; i < 9; i++) {
		mail(w, "o", 20000);
		if (i % 2 == 1)
			world_rest(w);
	}
	world_rest(w);
}

static void failed_sync(struct world *w)
{
	mail(w, "o", 0);
	world_submit(w, 0, "oo", 0);
	world_submit(w, 0, "o", 5000);
	world_fail_next_sync(w, "incoming/0", 7);
	world_commit(w, 0);
	world_pump(w);
	mail(w, "o", 0);
	world_rest(w);
}

/* The keeper cannot make the cut durable in time: nobody may be told 451. */
static void failed_sync_alone(struct world *w)
{
	mail(w, "o", 0);
	world_rest(w);
	world_set_slow_keeper(w, true);
	world_submit(w, 0, "oo", 0);
	world_fail_next_sync(w, "incoming/0", UINT64_MAX);
	world_commit(w, 0);
	mail(w, "o", 0);
	world_set_slow_keeper(w, false);
	world_rest(w);
}

static void failed_log_sync(struct world *w)
{
	mail(w, "od", 0);
	world_pump(w);
	world_fail_next_sync(w, "log/", 7);
	mail(w, "of", 0);
	world_rest(w);
	world_wait(w, 110 * CLOCK_SEC);
	world_wait(w, 2 * CLOCK_SEC);
}

static void takeover(struct world *w)
{
	mail(w, "o", 0);
	world_pump(w);
	world_submit(w, 0, "od", 0);
	world_commit_quiet(w, 0);
	world_submit(w, 0, "o", 0);
	world_kill_cleanup(w, 0);
	world_pump(w);
	world_start(w);
	mail(w, "o", 0);
	world_rest(w);
}

/* Q2: the pages are marked clean, the worker is dead, our own sync would say yes. */
static void takeover_failed(struct world *w)
{
	mail(w, "o", 0);
	world_rest(w);
	world_set_queue_up(w, true);
	world_submit(w, 0, "q", 0);
	world_submit(w, 0, "qo", 6000);
	world_commit_and_die(w, 0);
	world_pump(w);
	world_start(w);
	world_rest(w);
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
	mail(w, "o", 0);
	world_rest(w);
}

static void to_file(struct world *w)
{
	world_set_queue_up(w, true);
	world_submit(w, 0, "qo", 0);
	mail(w, "q", 7000);
	world_rest(w);
	world_wait(w, 31 * CLOCK_SEC);
	world_rest(w);
	world_wait(w, 100 * CLOCK_SEC);
	world_rest(w);
	world_set_queue_up(w, false);
	world_wait(w, 101 * CLOCK_SEC);
	world_rest(w);
}

static void large_body(struct world *w)
{
	world_set_queue_up(w, true);
	world_submit_large(w, 0, "q", 70000);
	world_submit_large(w, 0, "o", 9000);
	world_commit(w, 0);
	world_rest(w);
	world_wait(w, 31 * CLOCK_SEC);
	world_rest(w);
	world_set_queue_up(w, false);
	world_wait(w, 101 * CLOCK_SEC);
	world_rest(w);
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
	world_rest(w);
	early = world_submit(w, 0, "o", 0);
	world_commit(w, 0);
	world_set_slow_keeper(w, true);
	world_pump(w);
	world_hold(w, early);
	world_set_slow_keeper(w, false);
	world_rest(w);
	world_release(w, held);
	world_release(w, early);
	world_set_queue_up(w, false);
	world_rest(w);
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
	world_rest(w);
	world_wait(w, 31 * CLOCK_SEC);
	world_rest(w);
	world_delete(w, b);
	world_rest(w);
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
	world_rest(w);
	world_requeue(w, a);
	world_rest(w);
	world_wait(w, 31 * CLOCK_SEC);
	world_rest(w);
	world_requeue(w, b);
	world_rest(w);
	world_set_queue_up(w, false);
	world_wait(w, 101 * CLOCK_SEC);
}

static void notice(struct world *w)
{
	mail(w, "of", 0);
	world_pump(w);
	mail(w, "ff", 0);
	world_rest(w);
}

/*
 * Mail of maildrop; its worker dies when the files are unlinked, and not yet durably, and for a
 * while there is no other that could say so (Q19).
 */
static void pick_up(struct world *w)
{
	world_drop(w, "o", 0);
	world_drop(w, "oo", 0);
	world_pickup(w, 0);
	world_rest(w);
	world_kill_cleanup(w, 0);
	world_kill_cleanup(w, 1);
	world_rest(w);
	world_start(w);
	world_drop(w, "fd", 0);
	world_pickup(w, 1);
	world_rest(w);
	world_wait(w, 101 * CLOCK_SEC);
	commit_one(w);
}

/* A segment is left behind what was picked up into it; one worker finds what another began. */
static void pick_up_and_leave(struct world *w)
{
	for (int i = 0; i < 3; i++)
		world_drop(w, "o", 20000);
	world_pickup(w, 0);
	world_rest(w);
	world_drop(w, "o", 0);
	mail(w, "o", 20000);
	world_pickup(w, 0);
	mail(w, "o", 20000);
	world_rest(w);
	world_pickup(w, 1);
	world_kill_qmgr(w);
	world_start(w);
	world_rest(w);
}

/* Success, delay, a first attempt: each told once, and success for certain. */
static void success(struct world *w)
{
	mail(w, "so", 0);
	world_pump(w);
	mail(w, "ss", 0);
	world_rest(w);
}

static void delay(struct world *w)
{
	mail(w, "ls", 0);
	world_rest(w);
	world_wait(w, 31 * CLOCK_SEC);
	world_rest(w);
	world_wait(w, 70 * CLOCK_SEC);
	world_rest(w);
}

static void trace(struct world *w)
{
	mail(w, "tt", 0);
	world_rest(w);
	world_wait(w, 31 * CLOCK_SEC);
	world_kill_qmgr(w);
	world_start(w);
	world_wait(w, 70 * CLOCK_SEC);
	world_rest(w);
}

/* The sender's notice and the postmaster's copy: each once, whatever dies between. */
static void copies(struct world *w)
{
	mail(w, "pc", 0);
	world_pump(w);
	mail(w, "cf", 0);
	world_rest(w);
	world_wait(w, 31 * CLOCK_SEC);
	world_rest(w);
	world_wait(w, 70 * CLOCK_SEC);
	world_rest(w);
}

/* What was told stays told when the log has been written anew. */
static void told_and_compacted(struct world *w)
{
	mail(w, "ltp", 0);
	world_rest(w);
	for (int i = 0; i < 30; i++) {
		mail(w, "o", 0);
		world_wait(w, 2 * CLOCK_SEC);
	}
	world_kill_qmgr(w);
	world_start(w);
	world_wait(w, 100 * CLOCK_SEC);
	world_rest(w);
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
	world_rest(w);
	world_start(w);
	world_rest(w);
}

static void qmgr_dies(struct world *w)
{
	world_set_slow_worker(w, true);
	world_submit(w, 0, "od", 0);
	mail(w, "f", 0);
	world_pump(w);
	world_kill_qmgr(w);
	world_start(w);
	world_pump(w);
	mail(w, "o", 0);
	world_pump(w);
	world_kill_worker(w);
	world_set_slow_worker(w, false);
	world_rest(w);
}

static void clean_stop(struct world *w)
{
	world_set_queue_up(w, true);
	mail(w, "oq", 0);
	world_rest(w);
	world_stop_qmgr(w);
	mail(w, "o", 0);
	world_start(w);
	world_rest(w);
	world_set_queue_up(w, false);
	world_wait(w, 101 * CLOCK_SEC);
}

/* Pieces of 16 blocks, a sync a block: the log runs through them, and drops the oldest. */
static void compaction(struct world *w)
{
	world_set_queue_up(w, true);
	world_submit(w, 0, "q", 0);
	mail(w, "qd", 0);
	world_rest(w);
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
	mail(w, "qo", 0);
	world_rest(w);
	disk_set_space(world_disk(w), 3);
	world_wait(w, 31 * CLOCK_SEC);
	for (int i = 0; i < 4; i++) {
		mail(w, "o", 20000);
	}
	world_rest(w);
	disk_set_space(world_disk(w), UINT64_MAX);
	world_set_queue_up(w, false);
	world_rest(w);
	world_wait(w, 101 * CLOCK_SEC);
}

/* The pieces are there, and cannot be written all the same: they copy on write. */
static void full_copying_disk(struct world *w)
{
	disk_set_copying(world_disk(w), true);
	world_set_queue_up(w, true);
	mail(w, "qo", 0);
	world_rest(w);
	for (int i = 0; i < 3; i++) {
		world_submit(w, 0, "od", 0);
		disk_set_space(world_disk(w), 0);
		world_commit(w, 0);
		for (int k = 0; k < 5; k++)
			world_wait(w, 50 * CLOCK_SEC);
		disk_set_space(world_disk(w), UINT64_MAX);
		world_wait(w, 2 * CLOCK_SEC);
		mail(w, "o", 0);
	}
	world_set_queue_up(w, false);
	world_rest(w);
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
		world_rest(w);
		world_release(w, other);
		world_rest(w);
	}
	world_set_paused(w, false);
	world_pump(w);
	mail(w, "o", 0);
	world_rest(w);
}

/* The parent is in a file; its end must not come before "notified" is durable. */
static void notice_of_file(struct world *w)
{
	mail(w, "e", 0);
	world_rest(w);
	world_wait(w, 31 * CLOCK_SEC);
	world_rest(w);
	world_wait(w, 70 * CLOCK_SEC);
	world_rest(w);
}

/* Syncs under way while more is noted: batches can survive one without the other. */
static void slow_keeper(struct world *w)
{
	mail(w, "of", 0);
	world_pump(w);
	world_set_slow_keeper(w, true);
	for (int i = 0; i < 3; i++) {
		world_wait(w, 2 * CLOCK_SEC);
		mail(w, "of", 0);
		world_pump(w);
	}
	world_set_slow_keeper(w, false);
	world_rest(w);
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
	world_rest(w);
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
	world_rest(w);
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
	mail(w, "o", 0);
	world_pump(w);
	world_kill_cleanup(w, 0);
	world_wait(w, 20 * CLOCK_SEC);
	world_rest(w);
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
	world_rest(w);
}

/* Everything of a living worker's segment is done, and another comes (Q9). */
static void all_done(struct world *w)
{
	for (int i = 0; i < 3; i++) {
		mail(w, "o", 0);
		world_rest(w);
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
	world_rest(w);
	world_set_queue_up(w, false);
	world_set_slow_keeper(w, true);
	world_wait(w, 110 * CLOCK_SEC);
	world_hold(w, held);
	world_delete(w, deleted);
	world_pump(w);
	world_set_slow_keeper(w, false);
	world_rest(w);
	world_release(w, held);
	world_rest(w);
}

/* In doubt, sent again, and the power goes (Q16). */
static void doubt_twice(struct world *w)
{
	world_set_slow_worker(w, true);
	mail(w, "o", 0);
	world_rest(w);
	world_kill_worker(w);
	world_rest(w);
	world_kill_qmgr(w);
	world_kill_worker(w);
	world_start(w);
	world_rest(w);
	world_set_slow_worker(w, false);
	world_rest(w);
}

/* A child cannot be read yet, and its parent goes out: then the child comes too late (Q14). */
static void late_child(struct world *w)
{
	int a;

	world_pump(w);
	world_set_queue_up(w, true);
	a = world_submit(w, 1, "q", 0);
	world_commit(w, 1);
	world_rest(w);
	world_kill_cleanup(w, 0);
	world_set_silent(w, 0);
	world_start(w);
	world_requeue(w, a);
	world_kill_qmgr(w);
	world_start(w);
	world_set_slow_worker(w, true);
	world_wait(w, 101 * CLOCK_SEC);
	world_set_silent(w, -1);
	world_start(w);
	world_pump(w);
	world_set_slow_worker(w, false);
	world_set_queue_up(w, false);
	world_rest(w);
	world_wait(w, 101 * CLOCK_SEC);
}

/* In doubt, which is not durable yet, and requeued: the child must wait for it (Q14). */
static void doubtful_requeue(struct world *w)
{
	int a;

	world_set_slow_worker(w, true);
	a = world_submit(w, 0, "o", 0);
	world_commit(w, 0);
	world_rest(w);
	world_set_slow_keeper(w, true);
	world_kill_worker(w);
	world_requeue(w, a);
	world_pump(w);
	world_set_slow_keeper(w, false);
	world_rest(w);
	world_set_slow_worker(w, false);
	world_rest(w);
}

/* What the log has forgotten stands behind the tail of a segment that is used again (Q15). */
static void stale_tail(struct world *w)
{
	for (int i = 0; i < 6; i++)
		world_submit(w, 1, "o", 0);
	world_commit(w, 1);
	world_rest(w);
	world_kill_cleanup(w, 1);
	world_rest(w);
	for (int i = 0; i < 20; i++) {
		mail(w, "f", 0);
		world_pump(w);
	}
	world_start(w);
	world_submit(w, 1, "o", 0);
	world_commit(w, 1);
	world_rest(w);
	world_kill_cleanup(w, 1);
	world_kill_cleanup(w, 0);
	world_rest(w);
}

/* Cut, freed, and used again beyond the cut (Q15). */
static void other_generation(struct world *w)
{
	world_submit(w, 0, "o", 0);
	world_submit(w, 0, "o", 0);
	world_fail_next_sync(w, "incoming/0", 7);
	world_commit(w, 0);
	world_rest(w);
	for (int i = 0; i < 3; i++) {
		world_submit(w, 0, "o", 20000);
		mail(w, "o", 20000);
		world_rest(w);
	}
	mail(w, "o", 0);
	world_rest(w);
}

/* Many events while a message lives in the journal: a piece goes, its state is carried (Q3). */
static void carried(struct world *w)
{
	world_set_queue_up(w, true);
	world_submit(w, 1, "oq", 0);
	world_commit(w, 1);
	world_pump(w);
	for (int i = 0; i < 24; i++) {
		mail(w, "f", 0);
		world_pump(w);
	}
	world_kill_qmgr(w);
	world_start(w);
	world_set_queue_up(w, false);
	world_wait(w, 101 * CLOCK_SEC);
}

/* A block of the log for each: the oldest pieces are dropped while all mail is in the journal. */
static void many_events(struct world *w, int held)
{
	for (int i = 0; i < 24; i++) {
		world_hold(w, held);
		world_pump(w);
		world_release(w, held);
		world_pump(w);
	}
}

/* A result that only a dropped piece had (Q3). */
static void state_carried(struct world *w)
{
	int other;

	world_set_queue_up(w, true);
	world_submit(w, 1, "oq", 0);
	other = world_submit(w, 1, "q", 0);
	world_commit(w, 1);
	world_pump(w);
	many_events(w, other);
	world_kill_qmgr(w);
	world_start(w);
	world_set_queue_up(w, false);
	world_wait(w, 101 * CLOCK_SEC);
}

/* The end of a segment whose worker told of a failed sync (Q3, Q18). */
static void cut_carried(struct world *w)
{
	int other;

	world_set_queue_up(w, true);
	world_submit(w, 1, "q", 0);
	other = world_submit(w, 1, "q", 0);
	world_commit(w, 1);
	world_submit(w, 1, "oo", 0);
	world_fail_next_sync(w, "incoming/0", 7);
	world_commit(w, 1);
	world_pump(w);
	many_events(w, other);
	world_kill_qmgr(w);
	world_kill_cleanup(w, 1);
	world_set_queue_up(w, false);
	world_start(w);
	world_rest(w);
	world_wait(w, 101 * CLOCK_SEC);
}

/* That a child was accepted, when its parent is forgotten (Q3, Q14). */
static void child_carried(struct world *w)
{
	int a, other;

	world_set_queue_up(w, true);
	a = world_submit(w, 1, "q", 0);
	other = world_submit(w, 1, "q", 0);
	world_commit(w, 1);
	world_pump(w);
	world_set_paused(w, true);
	world_requeue(w, a);
	world_pump(w);
	many_events(w, other);
	world_kill_qmgr(w);
	world_start(w);
	world_pump(w);
	world_set_paused(w, false);
	world_set_queue_up(w, false);
	world_wait(w, 101 * CLOCK_SEC);
}

/* Numbers of records that are done, in a generation that has ended since (Q15). */
static void done_before(struct world *w)
{
	int other;

	world_set_queue_up(w, true);
	world_submit(w, 1, "o", 0);
	world_submit(w, 1, "o", 0);
	other = world_submit(w, 1, "q", 0);
	world_commit(w, 1);
	world_pump(w);
	many_events(w, other);
	world_kill_cleanup(w, 1);
	world_wait(w, 31 * CLOCK_SEC);
	world_rest(w);
	world_start(w);
	world_submit(w, 1, "q", 0);
	world_submit(w, 1, "q", 0);
	world_commit(w, 1);
	world_rest(w);
	world_kill_qmgr(w);
	world_start(w);
	world_set_queue_up(w, false);
	world_rest(w);
	world_wait(w, 101 * CLOCK_SEC);
}

/* In doubt and sent again, and only then its requeued copy can be read: too late (Q14). */
static void late_child_in_doubt(struct world *w)
{
	int a;

	world_pump(w);
	world_set_slow_worker(w, true);
	a = world_submit(w, 1, "o", 0);
	world_commit(w, 1);
	world_rest(w);
	world_kill_cleanup(w, 0);
	world_set_silent(w, 0);
	world_start(w);
	world_set_slow_keeper(w, true);
	world_kill_worker(w);
	world_requeue(w, a);
	world_set_slow_keeper(w, false);
	world_kill_qmgr(w);
	world_start(w);
	world_pump(w);
	world_set_silent(w, -1);
	world_start(w);
	world_pump(w);
	world_set_slow_worker(w, false);
	world_rest(w);
}

/* "Failed" at the end of a piece, "notified" in the next, neither synced (Q4). */
static void end_of_piece(struct world *w)
{
	world_set_queue_up(w, true);
	for (int i = 0; i < 9; i++) {
		world_pump(w);
		world_kill_cleanup(w, 0);
		world_submit(w, 1, "fq", 0);
		world_commit(w, 1);
		world_pump(w);
		world_set_slow_keeper(w, true);
		world_wait(w, 2 * CLOCK_SEC);
		world_start(w);
		world_pump(w);
		world_set_slow_keeper(w, false);
		world_pump(w);
	}
	world_set_queue_up(w, false);
	world_rest(w);
}

static void forward(struct world *w)
{
	world_submit(w, 0, "w", 0);
	mail(w, "owf", 0);
	world_rest(w);
	mail(w, "ww", 0);
	world_rest(w);
}

/* The worker dies between the commit of its forward and its report; qmgr knows the child. */
static void forward_dies(struct world *w)
{
	world_set_slow_worker(w, true);
	world_submit(w, 1, "wo", 0);
	world_commit(w, 1);
	world_pump(w);
	world_kill_worker(w);
	world_rest(w);
	world_submit(w, 1, "w", 0);
	world_commit(w, 1);
	world_pump(w);
	world_kill_qmgr(w);
	world_start(w);
	world_pump(w);
	world_kill_worker(w);
	world_set_slow_worker(w, false);
	world_rest(w);
}

/* The same, and qmgr cannot read the child yet: the second one comes too late. */
static void forward_unread(struct world *w)
{
	world_pump(w);
	world_kill_cleanup(w, 0);
	world_set_silent(w, 0);
	world_start(w);
	world_set_slow_worker(w, true);
	world_submit(w, 1, "w", 0);
	world_submit(w, 1, "w", 0);
	world_commit(w, 1);
	world_pump(w);
	world_kill_worker(w);
	world_pump(w);
	world_set_slow_worker(w, false);
	world_rest(w);
	world_set_silent(w, -1);
	world_kill_cleanup(w, 1);
	world_start(w);
	world_rest(w);
}

/* The keeper hangs: jobs stop before the log is full, and what is out finds room. */
static void full_log(struct world *w)
{
	world_pump(w);
	world_set_slow_keeper(w, true);
	for (int i = 0; i < 22; i++) {
		mail(w, "oood", 0);
	}
	world_pump(w);
	world_wait(w, 2 * CLOCK_SEC);
	world_wait(w, 101 * CLOCK_SEC);
	world_set_slow_keeper(w, false);
	world_rest(w);
	world_wait(w, 101 * CLOCK_SEC);
}

const struct script scripts[] = {
	{"commit", commit_one},
	{"shared commit", commit_shared},
	{"segment reuse (Q15)", reuse},
	{"stale tail (Q15)", stale_tail},
	{"another generation (Q15)", other_generation},
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
	{"requeue, child read late (Q14)", late_child},
	{"requeue in doubt (Q14)", doubtful_requeue},
	{"requeue, in doubt, child read late (Q14)", late_child_in_doubt},
	{"forward (Q14)", forward},
	{"forward, worker dies (Q14)", forward_dies},
	{"forward that is not read (Q3, Q14)", forward_unread},
	{"notice (Q14)", notice},
	{"notice of a file (Q3)", notice_of_file},
	{"notice of success (Q14)", success},
	{"notice of delay (Q14)", delay},
	{"report of a first attempt (Q14)", trace},
	{"copies of notices (Q14)", copies},
	{"told, then compaction (Q3, Q14)", told_and_compacted},
	{"notice of a dead worker (Q14)", notice_lost},
	{"maildrop (Q19)", pick_up},
	{"maildrop, segment left (Q19)", pick_up_and_leave},
	{"slow keeper (Q4)", slow_keeper},
	{"two batches (Q4)", two_batches},
	{"end of a piece (Q4)", end_of_piece},
	{"rotation (Q4)", rotation},
	{"death of qmgr (Q5)", qmgr_dies},
	{"doubt, and doubt again (Q16)", doubt_twice},
	{"clean stop (Q11)", clean_stop},
	{"log compaction (Q3)", compaction},
	{"carried on (Q3)", carried},
	{"state carried on (Q3)", state_carried},
	{"end by a failed sync carried on (Q3, Q18)", cut_carried},
	{"accepted child carried on (Q3, Q14)", child_carried},
	{"records done in another generation (Q15)", done_before},
	{"full disk", full_disk},
	{"full disk that copies on write (Q12)", full_copying_disk},
	{"full log", full_log},
	{NULL, NULL},
};

/* SPDX-License-Identifier: ISC */
#ifndef T_QUEUE_WORLD_H
#define T_QUEUE_WORLD_H

#include "queue/store.h"
#include "t/queue/disk.h"

/*
 * A small mail system in one process on a model disk: two cleanup workers, qmgr with its keeper,
 * a delivery worker and a next hop that remembers everything. Scripts drive it; it checks at every
 * step what must never happen, and world_finish lets all mail end and checks the rest:
 *
 *   no acknowledged recipient is lost; none is sent again after the next hop took it unless "in
 *   doubt" is durable before; none is invented; refused and deleted mail is not sent; held mail
 *   is not sent; no two notices for one failure; no two forwards of one recipient, whatever is in
 *   doubt; content is what was committed; a file of maildrop is one message, and is gone at the
 *   end.
 *
 * What a recipient does: 'o' taken, 'd' deferred once and then taken, 'f' refused for good (a
 * notice goes to the sender), 'e' deferred once and then refused, 'q' deferred as long as
 * world_set_queue_up is on; 'w' forwarded: the delivery worker makes a new message of it; 's'
 * taken, which its sender must be told of; 'l' as 'd', and its sender is told of the delay; 't' as
 * 'd', and its sender gets a report of the first attempt; 'c' as 'f', 'p' as 'l', and the
 * postmaster gets a copy of that notice.
 */
#define WORLD_MESSAGES 64
#define WORLD_RCPTS 4

enum world_stop {
	STOP_NEVER,
	STOP_POWER,   /* everything dies, the disk forgets by choice */
	STOP_ALL,     /* everything dies, the page cache stays */
	STOP_PROCESS, /* the process that makes the call dies */
};

struct world;

struct world *world_new(enum world_stop stop, enum disk_choice choice, uint64_t seed);
void world_free(struct world **w);
/* The stop comes at this I/O call, counted from now. */
void world_stop_in(struct world *w, uint64_t call, bool in_middle);
/* A second power cut, this many calls into what follows the first. */
void world_stop_again(struct world *w, uint64_t call);
struct disk *world_disk(struct world *w);
uint64_t world_calls(const struct world *w);
/* The system is dead by power cut or death of all. */
bool world_is_off(const struct world *w);

/* Starts what is dead. */
void world_start(struct world *w);
/* A message in cleanup c's open commit; its number. size: bytes of content; 0: a few. */
int world_submit(struct world *w, int c, const char *rcpts, size_t size);
int world_submit_held(struct world *w, int c, const char *rcpts);
int world_submit_large(struct world *w, int c, const char *rcpts, size_t body);
/* Makes it durable and answers; tells qmgr unless quiet. */
void world_commit(struct world *w, int c);
void world_commit_quiet(struct world *w, int c);
/* Lets qmgr, keeper and worker run until nothing moves, without time passing. */
void world_pump(struct world *w);
/* Time passes: µs, in one step, then as world_pump. */
void world_wait(struct world *w, int64_t us);
/* The sync fails and the worker dies before it can tell anybody; the client asks by id (Q6). */
void world_commit_and_die(struct world *w, int c);
void world_hold(struct world *w, int msg);
void world_release(struct world *w, int msg);
void world_delete(struct world *w, int msg);
void world_requeue(struct world *w, int msg);
/* Seed as disk_fail_next_sync has it. */
void world_fail_next_sync(struct world *w, const char *prefix, uint64_t seed);
void world_kill_cleanup(struct world *w, int c);
void world_kill_qmgr(struct world *w);
/* qmgr dies, its keeper lives: the lock must hold off another until that has gone too (Q13). */
bool world_is_locked_out(struct world *w);
void world_kill_worker(struct world *w);
void world_stop_qmgr(struct world *w); /* cleanly */
void world_cut_power(struct world *w, enum disk_choice choice);
/* The worker takes jobs and reports nothing until this is false again. */
void world_set_slow_worker(struct world *w, bool slow);
void world_set_queue_up(struct world *w, bool queue_up);
/* The worker that writes the next notice dies when it is committed and nobody knows. */
void world_set_child_dies(struct world *w);
/* This worker (-1: none) has no connection to qmgr. */
void world_set_silent(struct world *w, int c);
/* qmgr reads and notes, and hands nothing out. */
void world_set_paused(struct world *w, bool paused);
/* The keeper does not get to the orders it has. */
void world_set_slow_keeper(struct world *w, bool slow);
/* A body without a message, in cleanup c's hands. */
void world_lone_body(struct world *w, int c);
/* A local program's mail in a file of maildrop; its number, if it is written whole, counts. */
void world_drop(struct world *w, const char *rcpts, size_t size);
/* Cleanup c takes what is there (Q19), all in one commit while they fit a segment. */
void world_pickup(struct world *w, int c);
/* Files that end in .body, anywhere. */
int world_bodies(const struct world *w);
const char *world_id(const struct world *w, int msg);
int world_sent(const struct world *w, int msg, int rcpt);
bool world_is_refused(const struct world *w, int msg);
uint32_t world_doubts(const struct world *w); /* in-doubt recipients that qmgr was told of */

/* Ends all mail and checks. NULL: all is well; else the first thing that was wrong. */
const char *world_finish(struct world *w);
const char *world_wrong(const struct world *w);

#endif

/* SPDX-License-Identifier: ISC */
#include "t/queue/world.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue/drop.h"
#include "queue/keeper.h"
#include "queue/log.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

#define SEGMENT (16u * QUEUE_BLOCK)
#define LIMIT (8u * SEGMENT)
#define PIECE (9u * QUEUE_BLOCK)
#define START INT64_C(1800000000000000)
#define JOBS 128
#define DROPS 8

/* What the world knows of a message, whatever the queue believes. */
struct fact {
	char id[QUEUE_ID_MAX + 1];
	char spec[WORLD_RCPTS + 1];
	int n;
	size_t size, body;
	bool asking;                         /* its client lost cleanup and asks by id */
	bool pending, acked, refused, known; /* known: it may be delivered */
	bool deleting, deleted, holding, held, released;
	int parent; /* -1: none */
	uint8_t reason;
	uint32_t parent_rcpts[WORLD_RCPTS];
	int parent_n;
	int tries[WORLD_RCPTS];            /* that the next hop saw */
	int taken[WORLD_RCPTS];            /* that the next hop accepted */
	int by[WORLD_RCPTS];               /* the forward, if any, that it was accepted as */
	uint16_t notice_sent[WORLD_RCPTS]; /* bits of enum queue_reason */
	bool hold_flag;
	int drop; /* the file of maildrop that it is; -1: none */
};

/* A file of maildrop, whatever its name is now. */
struct drop {
	char spec[WORLD_RCPTS + 1];
	size_t size;
	bool is_whole; /* its writer was told so */
	int fact;      /* that has been sent; -1: none */
};

/* One that cleanup has taken: it has the lock. */
struct taken {
	char path[QUEUE_PATH_MAX];
	int fact, fd;
};

static bool is_notice(const struct fact *f)
{
	return f->reason < QUEUE_REASON_REQUEUE || f->reason >= QUEUE_REASON_TRACE;
}

struct cleanup {
	const struct queue_io *io;
	struct queue_journal *journal;
	struct queue_ids *ids;
	uint64_t worker; /* 0: not known to qmgr */
	int pending[16], pending_n;
	struct queue_body *bodies[16]; /* open until their records are durable */
	int bodies_n;
	struct taken taken[DROPS];
	int taken_n;
	uint32_t told;     /* segment */
	bool has_unlinked; /* and no sync since */
	bool is_up;
};

/* A message in qmgr's hands. */
struct sched {
	struct queue_message *m;
	uint32_t rcpts[WORLD_RCPTS];
	uint32_t n; /* handed out, to be sent */
	uint64_t wait;
	bool has_content, asked_content, ending;
};

struct index {
	char id[QUEUE_ID_MAX + 1];
	int64_t due;
	uint8_t place;
	bool loading;
};

struct report {
	int msg;
	uint32_t rcpt;
	char id[QUEUE_ID_MAX + 1];
	enum queue_event_type type; /* PASSED: a forward of it is durable */
};

struct ask {
	char id[QUEUE_ID_MAX + 1];
	uint32_t rcpts[WORLD_RCPTS];
	uint32_t n;
	enum queue_reason reason;
	uint64_t worker; /* that took it */
};

struct command {
	int msg;
	uint64_t ticket;
	char what; /* 'h', 'd' */
};

struct world {
	struct disk *disk;
	enum world_stop stop;
	enum disk_choice choice;
	uint64_t seed, again;
	bool is_off, slow_worker, queue_up, slow_keeper, paused, child_dies;
	int64_t now;
	struct fact facts[WORLD_MESSAGES];
	int facts_n;
	struct cleanup cleanups[2];
	const struct cleanup *silent; /* has not connected to qmgr */
	uint64_t workers;
	/* qmgr and keeper */
	const struct queue_io *q_io, *k_io;
	struct queue_store *store;
	struct queue_keeper *keeper;
	int lock_fd;
	struct sched sched[WORLD_MESSAGES];
	int sched_n;
	struct index index[WORLD_MESSAGES];
	int index_n;
	struct ask asks[WORLD_MESSAGES];
	int asks_n;
	struct command commands[WORLD_MESSAGES];
	int commands_n;
	int wanted[WORLD_MESSAGES]; /* messages loaded for a command */
	/* maildrop */
	const struct queue_io *helper;
	struct drop drops[DROPS];
	int drops_n;
	struct cleanup *asked; /* what is left of lost workers */
	char left[2 * DROPS][QUEUE_PATH_MAX];
	int left_n;
	/* the worker */
	struct report reports[JOBS];
	int reports_n;
	uint32_t doubts;
	bool moved;
	char wrong[256];
};

static void wrong(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void wrong(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (w->wrong[0] != '\0')
		return;
	va_start(ap, fmt);
	vsnprintf(w->wrong, sizeof(w->wrong), fmt, ap);
	va_end(ap);
}

const char *world_wrong(const struct world *w)
{
	return w->wrong[0] != '\0' ? w->wrong : NULL;
}

struct disk *world_disk(struct world *w)
{
	return w->disk;
}

uint64_t world_calls(const struct world *w)
{
	return disk_calls(w->disk);
}

void world_lone_body(struct world *w, int ci)
{
	struct cleanup *c = &w->cleanups[ci];
	struct queue_root root = disk_root(c->io);
	struct iovec iov = {(void *)(uintptr_t) "lone body, ", 11};

	struct queue_body *b = NULL;

	if (queue_body_create(&root, SLICE_LIT("ABCDEF01234"), &b) != 0)
		return;
	if (queue_body_append(b, &iov, 1) == 0)
		(void)queue_body_sync(b);
	c->bodies[c->bodies_n++] = b;
}

int world_bodies(const struct world *w)
{
	return disk_count_suffix(w->disk, ".body");
}

bool world_is_off(const struct world *w)
{
	return w->is_off;
}

const char *world_id(const struct world *w, int msg)
{
	return w->facts[msg].id;
}

int world_sent(const struct world *w, int msg, int rcpt)
{
	return w->facts[msg].tries[rcpt];
}

bool world_is_refused(const struct world *w, int msg)
{
	return w->facts[msg].refused;
}

uint32_t world_doubts(const struct world *w)
{
	return w->doubts;
}

void world_fail_next_sync(struct world *w, const char *prefix, uint64_t seed)
{
	if (!w->is_off)
		disk_fail_next_sync(w->disk, prefix, seed);
}

void world_set_slow_worker(struct world *w, bool slow)
{
	w->slow_worker = slow;
}

void world_set_slow_keeper(struct world *w, bool slow)
{
	w->slow_keeper = slow;
}

void world_set_child_dies(struct world *w)
{
	w->child_dies = true;
}

void world_set_silent(struct world *w, int c)
{
	w->silent = c == -1 ? NULL : &w->cleanups[c];
}

void world_set_paused(struct world *w, bool paused)
{
	w->paused = paused;
}

void world_set_queue_up(struct world *w, bool queue_up)
{
	w->queue_up = queue_up;
}

static struct fact *find_fact(struct world *w, const char *id)
{
	for (int i = 0; i < w->facts_n; i++) {
		if (strcmp(w->facts[i].id, id) == 0)
			return &w->facts[i];
	}
	return NULL;
}

/* ---- Deaths ---- */

static void close_bodies(struct cleanup *c)
{
	while (c->bodies_n > 0)
		queue_body_close(&c->bodies[--c->bodies_n]);
}

static void drop_cleanup(struct world *w, struct cleanup *c)
{
	if (!c->is_up)
		return;
	disk_kill(w->disk, c->io);
	queue_journal_close(&c->journal);
	queue_ids_close(&c->ids);
	close_bodies(c);
	for (int i = 0; i < c->pending_n; i++)
		w->facts[c->pending[i]].asking = !w->is_off;
	c->pending_n = c->taken_n = 0;
	c->is_up = false;
	if (w->asked == c && w->store != NULL && !disk_is_dead(w->q_io))
		queue_store_settled(w->store, false);
	if (w->asked == c)
		w->asked = NULL;
	if (w->store != NULL && c->worker != 0 && !disk_is_dead(w->q_io))
		queue_store_worker_lost(w->store, c->worker);
	c->worker = 0;
}

static void drop_qmgr(struct world *w)
{
	if (w->store == NULL)
		return;
	disk_kill(w->disk, w->q_io);
	disk_kill(w->disk, w->k_io);
	queue_store_free(&w->store);
	queue_keeper_free(&w->keeper);
	w->sched_n = w->index_n = w->asks_n = w->commands_n = 0;
	w->asked = NULL;
	memset(w->wanted, 0, sizeof(w->wanted));
	for (int i = 0; i < 2; i++)
		w->cleanups[i].worker = 0;
}

/* What no process of the dead system remembers. */
static void forget(struct world *w)
{
	for (int i = 0; i < w->facts_n; i++) {
		struct fact *f = &w->facts[i];

		f->pending = f->asking = false;
		if (!f->held)
			f->holding = false;
	}
}

static void on_stop(void *arg)
{
	struct world *w = arg;

	if (w->stop == STOP_POWER) {
		w->is_off = true;
		disk_power_cut(w->disk, w->choice, w->seed);
	} else if (w->stop == STOP_ALL) {
		w->is_off = true;
		for (int i = 0; i < 2; i++) {
			if (w->cleanups[i].is_up)
				disk_kill(w->disk, w->cleanups[i].io);
		}
		if (w->helper != NULL)
			disk_kill(w->disk, w->helper);
		if (w->q_io != NULL) {
			disk_kill(w->disk, w->q_io);
			disk_kill(w->disk, w->k_io);
		}
	}
}

void world_stop_in(struct world *w, uint64_t call, bool in_middle)
{
	disk_stop_at(w->disk, disk_calls(w->disk) + call, in_middle, on_stop, w);
}

void world_stop_again(struct world *w, uint64_t call)
{
	w->again = call;
}

void world_cut_power(struct world *w, enum disk_choice choice)
{
	if (w->is_off)
		return;
	w->is_off = true;
	disk_power_cut(w->disk, choice, w->seed);
}

void world_kill_cleanup(struct world *w, int c)
{
	if (!w->is_off)
		drop_cleanup(w, &w->cleanups[c]);
}

void world_kill_qmgr(struct world *w)
{
	if (!w->is_off)
		drop_qmgr(w);
}

bool world_is_locked_out(struct world *w)
{
	struct queue_root root;
	bool locked;
	int fd;

	disk_kill(w->disk, w->q_io);
	root = disk_root(disk_process(w->disk));
	locked = queue_store_lock(&root, &fd) == ERR_AGAIN;
	disk_kill(w->disk, w->k_io);
	locked = locked && queue_store_lock(&root, &fd) == 0;
	disk_kill(w->disk, root.io);
	return locked;
}

void world_kill_worker(struct world *w)
{
	/* Jobs without a report: the message is told to be in doubt. */
	for (int i = 0; i < w->reports_n && w->store != NULL && !w->is_off; i++) {
		struct queue_message *m = queue_store_get(w->store, slice_str(w->reports[i].id));
		uint64_t ticket;

		if (m != NULL)
			queue_store_in_doubt(
				m, &w->reports[i].rcpt, 1, "worker died", w->now, &ticket);
	}
	w->reports_n = 0;
}

/* ---- qmgr ---- */

static struct sched *find_sched(struct world *w, const struct queue_message *m)
{
	for (int i = 0; i < w->sched_n; i++) {
		if (w->sched[i].m == m)
			return &w->sched[i];
	}
	return NULL;
}

static void drop_sched(struct world *w, const struct queue_message *m)
{
	struct sched *s = find_sched(w, m);

	if (s != NULL)
		*s = w->sched[--w->sched_n];
}

static void add_sched(struct world *w, struct queue_message *m)
{
	struct fact *f = find_fact(w, m->id);

	if (f == NULL)
		wrong(w, "invented: message %s", m->id);
	else if (m->env.recipients != (uint32_t)f->n)
		wrong(w, "invented: recipients of %s", m->id);
	if (find_sched(w, m) == NULL)
		w->sched[w->sched_n++] = (struct sched){.m = m};
	for (uint32_t i = 0; m->is_recovered && i < m->env.recipients; i++)
		w->doubts += m->r[i].state == QUEUE_R_DOUBT;
	for (int i = 0; i < w->index_n; i++) {
		if (strcmp(w->index[i].id, m->id) == 0)
			w->index[i--] = w->index[--w->index_n];
	}
	w->moved = true;
}

static void on_message(void *arg, struct queue_message *m)
{
	add_sched(arg, m);
}

static void on_loaded(void *arg, const char *id, int result, struct queue_message *m)
{
	struct world *w = arg;

	if (m != NULL) {
		add_sched(w, m);
		return;
	}
	if (result == ERR_CORRUPT)
		wrong(w, "corrupt: %s", id);
	for (int i = 0; i < w->index_n; i++) {
		if (strcmp(w->index[i].id, id) != 0)
			continue;
		if (result == ERR_NOT_FOUND)
			w->index[i] = w->index[--w->index_n];
		else
			w->index[i].loading = false;
		break;
	}
	w->moved = true;
}

static void on_waiting(void *arg, const char *id, enum queue_place place, int64_t due)
{
	struct world *w = arg;

	for (int i = 0; i < w->index_n; i++) {
		if (strcmp(w->index[i].id, id) == 0)
			return;
	}
	w->index[w->index_n] = (struct index){.due = due, .place = (uint8_t)place};
	strlcpy(w->index[w->index_n++].id, id, QUEUE_ID_MAX + 1);
	w->moved = true;
}

static void on_walk_done(void *arg)
{
}

static void check_content(struct world *w, const char *id, struct slice content)
{
	const struct fact *f = find_fact(w, id);
	size_t i = 0;

	if (f == NULL)
		return;
	while (i < content.len && content.p[i] == (char)('a' + (f - w->facts) % 26))
		i++;
	if (content.len != f->size || i != content.len)
		wrong(w, "content of %s is not what was committed", id);
}

static void on_content(void *arg, struct queue_message *m, int result, struct slice content)
{
	struct world *w = arg;
	struct sched *s = find_sched(w, m);

	if (s == NULL)
		return;
	s->asked_content = false;
	if (result == 0) {
		check_content(w, m->id, content);
		s->has_content = true;
	} else if (!w->is_off && !disk_is_dead(w->q_io) && !disk_is_dead(w->k_io)) {
		wrong(w, "content of %s: %s", m->id, err_str(result));
	}
	w->moved = true;
}

static void drop_ask(struct world *w, const char *id, enum queue_reason reason)
{
	for (int i = 0; i < w->asks_n; i++) {
		if (strcmp(w->asks[i].id, id) == 0 && w->asks[i].reason == reason)
			w->asks[i--] = w->asks[--w->asks_n];
	}
}

static void on_child(
	void *arg, struct queue_message *m, const char *child, enum queue_reason reason, int result)
{
	struct world *w = arg;

	drop_ask(w, m->id, reason);
	w->moved = true;
}

static void on_moved(void *arg, struct queue_message *m)
{
	((struct world *)arg)->moved = true;
}

static void on_ended(void *arg, struct queue_message *m)
{
	struct world *w = arg;

	drop_sched(w, m);
	w->moved = true;
}

static void on_durable(void *arg, uint64_t ticket)
{
	struct world *w = arg;

	if (w->is_off || disk_is_dead(w->q_io))
		return;
	for (int i = 0; i < w->commands_n; i++) {
		struct fact *f = &w->facts[w->commands[i].msg];

		if (w->commands[i].ticket > ticket)
			continue;
		if (w->commands[i].what == 'd')
			f->deleted = true;
		if (w->commands[i].what == 'h')
			f->held = f->holding;
		w->commands[i--] = w->commands[--w->commands_n];
	}
	w->moved = true;
}

static void on_worker_done(void *arg, uint64_t worker)
{
	struct world *w = arg;

	/* What that worker was asked for and did not write can be asked for again. */
	for (int i = 0; i < w->asks_n; i++) {
		struct queue_message *m = queue_store_get(w->store, slice_str(w->asks[i].id));

		if (w->asks[i].worker != worker)
			continue;
		if (m != NULL)
			queue_store_ask_failed(m, w->asks[i].rcpts, w->asks[i].n);
		w->asks[i--] = w->asks[--w->asks_n];
	}
	w->moved = true;
}

static void on_problem(void *arg, bool is_error, const char *line)
{
	if (getenv("MODEL_VERBOSE") != NULL)
		fprintf(stderr, "# problem: %s\n", line);
}

/* A keeper that does not get to its orders moves nothing, however often it is called. */
static void on_order(void *arg)
{
	struct world *w = arg;

	w->moved = w->moved || !w->slow_keeper;
}

static const struct queue_store_calls calls = {on_message, on_loaded, on_waiting, on_walk_done,
	on_content, on_child, on_moved, on_ended, on_durable, on_worker_done, on_problem, on_order};

static void start_qmgr(struct world *w)
{
	struct queue_store_setup setup = {.segment_size = SEGMENT,
		.journal_limit = LIMIT,
		.piece_size = PIECE,
		.calls = &calls,
		.arg = w};
	int err;

	w->q_io = disk_process(w->disk);
	w->k_io = disk_process(w->disk);
	setup.root = disk_root(w->q_io);
	if (queue_root_make(&setup.root) != 0)
		return;
	if (queue_store_lock(&setup.root, &w->lock_fd) != 0) {
		if (!disk_is_dead(w->q_io))
			wrong(w, "the old keeper's lock is still held");
		return;
	}
	disk_keep_open(w->q_io, w->lock_fd, w->k_io);
	err = queue_store_start(&setup, w->now, &w->store);
	if (err != 0) {
		if (!w->is_off && !disk_is_dead(w->q_io) && !disk_has_failed(w->disk) &&
			(err != ERR_FULL || !disk_has_limit(w->disk)))
			wrong(w, "start: %s", err_str(err));
		disk_kill(w->disk, w->q_io);
		disk_kill(w->disk, w->k_io);
		return;
	}
	{
		struct queue_root root = disk_root(w->k_io);

		w->keeper = queue_keeper_new(&root);
	}
	for (int i = 0; i < w->reports_n; i++)
		queue_store_claim(w->store, slice_str(w->reports[i].id), w->reports[i].rcpt);
	queue_store_claims_done(w->store, w->now);
}

/* ---- cleanup ---- */

static void start_cleanup(struct world *w, struct cleanup *c)
{
	struct queue_journal_setup setup = {.segment_size = SEGMENT, .limit = LIMIT};

	*c = (struct cleanup){.io = disk_process(w->disk)};
	setup.root = disk_root(c->io);
	if (queue_root_make(&setup.root) != 0 || queue_ids_open(&setup.root, w->now, &c->ids) != 0)
		return;
	if (queue_journal_open(&setup, &c->journal) != 0) {
		queue_ids_close(&c->ids);
		return;
	}
	c->is_up = true;
	queue_journal_take(c->journal);
}

/* What was unlinked is so durably: before its segment counts as left. */
static bool sync_drops(struct cleanup *c)
{
	struct queue_root root = disk_root(c->io);

	if (c->has_unlinked && queue_sync_dir(&root, "maildrop") != 0)
		return false;
	c->has_unlinked = false;
	return true;
}

static void tell_position(struct world *w, struct cleanup *c)
{
	uint32_t segment;
	uint64_t durable;

	if (w->store == NULL || !c->is_up || c == w->silent ||
		!queue_journal_position(c->journal, &segment, &durable))
		return;
	if (segment != c->told && !sync_drops(c))
		return;
	c->told = segment;
	if (c->worker == 0)
		c->worker = ++w->workers;
	queue_store_worker_position(w->store, c->worker, segment, durable);
}

void world_start(struct world *w)
{
	if (w->is_off) {
		for (int i = 0; i < 2; i++)
			drop_cleanup(w, &w->cleanups[i]);
		drop_qmgr(w);
		w->reports_n = 0;
		w->is_off = false;
		forget(w);
		disk_stop_at(w->disk, 0, false, NULL, NULL);
		if (w->again > 0) {
			/* The second one forgets what the first, if it was no power cut, kept. */
			if (w->stop == STOP_ALL) {
				w->stop = STOP_POWER;
				w->choice = DISK_FORGET_ALL;
			}
			world_stop_in(w, w->again, false);
			w->again = 0;
		}
	}
	for (int i = 0; i < 2 && !w->is_off; i++) {
		if (w->cleanups[i].is_up && disk_is_dead(w->cleanups[i].io))
			drop_cleanup(w, &w->cleanups[i]);
	}
	if (w->store != NULL && (disk_is_dead(w->q_io) || disk_is_dead(w->k_io)))
		drop_qmgr(w);
	for (int i = 0; i < 2 && !w->is_off; i++) {
		if (!w->cleanups[i].is_up)
			start_cleanup(w, &w->cleanups[i]);
	}
	if (w->store == NULL && !w->is_off)
		start_qmgr(w);
	for (int i = 0; i < 2 && !w->is_off; i++)
		tell_position(w, &w->cleanups[i]);
}

static struct fact *new_fact(struct world *w, struct cleanup *c, const char *rcpts, size_t size)
{
	struct fact *f = &w->facts[w->facts_n];
	char id[QUEUE_ID_MAX + 1];

	if (queue_ids_next(c->ids, false, w->now, id) != 0)
		return NULL;
	if (find_fact(w, id) != NULL)
		wrong(w, "id %s given twice", id);
	if (w->facts_n == WORLD_MESSAGES)
		log_panic("too many messages");
	*f = (struct fact){.n = (int)strlen(rcpts), .size = size, .parent = -1, .drop = -1};
	strlcpy(f->id, id, sizeof(f->id));
	strlcpy(f->spec, rcpts, sizeof(f->spec));
	w->facts_n++;
	return f;
}

static int encode(const struct fact *f, const char *parent, struct buf *out)
{
	struct buf rcpts = BUF_INIT(65536);
	struct queue_envelope env = {.id = slice_str(f->id),
		.arrival = START,
		.sender = f->parent == -1 || !is_notice(f) ? SLICE_LIT("sender@example.org")
							   : SLICE_NONE,
		.size = f->size + f->body,
		.header_len = (uint32_t)f->size,
		.body_len = f->body,
		.flags = (f->body > 0 ? QUEUE_FLAG_BODY_FILE : 0) |
			 (f->hold_flag ? QUEUE_FLAG_HOLD : 0) |
			 (f->drop != -1 ? QUEUE_FLAG_PICKUP : 0) |
			 (strchr(f->spec, 't') != NULL ? QUEUE_FLAG_TRACE : 0),
		.parent = slice_str(parent),
		.reason = f->reason};
	char list[WORLD_RCPTS * 4];
	int err = 0;

	for (int i = 0; i < f->n && err == 0; i++) {
		char address[32];
		struct queue_recipient r = {0};

		snprintf(address, sizeof(address), "%c%d@example.net", f->spec[i], i);
		r.address = slice_str(address);
		r.nexthop = SLICE_LIT("example.net");
		r.notify = f->spec[i] == 's' ? QUEUE_NOTIFY_SUCCESS : 0;
		err = queue_recipient_encode(&rcpts, &r);
	}
	for (int i = 0; i < f->parent_n; i++) {
		for (int b = 0; b < 4; b++)
			list[i * 4 + b] = (char)(f->parent_rcpts[i] >> (8 * b));
	}
	env.parent_rcpts = slice_of(list, (size_t)f->parent_n * 4);
	if (err == 0)
		err = queue_envelope_encode(out, &env, buf_slice(&rcpts));
	buf_clear(&rcpts);
	return err;
}

/* Commits what is pending, so that another segment can be taken. */
static int append(struct world *w, struct cleanup *c, struct fact *f, const char *parent)
{
	struct buf env = BUF_INIT(65536);
	char *content = mem_alloc(f->size);
	struct iovec envelope, body = {content, f->size};
	struct queue_append a = {.id = slice_str(f->id), .is_notice = parent != NULL};
	struct queue_ref ref;
	int err = encode(f, parent, &env);

	memset(content, 'a' + (int)((f - w->facts) % 26), f->size);
	envelope = (struct iovec){(void *)(uintptr_t)buf_str(&env), env.len};
	a.envelope = &envelope;
	a.envelope_n = 1;
	a.content = &body;
	a.content_n = 1;
	if (err == 0 && !queue_journal_has_segment(c->journal))
		err = queue_journal_take(c->journal);
	if (err == 0)
		err = queue_journal_append(c->journal, &a, &ref);
	if (err == ERR_LIMIT) {
		world_commit(w, (int)(c - w->cleanups));
		err = w->is_off || !c->is_up ? ERR_SYS : queue_journal_take(c->journal);
		if (err == 0)
			err = queue_journal_append(c->journal, &a, &ref);
	}
	buf_clear(&env);
	mem_free(content);
	return err;
}

static void answer_failed(struct world *w, struct cleanup *c)
{
	const struct queue_io *asked = w->q_io;
	struct queue_cut cut;
	uint64_t ticket;
	bool noted = false;

	while (!w->is_off && c->is_up && !disk_is_dead(c->io) &&
		queue_journal_cut(c->journal, &cut)) {
		if (w->store != NULL && c->worker == 0)
			c->worker = ++w->workers;
		noted = w->store != NULL &&
			queue_store_worker_cut(w->store, c->worker, &cut, &ticket) == 0;
		if (noted)
			world_pump(w);
		noted = noted && !w->is_off && w->store != NULL && w->q_io == asked &&
			!disk_is_dead(w->q_io) && queue_store_durable(w->store) >= ticket;
		for (int i = 0; i < c->pending_n && noted; i++) {
			w->facts[c->pending[i]].refused = true;
			w->facts[c->pending[i]].known = false;
		}
		if (!c->is_up)
			return;
		if (noted)
			queue_journal_cut_done(c->journal, cut.segment);
		else
			queue_journal_cut_abandon(c->journal, cut.segment);
	}
	c->pending_n = 0;
}

static int submit(struct world *w, int ci, const char *rcpts, size_t size, size_t body, bool hold)
{
	struct cleanup *c = &w->cleanups[ci];
	struct queue_body *b = NULL;
	struct fact *f;
	int err = 0;

	if (w->is_off || !c->is_up)
		return 0;
	f = new_fact(w, c, rcpts, size > 0 ? size : 40);
	if (f == NULL)
		return 0;
	f->body = body;
	f->hold_flag = hold;
	f->known = true;
	if (body > 0) {
		char *bytes = mem_alloc(body);
		struct iovec iov = {bytes, body};
		struct queue_root root = disk_root(c->io);

		memset(bytes, 'B', body);
		err = queue_body_create(&root, slice_str(f->id), &b);
		if (err == 0)
			err = queue_body_append(b, &iov, 1);
		if (err == 0)
			err = queue_body_sync(b);
		mem_free(bytes);
	}
	if (err == 0)
		err = append(w, c, f, NULL);
	if (b != NULL)
		c->bodies[c->bodies_n++] = b;
	if (err == 0) {
		f->pending = true;
		c->pending[c->pending_n++] = (int)(f - w->facts);
	} else if (err == ERR_FULL) {
		f->refused = true;
		f->known = false;
	} else if (!w->is_off) {
		/* In no commit: a failed append. What was pending goes with it. */
		c->pending[c->pending_n++] = (int)(f - w->facts);
		answer_failed(w, c);
	}
	return (int)(f - w->facts);
}

int world_submit(struct world *w, int c, const char *rcpts, size_t size)
{
	return submit(w, c, rcpts, size, 0, false);
}

int world_submit_held(struct world *w, int c, const char *rcpts)
{
	return submit(w, c, rcpts, 0, 0, true);
}

int world_submit_large(struct world *w, int c, const char *rcpts, size_t body)
{
	return submit(w, c, rcpts, 0, body, false);
}

/* Their messages are durable. */
static void unlink_taken(struct world *w, struct cleanup *c)
{
	for (int i = 0; i < c->taken_n; i++) {
		struct taken t = c->taken[i];

		if (!w->facts[t.fact].acked)
			continue;
		c->taken[i--] = c->taken[--c->taken_n];
		c->has_unlinked = true;
		(void)c->io->unlinkat(c->io, disk_root(c->io).fd, t.path);
		if (w->is_off || disk_is_dead(c->io))
			return;
		queue_close(c->io, &t.fd);
	}
}

void world_commit_quiet(struct world *w, int ci)
{
	struct cleanup *c = &w->cleanups[ci];

	if (w->is_off || !c->is_up)
		return;
	if (queue_journal_sync(c->journal) != 0 || w->is_off || disk_is_dead(c->io)) {
		answer_failed(w, c);
		return;
	}
	for (int i = 0; i < c->pending_n; i++) {
		w->facts[c->pending[i]].acked = true;
		w->facts[c->pending[i]].pending = false;
	}
	c->pending_n = 0;
	close_bodies(c);
	unlink_taken(w, c);
}

void world_commit_and_die(struct world *w, int ci)
{
	struct cleanup *c = &w->cleanups[ci];

	if (w->is_off || !c->is_up)
		return;
	disk_fail_next_sync(w->disk, "incoming/0", 0);
	queue_journal_sync(c->journal);
	if (!w->is_off)
		drop_cleanup(w, c);
}

void world_commit(struct world *w, int ci)
{
	world_commit_quiet(w, ci);
	if (!w->is_off && w->store != NULL && !disk_is_dead(w->q_io))
		tell_position(w, &w->cleanups[ci]);
}

/* ---- maildrop ---- */

/* As the helper does it: the file is whole when its name is durable. */
void world_drop(struct world *w, const char *rcpts, size_t size)
{
	struct drop *d = &w->drops[w->drops_n];
	struct queue_root root;
	struct iovec iov = {(void *)(uintptr_t)rcpts, strlen(rcpts)};
	char token[QUEUE_DROP_TOKEN + 1], name[QUEUE_DROP_NAME], path[QUEUE_PATH_MAX];
	int fd;

	if (w->is_off || w->drops_n == DROPS)
		return;
	if (w->helper == NULL || disk_is_dead(w->helper))
		w->helper = disk_process(w->disk);
	root = disk_root(w->helper);
	snprintf(token, sizeof(token), "%024X", (unsigned)w->drops_n++);
	*d = (struct drop){.size = size, .fact = -1};
	strlcpy(d->spec, rcpts, sizeof(d->spec));
	queue_drop_format_name(name, NULL, slice_str(token), QUEUE_DROP_NEW);
	snprintf(path, sizeof(path), "maildrop/%s", name);
	if (root.io->mkdirat(root.io, root.fd, "maildrop", 0770) == 0)
		(void)root.io->fsync(root.io, root.fd);
	fd = root.io->openat(root.io, root.fd, path, O_RDWR | O_CREAT | O_EXCL, 0600);
	d->is_whole = fd != -1 && queue_write_full(root.io, fd, &iov, 1, 0) == 0 &&
		      root.io->fsync(root.io, fd) == 0 && queue_sync_dir(&root, "maildrop") == 0;
	queue_close(root.io, &fd);
}

struct listing {
	char names[2 * DROPS][QUEUE_DROP_NAME];
	int n;
};

static bool list_one(const char *name, void *arg)
{
	struct listing *l = arg;

	strlcpy(l->names[l->n++], name, QUEUE_DROP_NAME);
	return l->n < 2 * DROPS;
}

static int drop_number(struct slice token)
{
	return token.p[token.len - 1] - '0';
}

/* It was torn: its writer was told nothing. */
static bool is_torn(const struct queue_root *root, int fd, const struct drop *d)
{
	char bytes[WORLD_RCPTS] = {0};
	size_t len = strlen(d->spec);

	return queue_read_full(root->io, fd, bytes, len, 0, false) != 0 ||
	       memcmp(bytes, d->spec, len) != 0;
}

/* A new one gets its id; its name is durable before anything is committed under it. */
static void take_drop(struct world *w, struct cleanup *c, const char *path, int drop, int fd)
{
	struct taken *t = &c->taken[c->taken_n];
	struct queue_root root = disk_root(c->io);
	const struct drop *d = &w->drops[drop];
	char name[QUEUE_DROP_NAME], token[QUEUE_DROP_TOKEN + 1];
	struct fact *f;

	if (is_torn(&root, fd, d)) {
		if (d->is_whole)
			wrong(w, "file %d of maildrop is torn", drop);
		(void)root.io->unlinkat(root.io, root.fd, path);
		return;
	}
	f = new_fact(w, c, d->spec, d->size > 0 ? d->size : 40);
	if (f == NULL)
		return;
	f->drop = drop;
	f->known = true;
	snprintf(token, sizeof(token), "%024X", (unsigned)drop);
	queue_drop_format_name(name, f->id, slice_str(token), QUEUE_DROP_TAKEN);
	*t = (struct taken){.fact = (int)(f - w->facts), .fd = fd};
	snprintf(t->path, sizeof(t->path), "maildrop/%s", name);
	if (root.io->renameat(root.io, root.fd, path, root.fd, t->path) == 0)
		c->taken_n++;
}

/* Its taker is dead: did it become a message? Until that can be said it stays. */
static void ask_of_drop(
	struct world *w, struct cleanup *c, const char *path, struct slice id, struct slice token)
{
	struct queue_root root = disk_root(c->io);
	char name[QUEUE_DROP_NAME], to[QUEUE_PATH_MAX];
	bool known;

	if (w->store == NULL || disk_is_dead(w->q_io))
		return;
	known = queue_store_knows(w->store, id);
	if (!known && !queue_store_has_read_lost(w->store))
		return;
	w->moved = c->has_unlinked = true;
	if (known) {
		(void)root.io->unlinkat(root.io, root.fd, path);
		return;
	}
	queue_drop_format_name(name, NULL, token, QUEUE_DROP_NEW);
	snprintf(to, sizeof(to), "maildrop/%s", name);
	(void)root.io->renameat(root.io, root.fd, path, root.fd, to);
}

static void look_at_drop(struct world *w, struct cleanup *c, const char *name, bool takes)
{
	const struct queue_io *io = c->io;
	struct slice id, token;
	enum queue_drop_kind kind = queue_drop_parse_name(name, &id, &token);
	char path[QUEUE_PATH_MAX];
	int fd, taken = c->taken_n;

	snprintf(path, sizeof(path), "maildrop/%s", name);
	if (kind == QUEUE_DROP_NEW && !takes)
		return;
	fd = io->openat(io, disk_root(io).fd, path, O_RDWR, 0);
	if (fd == -1)
		return;
	if (io->lock(io, fd, false) == 0 && kind == QUEUE_DROP_TAKEN)
		ask_of_drop(w, c, path, id, token);
	else if (kind == QUEUE_DROP_NEW)
		take_drop(w, c, path, drop_number(token), fd);
	/* A message's lock is kept until its file is unlinked. */
	if (!disk_is_dead(io) && c->taken_n == taken)
		queue_close(io, &fd);
}

static void look_at_drops(struct world *w, struct cleanup *c, bool takes)
{
	struct listing l = {.n = 0};

	if (c->io->list(c->io, disk_root(c->io).fd, "maildrop", list_one, &l) == -1)
		return;
	for (int i = 0; i < l.n && !w->is_off && !disk_is_dead(c->io); i++)
		look_at_drop(w, c, l.names[i], takes);
}

void world_pickup(struct world *w, int ci)
{
	struct cleanup *c = &w->cleanups[ci];
	struct queue_root root;
	int facts[DROPS], n, err = 0;

	/* qmgr says no only when it knows of every death. */
	for (int i = 0; i < 2 && !w->is_off; i++) {
		if (w->cleanups[i].is_up && disk_is_dead(w->cleanups[i].io))
			drop_cleanup(w, &w->cleanups[i]);
	}
	if (w->is_off || !c->is_up || w->drops_n == 0)
		return;
	root = disk_root(c->io);
	look_at_drops(w, c, true);
	n = c->taken_n;
	if (n == 0 || w->is_off || disk_is_dead(c->io) || queue_sync_dir(&root, "maildrop") != 0)
		return;
	for (int i = 0; i < n; i++)
		facts[i] = c->taken[i].fact;
	/* One that does not fit commits those before it, which are unlinked then. */
	for (int i = 0; i < n && err == 0; i++) {
		err = append(w, c, &w->facts[facts[i]], NULL);
		w->facts[facts[i]].pending = err == 0;
		if (err == 0)
			c->pending[c->pending_n++] = facts[i];
		else if (!w->is_off && !disk_is_dead(c->io))
			wrong(w, "file of maildrop: %s", err_str(err));
	}
	world_commit(w, ci);
}

/* The files with an id that were there, but for those that c has itself. */
static void note_left(struct world *w, const struct cleanup *c)
{
	struct listing l = {.n = 0};
	struct slice id, token;

	w->left_n = 0;
	(void)c->io->list(c->io, disk_root(c->io).fd, "maildrop", list_one, &l);
	for (int i = 0; i < l.n; i++) {
		if (queue_drop_parse_name(l.names[i], &id, &token) == QUEUE_DROP_TAKEN)
			snprintf(w->left[w->left_n++], QUEUE_PATH_MAX, "maildrop/%s", l.names[i]);
	}
}

static bool is_left(const struct world *w, const struct cleanup *c)
{
	struct queue_stat st;

	for (int i = 0; i < w->left_n; i++) {
		if (c->io->statat(c->io, disk_root(c->io).fd, w->left[i], &st) == 0)
			return true;
	}
	return false;
}

/* qmgr asks a living cleanup, as often as it takes. */
static void settle(struct world *w)
{
	struct cleanup *c = w->asked;

	for (int i = 0; i < 2 && c == NULL; i++) {
		if (w->cleanups[i].is_up && w->cleanups[i].worker != 0 &&
			!disk_is_dead(w->cleanups[i].io))
			c = &w->cleanups[i];
	}
	if (c == NULL || (w->asked == NULL && !queue_store_settle(w->store)))
		return;
	if (w->asked == NULL)
		note_left(w, c);
	w->asked = c;
	look_at_drops(w, c, false);
	if (w->is_off || disk_is_dead(c->io) || is_left(w, c))
		return;
	/* Also what one that died has unlinked. */
	c->has_unlinked = true;
	if (!sync_drops(c) || w->store == NULL)
		return;
	w->asked = NULL;
	w->moved = true;
	queue_store_settled(w->store, true);
}

/* A child, as qmgr asks for it. */
/* False: there is nobody to ask; or nobody said that the forward is durable. */
static bool write_child(struct world *w, const char *id, const struct ask *ask)
{
	struct cleanup *c = &w->cleanups[0];
	struct fact *f, *parent = find_fact(w, id);
	char spec[WORLD_RCPTS + 1] = "o";

	if (!c->is_up || disk_is_dead(c->io))
		return false;
	for (uint32_t i = 0;
		(ask->reason == QUEUE_REASON_REQUEUE || ask->reason == QUEUE_REASON_SPLIT) &&
		i < ask->n;
		i++) {
		spec[i] = parent->spec[ask->rcpts[i]];
		spec[i + 1] = '\0';
	}
	f = new_fact(w, c, spec, 40);
	if (f == NULL)
		return false;
	f->parent = (int)(parent - w->facts);
	f->reason = (uint8_t)ask->reason;
	f->parent_n = (int)ask->n;
	f->known = true;
	memcpy(f->parent_rcpts, ask->rcpts, ask->n * sizeof(uint32_t));
	if (append(w, c, f, id) == 0) {
		/* Whoever forwards is told, as any client is. */
		if (ask->reason == QUEUE_REASON_FORWARD) {
			f->pending = true;
			c->pending[c->pending_n++] = (int)(f - w->facts);
		}
		if (w->child_dies)
			world_commit_quiet(w, 0);
		else
			world_commit(w, 0);
		if (w->child_dies && !w->is_off)
			drop_cleanup(w, c);
		w->child_dies = false;
	} else if (!w->is_off)
		answer_failed(w, c);
	return ask->reason != QUEUE_REASON_FORWARD || f->acked;
}

/* ---- The next hop ---- */

/* In-doubt events of a recipient that would survive a power cut now. */
static int count_doubts(struct slice plain_id, uint32_t rcpt, struct queue_event *ev)
{
	if (ev->type == QUEUE_EV_STATE && slice_eq(ev->id, plain_id))
		return 1;
	if (ev->type != QUEUE_EV_IN_DOUBT || !slice_eq(ev->id, plain_id))
		return 0;
	for (uint32_t i = 0; i < queue_event_rcpt_count(ev); i++) {
		if (queue_event_rcpt(ev, i) == rcpt)
			return 1;
	}
	return 0;
}

static int durable_doubts(struct world *w, const char *id, uint32_t rcpt)
{
	struct disk *copy = disk_durable_copy(w->disk);
	struct queue_root root = disk_root(disk_process(copy));
	struct queue_log_image image;
	struct queue_event ev;
	struct queue_file f;
	enum queue_place place;
	uint32_t last = 0, highest = 0;
	int n = 0;

	if (queue_file_find(&root, slice_str(id), &place) == 0 &&
		queue_file_read(&root, place, slice_str(id), false, &f) == 0) {
		while (queue_file_event_next(&f, &last, &ev)) {
			n += count_doubts(slice_str(id), rcpt, &ev);
			highest = ev.no;
		}
		queue_file_clear(&f);
	}
	if (queue_log_read(&root, &image) == 0) {
		while (queue_log_next(&image, &ev)) {
			if (ev.no > highest)
				n += count_doubts(slice_str(id), rcpt, &ev);
		}
		queue_log_image_clear(&image);
	}
	disk_free(&copy);
	return n;
}

/* The message and recipient that this one is in the end: requeued mail is the same mail. */
static struct fact *root_of(struct world *w, struct fact *f, uint32_t *rcpt)
{
	while (f->parent != -1 && !is_notice(f)) {
		*rcpt = f->parent_rcpts[*rcpt];
		f = &w->facts[f->parent];
	}
	return f;
}

static void check_notice(struct world *w, struct fact *f)
{
	struct fact *p = &w->facts[f->parent];
	uint16_t bit = (uint16_t)(1u << f->reason);

	for (int i = 0; i < f->parent_n; i++) {
		if (p->notice_sent[f->parent_rcpts[i]] & bit)
			wrong(w, "two notices for %s %u", p->id, (unsigned)f->parent_rcpts[i]);
		p->notice_sent[f->parent_rcpts[i]] |= bit;
	}
}

/* A delivery worker makes a new message of the recipient. */
static enum queue_event_type forward(struct world *w, const char *id, uint32_t rcpt)
{
	struct ask a = {.rcpts = {rcpt}, .n = 1, .reason = QUEUE_REASON_FORWARD};

	return write_child(w, id, &a) ? QUEUE_EV_PASSED : QUEUE_EV_DEFERRED;
}

static void check_forward(struct world *w, struct fact *f, struct fact *root, uint32_t rcpt)
{
	int me = (int)(f - w->facts);

	if (f->reason == QUEUE_REASON_FORWARD && root->by[rcpt] != 0 && root->by[rcpt] != me)
		wrong(w, "forwarded twice: %s %u", root->id, (unsigned)rcpt);
	if (f->reason == QUEUE_REASON_FORWARD)
		root->by[rcpt] = me;
}

static struct report *find_report(struct world *w, const char *id, uint32_t rcpt)
{
	for (int i = 0; i < w->reports_n; i++) {
		if (strcmp(w->reports[i].id, id) == 0 && w->reports[i].rcpt == rcpt)
			return &w->reports[i];
	}
	return NULL;
}

static void check_drop(struct world *w, const struct fact *f)
{
	int me = (int)(f - w->facts);
	struct drop *d = f->drop != -1 ? &w->drops[f->drop] : NULL;

	if (d == NULL)
		return;
	if (d->fact != -1 && d->fact != me)
		wrong(w, "file %d of maildrop was sent as %s and as %s", f->drop,
			w->facts[d->fact].id, f->id);
	d->fact = me;
}

/* The job has left: what the next hop makes of it is a fact from now on. */
static void arrive(struct world *w, const char *id, uint32_t rcpt)
{
	struct fact *f = find_fact(w, id), *root;
	struct report *r = &w->reports[w->reports_n];
	uint32_t root_rcpt = rcpt;
	char spec;

	if (f == NULL)
		return;
	spec = f->spec[rcpt];
	root = root_of(w, f, &root_rcpt);
	if (f->refused || !f->known)
		wrong(w, "refused mail was sent: %s", id);
	if (f->deleted || root->deleted)
		wrong(w, "deleted mail was sent: %s", id);
	if (f->held)
		wrong(w, "held mail was sent: %s", id);
	check_drop(w, f);
	if (root->taken[root_rcpt] > 0) {
		int doubts = durable_doubts(w, id, rcpt);

		if (root != f)
			doubts += durable_doubts(w, root->id, root_rcpt);
		if (doubts == 0)
			wrong(w, "sent twice without a durable in-doubt: %s %u", id,
				(unsigned)rcpt);
	}
	if (f->parent != -1 && is_notice(f) && f->tries[rcpt] == 0)
		check_notice(w, f);
	check_forward(w, f, root, root_rcpt);
	f->tries[rcpt]++;
	w->reports_n++;
	*r = (struct report){.rcpt = rcpt, .type = QUEUE_EV_DELIVERED};
	strlcpy(r->id, id, sizeof(r->id));
	if (spec == 'w') {
		enum queue_event_type type = forward(w, id, rcpt);

		/* The store and the worker may have died meanwhile. */
		r = find_report(w, id, rcpt);
		if (r != NULL)
			r->type = type;
		return;
	}
	if (spec == 'f' || spec == 'c' || (spec == 'e' && f->tries[rcpt] > 1))
		r->type = QUEUE_EV_FAILED;
	else if ((strchr("deltp", spec) != NULL && f->tries[rcpt] == 1) ||
		 (spec == 'q' && w->queue_up))
		r->type = QUEUE_EV_DEFERRED;
	else
		root->taken[root_rcpt]++;
}

static void take_reports(struct world *w)
{
	for (int i = 0; i < w->reports_n && !w->is_off; i++) {
		struct report r = w->reports[i];
		struct queue_message *m = queue_store_get(w->store, slice_str(r.id));
		struct queue_result result = {.type = r.type,
			.dsn = r.type == QUEUE_EV_DELIVERED ? SLICE_LIT("2.0.0")
							    : SLICE_LIT("4.0.0"),
			.host = SLICE_LIT("mx.example.net[192.0.2.1]:25"),
			.text = SLICE_LIT("as the script says"),
			.due = w->now + 100 * CLOCK_SEC};
		uint64_t ticket;
		int err;

		if (m == NULL) {
			queue_store_load(w->store, slice_str(r.id), QUEUE_PLACE_DEFERRED);
			if (find_fact(w, r.id)->deleting)
				w->reports[i--] = w->reports[--w->reports_n];
			continue;
		}
		err = r.type == QUEUE_EV_PASSED
			      ? queue_store_passed(m, r.rcpt)
			      : queue_store_result(m, r.rcpt, &result, w->now, &ticket);
		if (err == ERR_FULL && !w->is_off && !disk_has_limit(w->disk))
			wrong(w, "no room for a result of %s", r.id);
		if (err != 0)
			continue;
		w->moved = true;
		w->reports[i--] = w->reports[--w->reports_n];
	}
}

/* ---- qmgr's decisions ---- */

static void ask_for(struct world *w, struct queue_message *m, const uint32_t *rcpts, uint32_t n,
	enum queue_reason reason)
{
	struct ask *a = &w->asks[w->asks_n], copy;

	if (queue_store_ask(m, rcpts, n, reason) != 0)
		return;
	*a = (struct ask){.n = n, .reason = reason, .worker = w->cleanups[0].worker};
	strlcpy(a->id, m->id, sizeof(a->id));
	memcpy(a->rcpts, rcpts, n * sizeof(uint32_t));
	w->asks_n++;
	copy = *a;
	if (write_child(w, copy.id, &copy)) {
		w->moved = true;
	} else if (!w->is_off && w->store != NULL) {
		queue_store_ask_failed(m, rcpts, n);
		drop_ask(w, copy.id, reason);
	}
}

static bool want_notice(const struct queue_message *m)
{
	return m->env.sender.len > 0;
}

/* What is to be told of a recipient now. 0: nothing. */
static enum queue_reason news_of(struct world *w, const struct queue_message *m, uint32_t i)
{
	const struct queue_rstatus *r = &m->r[i];
	const struct fact *f = find_fact(w, m->id);
	struct queue_event last;

	if (!want_notice(m) || f == NULL || (r->is_asked && r->state != QUEUE_R_FAILED))
		return QUEUE_REASON_NONE;
	if (r->state == QUEUE_R_FAILED)
		return f->spec[i] == 'c' && !r->is_copied ? QUEUE_REASON_BOUNCE_COPY
							  : QUEUE_REASON_BOUNCE;
	if (r->state == QUEUE_R_DELIVERED && f->spec[i] == 's')
		return QUEUE_REASON_SUCCESS;
	if (r->is_out)
		return QUEUE_REASON_NONE;
	if (f->spec[i] == 't' && !r->is_traced && queue_store_last(m, i, &last) &&
		last.type != QUEUE_EV_IN_DOUBT)
		return QUEUE_REASON_TRACE;
	if (strchr("lp", f->spec[i]) == NULL || r->state != QUEUE_R_WAIT || r->due <= w->now ||
		r->is_told)
		return QUEUE_REASON_NONE;
	return f->spec[i] == 'p' && !r->is_delay_copied ? QUEUE_REASON_DELAY_COPY
							: QUEUE_REASON_DELAY;
}

/* Asks for one kind of notice. True: there is something to be told. */
static bool tell(struct world *w, struct queue_message *m)
{
	uint32_t list[WORLD_RCPTS], n = 0;
	enum queue_reason reason = QUEUE_REASON_NONE;

	for (uint32_t i = 0; i < m->env.recipients; i++) {
		enum queue_reason one = m->r[i].is_asked ? QUEUE_REASON_NONE : news_of(w, m, i);

		if (reason == QUEUE_REASON_NONE)
			reason = one;
		if (one != QUEUE_REASON_NONE && one == reason)
			list[n++] = i;
	}
	if (n > 0)
		ask_for(w, m, list, n, reason);
	return n > 0;
}

static void hand_out(struct world *w, struct sched *s)
{
	struct queue_message *m = s->m;

	s->n = 0;
	for (uint32_t i = 0; i < m->env.recipients; i++) {
		const struct queue_rstatus *r = &m->r[i];

		if ((r->state == QUEUE_R_WAIT || r->state == QUEUE_R_DOUBT) && !r->is_asked &&
			!r->is_out && r->due <= w->now)
			s->rcpts[s->n++] = i;
	}
	if (s->n > 0 &&
		queue_store_handout(m, s->rcpts, s->n, QUEUE_ROAD_DIRECT, w->now, &s->wait) != 0)
		s->n = 0;
	s->has_content = false;
	w->moved = w->moved || s->n > 0;
}

/* A large body is read as a delivery worker reads it. */
static void check_body(struct world *w, struct queue_message *m)
{
	struct fact *f = find_fact(w, m->id);
	struct queue_body_reader r;
	struct slice chunk;
	uint64_t len = 0;
	int fd = -1, err;

	if (f == NULL || f->body == 0 || disk_is_dead(w->q_io))
		return;
	err = queue_store_body(m, &fd);
	if (err != 0) {
		wrong(w, "body of %s: %s", m->id, err_str(err));
		return;
	}
	queue_body_reader_init(&r, w->q_io, fd, m->env.body_len);
	while ((err = queue_body_reader_next(&r, &chunk)) == 0 && chunk.len > 0)
		len += chunk.p[0] == 'B' ? chunk.len : 0;
	if (err != 0 || len != f->body)
		wrong(w, "body of %s is not what was committed", m->id);
	queue_body_reader_clear(&r);
	queue_close(w->q_io, &fd);
}

/* This attempt, and all that the next hop has seen before: none is ever forgotten. */
static void check_attempts(struct world *w, const struct queue_message *m, const struct sched *s)
{
	const struct fact *f = find_fact(w, m->id);

	for (uint32_t i = 0; i < s->n && f != NULL; i++)
		if (m->r[s->rcpts[i]].attempts <= f->tries[s->rcpts[i]])
			wrong(w, "attempt %d of %s %u counts as number %u",
				f->tries[s->rcpts[i]] + 1, m->id, (unsigned)s->rcpts[i],
				(unsigned)m->r[s->rcpts[i]].attempts);
}

static void send_job(struct world *w, struct sched *s)
{
	struct queue_message *m = s->m;
	struct buf content = BUF_INIT(1u << 20);
	uint32_t rcpts[WORLD_RCPTS], n = s->n;
	char id[QUEUE_ID_MAX + 1];
	int err;

	if (!s->has_content && !s->asked_content) {
		err = queue_store_content(m, &content);
		if (err == ERR_LATER)
			s->asked_content = true;
		else
			on_content(w, m, err, buf_slice(&content));
		buf_clear(&content);
	}
	if (!s->has_content || w->is_off)
		return;
	check_body(w, m);
	err = queue_store_send(m, s->rcpts, s->n);
	/* ERR_FULL: until the log has room for its note. */
	if (err == ERR_AGAIN || err == ERR_FULL || w->is_off || disk_is_dead(w->q_io))
		return;
	if (err == 0)
		check_attempts(w, m, s);
	s->n = 0;
	w->moved = true;
	if (err != 0)
		return;
	memcpy(rcpts, s->rcpts, sizeof(rcpts));
	strlcpy(id, m->id, sizeof(id));
	for (uint32_t i = 0; i < n; i++)
		arrive(w, id, rcpts[i]);
}

static void finish_message(struct world *w, struct sched *s)
{
	struct queue_message *m = s->m;
	int64_t due = INT64_MAX;
	bool open = false;
	uint64_t ticket;

	for (uint32_t i = 0; i < m->env.recipients; i++) {
		const struct queue_rstatus *r = &m->r[i];

		if (news_of(w, m, i) != QUEUE_REASON_NONE)
			open = true;
		if (!queue_rstate_is_final(r->state) && r->state != QUEUE_R_FAILED) {
			open = true;
			due = r->due < due ? r->due : due;
		}
		open = open || r->is_out || r->is_asked;
	}
	if (!open) {
		if (queue_store_end(m, w->now, &ticket) == 0)
			w->moved = true;
		return;
	}
	if (tell(w, m))
		return;
	if (due > w->now && !w->wanted[find_fact(w, m->id) - w->facts] &&
		queue_store_unload(m, due) == 0) {
		char id[QUEUE_ID_MAX + 1];

		strlcpy(id, m->id, sizeof(id));
		drop_sched(w, m);
		on_waiting(w, id, QUEUE_PLACE_DEFERRED, due);
	}
}

static void run_messages(struct world *w)
{
	for (int i = 0; i < w->sched_n && !w->is_off; i++) {
		struct queue_message *m = w->sched[i].m;

		if (w->sched[i].n > 0 && m->state != QUEUE_M_LIVE) {
			send_job(w, &w->sched[i]); /* the store says no (Q17) */
			continue;
		}
		if (m->state == QUEUE_M_ENDED)
			continue;
		if (m->state == QUEUE_M_HELD) {
			if (!w->wanted[find_fact(w, m->id) - w->facts] &&
				queue_store_unload(m, w->now) == 0) {
				drop_sched(w, m);
				i--;
			}
			continue;
		}
		if (w->sched[i].n == 0 && !w->paused)
			hand_out(w, &w->sched[i]);
		if (w->sched[i].n > 0)
			send_job(w, &w->sched[i]);
		else
			finish_message(w, &w->sched[i]);
	}
	for (int i = 0; i < w->index_n; i++) {
		if (w->index[i].due <= w->now && w->index[i].place == QUEUE_PLACE_DEFERRED &&
			!w->index[i].loading) {
			w->index[i].loading = true;
			w->moved = true;
			queue_store_load(w->store, slice_str(w->index[i].id), QUEUE_PLACE_DEFERRED);
		}
	}
}

/* One order, in the keeper's process. False: none. */
static bool keep(struct world *w)
{
	struct buf order = BUF_INIT(QUEUE_REPLY_MAX), reply = BUF_INIT(QUEUE_REPLY_MAX);
	bool got = queue_store_order(w->store, &order);
	int err;

	if (got && !disk_is_dead(w->q_io)) {
		err = queue_keeper_run(w->keeper, buf_slice(&order), &reply);
		if (!w->is_off && !disk_is_dead(w->k_io) && !disk_is_dead(w->q_io)) {
			if (err != 0)
				wrong(w, "keeper: %s", err_str(err));
			err = queue_store_reply(w->store, buf_slice(&reply), w->now);
			if (err == ERR_CORRUPT)
				wrong(w, "reply: %s", err_str(err));
		}
	}
	buf_clear(&order);
	buf_clear(&reply);
	return got;
}

static void step(struct world *w)
{
	int64_t next;

	if (w->store == NULL || disk_is_dead(w->q_io) || disk_is_dead(w->k_io)) {
		world_start(w);
		if (w->store == NULL)
			return;
	}
	for (int i = 0; i < 2; i++) {
		if (w->cleanups[i].is_up && disk_is_dead(w->cleanups[i].io)) {
			drop_cleanup(w, &w->cleanups[i]);
			world_start(w);
			w->moved = true;
		}
		if (w->is_off || w->store == NULL)
			return;
	}
	if (queue_store_has_unread(w->store))
		queue_store_read(w->store, 100, w->now);
	if (!w->slow_worker)
		take_reports(w);
	/* Q6: the only answer is "durable". */
	for (int i = 0; i < w->facts_n && !w->is_off; i++) {
		struct fact *f = &w->facts[i];

		if (f->asking && queue_store_knows(w->store, slice_str(f->id))) {
			f->asking = false;
			f->acked = true;
		}
	}
	run_messages(w);
	if (w->is_off || w->store == NULL || disk_is_dead(w->q_io))
		return;
	queue_store_tick(w->store, w->now, w->now - START, &next);
	if (w->drops_n > 0)
		settle(w);
	if (w->is_off || w->store == NULL || disk_is_dead(w->q_io))
		return;
	for (int i = 0; i < 16 && !w->is_off && !w->slow_keeper && !disk_is_dead(w->q_io) &&
			!disk_is_dead(w->k_io) && keep(w);
		i++)
		w->moved = true;
}

void world_pump(struct world *w)
{
	for (int i = 0; i < 400 && !w->is_off; i++) {
		w->moved = false;
		step(w);
		if (!w->moved)
			return;
	}
	if (!w->is_off)
		wrong(w, "does not come to rest");
}

void world_wait(struct world *w, int64_t us)
{
	w->now += us;
	world_pump(w);
}

/* ---- Commands ---- */

static struct queue_message *need(struct world *w, int msg)
{
	struct queue_message *m;

	if (w->is_off || w->store == NULL || msg >= w->facts_n)
		return NULL;
	w->wanted[msg] = 1;
	m = queue_store_get(w->store, slice_str(w->facts[msg].id));
	if (m == NULL || find_sched(w, m) == NULL) {
		queue_store_load(w->store, slice_str(w->facts[msg].id), QUEUE_PLACE_DEFERRED);
		world_pump(w);
		m = w->is_off || w->store == NULL
			    ? NULL
			    : queue_store_get(w->store, slice_str(w->facts[msg].id));
	}
	return m;
}

static void add_command(struct world *w, int msg, char what, uint64_t ticket)
{
	w->commands[w->commands_n++] = (struct command){.msg = msg, .ticket = ticket, .what = what};
}

void world_hold(struct world *w, int msg)
{
	struct queue_message *m = need(w, msg);
	uint64_t ticket;

	if (m != NULL && queue_store_hold(m, w->now, &ticket) == 0) {
		w->facts[msg].holding = true;
		add_command(w, msg, 'h', ticket);
	}
	w->wanted[msg] = 0;
}

void world_release(struct world *w, int msg)
{
	struct queue_message *m = need(w, msg);
	uint64_t ticket;

	w->facts[msg].holding = w->facts[msg].held = false;
	w->facts[msg].released = true;
	if (m != NULL)
		queue_store_release(m, w->now, &ticket);
	w->wanted[msg] = 0;
}

void world_delete(struct world *w, int msg)
{
	struct queue_message *m = need(w, msg);
	uint64_t ticket;

	if (m != NULL && queue_store_delete(m, w->now, &ticket) == 0) {
		w->facts[msg].deleting = true;
		add_command(w, msg, 'd', ticket);
	}
	w->wanted[msg] = 0;
}

void world_requeue(struct world *w, int msg)
{
	struct queue_message *m = need(w, msg);
	uint32_t rcpts[WORLD_RCPTS], n = 0;

	for (uint32_t i = 0; m != NULL && i < m->env.recipients; i++) {
		if ((m->r[i].state == QUEUE_R_WAIT || m->r[i].state == QUEUE_R_DOUBT) &&
			!m->r[i].is_asked && !m->r[i].is_out)
			rcpts[n++] = i;
	}
	if (n > 0)
		ask_for(w, m, rcpts, n, QUEUE_REASON_REQUEUE);
	w->wanted[msg] = 0;
}

void world_stop_qmgr(struct world *w)
{
	if (w->is_off || w->store == NULL)
		return;
	queue_store_stop(w->store, w->now);
	for (int i = 0; i < 50 && !w->is_off && !queue_store_is_stopped(w->store); i++) {
		if (!keep(w))
			break;
	}
	if (!w->is_off && !disk_is_dead(w->q_io) && !disk_is_dead(w->k_io) &&
		!queue_store_is_stopped(w->store))
		wrong(w, "does not stop");
	drop_qmgr(w);
}

/* ---- The end ---- */

static bool is_satisfied(struct world *w, struct fact *f, uint32_t rcpt)
{
	uint32_t root_rcpt = rcpt;
	struct fact *root = root_of(w, f, &root_rcpt);

	return root->taken[root_rcpt] > 0 || f->deleting || root->deleting || f->held ||
	       f->hold_flag ||
	       (strchr("fec", f->spec[rcpt]) != NULL &&
		       (root->notice_sent[root_rcpt] || f->parent != -1 || f->notice_sent[rcpt]));
}

/* Delivered, and nobody has said so, although that was wanted; or a notice without its copy. */
static bool is_untold(const struct fact *f, uint32_t rcpt)
{
	unsigned sent = f->notice_sent[rcpt];

	if (f->spec[rcpt] == 'c' && (sent & 1u << QUEUE_REASON_BOUNCE))
		return !(sent & 1u << QUEUE_REASON_BOUNCE_COPY);
	if (f->spec[rcpt] == 'p' && (sent & 1u << QUEUE_REASON_DELAY))
		return !(sent & 1u << QUEUE_REASON_DELAY_COPY);
	return f->spec[rcpt] == 's' && f->taken[rcpt] > 0 && !f->deleting &&
	       !(f->notice_sent[rcpt] & 1u << QUEUE_REASON_SUCCESS);
}

/* A requeued one that fails is told of by the child's notice. */
static bool child_told(struct world *w, int msg, uint32_t rcpt)
{
	for (int i = 0; i < w->facts_n; i++) {
		const struct fact *c = &w->facts[i];

		for (int k = 0; c->parent == msg && k < c->parent_n; k++) {
			if (c->parent_rcpts[k] == rcpt && c->notice_sent[k])
				return true;
		}
	}
	return false;
}

static void check_drops_at_end(struct world *w)
{
	for (int i = 0; i < w->drops_n; i++) {
		const struct drop *d = &w->drops[i];

		if (d->is_whole && d->fact == -1)
			wrong(w, "lost: file %d of maildrop", i);
		for (int r = 0; d->fact != -1 && d->spec[r] != '\0'; r++)
			if (!is_satisfied(w, &w->facts[d->fact], (uint32_t)r))
				wrong(w, "lost: file %d of maildrop, recipient %d", i, r);
	}
	if (disk_count(w->disk, "maildrop/") > 0)
		wrong(w, "files are left in maildrop");
}

const char *world_finish(struct world *w)
{
	for (int round = 0; round < 3; round++) {
		world_start(w);
		w->slow_worker = w->queue_up = w->slow_keeper = w->paused = false;
		w->silent = NULL;
		world_wait(w, CLOCK_SEC);
		/* A command that the stop swallowed is given once more. */
		for (int i = 0; i < w->facts_n; i++) {
			if (w->facts[i].released && w->facts[i].acked)
				world_release(w, i);
		}
		for (int i = 0; i < 6 && w->wrong[0] == '\0' && !w->is_off; i++) {
			world_pickup(w, 0);
			world_wait(w, 60 * CLOCK_SEC);
		}
		if (!w->is_off)
			break;
	}
	for (int i = 0; i < w->facts_n; i++) {
		struct fact *f = &w->facts[i];

		for (int r = 0; r < f->n && f->acked; r++) {
			if (!is_satisfied(w, f, (uint32_t)r) && !child_told(w, i, (uint32_t)r))
				wrong(w, "lost: message %d (%s) recipient %d", i, f->id, r);
			if (is_untold(f, (uint32_t)r))
				wrong(w, "not told: message %d (%s) recipient %d", i, f->id, r);
		}
	}
	check_drops_at_end(w);
	return world_wrong(w);
}

struct world *world_new(enum world_stop stop, enum disk_choice choice, uint64_t seed)
{
	struct world *w = mem_alloc(sizeof(*w));

	w->disk = disk_new();
	w->stop = stop;
	w->choice = choice;
	w->seed = seed;
	w->now = START;
	return w;
}

void world_free(struct world **wp)
{
	struct world *w = *wp;

	if (w == NULL)
		return;
	w->is_off = true;
	for (int i = 0; i < 2; i++) {
		w->cleanups[i].worker = 0;
		drop_cleanup(w, &w->cleanups[i]);
	}
	drop_qmgr(w);
	disk_free(&w->disk);
	mem_free(w);
	*wp = NULL;
}

/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "queue/keeper.h"
#include "queue/store.h"
#include "t/queue/disk.h"
#include "t/tap.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/wire.h"

/*
 * The store by itself on a model disk: calls of the disk that fail for a passing reason, a parent
 * that goes while it is asked for, a clock that is set.
 */
#define SEGMENT (16u * QUEUE_BLOCK)
#define START INT64_C(1800000000000000)
#define DAY (86400 * CLOCK_SEC)
#define MOST 8

struct box {
	struct disk *disk;
	const struct queue_io *io;
	struct queue_store *store; /* NULL: it did not start */
	struct queue_keeper *keeper;
	int64_t now, mono, file_delay;
	struct queue_message *given[MOST], *loaded;
	int given_n, children;
	bool unloads; /* what is loaded goes at once */
	bool is_early;
	uint64_t done; /* worker_done was called for it */
	char problem[256];
};

/* ---- What the store says. ---- */

static void on_message(void *arg, struct queue_message *m)
{
	struct box *b = arg;

	/* One on its way out of memory is nobody's. */
	b->is_early = b->is_early || queue_store_get(b->store, slice_str(m->id)) != m;
	if (b->given_n < MOST)
		b->given[b->given_n++] = m;
}

static void on_loaded(void *arg, const char *id, int result, struct queue_message *m)
{
	struct box *b = arg;

	b->loaded = m;
	if (m != NULL && b->unloads)
		is_int(queue_store_unload(m, b->now + DAY), 0, "%s: goes again", id);
}

static void on_waiting(void *arg, const char *id, enum queue_place place, int64_t due)
{
}

static void on_nothing(void *arg)
{
}

static void on_content(void *arg, struct queue_message *m, int result, struct slice content)
{
}

static void on_child(
	void *arg, struct queue_message *m, const char *child, enum queue_reason reason, int result)
{
	((struct box *)arg)->children++;
}

static void on_one(void *arg, struct queue_message *m)
{
}

static void on_durable(void *arg, uint64_t ticket)
{
}

static void on_worker_done(void *arg, uint64_t worker)
{
	((struct box *)arg)->done = worker;
}

static void on_problem(void *arg, bool is_error, const char *line)
{
	struct box *b = arg;

	strlcpy(b->problem, line, sizeof(b->problem));
}

static const struct queue_store_calls calls = {on_message, on_loaded, on_waiting, on_nothing,
	on_content, on_child, on_one, on_one, on_durable, on_worker_done, on_problem, on_nothing};

/* ---- The box. ---- */

static struct box box_new(void)
{
	return (struct box){.disk = disk_new(), .now = START, .mono = CLOCK_SEC};
}

static void box_free(struct box *b)
{
	queue_store_free(&b->store);
	queue_keeper_free(&b->keeper);
	disk_free(&b->disk);
}

static int box_start(struct box *b)
{
	struct queue_store_setup setup = {.segment_size = SEGMENT,
		.journal_limit = 16 * SEGMENT,
		.piece_size = 16 * QUEUE_BLOCK,
		.file_delay = b->file_delay,
		.calls = &calls,
		.arg = b};
	int err;

	b->io = disk_process(b->disk);
	setup.root = disk_root(b->io);
	b->given_n = 0;
	b->problem[0] = '\0';
	err = queue_store_start(&setup, b->now, &b->store);
	if (err == 0)
		b->keeper = queue_keeper_new(&setup.root);
	return err;
}

/* Its process dies. */
static void box_kill(struct box *b)
{
	disk_kill(b->disk, b->io);
	queue_store_free(&b->store);
	queue_keeper_free(&b->keeper);
}

static void orders(struct box *b)
{
	(void)queue_store_run(b->store, b->keeper, b->now);
}

/* Seconds pass, one by one, with all that is to be done. */
static void pass_time(struct box *b, int seconds)
{
	int64_t next;

	for (int i = 0; i < seconds; i++) {
		b->now += CLOCK_SEC;
		b->mono += CLOCK_SEC;
		(void)queue_store_read(b->store, MOST, b->now);
		queue_store_tick(b->store, b->now, b->mono, &next);
		orders(b);
	}
}

/* ---- A cleanup. ---- */

struct writer {
	const struct queue_io *io;
	struct queue_journal *journal;
	uint32_t segment;
	uint64_t durable;
};

static struct writer writer_new(struct box *b)
{
	struct writer w = {.io = disk_process(b->disk)};
	struct queue_journal_setup setup = {
		.root = disk_root(w.io), .segment_size = SEGMENT, .limit = 16 * SEGMENT};

	if (queue_root_make(&setup.root) != 0 || queue_journal_open(&setup, &w.journal) != 0 ||
		queue_journal_take(w.journal) != 0)
		bail_out("no journal");
	return w;
}

static void writer_kill(struct box *b, struct writer *w)
{
	disk_kill(b->disk, w->io);
	queue_journal_close(&w->journal);
}

/* A durable message; parent: it is a forward of the first recipient of that one. */
static void commit(struct writer *w, const char *id, const char *parent)
{
	struct buf rcpts = BUF_INIT(1000), bytes = BUF_INIT(1000);
	struct queue_recipient to = {.address = SLICE_LIT("to@example.net")};
	struct queue_recipient dropped = {
		.address = SLICE_LIT("no@example.net"), .flags = QUEUE_RCPT_DROPPED};
	char first[4] = {0};
	struct queue_envelope env = {.id = slice_str(id),
		.arrival = START,
		.sender = SLICE_LIT("from@example.net"),
		.size = 7,
		.header_len = 7,
		.parent = slice_str(parent),
		.reason = parent != NULL ? QUEUE_REASON_FORWARD : 0,
		.parent_rcpts = parent != NULL ? slice_of(first, 4) : SLICE_NONE};
	struct iovec envelope, content = {(void *)(uintptr_t) "A: b\r\n\r", 7};
	struct queue_append a = {.id = slice_str(id),
		.envelope = &envelope,
		.envelope_n = 1,
		.content = &content,
		.content_n = 1};
	struct queue_ref ref;

	if (queue_recipient_encode(&rcpts, &to) != 0 ||
		queue_recipient_encode(&rcpts, &dropped) != 0 ||
		queue_envelope_encode(&bytes, &env, buf_slice(&rcpts)) != 0)
		bail_out("no envelope");
	envelope = (struct iovec){(void *)(uintptr_t)buf_str(&bytes), bytes.len};
	if (queue_journal_append(w->journal, &a, &ref) != 0 || queue_journal_sync(w->journal) != 0)
		bail_out("no commit");
	(void)queue_journal_position(w->journal, &w->segment, &w->durable);
	buf_clear(&rcpts);
	buf_clear(&bytes);
}

/* With a store that runs, and one message in it. */
static struct queue_message *begin(struct box *b, struct writer *w)
{
	*b = box_new();
	b->file_delay = -1;
	if (box_start(b) != 0 || queue_store_claims_done(b->store, b->now) != 0)
		bail_out("no start");
	orders(b);
	*w = writer_new(b);
	commit(w, "AAAAAA1", NULL);
	(void)queue_store_worker_position(b->store, 1, w->segment, w->durable);
	pass_time(b, 3);
	if (b->given_n != 1)
		bail_out("%d messages", b->given_n);
	return b->given[0];
}

/* ---- Tests. ---- */

/* Acknowledged mail, and a start that cannot see it now: it fails, and the next one has it. */
static void test_start(void)
{
	static const struct {
		const char *what;
		enum disk_failure failure;
		unsigned skip, n;
		int err;
	} cases[] = {
		{"no descriptor is left", DISK_OPENS, 0, 1, EMFILE},
		{"none at the second look", DISK_OPENS, 1, 1, EMFILE},
		{"no memory", DISK_OPENS, 0, 1, ENOMEM},
		{"the disk does not answer", DISK_OPENS, 0, 1, EIO},
		{"nor when it is read", DISK_READS, 0, 3, EIO},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct box b = box_new();
		struct writer w = writer_new(&b);
		char name[32];

		commit(&w, "AAAAAA1", NULL);
		writer_kill(&b, &w);
		disk_fail_some(b.disk, cases[i].failure, "incoming/0", cases[i].skip, cases[i].n,
			cases[i].err);
		is_int(box_start(&b), ERR_SYS, "%s: no start", cases[i].what);
		is_int(errno, cases[i].err, "with its reason");
		snprintf(name, sizeof(name), "segment %08X: cannot be", w.segment);
		ok(strstr(b.problem, name) != NULL, "which is said: %s", b.problem);
		is_int(box_start(&b), 0, "when that has passed it starts");
		(void)queue_store_claims_done(b.store, b.now);
		pass_time(&b, 3);
		is_int(b.given_n, 1, "and has the message");
		box_free(&b);
	}
}

/* One copy of the head is enough; and one that is bad everywhere is damage, not a reason to wait.
 */
static void test_bad_head(void)
{
	struct box b = box_new();
	struct writer w = writer_new(&b);
	char path[32];

	commit(&w, "AAAAAA1", NULL);
	writer_kill(&b, &w);
	disk_fail_some(b.disk, DISK_READS, "incoming/0", 0, 2, EIO);
	is_int(box_start(&b), 0, "two copies of the head cannot be read: the third is good");
	(void)queue_store_claims_done(b.store, b.now);
	pass_time(&b, 3);
	is_int(b.given_n, 1, "and the message is there");
	box_kill(&b);
	snprintf(path, sizeof(path), "incoming/%08X.segment", w.segment);
	disk_damage(b.disk, path, 20);
	disk_damage(b.disk, path, 2068);
	disk_damage(b.disk, path, SEGMENT - QUEUE_BLOCK + 20);
	is_int(box_start(&b), 0, "all three damaged: it starts");
	ok(strstr(b.problem, "no good head") != NULL, "and says so: %s", b.problem);
	box_free(&b);
}

/*
 * A worker died with a segment that it had no time to tell of, and the look for it fails, in the
 * keeper or here: nobody is told that all it had is read before that is so.
 */
static void test_failed_look(void)
{
	for (unsigned skip = 0; skip < 2; skip++) {
		struct box b = box_new();
		struct writer w;
		char path[32];

		if (box_start(&b) != 0 || queue_store_claims_done(b.store, b.now) != 0)
			bail_out("no start");
		pass_time(&b, 2);
		w = writer_new(&b);
		commit(&w, "AAAAAA1", NULL);
		snprintf(path, sizeof(path), "incoming/%08X", w.segment);
		writer_kill(&b, &w);
		disk_fail_some(b.disk, DISK_OPENS, path, skip, 1, EMFILE);
		queue_store_worker_lost(b.store, 7);
		orders(&b);
		(void)queue_store_read(b.store, MOST, b.now);
		is_int(b.given_n, 0, "the look fails: nothing is found");
		is_int(b.done, 0, "nor is the worker done with");
		ok(strstr(b.problem, "cannot be looked at") != NULL, "it is said: %s", b.problem);
		pass_time(&b, 4);
		is_int(b.given_n, 1, "the next one finds it");
		is_int(b.done, 7, "and then it is");
		box_free(&b);
	}
}

/* The same at a start, of a worker that nobody knows: the look is repeated all the same. */
static void test_failed_first_look(void)
{
	struct box b = box_new();
	struct writer w;
	char path[32];

	if (box_start(&b) != 0)
		bail_out("no start");
	w = writer_new(&b);
	commit(&w, "AAAAAA1", NULL);
	snprintf(path, sizeof(path), "incoming/%08X", w.segment);
	writer_kill(&b, &w);
	disk_fail_some(b.disk, DISK_OPENS, path, 0, 1, EMFILE);
	(void)queue_store_claims_done(b.store, b.now);
	orders(&b);
	pass_time(&b, 4);
	is_int(b.given_n, 1, "the first look fails, and the next one finds it");
	box_free(&b);
}

/* Read for a child of it while it goes out of memory: it is read once more. */
static void test_parent_goes(void)
{
	struct buf order = BUF_INIT(1 << 20),
		   reply[3] = {BUF_INIT(1 << 20), BUF_INIT(1 << 20), BUF_INIT(1 << 20)};
	struct queue_message *m;
	struct writer w;
	struct box b;
	int n = 0;

	m = begin(&b, &w);
	is_int(m->place, QUEUE_PLACE_DEFERRED, "the parent is a file");
	is_int(queue_store_unload(m, b.now + DAY), 0, "and goes");
	pass_time(&b, 2);
	b.given_n = 0;
	b.unloads = true;
	(void)queue_store_load(b.store, SLICE_LIT("AAAAAA1"), QUEUE_PLACE_DEFERRED);
	commit(&w, "AAAAAA2", "AAAAAA1");
	(void)queue_store_worker_position(b.store, 1, w.segment, w.durable);
	(void)queue_store_read(b.store, MOST, b.now);
	/* Both are read before an answer comes: for its own sake, and for the child's. */
	for (; n < 3 && queue_store_order(b.store, &order); n++)
		(void)queue_keeper_run(b.keeper, buf_slice(&order), &reply[n]);
	is_int(n, 2, "two orders to read it");
	for (int i = 0; i < n; i++)
		is_int(queue_store_reply(b.store, buf_slice(&reply[i]), b.now), 0, "answered");
	ok(queue_store_get(b.store, SLICE_LIT("AAAAAA1")) == NULL, "it is on its way out");
	b.unloads = false;
	pass_time(&b, 4);
	is_int(b.given_n, 2, "parent and child come, each once");
	ok(!b.is_early, "the parent not before it is in memory again");
	m = queue_store_get(b.store, SLICE_LIT("AAAAAA1"));
	is_int(m != NULL ? m->r[0].state : -1, QUEUE_R_PASSED, "and has the child");
	writer_kill(&b, &w);
	box_free(&b);
	for (int i = 0; i < 3; i++)
		buf_clear(&reply[i]);
	buf_clear(&order);
}

static void hand_out(struct box *b, struct queue_message *m)
{
	const uint32_t first = 0;
	uint64_t wait;

	is_int(queue_store_handout(m, &first, 1, QUEUE_ROAD_DIRECT, b->now, &wait), 0,
		"handed out");
	pass_time(b, 2);
	is_int(queue_store_send(m, &first, 1), 0, "and sent");
}

/* Who is out may come back untried, and waits then as long as he would have. */
static void test_shift(void)
{
	struct queue_result later = {.type = QUEUE_EV_DEFERRED, .text = SLICE_LIT("later")};
	struct queue_message *m;
	struct writer w;
	struct box b;
	int64_t due;
	uint64_t ticket;

	m = begin(&b, &w);
	hand_out(&b, m);
	later.due = due = b.now + 100 * CLOCK_SEC;
	(void)queue_store_result(m, 0, &later, b.now, &ticket);
	hand_out(&b, m);
	queue_store_shift(m, -DAY);
	b.now -= DAY;
	is_int(queue_store_give_back(m, 0, false, b.now), 0, "it comes back untried");
	is_int(m->r[0].due, due - DAY, "and its time has gone with the clock");
	hand_out(&b, m);
	queue_store_shift(m, DAY);
	b.now += DAY;
	(void)queue_store_flush(b.store);
	box_kill(&b);
	writer_kill(&b, &w);
	is_int(box_start(&b), 0, "so it is noted");
	(void)queue_store_claims_done(b.store, b.now);
	pass_time(&b, 2);
	(void)queue_store_load(b.store, SLICE_LIT("AAAAAA1"), QUEUE_PLACE_DEFERRED);
	pass_time(&b, 2);
	is_int(b.loaded != NULL ? b.loaded->r[0].due : -1, due, "for the next start");
	box_free(&b);
}

/* The clock is set between the orders of a stop: the mark is the last event all the same (Q11). */
static void test_stop(void)
{
	static const int64_t steps[] = {0, -DAY, DAY};

	for (size_t i = 0; i < COUNT_OF(steps); i++) {
		struct queue_result later = {.type = QUEUE_EV_DEFERRED, .text = SLICE_LIT("later")};
		struct buf order = BUF_INIT(1 << 20), reply = BUF_INIT(1 << 20);
		struct queue_message *m;
		struct writer w;
		struct box b;
		uint64_t ticket;
		int n = 0;

		m = begin(&b, &w);
		hand_out(&b, m);
		later.due = b.now + 100 * CLOCK_SEC;
		(void)queue_store_result(m, 0, &later, b.now, &ticket);
		(void)queue_store_stop(b.store, b.now);
		for (; n < 20 && queue_store_order(b.store, &order); n++) {
			b.now += steps[i];
			buf_reset(&reply);
			(void)queue_keeper_run(b.keeper, buf_slice(&order), &reply);
			(void)queue_store_reply(b.store, buf_slice(&reply), b.now);
		}
		ok(queue_store_is_stopped(b.store), "stopped, by %d orders", n);
		box_kill(&b);
		writer_kill(&b, &w);
		is_int(box_start(&b), 0, "the next start");
		ok(queue_store_was_clean(b.store), "finds a clean stop");
		(void)queue_store_claims_done(b.store, b.now);
		pass_time(&b, 3);
		(void)queue_store_load(b.store, SLICE_LIT("AAAAAA1"), QUEUE_PLACE_DEFERRED);
		pass_time(&b, 2);
		is_int(b.loaded != NULL ? b.loaded->r[0].state : -1, QUEUE_R_WAIT, "which waits");
		is_int(b.loaded != NULL ? b.loaded->r[0].due : -1, later.due,
			"as long as it was to");
		box_free(&b);
		buf_clear(&order);
		buf_clear(&reply);
	}
}

/* What cleanup dropped is nobody's from the first look on, whatever is noted of the message. */
static void test_dropped(void)
{
	const uint32_t dropped = 1;
	struct queue_message *m;
	struct writer w;
	struct box b;
	uint64_t ticket;

	m = begin(&b, &w);
	is_int(m->r[1].state, QUEUE_R_DELETED, "a dropped recipient is a deleted one");
	is_int(queue_store_handout(m, &dropped, 1, QUEUE_ROAD_DIRECT, b.now, &ticket), ERR_STATE,
		"it is not handed out");
	(void)queue_store_in_doubt(m, &dropped, 1, "in doubt", b.now, &ticket);
	is_int(m->r[1].state, QUEUE_R_DELETED, "nor in doubt");
	queue_store_shift(m, DAY);
	(void)queue_store_unload(m, b.now + DAY);
	pass_time(&b, 2);
	(void)queue_store_load(b.store, SLICE_LIT("AAAAAA1"), QUEUE_PLACE_DEFERRED);
	pass_time(&b, 2);
	is_int(b.loaded != NULL ? b.loaded->r[1].state : -1, QUEUE_R_DELETED, "nor later");
	writer_kill(&b, &w);
	box_free(&b);
}

int main(void)
{
	test_start();
	test_bad_head();
	test_failed_look();
	test_failed_first_look();
	test_parent_goes();
	test_shift();
	test_stop();
	test_dropped();
	return done_testing();
}

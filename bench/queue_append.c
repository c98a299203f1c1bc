/* SPDX-License-Identifier: ISC */

/*
 * How fast the journal and the store take messages: queue_append DIRECTORY [messages [group]].
 * Appends messages of 4 KB, one sync a group, then lets a store read them, hand each out and
 * note its delivery, with its keeper in the same process.
 */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "queue/keeper.h"
#include "queue/store.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/log.h"

static uint64_t ended, wanted;
static struct queue_message *given[1000];
static int given_n;

static int64_t cpu(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * CLOCK_SEC + r.ru_utime.tv_usec +
	       r.ru_stime.tv_usec;
}

static void must(int err, const char *what)
{
	if (err != 0)
		log_fatal("%s: %s", what, err_str(err));
}

static void on_message(void *arg, struct queue_message *m)
{
	given[given_n++] = m;
}

static void on_loaded(void *arg, const char *id, int result, struct queue_message *m)
{
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
}

static void on_moved(void *arg, struct queue_message *m)
{
}

static void on_ended(void *arg, struct queue_message *m)
{
	ended++;
}

static void on_number(void *arg, uint64_t n)
{
}

static void on_problem(void *arg, bool is_error, const char *line)
{
	fprintf(stderr, "%s\n", line);
}

static const struct queue_store_calls calls = {on_message, on_loaded, on_waiting, on_nothing,
	on_content, on_child, on_moved, on_ended, on_number, on_number, on_problem, on_nothing};

static void append_one(struct queue_journal *j, struct queue_ids *ids)
{
	static char content[4096];
	struct queue_recipient r = {.address = SLICE_LIT("someone@example.net"),
		.transport = SLICE_LIT("smtp"),
		.nexthop = SLICE_LIT("example.net")};
	char id[QUEUE_ID_MAX + 1];
	struct buf rcpts = BUF_INIT(4096), env = BUF_INIT(4096);
	struct queue_envelope e = {.arrival = clock_real(),
		.sender = SLICE_LIT("somebody@example.org"),
		.size = sizeof(content)};
	struct iovec envelope, body = {content, sizeof(content)};
	struct queue_append a = {
		.envelope = &envelope, .envelope_n = 1, .content = &body, .content_n = 1};
	struct queue_ref ref;
	int err;

	must(queue_ids_next(ids, false, e.arrival, id), "id");
	e.id = a.id = slice_str(id);
	must(queue_recipient_encode(&rcpts, &r), "recipient");
	must(queue_envelope_encode(&env, &e, buf_slice(&rcpts)), "envelope");
	envelope = (struct iovec){(void *)(uintptr_t)buf_str(&env), env.len};
	err = queue_journal_append(j, &a, &ref);
	if (err == ERR_LIMIT) {
		must(queue_journal_sync(j), "sync");
		must(queue_journal_take(j), "take");
		err = queue_journal_append(j, &a, &ref);
	}
	must(err, "append");
	buf_clear(&rcpts);
	buf_clear(&env);
}

static void append_all(struct queue_root *root, uint64_t group)
{
	struct queue_journal_setup setup = {.root = *root, .limit = UINT64_C(4) << 30};
	struct queue_journal *j = NULL;
	struct queue_ids *ids = NULL;
	int64_t begin, used;

	must(queue_journal_open(&setup, &j), "journal");
	must(queue_ids_open(root, clock_real(), &ids), "ids");
	must(queue_journal_take(j), "segment");
	begin = clock_mono();
	used = cpu();
	for (uint64_t i = 0; i < wanted; i++) {
		append_one(j, ids);
		if ((i + 1) % group == 0)
			must(queue_journal_sync(j), "sync");
	}
	must(queue_journal_sync(j), "sync");
	begin = clock_mono() - begin;
	used = cpu() - used;
	printf("append: %.0f messages/s, %.1f us CPU each\n", (double)wanted * 1e6 / (double)begin,
		(double)used / (double)wanted);
	queue_journal_close(&j);
	queue_ids_close(&ids);
}

static void deliver(struct queue_message *m, int64_t now)
{
	struct queue_result result = {.type = QUEUE_EV_DELIVERED,
		.dsn = SLICE_LIT("2.0.0"),
		.host = SLICE_LIT("mx.example.net[192.0.2.1]:25"),
		.text = SLICE_LIT("250 2.0.0 Ok: queued")};
	struct buf content = BUF_INIT(1u << 20);
	uint64_t wait, ticket;
	uint32_t index = 0;

	must(queue_store_handout(m, &index, 1, QUEUE_ROAD_DIRECT, now, &wait), "hand-out");
	must(queue_store_content(m, &content), "content");
	if (wait == 0)
		must(queue_store_send(m, &index, 1), "send");
	must(queue_store_result(m, 0, &result, now, &ticket), "result");
	must(queue_store_end(m, now, &ticket), "end");
	buf_clear(&content);
}

static void deliver_all(struct queue_root *root)
{
	struct queue_store_setup setup = {.root = *root, .calls = &calls};
	struct queue_keeper *k = queue_keeper_new(root);
	struct queue_store *s = NULL;
	int64_t begin = clock_mono(), used = cpu(), next;
	bool first = true;

	must(queue_store_start(&setup, clock_real(), &s), "start");
	must(queue_store_claims_done(s, clock_real()), "claims");
	queue_store_run(s, k, clock_real());
	printf("start: %.0f ms\n", (double)(clock_mono() - begin) / 1e3);
	begin = clock_mono();
	used = cpu();
	while (ended < wanted) {
		int64_t now = clock_real();

		given_n = 0;
		(void)queue_store_read(s, 1000, now);
		if (first && given_n > 0) {
			printf("first message: %.0f ms after the start\n",
				(double)(clock_mono() - begin) / 1e3);
			first = false;
		}
		for (int i = 0; i < given_n; i++)
			deliver(given[i], now);
		queue_store_tick(s, now, clock_mono(), &next);
		if (given_n == 0)
			queue_store_sync(s);
		must(queue_store_run(s, k, now), "keeper");
	}
	begin = clock_mono() - begin;
	used = cpu() - used;
	printf("store:  %.0f messages/s, %.1f us CPU each\n", (double)wanted * 1e6 / (double)begin,
		(double)used / (double)wanted);
	queue_store_free(&s);
	queue_keeper_free(&k);
}

int main(int argc, char **argv)
{
	struct queue_root root;
	uint64_t group = 50;

	wanted = 50000;
	if (argc < 2 || (argc > 2 && slice_u64(slice_str(argv[2]), 1, 10000000, &wanted) != 0) ||
		(argc > 3 && slice_u64(slice_str(argv[3]), 1, 100000, &group) != 0)) {
		fprintf(stderr, "usage: queue_append directory [messages [group]]\n");
		return 1;
	}
	mkdir(argv[1], 0700);
	must(queue_root_open(argv[1], &root), argv[1]);
	must(queue_root_make(&root), "directories");
	append_all(&root, group);
	deliver_all(&root);
	queue_root_close(&root);
	return 0;
}

/* SPDX-License-Identifier: ISC */
/*
 * Fills a queue that is not in use with deferred messages: fill DIRECTORY messages due.
 * Each is a small waiting file for one recipient, due that many seconds from now.
 */
#include <err.h>
#include <stdlib.h>

#include "queue/file.h"
#include "queue/id.h"
#include "util/clock.h"
#include "util/err.h"

static void must(int result, const char *what)
{
	if (result != 0)
		errx(1, "%s: %s", what, err_str(result));
}

static void fill_one(const struct queue_root *root, const char *id, int64_t now, int64_t due)
{
	const struct slice content = SLICE_LIT("Subject: x\r\n\r\nhello\r\n");
	const struct queue_recipient to = {.address = SLICE_LIT("user@next.example"),
		.orig_to = SLICE_LIT("user@next.example"),
		.transport = SLICE_LIT("smtp")};
	const struct queue_envelope env = {.id = slice_str(id),
		.arrival = now,
		.sender = SLICE_LIT("sender@client.example"),
		.size = content.len,
		.header_len = 14};
	struct buf rcpts = BUF_INIT(4096), envelope = BUF_INIT(4096);
	int fd = -1;

	must(queue_recipient_encode(&rcpts, &to), "recipient");
	must(queue_envelope_encode(&envelope, &env, buf_slice(&rcpts)), "envelope");
	must(queue_file_write(root, QUEUE_PLACE_DEFERRED, env.id, buf_slice(&envelope), content,
		     SLICE_NONE, due, &fd),
		id);
	queue_close(root->io, &fd);
	buf_clear(&rcpts);
	buf_clear(&envelope);
}

int main(int argc, char **argv)
{
	int64_t now = clock_real();
	struct queue_root root;
	struct queue_ids *ids;
	char id[QUEUE_ID_MAX + 1];
	const char *bad = NULL;
	long long n, due;

	if (argc != 4)
		errx(2, "usage: fill DIRECTORY messages due");
	n = strtonum(argv[2], 1, 10000000, &bad);
	due = bad == NULL ? strtonum(argv[3], 0, 1000000, &bad) : 0;
	if (bad != NULL)
		errx(2, "a number is %s", bad);
	must(queue_root_open(argv[1], &root), argv[1]);
	must(queue_root_make(&root), argv[1]);
	must(queue_ids_open(&root, now, &ids), "ids");
	for (long long i = 0; i < n; i++) {
		must(queue_ids_next(ids, false, now, id), "an id");
		fill_one(&root, id, now, now + due * CLOCK_SEC);
	}
	queue_ids_close(&ids);
	queue_root_close(&root);
	return 0;
}

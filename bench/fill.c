/* SPDX-License-Identifier: ISC */
/*
 * Fills a queue that is not in use with deferred messages: fill DIRECTORY messages due [long].
 * Each is the waiting file of a small message for one recipient after its first attempt, which
 * found the next hop down, as the keeper writes it; but nothing is synced. The next attempts are
 * spread over the time from due to twice due seconds from now. long: ids as with
 * enable_long_queue_ids.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue/file.h"
#include "queue/id.h"
#include "util/clock.h"
#include "util/err.h"

static void must(int result, const char *what)
{
	if (result != 0)
		errx(1, "%s: %s", what, err_str(result));
}

static void envelope_of(struct buf *out, struct slice id, int64_t arrival, struct slice content)
{
	const struct queue_recipient to = {.address = SLICE_LIT("user@down.example"),
		.orig_to = SLICE_LIT("user@down.example"),
		.class = QUEUE_CLASS_DEFAULT,
		.transport = SLICE_LIT("smtp"),
		.nexthop = SLICE_LIT("[192.0.2.1]:25")};
	const struct queue_envelope env = {.id = id,
		.arrival = arrival,
		.sender = SLICE_LIT("sender@client.example"),
		.size = content.len,
		.header_len = (uint32_t)slice_find_str(content, "\r\n\r\n") + 4,
		.client_name = SLICE_LIT("unknown"),
		.client_addr = SLICE_LIT("127.0.0.1"),
		.helo = SLICE_LIT("client.example"),
		.protocol = SLICE_LIT("ESMTP"),
		.service = SLICE_LIT("smtp"),
		.client_port = 40000};
	struct buf rcpts = BUF_INIT(4096);

	must(queue_recipient_encode(&rcpts, &to), "recipient");
	must(queue_envelope_encode(out, &env, buf_slice(&rcpts)), "envelope");
	buf_clear(&rcpts);
}

/* It was handed out once and came back. */
static void events_of(struct buf *out, struct slice id, int64_t now, int64_t due)
{
	const struct slice first = slice_of("\0\0\0\0", 4);
	struct queue_event ev = {.type = QUEUE_EV_HANDOUT,
		.no = 1,
		.time = now,
		.id = id,
		.rcpts = first,
		.flags = QUEUE_EVENT_BY_ROAD(QUEUE_ROAD_RELAY)};

	must(queue_event_encode(out, 0, &ev), "hand-out");
	ev.type = QUEUE_EV_DEFERRED;
	ev.no = 2;
	ev.due = due;
	ev.dsn = SLICE_LIT("4.4.1");
	ev.text = SLICE_LIT("connect to 192.0.2.1[192.0.2.1]:25: Connection refused");
	ev.flags = QUEUE_EVENT_RELAY;
	must(queue_event_encode(out, 0, &ev), "deferral");
}

static void fill_one(const struct queue_root *root, const char *text, int64_t now, int64_t due)
{
	const struct slice id = slice_str(text);
	struct buf content = BUF_INIT(4096), envelope = BUF_INIT(4096), events = BUF_INIT(4096);
	int fd = -1;

	buf_add_str(&content, "Received: from client.example (unknown [127.0.0.1])\r\n"
			      "\tby bench.example (Gatepost) with ESMTP id ");
	buf_add_slice(&content, id);
	buf_add_str(&content, "\r\n\tfor <user@down.example>; Sun, 1 Nov 2026 10:00:00 +0000\r\n"
			      "From: <sender@client.example>\r\nTo: <user@down.example>\r\n"
			      "Subject: x\r\n\r\nhello\r\n");
	envelope_of(&envelope, id, now, buf_slice(&content));
	events_of(&events, id, now, due);
	must(queue_file_write(root, QUEUE_PLACE_DEFERRED, id, buf_slice(&envelope),
		     buf_slice(&content), buf_slice(&events), due, &fd),
		text);
	queue_close(root->io, &fd);
	buf_clear(&content);
	buf_clear(&envelope);
	buf_clear(&events);
}

int main(int argc, char **argv)
{
	int64_t now = clock_real();
	struct queue_root root;
	struct queue_ids *ids;
	char id[QUEUE_ID_MAX + 1];
	const char *bad = NULL;
	bool is_long = argc == 5 && strcmp(argv[4], "long") == 0;
	long long n, due;

	if (argc != 4 && !is_long)
		errx(2, "usage: fill DIRECTORY messages due [long]");
	n = strtonum(argv[2], 1, 10000000, &bad);
	due = bad == NULL ? strtonum(argv[3], 0, 1000000, &bad) : 0;
	if (bad != NULL)
		errx(2, "a number is %s", bad);
	must(queue_root_open(argv[1], &root), argv[1]);
	must(queue_root_make(&root), argv[1]);
	must(queue_ids_open(&root, now, &ids), "ids");
	for (long long i = 0; i < n; i++) {
		/* A thousand a second came until now. */
		int64_t came = now - (n - i) * CLOCK_MSEC;
		int64_t wait = due * CLOCK_SEC + arc4random_uniform((uint32_t)due + 1) * CLOCK_SEC;

		must(queue_ids_next(ids, is_long, came, id), "an id");
		fill_one(&root, id, came, now + wait);
	}
	queue_ids_close(&ids);
	queue_root_close(&root);
	return 0;
}

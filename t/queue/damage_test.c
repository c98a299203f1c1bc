/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <string.h>

#include "queue/dump.h"
#include "queue/segment.h"
#include "t/queue/disk.h"
#include "t/tap.h"
#include "util/err.h"
#include "util/mem.h"

#define SEGMENT (64u * QUEUE_BLOCK)

/* A segment with five records of 6000 bytes, each a commit; records[i] is where. */
struct fixture {
	struct disk *disk;
	struct queue_root root;
	struct queue_ref refs[5];
	uint32_t number;
};

static int append(struct queue_journal *j, const char *id, const char *p, size_t len, bool notice,
	struct queue_ref *ref)
{
	struct iovec content = {(void *)(uintptr_t)p, len};
	struct iovec envelope = {(void *)(uintptr_t) "envelope", 8};
	struct queue_append a = {.id = slice_str(id),
		.envelope = &envelope,
		.envelope_n = 1,
		.content = &content,
		.content_n = 1,
		.is_notice = notice};

	return queue_journal_append(j, &a, ref);
}

static void setup(struct fixture *f)
{
	struct queue_journal_setup s = {.segment_size = SEGMENT};
	struct queue_journal *j = NULL;
	static char content[6000];
	uint64_t durable;
	int err = 0;

	memset(content, 'x', sizeof(content));
	f->disk = disk_new();
	f->root = s.root = disk_root(disk_process(f->disk));
	(void)queue_root_make(&f->root);
	err = queue_journal_open(&s, &j);
	if (err == 0)
		err = queue_journal_take(j);
	for (int i = 0; i < 5 && err == 0; i++) {
		char id[16];

		snprintf(id, sizeof(id), "ABCDE%d", i);
		err = append(j, id, content, sizeof(content), false, &f->refs[i]);
		if (err == 0)
			err = queue_journal_sync(j);
	}
	if (err != 0 || !queue_journal_position(j, &f->number, &durable))
		bail_out("fixture: %s", err_str(err));
	queue_journal_close(&j);
}

/* The ids of all records whose payload is good, and the bytes passed over. */
static void scan(struct fixture *f, char ids[64], uint64_t *gaps, uint64_t *durable)
{
	struct queue_segment s;
	struct queue_record rec;
	uint64_t at, gap = 0;

	ids[0] = '\0';
	*gaps = *durable = 0;
	if (queue_segment_open(&f->root, f->number, &s) != 0)
		return;
	at = queue_segment_begin(&s);
	while (queue_record_next(&s, &at, queue_segment_end(&s), false, &rec, &gap) == 0) {
		struct slice payload;

		*gaps += gap > 0;
		*durable = rec.durable > *durable ? rec.durable : *durable;
		if (queue_record_payload(&s, &rec, rec.ref.length, false, &payload) == 0)
			strlcat(ids, rec.id + 5, 64);
	}
	queue_segment_close(&s);
}

static void clear(struct fixture *f)
{
	disk_free(&f->disk);
}

static void damage_records(void)
{
	static const struct {
		const char *what;
		int record;
		uint64_t at; /* within it */
		const char *left;
	} cases[] = {
		{"nothing", -1, 0, "01234"},
		{"the head of the first", 0, 10, "1234"},
		{"the length of one", 2, 44, "0134"},
		{"the table of sums", 1, QUEUE_RECORD_HEAD, "0234"},
		{"content of one", 3, 3000, "0124"},
		{"the head of the last", 4, 0, "0123"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fixture f;
		char ids[64], path[QUEUE_SEGMENT_PATH];
		uint64_t gaps, durable;

		setup(&f);
		queue_segment_path(f.number, path);
		if (cases[i].record >= 0)
			disk_damage(f.disk, path, f.refs[cases[i].record].offset + cases[i].at);
		scan(&f, ids, &gaps, &durable);
		is_str(ids, cases[i].left, "damaged: %s; the others are found", cases[i].what);
		clear(&f);
	}
}

static void damage_heads(void)
{
	struct fixture f;
	char ids[64], path[QUEUE_SEGMENT_PATH];
	uint64_t gaps, durable;

	setup(&f);
	queue_segment_path(f.number, path);
	disk_damage(f.disk, path, 20);
	scan(&f, ids, &gaps, &durable);
	is_str(ids, "01234", "the first head of the segment");
	disk_damage(f.disk, path, 2068);
	scan(&f, ids, &gaps, &durable);
	is_str(ids, "01234", "both in the first block");
	disk_damage(f.disk, path, SEGMENT - QUEUE_BLOCK + 20);
	scan(&f, ids, &gaps, &durable);
	is_str(ids, "", "all three: nothing is taken for mail");
	clear(&f);
}

/* A client that sends a well-formed record, even one that it has seen, sends a body. */
static void record_in_body(void)
{
	struct fixture f;
	struct queue_journal_setup s = {.segment_size = SEGMENT};
	struct queue_journal *j = NULL;
	struct queue_segment seg;
	struct slice raw;
	struct queue_ref ref;
	char ids[64], *body, path[QUEUE_SEGMENT_PATH];
	uint64_t gaps, durable;

	setup(&f);
	(void)queue_segment_open(&f.root, f.number, &seg);
	(void)queue_segment_get(&seg, f.refs[2].offset, 6400, false, &raw);
	body = mem_dup(raw.p, raw.len);
	queue_segment_close(&seg);
	s.root = f.root;
	(void)queue_journal_open(&s, &j);
	(void)queue_journal_take(j);
	is_int(append(j, "ABCDE9", body, 6400, false, &ref), 0, "a body that is a record");
	is_int(queue_journal_sync(j), 0, "is committed");
	(void)queue_journal_position(j, &f.number, &durable);
	queue_journal_close(&j);
	scan(&f, ids, &gaps, &durable);
	is_str(ids, "9", "and is one message");
	queue_segment_path(f.number, path);
	disk_damage(f.disk, path, ref.offset);
	scan(&f, ids, &gaps, &durable);
	is_str(ids, "", "even when the search passes through it");
	mem_free(body);
	clear(&f);
}

static void reserve(void)
{
	struct disk *d = disk_new();
	struct queue_journal_setup s = {
		.segment_size = SEGMENT, .limit = SEGMENT, .reserve = 16 * QUEUE_BLOCK};
	struct queue_journal *j = NULL;
	struct queue_ref ref;
	static char content[6000];
	int mail = 0, notices = 0;

	s.root = disk_root(disk_process(d));
	(void)queue_root_make(&s.root);
	(void)queue_journal_open(&s, &j);
	is_int(queue_journal_take(j), 0, "the one segment that the limit allows");
	ok(queue_journal_has_room(j), "has room");
	while (append(j, "ABCDEF", content, sizeof(content), false, &ref) == 0) {
		mail++;
		(void)queue_journal_sync(j);
	}
	is_int(append(j, "ABCDEF", content, sizeof(content), false, &ref), ERR_FULL,
		"mail is refused at the reserve");
	ok(!queue_journal_has_room(j), "and there is no room");
	while (append(j, "ABCDEF", content, sizeof(content), true, &ref) == 0) {
		notices++;
		(void)queue_journal_sync(j);
	}
	ok(mail > 15 && notices >= 7, "%d messages, then %d notices", mail, notices);
	is_int(queue_journal_take(j), ERR_FULL, "no other segment");
	queue_journal_close(&j);
	disk_free(&d);
}

static void dump(void)
{
	struct fixture f;
	char path[QUEUE_SEGMENT_PATH], *text = NULL;
	size_t len = 0;
	FILE *out;

	setup(&f);
	queue_segment_path(f.number, path);
	disk_damage(f.disk, path, f.refs[2].offset);
	out = open_memstream(&text, &len);
	is_int(queue_dump(&f.root, path, out), 0, "dump of a segment");
	is_int(queue_dump(&f.root, "incoming/ids", out), ERR_SYNTAX, "of what is none");
	is_int(queue_dump(&f.root, "deferred/EF/ABCDEF", out), ERR_NOT_FOUND,
		"of what is not there");
	fclose(out);
	ok(text != NULL && strstr(text, "id=ABCDE1") != NULL, "names a message");
	ok(text != NULL && strstr(text, "bad bytes") != NULL, "shows the damage");
	mem_free(text);
	clear(&f);
}

int main(void)
{
	damage_records();
	damage_heads();
	record_in_body();
	reserve();
	dump();
	return done_testing();
}

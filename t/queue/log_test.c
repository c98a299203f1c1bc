/* SPDX-License-Identifier: ISC */
#include <stdio.h>

#include "queue/log.h"
#include "t/queue/disk.h"
#include "t/tap.h"
#include "util/err.h"

#define PIECE (16u * QUEUE_BLOCK)

/* A log on a disk of its own, with two spare pieces. */
struct fixture {
	struct disk *disk;
	struct queue_root root;
	struct queue_log log;
	struct queue_log_image image;
	unsigned noted;
};

static void setup(struct fixture *f)
{
	int err;

	*f = (struct fixture){.disk = disk_new()};
	f->root = disk_root(disk_process(f->disk));
	(void)queue_root_make(&f->root);
	queue_log_init(&f->log, &f->root, PIECE);
	err = queue_log_read(&f->root, &f->image);
	if (err == 0)
		err = queue_log_continue(&f->log, &f->image, &(struct queue_log_place){0});
	if (err == 0)
		err = queue_log_publish(&f->log);
	/* As the keeper does. */
	for (int slot = queue_log_absent(&f->log); err == 0 && queue_log_spares(&f->log) < 2;
		slot = queue_log_absent(&f->log)) {
		err = queue_piece_make(&f->root, slot, PIECE);
		f->log.slots[slot].state = QUEUE_SLOT_SPARE;
		f->log.slots[slot].size = PIECE;
	}
	if (err != 0)
		bail_out("fixture: %s", err_str(err));
}

static void teardown(struct fixture *f)
{
	queue_log_clear(&f->log);
	queue_log_image_clear(&f->image);
	disk_free(&f->disk);
}

static int note(struct fixture *f)
{
	char id[16];
	struct queue_event ev = {.type = QUEUE_EV_DELETED, .no = 1};
	int err;

	(void)snprintf(id, sizeof(id), "ABC%06u", f->noted);
	ev.id = slice_str(id);
	err = queue_log_note(&f->log, &ev, NULL);
	f->noted += err == 0;
	return err;
}

static int sync_all(struct fixture *f)
{
	uint8_t slots[QUEUE_PIECE_SLOTS];
	int n, err = queue_log_sync_begin(&f->log, slots, &n);

	for (int i = 0; i < n && err == 0; i++) {
		int fd = f->log.slots[slots[i]].fd;

		err = f->root.io->fdatasync(f->root.io, fd) == -1 ? ERR_SYS : 0;
	}
	return err != 0 ? err : queue_log_sync_end(&f->log, true);
}

/* How many of the notes a start behind a power cut would read, in their order. */
static unsigned durable_notes(struct fixture *f)
{
	struct disk *copy = disk_durable_copy(f->disk);
	struct queue_root root = disk_root(disk_process(copy));
	struct queue_log_image image;
	struct queue_event ev;
	unsigned n = 0;
	char id[16];

	if (queue_log_read(&root, &image) == 0) {
		while (queue_log_next(&image, &ev)) {
			(void)snprintf(id, sizeof(id), "ABC%06u", n);
			n += slice_eq_str(ev.id, id);
		}
		queue_log_image_clear(&image);
	}
	disk_free(&copy);
	return n;
}

/* A file system that copies on write: what was allocated before can have no room all the same. */
static void test_no_space(bool hides)
{
	const char *what = hides ? "a quota" : "a full disk";
	struct fixture f;
	uint64_t calls = 0;
	int wrong = 0;

	setup(&f);
	disk_set_copying(f.disk, hides);
	(void)note(&f);
	is_int(sync_all(&f), 0, "%s: a sync while there is space", what);
	for (int round = 0; round < 200; round++) {
		/* Room for a part of it, for a block, for none. */
		disk_set_space(f.disk, (uint64_t)(round % 3));
		for (int i = 0; i < 250 && round == 0; i++)
			wrong += note(&f) != 0;
		wrong += queue_log_flush(&f.log) != ERR_FULL;
		wrong += queue_log_spares(&f.log) != 2;
		if (round == 0)
			calls = disk_calls(f.disk);
	}
	is_int(wrong, 0, "%s: each flush fails, and leaves the spare pieces", what);
	if (!hides)
		is_int(disk_calls(f.disk), calls, "%s: nothing is tried in vain", what);
	is_int(durable_notes(&f), 1, "%s: what was synced stays", what);
	disk_set_space(f.disk, UINT64_MAX);
	is_int(sync_all(&f), 0, "%s: with space a sync goes on", what);
	is_int(durable_notes(&f), f.noted, "%s: and nothing was lost", what);
	is_int(queue_log_spares(&f.log), 1, "%s: in one piece", what);
	teardown(&f);
}

/* The same where a new piece begins: its head finds no space. */
static void test_no_space_at_rotation(void)
{
	struct fixture f;
	int err = 0;

	setup(&f);
	disk_set_copying(f.disk, true);
	while (f.log.slots[f.log.current].number == 1 && f.log.pos < PIECE - 3 * QUEUE_BLOCK)
		if (note(&f) != 0 || sync_all(&f) != 0)
			bail_out("fixture");
	disk_set_space(f.disk, 0);
	for (int i = 0; i < 1000 && err == 0; i++)
		err = note(&f);
	is_int(err, ERR_FULL, "no next piece without space");
	for (int i = 0; i < 10; i++)
		is_int(queue_log_flush(&f.log), ERR_FULL, "not now");
	is_int(queue_log_spares(&f.log), 2, "the spare pieces stay");
	disk_set_space(f.disk, UINT64_MAX);
	is_int(sync_all(&f), 0, "with space a sync goes on");
	is_int(durable_notes(&f), f.noted, "and nothing was lost");
	teardown(&f);
}

/* A write that fails for another reason: that piece is not used again before a good sync. */
static void test_bad_piece(void)
{
	struct fixture f;

	setup(&f);
	(void)note(&f);
	is_int(sync_all(&f), 0, "a sync");
	(void)note(&f);
	disk_fail_next_sync(f.disk, "log/", 7);
	is_int(sync_all(&f), ERR_SYS, "one that fails");
	is_int(queue_log_sync_end(&f.log, false), 0, "all is in another piece");
	is_int(queue_log_spares(&f.log), 1, "that was a spare one");
	is_int(sync_all(&f), 0, "which is synced");
	is_int(durable_notes(&f), f.noted, "and nothing was lost");
	teardown(&f);
}

int main(void)
{
	test_no_space(false);
	test_no_space(true);
	test_no_space_at_rotation();
	test_bad_piece();
	return done_testing();
}

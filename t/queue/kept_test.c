/* SPDX-License-Identifier: ISC */
#include "queue/kept.h"
#include "t/queue/disk.h"
#include "t/tap.h"
#include "util/err.h"

static int read_back(struct disk *d, struct buf *out)
{
	struct queue_root root = disk_root(disk_process(d));

	buf_reset(out);
	return queue_kept_read(&root, out);
}

static struct disk *with(const char *text)
{
	struct disk *d = disk_new();
	struct queue_root root = disk_root(disk_process(d));

	(void)queue_root_make(&root);
	if (text != NULL && queue_kept_write(&root, slice_str(text)) != 0)
		bail_out("it cannot be written");
	return d;
}

static void test_plain(void)
{
	struct buf out = BUF_INIT(QUEUE_KEPT_MAX);
	struct disk *d = with(NULL);

	is_int(read_back(d, &out), ERR_NOT_FOUND, "there is none at first");
	disk_free(&d);
	d = with("");
	is_int(read_back(d, &out), 0, "an empty one");
	is_int((int64_t)out.len, 0, "has nothing");
	disk_free(&d);
	d = with("something");
	is_int(read_back(d, &out), 0, "a written one");
	is_str(buf_str(&out), "something", "is read");
	for (uint64_t at = 0; at < 16 + 9; at++) {
		struct disk *other = with("something");

		disk_damage(other, "log/kept", at);
		if (read_back(other, &out) != ERR_CORRUPT)
			fail("damage at %d is not seen", (int)at);
		disk_free(&other);
	}
	pass("damage anywhere is seen");
	disk_free(&d);
	buf_clear(&out);
}

/* Whatever is lost, it is the old one or the new one. */
static void test_power(void)
{
	struct buf out = BUF_INIT(QUEUE_KEPT_MAX);
	int wrong = 0, old = 0, new = 0;

	for (uint64_t call = 1; call < 12; call++)
		for (uint64_t seed = 0; seed < 40; seed++) {
			struct disk *d = with("old");
			struct queue_root root = disk_root(disk_process(d));

			disk_stop_at(d, disk_calls(d) + call, seed % 2, NULL, NULL);
			(void)queue_kept_write(&root, SLICE_LIT("new"));
			disk_power_cut(d, seed < 4 ? (enum disk_choice)seed : DISK_RANDOM, seed);
			wrong += read_back(d, &out) != 0;
			old += slice_eq_str(buf_slice(&out), "old");
			new += slice_eq_str(buf_slice(&out), "new");
			disk_free(&d);
		}
	is_int(wrong, 0, "a power cut at any moment leaves one");
	ok(old > 0 && new > 0, "the old (%d) or the new (%d)", old, new);
	is_int(old + new, 11 * 40, "and nothing else");
	buf_clear(&out);
}

static void test_full(void)
{
	struct buf out = BUF_INIT(QUEUE_KEPT_MAX);
	struct disk *d = with("old");
	struct queue_root root = disk_root(disk_process(d));

	disk_set_space(d, 0);
	is_int(queue_kept_write(&root, SLICE_LIT("new")), ERR_FULL, "no space");
	is_int(read_back(d, &out), 0, "the old one");
	is_str(buf_str(&out), "old", "stays");
	disk_free(&d);
	buf_clear(&out);
}

int main(void)
{
	test_plain();
	test_power();
	test_full();
	return done_testing();
}

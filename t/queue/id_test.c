/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "queue/id.h"
#include "t/queue/disk.h"
#include "t/tap.h"
#include "util/clock.h"
#include "util/dict.h"
#include "util/err.h"

#define NOW INT64_C(1800000000123456)

static const struct {
	const char *id;
	bool valid, is_long;
	const char *hash;
} shapes[] = {
	{"0A1B2C3D4E5", true, false, "E5"},
	{"ABCDEF", true, false, "EF"},
	{"3h7NZm2tXLzQrT", true, true, "XL"},
	{"ABCDE", false, false, ""},
	{"", false, false, ""},
	{"0a1b2c3d4e5", false, false, ""},
	{"../../etc", false, false, ""},
	{"0A1B2C3D4E5.", false, false, ""},
	{"0A1B2C3D4E5 ", false, false, ""},
	{"0A1B2/3D4E5", false, false, ""},
	{"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", false, false, ""},
};

static void check_shapes(void)
{
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct slice id = slice_str(shapes[i].id);
		char hash[3] = "";

		is_int(queue_id_is_valid(id), shapes[i].valid, "valid: '%s'", shapes[i].id);
		if (!shapes[i].valid)
			continue;
		queue_id_hash(id, hash);
		is_str(hash, shapes[i].hash, "hash of %s", shapes[i].id);
		is_int(queue_id_is_long(id), shapes[i].is_long, "shape of %s", shapes[i].id);
	}
}

static void check_mix(void)
{
	int bad = 0;

	for (uint64_t n = 0; n < 5000; n++) {
		bad += queue_id_unmix(queue_id_mix(n * 977)) != n * 977;
		bad += queue_id_mix(n) >> 44 != 0;
	}
	is_int(bad, 0, "the digits are a bijection");
}

/* 8,192 ids over 256 or 2,704 directories: none is far from even. */
static void check_even(struct queue_ids *ids, bool is_long)
{
	struct dict *counts = dict_new(100000, NULL);
	static int n[8192];
	int used = 0, most = 0, bad = 0;

	memset(n, 0, sizeof(n));
	for (int i = 0; i < 8192; i++) {
		char id[QUEUE_ID_MAX + 1], hash[3];
		int *count;

		bad += queue_ids_next(ids, is_long, NOW + (int64_t)i * 617, id) != 0;
		bad += !queue_id_is_valid(slice_str(id)) ||
		       queue_id_is_long(slice_str(id)) != is_long;
		queue_id_hash(slice_str(id), hash);
		count = dict_get(counts, slice_of(hash, 2));
		if (count == NULL) {
			count = &n[used++];
			dict_set(counts, slice_of(hash, 2), count);
		}
		*count += 1;
		most = *count > most ? *count : most;
	}
	is_int(bad, 0, "%s ids are given and valid", is_long ? "long" : "short");
	ok(is_long ? used > 2400 : used == 256, "%s ids use the directories: %d",
		is_long ? "long" : "short", used);
	ok(most < (is_long ? 20 : 70), "evenly: at most %d", most);
	dict_free(&counts);
}

/* Two processes, power cuts, a failing disk: no id comes twice. */
static void check_unique(void)
{
	struct dict *seen = dict_new(1000000, NULL);
	struct disk *d = disk_new();
	int twice = 0, got = 0;

	for (int round = 0; round < 20; round++) {
		const struct queue_io *io[2] = {disk_process(d), disk_process(d)};
		struct queue_ids *ids[2] = {NULL, NULL};
		struct queue_root root = disk_root(io[0]);

		(void)queue_root_make(&root);
		for (int p = 0; p < 2; p++) {
			root = disk_root(io[p]);
			if (round % 3 == 2)
				disk_fail_next_sync(d, "incoming/ids", (uint64_t)round);
			(void)queue_ids_open(&root, NOW, &ids[p]);
		}
		for (int i = 0; i < 6000; i++) {
			char id[QUEUE_ID_MAX + 1];
			int p = i % 2;

			if (ids[p] == NULL || queue_ids_next(ids[p], false, NOW, id) != 0)
				continue;
			got++;
			twice += dict_get(seen, slice_str(id)) != NULL;
			dict_set(seen, slice_str(id), d);
		}
		disk_power_cut(d, round % 2 ? DISK_FORGET_ALL : DISK_RANDOM, (uint64_t)round);
		queue_ids_close(&ids[0]);
		queue_ids_close(&ids[1]);
	}
	ok(got > 80000, "%d ids in 20 lives of the disk", got);
	is_int(twice, 0, "none twice");
	dict_free(&seen);
	disk_free(&d);
}

int main(void)
{
	struct disk *d = disk_new();
	struct queue_root root = disk_root(disk_process(d));
	struct queue_ids *ids = NULL;

	check_shapes();
	check_mix();
	is_int(queue_root_make(&root), 0, "directories");
	is_int(queue_ids_open(&root, NOW, &ids), 0, "open");
	check_even(ids, false);
	check_even(ids, true);
	queue_ids_close(&ids);
	disk_free(&d);
	check_unique();
	return done_testing();
}

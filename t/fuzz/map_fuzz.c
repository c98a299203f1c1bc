/* SPDX-License-Identifier: ISC */
#include "t/fuzz/fuzz.h"

#include <unistd.h>

#include "map/match.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

/*
 * Table sources, specs and match lists. The first line is the spec (without a name behind the type:
 * the rest is its source), or "match" for a match list; the last line is a key.
 */
static struct slice source;

static int give_source(const char *spec, int *fd)
{
	(void)spec;
	int r = fd_memory("source", fd);
	if (r == 0)
		r = fd_write_full(*fd, source.p, source.len);
	if (r == 0 && lseek(*fd, 0, SEEK_SET) < 0)
		r = ERR_SYS;
	return r;
}

static bool see_entry(struct slice key, struct slice value, void *arg)
{
	size_t *n = arg;
	FUZZ_ASSERT(key.len > 0 && value.len <= MAP_VALUE_LIMIT);
	return ++*n < 1000;
}

static void run_map(const char *spec, struct slice key)
{
	struct buf why = BUF_INIT(65536), value = BUF_INIT(MAP_VALUE_LIMIT);
	struct map *m = NULL;
	size_t n = 0;
	int r = map_open(spec, &why, &m);
	FUZZ_ASSERT((r == 0) == (m != NULL));
	FUZZ_ASSERT(r == 0 || (r == ERR_SYNTAX && why.len > 0));
	if (m != NULL) {
		r = map_find(m, key, NULL, &value);
		FUZZ_ASSERT(r == 0 || r == ERR_NOT_FOUND || r == ERR_TEMP);
		FUZZ_ASSERT(r == 0 || value.len == 0);
		r = map_walk(m, see_entry, &n);
		FUZZ_ASSERT(r == 0 || r == ERR_STATE || r == ERR_TEMP);
	}
	map_close(&m);
	buf_clear(&why);
	buf_clear(&value);
}

static void run_match(struct slice text, struct slice key)
{
	struct buf why = BUF_INIT(65536);
	struct match *m = NULL;
	char *list = slice_dup(text);
	int r = match_open(list, MATCH_PARENT, &why, &m);
	FUZZ_ASSERT((r == 0) == (m != NULL));
	if (m != NULL) {
		(void)match_host(m, key, key, NULL);
		(void)match_domain(m, key, NULL);
	}
	match_close(&m);
	mem_free(list);
	buf_clear(&why);
}

static void ignore(struct slice spec, void *arg)
{
	(void)arg;
	FUZZ_ASSERT(spec.len > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice all = slice_of(data, size), first = SLICE_NONE, key = all;
	ptrdiff_t end = slice_find(all, '\n'), last = slice_find_last(all, '\n');
	if (end < 0)
		return 0;
	first = slice_first(all, (size_t)end);
	key = slice_from(all, (size_t)last + 1);
	source = slice_first(
		slice_from(all, (size_t)end + 1), last > end ? (size_t)(last - end) : 0);
	log_set_level(LOG_LEVEL_NONE);
	map_set_opener(give_source);
	char *spec = slice_dup(first);
	map_walk_specs(spec, ignore, NULL);
	if (slice_eq_str(first, "match"))
		run_match(source, key);
	else
		run_map(spec, key);
	mem_free(spec);
	return 0;
}

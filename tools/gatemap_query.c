/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "tools/gatemap.h"
#include "util/base64.h"
#include "tools/json.h"
#include "util/err.h"
#include "util/mem.h"

struct query {
	struct map **maps;
	size_t count;
	bool prints_key, found;
};

void gatemap_each_line(void (*use)(struct slice line, void *arg), void *arg)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t n;
	while ((n = getline(&line, &room, stdin)) >= 0) {
		struct slice s = slice_of(line, (size_t)n);
		while (s.len > 0 && (s.p[s.len - 1] == '\n' || s.p[s.len - 1] == '\r'))
			s.len--;
		use(s, arg);
	}
	if (ferror(stdin))
		gatemap_fatal("cannot read standard input");
	mem_free(line);
}

static void print_entry(struct slice key, struct slice value, bool with_key)
{
	if (gatemap_options.json) {
		putchar('{');
		json_string(key);
		fputs(": ", stdout);
		json_string(value);
		puts("}");
		return;
	}
	if (with_key) {
		if (key.len > 0)
			fwrite(key.p, 1, key.len, stdout);
		fputs(gatemap_options.aliases ? ":\t" : "\t", stdout);
	}
	if (value.len > 0)
		fwrite(value.p, 1, value.len, stdout);
	putchar('\n');
}

/* A value that was built with -F. */
static void decode(struct buf *value, const char *spec)
{
	struct buf text = BUF_INIT(MAP_VALUE_LIMIT);
	if (base64_decode(&text, buf_slice(value)) != 0)
		gatemap_fatal("table %s: malformed BASE64 value: %.30s", spec, buf_str(value));
	buf_reset(value);
	buf_add_slice(value, buf_slice(&text));
	buf_clear(&text);
}

static bool wants_utf8(void)
{
	const struct gatemap_options *o = &gatemap_options;
	return o->utf8 && (o->utf8_message || (!o->headers && !o->body));
}

static int find_checked(struct map *m, struct slice key, struct buf *value)
{
	static const char malformed[] = "malformed UTF-8 or invalid codepoint";
	int r;
	if (wants_utf8() && !slice_is_utf8(key)) {
		gatemap_warning(
			"%s: non-UTF-8 key \"%.*s\": %s", map_spec(m), SLICE_FMT(key), malformed);
		return ERR_NOT_FOUND;
	}
	r = gatemap_find(m, key, value);
	if (r != 0 || !wants_utf8() || slice_is_utf8(buf_slice(value)))
		return r;
	gatemap_warning("%s: key \"%.*s\": non-UTF-8 value \"%s\": %s", map_spec(m), SLICE_FMT(key),
		buf_str(value), malformed);
	return ERR_TEMP;
}

static void query_key(struct slice key, void *arg)
{
	struct query *q = arg;
	struct buf value = BUF_INIT(MAP_VALUE_LIMIT);
	int r = ERR_NOT_FOUND;
	for (size_t i = 0; i < q->count && r == ERR_NOT_FOUND; i++) {
		r = find_checked(q->maps[i], key, &value);
		if (r != 0 && r != ERR_NOT_FOUND)
			gatemap_fatal("table %s: query error for \"%.*s\"", map_spec(q->maps[i]),
				SLICE_FMT(key));
		if (r == 0 && gatemap_options.files)
			decode(&value, map_spec(q->maps[i]));
	}
	if (r == 0) {
		q->found = true;
		print_entry(key, buf_slice(&value), q->prints_key);
	}
	buf_clear(&value);
}

/* An indexed file older than its source: somebody forgot to build it. */
static void warn_if_old(const char *spec)
{
	struct buf path = BUF_INIT(4096);
	struct stat built, source;
	size_t suffix = 0;
	if (map_spec_path(spec, &path) == 0 && slice_ends(buf_slice(&path), ".db"))
		suffix = strlen(".db");
	else if (slice_ends(buf_slice(&path), ".lmdb"))
		suffix = strlen(".lmdb");
	if (suffix > 0) {
		char *file = mem_str(buf_str(&path));
		buf_truncate(&path, path.len - suffix);
		if (stat(file, &built) == 0 && stat(buf_str(&path), &source) == 0 &&
			(source.st_mtim.tv_sec > built.st_mtim.tv_sec))
			gatemap_warning(
				"database %s is older than source file %s", file, buf_str(&path));
		mem_free(file);
	}
	buf_clear(&path);
}

/* Each mistake is a line: the last one ends the program. */
_Noreturn static void cannot_open(struct slice why)
{
	struct slice line;

	while (slice_part(&why, '\n', &line) && why.len > 0)
		gatemap_warning("%.*s", SLICE_FMT(line));
	gatemap_fatal("%.*s", SLICE_FMT(line));
}

static struct map *open_map(const char *spec)
{
	struct buf why = BUF_INIT(16384);
	struct map *m;
	warn_if_old(spec);
	if (map_open(spec, &why, &m) != 0)
		cannot_open(buf_slice(&why));
	buf_clear(&why);
	if (map_is_failed(m) && *gatemap_why != '\0')
		gatemap_fatal("%s", gatemap_why);
	if (map_is_failed(m))
		gatemap_fatal("table %s cannot be used", spec);
	return m;
}

bool gatemap_query(const char *const *specs, size_t count, const char *key)
{
	struct query q = {.maps = mem_array(count, sizeof(struct map *)), .count = count};
	for (size_t i = 0; i < count; i++)
		q.maps[i] = open_map(specs[i]);
	q.prints_key = strcmp(key, "-") == 0;
	if (q.prints_key && (gatemap_options.headers || gatemap_options.body))
		gatemap_message(query_key, &q);
	else if (q.prints_key)
		gatemap_each_line(query_key, &q);
	else
		query_key(slice_str(key), &q);
	for (size_t i = 0; i < count; i++)
		map_close(&q.maps[i]);
	mem_free(q.maps);
	return q.found;
}

static bool list_entry(struct slice key, struct slice value, void *spec)
{
	struct buf text = BUF_INIT(MAP_VALUE_LIMIT);
	buf_add_slice(&text, value);
	if (gatemap_options.files)
		decode(&text, spec);
	print_entry(key, buf_slice(&text), true);
	buf_clear(&text);
	return true;
}

void gatemap_list(const char *spec)
{
	struct map *m = open_map(spec);
	int r = map_walk(m, list_entry, (void *)(uintptr_t)spec);
	if (r == ERR_STATE)
		gatemap_fatal("table %s has no entries to list", spec);
	if (r != 0)
		gatemap_fatal("table %s: cannot be read", spec);
	map_close(&m);
}

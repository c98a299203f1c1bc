/* SPDX-License-Identifier: ISC */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "map/build.h"
#include "map/map.h"
#include "t/tap.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

/* Indexed tables on disk: built, read through a descriptor, damaged, replaced. */

enum { ENTRIES = 2000 };

static char dir[] = "/tmp/gatepost-table-XXXXXX";
static struct buf why = {.limit = 10000};

static int opener(const char *spec, int *fd)
{
	struct buf path = BUF_INIT(1000);
	int r = map_spec_path(spec, &path);
	*fd = r == 0 ? open(buf_str(&path), O_RDONLY | O_CLOEXEC) : -1;
	buf_clear(&path);
	return *fd >= 0 ? 0 : ERR_SYS;
}

static const char *path_of(const char *name)
{
	static char path[200];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static const char *spec_of(const char *type)
{
	static char spec[200];
	snprintf(spec, sizeof(spec), "%s:%s/%s", type, dir, type);
	return spec;
}

static void add_entries(struct map_build *b, int generation, size_t count)
{
	char key[32], value[64];
	for (size_t i = 0; i < count; i++) {
		snprintf(key, sizeof(key), "key%zu@example.com", i);
		snprintf(value, sizeof(value), "value %zu of %d", i, generation);
		if (map_build_put(b, slice_str(key), slice_str(value), MAP_DUP_KEEP) != 0)
			bail_out("cannot add %s", key);
	}
}

static void build(const char *type, int generation, size_t count)
{
	struct map_build *b;
	char name[32];
	snprintf(name, sizeof(name), "%s%s", type, map_build_suffix(type));
	if (map_build_open(type, path_of(name), 0644, &why, &b) != 0)
		bail_out("%s", buf_str(&why));
	add_entries(b, generation, count);
	if (map_build_commit(&b, &why) != 0)
		bail_out("%s", buf_str(&why));
}

/* How many of the keys give their value, are not found, fail. */
struct tally {
	size_t good, missing, failed;
};

static struct tally ask_all(struct map *m, int generation)
{
	struct tally t = {0};
	struct buf value = BUF_INIT(MAP_VALUE_LIMIT);
	char key[32], want[64];
	for (size_t i = 0; i < ENTRIES; i++) {
		snprintf(key, sizeof(key), "KEY%zu@example.com", i);
		snprintf(want, sizeof(want), "value %zu of %d", i, generation);
		int r = map_find(m, slice_str(key), NULL, &value);
		t.good += r == 0 && slice_eq_str(buf_slice(&value), want);
		t.missing += r == ERR_NOT_FOUND;
		t.failed += r == ERR_TEMP;
	}
	buf_clear(&value);
	return t;
}

static struct tally ask_spec(const char *spec, int generation)
{
	struct map *m;
	if (map_open(spec, &why, &m) != 0)
		bail_out("%s", buf_str(&why));
	struct tally t = ask_all(m, generation);
	map_close(&m);
	return t;
}

static bool count_entries(struct slice key, struct slice value, void *arg)
{
	size_t *n = arg;
	*n += slice_ends(key, "@example.com") && slice_starts(value, "value ");
	return true;
}

static void test_build(const char *type)
{
	build(type, 1, ENTRIES);
	struct tally t = ask_spec(spec_of(type), 1);
	is_int(t.good, ENTRIES, "%s: every key is found, folded", type);
	struct map *m;
	struct buf value = BUF_INIT(1000);
	size_t n = 0;
	map_open(spec_of(type), &why, &m);
	is_int(map_find(m, SLICE_LIT("nobody"), NULL, &value), ERR_NOT_FOUND, "%s: another is not",
		type);
	is_int(map_find(m, SLICE_LIT(""), NULL, &value), ERR_NOT_FOUND, "nor the empty one");
	is_int(map_walk(m, count_entries, &n), 0, "walk");
	is_int(n, ENTRIES, "%s: walk sees all", type);
	map_close(&m);
	build(type, 2, 0);
	map_open(spec_of(type), &why, &m);
	is_int(map_find(m, SLICE_LIT("nobody"), NULL, &value), ERR_NOT_FOUND, "%s: empty table",
		type);
	map_close(&m);
	buf_clear(&value);
}

static void test_builder(const char *type)
{
	struct map_build *b;
	char name[32], long_key[MAP_KEY_LIMIT + 2];
	memset(long_key, 'k', sizeof(long_key));
	snprintf(name, sizeof(name), "%s%s", type, map_build_suffix(type));
	build(type, 1, 10);
	is_int(map_build_open(type, path_of(name), 0644, &why, &b), 0, "%s: builder", type);
	struct slice k = SLICE_LIT("k"), v = SLICE_LIT("v");
	is_int(map_build_put(b, k, v, MAP_DUP_KEEP), 0, "put");
	is_int(map_build_put(b, k, SLICE_LIT("w"), MAP_DUP_KEEP), ERR_EXISTS, "again: was there");
	is_int(map_build_put(b, k, SLICE_LIT("w"), MAP_DUP_REPLACE), 0, "replaced");
	is_int(map_build_put(b, SLICE_LIT(""), v, MAP_DUP_KEEP), ERR_LIMIT, "no empty key");
	is_int(map_build_put(b, slice_of(long_key, MAP_KEY_LIMIT + 1), v, MAP_DUP_KEEP), ERR_LIMIT,
		"key too long");
	is_int(map_build_put(b, slice_of("a\0b", 3), v, MAP_DUP_KEEP), ERR_LIMIT, "NUL in a key");
	is_int(map_build_remove(b, SLICE_LIT("nobody")), ERR_NOT_FOUND, "remove what is not there");
	map_build_put(b, SLICE_LIT("gone"), v, MAP_DUP_KEEP);
	is_int(map_build_remove(b, SLICE_LIT("gone")), 0, "remove");
	is_int(ask_spec(spec_of(type), 1).good, 10, "%s: the table in use is still the old one",
		type);
	map_build_discard(&b);
	is_int(ask_spec(spec_of(type), 1).good, 10, "%s: and stays when the new one is discarded",
		type);
	is_int(map_build_open(type, "/nonexistent/x.db", 0644, &why, &b), ERR_SYS,
		"no such directory");
	ok(b == NULL, "gives no builder");
	is_int(map_build_open("cdb", path_of("x.db"), 0644, &why, &b), ERR_SYNTAX, "no such type");
	char command[300];
	snprintf(command, sizeof(command), "ls %s | grep -c new", dir);
	FILE *p = popen(command, "r");
	int left = -1;
	if (p != NULL && fscanf(p, "%d", &left) != 1)
		left = -1;
	if (p != NULL)
		pclose(p);
	is_int(left, 0, "no temporary file is left");
}

/* What a damage does to a copy of the file. */
enum damage { DAMAGE_FLIP, DAMAGE_ZERO, DAMAGE_CUT, DAMAGE_CUT_ODD, DAMAGE_HOLE, DAMAGE_SWAP };

static void damage(const char *file, enum damage how, size_t page, size_t size, size_t pages)
{
	int fd = open(file, O_RDWR | O_CLOEXEC);
	uint8_t *p = mem_alloc(size), *q = mem_alloc(size);
	off_t at = (off_t)(page * size), other = (off_t)((page + 1) % pages * size);
	bool good = fd >= 0 && pread(fd, p, size, at) == (ssize_t)size &&
		    pread(fd, q, size, other) == (ssize_t)size;
	switch (how) {
	case DAMAGE_FLIP:
		p[60] ^= 0x10;
		good = good && pwrite(fd, p, size, at) == (ssize_t)size;
		break;
	case DAMAGE_ZERO:
		memset(p, 0, size);
		good = good && pwrite(fd, p, size, at) == (ssize_t)size;
		break;
	case DAMAGE_CUT: good = good && ftruncate(fd, at) == 0; break;
	case DAMAGE_CUT_ODD: good = good && ftruncate(fd, at + (off_t)size / 2) == 0; break;
	case DAMAGE_HOLE:
		good = good && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at,
				       (off_t)size) == 0;
		break;
	case DAMAGE_SWAP: good = good && pwrite(fd, q, size, at) == (ssize_t)size; break;
	}
	if (!good)
		bail_out("cannot damage %s", file);
	mem_free(p);
	mem_free(q);
	fd_close(&fd);
}

static void copy(const char *from, const char *to)
{
	char command[500];
	snprintf(command, sizeof(command), "cp %s %s", from, to);
	if (system(command) != 0)
		bail_out("%s", command);
}

static size_t page_size_of(const char *file, size_t *pages)
{
	struct stat st;
	uint32_t size = 0;
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0 || pread(fd, &size, 4, 20) != 4)
		bail_out("cannot read %s", file);
	fd_close(&fd);
	*pages = (size_t)st.st_size / size;
	return size;
}

/* Whatever page is damaged in whatever way: a key has its value or fails, it is never missing. */
static void test_damage(const char *type)
{
	static const char *const names[] = {
		"flipped bit", "zeroed", "cut off", "cut inside", "hole", "swapped"};
	char whole[200], used[200];
	build(type, 1, ENTRIES);
	snprintf(used, sizeof(used), "%s/%s.db", dir, type);
	snprintf(whole, sizeof(whole), "%s/whole", dir);
	copy(used, whole);
	size_t pages, size = page_size_of(whole, &pages);
	for (enum damage how = DAMAGE_FLIP; how <= DAMAGE_SWAP; how++) {
		size_t missing = 0, wrong = 0, noticed = 0;
		for (size_t page = 0; page < pages; page++) {
			copy(whole, used);
			damage(used, how, page, size, pages);
			struct tally t = ask_spec(spec_of(type), 1);
			missing += t.missing;
			wrong += ENTRIES - t.good - t.missing - t.failed;
			noticed += t.failed > 0;
		}
		is_int(missing, 0, "%s, %s page: no key is ever \"not found\"", type, names[how]);
		is_int(wrong, 0, "%s, %s page: no key has another value", type, names[how]);
		ok(noticed > 0, "%s, %s page: noticed for %zu of %zu pages", type, names[how],
			noticed, pages);
	}
	unlink(whole);
}

static void test_replace(const char *type)
{
	struct map *m;
	char file[200];
	snprintf(file, sizeof(file), "%s/%s%s", dir, type, map_build_suffix(type));
	build(type, 1, ENTRIES);
	map_open(spec_of(type), &why, &m);
	is_int(ask_all(m, 1).good, ENTRIES, "%s: first generation", type);
	build(type, 2, ENTRIES);
	is_int(ask_all(m, 1).good, ENTRIES, "%s: a rebuilt file changes nothing by itself", type);
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	map_replace(spec_of(type), fd);
	is_int(ask_all(m, 2).good, ENTRIES, "%s: replaced", type);
	if (truncate(file, 9000) != 0)
		bail_out("cannot cut %s", file);
	map_replace(spec_of(type), open(file, O_RDONLY | O_CLOEXEC));
	is_int(ask_all(m, 2).failed, ENTRIES, "%s: replaced by a damaged one: every key fails",
		type);
	ok(map_is_failed(m), "%s: failed", type);
	build(type, 3, ENTRIES);
	map_replace(spec_of(type), open(file, O_RDONLY | O_CLOEXEC));
	is_int(ask_all(m, 3).good, ENTRIES, "%s: and good again", type);
	map_close(&m);
}

/* In an empty root, as a daemon reads tables: no path is there to be opened. */
static void test_chroot(const char *type)
{
	if (geteuid() != 0) {
		pass("%s: not root, no chroot to try", type);
		return;
	}
	struct map *m;
	build(type, 1, ENTRIES);
	char name[32];
	snprintf(name, sizeof(name), "%s%s", type, map_build_suffix(type));
	int next = open(path_of(name), O_RDONLY | O_CLOEXEC);
	map_open(spec_of(type), &why, &m);
	pid_t pid = fork();
	if (pid == 0) {
		if (mkdir(path_of("empty"), 0755) != 0 || chroot(path_of("empty")) != 0 ||
			chdir("/") != 0)
			_exit(2);
		bool good = ask_all(m, 1).good == ENTRIES;
		map_replace(spec_of(type), next);
		_exit(good && ask_all(m, 1).good == ENTRIES ? 0 : 1);
	}
	int status = -1;
	waitpid(pid, &status, 0);
	is_int(status, 0, "%s: found in an empty root, replaced too", type);
	rmdir(path_of("empty"));
	fd_close(&next);
	map_close(&m);
}

static int lines_logged;

static void test_logged_once(const char *type)
{
	char log[200], file[200], line[500];
	snprintf(log, sizeof(log), "%s/log", dir);
	snprintf(file, sizeof(file), "%s/%s%s", dir, type, map_build_suffix(type));
	build(type, 1, ENTRIES);
	size_t pages, size = page_size_of(file, &pages);
	for (size_t page = 1; page < pages; page++)
		damage(file, DAMAGE_FLIP, page, size, pages);
	log_set_level(LOG_LEVEL_INFO);
	log_set_sink(LOG_SINK_FILE,
		open(log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600));
	is_int(ask_spec(spec_of(type), 1).failed, ENTRIES, "%s: all pages damaged: all fail", type);
	log_flush();
	log_set_sink(LOG_SINK_STDERR, -1);
	log_set_level(LOG_LEVEL_NONE);
	FILE *f = fopen(log, "re");
	for (lines_logged = 0; f != NULL && fgets(line, sizeof(line), f) != NULL; lines_logged++)
		if (!ok(strstr(line, "error: table ") != NULL &&
				    strstr(line, spec_of(type)) != NULL,
			    "the line names the table"))
			diag("%s", line);
	if (f != NULL)
		fclose(f);
	is_int(lines_logged, 1, "%s: one line says so", type);
	unlink(log);
}

int main(void)
{
	static const char *const types[] = {"hash", "btree", "lmdb"};
	log_set_level(LOG_LEVEL_NONE);
	if (mkdtemp(dir) == NULL)
		bail_out("no directory");
	map_set_opener(opener);
	for (size_t i = 0; i < 3; i++) {
		test_build(types[i]);
		test_builder(types[i]);
		test_replace(types[i]);
		test_chroot(types[i]);
		/* LMDB has no checksums. */
		if (i == 2)
			continue;
		test_damage(types[i]);
		test_logged_once(types[i]);
	}
	unlink(path_of("lmdb.lmdb"));
	unlink(path_of("hash.db"));
	unlink(path_of("btree.db"));
	is_int(rmdir(dir), 0, "nothing else is left");
	return done_testing();
}

/* SPDX-License-Identifier: ISC */
#include "map/files.h"

#include <fcntl.h>
#include <unistd.h>

#include "map/nss.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/stamp.h"

enum { FILES_MAX = 64, PATH_LIMIT = 4096, QUESTIONS = 16 };

static struct file {
	char *spec, *path;
	struct stamp was;
} files[FILES_MAX];
static size_t file_count;

/* The one thing that is to be done later. */
static void (*deferred)(void *arg);
static void *deferred_arg;

static int open_path(const char *spec, int *fd)
{
	struct buf path = BUF_INIT(PATH_LIMIT);
	int r = map_spec_path(spec, &path);
	if (r == 0) {
		*fd = open(buf_str(&path), O_RDONLY | O_CLOEXEC);
		r = *fd < 0 ? ERR_SYS : 0;
	}
	buf_clear(&path);
	return r;
}

static int ask_nss(const char *spec, struct slice key, struct later *l, struct buf *value)
{
	(void)l;
	return map_nss_find(slice_from(slice_str(spec), strlen("unix:")), key, value);
}

static void defer(void (*run)(void *arg), void *arg)
{
	deferred = run;
	deferred_arg = arg;
}

void map_files_use(void)
{
	map_set_opener(open_path);
	map_set_asker(ask_nss);
	map_set_deferrer(defer);
}

static void watch(struct slice spec, void *arg)
{
	struct buf path = BUF_INIT(PATH_LIMIT);
	char *text = slice_dup(spec);
	(void)arg;
	if (file_count < FILES_MAX && map_spec_path(text, &path) == 0 &&
		(slice_ends(buf_slice(&path), ".db") || slice_ends(buf_slice(&path), ".lmdb"))) {
		struct file *f = &files[file_count++];
		*f = (struct file){.spec = mem_str(text), .path = mem_str(buf_str(&path))};
		(void)stamp_has_changed(&f->was, f->path);
	}
	mem_free(text);
	buf_clear(&path);
}

int map_files_open(const char *text, struct buf *why, struct map_list **list)
{
	map_walk_specs(text, watch, NULL);
	return map_list_open(text, why, list);
}

void map_files_refresh(void)
{
	for (struct file *f = files; f < files + file_count; f++) {
		int fd = -1;
		if (!stamp_has_changed(&f->was, f->path))
			continue;
		fd = open(f->path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0)
			map_replace(f->spec, fd);
	}
}

int map_files_find(struct map_list *list, struct slice key, struct buf *value)
{
	struct later l;
	int r;
	later_init(&l, QUESTIONS, NULL, NULL);
	while ((r = map_list_find(list, key, &l, value)) == ERR_LATER && deferred != NULL) {
		void (*run)(void *arg) = deferred;
		deferred = NULL;
		run(deferred_arg);
	}
	later_clear(&l);
	return r == ERR_LATER ? ERR_TEMP : r;
}

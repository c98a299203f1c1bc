/* SPDX-License-Identifier: ISC */
#include "smtp-client/anchors.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "util/dict.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

static struct dict *files;

void anchors_init(void)
{
	files = dict_new(ANCHORS_FILES, mem_free);
}

/* Begin and end of what is kept; a key of its own would be a secret that has no place here. */
static const struct {
	const char *begin, *end;
} kinds[] = {
	{"-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"},
	{"-----BEGIN TRUSTED CERTIFICATE-----", "-----END TRUSTED CERTIFICATE-----"},
	{"-----BEGIN X509 CERTIFICATE-----", "-----END X509 CERTIFICATE-----"},
	{"-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"},
};

static void keep_public(struct slice text, struct buf *out)
{
	ptrdiff_t at;
	while ((at = slice_find_str(text, "-----BEGIN ")) >= 0) {
		text = slice_from(text, (size_t)at);
		size_t skip = 1;
		for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
			ptrdiff_t end = slice_find_str(text, kinds[i].end);
			if (slice_starts(text, kinds[i].begin) && end > 0) {
				skip = (size_t)end + strlen(kinds[i].end);
				buf_add_slice(out, slice_first(text, skip));
				buf_add_char(out, '\n');
			}
		}
		text = slice_from(text, skip);
	}
}

static int read_file(const char *path, struct buf *text)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int r = fd < 0 || fstat(fd, &st) != 0 ? ERR_SYS : 0;
	if (r == 0 && !S_ISREG(st.st_mode)) {
		errno = EINVAL;
		r = ERR_SYS;
	}
	if (r == 0) {
		r = fd_read_all(fd, text);
	}
	fd_close(&fd);
	return r;
}

int anchors_read(struct slice path)
{
	if (anchors_find(path) != NULL) {
		return 0;
	}
	struct buf text = BUF_SECRET(ANCHORS_FILE_LIMIT), kept = BUF_INIT(ANCHORS_FILE_LIMIT + 1);
	char *name = slice_dup(path);
	int r = read_file(name, &text);
	if (r == 0) {
		keep_public(buf_slice(&text), &kept);
		r = kept.len == 0 ? ERR_SYNTAX : buf_failed(&kept) ? ERR_LIMIT : 0;
	}
	if (r == 0) {
		r = dict_set(files, path, slice_dup(buf_slice(&kept)));
	}
	if (r != 0) {
		log_warning("trust anchors: %s: %s", name,
			r == ERR_SYNTAX ? "no certificate in it" : err_str(r));
	}
	mem_free(name);
	buf_clear(&text);
	buf_clear(&kept);
	return r;
}

static bool visit(struct slice key, struct slice value, void *arg)
{
	struct slice word;
	while (slice_token(&value, ", \t\r\n", &word)) {
		if (slice_case_starts(word, "tafile=") && word.len > strlen("tafile=")) {
			(void)anchors_read(slice_from(word, strlen("tafile=")));
		}
	}
	return true;
}

void anchors_read_tables(const struct map_list *tables)
{
	map_list_walk(tables, visit, NULL);
}

const char *anchors_find(struct slice path)
{
	return dict_get(files, path);
}

/* SPDX-License-Identifier: ISC */
#include "vault/token.h"

#include <errno.h>
#include <unistd.h>

#include "conf/line.h"
#include "conf/vault.h"
#include "server/server.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

static struct token {
	char *name; /* owned: "pem:/path" */
	int fd;     /* -1: it was not there */
} files[TOKEN_FILES_MAX];

static size_t count;

static struct token *find(struct slice path)
{
	for (size_t i = 0; i < count; i++)
		if (slice_eq_str(path, files[i].name + strlen(VAULT_FILE)))
			return &files[i];
	return NULL;
}

void token_open(struct slice paths)
{
	struct slice path;

	while (line_item(&paths, &path)) {
		if (find(path) != NULL)
			continue;
		if (count == TOKEN_FILES_MAX)
			log_fatal("there are more than %d files of tokens", TOKEN_FILES_MAX);
		files[count].name = mem_fmt(VAULT_FILE "%.*s", SLICE_FMT(path));
		files[count].fd = -1;
		/* One that is not there yet may come later. */
		(void)server_open_file(files[count].name, &files[count].fd);
		count++;
	}
}

bool token_file(const char *name, int fd)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(files[i].name, name) == 0) {
			fd_close(&files[i].fd);
			files[i].fd = fd;
			return true;
		}
	}
	return false;
}

int token_find(struct slice password, struct buf *out)
{
	const struct token *t = NULL;
	char text[TOKEN_MAX];
	ssize_t n = -1;

	if (!slice_starts(password, "{FILE}"))
		return ERR_NOT_FOUND;
	t = find(slice_trim(slice_from(password, strlen("{FILE}"))));
	if (t == NULL)
		return ERR_STATE;
	do
		n = t->fd >= 0 ? pread(t->fd, text, sizeof(text), 0) : -1;
	while (n < 0 && t->fd >= 0 && errno == EINTR);
	if (n > 0)
		(void)buf_add_slice(out, slice_trim(slice_of(text, (size_t)n)));
	explicit_bzero(text, sizeof(text));
	return n > 0 && (size_t)n < sizeof(text) && out->len > 0 && !buf_failed(out) ? 0 : ERR_SYS;
}

/* SPDX-License-Identifier: ISC */
#include "vault/key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

static uint8_t key[SASL_KEY];

static int read_key(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	int r = fd >= 0 ? fd_read_full(fd, key, sizeof(key)) : ERR_NOT_FOUND;

	fd_close(&fd);
	return r;
}

/*
 * Beside it and linked, so that there is never half a key, and of several vaults that begin at once
 * one makes it for all.
 */
static int make(const char *path)
{
	char *fresh = mem_fmt("%s.%d", path, (int)getpid());
	int fd = -1, r = 0;

	(void)unlink(fresh);
	fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	arc4random_buf(key, sizeof(key));
	r = fd >= 0 ? fd_write_full(fd, key, sizeof(key)) : ERR_SYS;
	if (r == 0 && fsync(fd) != 0)
		r = ERR_SYS;
	if (r == 0 && link(fresh, path) != 0)
		r = errno == EEXIST ? read_key(path) : ERR_SYS;
	(void)unlink(fresh);
	fd_close(&fd);
	mem_free(fresh);
	return r;
}

void key_open(void)
{
	char *path = mem_fmt("%s/vault/key", conf_str(P_data_directory));
	int r = read_key(path);

	/* One that was cut off is none. */
	if (r != 0 && r != ERR_NOT_FOUND)
		(void)unlink(path);
	if (r != 0)
		r = make(path);
	if (r != 0)
		log_fatal("%s: %s", path, err_str(r));
	mem_free(path);
}

void key_derive(const char *purpose, struct slice a, struct slice b, uint8_t out[SASL_KEY])
{
	struct buf text = BUF_SECRET(65536);

	(void)buf_add(&text, purpose, strlen(purpose) + 1);
	(void)buf_add_slice(&text, a);
	(void)buf_add_char(&text, '\0');
	(void)buf_add_slice(&text, b);
	sasl_hmac(slice_of(key, sizeof(key)), buf_slice(&text), out);
	buf_clear(&text);
}

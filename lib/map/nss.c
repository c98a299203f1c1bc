/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <grp.h>
#include <pwd.h>

#include "map/map.h"
#include "map/nss.h"
#include "util/err.h"
#include "util/mem.h"

enum { ROOM_FIRST = 4096, ROOM_LIMIT = 1024 * 1024 };

/* getpwnam_r and getgrnam_r say "no such" by 0 without a result; some back ends by an errno. */
static int result_of(int err, bool found)
{
	if (err == 0 || err == ENOENT || err == ESRCH)
		return found ? 0 : ERR_NOT_FOUND;
	return ERR_TEMP;
}

static int find_user(const char *key, char *room, size_t size, struct buf *value, int *err)
{
	struct passwd pw, *found = NULL;
	*err = getpwnam_r(key, &pw, room, size, &found);
	if (found != NULL)
		buf_add_fmt(value, "%s:x:%lu:%lu:%s:%s:%s", pw.pw_name, (unsigned long)pw.pw_uid,
			(unsigned long)pw.pw_gid, pw.pw_gecos != NULL ? pw.pw_gecos : "", pw.pw_dir,
			pw.pw_shell);
	return result_of(*err, found != NULL);
}

static int find_group(const char *key, char *room, size_t size, struct buf *value, int *err)
{
	struct group gr, *found = NULL;
	*err = getgrnam_r(key, &gr, room, size, &found);
	if (found != NULL) {
		buf_add_fmt(value, "%s:x:%lu:", gr.gr_name, (unsigned long)gr.gr_gid);
		for (char **member = gr.gr_mem; *member != NULL; member++)
			buf_add_fmt(value, "%s%s", member == gr.gr_mem ? "" : ",", *member);
	}
	return result_of(*err, found != NULL);
}

int map_nss_find(struct slice name, struct slice key, struct buf *value)
{
	buf_reset(value);
	bool is_user = slice_eq_str(name, "passwd.byname");
	if (!is_user && !slice_eq_str(name, "group.byname"))
		return ERR_TEMP;
	if (key.len == 0 || key.len > 256 || memchr(key.p, '\0', key.len) != NULL)
		return ERR_NOT_FOUND;
	char *text = slice_dup(key);
	int r = ERR_TEMP, err = ERANGE;
	for (size_t size = ROOM_FIRST; err == ERANGE && size <= ROOM_LIMIT; size *= 4) {
		char *room = mem_alloc(size);
		r = is_user ? find_user(text, room, size, value, &err)
			    : find_group(text, room, size, value, &err);
		mem_free(room);
	}
	mem_free(text);
	return r == 0 && buf_failed(value) ? ERR_TEMP : r;
}

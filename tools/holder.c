/* SPDX-License-Identifier: ISC */
#include "tools/holder.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include "conf/line.h"
#include "util/err.h"
#include "util/mem.h"

enum { LISTENS = 0x0A, FILE_LIMIT = 16 << 20, PATH_LIMIT = 256 };

/* A line of /proc/net/tcp: "  0: 0100007F:0019 00000000:0000 0A … inode"; the inode of a listener.
 */
static bool listener_inode(struct slice line, uint16_t port, char inode[32])
{
	struct slice word = SLICE_NONE, local = SLICE_NONE, state = SLICE_NONE;
	char wanted[8];

	for (int i = 0; i < 10 && slice_token(&line, " ", &word); i++) {
		if (i == 1)
			local = word;
		else if (i == 3)
			state = word;
	}
	snprintf(wanted, sizeof(wanted), ":%04X", port);
	if (!slice_ends(local, wanted) || !slice_eq_str(state, "0A") || word.len >= 32)
		return false;
	snprintf(inode, 32, "%.*s", SLICE_FMT(word));
	return true;
}

static bool find_inode(const char *path, uint16_t port, char inode[32])
{
	struct buf file = BUF_INIT(FILE_LIMIT);
	struct slice rest, line;
	bool found = false;

	if (line_read_file(path, &file) == 0) {
		rest = buf_slice(&file);
		while (!found && slice_part(&rest, '\n', &line))
			found = listener_inode(line, port, inode);
	}
	buf_clear(&file);
	return found;
}

static bool has_socket(const char *pid, const char *wanted)
{
	char target[PATH_LIMIT], *path = mem_fmt("/proc/%s/fd", pid);
	const struct dirent *e = NULL;
	bool found = false;
	DIR *fds = opendir(path);

	while (fds != NULL && !found && (e = readdir(fds)) != NULL) {
		char *link = mem_fmt("/proc/%s/fd/%s", pid, e->d_name);
		ssize_t n = readlink(link, target, sizeof(target) - 1);

		target[n > 0 ? n : 0] = '\0';
		found = strcmp(target, wanted) == 0;
		mem_free(link);
	}
	if (fds != NULL)
		closedir(fds);
	mem_free(path);
	return found;
}

static void add_process(const char *pid, struct buf *out)
{
	char *path = mem_fmt("/proc/%s/comm", pid);
	struct buf name = BUF_INIT(PATH_LIMIT);

	if (line_read_file(path, &name) != 0)
		buf_add_str(&name, "?");
	buf_add_fmt(out, "pid %s (%.*s)", pid, SLICE_FMT(slice_trim(buf_slice(&name))));
	buf_clear(&name);
	mem_free(path);
}

bool holder_of_port(uint16_t port, struct buf *out)
{
	char inode[32], wanted[64];
	const struct dirent *e = NULL;
	bool found = false;
	DIR *proc = NULL;

	if (!find_inode("/proc/net/tcp", port, inode) && !find_inode("/proc/net/tcp6", port, inode))
		return false;
	snprintf(wanted, sizeof(wanted), "socket:[%s]", inode);
	proc = opendir("/proc");
	while (proc != NULL && !found && (e = readdir(proc)) != NULL) {
		if (e->d_name[0] < '0' || e->d_name[0] > '9')
			continue;
		found = has_socket(e->d_name, wanted);
		if (found)
			add_process(e->d_name, out);
	}
	if (proc != NULL)
		closedir(proc);
	return found;
}

/* SPDX-License-Identifier: ISC */
#include "priv/priv_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

/*
 * Landlock grew with the kernel: files, moving between directories (2), truncation (3), TCP by port
 * (4), ioctl of devices (5), signals and abstract sockets (6). The headers may be older than the
 * kernel, so what came late is spelled out here.
 */
enum {
	VERSION_MOVE = 2,
	VERSION_TRUNCATE = 3,
	VERSION_TCP = 4,
	VERSION_IOCTL = 5,
	VERSION_SCOPE = 6,
};
#define RIGHT_MOVE (1ULL << 13)
#define RIGHT_TRUNCATE (1ULL << 14)
#define RIGHT_IOCTL (1ULL << 15)
#define RIGHTS_FIRST ((1ULL << 13) - 1)
#define TCP_BIND (1ULL << 0)
#define TCP_CONNECT (1ULL << 1)
#define SCOPE_ABSTRACT (1ULL << 0)
#define SCOPE_SIGNAL (1ULL << 1)
enum { RULE_PORT = 2 };

struct ruleset {
	uint64_t files, tcp, scope;
};

struct port_rule {
	uint64_t rights, port;
};

int priv_landlock_version(void)
{
	long n = syscall(
		SYS_landlock_create_ruleset, NULL, (size_t)0, LANDLOCK_CREATE_RULESET_VERSION);

	return n > 0 ? (int)n : 0;
}

static uint64_t rights_of(unsigned rights, int version)
{
	uint64_t r = 0;

	if (rights & BELOW_READ)
		r |= LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
	if (rights & BELOW_WRITE)
		r |= LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |
		     LANDLOCK_ACCESS_FS_REMOVE_FILE | (version >= VERSION_MOVE ? RIGHT_MOVE : 0) |
		     (version >= VERSION_TRUNCATE ? RIGHT_TRUNCATE : 0);
	if (rights & BELOW_MAKE_DIR)
		r |= LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_REMOVE_DIR;
	return r;
}

static void allow_below(int rules, const struct below_row *row, const char *base, int version)
{
	char *path = mem_fmt("%s/%s", base, row->directory);
	struct landlock_path_beneath_attr a = {.allowed_access = rights_of(row->rights, version),
		.parent_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC)};

	/* A directory that is not there cannot be used either. */
	if (a.parent_fd >= 0 &&
		syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &a, 0) != 0)
		log_fatal("dropping rights: Landlock, %s: %s", path, err_str(ERR_SYS));
	if (a.parent_fd >= 0)
		close(a.parent_fd);
	mem_free(path);
}

void landlock_confine(enum sandbox s, const char *base)
{
	int version = priv_landlock_version(), rules = -1;
	bool dials = sandbox_rows[s].flags & SANDBOX_DIALS;
	struct port_rule any = {TCP_BIND, 0};
	struct ruleset r = {
		.files = RIGHTS_FIRST | (version >= VERSION_MOVE ? RIGHT_MOVE : 0) |
			 (version >= VERSION_TRUNCATE ? RIGHT_TRUNCATE : 0) |
			 (version >= VERSION_IOCTL ? RIGHT_IOCTL : 0),
		.tcp = version < VERSION_TCP ? 0 : TCP_BIND | (dials ? 0 : TCP_CONNECT),
		.scope = version < VERSION_SCOPE ? 0 : SCOPE_ABSTRACT | SCOPE_SIGNAL,
	};

	if (version == 0)
		return;
	if (sandbox_rows[s].flags & SANDBOX_READS) {
		r.files &= ~rights_of(BELOW_READ, version);
		r.tcp = 0;
		r.scope &= ~SCOPE_ABSTRACT;
	}
	rules = (int)syscall(SYS_landlock_create_ruleset, &r, sizeof(r), 0);
	if (rules < 0)
		log_fatal("dropping rights: Landlock: %s", err_str(ERR_SYS));
	for (size_t i = 0; i < below_rows_n; i++)
		if (below_rows[i].sandbox == s)
			allow_below(rules, &below_rows[i], base, version);
	/* A source address is chosen by binding to it, without a port. */
	if (dials && r.tcp != 0 && syscall(SYS_landlock_add_rule, rules, RULE_PORT, &any, 0) != 0)
		log_fatal("dropping rights: Landlock, ports: %s", err_str(ERR_SYS));
	if (syscall(SYS_landlock_restrict_self, rules, 0) != 0)
		log_fatal("dropping rights: Landlock: %s", err_str(ERR_SYS));
	fd_close(&rules);
}

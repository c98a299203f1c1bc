/* SPDX-License-Identifier: ISC */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "priv/priv_private.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1
#endif

#ifdef GP_SANITIZE
enum { IS_BARE = 1 };
#else
enum { IS_BARE = 0 };
#endif

enum { MAPS_LIMIT = 1 << 20 };

static void limit(int what, const char *name)
{
	struct rlimit none = {0, 0};

	if (setrlimit(what, &none) != 0)
		log_fatal("dropping rights: %s: %s", name, err_str(ERR_SYS));
}

static void change_root(const char *root)
{
	if (*root == '\0')
		return;
	if (chroot(root) != 0)
		log_fatal("dropping rights: chroot to %s: %s", root, err_str(ERR_SYS));
	if (chdir("/") != 0)
		log_fatal("dropping rights: chdir in %s: %s", root, err_str(ERR_SYS));
}

static void change_user(const struct priv *p)
{
	uid_t r, e, s;
	gid_t rg, eg, sg;

	if (p->uid == 0 || p->gid == 0)
		log_fatal("dropping rights: user and group must not be root");
	if (setgroups(p->groups_n, p->groups) != 0)
		log_fatal("dropping rights: setgroups: %s", err_str(ERR_SYS));
	change_root(p->root);
	if (setresgid(p->gid, p->gid, p->gid) != 0)
		log_fatal("dropping rights: group %d: %s", (int)p->gid, err_str(ERR_SYS));
	if (setresuid(p->uid, p->uid, p->uid) != 0)
		log_fatal("dropping rights: user %d: %s", (int)p->uid, err_str(ERR_SYS));
	if (getresuid(&r, &e, &s) != 0 || r != p->uid || e != p->uid || s != p->uid ||
		getresgid(&rg, &eg, &sg) != 0 || rg != p->gid || eg != p->gid || sg != p->gid)
		log_fatal("dropping rights: the identity is not what was asked for");
	if (setresuid(0, 0, 0) == 0 || setuid(0) == 0)
		log_fatal("dropping rights: root can be had again");
}

static void drop_capabilities(void)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0, 0, 0}};

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
		log_fatal("dropping rights: ambient capabilities: %s", err_str(ERR_SYS));
	if (syscall(SYS_capset, &head, data) != 0)
		log_fatal("dropping rights: capset: %s", err_str(ERR_SYS));
}

/* What a program could get by executing another: taken away while the right to do so is there. */
static void bound_capabilities(void)
{
	int is_there = 0;

	for (unsigned long c = 0; (is_there = prctl(PR_CAPBSET_READ, c, 0, 0, 0)) >= 0; c++)
		if (is_there > 0 && prctl(PR_CAPBSET_DROP, c, 0, 0, 0) != 0)
			log_fatal("dropping rights: capability %lu: %s", c, err_str(ERR_SYS));
}

/* "from-to rwxp …" of /proc/self/maps: what can be written and executed can only be executed. */
static void seal_line(struct slice line)
{
	char text[64], *end = NULL;
	unsigned long from = 0, to = 0;

	if (line.len >= sizeof(text))
		line.len = sizeof(text) - 1;
	memcpy(text, line.p, line.len);
	text[line.len] = '\0';
	from = strtoul(text, &end, 16);
	if (*end == '-')
		to = strtoul(end + 1, &end, 16);
	if (to <= from || strncmp(end, " rwx", 4) != 0)
		return;
	if (mprotect((void *)(uintptr_t)from, to - from, PROT_READ | PROT_EXEC) != 0)
		log_fatal("dropping rights: machine code: %s", err_str(ERR_SYS));
}

/* Machine code that was made while that was allowed (lib/map) stays as it is. */
static void seal_code(void)
{
	struct buf maps = BUF_INIT(MAPS_LIMIT);
	struct slice rest, line;
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && fd_read_all(fd, &maps) != 0)
		log_fatal("dropping rights: /proc/self/maps: %s", err_str(ERR_SYS));
	fd_close(&fd);
	rest = buf_slice(&maps);
	while (slice_part(&rest, '\n', &line))
		seal_line(line);
	buf_clear(&maps);
}

/* Memory that is written to is never executed, and the other way round. */
static void forbid_new_code(void)
{
	if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) != 0 && errno != EINVAL)
		log_fatal("dropping rights: writable code: %s", err_str(ERR_SYS));
}

static _Atomic uint64_t *report;
static bool is_sandboxed, log_is_file;

void priv_drop(const struct priv *p)
{
	if (p->report != NULL)
		report = p->report;
	log_is_file = p->log_is_file;
	is_sandboxed = p->sandbox != SANDBOX_NONE;
	limit(RLIMIT_CORE, "core dumps");
	if (p->keep_root)
		return;
	if (is_sandboxed && !IS_BARE)
		seal_code();
	if (!p->development) {
		bound_capabilities();
		change_user(p);
		drop_capabilities();
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		log_fatal("dropping rights: no_new_privs: %s", err_str(ERR_SYS));
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		log_fatal("dropping rights: undumpable: %s", err_str(ERR_SYS));
	if (!is_sandboxed)
		return;
	if (!IS_BARE)
		forbid_new_code();
	/* The search for leaks at the end of a program reads /proc. */
	if (!IS_BARE || !p->development)
		landlock_confine(p->sandbox, p->base);
}

static void forbidden(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	if (report != NULL && info->si_code == SYS_SECCOMP)
		*report = PRIV_REPORT(getpid(), info->si_syscall);
	_exit(128 + SIGSYS);
}

/* SIGSYS stays blocked while it is handled: the next one kills. A child has its parent's handler.
 */
static void catch_forbidden(void)
{
	static bool is_done;
	struct sigaction a = {.sa_sigaction = forbidden, .sa_flags = SA_SIGINFO};

	if (!is_done && sigaction(SIGSYS, &a, NULL) != 0)
		log_fatal("dropping rights: SIGSYS: %s", err_str(ERR_SYS));
	is_done = true;
}

void priv_confine(enum sandbox s)
{
	if (!is_sandboxed || IS_BARE || (sandbox_rows[s].flags & SANDBOX_READS))
		return;
	if (!(sandbox_rows[s].flags & SANDBOX_FORKS))
		limit(RLIMIT_NPROC, "processes");
	if (!(sandbox_rows[s].flags & SANDBOX_FILES) && !log_is_file)
		limit(RLIMIT_FSIZE, "files");
	if (sandbox_rows[s].flags & SANDBOX_FIXED)
		limit(RLIMIT_NOFILE, "descriptors");
	catch_forbidden();
	filter_confine(s);
}

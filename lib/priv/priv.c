/* SPDX-License-Identifier: ISC */
#include "priv/priv.h"

#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/err.h"
#include "util/log.h"

static void limit_cores(void)
{
	struct rlimit none = {0, 0};

	if (setrlimit(RLIMIT_CORE, &none) != 0)
		log_fatal("dropping rights: core dumps cannot be forbidden: %s", err_str(ERR_SYS));
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

	if (syscall(SYS_capset, &head, data) != 0)
		log_fatal("dropping rights: capset: %s", err_str(ERR_SYS));
}

void priv_drop(const struct priv *p)
{
	limit_cores();
	if (p->keep_root)
		return;
	if (!p->development) {
		change_user(p);
		drop_capabilities();
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		log_fatal("dropping rights: no_new_privs: %s", err_str(ERR_SYS));
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		log_fatal("dropping rights: undumpable: %s", err_str(ERR_SYS));
	/* Landlock and seccomp go here: everything that needs a path or a rare call is behind us.
	 */
}

/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "local/become.h"
#include "util/err.h"

int become_find(const char *user, struct identity *id)
{
	errno = 0;
	const struct passwd *pw = getpwnam(user);
	if (pw == NULL)
		return errno == 0 || errno == ENOENT || errno == ESRCH ? ERR_NOT_FOUND : ERR_TEMP;
	*id = (struct identity){.uid = pw->pw_uid, .gid = pw->pw_gid};
	if (strlcpy(id->name, pw->pw_name, sizeof(id->name)) >= sizeof(id->name) ||
		strlcpy(id->home, pw->pw_dir, sizeof(id->home)) >= sizeof(id->home) ||
		strchr(id->name, '/') != NULL || id->name[0] == '.')
		return ERR_TEMP;
	return 0;
}

static bool is_final(const struct identity *id, gid_t gid)
{
	uid_t u[3];
	gid_t g[3];
	if (getresuid(&u[0], &u[1], &u[2]) != 0 || getresgid(&g[0], &g[1], &g[2]) != 0)
		return false;
	for (int i = 0; i < 3; i++)
		if (u[i] != id->uid || g[i] != gid)
			return false;
	return setuid(0) != 0 && setgid(0) != 0 && seteuid(0) != 0;
}

int become(const struct identity *id, gid_t gid, pid_t parent)
{
	if (id->uid == 0 || gid == 0)
		return ERR_DENIED;
	if (geteuid() == 0) {
		int r = id->name[0] != '\0' ? initgroups(id->name, id->gid) : setgroups(1, &gid);
		if (r != 0 || setresgid(gid, gid, gid) != 0 ||
			setresuid(id->uid, id->uid, id->uid) != 0)
			return ERR_SYS;
	}
	if (!is_final(id, gid))
		return ERR_DENIED;
	/* A change of user forgets what was asked for before: only now. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 ||
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
		return ERR_SYS;
	return getppid() == parent ? 0 : ERR_CLOSED;
}

/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/check.h"
#include "tools/gatepost.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

enum { ALL_MODES = 07777 };

struct row {
	enum param base;
	const char *name;
	enum param owner, group;
	mode_t mode;
};

static const struct row rows[] = {
#define D(base, name, owner, group, mode) {P_##base, name, P_##owner, P_##group, mode},
#include "priv/dirs.def"
#undef D
};

static int complain(const char *path, const char *name)
{
	fprintf(stderr, "gatepost: %s%s%s: %s\n", path, *name != '\0' ? "/" : "", name,
		err_str(ERR_SYS));
	return ERR_SYS;
}

/* mkdir -p with mode 0755; the last part may exist. */
static int make_path(const char *path)
{
	char *part = mem_str(path);
	int r = 0;

	for (char *p = strchr(part + 1, '/'); r == 0; p = p != NULL ? strchr(p + 1, '/') : NULL) {
		if (p != NULL)
			*p = '\0';
		if (mkdir(part, 0755) == 0)
			r = chmod(part, 0755) == 0 ? 0 : ERR_SYS;
		else if (errno != EEXIST)
			r = ERR_SYS;
		if (p == NULL)
			break;
		*p = '/';
	}
	mem_free(part);
	return r != 0 ? complain(path, "") : 0;
}

/* Without root, or with users that do not exist, directories stay whose they are. */
static int own(int fd, const struct row *d)
{
	const struct passwd *pw =
		getpwnam(d->owner != P_COUNT ? set_str(gatepost_conf, d->owner) : "root");
	const struct group *gr =
		d->group != P_COUNT ? getgrnam(set_str(gatepost_conf, d->group)) : NULL;
	struct stat st;
	gid_t gid = 0;

	if (fstat(fd, &st) != 0)
		return ERR_SYS;
	if (geteuid() == 0 && pw != NULL && (d->group == P_COUNT || gr != NULL)) {
		gid = gr != NULL ? gr->gr_gid : pw->pw_gid;
		if ((st.st_uid != pw->pw_uid || st.st_gid != gid) &&
			fchown(fd, pw->pw_uid, gid) != 0)
			return ERR_SYS;
	}
	/* What is right already is left alone: a later start needs no right to change it. */
	if ((st.st_mode & ALL_MODES) == d->mode)
		return 0;
	return fchmod(fd, d->mode) == 0 ? 0 : ERR_SYS;
}

static int make_one(int base, const struct row *d)
{
	int fd = -1, r = 0;

	if (mkdirat(base, d->name, 0700) == 0 || errno == EEXIST)
		fd = openat(base, d->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || own(fd, d) != 0)
		r = complain(set_str(gatepost_conf, d->base), d->name);
	fd_close(&fd);
	return r;
}

static int make_below(enum param base)
{
	const char *path = set_str(gatepost_conf, base);
	int r = make_path(path), fd = -1;

	if (r == 0)
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r == 0 && fd < 0)
		r = complain(path, "");
	for (size_t i = 0; r == 0 && i < sizeof(rows) / sizeof(*rows); i++) {
		if (rows[i].base == base)
			r = make_one(fd, &rows[i]);
	}
	fd_close(&fd);
	return r;
}

/*
 * sendmail's helper must have its group, or nothing is taken while the system is down. In a build
 * tree it has not.
 */
void gatepost_check_helper(const struct instance *in, struct mistakes *m)
{
	const char *daemons = set_str(in->main, P_daemon_directory),
		   *name = set_str(in->main, P_setgid_group);
	const struct setting *s = set_find(in->main, slice_str(conf_name(P_setgid_group)));
	struct place where = s != NULL ? set_place(s, 0) : (struct place){0};
	const struct group *gr = getgrnam(name);
	char *path = mem_fmt("%s/maildrop", daemons);
	struct stat st;

	if (strcmp(daemons, GP_LIBEXECDIR) == 0 && gr != NULL && stat(path, &st) == 0 &&
		(st.st_gid != gr->gr_gid || (st.st_mode & 02010) != 02010))
		mistakes_warning(m, where,
			"setgid_group: %s is not set-gid %s, so sendmail takes no mail while the "
			"system is down; expected \"chgrp %s %s && chmod 2755 %s\"",
			path, name, name, path, path);
	mem_free(path);
}

int gatepost_make_dirs(void)
{
	int r = 0;

	umask(077);
	r = make_below(P_queue_directory);
	return r == 0 ? make_below(P_data_directory) : r;
}

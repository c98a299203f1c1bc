/* SPDX-License-Identifier: ISC */
#ifndef PRIV_PRIV_H
#define PRIV_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Giving rights up, in one function. Every step that fails is fatal (log_fatal). Order: resource
 * limits, supplementary groups, chroot and chdir, group, user, empty capability sets, proof that it
 * is final (no way back to uid 0), no_new_privs, undumpable. Landlock and seccomp belong behind it,
 * in the place marked there.
 */
enum { PRIV_GROUPS = 4 };

struct priv {
	uid_t uid;
	gid_t gid;
	gid_t groups[PRIV_GROUPS]; /* supplementary */
	size_t groups_n;
	const char *root; /* empty: no chroot */
	bool development; /* no root at hand: users and root directory stay as they are */
	bool keep_root;   /* local's parent: only no core dumps */
};

void priv_drop(const struct priv *p);

#endif

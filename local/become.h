/* SPDX-License-Identifier: ISC */
#ifndef LOCAL_BECOME_H
#define LOCAL_BECOME_H

#include "local/delivery.h"

/* From root to a user, in a child and for good. */
struct identity {
	char name[64]; /* empty: none, the group alone */
	char home[1024];
	uid_t uid;
	gid_t gid;
};

/* The user by NSS; ERR_NOT_FOUND, ERR_TEMP. */
int become_find(const char *user, struct identity *id);
/*
 * User, group and supplementary groups, checked, without a way back; the child dies with its
 * parent (its process id). ERR_DENIED: it would be root, or (without root) somebody else.
 */
int become(const struct identity *id, gid_t gid, pid_t parent);

#endif

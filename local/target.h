/* SPDX-License-Identifier: ISC */
#ifndef LOCAL_TARGET_H
#define LOCAL_TARGET_H

#include "local/become.h"
#include "local/mailbox.h"

/*
 * Whose mailbox it is, found by root: target_local.c (NSS) or target_virtual.c (tables) is the
 * program. Nothing of it comes from the request but the address that is looked up.
 */
struct target {
	struct identity id;
	gid_t gid;    /* to become; id.gid or the spool's */
	char *path;   /* owned */
	bool by_home; /* require_home_directory applies */
	struct mailbox box;
};

/* Opens tables by their paths, in the spawner. */
int target_open(struct buf *why);
/* Before each fork: indexed tables that were replaced are opened afresh. */
void target_refresh(void);
/* user: the local part, folded, without extension. False: the answer is in o. */
bool target_find(const char *address, const char *user, struct target *t, struct outcome *o);

#endif

/* SPDX-License-Identifier: ISC */
#ifndef VAULT_CREW_H
#define VAULT_CREW_H

#include "util/slice.h"

/*
 * The crew: processes that compare passwords with records, which is slow on purpose. They are
 * children of a process that was forked before any key was read and has nothing of the memory of
 * tables (vault/arena.h). They have a socket each and nothing else, are as many as the machine has
 * cores, shared with the other vaults, and at a lower priority than the rest. One that dies is
 * replaced; its check is answered "not now".
 *
 * Checks wait in a line for each client (an address, of IPv6 its first 64 bits); lines take turns,
 * so that who tries many passwords waits for himself. The lines are bounded as a whole: when they
 * are full, the last check of the longest one makes room for a client with a shorter one.
 */
enum { CREW_WAITING_MAX = 256, CREW_MOST = 16, CREW_SECONDS = 10 };

struct crew_check;

/* Forks: behind the loss of rights, before a key is read. */
void crew_start(void);
/*
 * Everything is copied. done is called once, from the event loop: 0 and whether the password is
 * that of one of the records; ERR_TEMP when it was not checked. NULL: there is no room for it.
 */
struct crew_check *crew_check(struct slice client, struct slice records, struct slice password,
	void (*done)(int err, bool match, void *arg), void *arg);
/* done will not be called. */
void crew_cancel(struct crew_check **c);

#endif

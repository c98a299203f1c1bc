/* SPDX-License-Identifier: ISC */
#ifndef CLEANUP_PICKUP_H
#define CLEANUP_PICKUP_H

#include "server/server.h"

/*
 * maildrop: mail that local programs left while smtpd did not take it (queue/drop.h). Looked for
 * at the start, when the helper rings (a byte in the FIFO public/pickup), and again some time
 * after a file could not be taken. Each becomes a message of its own, by its owner.
 *
 * Not lost, not doubled. A file is unlinked behind its message's commit; a death in between must
 * not make a second message of it. So, rule Q19:
 *
 *   1. Who takes a file locks it, gives it the id of the message that it becomes (a rename, which
 * is synced before the commit), and holds the lock until it is unlinked. A worker takes many
 *      together, with one sync.
 *   2. A file with an id whose lock is free was left by a worker that has died. qmgr is asked for
 *      the id. "Yes": only the file is still there, and goes. "No" comes when qmgr has read all
 * that lost workers had committed: the file begins anew. Until then it waits, locked.
 *   3. qmgr must know for that every id of which a file may turn up. It knows those of segments
 * that have not ended. So a worker leaves a segment when the unlinks of what it took into it are
 *      synced (pickup_sync), and a segment that qmgr took over, and that holds such mail, does not
 * end before a living cleanup has seen to every file with an id that was there, synced the
 *      directory, and said so (PICKUP_SETTLE). That holds over a power cut, too: what is
 *      unlinked in memory alone comes back with its id.
 *
 * Any local user can make the helper write anything, so nothing of a file is believed. Mail that
 * cannot be accepted goes back to its sender (drop.h). What is no regular file, or has more than
 * one name, is removed. One that is damaged or not of its form, names no sender or no recipient, or
 * comes from somebody who is not among authorized_submit_users, is set aside as bad.TOKEN (of the
 * first hundred), and the postmaster is told by notify_classes: "software", or "policy" for the
 * last. Each has a line in the log.
 */

/* Rights are still there: makes the FIFO, and the file that tells the helper how large one may be.
 */
void pickup_init(void);
void pickup_start(void);
/* No more are begun. */
void pickup_stop(void);
bool pickup_is_idle(void);

/*
 * Whether what has been unlinked is so durably: before a segment of the journal is left. False: its
 * worker must not leave it, but die, so that qmgr keeps its ids until others have seen to the
 * files.
 */
bool pickup_sync(void);

/* qmgr. */
void pickup_peer_new(struct server_peer *peer);
void pickup_peer_gone(struct server_peer *peer);
void pickup_peer_msg(struct server_peer *peer, struct ipc_msg *msg);

#endif

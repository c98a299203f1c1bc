/* SPDX-License-Identifier: ISC */
#ifndef CLEANUP_LINK_H
#define CLEANUP_LINK_H

#include "queue/journal.h"
#include "server/server.h"

/*
 * qmgr, which comes and goes: nothing here waits for it. A new one is told the present segment and
 * how far it is durable; that is all it needs to read on.
 */
void link_peer_new(struct server_peer *peer);
void link_peer_gone(struct server_peer *peer);
void link_peer_msg(struct server_peer *peer, struct ipc_msg *msg);
void link_peer_room(struct server_peer *peer);

/* The journal has a new segment; what was in the old one is durable. */
void link_new_segment(void);
/* The present segment takes nothing more; where it ends is a cut's business. */
void link_segment_failed(void);
/* More of the present segment is durable. */
void link_durable(void);
/* The number of the present segment, also after it has failed; 0: none yet. */
uint32_t link_segment(void);
/* Asks qmgr, if it is there, to note the cut; commit_noted has the answer. */
void link_ask_cut(const struct queue_cut *cut);

/* An author asks for an id that is not known here: asks qmgr and passes its answer on. */
void link_query(struct server_peer *author, struct slice id);
void link_author_gone(struct server_peer *author);

/* ETRN: what waits for a domain is to be tried now; a wish, lost while qmgr is away. */
void link_flush(struct slice domain);

#endif

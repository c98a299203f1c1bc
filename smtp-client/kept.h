/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_KEPT_H
#define CLIENT_KEPT_H

#include "smtp-client/session.h"

/*
 * Sessions between two transactions. One is used again for the next hop that led to it, without
 * asking the resolver, or for any other next hop that leads to the same host, address and port,
 * when it would come to the same there: TLS of the same policy, level and names, and the same
 * login.
 */

/* At most limit sessions are kept idle; the oldest goes first. */
void kept_start(unsigned limit);
/* The transaction is over: kept idle when it may be, else QUIT. True: it is idle. */
bool kept_park(struct session *s);
/* An idle session to this next hop, if there is one; it then belongs to the delivery. */
bool kept_find(struct delivery *d);
/* The same for a host of it, at d->level. */
bool kept_find_host(struct delivery *d, const char *host, const char *address, uint16_t port);
/* The idle session has input, or its time is over (said: it is told so). */
void kept_end(struct session *s, bool said);
/* It is about to be freed. */
void kept_forget(struct session *s);
/* Ends all of them. */
void kept_quit_all(void);

#endif

/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_KNOWN_LOGINS_H
#define CLIENT_KNOWN_LOGINS_H

#include "smtp-client/session.h"

/*
 * Which login vault has for a host on the way to a next hop (and of a sender, where that counts),
 * by marks that say no more than whether two are the same; and which of them a host has refused
 * (smtp_sasl_auth_cache_name), in memory alone. Bounded: the oldest go first.
 */
enum { KNOWN_LOGINS_MAX = 10000, KNOWN_LOGINS_SECONDS = 600, SASL_MARK_TEXT = 48 };

/* Behind vault's answer for this session; the empty mark: there are no credentials. */
void known_logins_add(const struct session *s, const char *mark);
/* Borrowed until the next call; NULL: not known, or too long ago. */
const char *known_logins_find(const char *host, const char *site, const char *sender);

void known_logins_refused(
	const struct session *s, const char *mark, const char *text, const char *status);
/* True: the delivery's problem says what the host said then. */
bool known_logins_is_refused(struct session *s, const char *mark);

#endif

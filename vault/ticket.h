/* SPDX-License-Identifier: ISC */
#ifndef VAULT_TICKET_H
#define VAULT_TICKET_H

#include "server/server.h"

/*
 * Keys for session tickets: of this process alone, from the kernel's random numbers, never stored.
 * Each is for new tickets for TICKET_NEW_SECONDS and is forgotten at TICKET_SECONDS of age, here
 * and in every smtpd.
 */
enum { TICKET_KEY = 80, TICKET_NEW_SECONDS = 3600, TICKET_SECONDS = 7200 };

void ticket_start(void);
/* A smtpd is told the keys that are good, the newest last. */
void ticket_peer_new(struct server_peer *peer);

#endif

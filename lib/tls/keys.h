/* SPDX-License-Identifier: ISC */
#ifndef TLS_KEYS_H
#define TLS_KEYS_H

#include "ipc/ipc.h"

/*
 * The link to vault: chains of certificates, signatures, ticket keys. The program passes on what
 * comes to and from its peers of the role vault; contexts (tls.h) use the rest.
 *
 * Chains: vault sends those of this service without being asked, as soon as it is connected and
 * again when a file has changed; a worker keeps them for handshakes while no vault lives. The last
 * ones count, or, when whoever said them has gone, those of the newest vault that lives. Chains of
 * SNI names are asked for in the ClientHello and kept for a minute at most, at most TLS_SNI_KEPT of
 * them. A signature goes to the vault with the fewest open requests; when that one dies, to
 * another, until its deadline (TLS_SIGN_MSEC). Ticket keys come from every vault: the newest of a
 * living one is used, the others are good for taking tickets, until they are two hours old.
 */
enum { TLS_SIGN_MSEC = 5000, TLS_SNI_KEPT = 1000, TLS_TICKET_SECONDS = 7200 };

void tls_keys_peer_new(struct ipc *vault);
void tls_keys_peer_msg(struct ipc *vault, struct ipc_msg *m); /* TLS_* alone */
void tls_keys_peer_gone(struct ipc *vault);

/* Has this service a chain of its own by now? Without one STARTTLS answers 454. */
bool tls_keys_ready(void);

#endif

/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_AUTH_VAULT_H
#define SMTPD_AUTH_VAULT_H

#include "server/server.h"

/* smtpd's side of AUTH_*: for the program's server_spec. */
/* Exchanges that found none begin with this one. */
void auth_vault_new(struct server_peer *peer);
void auth_vault_msg(struct ipc_msg *msg);
/* Exchanges with it end: not now. */
void auth_vault_gone(struct server_peer *peer);

#endif

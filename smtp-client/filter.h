/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_FILTER_H
#define CLIENT_FILTER_H

#include "smtp-client/session.h"

/*
 * smtp_reply_filter: each line of a server's reply is looked up, and read as what is found. A table
 * that fails ends the session.
 */

/* Opens tables, as long as there are rights for it. */
void filter_init(void);
/* The session's replies go through it from now on. */
void filter_attach(struct session *s);

#endif

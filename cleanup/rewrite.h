/* SPDX-License-Identifier: ISC */
#ifndef CLEANUP_REWRITE_H
#define CLEANUP_REWRITE_H

#include "mail/address.h"

/*
 * Addresses in the content's headers, completed in their places. Which headers hold addresses is
 * Postfix's list: From, To, Cc, Bcc, Sender, Reply-To, their Resent- kin, and Apparently-To,
 * Errors-To, Return-Receipt-To, Disposition-Notification-To, Mail-Followup-To. All other bytes stay
 * as they are.
 */
struct message;

/* The content has ended. ERR_LIMIT: the header section has grown too long; nothing is changed. */
int rewrite_headers(struct message *m, const struct address_rules *rules);

#endif

/* SPDX-License-Identifier: ISC */
#ifndef CLEANUP_TRANSCRIPT_H
#define CLEANUP_TRANSCRIPT_H

#include "ipc/ipc.h"
#include "mail/mailclass.h"

/*
 * Mail to the postmaster: with the transcript of a session in which something went wrong
 * (TRANSCRIPT), or about a file that has no other way to be heard of. To bounce_notice_recipient
 * for what smtpd would have had to return, else to error_notice_recipient; from
 * double_bounce_sender, so that nothing comes of it. Nobody waits for it: what cannot be written is
 * logged and forgotten.
 */
void transcript_open(void);
void transcript_msg(struct ipc_msg *msg);
/* A file of maildrop is now called name there, and will not be looked at again. */
void transcript_set_aside(const char *name, unsigned uid, const char *why, enum mail_class class);

#endif

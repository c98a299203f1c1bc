/* SPDX-License-Identifier: ISC */
#ifndef CLEANUP_TRANSCRIPT_H
#define CLEANUP_TRANSCRIPT_H

#include "ipc/ipc.h"

/*
 * Mail to the postmaster with the transcript of a session in which something went wrong
 * (TRANSCRIPT): to bounce_notice_recipient for what smtpd would have had to return, else to
 * error_notice_recipient; from double_bounce_sender, so that nothing comes of it. Nobody waits for
 * it: what cannot be written is logged and forgotten.
 */
void transcript_open(void);
void transcript_msg(struct ipc_msg *msg);

#endif

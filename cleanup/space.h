/* SPDX-License-Identifier: ISC */
#ifndef CLEANUP_SPACE_H
#define CLEANUP_SPACE_H

#include "server/server.h"

/*
 * Whether there is room for more mail here: in the journal (queue_journal_limit), on the file
 * system (queue_minfree), and with qmgr. Authors are told when it changes, so that smtpd answers
 * 452 at MAIL.
 */
void space_open(void);
/* Looks again; asks the file system at most once a second. */
void space_check(void);
bool space_is_full(void);
/* qmgr says that it is full, or no longer. */
void space_qmgr(bool is_full);
/* This worker is being replaced: authors are to begin nothing more with it. */
void space_leave(void);
/* A new author. */
void space_tell(struct server_peer *author);

#endif

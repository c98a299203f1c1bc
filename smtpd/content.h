/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_CONTENT_H
#define SMTPD_CONTENT_H

#include "smtpd/session.h"

/*
 * Content of a message: DATA and BDAT, streamed to cleanup as its credit allows. Its time is
 * bounded: smtpd_timeout at the beginning, more as bytes come at smtpd_min_data_rate or faster.
 */
void content_data(struct session *s, struct slice args);
void content_bdat(struct session *s, struct slice line, struct slice args);

/* What cleanup says of content that has ended, where something is decided by it. */
void content_facts(struct session *s, struct message_facts *f);

/* A bare LF has come; does it end the session (smtpd_forbid_bare_newline)? Notes it where asked to.
 */
bool content_refuses_bare_lf(struct session *s);

#endif

/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_TLS_REPORT_H
#define SMTPD_TLS_REPORT_H

#include "smtpd/session.h"
#include "tls/tls.h"

/* What is said of a TLS session, in Postfix's words. */

/* A handshake has failed: why as of tls_why, err as of tls_events.on_done. */
void tls_report_failure(const struct session *s, const char *why, int err);
/* A certificate that must be trusted is not. */
void tls_report_distrust(const struct session *s, const struct tls_facts *f);
/* log_level: smtpd_tls_loglevel. */
void tls_report_success(const struct session *s, const struct tls_facts *f, int log_level);
/* The lines of Received:, a NUL between two. */
void tls_report_trace(const struct tls_facts *t, bool asks_cert, struct buf *lines);

#endif

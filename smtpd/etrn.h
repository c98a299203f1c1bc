/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_ETRN_H
#define SMTPD_ETRN_H

#include "smtpd/session.h"

/*
 * ETRN (RFC 1985): mail that waits for a domain is tried now. Only for domains in
 * fast_flush_domains, and for whom smtpd_etrn_restrictions allow it. cleanup finds out where mail
 * for the domain goes and tells qmgr.
 */
void etrn_open(void);
void etrn_command(struct session *s, struct slice args);

#endif

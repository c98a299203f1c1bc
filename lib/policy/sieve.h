/* SPDX-License-Identifier: ISC */
#ifndef POLICY_SIEVE_H
#define POLICY_SIEVE_H

#include "dns/answer.h"
#include "policy/restrict.h"

/*
 * smtpd_dns_reply_filter: records that restrictions are not to see. Each is looked up as Postfix
 * writes it, "name. ttl IN MX 10 host.", with the time to live of the whole answer, and goes when
 * the table says IGNORE.
 *
 * 0, or ERR_LATER. When nothing is left of an answer it is DNS_FILTERED; a table that fails, or
 * says anything else, makes it DNS_TEMP, with a note: it is never taken for "keep".
 */
int sieve_answer(struct policy_eval *e, struct dns_answer *a);

#endif

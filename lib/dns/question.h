/* SPDX-License-Identifier: ISC */
#ifndef DNS_QUESTION_H
#define DNS_QUESTION_H

#include "dns/answer.h"

/* What name servers are asked: a type and a name. Pure, and without any DNS library. */
struct dns_question {
	enum dns_type type;
	char name[DNS_NAME_MAX + 1]; /* lower case ASCII, no dot at the end */
};

/*
 * Makes a question; a name in UTF-8 becomes its A-label form (RFC 5891). ERR_SYNTAX: not a domain
 * name (empty, labels over 63 bytes, blanks, control characters, …); *q then has an empty name.
 */
int dns_question_set(struct dns_question *q, enum dns_type type, struct slice name);

/* The name of a PTR question: "1.2.0.192.in-addr.arpa"; addr has 4 or 16 bytes, else ERR_RANGE. */
int dns_reverse_name(struct slice addr, char name[static DNS_NAME_MAX + 1]);

#endif

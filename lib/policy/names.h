/* SPDX-License-Identifier: ISC */
#ifndef POLICY_NAMES_H
#define POLICY_NAMES_H

#include "dns/answer.h"
#include "policy/restrict.h"

/*
 * What restrictions ask of the DNS. Each function is 0 with an answer or ERR_LATER. No answer (a
 * name server that fails, too many questions in one evaluation) is DNS_TEMP: what that means is for
 * the restriction to say.
 */
enum {
	NAMES_WAIT = 15 * 1000 * 1000, /* microseconds; longer than the resolver tries */
	NAMES_SERVERS_MAX = 20,        /* of one domain: more are not looked at */
	NAMES_ADDRESS_TEXT = 46
};

/*
 * Could it be a host's name? As Postfix has it: no empty label, none over 63, '-' not at an end, no
 * dot behind it, not a number. What could not is not asked for: DNS_NXDOMAIN.
 */
bool names_is_host(struct slice name);
/* Without what smtpd_dns_reply_filter drops; when that is all, DNS_FILTERED. */
int names_ask(struct policy_eval *e, enum dns_type type, struct slice name, struct dns_answer *a);
/* IPv4 and IPv6 addresses of a host, asked at once. */
int names_ask_addresses(struct policy_eval *e, struct slice name, struct dns_answer a[2]);
/* The addresses of a host as text, one after the other, of the protocols in use. They are not
 * filtered: hosts behind a name are looked up there as the system would do it, which no filter sees
 * in Postfix either. */
struct names_addresses {
	struct dns_answer answer[2];
	enum dns_status status; /* DNS_OK: there is one at least */
};
int names_find(struct policy_eval *e, struct slice name, struct names_addresses *found);
/* False at the end. */
bool names_next(struct names_addresses *found, char text[NAMES_ADDRESS_TEXT]);

/* The domain of an address, else the whole: what a name server knows of user@domain. */
struct slice names_domain(struct slice address);
bool names_is_known(struct slice name); /* of a client: neither missing nor "unknown" */

/* defer_if_permit, or a refusal where action says "defer" (the …_tempfail_action parameters). */
enum restrict_result names_defer(struct policy_eval *e, const char *action, int code,
	const char *status, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* Names are made by strangers: what is found for them may refuse, not permit: 451. */
void names_forbid_ok(struct policy_eval *e, const struct policy_item *item, struct slice name,
	enum restrict_result *result);

#endif

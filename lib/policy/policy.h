/* SPDX-License-Identifier: ISC */
#ifndef POLICY_POLICY_H
#define POLICY_POLICY_H

#include "mail/address.h"
#include "util/later.h"

/*
 * What a client may do: restriction lists, relay control, unknown recipients. Pure but for lookups:
 * smtpd and "gatepost explain" run the same code, and nothing is logged here.
 *
 * An evaluation is policy_check with a struct later (util/later.h): while an answer is missing it
 * returns ERR_LATER, and is called again from its beginning when woken. It never answers "permit"
 * because something failed: a table that fails gives the verdict "451 4.3.0 … Temporary lookup
 * failure".
 *
 * One restriction is one row of the table in restrict.c and one function.
 */
struct policy;

/* When a list is evaluated. */
enum policy_stage { POLICY_RCPT, POLICY_VRFY };

/* What is known about session and transaction; all borrowed, in internal form, may be empty. */
struct policy_facts {
	struct slice client_name; /* "unknown" when there is none */
	struct slice client_addr;
	struct slice helo, login, sender, recipient;
	uint64_t size; /* SIZE= of MAIL; 0: not said */
};

enum policy_action { POLICY_PERMIT, POLICY_REJECT };

/* Embedded; policy_verdict_init first. */
struct policy_verdict {
	enum policy_action action;
	int code;          /* POLICY_REJECT: 450, 554, … */
	char status[16];   /* "5.7.1" */
	struct buf text;   /* "<a@b>: Relay access denied" */
	bool unknown_user; /* the refusal is that of an unknown recipient */
	bool own;          /* a permitted recipient is in a class of our own */
	/* Why: the parameter and the restriction that decided; constants, empty when none did. */
	const char *parameter, *restriction;
};

void policy_verdict_init(struct policy_verdict *v);
void policy_verdict_clear(struct policy_verdict *v);

/*
 * Opens lists and tables from the settings in force (at start-up: tables are opened). Refuses, with
 * the parameter and the mistake in why, lists without any relay decision
 * (reject_unauth_destination, defer_unauth_destination, reject or defer): without it this would be
 * an open relay. ERR_SYNTAX.
 */
int policy_open(struct buf *why, struct policy **p);
void policy_close(struct policy **p);

/* 0 with the verdict, or ERR_LATER. l may be NULL: what would come later is then a lookup failure.
 */
int policy_check(struct policy *p, enum policy_stage stage, const struct policy_facts *f,
	struct later *l, struct policy_verdict *v);

/* Match lists of the listener that ask nothing else: mynetworks and smtpd_safe_clients. */
bool policy_is_trusted(struct policy *p, const struct policy_facts *f);
bool policy_is_safe(struct policy *p, const struct policy_facts *f);

/* How addresses of the envelope are completed (myorigin, allow_percent_hack, …). */
const struct address_rules *policy_rules(const struct policy *p);

#endif

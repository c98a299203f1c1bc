/* SPDX-License-Identifier: ISC */
#ifndef T_POLICY_STAGE_H
#define T_POLICY_STAGE_H

#include "policy/policy.h"

/*
 * What tests of restrictions share: settings over an empty main.cf in a directory of its own, and
 * evaluations that are run again until what they wait for has come.
 */

/*
 * answer: gives what evaluations wait for; false when there was nothing to give. NULL: tables of
 * the type later are answered here.
 */
void stage_open(bool (*answer)(void));
void stage_close(void);
/*
 * Settings "name=value", NULL at the end. NULL: the lists are refused, as *why says (empty
 * otherwise). The caller closes the result.
 */
struct policy *stage_load(const char *const *settings, struct buf *why);
/* One evaluation to its end; how often it had to be run again. */
int stage_check(struct policy *p, enum policy_stage stage, const struct policy_facts *f,
	struct policy_verdict *v);
/* How often evaluations were woken so far. */
unsigned stage_wakes(void);
/* The reply's code; 0: permitted. */
int stage_code(const struct policy_verdict *v);
/* Appends "554 5.7.1 text", nothing when permitted. */
void stage_add_reply(const struct policy_verdict *v, struct buf *out);
/* Appends lines "word: text (value)". */
void stage_add_notes(const struct policy_verdict *v, struct buf *out);

#endif

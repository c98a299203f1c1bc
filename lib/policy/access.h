/* SPDX-License-Identifier: ISC */
#ifndef POLICY_ACCESS_H
#define POLICY_ACCESS_H

#include "policy/restrict.h"

/*
 * Access tables (gatepost-access(5)): in which order keys are tried, and what is done with what is
 * found. A table that fails gives "451 4.3.5 <…>: … rejected: Server configuration error".
 *
 * Keys of our own come last: "127.0.3.*" for addresses; "@domain" and "@*suffix" for mail
 * addresses, the longest suffix first. Which of them a table holds is found out once per version of
 * it, so that other tables cost nothing and no table more than one lookup for each length of a
 * suffix in it.
 */
struct access_table;

int access_open(const char *spec, struct buf *why, struct access_table **t);
void access_close(struct access_table **t);
const char *access_name(const struct access_table *t); /* type:name */

/* *found: an entry was there, whatever its result; the search is over. 0 or ERR_LATER. */
int access_key(struct policy_eval *e, struct access_table *t, struct slice key, bool is_whole,
	struct policy_about about, bool *found, enum restrict_result *result);
/* Is it there, whatever the entry says? 0, ERR_NOT_FOUND, ERR_TEMP or ERR_LATER. */
int access_has(struct policy_eval *e, struct access_table *t, struct slice key);
/* A host name and its parents. is_whole: asks tables of patterns for the name itself. */
int access_domain(struct policy_eval *e, struct access_table *t, struct slice domain, bool is_whole,
	struct policy_about about, bool *found, enum restrict_result *result);
/* An address and the networks around it. */
int access_address(struct policy_eval *e, struct access_table *t, struct slice address,
	struct policy_about about, bool *found, enum restrict_result *result);
/* A name, then an address. */
int access_host(struct policy_eval *e, struct access_table *t, struct slice name,
	struct slice address, struct policy_about about, bool *found, enum restrict_result *result);
/* A mail address (completed), its domain, its user. */
int access_mail(struct policy_eval *e, struct access_table *t, struct slice address,
	struct policy_about about, bool *found, enum restrict_result *result);

#endif

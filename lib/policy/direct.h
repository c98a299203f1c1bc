/* SPDX-License-Identifier: ISC */
#ifndef POLICY_DIRECT_H
#define POLICY_DIRECT_H

#include "policy/policy.h"

/*
 * The hosts that direct_delivery_maps names, for permit_direct_delivery_hosts: a client at the
 * address of one of them needs no AUTH. Tables are walked once per version of them. A host's names
 * are looked up when a client comes that is none of the addresses: at most DIRECT_NAMES of them,
 * in the order of the tables; [name] by its addresses, a name without brackets by its MX hosts.
 */
enum { DIRECT_NAMES = 30, DIRECT_HOSTS_MAX = 100000 };

struct direct_hosts;

/* ERR_SYNTAX with why; a type of table that cannot be walked is one. */
int direct_open(struct buf *why, struct direct_hosts **d);
void direct_close(struct direct_hosts **d);
/* 0: it is one of them; ERR_NOT_FOUND; ERR_LATER; ERR_TEMP: a table or a name failed. */
int direct_find(struct direct_hosts *d, const struct policy_facts *f, struct later *l);

#endif

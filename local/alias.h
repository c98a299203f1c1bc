/* SPDX-License-Identifier: ISC */
#ifndef LOCAL_ALIAS_H
#define LOCAL_ALIAS_H

#include "local/delivery.h"

/*
 * alias_maps. The addresses of an alias that are local names are looked up in turn, at most
 * ALIAS_DEPTH deep, without following a name twice; what is left over, at most
 * PLAN_ADDRESSES_MAX addresses, is a PLAN_FORWARD. A name that the alias of itself holds is final.
 */
enum { ALIAS_DEPTH = 50 };

int alias_open(struct buf *why);
/*
 * local: the local part, folded; user: the same without extension. ERR_NOT_FOUND: no alias;
 * ERR_LATER; 0: the plan says what to do, which may be an answer (a table failed, a value that
 * cannot be delivered to).
 */
int alias_find(struct slice local, struct slice user, struct later *l, struct plan *p);

#endif

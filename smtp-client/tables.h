/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_TABLES_H
#define CLIENT_TABLES_H

#include "conf/conf.h"
#include "map/map.h"
#include "map/match.h"

/* Tables and lists that parameters name. Opened once, as long as there are rights for it. */

/* *list is NULL when the parameter is empty. One that is wrong ends the program. */
void tables_open(enum param p, struct map_list **list);
void tables_open_match(enum param p, int flags, struct match **m);

#endif

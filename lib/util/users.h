/* SPDX-License-Identifier: ISC */
#ifndef UTIL_USERS_H
#define UTIL_USERS_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * authorized_mailq_users and its kin as sets of uids. Names are looked up when the
 * set is made, since the password file is out of sight later: a name that is new at a reload is
 * known after a restart only. Items: user names, "!" before one excludes it, "static:anyone" (or
 * any static: table) is everybody; the first match decides. Other tables cannot be asked here and
 * match nobody.
 */
struct users;

void users_set(struct users **u, const char *list);
void users_clear(struct users **u);
/* root always belongs to it. */
bool users_has(const struct users *u, uid_t uid);

#endif

/* SPDX-License-Identifier: ISC */
#include "util/users.h"

#include <pwd.h>

#include "util/log.h"
#include "util/mem.h"
#include "util/slice.h"

#define USERS_LIMIT 1000

struct user {
	char *name;
	uid_t uid;
	bool is_excluded, is_all, is_known;
};

struct users {
	struct user *list;
	size_t count;
};

static void drop(struct user *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		mem_free(list[i].name);
	mem_free(list);
}

void users_clear(struct users **up)
{
	if (*up != NULL) {
		drop((*up)->list, (*up)->count);
		mem_free(*up);
		*up = NULL;
	}
}

/* The old set remembers uids of names that cannot be looked up any more. */
static void look_up(struct user *u, const struct users *old)
{
	const struct passwd *pw = getpwnam(u->name);

	if (pw != NULL) {
		u->uid = pw->pw_uid;
		u->is_known = true;
		return;
	}
	for (size_t i = 0; i < old->count; i++)
		if (old->list[i].is_known && strcmp(old->list[i].name, u->name) == 0) {
			u->uid = old->list[i].uid;
			u->is_known = true;
			return;
		}
	log_warning("user %s is unknown", log_qs(u->name));
}

void users_set(struct users **up, const char *text)
{
	struct slice rest = slice_str(text), item;
	struct user *list = mem_array(USERS_LIMIT, sizeof(*list));
	struct users *users = *up;
	size_t n = 0;

	if (users == NULL)
		users = *up = mem_alloc(sizeof(*users));
	while (n < USERS_LIMIT && slice_token(&rest, ", \t\r\n", &item)) {
		struct user *u = &list[n++];

		u->is_excluded = slice_starts(item, "!");
		if (u->is_excluded)
			item = slice_from(item, 1);
		u->is_all = slice_starts(item, "static:");
		u->name = slice_dup(item);
		if (u->is_all)
			continue;
		if (slice_find(item, ':') >= 0 || slice_starts(item, "/"))
			log_warning("%s: tables of users are not supported here", log_q(item));
		else
			look_up(u, users);
	}
	drop(users->list, users->count);
	users->list = list;
	users->count = n;
}

bool users_has(const struct users *u, uid_t uid)
{
	if (uid == 0)
		return true;
	for (size_t i = 0; u != NULL && i < u->count; i++)
		if (u->list[i].is_all || (u->list[i].is_known && u->list[i].uid == uid))
			return !u->list[i].is_excluded;
	return false;
}

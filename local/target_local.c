/* SPDX-License-Identifier: ISC */
#include "local/target.h"

#include <string.h>
#include <sys/stat.h>

#include "conf/conf.h"
#include "util/err.h"
#include "util/mem.h"

int target_open(struct buf *why)
{
	(void)why;
	return 0;
}

void target_refresh(void)
{
}

static bool lists(enum param p, const char *word)
{
	struct slice rest = slice_str(conf_str(p)), token;
	while (slice_token(&rest, ", \t", &token))
		if (slice_case_eq_str(token, word))
			return true;
	return false;
}

/* With which the user may write to the spool: the spool's where that may and not all may. */
static gid_t spool_group(const char *spool, const struct identity *id)
{
	struct stat st;
	if (stat(spool, &st) != 0 || (st.st_mode & S_IWOTH) || !(st.st_mode & S_IWGRP) ||
		st.st_gid == 0)
		return id->gid;
	return st.st_gid;
}

bool target_find(const char *address, const char *user, struct target *t, struct outcome *o)
{
	const char *home = conf_str(P_home_mailbox), *spool = conf_str(P_mail_spool_directory);
	bool is_dir = spool[0] != '\0' && spool[strlen(spool) - 1] == '/';
	int err = become_find(user, &t->id);
	if (err == ERR_NOT_FOUND) {
		outcome_set(o, RESULT_FAILED, "5.1.1", "unknown user: \"%s\"", user);
		return false;
	}
	if (err != 0) {
		outcome_set(o, RESULT_DEFERRED, "4.3.0", "user lookup failed: \"%s\"", user);
		return false;
	}
	t->gid = home[0] != '\0' ? t->id.gid : spool_group(spool, &t->id);
	t->by_home = true;
	t->path = home[0] != '\0' ? mem_fmt("%s/%s", t->id.home, home)
				  : mem_fmt("%s%s%s%s", spool, is_dir ? "" : "/", t->id.name,
					    is_dir ? "/" : "");
	t->box = (struct mailbox){.path = t->path,
		.user = t->id.name,
		.locks = conf_str(P_mailbox_delivery_lock),
		.limit = (uint64_t)conf_int(P_mailbox_size_limit),
		.must_own = conf_bool(P_strict_mailbox_ownership),
		.has_delivered_to = lists(P_prepend_delivered_header, "file")};
	return true;
}

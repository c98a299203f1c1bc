/* SPDX-License-Identifier: ISC */
#include "local/child.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf.h"
#include "local/become.h"
#include "local/content.h"
#include "local/mailbox.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

static void keep_only(int a, int b)
{
	int low = a < b ? a : b, high = a < b ? b : a;
	if (low < 3) {
		low = high;
	}
	(void)close_range(3, (unsigned)low - 1, 0);
	if (high > low + 1)
		(void)close_range((unsigned)low + 1, (unsigned)high - 1, 0);
	(void)close_range((unsigned)high + 1, ~0U, 0);
}

static bool lists(enum param p, const char *word)
{
	struct slice rest = slice_str(conf_str(p)), token;
	while (slice_token(&rest, ", \t", &token))
		if (slice_case_eq_str(token, word))
			return true;
	return false;
}

static void refused(struct outcome *o, int err, const struct identity *id)
{
	if (err == ERR_DENIED && id->uid == 0)
		outcome_set(o, RESULT_DEFERRED, "4.3.5",
			"no delivery as root: make an alias for this user");
	else if (err == ERR_DENIED)
		outcome_set(o, RESULT_DEFERRED, "4.3.5",
			"not running as root: cannot become user %lu", (unsigned long)id->uid);
	else
		outcome_set(o, RESULT_DEFERRED, "4.3.0", "cannot become user %lu: %s",
			(unsigned long)id->uid, err_str(err));
}

/* True when the message has been here before. */
static bool is_loop(
	const struct job *j, const struct job_rcpt *r, unsigned allowed, struct outcome *o)
{
	if (content_count_delivered(j, r->address) <= allowed)
		return false;
	outcome_set(o, RESULT_FAILED, "5.4.6", "mail forwarding loop for %s", r->address);
	return true;
}

static void deliver(
	const struct job *j, const struct job_rcpt *r, const struct mailbox *m, struct outcome *o)
{
	umask(077);
	if (m->path[strlen(m->path) - 1] == '/')
		mailbox_deliver_maildir(j, r, m, o);
	else
		mailbox_deliver_mbox(j, r, m, o);
}

static void deliver_user(
	const struct job *j, const struct job_rcpt *r, const struct plan *p, struct outcome *o)
{
	const char *home = conf_str(P_home_mailbox), *spool = conf_str(P_mail_spool_directory);
	struct identity id;
	struct stat st;
	int err = become_find(p->user, &id);
	if (err == ERR_NOT_FOUND) {
		outcome_set(o, RESULT_NOT_FOUND, "5.1.1", "unknown user: \"%s\"", p->user);
		return;
	}
	if (err != 0) {
		outcome_set(o, RESULT_DEFERRED, "4.3.0", "user lookup failed: \"%s\"", p->user);
		return;
	}
	err = become(&id, home[0] != '\0' ? id.gid : become_spool_group(spool, &id));
	if (err != 0) {
		refused(o, err, &id);
		return;
	}
	if (is_loop(j, r, p->has_itself ? 1 : 0, o))
		return;
	if (conf_bool(P_require_home_directory) &&
		(stat(id.home, &st) != 0 || !S_ISDIR(st.st_mode))) {
		mailbox_failed(o, "cannot access home directory %s", id.home);
		return;
	}
	bool is_dir = spool[0] != '\0' && spool[strlen(spool) - 1] == '/';
	char *path = home[0] != '\0' ? mem_fmt("%s/%s", id.home, home)
				     : mem_fmt("%s%s%s%s", spool, is_dir ? "" : "/", id.name,
					       is_dir ? "/" : "");
	struct mailbox m = {.path = path,
		.user = id.name,
		.locks = conf_str(P_mailbox_delivery_lock),
		.limit = (uint64_t)conf_int(P_mailbox_size_limit),
		.must_own = conf_bool(P_strict_mailbox_ownership),
		.has_delivered_to = lists(P_prepend_delivered_header, "file")};
	deliver(j, r, &m, o);
}

static void deliver_box(
	const struct job *j, const struct job_rcpt *r, const struct plan *p, struct outcome *o)
{
	struct identity id = {.uid = p->uid, .gid = p->gid};
	int err = become(&id, id.gid);
	if (err != 0) {
		refused(o, err, &id);
		return;
	}
	struct mailbox m = {.path = p->path,
		.user = r->address,
		.locks = conf_str(P_virtual_mailbox_lock),
		.limit = (uint64_t)conf_int(P_virtual_mailbox_limit),
		.must_own = conf_bool(P_strict_mailbox_ownership),
		.has_delivered_to = true};
	if (!is_loop(j, r, 0, o))
		deliver(j, r, &m, o);
}

/* Nobody's mailbox: the message is looked at by a user without rights. */
static void look_for_loop(const struct job *j, const struct job_rcpt *r, struct outcome *o)
{
	struct identity id;
	int err = become_find(conf_str(P_default_privs), &id);
	if (err == 0 && geteuid() != 0)
		id.uid = geteuid(), id.gid = getegid();
	if (err == 0)
		err = become(&id, id.gid);
	if (err != 0) {
		outcome_set(o, RESULT_DEFERRED, "4.3.5", "cannot become default_privs user \"%s\"",
			conf_str(P_default_privs));
		return;
	}
	outcome_set(o, RESULT_OK, "2.0.0", "no loop");
	o->loops = content_count_delivered(j, r->address);
}

_Noreturn void child_run(
	const struct job *j, const struct job_rcpt *r, const struct plan *p, int pipe)
{
	struct outcome o;
	signal(SIGCHLD, SIG_DFL);
	keep_only(pipe, j->body_fd);
	outcome_set(&o, RESULT_DEFERRED, "4.3.0", "nothing was done");
	if (p->kind == PLAN_USER)
		deliver_user(j, r, p, &o);
	else if (p->kind == PLAN_BOX)
		deliver_box(j, r, p, &o);
	else
		look_for_loop(j, r, &o);
	_exit(fd_write_full(pipe, &o, sizeof(o)) == 0 ? 0 : 1);
}

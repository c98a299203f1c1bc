/* SPDX-License-Identifier: ISC */
#include "local/deliver.h"

#include <sys/stat.h>

#include "conf/conf.h"
#include "local/content.h"
#include "queue/envelope.h"
#include "util/err.h"
#include "util/fd.h"

void deliver(struct job *j, const struct job_rcpt *r, const struct target *t, unsigned loops,
	int content, struct outcome *o)
{
	struct stat st;
	bool is_maildir = t->path[strlen(t->path) - 1] == '/';
	if (j->flags & QUEUE_FLAG_PROBE) {
		outcome_set(o, RESULT_OK, "2.0.0", "delivers to %s",
			is_maildir ? "maildir" : "mailbox");
		return;
	}
	int err = fd_read_all(content, &j->content);
	if (err != 0) {
		outcome_set(
			o, RESULT_DEFERRED, "4.3.0", "cannot read the message: %s", err_str(err));
		return;
	}
	if (content_count_delivered(j, r->address) > loops) {
		outcome_set(o, RESULT_FAILED, "5.4.6", "mail forwarding loop for %s", r->address);
		return;
	}
	if (t->by_home && conf_bool(P_require_home_directory) &&
		(stat(t->id.home, &st) != 0 || !S_ISDIR(st.st_mode))) {
		mailbox_failed(o, "cannot access home directory %s", t->id.home);
		return;
	}
	if (is_maildir)
		mailbox_deliver_maildir(j, r, &t->box, o);
	else
		mailbox_deliver_mbox(j, r, &t->box, o);
}

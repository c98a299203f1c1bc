/* SPDX-License-Identifier: ISC */
#include "qmgr/late.h"

#include "qmgr/qmgr.h"
#include "util/log.h"
#include "util/mem.h"

struct late {
	TAILQ_ENTRY(late) link;
	struct active *a;
	struct active_rcpt *r;
	struct queue_result result; /* its texts are owned */
	char *dsn, *host, *text;
};
static TAILQ_HEAD(late_list, late) lates = TAILQ_HEAD_INITIALIZER(lates);
static bool is_running;

void late_add(struct active *a, struct active_rcpt *r, const struct queue_result *result)
{
	struct late *l = mem_alloc(sizeof(*l));

	if (TAILQ_EMPTY(&lates) && !is_running)
		log_warning("the queue's log is full: results wait for its sync");
	*l = (struct late){.a = a,
		.r = r,
		.result = *result,
		.dsn = slice_dup(result->dsn),
		.host = slice_dup(result->host),
		.text = slice_dup(result->text)};
	TAILQ_INSERT_TAIL(&lates, l, link);
}

/* One that finds no room once more stands at the end again. */
void late_run(void)
{
	struct late *last = TAILQ_LAST(&lates, late_list), *l;
	bool is_last = last == NULL;

	is_running = true;
	while (!is_last && (l = TAILQ_FIRST(&lates)) != NULL) {
		struct active *a = l->a;

		is_last = l == last;
		TAILQ_REMOVE(&lates, l, link);
		active_result(a, l->r, l->result.type, slice_str(l->dsn), slice_str(l->host),
			slice_str(l->text));
		active_check(a);
		mem_free(l->dsn);
		mem_free(l->host);
		mem_free(l->text);
		mem_free(l);
	}
	is_running = false;
}

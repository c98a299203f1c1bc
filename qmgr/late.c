/* SPDX-License-Identifier: ISC */
#include "qmgr/late.h"

#include "qmgr/qmgr.h"
#include "util/log.h"
#include "util/mem.h"

enum late_kind { LATE_RESULT, LATE_BACK, LATE_DOUBT };

struct late {
	TAILQ_ENTRY(late) link;
	enum late_kind kind;
	struct active *a;
	struct active_rcpt *r;
	struct queue_result result; /* RESULT; its texts are owned */
	char *dsn, *host, *text;
	const char *reason; /* DOUBT */
	bool was_tried;     /* BACK */
};
static TAILQ_HEAD(late_list, late) lates = TAILQ_HEAD_INITIALIZER(lates);
static bool is_running;

static struct late *late_new(enum late_kind kind, struct active *a, struct active_rcpt *r)
{
	struct late *l = mem_alloc(sizeof(*l));

	if (TAILQ_EMPTY(&lates) && !is_running)
		log_warning("the queue's log is full: results wait for its sync");
	l->kind = kind;
	l->a = a;
	l->r = r;
	TAILQ_INSERT_TAIL(&lates, l, link);
	return l;
}

void late_result(struct active *a, struct active_rcpt *r, const struct queue_result *result)
{
	struct late *l = late_new(LATE_RESULT, a, r);

	l->result = *result;
	l->result.dsn = slice_str(l->dsn = slice_dup(result->dsn));
	l->result.host = slice_str(l->host = slice_dup(result->host));
	l->result.text = slice_str(l->text = slice_dup(result->text));
}

void late_back(struct active *a, struct active_rcpt *r, bool was_tried)
{
	late_new(LATE_BACK, a, r)->was_tried = was_tried;
}

void late_doubt(struct active *a, struct active_rcpt *r, const char *reason)
{
	late_new(LATE_DOUBT, a, r)->reason = reason;
}

static void again(const struct late *l)
{
	switch (l->kind) {
	case LATE_RESULT: active_note(l->a, l->r, &l->result); break;
	case LATE_BACK: active_back(l->a, l->r, l->was_tried); break;
	case LATE_DOUBT: active_doubt(l->a, l->r, l->reason); break;
	}
	active_check(l->a);
}

bool late_waits(void)
{
	return !TAILQ_EMPTY(&lates);
}

/* One that finds no room once more stands at the end again. */
void late_run(void)
{
	struct late *last = TAILQ_LAST(&lates, late_list), *l;
	bool is_last = last == NULL;

	is_running = true;
	while (!is_last && (l = TAILQ_FIRST(&lates)) != NULL) {
		is_last = l == last;
		TAILQ_REMOVE(&lates, l, link);
		again(l);
		mem_free(l->dsn);
		mem_free(l->host);
		mem_free(l->text);
		mem_free(l);
	}
	is_running = false;
}

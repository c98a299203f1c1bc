/* SPDX-License-Identifier: ISC */
#include "qmgr/active_private.h"

#include "conf/conf.h"
#include "mail/mailclass.h"
#include "qmgr/ask.h"
#include "qmgr/command.h"
#include "qmgr/handout.h"
#include "qmgr/line.h"
#include "qmgr/plan.h"
#include "qmgr/qmgr.h"
#include "util/log.h"
#include "util/mem.h"

/* Ends: of a recipient's time, of a pass, of a message. */

#define ASK_AGAIN (60 * CLOCK_SEC)
#define SWEEP 1000 /* messages that are looked at in a second */

static size_t forwards; /* messages with is_forward */

void active_no_longer_asking(struct active *a)
{
	forwards -= a->is_forward;
	a->is_asking = a->is_forward = a->is_requeue = false;
}

size_t active_forwards(void)
{
	return forwards;
}

/* RFC 2852, 4: the time is what it failed for, whatever the last attempt came to. */
static void say_by(struct queue_result *result, struct slice last, struct buf *text)
{
	buf_reset(text);
	plan_say_over(text, last);
	result->dsn = SLICE_LIT("5.4.7");
	result->text = buf_slice(text);
}

/* An alias of others is not delivered, so its time cannot be over: as in active.c. */
static bool is_expanded(const struct queue_message *m, uint32_t index, struct queue_result *result)
{
	struct queue_recipient to;

	queue_store_recipient(m, index, &to);
	if (!(to.flags & QUEUE_RCPT_EXPANDED))
		return false;
	*result = (struct queue_result){.type = QUEUE_EV_DELIVERED,
		.dsn = SLICE_LIT("2.0.0"),
		.text = SLICE_LIT("alias expanded"),
		.how = QUEUE_HOW_EXPANDED,
		.is_untried = true};
	return true;
}

/* False: the log has no room for it now. */
static bool expire(struct active *a)
{
	struct queue_message *m = a->m;
	struct buf text = BUF_INIT(QUEUE_EVENT_TEXT_MAX);
	bool is_by = !m->expire_now && plan_is_returned(m);
	int err = 0;

	line_expired(m, m->expire_now, is_by);
	for (uint32_t i = 0; i < m->env.recipients && err != ERR_FULL; i++) {
		struct queue_result result = {.type = QUEUE_EV_EXPIRED};
		struct queue_event last = {0};
		uint64_t ticket;

		if (!active_is_open(&m->r[i]))
			continue;
		if (queue_store_last(m, i, &last)) {
			result.dsn = last.dsn;
			result.host = last.host;
			result.text = last.text;
		}
		if (result.text.len == 0)
			result.text = SLICE_LIT("no delivery was possible in time");
		if (result.dsn.len == 0)
			result.dsn = SLICE_LIT("4.4.7");
		if (!is_expanded(m, i, &result) && is_by)
			say_by(&result, last.text, &text);
		err = queue_store_result(m, i, &result, qmgr_now(), &ticket);
		if (err != 0 && err != ERR_FULL)
			log_warning("%s: recipient %u cannot be expired", m->id, i);
	}
	buf_clear(&text);
	return err != ERR_FULL;
}

/* Everybody gets an attempt, or is told why there was none. */
static bool was_tried(const struct queue_message *m, uint32_t index)
{
	struct queue_event last;

	return active_is_open(&m->r[index]) &&
	       (m->r[index].attempts > 0 || queue_store_last(m, index, &last));
}

bool active_is_expired(const struct queue_message *m)
{
	bool tried = false;

	if (m->expire_now || plan_is_returned(m))
		return true;
	if (qmgr_now() < plan_end(m))
		return false;
	for (uint32_t i = 0; i < m->env.recipients && !tried; i++)
		tried = was_tried(m, i);
	return tried;
}

bool active_is_over(const struct active *a)
{
	return a->m != NULL && a->m->state == QUEUE_M_LIVE && active_is_expired(a->m);
}

/* Some of them each second, in turn. */
void active_sweep(void)
{
	static int64_t last;
	struct active *end = TAILQ_LAST(&actives, actives), *a = NULL;

	if (loop_now() < last + CLOCK_SEC)
		return;
	last = loop_now();
	for (int n = 0; n < SWEEP && (end == NULL || a != end); n++) {
		a = TAILQ_FIRST(&actives);
		if (a == NULL)
			return;
		TAILQ_REMOVE(&actives, a, link);
		TAILQ_INSERT_TAIL(&actives, a, link);
		if (!active_is_over(a) || a->is_asking || a->open == 0)
			continue;
		a->is_passing = true;
		handout_withdraw(a);
		a->is_passing = false;
		active_withdraw(a);
		/* It may be gone, and so may others: the last one is not known any more. */
		end = NULL;
	}
}

/* ---- Who is told of what. ---- */

static unsigned notify_of(const struct queue_message *m, uint32_t index)
{
	struct queue_recipient to;

	queue_store_recipient(m, index, &to);
	return to.notify;
}

/* Whether NOTIFY, when it was given, has this. */
static bool allows(const struct queue_message *m, uint32_t index, unsigned bit)
{
	unsigned notify = notify_of(m, index);

	return notify == 0 || (notify & bit) != 0;
}

static bool has_failed(const struct queue_message *m, uint32_t index)
{
	return m->r[index].state == QUEUE_R_FAILED && !(m->env.flags & QUEUE_FLAG_PROBE);
}

static bool wants_bounce(const struct queue_message *m, uint32_t index)
{
	return has_failed(m, index) && allows(m, index, QUEUE_NOTIFY_FAILURE);
}

static bool was_relayed(const struct queue_message *m, uint32_t index)
{
	struct queue_event last;

	return queue_store_last(m, index, &last) && last.type == QUEUE_EV_DELIVERED &&
	       last.reason == QUEUE_HOW_BY;
}

/* NOTIFY=SUCCESS; where it went is to be told (RFC 2852); a delay that was told has an end
 * (confirm_delay_cleared); sendmail -bv. */
static bool wants_success(const struct queue_message *m, uint32_t index)
{
	const struct queue_rstatus *r = &m->r[index];

	if (r->state != QUEUE_R_DELIVERED)
		return false;
	if (m->env.flags & QUEUE_FLAG_PROBE)
		return (m->env.flags & QUEUE_FLAG_TRACE) != 0;
	return (notify_of(m, index) & QUEUE_NOTIFY_SUCCESS) != 0 || was_relayed(m, index) ||
	       (r->is_told && conf_bool(P_confirm_delay_cleared) &&
		       allows(m, index, QUEUE_NOTIFY_DELAY));
}

/* The first attempt is over: whatever became of it. */
static bool wants_trace(const struct queue_message *m, uint32_t index)
{
	const struct queue_rstatus *r = &m->r[index];
	struct queue_event last;

	return (m->env.flags & (QUEUE_FLAG_TRACE | QUEUE_FLAG_PROBE)) == QUEUE_FLAG_TRACE &&
	       !r->is_traced && r->state != QUEUE_R_PASSED && r->state != QUEUE_R_DELETED &&
	       queue_store_last(m, index, &last) && last.type != QUEUE_EV_IN_DOUBT;
}

/* It waits, has waited for long enough, and nobody has said so yet. */
static bool is_late(const struct queue_message *m, uint32_t index)
{
	const struct queue_rstatus *r = &m->r[index];
	int64_t when = plan_tell(m);

	return when > 0 && qmgr_now() >= when && active_is_open(r) && r->due != 0 && !r->is_told &&
	       !(m->env.flags & QUEUE_FLAG_PROBE);
}

static bool wants_delay(const struct queue_message *m, uint32_t index)
{
	return is_late(m, index) && allows(m, index, QUEUE_NOTIFY_DELAY);
}

/*
 * The postmaster's copies, whatever NOTIFY has. They are accepted before what they are copies of,
 * which ends the wish for them.
 */
static bool wants_bounce_copy(const struct queue_message *m, uint32_t index)
{
	return !m->r[index].is_copied && has_failed(m, index);
}

static bool wants_delay_copy(const struct queue_message *m, uint32_t index)
{
	return !m->r[index].is_delay_copied && is_late(m, index);
}

/* In the order in which they are asked for. */
static const struct news {
	enum queue_reason reason;
	bool (*wants)(const struct queue_message *m, uint32_t index);
} all_news[] = {
	{QUEUE_REASON_TRACE, wants_trace},
	{QUEUE_REASON_BOUNCE_COPY, wants_bounce_copy},
	{QUEUE_REASON_BOUNCE, wants_bounce},
	{QUEUE_REASON_SUCCESS, wants_success},
	{QUEUE_REASON_DELAY_COPY, wants_delay_copy},
	{QUEUE_REASON_DELAY, wants_delay},
};

#define NEWS (sizeof(all_news) / sizeof(all_news[0]))

static bool is_of_delay(enum queue_reason reason)
{
	return reason == QUEUE_REASON_DELAY || reason == QUEUE_REASON_DELAY_COPY;
}

static bool postmaster_wants(unsigned class)
{
	return (mail_classes(slice_str(conf_str(P_notify_classes))) & class) != 0;
}

/* Without a sender, or such a class, nobody wants to know: cleanup need not be asked each time. */
static bool is_worth_asking(const struct queue_message *m, enum queue_reason reason)
{
	bool has_sender = m->env.sender.len > 0;

	switch (reason) {
	case QUEUE_REASON_BOUNCE: return true;
	case QUEUE_REASON_BOUNCE_COPY: return has_sender && postmaster_wants(MAIL_CLASS_BOUNCE);
	case QUEUE_REASON_DELAY_COPY: return has_sender && postmaster_wants(MAIL_CLASS_DELAY);
	case QUEUE_REASON_DELAY: return has_sender || postmaster_wants(MAIL_CLASS_DELAY);
	default: return has_sender;
	}
}

static bool is_wanted(const struct news *news, const struct queue_message *m, uint32_t index)
{
	return !m->r[index].is_asked && news->wants(m, index);
}

/* Each recipient of such a message has a sender of its own, who is told alone. */
static uint32_t most_at_once(const struct queue_message *m)
{
	return m->env.has_verp && !conf_bool(P_disable_verp_bounces) ? 1 : QUEUE_PARENTS_MAX;
}

/* True when it is wanted: asked for, or not possible now (has_failed_ask). */
static bool ask_for(struct active *a, const struct news *news)
{
	struct queue_message *m = a->m;
	uint32_t *list, n = 0, most = most_at_once(m);

	if ((a->told & 1u << news->reason) || !is_worth_asking(m, news->reason))
		return false;
	list = mem_array(m->env.recipients, sizeof(*list));
	for (uint32_t i = 0; i < m->env.recipients && n < most; i++)
		if (is_wanted(news, m, i))
			list[n++] = i;
	if (n > 0 && !a->has_failed_ask) {
		a->is_asking = true;
		/* It needs no place of the active queue while cleanup works. */
		active_release_slot(a);
		ask_notice_of(a, news->reason, list, n);
	}
	mem_free(list);
	/* That nobody can be told of a delay now must not change when it is tried again. */
	return n > 0 && (!a->has_failed_ask || !is_of_delay(news->reason));
}

static bool ask_notice(struct active *a)
{
	for (size_t i = 0; i < NEWS; i++)
		if (ask_for(a, &all_news[i]))
			return true;
	return false;
}

/* True when a forward was made and not read: the message cannot end before. */
static bool await_forward(struct active *a)
{
	const struct queue_message *m = a->m;

	for (uint32_t i = 0; i < m->env.recipients && !a->is_forward; i++)
		a->is_forward = m->r[i].is_asked;
	if (!a->is_forward)
		return false;
	forwards++;
	a->is_asking = true;
	active_release_slot(a);
	return true;
}

int64_t active_next_due(const struct queue_message *m)
{
	int64_t due = 0;

	for (uint32_t i = 0; i < m->env.recipients; i++)
		if (active_is_open(&m->r[i]) && (due == 0 || m->r[i].due < due))
			due = m->r[i].due > 0 ? m->r[i].due : 1;
	return due;
}

bool active_has_news(const struct queue_message *m)
{
	for (size_t k = 0; k < NEWS; k++)
		for (uint32_t i = 0; i < m->env.recipients; i++)
			if (!is_of_delay(all_news[k].reason) && is_wanted(&all_news[k], m, i) &&
				is_worth_asking(m, all_news[k].reason))
				return true;
	return false;
}

static void settle(struct active *a)
{
	struct queue_message *m = a->m;
	int64_t due = active_next_due(m);
	uint64_t ticket;
	int err;

	if (m->state == QUEUE_M_ENDED) {
		active_free(a);
		return;
	}
	if (await_forward(a))
		return;
	/* One that has been requeued from hold is at its end. */
	if (m->state == QUEUE_M_HELD && (due != 0 || active_has_news(m))) {
		active_free(a);
		active_park(m, qmgr_now());
		return;
	}
	if (due != 0 && active_is_expired(m)) {
		if (!expire(a)) {
			active_free(a);
			active_park(m, qmgr_now() + CLOCK_SEC);
			return;
		}
		due = 0;
	}
	if (ask_notice(a)) {
		if (a->is_asking)
			return;
		/* cleanup could not do it: again in a while, with what waits. */
		active_free(a);
		if (due == 0 || due > qmgr_now() + ASK_AGAIN)
			due = qmgr_now() + ASK_AGAIN;
		active_park(m, due);
		return;
	}
	active_free(a);
	if (due != 0) {
		active_park(m, due);
		return;
	}
	err = queue_store_end(m, qmgr_now(), &ticket);
	if (err == ERR_STATE)
		log_warning("%s: cannot end it yet", m->id);
	else if (err == ERR_FULL)
		active_park(m, qmgr_now() + CLOCK_SEC);
	else if (err != 0)
		qmgr_dies("the end of a message", err);
	else
		log_info("%s: removed", m->id);
}

void active_check(struct active *a)
{
	active_refill(a);
	if (a->open > 0 || a->is_asking || a->is_passing)
		return;
	if (a->scheduled != NULL && !schedule_message_is_idle(a->scheduled))
		return;
	if (a->m == NULL)
		active_free(a);
	else
		settle(a);
}

void active_unask(struct active *a, const uint32_t *rcpts, uint32_t n)
{
	if (a->m == NULL)
		return;
	/* One that was deleted meanwhile may have waited for nothing else: then it ends here. */
	a->is_passing = true;
	queue_store_ask_failed(a->m, rcpts, n);
	a->is_passing = false;
}

void active_notice_done(struct active *a, enum queue_reason reason, bool was_made,
	const uint32_t *rcpts, uint32_t n)
{
	if (!a->is_asking)
		return;
	a->is_asking = false;
	active_unask(a, rcpts, n);
	if (was_made)
		a->told |= 1u << reason;
	else
		a->has_failed_ask = true;
	active_check(a);
}

void active_child(struct queue_message *m, enum queue_reason reason, int result)
{
	struct active *a = m->user;

	if (a == NULL || !a->is_asking)
		return;
	for (uint32_t i = 0; i < m->env.recipients; i++)
		if (m->r[i].is_asked)
			return;
	if (reason == QUEUE_REASON_REQUEUE)
		command_requeued(m, result);
	active_no_longer_asking(a);
	active_check(a);
}

void active_ended(struct queue_message *m)
{
	struct active *a = m->user;

	active_key_drop(active_key(slice_str(m->id)));
	if (a == NULL)
		return;
	m->user = NULL;
	a->m = NULL;
	ask_forget(a);
	active_no_longer_asking(a);
	active_check(a);
}

/* SPDX-License-Identifier: ISC */
#include "qmgr/active.h"

#include <stdio.h>

#include "conf/conf.h"
#include "qmgr/ask.h"
#include "qmgr/command.h"
#include "qmgr/handout.h"
#include "qmgr/held.h"
#include "qmgr/late.h"
#include "qmgr/line.h"
#include "qmgr/probe.h"
#include "qmgr/qmgr.h"
#include "util/dict.h"
#include "util/hash.h"
#include "util/log.h"
#include "util/mem.h"

#define REROUTE_LIMIT 10     /* workers that died over a recipient, or sent it elsewhere */
#define KEYS_LIMIT 100000000 /* long ids in the index */
#define ASK_AGAIN (60 * CLOCK_SEC)

static TAILQ_HEAD(, active) actives = TAILQ_HEAD_INITIALIZER(actives);
static struct dict *loading;  /* key → itself: loads that the scheduler asked for */
static struct dict *long_ids; /* key → id, while it is in the index */
static char loading_mark;
static size_t forwards; /* messages with is_forward */
static bool parks_new;

/* ---- Keys. A short id is its number; a long one a hash, with the text kept beside. ---- */

#define LONG_KEY (UINT64_C(1) << 63)

uint64_t active_key(struct slice id)
{
	uint64_t n = 0;

	if (queue_id_is_long(id) || id.len > 15)
		return hash_bytes(id) | LONG_KEY;
	for (size_t i = 0; i < id.len; i++) {
		char c = id.p[i];

		n = n * 16 + (uint64_t)(c >= '0' && c <= '9' ? c - '0' : c - 'A' + 10);
	}
	/* The length tells 0A from A. */
	return n | (uint64_t)id.len << 59;
}

bool active_key_id(uint64_t key, char id[QUEUE_ID_MAX + 1])
{
	const char *text;
	size_t len = key >> 59 & 15;

	id[0] = '\0';
	if (key & LONG_KEY) {
		text = long_ids != NULL ? dict_get(long_ids, DICT_U64(key)) : NULL;
		if (text == NULL)
			return false;
		strlcpy(id, text, QUEUE_ID_MAX + 1);
		return true;
	}
	for (size_t i = len; i > 0; i--, key >>= 4)
		id[i - 1] = "0123456789ABCDEF"[key & 15];
	id[len] = '\0';
	return true;
}

static void key_keep(uint64_t key, const char *id)
{
	if (!(key & LONG_KEY))
		return;
	if (long_ids == NULL)
		long_ids = dict_new(KEYS_LIMIT, mem_free);
	if (dict_get(long_ids, DICT_U64(key)) == NULL)
		dict_set(long_ids, DICT_U64(key), mem_str(id));
}

/* ---- Small things. ---- */

struct walk {
	void (*visit)(uint64_t key, void *arg);
	void *arg;
};

static bool walk_loading(struct slice key, void *value, void *arg)
{
	const struct walk *w = arg;
	uint64_t n;

	(void)value;
	memcpy(&n, key.p, sizeof(n));
	w->visit(n, w->arg);
	return true;
}

void active_walk(void (*visit)(uint64_t key, void *arg), void *arg)
{
	struct walk w = {visit, arg};
	const struct active *a;

	TAILQ_FOREACH(a, &actives, link)
	{
		if (a->m != NULL)
			visit(active_key(slice_str(a->m->id)), arg);
	}
	if (loading != NULL)
		dict_walk(loading, walk_loading, &w);
}

bool active_may_come(struct slice id)
{
	uint64_t key = active_key(id);

	return queue_store_get(qmgr.store, id) != NULL ||
	       schedule_deferred_find(qmgr.schedule, key) != NULL ||
	       (loading != NULL && dict_get(loading, DICT_U64(key)) != NULL);
}

struct active *active_of(struct queue_message *m)
{
	return m->user;
}

bool active_is_bounce(const struct queue_message *m)
{
	return m->env.sender.len == 0;
}

struct queue_recipient active_recipient(const struct active *a, const struct active_rcpt *r)
{
	struct queue_recipient to;

	queue_recipient_at(&a->m->env, a->m->r[r->index].where, r->index, &to);
	return to;
}

static struct slice domain_of(struct slice address)
{
	ptrdiff_t at = slice_find_last(address, '@');

	return at < 0 ? SLICE_NONE : slice_from(address, (size_t)at + 1);
}

struct slice active_nexthop(const struct active *a, const struct active_rcpt *r)
{
	struct queue_recipient to;
	struct slice nexthop;

	if (r->nexthop != NULL && r->nexthop[0] != '\0')
		return slice_str(r->nexthop);
	to = active_recipient(a, r);
	nexthop = r->nexthop != NULL ? SLICE_NONE : to.nexthop;
	return nexthop.len > 0 ? nexthop : domain_of(to.address);
}

/* A login stands for its owner whatever the sender says; notices have no sender in common. */
static uint64_t sender_of(const struct queue_message *m)
{
	if (m->env.login.len > 0)
		return hash_lower(m->env.login);
	if (m->env.sender.len > 0)
		return hash_lower(m->env.sender);
	return hash_bytes(m->env.id);
}

static bool is_open(const struct queue_rstatus *r)
{
	return r->state == QUEUE_R_WAIT || r->state == QUEUE_R_DOUBT;
}

/* ---- The index of what waits. ---- */

static void sites(const struct queue_message *m, struct schedule_deferred *row)
{
	unsigned n = 0;
	struct queue_recipient to;
	uint32_t offset = 0, index = 0;

	while (queue_recipient_next(&m->env, &offset, &index, &to)) {
		struct slice nexthop = to.nexthop.len > 0 ? to.nexthop : domain_of(to.address);
		uint32_t site;

		if (!is_open(&m->r[to.index]))
			continue;
		site = schedule_site(to.transport, nexthop);
		if ((n > 0 && row->site[0] == site) || (n > 1 && row->site[1] == site))
			continue;
		if (n == 2) {
			row->flags |= SCHEDULE_MANY;
			return;
		}
		row->site[n++] = site;
	}
}

void active_park(struct queue_message *m, int64_t due)
{
	struct schedule_deferred row = {.id = active_key(slice_str(m->id))};

	row.arrival = (uint32_t)(m->env.arrival / CLOCK_SEC);
	/* Not before its time, but what is to go now does not wait for the next second. */
	row.due = (uint32_t)((due <= qmgr_now() ? due : due + CLOCK_SEC - 1) / CLOCK_SEC);
	row.flags = (uint8_t)((active_is_bounce(m) ? SCHEDULE_BOUNCE : 0) |
			      (m->state == QUEUE_M_HELD ? SCHEDULE_HELD : 0));
	sites(m, &row);
	key_keep(row.id, m->id);
	schedule_defer(qmgr.schedule, &row);
	m->user = NULL;
	/* One that lives in the journal stays loaded until calls->moved. */
	queue_store_unload(m, due);
}

/* ---- Ends. ---- */

static void rcpt_free(struct active_rcpt *r)
{
	mem_free(r->nexthop);
	r->nexthop = NULL;
}

static void no_longer_asking(struct active *a)
{
	forwards -= a->is_forward;
	a->is_asking = a->is_forward = a->is_requeue = false;
}

static void release_slot(struct active *a)
{
	schedule_message_free(qmgr.schedule, &a->scheduled);
}

static void active_free(struct active *a)
{
	for (uint32_t i = 0; i < a->count; i++)
		rcpt_free(&a->rcpts[i]);
	if (a->m != NULL && a->m->user == a)
		a->m->user = NULL;
	held_forget(a);
	ask_forget(a);
	release_slot(a);
	TAILQ_REMOVE(&actives, a, link);
	mem_free(a->rcpts);
	mem_free(a);
	qmgr_work();
}

static void rcpt_done(struct active *a, struct active_rcpt *r)
{
	if (r->state == ACTIVE_DONE)
		return;
	if (r->state == ACTIVE_RESOLVING)
		a->resolving--;
	r->state = ACTIVE_DONE;
	a->open--;
	rcpt_free(r);
}

void active_result(struct active *a, struct active_rcpt *r, enum queue_event_type type,
	struct slice dsn, struct slice host, struct slice text)
{
	struct queue_result result = {
		.type = (uint8_t)type, .dsn = dsn, .host = host, .text = text};
	uint64_t ticket;
	bool expired;
	int err;

	if (a->m == NULL) {
		rcpt_done(a, r);
		return;
	}
	if (probe_is(a->m)) {
		probe_result(a, r, type, text);
		result.type = QUEUE_EV_DELIVERED;
		result.dsn = SLICE_LIT("2.0.0");
	} else if (type == QUEUE_EV_DEFERRED)
		result.due = schedule_backoff(qmgr.schedule, qmgr_now(), a->m->env.arrival,
			active_is_bounce(a->m), &expired);
	err = queue_store_result(a->m, r->index, &result, qmgr_now(), &ticket);
	if (err == ERR_FULL) {
		a->resolving -= r->state == ACTIVE_RESOLVING;
		r->state = ACTIVE_OUT;
		late_add(a, r, &result);
		return;
	}
	rcpt_done(a, r);
	if (err != 0 && err != ERR_STATE)
		qmgr_dies("a result", err);
}

void active_passed(struct active *a, struct active_rcpt *r)
{
	rcpt_done(a, r);
	if (a->m != NULL)
		queue_store_passed(a->m, r->index);
}

size_t active_forwards(void)
{
	return forwards;
}

/* False: the log has no room for it now. */
static bool expire(struct active *a)
{
	struct queue_message *m = a->m;
	int err = 0;

	line_expired(m, m->expire_now);
	for (uint32_t i = 0; i < m->env.recipients && err != ERR_FULL; i++) {
		struct queue_result result = {.type = QUEUE_EV_EXPIRED};
		struct queue_event last = {0};
		uint64_t ticket;

		if (!is_open(&m->r[i]))
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
		err = queue_store_result(m, i, &result, qmgr_now(), &ticket);
		if (err != 0 && err != ERR_FULL)
			log_warning("%s: recipient %u cannot be expired", m->id, i);
	}
	return err != ERR_FULL;
}

static bool is_expired(const struct queue_message *m)
{
	int64_t end = m->env.deadline;
	bool tried = false;

	if (m->expire_now)
		return true;
	if (end == 0)
		end = schedule_lifetime_end(qmgr.schedule, m->env.arrival, active_is_bounce(m));
	if (qmgr_now() < end)
		return false;
	for (uint32_t i = 0; i < m->env.recipients && !tried; i++)
		tried = is_open(&m->r[i]) && m->r[i].due != 0;
	return tried;
}

static bool wants_notice(const struct queue_message *m, uint32_t index)
{
	struct queue_recipient to;

	if (m->r[index].state != QUEUE_R_FAILED || m->r[index].is_asked)
		return false;
	if (m->env.flags & QUEUE_FLAG_PROBE)
		return false;
	queue_recipient_at(&m->env, m->r[index].where, index, &to);
	return to.notify == 0 || (to.notify & QUEUE_NOTIFY_FAILURE) != 0;
}

/* True when a notice was asked for. */
static bool ask_notice(struct active *a)
{
	struct queue_message *m = a->m;
	uint32_t *failed, n = 0;

	if (a->is_told)
		return false;
	failed = mem_array(m->env.recipients, sizeof(*failed));
	for (uint32_t i = 0; i < m->env.recipients; i++)
		if (wants_notice(m, i))
			failed[n++] = i;
	if (n > 0 && !a->has_failed_ask) {
		a->is_asking = true;
		/* It needs no place of the active queue while cleanup works. */
		release_slot(a);
		ask_notice_of(a, failed, n);
	}
	mem_free(failed);
	return n > 0;
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
	release_slot(a);
	return true;
}

/* The next attempt; 0: nobody waits. */
static int64_t next_due(const struct queue_message *m)
{
	int64_t due = 0;

	for (uint32_t i = 0; i < m->env.recipients; i++)
		if (is_open(&m->r[i]) && (due == 0 || m->r[i].due < due))
			due = m->r[i].due > 0 ? m->r[i].due : 1;
	return due;
}

static bool has_failed(const struct queue_message *m)
{
	for (uint32_t i = 0; i < m->env.recipients; i++)
		if (wants_notice(m, i))
			return true;
	return false;
}

static void settle(struct active *a)
{
	struct queue_message *m = a->m;
	int64_t due = next_due(m);
	uint64_t ticket;
	int err;

	if (m->state == QUEUE_M_ENDED) {
		active_free(a);
		return;
	}
	if (await_forward(a))
		return;
	/* One that has been requeued from hold is at its end. */
	if (m->state == QUEUE_M_HELD && (due != 0 || has_failed(m))) {
		active_free(a);
		active_park(m, qmgr_now());
		return;
	}
	if (due != 0 && is_expired(m)) {
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
		active_park(m, qmgr_now() + ASK_AGAIN);
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
	if (a->open > 0 || a->is_asking || a->is_passing)
		return;
	if (a->scheduled != NULL && !schedule_message_is_idle(a->scheduled))
		return;
	if (a->m == NULL)
		active_free(a);
	else
		settle(a);
}

void active_notice_done(struct active *a, bool was_made, const uint32_t *rcpts, uint32_t n)
{
	if (!a->is_asking)
		return;
	a->is_asking = false;
	if (a->m != NULL)
		queue_store_ask_failed(a->m, rcpts, n);
	if (was_made)
		a->is_told = true;
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
	no_longer_asking(a);
	active_check(a);
}

void active_ended(struct queue_message *m)
{
	struct active *a = m->user;

	schedule_deferred_remove(qmgr.schedule, active_key(slice_str(m->id)));
	if (a == NULL)
		return;
	m->user = NULL;
	a->m = NULL;
	ask_forget(a);
	no_longer_asking(a);
	active_check(a);
}

/* ---- On the way out. ---- */

static const struct {
	const char *program, *status, *dsn, *text;
	enum queue_event_type type;
} builtin[] = {
	[TRANSPORT_DISCARD] = {"discard", "sent", "2.0.0", "", QUEUE_EV_DELIVERED},
	[TRANSPORT_ERROR] = {"error", "bounced", "5.0.0", "", QUEUE_EV_FAILED},
	[TRANSPORT_RETRY] = {"error", "deferred", "4.0.0", "", QUEUE_EV_DEFERRED},
};

/* Takes "5.1.1 " off the front of text. */
static struct slice take_status(struct slice *text)
{
	struct slice rest = *text, status = SLICE_NONE;
	size_t dots = 0;

	slice_token(&rest, " ", &status);
	for (size_t i = 0; i < status.len; i++) {
		dots += status.p[i] == '.';
		if (status.p[i] != '.' && (status.p[i] < '0' || status.p[i] > '9'))
			return SLICE_NONE;
	}
	if (dots != 2 || status.len < 5 || status.p[1] != '.')
		return SLICE_NONE;
	*text = slice_trim(rest);
	return status;
}

static void answer(struct active *a, struct active_rcpt *r)
{
	enum transport_kind kind = r->transport->kind;
	struct slice nexthop = active_nexthop(a, r), dsn, status;
	enum queue_event_type type = builtin[kind].type;
	const char *word = builtin[kind].status;
	struct buf text = BUF_INIT(QUEUE_EVENT_TEXT_MAX);
	char code[16];

	/* The text of such a route stands where the next hop stands elsewhere. */
	if (r->nexthop == NULL && active_recipient(a, r).reason.len > 0)
		nexthop = active_recipient(a, r).reason;
	buf_add_slice(&text, slice_first(nexthop, QUEUE_EVENT_TEXT_MAX));
	nexthop = buf_slice(&text);
	status = kind == TRANSPORT_DISCARD ? SLICE_NONE : take_status(&nexthop);
	dsn = status.len > 0 && status.len < sizeof(code) ? status : slice_str(builtin[kind].dsn);
	snprintf(code, sizeof(code), "%.*s", SLICE_FMT(dsn));
	if (kind == TRANSPORT_RETRY)
		code[0] = '4';
	if (kind == TRANSPORT_ERROR && conf_bool(P_soft_bounce)) {
		type = QUEUE_EV_DEFERRED;
		word = "SOFTBOUNCE";
		code[0] = '4';
	}
	line_result(builtin[kind].program, a, r, word, slice_str(code), nexthop);
	active_result(a, r, type, slice_str(code), SLICE_NONE, nexthop);
	buf_clear(&text);
}

static void enqueue(struct active *a, struct active_rcpt *r)
{
	struct buf key = BUF_INIT(QUEUE_STRING_MAX + QUEUE_ADDRESS_MAX);

	if (a->m->r[r->index].state == QUEUE_R_PASSED) {
		rcpt_done(a, r);
		return;
	}
	if (r->transport->kind != TRANSPORT_WORKERS) {
		answer(a, r);
		return;
	}
	if (r->transport->is_off) {
		line_result("error", a, r, "deferred", SLICE_LIT("4.3.2"),
			SLICE_LIT("deferred transport"));
		active_result(a, r, QUEUE_EV_DEFERRED, SLICE_LIT("4.3.2"), SLICE_NONE,
			SLICE_LIT("deferred transport"));
		return;
	}
	buf_add_lower(&key,
		r->transport->by_recipient ? active_recipient(a, r).address : active_nexthop(a, r));
	if (r->state == ACTIVE_RESOLVING)
		a->resolving--;
	r->state = ACTIVE_QUEUED;
	schedule_rcpt_add(
		qmgr.schedule, a->scheduled, r->transport->scheduled, buf_slice(&key), &r->link);
	transport_wanted(r->transport);
	buf_clear(&key);
}

void active_route(
	struct active *a, struct active_rcpt *r, struct slice transport, struct slice nexthop)
{
	mem_free(r->nexthop);
	r->nexthop = slice_dup(nexthop);
	r->transport = transport_get(transport);
	enqueue(a, r);
}

void active_unrouted(struct active *a, struct slice text)
{
	for (uint32_t i = 0; i < a->count; i++) {
		struct active_rcpt *r = &a->rcpts[i];

		if (r->state != ACTIVE_RESOLVING)
			continue;
		line_result("error", a, r, "deferred", SLICE_LIT("4.3.0"), text);
		active_result(a, r, QUEUE_EV_DEFERRED, SLICE_LIT("4.3.0"), SLICE_NONE, text);
	}
	active_check(a);
}

void active_again(struct active *a, struct active_rcpt *r)
{
	/* Held or deleted, or its child was read before its worker had spoken. */
	if (a->m == NULL || a->m->state != QUEUE_M_LIVE ||
		a->m->r[r->index].state == QUEUE_R_PASSED) {
		rcpt_done(a, r);
		return;
	}
	if (++r->deaths > REROUTE_LIMIT) {
		line_result("error", a, r, "deferred", SLICE_LIT("4.3.0"),
			SLICE_LIT("delivery agents died over it"));
		active_result(a, r, QUEUE_EV_DEFERRED, SLICE_LIT("4.3.0"), SLICE_NONE,
			SLICE_LIT("delivery agents died over it"));
		return;
	}
	if (r->transport != NULL) {
		enqueue(a, r);
		return;
	}
	r->state = ACTIVE_RESOLVING;
	r->is_asked = false;
	a->resolving++;
	if (!a->is_passing)
		ask_routes(a);
}

void active_withdraw(struct active *a)
{
	struct schedule_rcpts list = STAILQ_HEAD_INITIALIZER(list);
	struct schedule_rcpt *link;

	if (a->scheduled != NULL)
		schedule_withdraw(qmgr.schedule, a->scheduled, &list);
	while ((link = STAILQ_FIRST(&list)) != NULL) {
		STAILQ_REMOVE_HEAD(&list, next);
		rcpt_done(a, (struct active_rcpt *)(void *)link);
	}
	for (uint32_t i = 0; i < a->count; i++)
		if (a->rcpts[i].state == ACTIVE_RESOLVING)
			rcpt_done(a, &a->rcpts[i]);
	ask_forget_routes(a);
	active_check(a);
}

void active_reroute(void)
{
	struct active *a;

	TAILQ_FOREACH(a, &actives, link)
	{
		struct schedule_rcpts list = STAILQ_HEAD_INITIALIZER(list);
		struct schedule_rcpt *link;
		struct active_rcpt *r;

		if (a->m == NULL || a->scheduled == NULL)
			continue;
		schedule_withdraw(qmgr.schedule, a->scheduled, &list);
		while ((link = STAILQ_FIRST(&list)) != NULL) {
			STAILQ_REMOVE_HEAD(&list, next);
			r = (struct active_rcpt *)(void *)link;
			r->state = ACTIVE_RESOLVING;
			r->is_asked = false;
			a->resolving++;
		}
		ask_routes(a);
	}
}

/* ---- Beginning. ---- */

static struct active *active_new(struct queue_message *m, bool loaded)
{
	struct active *a = mem_alloc(sizeof(*a));
	uint32_t n = 0;

	a->m = m;
	a->since = qmgr_now();
	a->scheduled = schedule_message_add(qmgr.schedule, a, sender_of(m), loaded);
	for (uint32_t i = 0; i < m->env.recipients; i++)
		n += is_open(&m->r[i]) || m->r[i].state == QUEUE_R_OUT;
	a->rcpts = mem_array(n, sizeof(*a->rcpts));
	m->user = a;
	TAILQ_INSERT_TAIL(&actives, a, link);
	return a;
}

/* Fresh mail goes by the routes that cleanup wrote a moment ago, anything older by new ones. */
static void start(struct active *a, bool fresh)
{
	struct queue_message *m = a->m;
	struct queue_recipient to;
	uint32_t offset = 0, index = 0;

	a->is_passing = true;
	while (queue_recipient_next(&m->env, &offset, &index, &to)) {
		struct queue_rstatus *status = &m->r[to.index];
		struct active_rcpt *r = &a->rcpts[a->count];

		if (!is_open(status) && status->state != QUEUE_R_OUT)
			continue;
		*r = (struct active_rcpt){.index = to.index, .state = ACTIVE_RESOLVING};
		a->count++;
		a->open++;
		a->resolving++;
		if (status->state == QUEUE_R_OUT) {
			a->resolving--;
			r->state = ACTIVE_OUT;
			held_attach(a, r);
		} else if (to.flags & QUEUE_RCPT_DROPPED) {
			active_result(a, r, QUEUE_EV_DELIVERED, SLICE_LIT("2.0.0"), SLICE_NONE,
				SLICE_LIT("dropped"));
		} else if (fresh) {
			r->transport = transport_get(to.transport);
			enqueue(a, r);
		}
	}
	a->is_passing = false;
	if (m->is_recovered)
		held_begun(a);
	ask_routes(a);
	active_check(a);
}

static bool has_out(const struct queue_message *m)
{
	for (uint32_t i = 0; i < m->env.recipients; i++)
		if (m->r[i].state == QUEUE_R_OUT)
			return true;
	return false;
}

/* ---- Made anew. ---- */

bool active_is_requeued(struct queue_message *m)
{
	const struct active *a = m->user;

	return a != NULL && a->is_requeue;
}

/* Those that are in no sent job: asked for, each part by a request of its own. */
static int ask_requeue(struct active *a)
{
	struct queue_message *m = a->m;
	uint32_t *list = mem_array(m->env.recipients, sizeof(*list)), n = 0;
	int err = ERR_STATE;

	for (uint32_t i = 0; i < m->env.recipients; i++)
		if (is_open(&m->r[i]) && !m->r[i].is_out && !m->r[i].is_asked)
			list[n++] = i;
	if (n > 0)
		err = queue_store_ask(m, list, n, QUEUE_REASON_REQUEUE);
	for (uint32_t at = 0; err == 0 && at < n; at += QUEUE_PARENTS_MAX)
		ask_requeue_of(
			a, list + at, n - at < QUEUE_PARENTS_MAX ? n - at : QUEUE_PARENTS_MAX);
	mem_free(list);
	return err;
}

int active_requeue(struct queue_message *m)
{
	struct active *a = m->user;
	int err;

	if (a != NULL && a->is_asking)
		return ERR_AGAIN;
	if (a == NULL) {
		schedule_deferred_remove(qmgr.schedule, active_key(slice_str(m->id)));
		a = active_new(m, false);
	}
	/* Until the new one is read nothing here may end the pass. */
	a->is_asking = a->is_requeue = true;
	handout_withdraw(a);
	active_withdraw(a);
	if (schedule_message_is_idle(a->scheduled))
		release_slot(a);
	err = ask_requeue(a);
	if (err != 0) {
		no_longer_asking(a);
		active_check(a);
	}
	return err;
}

void active_requeue_failed(struct active *a, const uint32_t *rcpts, uint32_t n)
{
	if (a->m != NULL) {
		queue_store_ask_failed(a->m, rcpts, n);
		command_requeued(a->m, ERR_SYS);
	}
	no_longer_asking(a);
	active_check(a);
}

void active_begin(struct queue_message *m, bool loaded)
{
	bool fresh = !loaded && !m->is_recovered && m->place == QUEUE_PLACE_JOURNAL;
	int64_t due = next_due(m);
	struct active *a;

	if (m->user != NULL) {
		if (loaded)
			schedule_load_failed(qmgr.schedule);
		return;
	}
	if (m->state != QUEUE_M_LIVE ||
		(!loaded && due > qmgr_now() && !has_out(m) && !has_failed(m))) {
		if (loaded)
			schedule_load_failed(qmgr.schedule);
		if (m->state != QUEUE_M_ENDED)
			active_park(m, due);
		return;
	}
	if (parks_new && !loaded && !has_out(m)) {
		active_park(m, due != 0 ? due : 1);
		return;
	}
	a = active_new(m, loaded);
	if (due != 0 && !has_out(m) && is_expired(m)) {
		active_check(a);
		return;
	}
	if (due != 0)
		line_active(m);
	start(a, fresh);
}

void active_park_new(bool is_on)
{
	parks_new = is_on;
}

void active_load(uint64_t key)
{
	char id[QUEUE_ID_MAX + 1];
	struct queue_message *m;

	if (!active_key_id(key, id)) {
		schedule_load_failed(qmgr.schedule);
		return;
	}
	m = queue_store_get(qmgr.store, slice_str(id));
	if (m != NULL) {
		active_begin(m, true);
		return;
	}
	if (loading == NULL)
		loading = dict_new(KEYS_LIMIT, NULL);
	dict_set(loading, DICT_U64(key), &loading_mark);
	if (queue_store_load(qmgr.store, slice_str(id), QUEUE_PLACE_DEFERRED) != 0)
		active_loaded(id, ERR_SYS, NULL);
}

/* Back into the index, with what is known without its envelope. */
static void try_later(uint64_t key, const char *id, int64_t delay)
{
	struct schedule_deferred row = {.id = key, .flags = SCHEDULE_MANY};

	row.due = row.arrival = (uint32_t)((qmgr_now() + delay) / CLOCK_SEC);
	key_keep(key, id);
	schedule_defer(qmgr.schedule, &row);
}

void active_loaded(const char *id, int result, struct queue_message *m)
{
	uint64_t key = active_key(slice_str(id));

	if (loading == NULL || !dict_remove(loading, DICT_U64(key)))
		return;
	if (result == 0) {
		active_begin(m, true);
		return;
	}
	schedule_load_failed(qmgr.schedule);
	if (result == ERR_SYS)
		try_later(key, id, ASK_AGAIN);
	else if (result == ERR_NOT_FOUND && queue_store_knows(qmgr.store, slice_str(id)))
		/* It is on its way from one directory to another. */
		try_later(key, id, CLOCK_SEC);
}

void active_waiting(const char *id, enum queue_place place, int64_t due)
{
	struct schedule_deferred row = {
		.id = active_key(slice_str(id)),
		.flags = SCHEDULE_MANY | SCHEDULE_FILE,
	};

	if (schedule_deferred_find(qmgr.schedule, row.id) != NULL)
		return;
	if (loading != NULL && dict_get(loading, DICT_U64(row.id)) != NULL)
		return;
	row.due = row.arrival = (uint32_t)(due / CLOCK_SEC);
	if (place != QUEUE_PLACE_DEFERRED)
		row.flags |= SCHEDULE_HELD;
	key_keep(row.id, id);
	schedule_defer(qmgr.schedule, &row);
}

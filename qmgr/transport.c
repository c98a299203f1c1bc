/* SPDX-License-Identifier: ISC */
#include "qmgr/transport.h"

#include "conf/conf.h"
#include "conf/feedback.h"
#include "conf/rate.h"
#include "qmgr/qmgr.h"
#include "util/log.h"
#include "util/mem.h"

/* A worker that died is back sooner than this; a service that was stopped is not. */
#define MISSING (10 * CLOCK_SEC)
#define NAME_LIMIT 128

static TAILQ_HEAD(, transport) transports = TAILQ_HEAD_INITIALIZER(transports);
static struct loop_timer missing_timer;

static bool in_list(const char *list, const char *name)
{
	struct slice rest = slice_str(list), item;

	while (slice_token(&rest, ", \t\r\n", &item))
		if (slice_eq_str(item, name))
			return true;
	return false;
}

static unsigned number(const char *transport, enum param p)
{
	int64_t n = conf_transport_int(transport, p);

	return n < 0 ? 0 : n > 1000000 ? 1000000 : (unsigned)n;
}

static struct schedule_feedback feedback(const char *transport, enum param p)
{
	static const enum schedule_shape shapes[] = {
		[FEEDBACK_CONSTANT] = SCHEDULE_CONSTANT,
		[FEEDBACK_INVERSE] = SCHEDULE_INVERSE,
		[FEEDBACK_INVERSE_SQRT] = SCHEDULE_INVERSE_SQRT,
	};
	struct buf why = BUF_INIT(1000);
	enum feedback_shape shape;
	double base;

	/* It was parsed before the settings came into force. */
	if (feedback_parse(slice_str(conf_transport_str(transport, p)), &why, &base, &shape) != 0)
		log_panic("%s: %s: %s", transport, conf_name(p), buf_str(&why));
	buf_clear(&why);
	return (struct schedule_feedback){base, shapes[shape]};
}

static struct schedule_rate rate(const char *transport, enum param p)
{
	struct buf why = BUF_INIT(1000);
	struct schedule_rate r = {0};

	/* It was parsed before the settings came into force. */
	if (rate_parse(slice_str(conf_transport_str(transport, p)), &why, &r.count, &r.per) != 0)
		log_panic("%s: %s: %s", transport, conf_name(p), buf_str(&why));
	buf_clear(&why);
	return r;
}

static void set(struct transport *t)
{
	struct schedule_limits limits = {
		.recipients = number(t->name, P_transport_destination_recipient_limit),
		.initial_concurrency = number(t->name, P_transport_initial_destination_concurrency),
		.concurrency = number(t->name, P_transport_destination_concurrency_limit),
		.failed_cohorts =
			number(t->name, P_transport_destination_concurrency_failed_cohort_limit),
		.positive =
			feedback(t->name, P_transport_destination_concurrency_positive_feedback),
		.negative =
			feedback(t->name, P_transport_destination_concurrency_negative_feedback),
		.rate_delay = conf_transport_time(t->name, P_transport_destination_rate_delay),
		.transport_rate_delay =
			conf_transport_time(t->name, P_transport_transport_rate_delay),
		.rate = rate(t->name, P_transport_destination_rate_limit),
		.site_rate = rate(t->name, P_transport_site_rate_limit),
		.site_concurrency = number(t->name, P_transport_site_concurrency_limit),
	};

	t->initial = limits.initial_concurrency;
	t->limit = limits.concurrency;
	t->slowest =
		limits.rate.per > limits.site_rate.per ? limits.rate.per : limits.site_rate.per;
	t->by_recipient = limits.recipients == 1;
	t->is_off = in_list(conf_str(P_defer_transports), t->name);
	t->scheduled = schedule_transport_set(qmgr.schedule, slice_str(t->name), &limits);
}

static enum transport_kind kind_of(struct slice name)
{
	return slice_eq_str(name, "discard") ? TRANSPORT_DISCARD
	       : slice_eq_str(name, "error") ? TRANSPORT_ERROR
	       : slice_eq_str(name, "retry") ? TRANSPORT_RETRY
					     : TRANSPORT_WORKERS;
}

static struct transport *find(struct slice name)
{
	struct transport *t;

	TAILQ_FOREACH(t, &transports, link)
	if (slice_eq_str(name, t->name))
		return t;
	return NULL;
}

bool transport_is_known(struct slice name)
{
	return kind_of(name) != TRANSPORT_WORKERS || find(name) != NULL;
}

struct transport *transport_get(struct slice name)
{
	struct transport *t = find(slice_first(name, NAME_LIMIT));

	if (t != NULL)
		return t;
	t = mem_alloc(sizeof(*t));
	t->name = slice_dup(slice_first(name, NAME_LIMIT));
	t->kind = kind_of(slice_str(t->name));
	/* Until a worker says how it is with that service. */
	t->falls_back = slice_trim(slice_str(conf_str(P_smtp_fallback_relay))).len > 0;
	set(t);
	TAILQ_INSERT_TAIL(&transports, t, link);
	return t;
}

void transport_reload(void)
{
	struct transport *t;

	TAILQ_FOREACH(t, &transports, link)
	set(t);
}

static void capacity(struct transport *t)
{
	schedule_transport_capacity(
		qmgr.schedule, t->scheduled, schedule_transport_busy(t->scheduled) + t->room);
}

void transport_room(struct transport *t, int n)
{
	t->room = (unsigned)((int)t->room + n);
	capacity(t);
	qmgr_work();
}

void transport_workers(struct transport *t, int n)
{
	t->workers = (unsigned)((int)t->workers + n);
	if (n > 0) {
		t->missing_since = 0;
		/* Back at once, whatever was thought of it. */
		schedule_transport_suspend(
			qmgr.schedule, t->scheduled, qmgr_time(), qmgr_time(), SLICE_NONE);
	} else if (t->workers == 0) {
		transport_wanted(t);
	}
}

void transport_wanted(struct transport *t)
{
	if (t->workers > 0 || t->missing_since != 0)
		return;
	t->missing_since = qmgr_time();
	if (missing_timer.due == CLOCK_NEVER)
		loop_timer_set(&missing_timer, loop_now() + MISSING);
}

static void check_missing(void *arg)
{
	int64_t now = qmgr_time();
	bool again = false;
	struct transport *t;

	(void)arg;
	TAILQ_FOREACH(t, &transports, link)
	{
		if (t->missing_since == 0 || t->workers > 0)
			continue;
		if (now - t->missing_since < MISSING) {
			again = true;
			continue;
		}
		t->missing_since = 0;
		log_warning("no worker of transport %s: its mail is deferred", log_qs(t->name));
		schedule_transport_suspend(qmgr.schedule, t->scheduled, now,
			now + conf_time(P_transport_retry_time),
			SLICE_LIT("4.3.0 mail transport unavailable"));
	}
	if (again)
		loop_timer_set(&missing_timer, loop_now() + CLOCK_SEC);
	qmgr_work();
}

size_t transport_flush(struct slice name)
{
	struct buf key = BUF_INIT(QUEUE_STRING_MAX);
	uint32_t *sites = NULL;
	struct transport *t;
	size_t n = 0, flushed;

	TAILQ_FOREACH(t, &transports, link)
	n++;
	sites = mem_array(n, sizeof(*sites));
	n = 0;
	buf_add_lower(&key, name);
	TAILQ_FOREACH(t, &transports, link)
	{
		schedule_revive(qmgr.schedule, qmgr_time(), t->scheduled, buf_slice(&key));
		sites[n++] = schedule_site(slice_str(t->name), name);
	}
	flushed = schedule_flush_name(qmgr.schedule, qmgr_time(), sites, n, schedule_domain(name));
	buf_clear(&key);
	mem_free(sites);
	return flushed;
}

void transport_init(void)
{
	loop_timer_init(&missing_timer, check_missing, NULL);
}

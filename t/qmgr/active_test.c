/* SPDX-License-Identifier: ISC */
#include "qmgr/active_private.h"
#include "qmgr/ask.h"
#include "qmgr/command.h"
#include "qmgr/flush.h"
#include "qmgr/handout.h"
#include "qmgr/held.h"
#include "qmgr/late.h"
#include "qmgr/line.h"
#include "qmgr/plan.h"
#include "qmgr/probe.h"
#include "qmgr/qmgr.h"
#include "qmgr/site.h"
#include "conf/conf.h"
#include "t/tap.h"

/*
 * A message that waits while the clock is set: the index of what waits and the beginning of a pass
 * are real, and so is the scheduler; the store and all around are here.
 */
#define START (INT64_C(1700000000) * CLOCK_SEC)
#define DAY (86400 * CLOCK_SEC)
#define WAITS (300 * CLOCK_SEC)

struct qmgr qmgr;
static int64_t now, set; /* the scheduler's time; by how much the clock is ahead of it */
static struct queue_message *in_memory;
static struct queue_envelope envelope;

int64_t qmgr_now(void)
{
	return now + set;
}

int64_t qmgr_time(void)
{
	return now;
}

int64_t qmgr_time_of(int64_t real)
{
	return real - set;
}

int64_t qmgr_clock_set(void)
{
	return set;
}

void qmgr_work(void)
{
}

void qmgr_dies(const char *what, int err)
{
	bail_out("%s: %s", what, err_str(err));
}

/* ---- The store. ---- */

void queue_store_envelope(const struct queue_message *m, struct queue_envelope *env)
{
	*env = envelope;
}

void queue_store_recipient(
	const struct queue_message *m, uint32_t index, struct queue_recipient *to)
{
	queue_recipient_at(&envelope, m->r[index].where, index, to);
}

void queue_store_shift(struct queue_message *m, int64_t change)
{
	for (uint32_t i = 0; i < m->env.recipients; i++)
		m->r[i].due += change;
}

struct queue_message *queue_store_get(const struct queue_store *s, struct slice id)
{
	return in_memory;
}

int queue_store_load(struct queue_store *s, struct slice id, enum queue_place place)
{
	return 0;
}

int queue_store_unload(struct queue_message *m, int64_t due)
{
	in_memory = NULL;
	return 0;
}

bool queue_store_knows(const struct queue_store *s, struct slice id)
{
	return false;
}

int queue_store_ask(
	struct queue_message *m, const uint32_t *rcpts, uint32_t n, enum queue_reason reason)
{
	return ERR_STATE;
}

int queue_store_give_back(struct queue_message *m, uint32_t index, bool was_tried, int64_t at)
{
	return 0;
}

int queue_store_in_doubt(struct queue_message *m, const uint32_t *rcpts, uint32_t n,
	const char *reason, int64_t at, uint64_t *ticket)
{
	return 0;
}

int queue_store_passed(struct queue_message *m, uint32_t index)
{
	return 0;
}

int queue_store_result(struct queue_message *m, uint32_t index, const struct queue_result *result,
	int64_t at, uint64_t *ticket)
{
	return 0;
}

int queue_store_withdraw(struct queue_message *m, const uint32_t *rcpts, uint32_t n, int64_t at)
{
	return 0;
}

/* ---- The rest of qmgr. ---- */

int64_t active_next_due(const struct queue_message *m)
{
	return m->r[0].due;
}

bool active_has_news(const struct queue_message *m)
{
	return false;
}

bool active_is_expired(const struct queue_message *m)
{
	return false;
}

bool active_is_over(const struct active *a)
{
	return false;
}

int64_t plan_longest(void)
{
	return DAY;
}

int64_t plan_due(const struct queue_message *m, const struct plan_case *c)
{
	return 0;
}

int64_t conf_int(enum param p)
{
	return 1000;
}

void active_again(struct active *a, struct active_rcpt *r)
{
}

void active_check(struct active *a)
{
}

void active_enqueue(struct active *a, struct active_rcpt *r)
{
}

void active_no_longer_asking(struct active *a)
{
}

void active_unask(struct active *a, const uint32_t *rcpts, uint32_t n)
{
}

void active_withdraw(struct active *a)
{
}

void ask_forget(const struct active *a)
{
}

void ask_requeue_of(struct active *a, const uint32_t *rcpts, uint32_t n)
{
}

void ask_routes(struct active *a)
{
}

void command_requeued(struct queue_message *m, int result)
{
}

bool flush_is_open(void)
{
	return false;
}

bool flush_means(const struct queue_message *m)
{
	return false;
}

void handout_withdraw(struct active *a)
{
}

void held_attach(struct active *a, struct active_rcpt *r)
{
}

void held_begun(const struct active *a)
{
}

void held_forget(const struct active *a)
{
}

void late_back(struct active *a, struct active_rcpt *r, bool was_tried)
{
}

void late_doubt(struct active *a, struct active_rcpt *r, const char *reason)
{
}

void late_result(struct active *a, struct active_rcpt *r, const struct queue_result *result)
{
}

void line_active(const struct queue_message *m)
{
}

void line_relay_limit(const struct active *a, const struct active_rcpt *r, unsigned attempts)
{
}

void probe_count(int n)
{
}

void probe_result(const struct active *a, struct active_rcpt *r, enum queue_event_type type,
	struct slice text)
{
}

void site_forget(struct active_rcpt *r)
{
}

struct transport *transport_get(struct slice name)
{
	return NULL;
}

/* ---- Tests. ---- */

/* One that waits for one recipient until START + WAITS. */
static struct queue_message *message(void)
{
	static struct buf bytes;
	static struct queue_rstatus status;
	static struct queue_message m;
	struct queue_envelope env = {.id = SLICE_LIT("ABCDEF"), .sender = SLICE_LIT("a@b.test")};
	struct queue_recipient to = {.address = SLICE_LIT("c@d.test")};
	struct buf rcpts = BUF_INIT(1000);

	buf_clear(&bytes);
	bytes = BUF_INIT(1000);
	if (queue_recipient_encode(&rcpts, &to) != 0 ||
		queue_envelope_encode(&bytes, &env, buf_slice(&rcpts)) != 0)
		bail_out("no envelope");
	buf_clear(&rcpts);
	m = (struct queue_message){.id = "ABCDEF", .place = QUEUE_PLACE_DEFERRED, .r = &status};
	status = (struct queue_rstatus){.attempts = 1, .due = START + WAITS};
	if (queue_envelope_decode(buf_slice(&bytes), &envelope) != 0)
		bail_out("no envelope");
	m.env = (struct queue_brief){.sender = envelope.sender, .recipients = 1};
	return in_memory = &m;
}

static void begin(void)
{
	static const struct schedule_settings settings = {
		.message_limit = 10, .recipient_limit = 10};

	now = START;
	set = 0;
	qmgr.schedule = schedule_new(&settings);
}

/* Whether it is asked for now. */
static bool is_asked_for(struct schedule_decision *d)
{
	schedule_next(qmgr.schedule, now, d);
	return d->what == SCHEDULE_LOAD;
}

/* Then it is loaded, and begins. */
static void is_tried_at(struct queue_message *m, int64_t when, const char *what)
{
	struct schedule_decision d;

	now = when - CLOCK_SEC;
	ok(!is_asked_for(&d), "%s: nothing before its time", what);
	now = when;
	if (!ok(is_asked_for(&d), "%s: it is asked for then", what))
		return;
	in_memory = m;
	active_load(d.id, d.flags, (int64_t)d.cookie);
	ok(m->user != NULL, "%s: and begins", what);
	is_int(m->r[0].due, START + WAITS + set, "%s: its time is that of the clock", what);
	if (m->user != NULL)
		active_free(m->user);
}

/* It is in the index, goes out of memory, and comes again as somebody's parent. */
static void test_parent(void)
{
	static const int64_t steps[] = {0, DAY, -DAY};

	for (size_t i = 0; i < COUNT_OF(steps); i++) {
		struct queue_message *m = message();

		begin();
		active_park(m, m->r[0].due);
		set = steps[i];
		in_memory = m;
		active_begin(m);
		ok(m->user == NULL, "set by %lld days: it goes on waiting",
			(long long)(steps[i] / DAY));
		is_tried_at(m, START + WAITS, "its own time");
		schedule_free(&qmgr.schedule);
	}
}

/* The same while it is being loaded for its own sake, with the clock set before and meanwhile. */
static void test_parent_and_load(void)
{
	struct queue_message *m = message();
	struct schedule_decision d;

	begin();
	active_park(m, m->r[0].due);
	set = DAY;
	now = START + WAITS;
	if (!is_asked_for(&d))
		bail_out("not asked for");
	active_load(d.id, d.flags, (int64_t)d.cookie);
	set = 3 * DAY;
	in_memory = m;
	active_begin(m);
	is_int(m->r[0].due, START + WAITS + set, "read for a child first: its time follows");
	active_loaded(m->id, 0, m);
	is_int(m->r[0].due, START + WAITS + set, "and once, also when its own answer comes");
	ok(m->user != NULL, "it begins");
	if (m->user != NULL)
		active_free(m->user);
	schedule_free(&qmgr.schedule);
}

/* A long id is known while its message waits, is loaded and works, and no longer. */
static void test_long_id(void)
{
	static const char id[] = "4dvR5y0C1VzwBzKNq";
	uint64_t key = active_key(slice_str(id));
	struct schedule_decision d;
	char text[QUEUE_ID_MAX + 1];

	begin();
	ok(!active_key_id(key, text), "a long id that was never seen is not known");
	active_waiting(id, QUEUE_PLACE_DEFERRED, START + WAITS);
	ok(active_key_id(key, text), "one that waits is");
	is_str(text, id, "as it is");
	now = START + WAITS;
	in_memory = NULL;
	if (!is_asked_for(&d))
		bail_out("not asked for");
	active_load(d.id, d.flags, (int64_t)d.cookie);
	ok(active_key_id(key, text), "while it is loaded too");
	active_loaded(id, ERR_SYS, NULL);
	ok(active_key_id(key, text) && active_may_come(slice_str(id)),
		"and when it must be tried again");
	now += 120 * CLOCK_SEC;
	if (!is_asked_for(&d))
		bail_out("not asked for again");
	active_load(d.id, d.flags, (int64_t)d.cookie);
	active_loaded(id, ERR_NOT_FOUND, NULL);
	ok(!active_key_id(key, text) && !active_may_come(slice_str(id)),
		"when it is gone it is not");
	is_int(active_key_keep(id), key, "an active one is made known");
	ok(active_key_id(key, text), "and is");
	active_key_drop(key);
	ok(!active_key_id(key, text), "until it ends");
	schedule_free(&qmgr.schedule);
}

int main(void)
{
	test_parent();
	test_parent_and_load();
	test_long_id();
	message()->user = NULL;
	return done_testing();
}

/* SPDX-License-Identifier: ISC */
#include "qmgr/active_index.h"

#include "qmgr/active_private.h"
#include "qmgr/flush.h"
#include "qmgr/names.h"
#include "qmgr/plan.h"
#include "qmgr/qmgr.h"
#include "util/dict.h"
#include "util/mem.h"

#define LOADING_LIMIT 100000000
#define LOAD_AGAIN (60 * CLOCK_SEC)

/* What the index had of a message that the scheduler asked for. */
struct load {
	uint8_t flags;
	int64_t set;
};

static struct dict *loading;   /* key → struct load */
static struct names *long_ids; /* of what has been in the index, until it ends */
static size_t asked;           /* of those that are being loaded */

/* ---- Keys. ---- */

#define LONG_KEY (UINT64_C(1) << 63)

uint64_t active_key(struct slice id)
{
	uint64_t n = 0;

	if (queue_id_is_long(id) || id.len > 15)
		return names_key(id);
	for (size_t i = 0; i < id.len; i++) {
		char c = id.p[i];

		n = n * 16 + (uint64_t)(c >= '0' && c <= '9' ? c - '0' : c - 'A' + 10);
	}
	/* The length tells 0A from A. */
	return n | (uint64_t)id.len << 59;
}

bool active_key_id(uint64_t key, char id[QUEUE_ID_MAX + 1])
{
	size_t len = key >> 59 & 15;

	id[0] = '\0';
	if (key & LONG_KEY)
		return long_ids != NULL && names_get(long_ids, key, id);
	for (size_t i = len; i > 0; i--, key >>= 4)
		id[i - 1] = "0123456789ABCDEF"[key & 15];
	id[len] = '\0';
	return true;
}

uint64_t active_key_keep(const char *id)
{
	uint64_t key = active_key(slice_str(id));

	if (!(key & LONG_KEY))
		return key;
	if (long_ids == NULL)
		long_ids = names_new();
	names_add(long_ids, slice_str(id));
	return key;
}

void active_key_drop(uint64_t key)
{
	(void)schedule_deferred_remove(qmgr.schedule, key);
	if (key & LONG_KEY && long_ids != NULL)
		names_remove(long_ids, key);
}

/* ---- What waits. ---- */

bool active_may_come(struct slice id)
{
	uint64_t key = active_key(id);

	return queue_store_get(qmgr.store, id) != NULL ||
	       schedule_deferred_find(qmgr.schedule, key) != NULL ||
	       (loading != NULL && dict_get(loading, DICT_U64(key)) != NULL);
}

/* False: there is no room for it. */
static bool add_site(uint32_t list[2], uint32_t hash)
{
	for (int i = 0; i < 2; i++) {
		if (list[i] == 0)
			list[i] = hash;
		if (list[i] == hash)
			return true;
	}
	return false;
}

static void sites(const struct queue_message *m, struct schedule_deferred *row)
{
	struct queue_recipient to;

	for (uint32_t i = 0; i < m->env.recipients; i++) {
		struct slice domain, nexthop;

		if (!active_is_open(&m->r[i]))
			continue;
		queue_store_recipient(m, i, &to);
		domain = active_domain(to.address);
		nexthop = to.nexthop.len > 0 ? to.nexthop : domain;
		if (row->domain == 0)
			row->domain = schedule_domain(domain);
		if (row->domain != schedule_domain(domain) ||
			!add_site(row->site, schedule_site(to.transport, nexthop))) {
			row->flags |= SCHEDULE_MANY;
			return;
		}
	}
}

/*
 * The times of its recipients are real ones. A row says by how much the clock had been set when
 * they were right; one that is replaced says what they still are.
 */
static uint64_t times_of(uint64_t key)
{
	const struct schedule_deferred *row = schedule_deferred_find(qmgr.schedule, key);

	return row != NULL ? row->cookie : (uint64_t)qmgr_clock_set();
}

void active_unpark(struct queue_message *m)
{
	uint64_t key = active_key(slice_str(m->id));
	struct load *load = loading != NULL ? dict_get(loading, DICT_U64(key)) : NULL;
	int64_t change = qmgr_clock_set() - (int64_t)times_of(key);

	(void)schedule_deferred_remove(qmgr.schedule, key);
	/* It has come by another way than that which was asked for. */
	if (load != NULL) {
		change = qmgr_clock_set() - load->set;
		load->set = qmgr_clock_set();
	}
	if (change != 0)
		queue_store_shift(m, change);
}

static void park(struct queue_message *m, int64_t due, uint8_t flags)
{
	struct schedule_deferred row = {.id = active_key_keep(m->id)};
	bool is_now = due <= qmgr_now();

	row.cookie = times_of(row.id);
	row.arrival = (uint32_t)(m->env.arrival / CLOCK_SEC);
	/* Not before its time, but what is to go now does not wait for the next second. */
	row.due = (uint32_t)((qmgr_time_of(due) + (is_now ? 0 : CLOCK_SEC - 1)) / CLOCK_SEC);
	row.flags = (uint8_t)(flags | (active_is_bounce(m) ? SCHEDULE_BOUNCE : 0) |
			      (m->state == QUEUE_M_HELD ? SCHEDULE_HELD : 0));
	sites(m, &row);
	schedule_defer(qmgr.schedule, &row);
	m->user = NULL;
	/* One that lives in the journal stays loaded until calls->moved. */
	queue_store_unload(m, due);
}

void active_park(struct queue_message *m, int64_t due)
{
	park(m, due, 0);
}

void active_flush(struct queue_message *m)
{
	park(m, qmgr_now(), SCHEDULE_FLUSHED);
}

/* Back into the index, with what is known without its envelope. */
static void try_later(const char *id, int64_t delay, int64_t set)
{
	struct schedule_deferred row = {
		.id = active_key_keep(id), .cookie = (uint64_t)set, .flags = SCHEDULE_MANY};

	row.due = row.arrival = (uint32_t)((qmgr_time() + delay) / CLOCK_SEC);
	schedule_defer(qmgr.schedule, &row);
}

void active_waiting(const char *id, enum queue_place place, int64_t due)
{
	struct schedule_deferred row = {
		.id = active_key(slice_str(id)),
		.cookie = (uint64_t)qmgr_clock_set(),
		.flags = SCHEDULE_MANY,
	};

	if (schedule_deferred_find(qmgr.schedule, row.id) != NULL)
		return;
	if (loading != NULL && dict_get(loading, DICT_U64(row.id)) != NULL)
		return;
	/* Nobody waits longer: the clock was set back since. */
	if (due > qmgr_now() + plan_longest())
		due = qmgr_now() + plan_longest();
	row.due = row.arrival = (uint32_t)(qmgr_time_of(due > 0 ? due : 0) / CLOCK_SEC);
	if (place != QUEUE_PLACE_DEFERRED)
		row.flags |= SCHEDULE_HELD;
	(void)active_key_keep(id);
	schedule_defer(qmgr.schedule, &row);
	if (flush_is_open())
		schedule_ask(qmgr.schedule, qmgr_time(), row.id);
}

/* ---- What is being loaded. ---- */

void active_load(uint64_t key, uint8_t flags, int64_t set)
{
	char id[QUEUE_ID_MAX + 1];
	struct queue_message *m;
	struct load *load;

	if (!active_key_id(key, id)) {
		schedule_load_failed(qmgr.schedule);
		return;
	}
	m = queue_store_get(qmgr.store, slice_str(id));
	if (m != NULL) {
		active_begin_due(m, flags, set);
		return;
	}
	if (loading == NULL)
		loading = dict_new(LOADING_LIMIT, mem_free);
	load = mem_alloc(sizeof(*load));
	*load = (struct load){flags, set};
	if (dict_set(loading, DICT_U64(key), load) == 0)
		asked += (flags & SCHEDULE_ASKED) != 0;
	if (queue_store_load(qmgr.store, slice_str(id), QUEUE_PLACE_DEFERRED) != 0)
		active_loaded(id, ERR_SYS, NULL);
}

void active_loaded(const char *id, int result, struct queue_message *m)
{
	uint64_t key = active_key(slice_str(id));
	struct load *taken = loading != NULL ? dict_take(loading, DICT_U64(key)) : NULL, load;

	if (taken == NULL)
		return;
	load = *taken;
	mem_free(taken);
	asked -= (load.flags & SCHEDULE_ASKED) != 0;
	if (result == 0) {
		active_begin_due(m, load.flags, load.set);
		return;
	}
	schedule_load_failed(qmgr.schedule);
	if (result == ERR_SYS)
		try_later(id, LOAD_AGAIN, load.set);
	else if (result == ERR_NOT_FOUND && queue_store_knows(qmgr.store, slice_str(id)))
		/* It is on its way from one directory to another. */
		try_later(id, CLOCK_SEC, load.set);
	else
		active_key_drop(key);
}

bool active_has_asked(void)
{
	return asked > 0 || schedule_has_asked(qmgr.schedule);
}

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

void active_walk_loading(void (*visit)(uint64_t key, void *arg), void *arg)
{
	struct walk w = {visit, arg};

	if (loading != NULL)
		dict_walk(loading, walk_loading, &w);
}

/* SPDX-License-Identifier: ISC */
#include "qmgr/memory.h"

#include "qmgr/qmgr.h"
#include "queue/kept.h"
#include "util/dict.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/wire.h"

/*
 * The bytes: version u16, is complete u8 (a clean stop wrote it), then an entry each: transport,
 * key, site, reason (counted), flags u8, window u32, success, failure, cohorts (millionths, u64),
 * dead_until, tokens, tokens_at (u64; real times).
 */
#define VERSION 1
#define TEXT_MAX 8192
#define IS_SITE 1u
#define IS_PROVEN 2u
#define WRITE_AGAIN (30 * CLOCK_SEC)
#define MET_LIMIT 200000

static bool is_new, begins_empty;
static int64_t written, started;
static struct dict *met; /* destinations and sites whose buckets are as they should be */

void memory_touch(void)
{
	is_new = true;
}

/* ---- Writing. ---- */

static uint64_t millionths(double x)
{
	return x <= 0 ? 0 : (uint64_t)(x * 1e6);
}

static bool add(const struct schedule_memory *m, void *arg)
{
	struct buf *out = arg;

	if (out->len + 4 * TEXT_MAX > QUEUE_KEPT_MAX)
		return false;
	wire_counted(out, m->transport);
	wire_counted(out, slice_first(m->key, TEXT_MAX));
	wire_counted(out, m->site);
	wire_counted(out, slice_first(m->reason, TEXT_MAX));
	wire_u8(out, (uint8_t)((m->is_site ? IS_SITE : 0) | (m->proven ? IS_PROVEN : 0)));
	wire_u32(out, m->window);
	wire_u64(out, millionths(m->success));
	wire_u64(out, millionths(m->failure));
	wire_u64(out, millionths(m->cohorts));
	wire_u64(out, m->dead_until > 0 ? (uint64_t)qmgr_real_of(m->dead_until) : 0);
	wire_u64(out, (uint64_t)m->tokens);
	wire_u64(out, (uint64_t)qmgr_real_of(m->tokens_at));
	return !buf_failed(out);
}

static void write_all(bool is_complete)
{
	struct buf out = BUF_INIT(QUEUE_KEPT_MAX);

	wire_u16(&out, VERSION);
	wire_u8(&out, is_complete);
	schedule_memory_walk(qmgr.schedule, qmgr_time(), add, &out);
	if (!buf_failed(&out) && queue_store_keep(qmgr.store, buf_slice(&out), is_complete))
		is_new = false;
	written = loop_now();
	buf_clear(&out);
}

void memory_tick(void)
{
	if (is_new && loop_now() >= written + WRITE_AGAIN)
		write_all(false);
}

void memory_save(void)
{
	write_all(true);
}

/* ---- Reading. ---- */

static bool take(struct reader *r, struct schedule_memory *m)
{
	uint8_t flags;

	*m = (struct schedule_memory){.transport = reader_counted(r, TEXT_MAX)};
	m->key = reader_counted(r, TEXT_MAX);
	m->site = reader_counted(r, TEXT_MAX);
	m->reason = reader_counted(r, TEXT_MAX);
	flags = reader_u8(r);
	m->is_site = flags & IS_SITE;
	m->proven = flags & IS_PROVEN;
	m->window = reader_u32(r);
	m->success = (double)reader_u64(r) / 1e6;
	m->failure = (double)reader_u64(r) / 1e6;
	m->cohorts = (double)reader_u64(r) / 1e6;
	m->dead_until = (int64_t)reader_u64(r);
	m->tokens = (int64_t)reader_u64(r);
	m->tokens_at = (int64_t)reader_u64(r);
	return r->err == 0;
}

/* Everything there is to say of a bucket: it was empty at the start. */
static void empty(struct schedule_memory *m)
{
	if (m->tokens >= 0)
		m->tokens = 0;
	m->tokens_at = started;
}

static struct buf name_of(struct slice transport, struct slice key, bool is_site)
{
	struct buf name = BUF_INIT(2 * TEXT_MAX + 2);

	buf_add_slice(&name, transport);
	buf_add_char(&name, is_site ? '\t' : '\n');
	buf_add_slice(&name, slice_first(key, TEXT_MAX));
	return name;
}

/* True for the first time. */
static bool meets(struct slice transport, struct slice key, bool is_site)
{
	struct buf name = name_of(transport, key, is_site);
	bool is_first = dict_get(met, buf_slice(&name)) == NULL &&
			dict_set(met, buf_slice(&name), met) == 0;

	buf_clear(&name);
	return is_first;
}

static int restore(struct reader *r)
{
	struct schedule_memory m;

	while (r->in.len > 0) {
		if (!take(r, &m))
			return ERR_CORRUPT;
		/* Its settings must be known before. */
		transport_get(m.transport);
		m.dead_until = m.dead_until > 0 ? qmgr_time_of(m.dead_until) : 0;
		m.tokens_at = qmgr_time_of(m.tokens_at);
		if (begins_empty) {
			empty(&m);
			meets(m.transport, m.key, m.is_site);
		}
		if (schedule_memory_restore(qmgr.schedule, qmgr_time(), &m) == ERR_RANGE)
			return ERR_CORRUPT;
	}
	return 0;
}

static int read_all(struct slice bytes)
{
	struct reader r = reader_of(bytes);
	uint16_t version = reader_u16(&r);
	bool is_complete = reader_u8(&r) == 1;

	if (r.err != 0 || version != VERSION)
		return ERR_CORRUPT;
	if (!is_complete)
		begins_empty = true;
	return restore(&r);
}

void memory_start(void)
{
	struct buf bytes = BUF_INIT(QUEUE_KEPT_MAX);
	int err = queue_kept_read(&qmgr.root, &bytes);

	started = qmgr_time();
	written = loop_now();
	met = dict_new(MET_LIMIT, NULL);
	/* Nothing was written and nothing went wrong: it is the first start. */
	begins_empty = !queue_store_was_clean(qmgr.store) || (err != 0 && err != ERR_NOT_FOUND);
	if (err == 0)
		err = read_all(buf_slice(&bytes));
	if (err != 0 && err != ERR_NOT_FOUND) {
		begins_empty = true;
		log_warning("log/kept: %s: what was known of destinations is learnt again",
			err_str(err));
	}
	buf_clear(&bytes);
	/* What is complete now is not when this ends by a kill. */
	write_all(false);
}

/* ---- Not known before. ---- */

static bool is_past(const struct transport *t)
{
	return !begins_empty || qmgr_time() > started + t->slowest;
}

static void restore_empty(struct schedule_memory *m)
{
	empty(m);
	(void)schedule_memory_restore(qmgr.schedule, qmgr_time(), m);
}

void memory_meet(const struct transport *t, struct slice key)
{
	struct schedule_memory m = {
		.transport = slice_str(t->name), .key = key, .window = t->initial};

	if (!is_past(t) && meets(m.transport, key, false))
		restore_empty(&m);
}

void memory_meet_site(const struct transport *t, struct slice key, struct slice site)
{
	struct schedule_memory m = {.transport = slice_str(t->name),
		.key = site.len > 0 ? site : key,
		.site = site,
		.is_site = true};

	if (!is_past(t) && meets(m.transport, m.key, true))
		restore_empty(&m);
}

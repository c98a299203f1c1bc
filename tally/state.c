/* SPDX-License-Identifier: ISC */
#include "tally/state.h"

#include <stdlib.h>

#include "tally/cache.h"
#include "tally/grey.h"
#include "tally/rates.h"
#include "tally/store.h"
#include "util/aged.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/wire.h"

/*
 * Records: a byte that says what, then
 *   S  secret of the keys
 *   B  ban: range, origin u8, since u64, until u64, reason
 *   U  its end: range
 *   R  rate, F failures: window u64, key, step u32, slots u32
 *   M  mark of a failure: key, seen u64
 *   G  greylist: key, first u32, last u32, passes u32
 *   C  cache: key, until u64, value; empty: forgotten
 */
enum {
	RATES_MAX = 1000000,
	FAILURES_MAX = 500000,
	MARKS_MAX = 500000,
	CACHE_MAX = 500000,
	CACHE_BYTES = 64 << 20
};

struct mark {
	struct key key;
	int64_t seen;
};

static struct {
	struct rates *rates, *failures;
	struct aged *marks;
	struct bans *bans;
	struct grey *grey;
	struct cache *cache;
	struct store *store; /* NULL: nothing is kept */
	int64_t now;         /* while the store is read or dumped */
	bool has_secret;
	struct buf record;
} st;

/* ---- records out ---- */

static struct buf *begin(char what)
{
	buf_reset(&st.record);
	wire_u8(&st.record, (uint8_t)what);
	return &st.record;
}

static void end(void)
{
	if (st.store != NULL && !buf_failed(&st.record))
		store_add(st.store, buf_slice(&st.record));
}

static void put_key(struct buf *b, const struct key *k)
{
	wire_u64(b, k->word[0]);
	wire_u64(b, k->word[1]);
}

static void save_ban(const struct ban *ban)
{
	struct buf *b = begin('B');

	(void)buf_add(b, &ban->client, NET_RANGE_WIRE);
	wire_u8(b, ban->origin);
	wire_u64(b, (uint64_t)ban->since * CLOCK_SEC);
	wire_u64(b, (uint64_t)ban->until);
	wire_counted(b, slice_of(ban->reason, ban->reason_len));
	end();
}

static void save_unban(const struct net_range *client)
{
	(void)buf_add(begin('U'), client, NET_RANGE_WIRE);
	end();
}

static void save_row(char what, const struct rates *rates, const struct rate *row)
{
	struct buf *b = begin(what);

	wire_u64(b, (uint64_t)rates_window(rates));
	put_key(b, &row->key);
	wire_u32(b, row->step);
	for (size_t i = 0; i < RATES_SLOTS; i++)
		wire_u32(b, row->n[i]);
	end();
}

static void save_rate(const struct rate *row, void *arg)
{
	(void)arg;
	save_row('R', st.rates, row);
}

static void save_failures(const struct rate *row, void *arg)
{
	(void)arg;
	save_row('F', st.failures, row);
}

static void save_mark(const struct mark *m)
{
	struct buf *b = begin('M');

	put_key(b, &m->key);
	wire_u64(b, (uint64_t)m->seen);
	end();
}

static void save_grey(const struct grey_row *row)
{
	struct buf *b = begin('G');

	put_key(b, &row->key);
	wire_u32(b, row->first);
	wire_u32(b, row->last);
	wire_u32(b, row->passes);
	end();
}

static void visit_grey(const struct grey_row *row, void *arg)
{
	(void)arg;
	save_grey(row);
}

static void save_value(const struct key *k, struct slice value, int64_t until, void *arg)
{
	struct buf *b = begin('C');

	(void)arg;
	put_key(b, k);
	wire_u64(b, (uint64_t)until);
	wire_counted(b, value);
	end();
}

static void save_secret(void)
{
	(void)buf_add(begin('S'), key_secret, sizeof(key_secret));
	end();
}

/* ---- records in ---- */

static struct key read_key(struct reader *r)
{
	struct key k;

	k.word[0] = reader_u64(r);
	k.word[1] = reader_u64(r);
	return k;
}

static bool read_range(struct reader *r, struct net_range *range)
{
	struct slice bytes = reader_bytes(r, NET_RANGE_WIRE);

	if (r->err == 0)
		memcpy(range, bytes.p, NET_RANGE_WIRE);
	return r->err == 0 && range->bits <= 128;
}

static void take_ban(struct reader *r)
{
	struct net_range client = {0};
	bool good = read_range(r, &client);
	uint8_t origin = reader_u8(r);
	int64_t since = (int64_t)reader_u64(r), until = (int64_t)reader_u64(r);
	struct slice reason = reader_counted(r, BAN_REASON_MAX);

	if (good && r->err == 0 && origin < BAN_ORIGINS && until > st.now)
		(void)bans_add(st.bans, &client, (enum ban_origin)origin, since, until, reason);
}

static void take_unban(struct reader *r)
{
	struct net_range client = {0};

	if (read_range(r, &client))
		(void)bans_remove(st.bans, &client);
}

static void take_row(struct reader *r, struct rates *rates)
{
	struct rate row = {0};
	int64_t window = (int64_t)reader_u64(r);

	row.key = read_key(r);
	row.step = reader_u32(r);
	for (size_t i = 0; i < RATES_SLOTS; i++)
		row.n[i] = reader_u32(r);
	if (r->err == 0 && window == rates_window(rates))
		rates_put(rates, &row, st.now);
}

static void take_mark(struct reader *r)
{
	struct key k = read_key(r);
	int64_t seen = (int64_t)reader_u64(r);
	struct mark *m = aged_get(st.marks, &k);

	if (r->err != 0 || seen + rates_window(st.failures) <= st.now)
		return;
	if (m == NULL)
		m = aged_add(st.marks, &k);
	m->seen = seen;
}

static void take_grey(struct reader *r)
{
	struct grey_row row = {.key = read_key(r)};

	row.first = reader_u32(r);
	row.last = reader_u32(r);
	row.passes = reader_u32(r);
	if (r->err == 0)
		grey_put(st.grey, &row, st.now / CLOCK_SEC);
}

static void take_value(struct reader *r)
{
	struct key k = read_key(r);
	int64_t until = (int64_t)reader_u64(r);
	struct slice value = reader_counted(r, TALLY_VALUE_MAX);

	if (r->err == 0)
		cache_put(st.cache, &k, until > st.now ? value : SLICE_NONE, until);
}

static void take_secret(struct reader *r)
{
	struct slice secret = reader_bytes(r, sizeof(key_secret));

	if (r->err == 0) {
		memcpy(key_secret, secret.p, sizeof(key_secret));
		st.has_secret = true;
	}
}

static void apply(struct slice record)
{
	struct reader r = reader_of(record);

	switch (reader_u8(&r)) {
	case 'S': take_secret(&r); break;
	case 'B': take_ban(&r); break;
	case 'U': take_unban(&r); break;
	case 'R': take_row(&r, st.rates); break;
	case 'F': take_row(&r, st.failures); break;
	case 'M': take_mark(&r); break;
	case 'G': take_grey(&r); break;
	case 'C': take_value(&r); break;
	default: break;
	}
}

/* ---- as a whole ---- */

static struct grey_settings grey_of(const struct state_settings *s)
{
	return (struct grey_settings){.retry_window = s->grey_retry,
		.max_age = s->grey_age,
		.auto_allow = s->grey_auto,
		.limit = s->grey_limit};
}

static void forget_all(void)
{
	rates_free(&st.rates);
	rates_free(&st.failures);
	aged_free(&st.marks);
	bans_free(&st.bans);
	grey_free(&st.grey);
	cache_free(&st.cache);
	buf_clear(&st.record);
}

void state_open(
	const struct state_settings *s, int dir, int64_t now, void (*gone)(const struct ban *b))
{
	struct grey_settings grey = grey_of(s);

	forget_all();
	buf_init(&st.record, STORE_RECORD_MAX);
	st.now = now;
	st.has_secret = false;
	st.rates = rates_new(RATES_MAX, s->rate_unit);
	st.failures = rates_new(FAILURES_MAX, s->ban_window);
	st.marks = aged_new(sizeof(struct mark), sizeof(struct key), MARKS_MAX, NULL, NULL);
	st.bans = bans_new(s->ban_limit, gone);
	st.grey = grey_new(&grey);
	st.cache = cache_new(CACHE_MAX, CACHE_BYTES);
	if (dir >= 0)
		st.store = store_open(dir, apply);
	if (!st.has_secret) {
		arc4random_buf(key_secret, sizeof(key_secret));
		save_secret();
	}
	grey_on_change(st.grey, save_grey);
	state_flush();
}

void state_set(const struct state_settings *s)
{
	struct grey_settings grey = grey_of(s);

	rates_set_window(st.rates, s->rate_unit);
	rates_set_window(st.failures, s->ban_window);
	bans_set_limit(st.bans, s->ban_limit);
	grey_set(st.grey, &grey);
}

void state_close(int64_t now)
{
	if (st.store != NULL)
		rates_walk(st.rates, now, save_rate, NULL);
	store_close(&st.store);
}

void state_flush(void)
{
	if (st.store != NULL)
		store_flush(st.store);
}

static void dump(struct store *s)
{
	struct ban_cursor c;
	const struct ban *ban = NULL;

	(void)s;
	save_secret();
	bans_begin(st.bans, &c);
	while ((ban = bans_next(st.bans, &c)) != NULL)
		save_ban(ban);
	bans_end(&c);
	rates_walk(st.rates, st.now, save_rate, NULL);
	rates_walk(st.failures, st.now, save_failures, NULL);
	for (struct mark *m = aged_oldest(st.marks); m != NULL; m = aged_younger(st.marks, m))
		save_mark(m);
	grey_walk(st.grey, st.now / CLOCK_SEC, visit_grey, NULL);
	cache_walk(st.cache, st.now, save_value, NULL);
}

bool state_is_due(void)
{
	return st.store != NULL && store_is_due(st.store);
}

int state_compact(int64_t now)
{
	st.now = now;
	return store_compact(st.store, dump);
}

void state_compacted(void)
{
	store_compacted(st.store);
}

/* ---- rates, failures ---- */

uint64_t state_rate(const struct tally_event *e, uint64_t limit, int64_t now)
{
	char kind = (char)e->kind;
	struct key k = KEY_OF('r', slice_of(&kind, 1), e->service, e->client_addr, e->login);

	return rates_add(st.rates, &k, e->count, limit, now);
}

/* Whether this wrong password was seen from this client within the window. */
static bool is_repeated(const struct tally_failure *f, int64_t now)
{
	struct key k = KEY_OF('m', f->client_addr, slice_of(&f->mark, sizeof(f->mark)));
	struct mark *m = aged_get(st.marks, &k);
	bool known = m != NULL && m->seen + rates_window(st.failures) > now;

	if (m == NULL)
		m = aged_add(st.marks, &k);
	m->seen = now;
	aged_touch(st.marks, m);
	save_mark(m);
	return known;
}

static const char *what_failed(enum tally_kind kind)
{
	if (kind == TALLY_BAD_AUTH)
		return "failed logins";
	return kind == TALLY_ERROR ? "errors" : "unknown recipients";
}

static enum ban_origin origin_of(enum tally_kind kind)
{
	if (kind == TALLY_BAD_AUTH)
		return BAN_AUTH;
	return kind == TALLY_ERROR ? BAN_ERRORS : BAN_UNKNOWN_RECIPIENTS;
}

const struct ban *state_fail(const struct tally_failure *f, int64_t now)
{
	char kind = (char)f->kind;
	struct key k = KEY_OF('f', slice_of(&kind, 1), f->client_addr);
	struct net_range client;
	struct buf reason = BUF_INIT(BAN_REASON_MAX);
	const struct ban *ban = NULL;
	uint64_t n = 0;

	if (f->limit == 0 || net_range_parse(f->client_addr, &client) != 0 ||
		(f->has_mark && is_repeated(f, now)))
		return NULL;
	n = rates_add(st.failures, &k, 1, 0, now);
	if (n >= f->limit) {
		(void)buf_add_fmt(&reason, "%llu %s within %lld s", (unsigned long long)n,
			what_failed(f->kind), (long long)(rates_window(st.failures) / CLOCK_SEC));
		ban = state_ban(&client, origin_of(f->kind), now,
			now + (int64_t)f->ban_seconds * CLOCK_SEC, buf_slice(&reason));
		buf_clear(&reason);
		/* It begins anew behind the ban. */
		save_failures(&(struct rate){.key = k}, NULL);
		rates_forget(st.failures, &k);
	} else if (rates_get(st.failures, &k) != NULL) {
		save_failures(rates_get(st.failures, &k), NULL);
	}
	return ban;
}

/* ---- bans ---- */

struct bans *state_bans(void)
{
	return st.bans;
}

const struct ban *state_ban(const struct net_range *client, enum ban_origin origin, int64_t since,
	int64_t until, struct slice reason)
{
	const struct ban *ban = bans_add(st.bans, client, origin, since, until, reason);

	if (ban != NULL)
		save_ban(ban);
	return ban;
}

bool state_unban(const struct net_range *client)
{
	bool known = bans_get(st.bans, client) != NULL;

	if (known)
		save_unban(client);
	return bans_remove(st.bans, client);
}

const struct ban *state_ban_of(struct slice client, int64_t now)
{
	struct net_range r;
	int bits = 128;

	return net_range_parse(client, &r) == 0 ? bans_find(st.bans, &r, now, &bits) : NULL;
}

/* ---- greylist, cache ---- */

int64_t state_greylist(struct slice client, struct slice sender, struct slice recipient,
	int64_t delay, int64_t now)
{
	struct net_range r;

	if (net_range_parse(client, &r) != 0)
		return 0;
	return grey_ask(st.grey, &r, sender, recipient, delay, now / CLOCK_SEC);
}

void state_keep(struct slice name, struct slice value, int64_t until)
{
	struct key k = KEY_OF('c', name);

	value = slice_first(value, TALLY_VALUE_MAX);
	cache_put(st.cache, &k, value, until);
	save_value(&k, value, until, NULL);
}

bool state_kept(struct slice name, int64_t now, struct slice *value, int64_t *until)
{
	struct key k = KEY_OF('c', name);

	return cache_get(st.cache, &k, now, value, until);
}

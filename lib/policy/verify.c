/* SPDX-License-Identifier: ISC */
#include "policy/verify.h"

#include <stdio.h>

#include "conf/conf.h"
#include "net/loop.h"
#include "policy/names.h"
#include "policy/tally_client.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/wire.h"

enum {
	FIRST_LOOK = 50 * 1000, /* microseconds behind a probe; then twice as long each time */
	PROBE_SECONDS = 1000,   /* so long no other probe is sent for an address */
	TEXT_SHOWN = 250,
	RESULT_LIMIT = TALLY_VALUE_MAX
};

/* Behind TALLY_PROBE_KEY's name space: that a probe is under way. */
#define SENT_KEY "probing:"

static bool (*probe)(struct slice sender, struct slice address);
static const char source;

void verify_set_prober(bool (*send)(struct slice sender, struct slice address))
{
	probe = send;
}

/* The sender. */

/* Letters and digits of the time's turn: who collects such addresses has old ones. */
static void add_turn(struct buf *out, int64_t turn)
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
	char text[16];
	size_t at = sizeof(text);

	do {
		text[--at] = digits[turn % 36];
		turn /= 36;
	} while (turn > 0 && at > 0);
	(void)buf_add(out, text + at, sizeof(text) - at);
}

static void add_sender(struct buf *out, int64_t turns_ago)
{
	struct slice configured = slice_str(conf_str(P_address_verify_sender));
	int64_t ttl = conf_time(P_address_verify_sender_ttl);
	ptrdiff_t at = slice_find_last(configured, '@');
	struct slice local = at < 0 ? configured : slice_first(configured, (size_t)at);

	buf_reset(out);
	if (configured.len == 0 || slice_eq_str(configured, "<>"))
		return;
	(void)buf_add_slice(out, local);
	if (ttl > 0)
		add_turn(out, clock_real() / ttl - turns_ago);
	if (at >= 0)
		(void)buf_add_slice(out, slice_from(configured, (size_t)at));
}

void verify_sender(struct buf *out)
{
	add_sender(out, 0);
}

bool verify_is_sender(struct slice address, struct slice origin)
{
	struct buf sender = BUF_INIT(2048);
	const char *configured = conf_str(P_address_verify_sender);
	bool is_one = false;

	/* Nearly every recipient ends here. */
	if (address.len == 0 || *configured == '\0' ||
		!slice_case_eq(slice_first(address, 1), slice_first(slice_str(configured), 1)))
		return false;
	for (int64_t ago = 0; ago < 2 && !is_one; ago++) {
		add_sender(&sender, ago);
		if (sender.len > 0 && slice_find(buf_slice(&sender), '@') < 0 && origin.len > 0)
			(void)buf_add_fmt(&sender, "@%.*s", SLICE_FMT(origin));
		is_one = sender.len > 0 && slice_case_eq(address, buf_slice(&sender));
	}
	buf_clear(&sender);
	return is_one;
}

/* What tally knows. */

struct known {
	enum proto_result result; /* OK, FAILED, DEFERRED; UNTRIED: nothing */
	int64_t age;              /* microseconds */
	struct slice text;
};

static void read_known(struct slice value, struct known *k)
{
	struct reader in = reader_of(value);
	uint8_t result = reader_u8(&in);
	int64_t when = (int64_t)reader_u64(&in);
	int64_t lifetime;

	*k = (struct known){.result = RESULT_UNTRIED};
	if (in.err != 0 || result > RESULT_FAILED)
		return;
	k->age = clock_real() - when;
	lifetime = conf_time(result == RESULT_OK ? P_address_verify_positive_expire_time
						 : P_address_verify_negative_expire_time);
	if (k->age > lifetime)
		return;
	k->result = (enum proto_result)result;
	k->text = in.in;
}

static bool is_due(const struct known *k)
{
	if (k->result == RESULT_UNTRIED)
		return true;
	return k->age > conf_time(k->result == RESULT_OK ? P_address_verify_positive_refresh_time
							 : P_address_verify_negative_refresh_time);
}

/*
 * One address that is looked for. It asks what is known; where that is nothing, or old, whether a
 * probe is under way; sends one; and looks again until there is an answer, or the time is over.
 */
struct search {
	struct later_answer *answer;
	struct tally_question *question;
	struct loop_timer timer;
	struct buf address, found; /* found: what tally said last */
	int64_t begun, until, pause;
	bool has_probed, has_nothing;
};

static void look(void *arg);

static void search_free(struct search *s)
{
	tally_cancel(&s->question);
	loop_timer_clear(&s->timer);
	buf_clear(&s->address);
	buf_clear(&s->found);
	mem_free(s);
}

static void withdrawn(void *arg)
{
	search_free(arg);
}

static void finish(struct search *s)
{
	struct later_answer *answer = s->answer;
	struct buf found = s->found;

	if (s->has_nothing)
		buf_reset(&found);
	buf_init(&s->found, RESULT_LIMIT);
	search_free(s);
	later_done(answer, 0, buf_slice(&found));
	buf_clear(&found);
}

/* A key of this address; out is terminated and as long as TALLY_KEY_MAX. */
static struct slice key_of(const struct search *s, const char *space, struct buf *out)
{
	buf_reset(out);
	(void)buf_add_str(out, space);
	(void)buf_add_lower(out, buf_slice(&s->address));
	return buf_slice(out);
}

static void send_probe(struct search *s)
{
	struct buf sender = BUF_INIT(2048), key = BUF_INIT(TALLY_KEY_MAX);

	verify_sender(&sender);
	if (probe != NULL && probe(buf_slice(&sender), buf_slice(&s->address)))
		tally_cache_put(key_of(s, SENT_KEY, &key), SLICE_LIT("1"),
			clock_real() + PROBE_SECONDS * CLOCK_SEC);
	buf_clear(&sender);
	buf_clear(&key);
}

/* Behind a probe: what is known is enough, or its result is waited for. */
static void go_on(struct search *s)
{
	if (!s->has_nothing || loop_now() >= s->until) {
		finish(s);
		return;
	}
	s->pause = s->pause == 0 ? FIRST_LOOK : 2 * s->pause;
	if (s->pause > conf_time(P_address_verify_poll_delay))
		s->pause = conf_time(P_address_verify_poll_delay);
	loop_timer_set(
		&s->timer, loop_now() + s->pause < s->until ? loop_now() + s->pause : s->until);
}

static void is_under_way(void *arg, const struct tally_reply *r)
{
	struct search *s = arg;

	s->question = NULL;
	if (!r->is_found)
		send_probe(s);
	s->has_probed = true;
	go_on(s);
}

static void looked(void *arg, const struct tally_reply *r)
{
	struct search *s = arg;
	struct buf key = BUF_INIT(TALLY_KEY_MAX);
	struct known k;

	s->question = NULL;
	buf_reset(&s->found);
	if (r->is_found)
		(void)buf_add_slice(&s->found, r->value);
	read_known(buf_slice(&s->found), &k);
	s->has_nothing = k.result == RESULT_UNTRIED ||
			 (k.result != RESULT_OK && !conf_bool(P_address_verify_negative_cache) &&
				 k.age > loop_now() - s->begun);
	if ((is_due(&k) || s->has_nothing) && !s->has_probed)
		s->question = tally_cache_get(key_of(s, SENT_KEY, &key), is_under_way, s);
	else
		go_on(s);
	buf_clear(&key);
}

static void look(void *arg)
{
	struct search *s = arg;
	struct buf key = BUF_INIT(TALLY_KEY_MAX);

	s->question = tally_cache_get(key_of(s, TALLY_PROBE_KEY, &key), looked, s);
	buf_clear(&key);
}

static struct later_answer *begin(struct slice address, struct later *l)
{
	struct search *s = mem_alloc(sizeof(*s));
	int64_t looks = conf_int(P_address_verify_poll_count) - 1;

	s->answer = later_add(l, &source, address, withdrawn, s);
	if (s->answer == NULL) {
		mem_free(s);
		return NULL;
	}
	buf_init(&s->address, TALLY_KEY_MAX);
	buf_init(&s->found, RESULT_LIMIT);
	(void)buf_add_slice(&s->address, address);
	s->begun = loop_now();
	s->until = s->begun + looks * conf_time(P_address_verify_poll_delay);
	loop_timer_init(&s->timer, look, s);
	look(s);
	return s->answer;
}

static int ask(struct slice address, struct later *l, struct known *k)
{
	struct later_answer *a = l != NULL ? later_find(l, &source, address) : NULL;
	struct slice value;

	*k = (struct known){.result = RESULT_UNTRIED};
	if (a == NULL && l != NULL)
		a = begin(address, l);
	if (a == NULL)
		return ERR_TEMP;
	if (!later_is_done(a))
		return ERR_LATER;
	(void)later_result(a, &value);
	read_known(value, k);
	return 0;
}

/* The restrictions. */

struct rules {
	const char *status, *reason, *action;
	int reject_code, defer_code;
};

static enum restrict_result refuse(struct policy_eval *e, struct policy_about about,
	const struct rules *rules, const struct known *k)
{
	int code = k->result == RESULT_FAILED ? rules->reject_code : rules->defer_code;
	struct slice text = k->result == RESULT_UNTRIED
				    ? SLICE_LIT("Address verification in progress")
				    : k->text;

	if (code >= 400 && *rules->reason != '\0')
		text = slice_str(rules->reason);
	switch (code / 100) {
	case 2: return RESTRICT_DUNNO;
	case 4:
		return names_defer(e, rules->action, code, rules->status,
			"<%.*s>: %s rejected: unverified address: %.*s", SLICE_FMT(about.name),
			about.class, SLICE_FMT(slice_first(text, TEXT_SHOWN)));
	default:
		return policy_reject(e, code, rules->status,
			"<%.*s>: %s rejected: undeliverable address: %.*s", SLICE_FMT(about.name),
			about.class, SLICE_FMT(text));
	}
}

static int verify(struct policy_eval *e, struct policy_about about, struct slice address,
	const struct rules *rules, enum restrict_result *result)
{
	struct known k;
	int err;

	if (about.name.len == 0)
		return 0;
	err = ask(address, e->later, &k);
	if (err == ERR_LATER)
		return err;
	if (err != 0)
		*result = names_defer(e, rules->action, 450, rules->status,
			"<%.*s>: %s rejected: address verification problem", SLICE_FMT(about.name),
			about.class);
	else if (k.result != RESULT_OK)
		*result = refuse(e, about, rules, &k);
	return 0;
}

static int reject_unverified_sender(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	const struct rules rules = {"4.1.7", conf_str(P_unverified_sender_reject_reason),
		conf_str(P_unverified_sender_tempfail_action),
		(int)conf_int(P_unverified_sender_reject_code),
		(int)conf_int(P_unverified_sender_defer_code)};

	(void)item;
	return verify(e, (struct policy_about){e->facts->sender, policy_sender}, e->sender, &rules,
		result);
}

static int reject_unverified_recipient(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	const struct rules rules = {"4.1.1", conf_str(P_unverified_recipient_reject_reason),
		conf_str(P_unverified_recipient_tempfail_action),
		(int)conf_int(P_unverified_recipient_reject_code),
		(int)conf_int(P_unverified_recipient_defer_code)};

	(void)item;
	return verify(e, (struct policy_about){e->facts->recipient, policy_recipient}, e->recipient,
		&rules, result);
}

const struct restriction verify_rows[] = {
	{"reject_unverified_sender", RESTRICT_NONE, 0, reject_unverified_sender, NULL, NULL},
	{"reject_unverified_recipient", RESTRICT_NONE, 0, reject_unverified_recipient, NULL, NULL},
	{NULL, RESTRICT_NONE, 0, NULL, NULL, NULL},
};

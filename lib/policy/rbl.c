/* SPDX-License-Identifier: ISC */
#include "policy/rbl.h"

#include <arpa/inet.h>

#include "conf/conf.h"
#include "conf/expand.h"
#include "dns/packet.h"
#include "mail/address.h"
#include "policy/facts.h"
#include "policy/names.h"
#include "util/err.h"
#include "util/mem.h"

/* Restrictions that ask DNS lists of addresses and of names. */

enum { REASON_MAX = 500, REPLY_MAX = 4096, VALUE_MAX = 2048 };

/* Patterns. */

static void want(uint32_t part[8], unsigned from, unsigned to)
{
	for (unsigned n = from; n <= to; n++)
		part[n / 32] |= UINT32_C(1) << n % 32;
}

static bool take_number(struct slice *rest, unsigned *n)
{
	size_t len = 0;
	uint64_t value = 0;

	while (len < rest->len && rest->p[len] >= '0' && rest->p[len] <= '9')
		len++;
	if (slice_u64(slice_first(*rest, len), 0, 255, &value) != 0)
		return false;
	*rest = slice_from(*rest, len);
	*n = (unsigned)value;
	return true;
}

static bool take(struct slice *rest, const char *text)
{
	if (!slice_starts(*rest, text))
		return false;
	*rest = slice_from(*rest, strlen(text));
	return true;
}

/* "1..3;7" up to the closing bracket. */
static bool take_ranges(struct slice *rest, uint32_t part[8])
{
	unsigned from, to;

	do {
		if (!take_number(rest, &from))
			return false;
		to = from;
		if (take(rest, "..") && (!take_number(rest, &to) || to < from))
			return false;
		want(part, from, to);
	} while (take(rest, ";"));
	return take(rest, "]");
}

static bool take_part(struct slice *rest, uint32_t part[8])
{
	unsigned n;

	if (take(rest, "["))
		return take_ranges(rest, part);
	if (!take_number(rest, &n))
		return false;
	want(part, n, n);
	return true;
}

int rbl_pattern_parse(struct slice text, struct rbl_pattern *p, struct buf *why)
{
	struct slice rest = text;
	bool good = true;

	*p = (struct rbl_pattern){0};
	for (int i = 0; i < 4 && good; i++)
		good = (i == 0 || take(&rest, ".")) && take_part(&rest, p->part[i]);
	if (good && rest.len == 0)
		return 0;
	(void)buf_add_fmt(why,
		"bad address pattern \"%.*s\"; expected four numbers or [ranges], as in "
		"127.0.0.[2;4..11]",
		SLICE_FMT(text));
	return ERR_SYNTAX;
}

bool rbl_pattern_match(const struct rbl_pattern *p, const uint8_t address[4])
{
	for (int i = 0; i < 4; i++)
		if ((p->part[i][address[i] / 32] >> address[i] % 32 & 1) == 0)
			return false;
	return true;
}

int rbl_query_name(struct slice address, struct slice zone, struct buf *out)
{
	char text[NAMES_ADDRESS_TEXT], name[DNS_NAME_MAX + 1];
	uint8_t bytes[16];
	size_t len = 0;

	buf_reset(out);
	if (address.len == 0 || address.len >= sizeof(text))
		return ERR_SYNTAX;
	memcpy(text, address.p, address.len);
	text[address.len] = '\0';
	if (inet_pton(AF_INET, text, bytes) == 1)
		len = 4;
	else if (inet_pton(AF_INET6, text, bytes) == 1)
		len = 16;
	if (dns_reverse_name(slice_of(bytes, len), name) != 0)
		return ERR_SYNTAX;
	/* As for PTR, but in another zone. */
	struct slice labels = slice_str(name);
	labels.len -= strlen(len == 4 ? "in-addr.arpa" : "ip6.arpa");
	(void)buf_add_slice(out, labels);
	return buf_add_slice(out, zone);
}

/* A list: what stands behind the restriction. */

struct list {
	struct slice zone; /* in item->text */
	bool has_pattern;
	struct rbl_pattern pattern;
	struct map_list *replies; /* rbl_reply_maps */
};

static void close_list(struct policy_item *item)
{
	struct list *list = item->state;

	if (list != NULL)
		map_list_close(&list->replies);
	mem_free(list);
	item->state = NULL;
}

static int open_list(struct policy *p, struct policy_item *item, struct buf *why)
{
	struct list *list = mem_alloc(sizeof(*list));
	struct slice text = slice_str(item->text);
	ptrdiff_t at = slice_find(text, '=');
	int err = 0;

	(void)p;
	item->state = list;
	list->zone = at < 0 ? text : slice_first(text, (size_t)at);
	if (!address_is_domain(list->zone)) {
		(void)buf_add_fmt(why, "restriction %s requires a domain name, not \"%.*s\"",
			item->row->name, SLICE_FMT(list->zone));
		return ERR_SYNTAX;
	}
	if (at >= 0) {
		list->has_pattern = true;
		err = rbl_pattern_parse(slice_from(text, (size_t)at + 1), &list->pattern, why);
	}
	if (err == 0)
		err = map_list_open(conf_str(P_rbl_reply_maps), why, &list->replies);
	return err;
}

enum listed { UNLISTED, LISTED, UNKNOWN };

static bool is_wanted(const struct list *list, struct dns_answer *a)
{
	struct dns_record r;

	while (dns_answer_next(a, &r))
		if (!list->has_pattern ||
			rbl_pattern_match(&list->pattern, (const uint8_t *)r.data.p))
			return true;
	return false;
}

static int find(
	struct policy_eval *e, const struct list *list, struct slice query, enum listed *listed)
{
	struct dns_answer a;
	int err = names_ask(e, DNS_A, query, &a);

	*listed = UNLISTED;
	if (err != 0)
		return err;
	if (a.status == DNS_OK) {
		*listed = is_wanted(list, &a) ? LISTED : UNLISTED;
	} else if (a.status == DNS_TEMP || a.status == DNS_BAD) {
		policy_note(e, POLICY_WARNING, SLICE_NONE, "%.*s: RBL lookup error: %s",
			SLICE_FMT(query), dns_status_str(a.status));
		*listed = UNKNOWN;
	} else if (a.status == DNS_FILTERED) {
		policy_note(e, POLICY_WARNING, SLICE_NONE,
			"%.*s: RBL lookup error: Error looking up name=%.*s type=A: "
			"DNS reply filter drops all results",
			SLICE_FMT(query), SLICE_FMT(query));
		*listed = UNKNOWN;
	}
	return 0;
}

/* The refusal's text. */

struct reply {
	struct policy_eval *e;
	struct slice zone, what, reason;
	const char *class;
	struct buf value; /* what lookup has given last */
};

static const char *lookup(void *arg, struct slice name)
{
	struct reply *r = arg;
	struct slice value;

	if (slice_eq_str(name, "rbl_code")) {
		buf_reset(&r->value);
		(void)buf_add_fmt(&r->value, "%d", (int)conf_int(P_maps_rbl_reject_code));
		return buf_str(&r->value);
	}
	if (slice_eq_str(name, "rbl_domain"))
		value = r->zone;
	else if (slice_eq_str(name, "rbl_reason") || slice_eq_str(name, "rbl_txt"))
		value = r->reason;
	else if (slice_eq_str(name, "rbl_what"))
		value = r->what;
	else if (slice_eq_str(name, "rbl_class"))
		value = slice_str(r->class);
	else
		return facts_lookup(r->e->facts, name, &r->value);
	return facts_quote(value, &r->value);
}

static enum restrict_result refuse(struct policy_eval *e, const char *class, struct slice reply)
{
	struct slice text = slice_from(reply, 4);
	char status[16], fitted[16];
	uint64_t code = 0;

	if (reply.len < 4 || reply.p[3] != ' ' ||
		slice_u64(slice_first(reply, 3), 400, 599, &code) != 0) {
		policy_note(e, POLICY_WARNING, SLICE_NONE,
			"rbl response code configuration error: %.*s", SLICE_FMT(reply));
		return policy_reject(e, 450, "4.7.1", "Service unavailable");
	}
	policy_split_status(&text, "4.7.1", status);
	if (text.len == 0)
		text = SLICE_LIT("Service unavailable");
	return policy_reject(
		e, (int)code, policy_status(class, status, fitted), "%.*s", SLICE_FMT(text));
}

/* The template of this list, or the one for all. 0, ERR_LATER, ERR_TEMP. */
static int expand_reply(struct reply *r, const struct policy_item *item, struct buf *out)
{
	const struct list *list = item->state;
	const struct expand by = {.lookup = lookup, .arg = r};
	struct buf template = BUF_INIT(REPLY_MAX);
	int err = map_list_find(list->replies, slice_str(item->text), r->e->later, &template);

	if (err == 0 && expand(&by, buf_slice(&template), out) != 0) {
		policy_note(r->e, POLICY_WARNING, SLICE_NONE,
			"bad rbl reply template for domain %s: %s", item->text, buf_str(&template));
		buf_reset(out);
		err = ERR_NOT_FOUND;
	}
	if (err == ERR_NOT_FOUND)
		err = expand(&by, slice_str(conf_str(P_default_rbl_reply)), out) == 0 ? 0
										      : ERR_TEMP;
	buf_clear(&template);
	return err;
}

/* All the list's texts for this entry, one behind the other. */
static int find_reason(struct policy_eval *e, struct slice query, struct buf *reason)
{
	struct dns_answer a;
	struct dns_record r;
	int err = names_ask(e, DNS_TXT, query, &a);

	while (err == 0 && reason->len < REASON_MAX && dns_answer_next(&a, &r)) {
		if (reason->len > 0)
			(void)buf_add_str(reason, " / ");
		(void)buf_add_slice(
			reason, slice_first(r.data,
					reason->len < REASON_MAX ? REASON_MAX - reason->len : 0));
	}
	return err;
}

static int refuse_listed(struct policy_eval *e, const struct policy_item *item,
	struct policy_about about, struct slice query, enum restrict_result *result)
{
	const struct list *list = item->state;
	struct reply r = {.e = e, .zone = list->zone, .what = about.name, .class = about.class};
	struct buf reason = BUF_INIT(VALUE_MAX), reply = BUF_INIT(REPLY_MAX);
	int err = find_reason(e, query, &reason);

	buf_init(&r.value, 2 * REPLY_MAX);
	r.reason = buf_slice(&reason);
	if (err == 0)
		err = expand_reply(&r, item, &reply);
	if (err == 0)
		*result = refuse(e, about.class, buf_slice(&reply));
	else if (err != ERR_LATER)
		*result = policy_reject_table(e, e->about);
	buf_clear(&r.value);
	buf_clear(&reason);
	buf_clear(&reply);
	return err == ERR_LATER ? err : 0;
}

static int reject_listed(struct policy_eval *e, const struct policy_item *item,
	struct policy_about about, struct slice query, enum restrict_result *result)
{
	enum listed listed;
	int err = find(e, item->state, query, &listed);

	if (err == 0 && listed == LISTED)
		err = refuse_listed(e, item, about, query, result);
	return err;
}

/* A list that permits must not make a relay of us. */
static int permit_listed(struct policy_eval *e, const struct policy_item *item,
	struct policy_about about, struct slice query, enum restrict_result *result)
{
	enum listed listed;
	bool own = true;
	int err = 0;

	if (e->stage == POLICY_RCPT)
		err = policy_is_own_destination(e, &own);
	if (err != 0 || !own)
		return err;
	err = find(e, item->state, query, &listed);
	if (err == 0 && listed == UNKNOWN)
		*result = policy_defer_if_reject(e, 450, "4.7.1",
			"<%.*s>: %s rejected: Service unavailable", SLICE_FMT(about.name),
			about.class);
	else if (err == 0 && listed == LISTED)
		*result = policy_permit(e, slice_str(item->row->name), about);
	return err;
}

typedef int listed_fn(struct policy_eval *e, const struct policy_item *item,
	struct policy_about about, struct slice query, enum restrict_result *result);

static int with_address(struct policy_eval *e, const struct policy_item *item, listed_fn *decide,
	enum restrict_result *result)
{
	const struct list *list = item->state;
	struct buf query = BUF_INIT(VALUE_MAX);
	int err = 0;

	if (rbl_query_name(e->facts->client_addr, list->zone, &query) == 0)
		err = decide(e, item, (struct policy_about){e->facts->client_addr, policy_client},
			buf_slice(&query), result);
	buf_clear(&query);
	return err;
}

static bool is_number(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return true;
}

/* Lists of names mind addresses: what ends in a number is not asked. */
static bool is_asked(struct slice domain)
{
	return address_is_domain(domain) &&
	       !is_number(slice_from(domain, (size_t)(slice_find_last(domain, '.') + 1)));
}

static int with_domain(struct policy_eval *e, const struct policy_item *item, listed_fn *decide,
	struct policy_about about, enum restrict_result *result)
{
	const struct list *list = item->state;
	struct slice domain = names_domain(about.name);
	struct buf query = BUF_INIT(VALUE_MAX);
	int err = 0;

	if (is_asked(domain)) {
		(void)buf_add_fmt(&query, "%.*s.%.*s", SLICE_FMT(domain), SLICE_FMT(list->zone));
		err = decide(e, item, about, buf_slice(&query), result);
	}
	buf_clear(&query);
	return err;
}

/* The restrictions. */

static int reject_rbl_client(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	return with_address(e, item, reject_listed, result);
}

static int permit_dnswl_client(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	return with_address(e, item, permit_listed, result);
}

static int permit_rhswl_client(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	struct slice name = e->facts->client_name;

	return names_is_known(name) ? with_domain(e, item, permit_listed,
					      (struct policy_about){name, policy_client}, result)
				    : 0;
}

static int reject_name(struct policy_eval *e, const struct policy_item *item, struct slice name,
	const char *class, enum restrict_result *result)
{
	return with_domain(e, item, reject_listed, (struct policy_about){name, class}, result);
}

static int reject_rhsbl_client(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	struct slice name = e->facts->client_name;

	return names_is_known(name) ? reject_name(e, item, name, policy_client, result) : 0;
}

static int reject_rhsbl_reverse(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	struct slice name = e->facts->reverse_name;

	return names_is_known(name) ? reject_name(e, item, name, policy_reverse_client, result) : 0;
}

static int reject_rhsbl_helo(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	return reject_name(e, item, e->facts->helo, policy_helo, result);
}

static int reject_rhsbl_sender(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	return reject_name(e, item, e->facts->sender, policy_sender, result);
}

static int reject_rhsbl_recipient(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	return reject_name(e, item, e->facts->recipient, policy_recipient, result);
}

const struct restriction rbl_rows[] = {
	{"reject_rbl_client", RESTRICT_TEXT, 0, reject_rbl_client, open_list, close_list},
	{"permit_dnswl_client", RESTRICT_TEXT, 0, permit_dnswl_client, open_list, close_list},
	{"permit_rhswl_client", RESTRICT_TEXT, 0, permit_rhswl_client, open_list, close_list},
	{"reject_rhsbl_client", RESTRICT_TEXT, 0, reject_rhsbl_client, open_list, close_list},
	{"reject_rhsbl_reverse_client", RESTRICT_TEXT, 0, reject_rhsbl_reverse, open_list,
		close_list},
	{"reject_rhsbl_helo", RESTRICT_TEXT, 0, reject_rhsbl_helo, open_list, close_list},
	{"reject_rhsbl_sender", RESTRICT_TEXT, 0, reject_rhsbl_sender, open_list, close_list},
	{"reject_rhsbl_recipient", RESTRICT_TEXT, 0, reject_rhsbl_recipient, open_list, close_list},
	{NULL, RESTRICT_NONE, 0, NULL, NULL, NULL},
};

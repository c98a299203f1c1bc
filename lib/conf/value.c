/* SPDX-License-Identifier: ISC */
#include <arpa/inet.h>
#include <ctype.h>
#include <limits.h>

#include "conf/feedback.h"
#include "conf/line.h"
#include "conf/plans.h"
#include "conf/rate.h"
#include "conf/value.h"
#include "util/clock.h"
#include "util/err.h"

static const struct {
	const char *type;
	bool is_supported;
} types[] = {
#define M(type, is_supported) {#type, is_supported},
#include "conf/table_types.def"
#undef M
};

enum argument { NONE, TABLE, NAME, SERVER, NUMBER };

static const struct {
	const char *name;
	enum argument argument;
	bool is_supported;
} restrictions[] = {
#define R(name, argument, is_supported) {#name, argument, is_supported},
#include "conf/restrictions.def"
#undef R
};

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static int parse_bool(struct slice s, struct buf *why, int64_t *number)
{
	*number = slice_case_eq_str(s, "yes");
	if (*number == 1 || slice_case_eq_str(s, "no"))
		return 0;
	buf_add_fmt(why, "\"%.*s\" is neither; expected yes or no", SLICE_FMT(s));
	return ERR_SYNTAX;
}

static void add_bounds(struct buf *why, const struct param_row *row, const char *unit)
{
	if (row->max == INT64_MAX)
		buf_add_fmt(why, "%lld%s or more", (long long)row->min, unit);
	else
		buf_add_fmt(why, "%lld%s to %lld%s", (long long)row->min, unit, (long long)row->max,
			unit);
}

static int parse_number(
	const struct param_row *row, struct slice s, struct buf *why, int64_t *number)
{
	uint64_t v = 0;
	int64_t limit = row->type == PARAM_INT ? INT_MAX : INT64_MAX;
	int r = slice_u64(s, 0, INT64_MAX, &v);

	if (r == 0 && ((int64_t)v < row->min || (int64_t)v > row->max || (int64_t)v > limit))
		r = ERR_RANGE;
	*number = (int64_t)v;
	if (r == ERR_RANGE)
		buf_add_fmt(why, "\"%.*s\" is out of bounds; expected ", SLICE_FMT(s));
	else if (r != 0)
		buf_add_fmt(why, "\"%.*s\" is no number; expected ", SLICE_FMT(s));
	if (r != 0)
		add_bounds(why, row, "");
	return r;
}

static int64_t unit_of(char c)
{
	switch (tolower((unsigned char)c)) {
	case 's': return CLOCK_SEC;
	case 'm': return 60 * CLOCK_SEC;
	case 'h': return 3600 * CLOCK_SEC;
	case 'd': return 86400 * CLOCK_SEC;
	case 'w': return 7 * 86400 * CLOCK_SEC;
	default: return 0;
	}
}

/* The unit at the end of a row's default; of a $name, that of the row which it names. */
static char default_unit(const struct param_row *row)
{
	char last = row->def[strlen(row->def) - 1];

	if (row->def[0] == '$' && row->def[1] != '{') {
		enum param other = param_find(slice_str(row->def + 1));

		return other != P_COUNT ? default_unit(param_row(other)) : 's';
	}
	return unit_of(last) != 0 ? last : 's';
}

static int parse_time(const struct param_row *row, struct slice s, struct buf *why, int64_t *number)
{
	const char unit[2] = {default_unit(row)};
	int64_t base = unit_of(unit[0]), factor = base;
	struct slice digits = s;
	uint64_t v = 0;
	int r = 0;

	if (s.len > 1 && unit_of(s.p[s.len - 1]) != 0) {
		factor = unit_of(s.p[s.len - 1]);
		digits.len--;
	}
	r = slice_u64(digits, 0, (uint64_t)(INT64_MAX / factor / 2), &v);
	*number = (int64_t)v * factor;
	if (r == 0 &&
		(*number < row->min * base || (row->max != INT64_MAX && *number > row->max * base)))
		r = ERR_RANGE;
	if (r == ERR_RANGE)
		buf_add_fmt(why, "\"%.*s\" is out of bounds; expected ", SLICE_FMT(s));
	else if (r != 0)
		buf_add_fmt(why, "\"%.*s\" is no time; expected a number and s, m, h, d or w, ",
			SLICE_FMT(s));
	if (r != 0)
		add_bounds(why, row, unit);
	return r;
}

/* The choices are the first word of the sentence. */
static int parse_enum(const struct param_row *row, struct slice s, struct buf *why)
{
	struct slice rest = slice_first(slice_str(row->text), strcspn(row->text, " ")), choice;
	struct slice all = rest;
	const char *sep = "";
	bool may_be_empty = false;

	while (slice_part(&rest, '|', &choice)) {
		if (slice_eq(choice, s))
			return 0;
	}
	buf_add_fmt(why, "\"%.*s\" is none of its values; expected one of ", SLICE_FMT(s));
	while (slice_part(&all, '|', &choice)) {
		may_be_empty = may_be_empty || choice.len == 0;
		if (choice.len != 0)
			buf_add_fmt(why, "%s%.*s", sep, SLICE_FMT(choice));
		sep = choice.len != 0 ? ", " : sep;
	}
	buf_add_str(why, may_be_empty ? " or nothing" : "");
	return ERR_SYNTAX;
}

static struct slice type_of(struct slice spec)
{
	ptrdiff_t colon = slice_find(spec, ':');

	return slice_first(spec, colon < 0 ? 0 : (size_t)colon);
}

static void add_nearest_type(struct slice type, struct buf *why)
{
	const char *nearest = NULL;
	unsigned best = UINT_MAX;

	for (size_t i = 0; i < COUNT(types); i++) {
		unsigned d = param_distance(type, slice_str(types[i].type));

		if (types[i].is_supported && d < best) {
			best = d;
			nearest = types[i].type;
		}
	}
	if (nearest != NULL && param_is_near(best, type.len)) {
		buf_add_fmt(why, "\"%s\"", nearest);
		return;
	}
	buf_add_str(why, "one of");
	for (size_t i = 0; i < COUNT(types); i++) {
		if (types[i].is_supported)
			buf_add_fmt(why, " %s", types[i].type);
	}
}

struct slice value_table_parts(struct slice spec)
{
	static const char *const made[] = {"unionmap:", "pipemap:"};

	while (slice_starts(spec, "later:"))
		spec = slice_from(spec, strlen("later:"));
	for (size_t i = 0; i < COUNT(made); i++) {
		struct slice name = slice_from(spec, strlen(made[i]));

		if (slice_starts(spec, made[i]) && name.len > 2 && name.p[0] == '{')
			return slice_of(name.p + 1, name.len - 2);
	}
	return SLICE_NONE;
}

static int check_parts(struct slice spec, int depth, struct buf *why)
{
	struct slice parts = value_table_parts(spec), part;

	while (line_item(&parts, &part)) {
		if (depth == 0) {
			buf_add_fmt(why, "tables within tables; expected at most %d levels",
				VALUE_TABLE_DEPTH);
			return ERR_SYNTAX;
		}
		if (value_check_table(part, why) != 0 || check_parts(part, depth - 1, why) != 0)
			return ERR_SYNTAX;
	}
	return 0;
}

static int check_table(struct slice spec, struct buf *why)
{
	int r = value_check_table(spec, why);

	return r == 0 ? check_parts(spec, VALUE_TABLE_DEPTH, why) : r;
}

int value_check_table(struct slice spec, struct buf *why)
{
	struct slice type = type_of(spec);

	if (type.len == 0) {
		buf_add_fmt(why, "\"%.*s\" is no table; expected type:name", SLICE_FMT(spec));
		return ERR_SYNTAX;
	}
	if (slice_eq_str(type, "proxy"))
		return value_check_table(slice_from(spec, strlen("proxy:")), why);
	if (slice_eq_str(type, "later") && type_of(slice_from(spec, strlen("later:"))).len != 0)
		return value_check_table(slice_from(spec, strlen("later:")), why);
	for (size_t i = 0; i < COUNT(types); i++) {
		if (slice_eq_str(type, types[i].type) && types[i].is_supported) {
			if (spec.len > type.len + 1 || slice_eq_str(type, "fail"))
				return 0;
			buf_add_fmt(why, "\"%.*s\" names no table; expected %.*s:name",
				SLICE_FMT(spec), SLICE_FMT(type));
			return ERR_SYNTAX;
		}
		if (slice_eq_str(type, types[i].type)) {
			buf_add_fmt(why, "table type \"%.*s\" is not supported; expected ",
				SLICE_FMT(type));
			add_nearest_type(SLICE_NONE, why);
			return ERR_SYNTAX;
		}
	}
	buf_add_fmt(why, "unknown table type \"%.*s\"; expected ", SLICE_FMT(type));
	add_nearest_type(type, why);
	return ERR_SYNTAX;
}

/* An IPv6 address has colons too; so has "[v6]/mask". */
bool value_is_address(struct slice item)
{
	char text[INET6_ADDRSTRLEN + 1];
	struct in6_addr address;
	ptrdiff_t slash = slice_find(item, '/');

	if (item.len != 0 && item.p[0] == '[')
		return true;
	if (slash >= 0)
		item = slice_first(item, (size_t)slash);
	if (item.len == 0 || item.len >= sizeof(text))
		return false;
	memcpy(text, item.p, item.len);
	text[item.len] = '\0';
	return inet_pton(AF_INET6, text, &address) == 1;
}

static int check_item(enum param_type type, struct slice item, struct buf *why)
{
	while (type == PARAM_MATCH && item.len > 0 && item.p[0] == '!')
		item = slice_from(item, 1);
	if (type == PARAM_MATCH &&
		(type_of(item).len == 0 || item.p[0] == '/' || value_is_address(item)))
		return 0;
	if (type == PARAM_LIST)
		return 0;
	return check_table(item, why);
}

/* local_header_rewrite_clients: some restrictions, and tables. */
static int check_client_word(struct slice word, struct buf *why)
{
	static const char *const words[] = {"permit_inet_interfaces", "permit_mynetworks",
		"permit_sasl_authenticated", "permit_tls_clientcerts", "permit_tls_all_clientcerts",
		"check_address_map"};

	for (size_t i = 0; i < COUNT(words); i++)
		if (slice_case_eq_str(word, words[i]))
			return 0;
	if (slice_find(word, ':') > 0)
		return check_table(word, why);
	buf_add_fmt(why, "\"%.*s\" is none of its words; expected", SLICE_FMT(word));
	for (size_t i = 0; i < COUNT(words); i++)
		buf_add_fmt(why, " %s,", words[i]);
	buf_add_str(why, " type:name");
	return ERR_SYNTAX;
}

static int check_clients(struct slice text, struct buf *why, size_t *where)
{
	struct slice rest = text, item;

	while (line_item(&rest, &item)) {
		*where = (size_t)(item.p - text.p);
		if (check_client_word(item, why) != 0)
			return ERR_SYNTAX;
	}
	return 0;
}

static int check_list(enum param_type type, struct slice text, struct buf *why, size_t *where)
{
	struct slice rest = text, item;

	if (!line_is_balanced(text)) {
		buf_add_str(why, "a brace without its partner; expected { … }");
		return ERR_SYNTAX;
	}
	while (line_item(&rest, &item)) {
		*where = (size_t)(item.p - text.p);
		if (check_item(type, item, why) != 0)
			return ERR_SYNTAX;
	}
	return 0;
}

bool value_is_class(const char *classes, struct slice name)
{
	struct slice rest = slice_str(classes), item;

	while (line_item(&rest, &item)) {
		if (slice_eq(item, name))
			return true;
	}
	return false;
}

static int unknown_restriction(struct slice name, struct buf *why)
{
	const char *nearest = NULL;
	unsigned best = UINT_MAX;

	for (size_t i = 0; i < COUNT(restrictions); i++) {
		unsigned d = param_distance(name, slice_str(restrictions[i].name));

		if (d < best) {
			best = d;
			nearest = restrictions[i].name;
		}
	}
	buf_add_fmt(why, "unknown restriction \"%.*s\"; expected ", SLICE_FMT(name));
	if (nearest != NULL && param_is_near(best, name.len))
		buf_add_fmt(why, "\"%s\"", nearest);
	else
		buf_add_str(why, "one of gatepost.conf(5)");
	return ERR_SYNTAX;
}

bool value_has_name(struct slice restriction)
{
	for (size_t i = 0; i < COUNT(restrictions); i++) {
		if (slice_case_eq_str(restriction, restrictions[i].name))
			return restrictions[i].argument == NAME ||
			       restrictions[i].argument == SERVER;
	}
	return false;
}

bool value_has_argument(struct slice restriction)
{
	for (size_t i = 0; i < COUNT(restrictions); i++) {
		if (slice_case_eq_str(restriction, restrictions[i].name))
			return restrictions[i].argument != NONE;
	}
	return false;
}

struct slice value_without_braces(struct slice item)
{
	if (item.len < 2 || item.p[0] != '{' || item.p[item.len - 1] != '}')
		return item;
	return slice_trim(slice_of(item.p + 1, item.len - 2));
}

/* The attribute of check_ccert_access. */

static const struct {
	const char *name;
	enum value_ccert key;
} ccert_names[] = {
	{"cert_fingerprint", VALUE_CCERT_FINGERPRINT},
	{"pubkey_fingerprint", VALUE_CCERT_PUBKEY},
	{"subject", VALUE_CCERT_SUBJECT},
	{"subject_cn", VALUE_CCERT_SUBJECT},
	{"issuer", VALUE_CCERT_ISSUER},
	{"issuer_cn", VALUE_CCERT_ISSUER},
};

static int add_ccert(struct slice name, struct value_ccerts *order, struct buf *why)
{
	size_t i = 0;

	while (i < COUNT(ccert_names) && !slice_case_eq_str(name, ccert_names[i].name))
		i++;
	if (i < COUNT(ccert_names) && order->n < VALUE_CCERTS) {
		order->keys[order->n++] = ccert_names[i].key;
		return 0;
	}
	buf_add_fmt(why,
		"search_order: \"%.*s\" is %s; expected cert_fingerprint, pubkey_fingerprint, "
		"subject or issuer, each once",
		SLICE_FMT(name), i < COUNT(ccert_names) ? "one too many" : "not known");
	return ERR_SYNTAX;
}

static int unknown_attribute(struct slice item, struct buf *why)
{
	buf_add_fmt(why,
		"\"%.*s\" is no attribute of a table; expected { search_order = … } behind the "
		"table "
		"of check_ccert_access",
		SLICE_FMT(item));
	return ERR_SYNTAX;
}

static int parse_search_order(struct slice item, struct value_ccerts *order, struct buf *why)
{
	struct slice inside = value_without_braces(item), name;
	ptrdiff_t at = slice_find(inside, '=');
	int err = 0;

	if (at < 0 || !slice_eq_str(slice_trim(slice_first(inside, (size_t)at)), "search_order"))
		return unknown_attribute(item, why);
	inside = slice_from(inside, (size_t)at + 1);
	order->n = 0;
	while (err == 0 && line_item(&inside, &name))
		err = add_ccert(name, order, why);
	if (err == 0 && order->n == 0)
		err = add_ccert(SLICE_LIT(""), order, why);
	return err;
}

int value_ccerts(struct slice text, struct value_ccerts *order, struct buf *why)
{
	struct slice item;
	int err = 0;

	*order = (struct value_ccerts){{VALUE_CCERT_FINGERPRINT, VALUE_CCERT_PUBKEY}, 2};
	(void)line_item(&text, &item);
	while (err == 0 && line_item(&text, &item))
		err = parse_search_order(item, order, why);
	return err;
}

/* type:name, or { type:name attribute } where the restriction has one. */
static int check_table_argument(struct slice name, struct slice argument, struct buf *why)
{
	struct slice inside = value_without_braces(argument), rest = inside, spec = SLICE_NONE,
		     more;
	struct value_ccerts order;

	if (inside.p == argument.p)
		return check_table(argument, why);
	(void)line_item(&rest, &spec);
	if (check_table(spec, why) != 0)
		return ERR_SYNTAX;
	if (slice_case_eq_str(name, "check_ccert_access"))
		return value_ccerts(inside, &order, why);
	return line_item(&rest, &more) ? unknown_attribute(more, why) : 0;
}

static int check_number(struct slice name, struct slice argument, struct buf *why)
{
	uint64_t v = 0;

	if (slice_u64(argument, 0, 86400, &v) == 0)
		return 0;
	buf_add_fmt(why, "\"%.*s\" behind \"%.*s\" is no number; expected seconds, 0 to 86400",
		SLICE_FMT(argument), SLICE_FMT(name));
	return ERR_SYNTAX;
}

static bool has_only(struct slice s, const char *bytes)
{
	for (size_t i = 0; i < s.len; i++)
		if (strchr(bytes, s.p[i]) == NULL || s.p[i] == '\0')
			return false;
	return s.len > 0;
}

/* A DNS list: DOMAIN[=PATTERN]; the pattern's own mistakes are smtpd's to find. */
static int check_zone(struct slice name, struct slice argument, struct buf *why)
{
	ptrdiff_t at = slice_find(argument, '=');
	struct slice zone = at < 0 ? argument : slice_first(argument, (size_t)at);
	struct slice pattern = slice_from(argument, zone.len + 1);

	if (has_only(zone, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") &&
		zone.p[0] != '.' && (at < 0 || has_only(pattern, "0123456789.;[]")))
		return 0;
	buf_add_fmt(why,
		"\"%.*s\" behind \"%.*s\" is no DNS list; expected DOMAIN or "
		"DOMAIN=127.0.0.[2;4..11]",
		SLICE_FMT(argument), SLICE_FMT(name));
	return ERR_SYNTAX;
}

/* "timeout=10s" or "{ timeout = 10s }" has the form of smtpd_policy_service_timeout. */
static int check_server_attribute(struct slice item, struct buf *why)
{
	struct slice inside = value_without_braces(item);
	ptrdiff_t at = slice_find(inside, '=');
	struct buf name = BUF_INIT(1000);
	enum param p = P_COUNT;
	int64_t number = 0;
	size_t where = 0;
	int err = ERR_SYNTAX;

	buf_add_str(&name, "smtpd_policy_service_");
	buf_add_slice(&name, slice_trim(slice_first(inside, at < 0 ? 0 : (size_t)at)));
	p = param_find(buf_slice(&name));
	if (p != P_COUNT)
		err = value_parse(p, slice_trim(slice_from(inside, (size_t)at + 1)), "", why,
			&where, &number);
	else
		buf_add_fmt(why,
			"\"%.*s\" is no attribute of a policy server; expected timeout=, "
			"default_action=, policy_context=, try_limit=, retry_delay=, "
			"request_limit=, max_idle= or max_ttl=",
			SLICE_FMT(item));
	buf_clear(&name);
	return err;
}

static int check_server(struct slice name, struct slice argument, struct buf *why)
{
	struct slice rest = value_without_braces(argument), server = argument, item;
	bool has_more = rest.p != argument.p;
	int err = 0;

	if (has_more && !line_item(&rest, &server))
		server = SLICE_NONE;
	if ((slice_starts(server, "unix:") && server.len > strlen("unix:")) ||
		(slice_starts(server, "inet:") &&
			slice_find_last(server, ':') > (ptrdiff_t)strlen("inet:"))) {
		while (err == 0 && has_more && line_item(&rest, &item))
			err = check_server_attribute(item, why);
		return err;
	}
	buf_add_fmt(why,
		"\"%.*s\" behind \"%.*s\" is no server; expected unix:PATH or inet:HOST:PORT",
		SLICE_FMT(argument), SLICE_FMT(name));
	return ERR_SYNTAX;
}

static int check_argument(
	enum argument kind, struct slice name, struct slice argument, struct buf *why)
{
	switch (kind) {
	case TABLE: return check_table_argument(name, argument, why);
	case NAME: return check_zone(name, argument, why);
	case SERVER: return check_server(name, argument, why);
	default: return check_number(name, argument, why);
	}
}

static size_t find_restriction(struct slice name)
{
	size_t i = 0;

	while (i < COUNT(restrictions) && !slice_case_eq_str(name, restrictions[i].name))
		i++;
	return i;
}

/* The restriction at the front of *rest with its argument. */
static int check_restriction(struct slice name, struct slice *rest, const char *classes,
	bool has_implied, struct buf *why)
{
	struct slice argument;
	size_t i = 0;

	if (value_is_class(classes, name))
		return 0;
	if (type_of(name).len != 0 && has_implied)
		return check_table(name, why);
	if (type_of(name).len != 0) {
		buf_add_fmt(why,
			"table \"%.*s\" without a restriction; expected check_…_access "
			"before it",
			SLICE_FMT(name));
		return ERR_SYNTAX;
	}
	i = find_restriction(name);
	if (i == COUNT(restrictions))
		return unknown_restriction(name, why);
	if (!restrictions[i].is_supported) {
		buf_add_fmt(why, "restriction \"%s\" is not supported; expected another",
			restrictions[i].name);
		return ERR_SYNTAX;
	}
	if (restrictions[i].argument == NONE)
		return 0;
	/* No list in the DNS is named like one of ours. */
	if (!line_item(rest, &argument) ||
		(restrictions[i].argument == NAME &&
			find_restriction(argument) != COUNT(restrictions))) {
		buf_add_fmt(why, "\"%s\" without its argument; expected %s", restrictions[i].name,
			restrictions[i].argument == TABLE    ? "type:name"
			: restrictions[i].argument == NUMBER ? "a number"
							     : "a name");
		return ERR_SYNTAX;
	}
	return check_argument(restrictions[i].argument, name, argument, why);
}

static int check_restrictions(
	struct slice text, const char *classes, bool has_implied, struct buf *why, size_t *where)
{
	struct slice rest = text, item;

	if (!line_is_balanced(text)) {
		buf_add_str(why, "a brace without its partner; expected { … }");
		return ERR_SYNTAX;
	}
	while (line_item(&rest, &item)) {
		*where = (size_t)(item.p - text.p);
		if (check_restriction(item, &rest, classes, has_implied, why) != 0)
			return ERR_SYNTAX;
	}
	return 0;
}

int value_check_restrictions(struct slice text, const char *classes, struct buf *why, size_t *where)
{
	return check_restrictions(text, classes, false, why, where);
}

/* Lists in which a table alone stands for the check that they are about, as in Postfix. */
static bool has_implied_check(enum param p)
{
	return p == P_smtpd_client_restrictions || p == P_smtpd_helo_restrictions ||
	       p == P_smtpd_sender_restrictions || p == P_smtpd_relay_restrictions ||
	       p == P_smtpd_recipient_restrictions || p == P_smtpd_etrn_restrictions;
}

static int check_text(enum param p, struct slice text, struct buf *why)
{
	enum feedback_shape shape;
	double base;

	switch (p) {
	case P_default_destination_concurrency_positive_feedback:
	case P_default_destination_concurrency_negative_feedback:
	case P_transport_destination_concurrency_positive_feedback:
	case P_transport_destination_concurrency_negative_feedback:
		return feedback_parse(text, why, &base, &shape);
	default: return 0;
	}
}

int value_parse(enum param p, struct slice text, const char *classes, struct buf *why,
	size_t *where, int64_t *number)
{
	const struct param_row *row = param_row(p);
	uint32_t count;

	*where = 0;
	*number = 0;
	switch (row->type) {
	case PARAM_BOOL: return parse_bool(text, why, number);
	case PARAM_INT:
	case PARAM_SIZE: return parse_number(row, text, why, number);
	case PARAM_TIME: return parse_time(row, text, why, number);
	case PARAM_ENUM: return parse_enum(row, text, why);
	case PARAM_MAPS:
	case PARAM_MATCH:
	case PARAM_LIST:
		if (p == P_backoff_plans)
			return plans_parse(text, why, where, NULL);
		return p == P_local_header_rewrite_clients
			       ? check_clients(text, why, where)
			       : check_list(row->type, text, why, where);
	case PARAM_FILE:
		if (text.len > 0 && text.p[0] != '/') {
			buf_add_fmt(why, "\"%.*s\" is no path from the root; expected /...",
				SLICE_FMT(text));
			return ERR_SYNTAX;
		}
		return 0;
	case PARAM_RATE: return rate_parse(text, why, &count, number);
	case PARAM_RESTRICT:
		return check_restrictions(text, classes, has_implied_check(p), why, where);
	case PARAM_STR: return check_text(p, text, why);
	default: return 0;
	}
}

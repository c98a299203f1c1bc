/* SPDX-License-Identifier: ISC */
#include "conf/check_text.h"

#include <arpa/inet.h>

enum { HOST_LIMIT = 255, WEIGHT_MAX = 1000000 };

static bool is_host_name(struct slice name)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	bool has_letter = false;

	if (name.len == 0 || name.len > HOST_LIMIT || name.p[0] == '.' || name.p[0] == '-' ||
		slice_find_str(name, "..") >= 0)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		const char *at = strchr(letters, name.p[i]);

		if (name.p[i] == '\0' || at == NULL)
			return false;
		has_letter = has_letter || at < strchr(letters, '0');
	}
	/* Numbers and dots alone are an address that went wrong (RFC 3696, 2). */
	return has_letter;
}

static bool is_address(struct slice s)
{
	char text[HOST_LIMIT + 1];
	unsigned char room[sizeof(struct in6_addr)];

	if (s.len >= 2 && s.p[0] == '[' && s.p[s.len - 1] == ']')
		s = slice_first(slice_from(s, 1), s.len - 2);
	if (s.len > HOST_LIMIT)
		return false;
	memcpy(text, s.p, s.len);
	text[s.len] = '\0';
	return inet_pton(AF_INET, text, room) == 1 || inet_pton(AF_INET6, text, room) == 1;
}

static bool is_protocol(struct slice item)
{
	return slice_case_eq_str(item, "all") || slice_case_eq_str(item, "ipv4") ||
	       slice_case_eq_str(item, "ipv6");
}

static bool is_interface(struct slice item)
{
	return slice_case_eq_str(item, "all") || slice_case_eq_str(item, "loopback-only") ||
	       is_address(item) || is_host_name(item);
}

static bool is_host(struct slice item)
{
	return is_address(item) || is_host_name(item);
}

/* [host], [host]:port, host:port or a domain. */
static bool is_nexthop(struct slice hop)
{
	ptrdiff_t open = slice_find(hop, '['), close = slice_find(hop, ']');

	return (open < 0) == (close < 0) && open <= close;
}

/* TRANSPORT or TRANSPORT:NEXTHOP; a UNIX socket's path may hold any letter. */
static bool is_route(struct slice route)
{
	ptrdiff_t colon = slice_find(route, ':');
	struct slice hop = colon < 0 ? SLICE_NONE : slice_from(route, (size_t)colon + 1);

	return slice_starts(hop, "unix:") || is_nexthop(hop);
}

static bool is_made_of(struct slice s, const char *bytes)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] == '\0' || strchr(bytes, s.p[i]) == NULL)
			return false;
	return s.len > 0;
}

/* DOMAIN[=FILTER][*WEIGHT]; the inside of a filter is smtpd's to read. */
static bool is_dns_list(struct slice item)
{
	ptrdiff_t star = slice_find(item, '*');
	struct slice weight = slice_from(item, (size_t)star + 1);
	uint64_t n;

	if (star >= 0) {
		if (slice_u64(slice_from(weight, slice_starts(weight, "-")), 0, WEIGHT_MAX, &n) !=
			0)
			return false;
		item = slice_first(item, (size_t)star);
	}
	ptrdiff_t equals = slice_find(item, '=');
	if (equals >= 0 && !is_made_of(slice_from(item, (size_t)equals + 1), "0123456789.;[]"))
		return false;
	return is_host_name(equals >= 0 ? slice_first(item, (size_t)equals) : item);
}

/* A type of table that Postfix keeps caches in; empty: in memory. */
static bool is_cache(struct slice table)
{
	static const char *const types[] = {"btree:", "hash:", "lmdb:", "sdbm:", "memcache:"};

	if (slice_starts(table, "proxy:"))
		table = slice_from(table, 6);
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		if (slice_starts(table, types[i]) && table.len > strlen(types[i]))
			return true;
	return table.len == 0;
}

/* ">=TLSv1.2", "<=TLSv1.3", "TLSv1.2", "!TLSv1.1". */
static bool is_tls_protocol(struct slice item)
{
	static const char *const names[] = {
		"SSLv2", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"};
	struct slice rest = item, name;

	while (slice_token(&rest, ":", &name)) {
		bool is_bound = slice_starts(name, ">=") || slice_starts(name, "<=");
		bool is_known = false;

		name = slice_from(name, is_bound ? 2 : slice_starts(name, "!"));
		for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
			is_known = is_known || slice_case_eq_str(name, names[i]);
		if (!is_known)
			return false;
	}
	return true;
}

static bool is_server_name(struct slice name)
{
	return name.len == 0 || is_host_name(name);
}

static bool is_resolver_option(struct slice item)
{
	return slice_eq_str(item, "res_defnames") || slice_eq_str(item, "res_dnsrch");
}

static bool is_host_lookup(struct slice item)
{
	return slice_eq_str(item, "dns") || slice_eq_str(item, "native");
}

static bool is_dane_digest(struct slice item)
{
	return slice_case_eq_str(item, "sha256") || slice_case_eq_str(item, "sha512") ||
	       slice_case_eq_str(item, "sha256=1") || slice_case_eq_str(item, "sha512=2");
}

/* TYPE:NAME, or nothing. */
static bool is_probe(struct slice item)
{
	struct slice rest = item, type;

	(void)slice_part(&rest, ':', &type);
	return item.len == 0 ||
	       (rest.len > 0 &&
		       is_made_of(type, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"));
}

/* An address of one family, perhaps in brackets, or nothing. */
static bool is_of_family(struct slice s, int family)
{
	char text[HOST_LIMIT + 1];
	unsigned char room[sizeof(struct in6_addr)];

	if (s.len > 2 && slice_starts(s, "[") && slice_ends(s, "]"))
		s = slice_first(slice_from(s, 1), s.len - 2);
	if (s.len > HOST_LIMIT)
		return false;
	memcpy(text, s.p, s.len);
	text[s.len] = '\0';
	return s.len == 0 || inet_pton(family, text, room) == 1;
}

static bool is_source(struct slice item)
{
	return is_of_family(item, AF_INET);
}

static bool is_source6(struct slice item)
{
	return is_of_family(item, AF_INET6);
}

static bool is_one_of(struct slice item, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (slice_case_eq_str(item, words[i]))
			return true;
	return false;
}

static bool is_sasl_option(struct slice item)
{
	static const char *const words[] = {"noplaintext", "noanonymous", "nodictionary",
		"noactive", "forward_secrecy", "mutual_auth"};

	return is_one_of(item, words, sizeof(words) / sizeof(*words));
}

static bool is_pix_word(struct slice item)
{
	static const char *const words[] = {"disable_esmtp", "delay_dotcrlf"};

	return is_one_of(item, words, sizeof(words) / sizeof(*words));
}

#define SASL_OPTIONS(p)                                                                         \
	{                                                                                       \
		p, true, is_sasl_option, "is none of its values",                               \
			"noplaintext, noanonymous, nodictionary, noactive, forward_secrecy or " \
			"mutual_auth"                                                           \
	}
#define PIX_WORDS(p)                                                                            \
	{                                                                                       \
		p, true, is_pix_word, "is none of its values", "disable_esmtp or delay_dotcrlf" \
	}
#define RESOLVER_OPTIONS(p)                                                                        \
	{                                                                                          \
		p, true, is_resolver_option, "is no resolver option", "res_defnames or res_dnsrch" \
	}
#define TLS_PROTOCOLS(p)                                                       \
	{                                                                      \
		p, true, is_tls_protocol, "is no TLS protocol",                \
			"names like TLSv1.2, !TLSv1.1, >=TLSv1.2 or <=TLSv1.3" \
	}
#define TLS_SERVER_NAME(p)                                          \
	{                                                           \
		p, false, is_server_name, "is no host name",        \
			"a host name, hostname, nexthop or nothing" \
	}

static bool is_notify_class(struct slice item)
{
	static const char *const words[] = {
		"bounce", "2bounce", "data", "delay", "policy", "protocol", "resource", "software"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (slice_case_eq_str(item, words[i]))
			return true;
	return false;
}

/* It stands in a command of SMTP. */
static bool is_word(struct slice item)
{
	return slice_is_printable(item) && slice_find(item, ' ') < 0;
}

/* A domain of mail: as a host's name, in which a byte of UTF-8 is a letter, or an address. */
static bool is_mail_domain(struct slice s)
{
	char text[HOST_LIMIT];

	if (s.len == 0 || s.len > sizeof(text))
		return false;
	if (s.p[0] == '[')
		return is_address(s);
	for (size_t i = 0; i < s.len; i++)
		text[i] = (unsigned char)s.p[i] > 127 ? 'x' : s.p[i];
	return is_host_name(slice_of(text, s.len));
}

static bool is_quoted(struct slice s)
{
	if (s.len < 2 || s.p[0] != '"' || s.p[s.len - 1] != '"')
		return false;
	for (size_t i = 1; i + 1 < s.len; i++) {
		if (s.p[i] == '"')
			return false;
		i += s.p[i] == '\\';
		if (i + 1 == s.len)
			return false;
	}
	return true;
}

/* RFC 5321, 4.1.2, with UTF-8 (RFC 6531). */
static bool is_local_part(struct slice s)
{
	if (is_quoted(s))
		return true;
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] == ' ' || strchr("()<>[]:;@\\,\"", s.p[i]) != NULL)
			return false;
	return s.len > 0 && s.p[0] != '.' && s.p[s.len - 1] != '.' && slice_find_str(s, "..") < 0;
}

/* user@domain, in which all else can be found by check. */
static bool is_mailbox(struct slice item)
{
	ptrdiff_t at = slice_find_last(item, '@');

	if (item.len == 0)
		return true;
	return at > 0 && item.len < HOST_LIMIT && slice_is_printable(item) && slice_is_utf8(item) &&
	       is_local_part(slice_first(item, (size_t)at)) &&
	       is_mail_domain(slice_from(item, (size_t)at + 1));
}

static bool is_two_delimiters(struct slice item)
{
	return item.len == 2;
}

static const struct {
	enum param p;
	bool is_list;
	bool (*is_good)(struct slice item);
	const char *what, *expected;
} rules[] = {
	{P_inet_protocols, true, is_protocol, "is none of its values", "all, ipv4 or ipv6"},
	{P_inet_interfaces, true, is_interface, "is no address and no host name",
		"all, loopback-only, an address or a host name"},
	{P_proxy_interfaces, true, is_host, "is no address and no host name",
		"an address or a host name"},
	{P_smtpd_dnsbl_sites, true, is_dns_list, "is no DNS list",
		"DOMAIN, with =127.0.0.[2;4..11] or *WEIGHT behind it"},
	{P_address_verify_map, false, is_cache, "is no table that is written to",
		"btree:NAME, hash:NAME, lmdb:NAME or nothing"},
	{P_myhostname, false, is_host_name, "is no host name", "letters, digits, - and ."},
	{P_relayhost, true, is_nexthop, "has a bracket without its partner",
		"[host], [host]:port or a domain"},
	{P_smtp_fallback_relay, true, is_nexthop, "has a bracket without its partner",
		"[host], [host]:port or a domain"},
	{P_relay_sender, false, is_mailbox, "is no address", "user@domain or nothing"},
	{P_smtp_helo_name, false, is_word, "is no host name", "one, or an address in brackets"},
	{P_lmtp_lhlo_name, false, is_word, "is no host name", "one, or an address in brackets"},
	{P_default_transport, false, is_route, "has a bracket without its partner",
		"transport:[host]:port"},
	{P_relay_transport, false, is_route, "has a bracket without its partner",
		"transport:[host]:port"},
	{P_local_transport, false, is_route, "has a bracket without its partner",
		"transport:[host]:port"},
	{P_virtual_transport, false, is_route, "has a bracket without its partner",
		"transport:[host]:port"},
	{P_mailbox_transport, false, is_route, "has a bracket without its partner",
		"transport:[host]:port"},
	TLS_PROTOCOLS(P_smtpd_tls_protocols),
	TLS_PROTOCOLS(P_smtpd_tls_mandatory_protocols),
	TLS_PROTOCOLS(P_smtp_tls_protocols),
	TLS_PROTOCOLS(P_smtp_tls_mandatory_protocols),
	TLS_PROTOCOLS(P_lmtp_tls_protocols),
	TLS_PROTOCOLS(P_lmtp_tls_mandatory_protocols),
	RESOLVER_OPTIONS(P_smtp_dns_resolver_options),
	RESOLVER_OPTIONS(P_lmtp_dns_resolver_options),
	{P_smtp_host_lookup, true, is_host_lookup, "is none of its values", "dns or native"},
	{P_lmtp_host_lookup, true, is_host_lookup, "is none of its values", "dns or native"},
	{P_tls_dane_digests, true, is_dane_digest, "is no digest of TLSA records",
		"sha256 or sha512"},
	{P_notify_classes, true, is_notify_class, "is no class of notices",
		"bounce, 2bounce, data, delay, policy, protocol, resource or software"},
	{P_default_verp_delimiters, false, is_two_delimiters, "is no pair of delimiters",
		"two characters such as +="},
	{P_dnssec_probe, false, is_probe, "is no question", "TYPE:NAME or nothing"},
	TLS_SERVER_NAME(P_smtp_tls_servername),
	TLS_SERVER_NAME(P_lmtp_tls_servername),
	{P_smtp_bind_address, false, is_source, "is no IPv4 address", "one or nothing"},
	{P_smtp_bind_address6, false, is_source6, "is no IPv6 address", "one or nothing"},
	{P_lmtp_bind_address, false, is_source, "is no IPv4 address", "one or nothing"},
	{P_lmtp_bind_address6, false, is_source6, "is no IPv6 address", "one or nothing"},
	SASL_OPTIONS(P_smtp_sasl_security_options),
	SASL_OPTIONS(P_smtp_sasl_tls_security_options),
	SASL_OPTIONS(P_smtp_sasl_tls_verified_security_options),
	SASL_OPTIONS(P_lmtp_sasl_security_options),
	SASL_OPTIONS(P_lmtp_sasl_tls_security_options),
	SASL_OPTIONS(P_lmtp_sasl_tls_verified_security_options),
	PIX_WORDS(P_smtp_pix_workarounds),
	PIX_WORDS(P_lmtp_pix_workarounds),
};

static void check_rule(const struct conf *c, size_t i, struct mistakes *m)
{
	enum param p = rules[i].p;
	const struct setting *s = set_find(c, slice_str(conf_name(p)));
	const char *text = set_str(c, p);
	struct slice rest = slice_str(text), item = rest;

	/* What nobody set is ours, and what did not expand was reported. */
	if (s == NULL || (*text == '\0' && s->value[0] != '\0'))
		return;
	while (rules[i].is_list ? line_item(&rest, &item) : rest.p != NULL) {
		/* Only where nothing was expanded do offsets in both texts agree. */
		size_t at = strcmp(s->value, text) == 0 ? (size_t)(item.p - text) : 0;

		if (!rules[i].is_good(item))
			mistakes_error(m, set_place(s, at), "%s: \"%.*s\" %s; expected %s",
				conf_name(p), SLICE_FMT(item), rules[i].what, rules[i].expected);
		rest = rules[i].is_list ? rest : SLICE_NONE;
	}
}

/* A class without a list would let everything pass. */
static void check_classes(const struct conf *c, struct mistakes *m)
{
	static const enum param p = P_smtpd_restriction_classes;
	const struct setting *s = set_find(c, slice_str(conf_name(p)));
	const char *text = set_str(c, p);
	struct slice rest = slice_str(text), item;

	while (s != NULL && line_item(&rest, &item)) {
		const char *list = set_other(c, item);
		size_t at = strchr(s->value, '$') == NULL ? (size_t)(item.p - text) : 0;

		if (list == NULL || *list == '\0')
			mistakes_error(m, set_place(s, at),
				"%s: \"%.*s\" has no list; expected %.*s = restriction ...",
				conf_name(p), SLICE_FMT(item), SLICE_FMT(item));
	}
}

void check_texts(const struct conf *c, struct mistakes *m)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++)
		check_rule(c, i, m);
	check_classes(c, m);
}

void check_listener(const struct services *s, const struct service *v, struct mistakes *m)
{
	struct slice host;
	uint16_t port = 0;

	if (v->type == SERVICE_INET &&
		service_split_address(slice_str(v->name), &host, &port) == 0 && host.len != 0 &&
		!is_interface(host))
		mistakes_error(m, (struct place){s->path, v->line, v->column},
			"\"%.*s\" is no address and no host name; expected a port or host:port",
			SLICE_FMT(host));
}

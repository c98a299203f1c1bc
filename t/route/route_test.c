/* SPDX-License-Identifier: ISC */
#include "route/route.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf/conf.h"
#include "net/loop.h"
#include "queue/envelope.h"
#include "t/tap.h"
#include "util/err.h"
#include "util/mem.h"

/*
 * Each case is settings, an address and what is said of it. Everything is asked three times: with
 * the tables as they are, with each behind the type "later" (the answer must be the same), and with
 * one that fails.
 */
static char dir[64];
static struct later later;
static bool is_awake;

static void wake(void *arg)
{
	(void)arg;
	is_awake = true;
}

/* settings: "name=value" each on a line. */
static struct route *open_route(const char *settings, bool behind_later)
{
	const char *overrides[32] = {"myhostname=mx.example", "mydomain=example",
		"inet_interfaces=192.0.2.7, [2001:db8::7]",
		"mydestination=mx.example, local.example", "relay_domains=relay.example",
		"virtual_alias_domains=alias.example", "virtual_mailbox_domains=box.example",
		"alias_maps=", "local_recipient_maps="};
	struct buf text = BUF_INIT(16384), why = BUF_INIT(4096);
	struct slice rest = slice_str(settings), line;
	struct route *r = NULL;
	char *lines[20];
	size_t n = 0, k = 9;

	while (slice_part(&rest, '\n', &line)) {
		ptrdiff_t at;

		if (line.len == 0)
			continue;
		buf_reset(&text);
		while (behind_later && (at = slice_find_str(line, "inline:")) >= 0) {
			buf_add_slice(&text, slice_first(line, (size_t)at));
			buf_add_str(&text, "later:inline:");
			line = slice_from(line, (size_t)at + 7);
		}
		buf_add_slice(&text, line);
		lines[n] = slice_dup(buf_slice(&text));
		overrides[k++] = lines[n++];
	}
	if (conf_load(dir, overrides, &why) != 0 ||
		route_open(ROUTE_FOR_ALL | ROUTE_FOR_PLANS, &why, &r) != 0)
		bail_out("%s: %s", settings, buf_str(&why));
	while (n > 0)
		mem_free(lines[--n]);
	buf_clear(&text);
	buf_clear(&why);
	return r;
}

/* Runs what may answer later until it does not. */
static bool again(int err, int *rounds)
{
	if (err != ERR_LATER)
		return false;
	++*rounds;
	while (!is_awake)
		loop_once(0);
	is_awake = false;
	return *rounds < 100;
}

#define MAP(entries) "inline:{ " entries " }"

static const struct {
	const char *settings, *address, *sender, *want; /* "class transport:nexthop", or an error */
} routes[] = {
	{"", "u@far.example", "", "default smtp:far.example"},
	{"", "u@MX.example", "", "local local:mx.example"},
	{"", "u@relay.example", "", "relay relay:relay.example"},
	{"", "u@sub.relay.example", "", "relay relay:sub.relay.example"},
	{"", "u@box.example", "", "virtual-mailbox virtual:box.example"},
	{"", "u@alias.example", "",
		"virtual-alias error:5.1.1 User unknown in virtual alias table"},
	{"show_user_unknown_table_name=no", "u@alias.example", "",
		"virtual-alias error:5.1.1 User unknown"},
	{"", "user", "", "local local:mx.example"},
	{"", "Double-Bounce@mx.example", "",
		"local discard:undeliverable postmaster notification discarded"},
	{"", "double-bounce@far.example", "", "default smtp:far.example"},
	{"double_bounce_sender=nobody@mx.example", "nobody@mx.example", "",
		"local discard:undeliverable postmaster notification discarded"},
	{"double_bounce_sender=nobody@other.example", "nobody@mx.example", "",
		"local local:mx.example"},
	{"", "u@[192.0.2.7]", "", "local local:mx.example"},
	{"", "u@[IPv6:2001:db8::7]", "", "local local:mx.example"},
	{"", "u@[192.0.2.8]", "", "default smtp:[192.0.2.8]"},
	{"", "u@bad..domain", "", "default error:5.1.3 bad address syntax"},
	{"", "u%far.example@mx.example", "", "default smtp:far.example"},
	{"", "far.example!u@mx.example", "", "default smtp:far.example"},
	{"", "u@far.example@mx.example", "", "default smtp:far.example"},
	{"allow_percent_hack=no", "u%far.example@mx.example", "", "local local:mx.example"},
	{"", "u%far.example@other.example", "", "default smtp:other.example"},
	{"", "u@192.0.2.8", "", "default error:5.1.3 bad address syntax"},
	{"resolve_numeric_domain=yes", "u@192.0.2.8", "", "default smtp:[192.0.2.8]"},
	{"resolve_numeric_domain=yes", "u@192.0.2.7", "", "local local:mx.example"},
	{"", "u@192.0.2.8.example", "", "default smtp:192.0.2.8.example"},
	{"", "u@", "", "default error:5.1.3 bad address syntax"},
	{"resolve_null_domain=yes", "u@", "", "local local:mx.example"},
	{"proxy_interfaces=192.0.2.99", "u@[192.0.2.99]", "", "local local:mx.example"},
	{"relayhost=[out.example]:587", "u@far.example", "",
		"default smtp:[out.example]:587 relay 1"},
	{"relayhost=[out.example]:587", "u@relay.example", "",
		"relay relay:[out.example]:587 relay 1"},
	{"relayhost=[out.example]", "u@mx.example", "", "local local:mx.example"},
	{"default_transport=smtp:[fixed.example]\nrelayhost=[out.example]", "u@far.example", "",
		"default smtp:[fixed.example]"},
	{"relayhost=[out.example]\nsender_dependent_relayhost_maps=" MAP(
		 "{s@far.example = [one.example]}, {@far.example = [two.example]}, {n@x.example = "
		 "DUNNO}"),
		"u@far.example", "s@far.example", "default smtp:[one.example] relay 1"},
	{"sender_dependent_relayhost_maps=" MAP("{@far.example = [two.example]}"), "u@x.example",
		"t@far.example", "default smtp:[two.example] relay 1"},
	{"relayhost=[out.example]\nsender_dependent_relayhost_maps=" MAP("{n@x.example = DUNNO}"),
		"u@far.example", "n@x.example", "default smtp:[out.example] relay 1"},
	{"sender_dependent_relayhost_maps=" MAP("{<> = [null.example]}"), "u@far.example", "",
		"default smtp:[null.example] relay 1"},
	{"empty_address_relayhost_maps_lookup_key=none\nsender_dependent_relayhost_maps=" MAP(
		 "{<> = [null.example]}, {none = [none.example]}"),
		"u@far.example", "", "default smtp:[none.example] relay 1"},
	{"sender_dependent_default_transport_maps=" MAP("{s@far.example = slow:[one]}"),
		"u@x.example", "s+ext@far.example", "default smtp:x.example"},
	{"recipient_delimiter=+\nsender_dependent_default_transport_maps=" MAP(
		 "{s@far.example = slow:[one]}"),
		"u@x.example", "s+ext@far.example", "default slow:[one]"},
	{"relayhost=[out.example]\nsender_dependent_default_transport_maps=" MAP(
		 "{@far.example = slow}"),
		"u@x.example", "s@far.example", "default slow:[out.example] relay 1"},
	{"sender_dependent_default_transport_maps=" MAP("{@far.example = slow:}"), "u@x.example",
		"s@far.example", "default slow:x.example"},
	{"sender_dependent_default_transport_maps=" MAP("{@far.example = slow}, {s@far.example = "
							"DUNNO}"),
		"u@x.example", "s@far.example", "default smtp:x.example"},
	{"sender_dependent_default_transport_maps=" MAP("{<> = slow}"), "u@x.example", "",
		"default slow:x.example"},
	{"empty_address_default_transport_maps_lookup_key=none\n"
	 "sender_dependent_default_transport_maps=" MAP("{<> = slow}, {none = slower}"),
		"u@x.example", "", "default slower:x.example"},
	{"sender_dependent_default_transport_maps=" MAP("{s@far.example = :[one]}"), "u@x.example",
		"s@far.example", "ERR_TEMP"},
	{"sender_dependent_default_transport_maps=static:slow", "u@relay.example", "s@far.example",
		"relay relay:relay.example"},
	{"sender_dependent_default_transport_maps=static:slow\ntransport_maps=" MAP(
		 "{x.example = :[hop]}"),
		"u@x.example", "s@far.example", "default slow:[hop]"},
	{"transport_maps=" MAP("{far.example = slow:[hop]:26}"), "u@far.example", "",
		"default slow:[hop]:26"},
	{"transport_maps=" MAP("{far.example = slow:}"), "u@far.example", "",
		"default slow:far.example"},
	{"transport_maps=" MAP("{far.example = :[hop]}"), "u@far.example", "",
		"default smtp:[hop]"},
	{"transport_maps=" MAP("{far.example = :}"), "u@far.example", "",
		"default smtp:far.example"},
	{"transport_maps=" MAP("{far.example = slow}"), "u@far.example", "",
		"default slow:far.example"},
	{"transport_maps=" MAP("{.example = slow:[dot]}, {* = slow:[star]}"), "u@a.far.example", "",
		"default slow:[dot]"},
	{"transport_maps=" MAP("{far.example = slow:[parent]}, {* = slow:[star]}"),
		"u@a.far.example", "", "default slow:[star]"},
	{"parent_domain_matches_subdomains=transport_maps\ntransport_maps=" MAP(
		 "{far.example = slow:[parent]}"),
		"u@a.far.example", "", "default slow:[parent]"},
	{"recipient_delimiter=+\ntransport_maps=" MAP("{u@far.example = slow:[user]}"),
		"u+x@far.example", "", "default slow:[user]"},
	{"recipient_delimiter=+\ntransport_maps=" MAP(
		 "{u@far.example = slow:[user]}, {u+x@far.example = slow:[ext]}"),
		"u+x@far.example", "", "default slow:[ext]"},
	{"transport_maps=" MAP("{mx.example = lmtp:unix:/run/lmtp}"), "u@mx.example", "",
		"local lmtp:unix:/run/lmtp"},
	{"transport_maps=" MAP("{far.example = error:5.1.1 gone: really}"), "u@far.example", "",
		"default error:5.1.1 gone: really"},
	{"direct_delivery_maps=" MAP("{far.example = [10.0.0.1]:25, [10.0.0.2]}"), "u@far.example",
		"", "default smtp:[10.0.0.1]:25, [10.0.0.2] only"},
	{"relayhost=[out]\ndirect_delivery_fallback=yes\ndirect_delivery_maps=" MAP(
		 "{far.example = [10.0.0.1]}"),
		"u@far.example", "", "default smtp:[10.0.0.1], [out] relay 2"},
	{"transport_maps=" MAP("{far.example = slow:[hop]}") "\ndirect_delivery_maps=" MAP(
		 "{far.example = [10.0.0.1]}"),
		"u@far.example", "", "default slow:[hop]"},
	{"direct_delivery_maps=" MAP("{.far.example = [10.0.0.1]}"), "u@a.far.example", "",
		"default smtp:[10.0.0.1] only"},
	{"direct_delivery_maps=" MAP("{mx.example = [10.0.0.1]}"), "u@mx.example", "",
		"local local:mx.example"},
	/* Plans of back-off: by the next hop as it is, its host, the host's parents. */
	{"backoff_plan_maps=" MAP("{far.example = slow}, {.example = other}"), "u@far.example", "",
		"default smtp:far.example plan slow"},
	{"backoff_plan_maps=" MAP("{.far.example = slow}"), "u@a.b.far.example", "",
		"default smtp:a.b.far.example plan slow"},
	{"backoff_plan_maps=" MAP("{.far.example = slow}"), "u@far.example", "",
		"default smtp:far.example"},
	{"relayhost=[out.example]:587\nbackoff_plan_maps=" MAP(
		 "{[out.example]:587 = relay}, {out.example = host}"),
		"u@far.example", "", "default smtp:[out.example]:587 plan relay relay 1"},
	{"relayhost=[out.example]:587\nbackoff_plan_maps=" MAP("{out.example = host}"),
		"u@far.example", "", "default smtp:[out.example]:587 plan host relay 1"},
	{"relayhost=[out.example]\nbackoff_plan_maps=" MAP("{.example = host}"), "u@far.example",
		"", "default smtp:[out.example] relay 1"},
	{"direct_delivery_maps=" MAP(
		 "{far.example = a.example:26, b.example}") "\nbackoff_plan_"
							    "maps=" MAP("{a.example = first}, "
									"{b.example = second}"),
		"u@far.example", "", "default smtp:a.example:26, b.example plan first only"},
	{"backoff_plan_maps=" MAP("{far.example = no name}"), "u@far.example", "",
		"default smtp:far.example"},
	{"transport_maps=" MAP("{far.example = error:5.1.1 gone}") "\nbackoff_plan_maps=static:x",
		"u@far.example", "", "default error:5.1.1 gone"},
	{"backoff_plan_maps=fail:x", "u@far.example", "", "ERR_TEMP"},
	/* What tables say in place of a relay is none. */
	{"relayhost=[out]\ntransport_maps=" MAP("{far.example = :[hop]}"), "u@far.example", "",
		"default smtp:[hop]"},
	{"relayhost=[out]\ntransport_maps=" MAP("{far.example = :}"), "u@far.example", "",
		"default smtp:[out] relay 1"},
	{"relayhost=[out]\ntransport_maps=" MAP("{far.example = slow:}"), "u@far.example", "",
		"default slow:far.example"},
	{"relayhost=[out], [out2]\ndirect_delivery_fallback=yes\ndirect_delivery_maps=" MAP(
		 "{far.example = [a], [b]:26}"),
		"u@far.example", "", "default smtp:[a], [b]:26, [out], [out2] relay 3"},
	{"direct_delivery_fallback=yes\ndirect_delivery_maps=" MAP("{far.example = [a]}"),
		"u@far.example", "", "default smtp:[a], far.example"},
	{"transport_maps=fail:x", "u@far.example", "", "ERR_TEMP"},
	{"direct_delivery_maps=fail:x", "u@far.example", "", "ERR_TEMP"},
	{"sender_dependent_default_transport_maps=fail:x", "u@far.example", "s@x", "ERR_TEMP"},
	{"sender_dependent_relayhost_maps=fail:x", "u@far.example", "s@x", "ERR_TEMP"},
	{"relay_domains=fail:x", "u@far.example", "", "ERR_TEMP"},
};

static const char *via_str(unsigned via)
{
	static char text[32];

	snprintf(text, sizeof(text), "%s", via == QUEUE_VIA_ONLY ? " only" : "");
	if ((via & QUEUE_VIA_RELAY) != 0)
		snprintf(text, sizeof(text), " relay %u", via);
	return text;
}

static void test_routes(bool behind_later)
{
	struct buf got = BUF_INIT(8192);
	struct route_result out;

	route_result_init(&out);
	for (size_t i = 0; i < COUNT_OF(routes); i++) {
		struct route *r = open_route(routes[i].settings, behind_later);
		int err, rounds = 0;

		do {
			err = route_resolve(r, slice_str(routes[i].address),
				slice_str(routes[i].sender), &later, &out);
		} while (again(err, &rounds));
		later_clear(&later);
		buf_reset(&got);
		if (err == 0)
			buf_add_fmt(&got, "%s %s:%s%s%s%s", route_class_name(out.class),
				buf_str(&out.transport), buf_str(&out.nexthop),
				out.plan.len > 0 ? " plan " : "", buf_str(&out.plan),
				via_str(out.via));
		else
			buf_add_str(&got, err == ERR_TEMP ? "ERR_TEMP" : err_str(err));
		is_str(buf_str(&got), routes[i].want, "%s%s with %.60s",
			behind_later ? "later: " : "", routes[i].address, routes[i].settings);
		if (behind_later && strstr(routes[i].settings, "inline:") != NULL &&
			out.class != ROUTE_LOCAL)
			ok(rounds > 0, "the answer came later");
		route_close(&r);
	}
	route_result_clear(&out);
	buf_clear(&got);
}

/* Who is named to the next hop. */
static void test_followed(void)
{
	static const struct {
		const char *recipient, *want;
	} cases[] = {
		{"u@far.example", ""},
		{"u%far.example@mx.example", "u@far.example"},
		{"u%a.example%far.example@mx.example", "u%a.example@far.example"},
		{"far.example!u@mx.example", "u@far.example"},
		{"u@far.example@mx.example", "u@far.example"},
		{"u%far.example@other.example", ""},
	};
	struct route *r = open_route("", false);
	struct route_result out;

	route_result_init(&out);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		is_int(route_resolve(r, slice_str(cases[i].recipient), SLICE_NONE, NULL, &out), 0,
			"%s is resolved", cases[i].recipient);
		is_str(buf_str(&out.address), cases[i].want, "%s is followed", cases[i].recipient);
	}
	route_result_clear(&out);
	route_close(&r);
}

static const struct {
	const char *settings, *address, *want;
} expansions[] = {
	{"", "u@far.example", "u@far.example"},
	{"virtual_alias_maps=" MAP("{a@alias.example = x@far.example}"), "a@alias.example",
		"x@far.example"},
	{"virtual_maps=" MAP("{a@alias.example = old@far.example}"), "a@alias.example",
		"old@far.example"},
	{"append_at_myorigin=no\nvirtual_alias_maps=" MAP("{a@alias.example = user}"),
		"a@alias.example", "user"},
	{"virtual_alias_maps=" MAP("{a@alias.example = x@far.example}"), "A@Alias.Example",
		"x@far.example"},
	{"virtual_alias_maps=" MAP("{a@alias.example = x@far.example, y@far.example}"),
		"a@alias.example", "x@far.example y@far.example"},
	{"virtual_alias_maps=" MAP("{a@alias.example = b@alias.example, c@far.example}, "
				   "{b@alias.example = c@far.example}"),
		"a@alias.example", "c@far.example"},
	{"virtual_alias_maps=" MAP("{@alias.example = @far.example}"), "any@alias.example",
		"any@far.example"},
	{"virtual_alias_maps=" MAP("{@alias.example = all@far.example}"), "any+x@alias.example",
		"all@far.example"},
	{"virtual_alias_maps=" MAP("{a@alias.example = user}"), "a@alias.example",
		"user@mx.example"},
	{"virtual_alias_maps=" MAP("{user = x@far.example}"), "user@mx.example", "x@far.example"},
	{"virtual_alias_maps=" MAP("{user = x@far.example}"), "user@local.example",
		"x@far.example"},
	{"virtual_alias_maps=" MAP("{user = x@far.example}"), "user@alias.example",
		"user@alias.example"},
	/* An alias that names itself keeps a copy. */
	{"virtual_alias_maps=" MAP("{a@far.example = a@far.example, b@far.example}"),
		"a@far.example", "a@far.example b@far.example"},
	{"virtual_alias_maps=" MAP("{a@far.example = b@far.example, a@far.example}"),
		"a@far.example", "b@far.example a@far.example"},
	{"virtual_alias_maps=" MAP("{a@far.example = b@far.example, a@far.example}, "
				   "{all@far.example = a@far.example}"),
		"all@far.example", "b@far.example a@far.example"},
	{"virtual_alias_maps=" MAP("{@far.example = @far.example}"), "a@far.example",
		"a@far.example"},
	/* Extensions. */
	{"recipient_delimiter=+\nvirtual_alias_maps=" MAP("{a@alias.example = x@far.example}"),
		"a+ext@alias.example", "x+ext@far.example"},
	{"recipient_delimiter=+\npropagate_unmatched_extensions=\nvirtual_alias_maps=" MAP(
		 "{a@alias.example = x@far.example}"),
		"a+ext@alias.example", "x@far.example"},
	{"recipient_delimiter=+\nvirtual_alias_maps=" MAP(
		 "{a@alias.example = x@far.example}, {a+ext@alias.example = y@far.example}"),
		"a+ext@alias.example", "y@far.example"},
	{"recipient_delimiter=+\nvirtual_alias_maps=" MAP("{a@alias.example = x+own@far.example}"),
		"a+ext@alias.example", "x+own@far.example"},
	/* Quoted local parts. */
	{"virtual_alias_maps=" MAP("{a@alias.example = \"b, c\"@far.example, d@far.example}"),
		"a@alias.example", "b, c@far.example d@far.example"},
	/* Loops and limits. */
	{"virtual_alias_maps=" MAP("{a@x.example = b@x.example}, {b@x.example = a@x.example}"),
		"a@x.example", "ERR_LIMIT"},
	{"virtual_alias_recursion_limit=2\nvirtual_alias_maps=" MAP(
		 "{a@x.example = b@x.example}, {b@x.example = c@x.example}, {c@x.example = "
		 "d@x.example}"),
		"a@x.example", "ERR_LIMIT"},
	{"virtual_alias_expansion_limit=2\nvirtual_alias_maps=" MAP(
		 "{a@x.example = b@x.example, c@x.example, d@x.example}"),
		"a@x.example", "ERR_LIMIT"},
	{"virtual_alias_address_length_limit=12\nvirtual_alias_maps=" MAP(
		 "{a@x.example = bb@x.example}"),
		"a@x.example", "bb@x.example"},
	{"virtual_alias_address_length_limit=11\nvirtual_alias_maps=" MAP(
		 "{a@x.example = bb@x.example}"),
		"a@x.example", "ERR_LIMIT"},
	{"virtual_alias_maps=" MAP("{a@x.example = ,}"), "a@x.example", "a@x.example"},
	{"virtual_alias_maps=fail:x", "a@x.example", "ERR_TEMP"},
	{"virtual_alias_maps=" MAP("{b@x.example = c@x.example}") ", fail:x", "b@x.example",
		"ERR_TEMP"},
	{"virtual_alias_maps=" MAP("{a@x.example = <b@x.example}"), "a@x.example", "ERR_TEMP"},
	{"virtual_alias_maps=" MAP("{a@x.example = b@x.example c@x.example,d@x.example}"),
		"a@x.example", "b@x.example c@x.example d@x.example"},
	{"virtual_alias_maps=" MAP("{a@x.example = Bert B. <b@x.example>, \"c c\"@x.example}"),
		"a@x.example", "b@x.example c c@x.example"},
};

static void add(struct slice address, void *arg)
{
	struct buf *got = arg;

	buf_add_fmt(got, "%s%.*s", got->len > 0 ? " " : "", SLICE_FMT(address));
}

static void test_expansions(bool behind_later)
{
	struct buf got = BUF_INIT(8192), why = BUF_INIT(512);

	for (size_t i = 0; i < COUNT_OF(expansions); i++) {
		struct route *r = open_route(expansions[i].settings, behind_later);
		int err, rounds = 0;

		buf_reset(&got);
		do {
			err = route_expand(
				r, slice_str(expansions[i].address), &later, add, &got, &why);
		} while (again(err, &rounds));
		later_clear(&later);
		if (err != 0) {
			is_int(got.len, 0, "nothing is given with an error");
			buf_add_str(&got, err == ERR_TEMP    ? "ERR_TEMP"
					  : err == ERR_LIMIT ? "ERR_LIMIT"
							     : err_str(err));
		}
		is_str(buf_str(&got), expansions[i].want, "%s%s with %.70s",
			behind_later ? "later: " : "", expansions[i].address,
			expansions[i].settings);
		route_close(&r);
	}
	buf_clear(&got);
	buf_clear(&why);
}

static const struct {
	const char *settings, *address;
	int want;
	const char *table;
} recipients[] = {
	{"local_recipient_maps=" MAP("{u = x}"), "u@mx.example", 0, NULL},
	{"local_recipient_maps=" MAP("{u = x}"), "v@mx.example", ERR_NOT_FOUND,
		"local recipient table"},
	{"local_recipient_maps=", "v@mx.example", 0, NULL},
	{"local_recipient_maps=" MAP("{u = x}"), "v@far.example", 0, NULL},
	{"local_recipient_maps=" MAP("{u = x}") "\nrecipient_delimiter=+", "u+e@mx.example", 0,
		NULL},
	{"local_recipient_maps=fail:x", "v@mx.example", ERR_TEMP, NULL},
	{"relay_recipient_maps=" MAP("{u@relay.example = x}, {@all.relay.example = x}"),
		"u@relay.example", 0, NULL},
	{"relay_recipient_maps=" MAP("{u@relay.example = x}, {@all.relay.example = x}"),
		"any@all.relay.example", 0, NULL},
	{"relay_recipient_maps=" MAP("{u@relay.example = x}"), "v@relay.example", ERR_NOT_FOUND,
		"relay recipient table"},
	{"virtual_mailbox_maps=" MAP("{u@box.example = x}"), "u@box.example", 0, NULL},
	{"virtual_mailbox_maps=" MAP("{u@box.example = x}"), "v@box.example", ERR_NOT_FOUND,
		"virtual mailbox table"},
	{"virtual_alias_maps=" MAP("{u@alias.example = x}"), "u@alias.example", 0, NULL},
	{"virtual_alias_maps=" MAP("{u@alias.example = x}"), "v@alias.example", ERR_NOT_FOUND,
		"virtual alias table"},
	{"virtual_alias_maps=" MAP("{v@mx.example = x}") "\nlocal_recipient_maps=" MAP("{u = x}"),
		"v@mx.example", 0, NULL},
};

static void test_recipients(bool behind_later)
{
	for (size_t i = 0; i < COUNT_OF(recipients); i++) {
		struct route *r = open_route(recipients[i].settings, behind_later);
		enum route_class class;
		const char *table = NULL;
		int err, rounds = 0;

		do {
			err = route_recipient_exists(
				r, slice_str(recipients[i].address), &later, &class, &table);
		} while (again(err, &rounds));
		later_clear(&later);
		is_int(err, recipients[i].want, "%s%s with %.60s", behind_later ? "later: " : "",
			recipients[i].address, recipients[i].settings);
		if (recipients[i].table != NULL)
			is_str(table, recipients[i].table, "its table");
		route_close(&r);
	}
}

/* Routes that are answers: what smtpd can say at once. */
#define NO "none"
static const struct {
	const char *settings, *address, *want; /* "5.1.1 text", "later: text" for retry */
} refusals[] = {
	{"", "u@far.example", NO},
	{"", "u@-far.example", "5.1.3 bad address syntax"},
	{"virtual_alias_maps=" MAP("{u@-far.example = x}"), "u@-far.example", NO},
	{"transport_maps=" MAP("{far.example = error:5.1.6 moved}"), "u@far.example",
		"5.1.6 moved"},
	{"transport_maps=" MAP("{far.example = error:}"), "u@far.example",
		"Address is undeliverable"},
	{"transport_maps=" MAP("{u@mx.example = retry:4.2.1 off}"), "u@mx.example",
		"later: 4.2.1 off"},
	{"transport_maps=" MAP("{u@mx.example = retry:4.2.1 off}"), "v@mx.example", NO},
	{"transport_maps=" MAP("{u@mx.example = error:x}") "\nvirtual_alias_maps=" MAP(
		 "{u@mx.example = v@mx.example}"),
		"u@mx.example", NO},
	{"transport_maps=fail:x", "u@far.example", "ERR_TEMP"},
	{"virtual_alias_maps=fail:x\nrelay_transport=error:x", "u@relay.example", "ERR_TEMP"},
	{"local_transport=error:5.1.1 no mail here", "u@mx.example", "5.1.1 no mail here"},
	{"local_transport=error:5.1.1 no mail here", "u@far.example", NO},
	{"virtual_transport=retry:4.3.2 soon", "u@box.example", "later: 4.3.2 soon"},
	{"relay_transport=error", "u@relay.example", "Address is undeliverable"},
	{"relocated_maps=" MAP("{u@far.example = x@new.example}"), "u@far.example",
		"5.1.6 User has moved to x@new.example"},
	{"relocated_maps=" MAP("{u = x@new.example}") "\nrecipient_delimiter=+", "u+e@mx.example",
		"5.1.6 User has moved to x@new.example"},
	{"relocated_maps=" MAP("{u = x@new.example}"), "u@far.example", NO},
	{"relocated_maps=" MAP("{@alias.example = 5.2.1 gone}") "\nrelocated_prefix_enable=no",
		"any@alias.example", "5.2.1 gone"},
	{"relocated_maps=" MAP("{u@alias.example = x}") "\nvirtual_alias_maps=" MAP(
		 "{u@alias.example = v@mx.example}"),
		"u@alias.example", NO},
	{"relocated_maps=fail:x", "u@far.example", "ERR_TEMP"},
	{"transport_maps=" MAP("{alias.example = error:x}"), "u@alias.example", NO},
	{"default_transport=errors:x", "u@far.example", NO},
	{"sender_dependent_default_transport_maps=" MAP("{s@x.example = error:not you}"),
		"u@far.example", "not you"},
};

static void test_refusals(bool behind_later)
{
	struct buf text = BUF_INIT(10000), got = BUF_INIT(10000);

	for (size_t i = 0; i < COUNT_OF(refusals); i++) {
		struct route *r = open_route(refusals[i].settings, behind_later);
		bool is_temporary = false;
		int err, rounds = 0;

		do {
			err = route_refusal(r, slice_str(refusals[i].address),
				SLICE_LIT("s@x.example"), &later, &is_temporary, &text);
		} while (again(err, &rounds));
		later_clear(&later);
		buf_reset(&got);
		if (err == 0)
			buf_add_fmt(&got, "%s%s", is_temporary ? "later: " : "", buf_str(&text));
		else
			buf_add_str(&got, err == ERR_NOT_FOUND ? NO
					  : err == ERR_TEMP    ? "ERR_TEMP"
							       : err_str(err));
		is_str(buf_str(&got), refusals[i].want, "%s%s with %.60s",
			behind_later ? "later: " : "", refusals[i].address, refusals[i].settings);
		route_close(&r);
	}
	buf_clear(&text);
	buf_clear(&got);
}

static void test_own(void)
{
	struct route *r = open_route("", false);
	struct buf out = BUF_INIT(1000);

	ok(route_is_own_address(r, SLICE_LIT("192.0.2.7")), "an own address");
	ok(!route_is_own_address(r, SLICE_LIT("192.0.2.8")), "another's");
	ok(!route_is_own_address(r, SLICE_LIT("")), "none");
	is_int(route_complete(r, SLICE_LIT("postmaster"), &out), 0, "completed");
	is_str(buf_str(&out), "postmaster@mx.example", "with myorigin");
	buf_clear(&out);
	route_close(&r);
}

/* One address to another, as generic(5) and canonical(5) of Postfix. */
static void test_mapping(bool behind_later)
{
	static const struct {
		const char *table, *address, *want;
		bool propagate;
	} rows[] = {
		{"inline:{{a@far.example = b@other.example}}", "A@Far.Example", "b@other.example"},
		{"inline:{{a@far.example = b@other.example}}", "x@far.example", "!"},
		{"inline:{{a@far.example = b@other.example}}", "a+e@far.example",
			"b@other.example"},
		{"inline:{{a@far.example = b@other.example}}", "a+e@far.example",
			"b+e@other.example", true},
		{"inline:{{a+e@far.example = c@x}, {a@far.example = b@x}}", "a+e@far.example",
			"c@x", true},
		{"inline:{{a = b@x}}", "a@mx.example", "b@x"},
		{"inline:{{a = b@x}}", "a+e@[192.0.2.7]", "b@x"},
		{"inline:{{a = b@x}}", "a@far.example", "!"},
		{"inline:{{a = b@x}}", "a@relay.example", "!"},
		{"inline:{{@far.example = @other.example}}", "a+e@far.example",
			"a+e@other.example"},
		{"inline:{{@far.example = b@other.example}}", "a+e@far.example", "b@other.example"},
		{"inline:{{a@far.example = b}}", "a@far.example", "b@mx.example"},
		{"inline:{{a@far.example = \"b c\"@x}}", "a@far.example", "b c@x"},
		{"inline:{{a@far.example = <>}}", "a@far.example", "?"},
		{"inline:{{a@b = c@d}, {c@d = e@f}}", "a@b", "c@d"},
		{"pcre:{{/^a$/ b@x}, {/^@/ c@x}, {/^a@far/ d@x}}", "a@mx.example", "!"},
		{"pcre:{{/^a$/ b@x}, {/^@/ c@x}, {/^a@far/ d@x}}", "a@far.example", "d@x"},
		{"pcre:{{/^(.)@far/ $1.$1@x}}", "a@far.example", "a.a@x"},
		{"", "a@far.example", "!"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct route *r = open_route("recipient_delimiter=+", behind_later);
		char *spec = mem_fmt(
			"%s%s", behind_later && rows[i].table[0] ? "later:" : "", rows[i].table);
		struct map_list *table = NULL;
		struct buf out = BUF_INIT(2048), why = BUF_INIT(2048);
		int rounds = 0, err;

		if (map_list_open(spec, &why, &table) != 0)
			bail_out("%s: %s", spec, buf_str(&why));
		do
			err = route_map_address(r, table, slice_str(rows[i].address),
				rows[i].propagate, &later, &out);
		while (again(err, &rounds));
		later_clear(&later);
		is_str(err == ERR_NOT_FOUND ? "!"
			: err != 0          ? "?"
					    : buf_str(&out),
			rows[i].want, "%s: %s", spec, rows[i].address);
		map_list_close(&table);
		route_close(&r);
		mem_free(spec);
		buf_clear(&out);
		buf_clear(&why);
	}
}

int main(void)
{
	char path[80];
	FILE *f;

	snprintf(dir, sizeof(dir), "/tmp/gp-route-XXXXXX");
	if (mkdtemp(dir) == NULL)
		bail_out("mkdtemp");
	snprintf(path, sizeof(path), "%s/main.cf", dir);
	f = fopen(path, "w");
	if (f == NULL || fputs("compatibility_level = 3.6\n", f) < 0 || fclose(f) != 0)
		bail_out("%s", path);
	loop_init();
	map_set_deferrer(loop_defer);
	later_init(&later, 2000, wake, NULL);
	for (int behind_later = 0; behind_later < 2; behind_later++) {
		test_routes(behind_later);
		test_expansions(behind_later);
		test_recipients(behind_later);
		test_refusals(behind_later);
		test_mapping(behind_later);
	}
	test_followed();
	test_own();
	unlink(path);
	rmdir(dir);
	return done_testing();
}

/* SPDX-License-Identifier: ISC */
#include "policy/direct.h"

#include <stdlib.h>

#include "conf/conf.h"
#include "dns/client.h"
#include "map/map.h"
#include "map/net.h"
#include "util/clock.h"
#include "util/dict.h"
#include "util/err.h"
#include "util/mem.h"

enum { TABLES_MAX = 100, NAME_SEC = 5 };

struct direct_hosts {
	struct map *maps[TABLES_MAX];
	unsigned versions[TABLES_MAX];
	size_t n;
	bool is_known, has_failed;
	struct dict *addresses; /* 4 or 16 bytes */
	struct dict *names;     /* of [name]; values borrowed from here */
	struct {
		char *name; /* owned */
		bool use_mx;
	} asked[DIRECT_NAMES];
	size_t asked_n;
};

static char present;

/* Reading the tables. */

static void add_name(struct direct_hosts *d, struct slice name, bool use_mx)
{
	struct buf key = BUF_INIT(DNS_NAME_MAX + 4);
	bool is_new = false;

	(void)buf_add_lower(&key, name);
	(void)buf_add_str(&key, use_mx ? "/mx" : "");
	is_new = !buf_failed(&key) && dict_get(d->names, buf_slice(&key)) == NULL &&
		 dict_set(d->names, buf_slice(&key), &present) == 0;
	buf_clear(&key);
	if (!is_new || d->asked_n == DIRECT_NAMES)
		return;
	d->asked[d->asked_n].name = slice_dup(name);
	d->asked[d->asked_n++].use_mx = use_mx;
}

/* "[10.0.0.1]:25", "[name]", "name:25" */
static void add_host(struct direct_hosts *d, struct slice host)
{
	bool use_mx = !slice_starts(host, "[");
	ptrdiff_t end = slice_find(host, use_mx ? ':' : ']');
	struct net net;

	if (!use_mx)
		host = end > 0 ? slice_of(host.p + 1, (size_t)end - 1) : SLICE_NONE;
	else if (end >= 0)
		host = slice_first(host, (size_t)end);
	if (slice_case_starts(host, "IPv6:"))
		host = slice_from(host, strlen("IPv6:"));
	if (host.len == 0)
		return;
	if (net_parse_address(host, &net) == 0)
		(void)dict_set(d->addresses, slice_of(net.addr, net.bytes), &present);
	else
		add_name(d, host, use_mx);
}

static bool add_entry(struct slice key, struct slice value, void *arg)
{
	struct slice host;

	(void)key;
	while (slice_token(&value, ", \t\r\n", &host))
		add_host(arg, host);
	return true;
}

static void forget(struct direct_hosts *d)
{
	dict_free(&d->addresses);
	dict_free(&d->names);
	while (d->asked_n > 0)
		mem_free(d->asked[--d->asked_n].name);
	d->is_known = d->has_failed = false;
}

/* ERR_STATE: a table that cannot be walked. */
static int learn(struct direct_hosts *d)
{
	bool is_current = d->is_known;
	int err = 0;

	for (size_t i = 0; i < d->n; i++)
		is_current = is_current && d->versions[i] == map_version(d->maps[i]);
	if (is_current)
		return 0;
	forget(d);
	d->is_known = true;
	d->addresses = dict_new(DIRECT_HOSTS_MAX, NULL);
	d->names = dict_new(DIRECT_HOSTS_MAX, NULL);
	for (size_t i = 0; i < d->n && err != ERR_STATE; i++) {
		d->versions[i] = map_version(d->maps[i]);
		err = map_walk(d->maps[i], add_entry, d);
		d->has_failed = d->has_failed || err != 0;
	}
	return err == ERR_STATE ? err : 0;
}

/* Opening. */

struct opening {
	struct direct_hosts *d;
	struct buf *why;
	int err;
};

static void open_one(struct slice spec, void *arg)
{
	struct opening *o = arg;
	char *text = slice_dup(spec);

	if (o->err == 0 && o->d->n == TABLES_MAX) {
		(void)buf_add_fmt(o->why, "direct_delivery_maps: more than %d tables", TABLES_MAX);
		o->err = ERR_SYNTAX;
	} else if (o->err == 0) {
		o->err = map_open(text, o->why, &o->d->maps[o->d->n]);
		o->d->n += o->err == 0;
	}
	mem_free(text);
}

int direct_open(struct buf *why, struct direct_hosts **out)
{
	struct opening o = {.d = mem_alloc(sizeof(*o.d)), .why = why};

	map_walk_specs(conf_str(P_direct_delivery_maps), open_one, &o);
	if (o.err == 0 && learn(o.d) != 0) {
		(void)buf_add_str(why, "direct_delivery_maps: permit_direct_delivery_hosts needs "
				       "tables whose entries can be listed: hash, btree, lmdb, "
				       "texthash, inline");
		o.err = ERR_SYNTAX;
	}
	if (o.err != 0)
		direct_close(&o.d);
	*out = o.d;
	return o.err;
}

void direct_close(struct direct_hosts **dp)
{
	struct direct_hosts *d = *dp;

	*dp = NULL;
	if (d == NULL)
		return;
	forget(d);
	for (size_t i = 0; i < d->n; i++)
		map_close(&d->maps[i]);
	mem_free(d);
}

/* Looking. */

static bool holds(struct dns_answer a, const struct net *client)
{
	struct dns_record r;

	while (dns_answer_next(&a, &r))
		if (slice_eq(r.data, slice_of(client->addr, client->bytes)))
			return true;
	return false;
}

/* Has the host the client's address? ERR_TEMP, ERR_LATER, ERR_NOT_FOUND. */
static int ask_host(struct slice name, const struct net *client, struct later *l)
{
	struct dns_answer a;
	int err =
		dns_later(l, client->bytes == 4 ? DNS_A : DNS_AAAA, name, NAME_SEC * CLOCK_SEC, &a);

	if (err != 0)
		return err;
	if (a.status == DNS_TEMP)
		return ERR_TEMP;
	return a.status == DNS_OK && holds(a, client) ? 0 : ERR_NOT_FOUND;
}

/* The worst of two that are not 0: what is still open goes before what failed. */
static int worse(int a, int b)
{
	if (a == ERR_LATER || b == ERR_LATER)
		return ERR_LATER;
	return a == ERR_TEMP || b == ERR_TEMP ? ERR_TEMP : ERR_NOT_FOUND;
}

static int ask_domain(struct slice name, const struct net *client, struct later *l)
{
	struct dns_answer mx;
	struct dns_record r;
	int err = dns_later(l, DNS_MX, name, NAME_SEC * CLOCK_SEC, &mx), result = ERR_NOT_FOUND;

	if (err != 0)
		return err;
	if (mx.status == DNS_TEMP)
		return ERR_TEMP;
	if (mx.status == DNS_NODATA)
		return ask_host(name, client, l);
	while (mx.status == DNS_OK && dns_answer_next(&mx, &r)) {
		err = ask_host(r.data, client, l);
		if (err == 0)
			return 0;
		result = worse(result, err);
	}
	return result;
}

/* All at once: a client does not wait for one after the other. */
static int ask_names(struct direct_hosts *d, const struct net *client, struct later *l)
{
	int result = ERR_NOT_FOUND;

	for (size_t i = 0; i < d->asked_n; i++) {
		struct slice name = slice_str(d->asked[i].name);
		int err = d->asked[i].use_mx ? ask_domain(name, client, l)
					     : ask_host(name, client, l);

		if (err == 0)
			return 0;
		result = worse(result, err);
	}
	return result;
}

static bool is_named(struct direct_hosts *d, struct slice name)
{
	struct buf key = BUF_INIT(DNS_NAME_MAX + 1);
	bool found = false;

	if (buf_add_lower(&key, name) == 0 && name.len > 0)
		found = dict_get(d->names, buf_slice(&key)) != NULL;
	buf_clear(&key);
	return found;
}

int direct_find(struct direct_hosts *d, const struct policy_facts *f, struct later *l)
{
	struct net client;
	int err;

	(void)learn(d);
	if (net_parse_address(f->client_addr, &client) != 0)
		return ERR_NOT_FOUND;
	if (dict_get(d->addresses, slice_of(client.addr, client.bytes)) != NULL ||
		(f->name_status == POLICY_NAME_OK && is_named(d, f->client_name)))
		return 0;
	err = ask_names(d, &client, l);
	return err == ERR_NOT_FOUND && d->has_failed ? ERR_TEMP : err;
}

/* SPDX-License-Identifier: ISC */
#include "smtp-client/sift.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include "conf/conf.h"
#include "map/map.h"
#include "smtp-client/setting.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

/* A whole certificate in hexadecimal digits, too. */
enum { KEY_LIMIT = 2 * DNS_ANSWER_MAX + 1024, WHY_LIMIT = 1024, GONE_LIMIT = 256 * 1024 };

static struct map_list *tables;

/* What goes. */
struct sieve {
	struct later *later;
	bool mx[HOSTS_MX_MAX], addr[HOSTS_ADDR_MAX];
	struct buf gone;               /* their texts, a line each */
	struct buf tlsa[HOSTS_MX_MAX]; /* what stays, of hosts that have records */
	unsigned tlsa_n[HOSTS_MX_MAX];
};

static enum param parameter(void)
{
	return setting_of(P_smtp_dns_reply_filter);
}

void sift_init(void)
{
	struct buf why = BUF_INIT(WHY_LIMIT);
	if (map_list_open(conf_str(parameter()), &why, &tables) != 0) {
		log_fatal("%s: %s", conf_name(parameter()), buf_str(&why));
	}
	buf_clear(&why);
}

bool sift_is_wanted(void)
{
	return !map_list_is_empty(tables);
}

/* One record. 0: *goes; ERR_LATER; ERR_SYNTAX. */
static int look_up(struct sieve *s, const struct buf *key, bool *goes)
{
	struct buf value = BUF_INIT(MAP_VALUE_LIMIT);
	int r = buf_failed(key) ? ERR_NOT_FOUND
				: map_list_find(tables, buf_slice(key), s->later, &value);
	*goes = r == 0 && slice_case_eq_str(slice_trim(buf_slice(&value)), "IGNORE");
	if (*goes) {
		buf_add_fmt(&s->gone, "%s\n", buf_str(key));
	}
	if (r == 0 && !*goes) {
		log_warning("%s: unknown DNS filter action: \"%s\"", conf_name(parameter()),
			log_q(buf_slice(&value)));
		r = ERR_SYNTAX;
	} else if (r == ERR_NOT_FOUND) {
		r = 0;
	} else if (r != 0 && r != ERR_LATER) {
		log_warning("%s: lookup error for \"%s\"", conf_name(parameter()),
			log_q(buf_slice(key)));
		r = ERR_SYNTAX;
	}
	buf_clear(&value);
	return r;
}

static int sift_mx(struct sieve *s, const struct hosts *h)
{
	struct buf key = BUF_INIT(KEY_LIMIT);
	int r = 0;
	for (unsigned i = 0; r == 0 && h->mx && i < h->hosts; i++) {
		buf_reset(&key);
		buf_add_fmt(&key, "%.*s. %u IN MX %u %.*s.", SLICE_FMT(h->mx_name), h->mx_ttl,
			h->host[i].pref, SLICE_FMT(h->host[i].name));
		r = look_up(s, &key, &s->mx[i]);
	}
	buf_clear(&key);
	return r;
}

static int sift_addresses(struct sieve *s, const struct hosts *h)
{
	struct buf key = BUF_INIT(KEY_LIMIT);
	char text[INET6_ADDRSTRLEN];
	int r = 0;
	for (unsigned i = 0; r == 0 && i < h->n; i++) {
		const struct host_addr *a = &h->addr[i];
		const struct host *host = &h->host[a->at];
		if (s->mx[a->at]) {
			continue;
		}
		(void)inet_ntop(a->family, a->addr, text, sizeof(text));
		buf_reset(&key);
		buf_add_fmt(&key, "%.*s. %u IN %s %s", SLICE_FMT(host->canonical), host->ttl,
			a->family == AF_INET ? "A" : "AAAA", text);
		r = look_up(s, &key, &s->addr[i]);
	}
	buf_clear(&key);
	return r;
}

static void add_tlsa(struct buf *key, struct slice data)
{
	for (size_t i = 0; i < data.len; i++) {
		buf_add_fmt(key, i < 3 ? "%u " : "%02X", (unsigned char)data.p[i]);
	}
}

static int sift_tlsa(struct sieve *s, const struct hosts *h, unsigned at, uint16_t port)
{
	const struct host *host = &h->host[at];
	struct slice rest = host->records, data;
	struct buf key = BUF_INIT(KEY_LIMIT);
	bool goes = false;
	int r = 0;
	s->tlsa[at] = BUF_INIT(HOSTS_TLSA_BYTES);
	while (r == 0 && host_record_next(&rest, &data)) {
		buf_reset(&key);
		buf_add_fmt(&key, "_%u._tcp.%.*s. %u IN TLSA ", port, SLICE_FMT(host->base),
			host->tlsa_ttl);
		add_tlsa(&key, data);
		r = look_up(s, &key, &goes);
		if (r == 0 && !goes) {
			host_record_add(&s->tlsa[at], data);
			s->tlsa_n[at]++;
		}
	}
	buf_clear(&key);
	return r;
}

static void take_out_hosts(struct hosts *h, const struct sieve *s)
{
	bool any = false;
	unsigned best = UINT16_MAX;
	for (unsigned i = 0; i < h->hosts; i++) {
		any = any || s->mx[i];
		best = !s->mx[i] && h->host[i].pref < best ? h->host[i].pref : best;
	}
	if (any) {
		h->best = (uint16_t)best;
	}
}

static void take_out_addresses(struct hosts *h, const struct sieve *s)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < h->n; i++) {
		if (!s->addr[i] && !s->mx[h->addr[i].at]) {
			h->addr[kept++] = h->addr[i];
		}
	}
	h->n = kept;
}

/* What stays is less than what stood there: it is written over it. */
static void take_out_tlsa(struct host *host, const struct buf *stays, unsigned n)
{
	if (host->tlsa != TLSA_FOUND || n == host->count) {
		return;
	}
	memcpy((char *)(uintptr_t)host->records.p, buf_str(stays), stays->len);
	host->records.len = stays->len;
	host->count = n;
	if (n == 0) {
		host->tlsa = TLSA_FAILED;
		host->records = SLICE_NONE;
	}
}

/* Of what nothing is left. */
static void name_loss(
	const struct hosts *h, const struct sieve *s, enum dns_type *type, struct slice *name)
{
	bool has_host = false;
	*type = DNS_MX;
	*name = h->mx_name;
	for (unsigned i = 0; i < h->hosts && !has_host; i++) {
		if (!s->mx[i]) {
			has_host = true;
			*type = h->n > 0 && h->addr[h->n - 1].family == AF_INET6 ? DNS_AAAA : DNS_A;
			*name = h->host[i].name;
		}
	}
}

/* Once, when all is known: till then it may have to be looked up again. */
static void log_gone(const struct sieve *s)
{
	struct slice rest = buf_slice(&s->gone), line;
	while (slice_token(&rest, "\n", &line)) {
		log_info("ignoring DNS RR: %s", log_q(line));
	}
}

static int sift(struct sieve *s, const struct hosts *h, uint16_t port, enum dns_type *type)
{
	int r = sift_mx(s, h);
	*type = DNS_MX;
	if (r == 0) {
		*type = DNS_A;
		r = sift_addresses(s, h);
	}
	for (unsigned i = 0; r == 0 && i < h->hosts; i++) {
		*type = DNS_TLSA;
		r = s->mx[i] || h->host[i].tlsa != TLSA_FOUND ? 0 : sift_tlsa(s, h, i, port);
	}
	return r;
}

int sift_hosts(
	struct hosts *h, uint16_t port, struct later *l, enum dns_type *type, struct slice *name)
{
	struct sieve *s = mem_alloc(sizeof(*s));
	s->later = l;
	s->gone = BUF_INIT(GONE_LIMIT);
	int r = sift(s, h, port, type);
	if (r != ERR_LATER) {
		log_gone(s);
	}
	*name = h->mx ? h->mx_name : h->hosts > 0 ? h->host[0].name : SLICE_NONE;
	if (r == 0) {
		name_loss(h, s, type, name);
		take_out_hosts(h, s);
		take_out_addresses(h, s);
		for (unsigned i = 0; i < h->hosts; i++) {
			take_out_tlsa(&h->host[i], &s->tlsa[i], s->tlsa_n[i]);
		}
		r = h->n > 0 ? 0 : ERR_NOT_FOUND;
	}
	for (unsigned i = 0; i < HOSTS_MX_MAX; i++) {
		buf_clear(&s->tlsa[i]);
	}
	buf_clear(&s->gone);
	mem_free(s);
	return r;
}

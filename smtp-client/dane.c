/* SPDX-License-Identifier: ISC */
#include "smtp-client/dane.h"

#include "conf/conf.h"
#include "smtp-client/delivery.h"
#include "util/err.h"
#include "util/log.h"

enum { RECORD_HEAD = 3, HEX_SHOWN = 64, WHOLE = 0 };

/* The matching type of a name in tls_dane_digests (RFC 6698, 7.4); 0: none of these. */
static unsigned matching_of(struct slice word)
{
	struct slice name;
	(void)slice_part(&word, '=', &name);
	return slice_case_eq_str(name, "sha256") ? 1 : slice_case_eq_str(name, "sha512") ? 2 : 0;
}

/* The place of a digest in that list, the best is 0; -1: it is not there. */
static int rank_of(uint8_t matching)
{
	struct slice rest = slice_str(conf_str(P_tls_dane_digests)), word;
	for (int rank = 0; slice_token(&rest, ", \t\r\n", &word); rank++) {
		if (matching_of(word) == matching) {
			return rank;
		}
	}
	return -1;
}

static bool is_usable(const struct tls_tlsa *r)
{
	return tls_tlsa_is_usable(r) && (r->matching == WHOLE || rank_of(r->matching) >= 0);
}

/* RFC 7671, 9: beside a better digest of the same thing a record does not count. */
static bool is_outdone(const struct tls_tlsa *r, const struct tls_tlsa *by)
{
	return is_usable(by) && by->usage == r->usage && by->selector == r->selector &&
	       r->matching != WHOLE && by->matching != WHOLE &&
	       rank_of(by->matching) < rank_of(r->matching);
}

/* Where there are usable records the others are left out. */
static void keep_best(struct tlsa_answer *a)
{
	struct tls_tlsa kept[DNS_RECORDS_MAX];
	size_t n = 0;
	for (size_t i = 0; i < a->n; i++) {
		bool good = is_usable(&a->record[i]);
		for (size_t k = 0; good && k < a->n; k++) {
			good = !is_outdone(&a->record[i], &a->record[k]);
		}
		if (good) {
			kept[n++] = a->record[i];
		}
	}
	if (n > 0) {
		memcpy(a->record, kept, n * sizeof(kept[0]));
		a->n = n;
	}
}

static void set_name(char to[static DNS_NAME_MAX + 1], struct slice name)
{
	name = slice_first(name, DNS_NAME_MAX);
	if (name.len > 0) {
		memcpy(to, name.p, name.len);
	}
	to[name.len] = '\0';
}

/* One that is cut off is there, and unusable: no usage has this number. */
static struct tls_tlsa record_of(struct slice data)
{
	const uint8_t *p = (const uint8_t *)data.p;
	if (data.len < RECORD_HEAD) {
		return (struct tls_tlsa){.usage = UINT8_MAX};
	}
	return (struct tls_tlsa){.usage = p[0],
		.selector = p[1],
		.matching = p[2],
		.data = p + RECORD_HEAD,
		.len = data.len - RECORD_HEAD};
}

void client_tlsa(const struct delivery *d, struct tlsa_answer *out)
{
	*out = (struct tlsa_answer){.status = TLSA_INSECURE};
	out->records = out->record;
	if (d->hosts == NULL || d->at == 0 || d->at > d->hosts->n) {
		return;
	}
	const struct hosts *h = d->hosts;
	const struct host *host = &h->host[h->addr[d->at - 1].at];
	struct slice rest = host->records, data;
	out->status = host->tlsa;
	out->mx = h->mx;
	out->mx_secure = h->mx_secure;
	set_name(out->base, host->base);
	set_name(out->mx_name, h->mx && h->mx_secure ? h->mx_name : SLICE_NONE);
	while (out->n < DNS_RECORDS_MAX && host_record_next(&rest, &data)) {
		out->record[out->n++] = record_of(data);
	}
	keep_best(out);
}

static bool has_usable(const struct tlsa_answer *a)
{
	for (size_t i = 0; i < a->n; i++) {
		if (is_usable(&a->records[i])) {
			return true;
		}
	}
	return false;
}

static void log_unusable(const struct tls_tlsa *r, const char *host, uint16_t port)
{
	struct buf hex = BUF_INIT(HEX_SHOWN * 2);
	if (r->usage == UINT8_MAX && r->data == NULL) {
		log_warning("%s:%u: malformed TLSA RR", host, port);
		return;
	}
	for (size_t i = 0; i < r->len && i < HEX_SHOWN; i++) {
		buf_add_fmt(&hex, "%02X", r->data[i]);
	}
	log_warning("%s:%u: unusable TLSA RR: %u %u %u %s%s", host, port, r->usage, r->selector,
		r->matching, buf_str(&hex), r->len > HEX_SHOWN ? "..." : "");
	buf_clear(&hex);
}

void dane_log(enum tls_level level, const struct tlsa_answer *a, const char *host, uint16_t port)
{
	if (a->status == TLSA_FAILED) {
		log_warning("DANE TLSA lookup problem: Host or domain name not found. Name service "
			    "error for name=_%u._tcp.%s type=TLSA: %s",
			port, a->base, dns_status_str(DNS_TEMP));
	} else if (a->status == TLSA_FOUND && a->n > 0 && !has_usable(a)) {
		/* One stands for all: there may be many. */
		log_unusable(&a->records[0], host, port);
		log_warning("%s:%u: all TLSA records unusable%s", host, port,
			level == TLS_DANE ? ", fallback to unauthenticated TLS" : "");
	}
}

void dane_add_key(struct buf *out, const struct tlsa_answer *a)
{
	buf_add_fmt(out, "%s\n%s", a->base, a->mx_name);
	for (size_t i = 0; i < a->n; i++) {
		const struct tls_tlsa *r = &a->records[i];
		buf_add_fmt(out, "\n%u %u %u ", r->usage, r->selector, r->matching);
		for (size_t k = 0; k < r->len; k++) {
			buf_add_fmt(out, "%02x", r->data[k]);
		}
	}
}

/* Records do not help: less, or nothing at all. */
static int without(enum tls_level level, enum tls_level less, const char *reason,
	enum tls_level *out, struct buf *why)
{
	*out = less;
	if (level == TLS_DANE) {
		return 0;
	}
	buf_add_str(why, reason);
	return ERR_TEMP;
}

bool dane_counts(enum tls_level level, const struct tlsa_answer *a, enum tls_level insecure_mx)
{
	return !a->mx || a->mx_secure || (level == TLS_DANE && insecure_mx > TLS_MAY);
}

int dane_choose(enum tls_level level, const struct tlsa_answer *a, enum tls_level insecure_mx,
	enum tls_level *out, struct buf *why)
{
	bool insecure = a->mx && !a->mx_secure;
	if (!dane_counts(level, a, insecure_mx)) {
		return without(level, TLS_MAY, "non DNSSEC destination", out, why);
	}
	if (a->status == TLSA_FAILED) {
		*out = level;
		buf_add_str(why, "TLSA lookup error");
		return ERR_TEMP;
	}
	if (a->status != TLSA_FOUND || a->n == 0) {
		return without(level, TLS_MAY, "no TLSA records found", out, why);
	}
	if (!has_usable(a)) {
		return without(level, TLS_ENCRYPT, "TLSA records unusable", out, why);
	}
	*out = insecure && insecure_mx == TLS_ENCRYPT ? TLS_ENCRYPT : TLS_DANE;
	return 0;
}

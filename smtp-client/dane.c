/* SPDX-License-Identifier: ISC */
#include "smtp-client/dane.h"

#include "util/err.h"

void client_tlsa(const struct delivery *d, const char *host, uint16_t port, struct tlsa_answer *out)
{
	*out = (struct tlsa_answer){.status = TLSA_INSECURE, .mx = true};
}

static bool has_usable(const struct tlsa_answer *a)
{
	for (size_t i = 0; i < a->n; i++) {
		if (tls_tlsa_is_usable(&a->records[i])) {
			return true;
		}
	}
	return false;
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

int dane_choose(enum tls_level level, const struct tlsa_answer *a, enum tls_level insecure_mx,
	enum tls_level *out, struct buf *why)
{
	bool insecure = a->mx && !a->mx_secure;
	if (insecure && (level == TLS_DANE_ONLY || insecure_mx <= TLS_MAY)) {
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

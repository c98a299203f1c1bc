/* SPDX-License-Identifier: ISC */
#include <idn2.h>

#include "tls/tls_private.h"
#include "util/mem.h"

enum { NAME_MAX_BYTES = 1024, NAMES_MAX = 64 };

/* Owned; NULL when it is empty, too long, or has a control character or a NUL in it. */
static char *clean(const unsigned char *p, int len)
{
	struct slice s = slice_of(p, len > 0 ? (size_t)len : 0);

	if (s.len == 0 || s.len > NAME_MAX_BYTES || !slice_is_utf8(s) || !slice_is_printable(s))
		return NULL;
	return mem_dup(s.p, s.len);
}

/* The last one: the most specific. */
char *tls_name_entry(X509_NAME *name, int nid)
{
	int at = -1, next;
	unsigned char *utf8 = NULL;
	char *text;
	int len;

	while ((next = X509_NAME_get_index_by_NID(name, nid, at)) >= 0)
		at = next;
	if (at < 0)
		return NULL;
	len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
	if (len < 0)
		return NULL;
	text = clean(utf8, len);
	OPENSSL_free(utf8);
	return text;
}

char *tls_name_ascii(const char *name)
{
	const uint8_t *in = (const uint8_t *)name;
	uint8_t *out = NULL;
	char *text;

	if (slice_is_ascii(slice_str(name)))
		return mem_str(name);
	if (idn2_lookup_u8(in, &out, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
		return NULL;
	text = mem_str((const char *)out);
	idn2_free(out);
	return text;
}

/* "*.test" matches one label in front, as in Postfix. */
static bool is_match(struct slice cert, struct slice want)
{
	struct slice parent;

	if (slice_starts(want, ".") && want.len > 1)
		return cert.len > want.len &&
		       slice_case_eq(slice_from(cert, cert.len - want.len), want);
	if (slice_case_eq(cert, want))
		return true;
	if (!slice_starts(cert, "*.") || cert.len < 3 || slice_find(want, '.') < 1)
		return false;
	parent = slice_from(want, (size_t)slice_find(want, '.'));
	return slice_case_eq(slice_from(cert, 1), parent);
}

static bool is_any_match(struct slice cert, char *const *match, size_t n)
{
	size_t i;

	if (slice_ends(cert, "."))
		cert.len--;
	for (i = 0; i < n; i++)
		if (is_match(cert, slice_str(match[i])))
			return true;
	return false;
}

/* *any: there were names of hosts, so the subject does not count (RFC 6125, 6.4.4). */
static bool alternative_matches(X509 *cert, char *const *match, size_t n, bool *any)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	bool found = false;
	int i;

	*any = false;
	for (i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
		char *text;

		if (g->type != GEN_DNS)
			continue;
		*any = true;
		text = clean(ASN1_STRING_get0_data(g->d.dNSName), ASN1_STRING_length(g->d.dNSName));
		if (text != NULL && is_any_match(slice_str(text), match, n))
			found = true;
		mem_free(text);
		if (found)
			break;
	}
	GENERAL_NAMES_free(names);
	return found;
}

bool tls_cert_matches(X509 *cert, char *const *match, size_t n)
{
	bool any, found;
	char *cn;

	if (alternative_matches(cert, match, n, &any))
		return true;
	if (any)
		return false;
	cn = tls_name_entry(X509_get_subject_name(cert), NID_commonName);
	found = cn != NULL && is_any_match(slice_str(cn), match, n);
	mem_free(cn);
	return found;
}

char **tls_cert_texts(X509 *cert, size_t *n)
{
	STACK_OF(OPENSSL_STRING) *mails = X509_get1_email(cert);
	char **out = mem_array(NAMES_MAX, sizeof(*out));
	char *cn = tls_name_entry(X509_get_subject_name(cert), NID_commonName);
	int i;

	*n = 0;
	if (cn != NULL)
		out[(*n)++] = cn;
	for (i = 0; i < sk_OPENSSL_STRING_num(mails) && *n < NAMES_MAX; i++) {
		const char *mail = sk_OPENSSL_STRING_value(mails, i);
		char *text = clean((const unsigned char *)mail, (int)strlen(mail));

		if (text != NULL)
			out[(*n)++] = text;
	}
	X509_email_free(mails);
	return out;
}

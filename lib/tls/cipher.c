/* SPDX-License-Identifier: ISC */

#include "tls/tls_private.h"
#include "util/err.h"
#include "util/log.h"

/* --------------------------------------------------------------- protocols */

static const struct protocol {
	const char *name;
	int version;
} protocols[] = {
	{"SSLv2", 0x0002},
	{"SSLv3", SSL3_VERSION},
	{"TLSv1", TLS1_VERSION},
	{"TLSv1.1", TLS1_1_VERSION},
	{"TLSv1.2", TLS1_2_VERSION},
	{"TLSv1.3", TLS1_3_VERSION},
};

enum { PROTOCOLS = sizeof(protocols) / sizeof(*protocols), FIRST_SPOKEN = 4 };

static int find_protocol(struct slice name)
{
	int i;

	for (i = 0; i < PROTOCOLS; i++)
		if (slice_case_eq_str(name, protocols[i].name))
			return i;
	return -1;
}

static int bad_protocol(struct slice token, struct buf *why)
{
	buf_add_fmt(why,
		"unknown protocol \"%s\"; expected names like TLSv1.2, !TLSv1.1, >=TLSv1.2 or "
		"<=TLSv1.3",
		log_q(token));
	return ERR_SYNTAX;
}

/*
 * Both forms of Postfix: bounds (">=TLSv1.2"), and names to be used alone or, behind "!", not at
 * all. What is older than TLS 1.2 is a known name and never spoken.
 */
int tls_protocols_parse(const char *text, struct tls_protocols *out, struct buf *why)
{
	struct slice rest = slice_str(text), token;
	int floor = 0, ceiling = PROTOCOLS - 1, i;
	unsigned only = 0, never = 0, left = 0;

	*out = (struct tls_protocols){TLS1_2_VERSION, TLS1_3_VERSION};
	while (slice_token(&rest, ", \t\r\n:", &token)) {
		bool from = slice_starts(token, ">="), to = slice_starts(token, "<=");
		bool not = slice_starts(token, "!");

		i = find_protocol(slice_from(token, from || to ? 2 : not ? 1 : 0));
		if (i < 0)
			return bad_protocol(token, why);
		if (from)
			floor = i;
		else if (to)
			ceiling = i;
		else if (not )
			never |= 1u << i;
		else
			only |= 1u << i;
	}
	for (i = FIRST_SPOKEN; i < PROTOCOLS; i++)
		if (i >= floor && i <= ceiling && !(never & 1u << i) &&
			(only == 0 || (only & 1u << i)))
			left |= 1u << i;
	if (left == 0) {
		buf_add_fmt(why, "\"%s\" leaves no protocol; TLSv1.2 and TLSv1.3 are spoken",
			log_qs(text));
		return ERR_SYNTAX;
	}
	out->min = left & 1u << 4 ? TLS1_2_VERSION : TLS1_3_VERSION;
	out->max = left & 1u << 5 ? TLS1_3_VERSION : TLS1_2_VERSION;
	return 0;
}

int tls_check_protocols(const char *text, struct buf *why)
{
	struct tls_protocols p;

	return tls_protocols_parse(text, &p, why);
}

/* ----------------------------------------------------------------- ciphers */

static const struct {
	const char *name, *list;
} grades[TLS_GRADES] = {
	[TLS_EXPORT] = {"export", "aNULL:-aNULL:HIGH:MEDIUM:LOW:EXPORT:+RC4:@STRENGTH"},
	[TLS_LOW] = {"low", "aNULL:-aNULL:HIGH:MEDIUM:LOW:+RC4:@STRENGTH"},
	[TLS_MEDIUM] = {"medium", "aNULL:-aNULL:HIGH:MEDIUM:+RC4:@STRENGTH"},
	[TLS_HIGH] = {"high", "aNULL:-aNULL:HIGH:@STRENGTH"},
	[TLS_NULL] = {"null", "eNULL:!aNULL"},
};

static int find_grade(const char *name)
{
	int i;

	for (i = 0; i < TLS_GRADES; i++)
		if (slice_case_eq_str(slice_str(name), grades[i].name))
			return i;
	return -1;
}

static int add_exclusions(struct buf *out, const char *exclude, struct buf *why)
{
	struct slice rest = slice_str(exclude), token;

	while (slice_token(&rest, ", \t\r\n:", &token)) {
		if (token.p[0] == '!' || token.p[0] == '-' || token.p[0] == '+' ||
			token.p[0] == '@') {
			buf_add_fmt(why,
				"\"%s\" is not a cipher to be excluded; expected names like aNULL, "
				"RC4, SHA1",
				log_q(token));
			return ERR_SYNTAX;
		}
		buf_add_str(out, ":!");
		buf_add_slice(out, token);
	}
	return 0;
}

/*
 * No private key here can decrypt, so a server has no RSA key exchange; nor does vault sign one of
 * a finite field with TLS 1.2, where a client's word is all that bounds its group. Kinds that
 * nobody set up (pre-shared keys, SRP, DSS) only make the list longer.
 */
int tls_cipher_list(const char *const *lists, const char *grade, const char *exclude, bool server,
	bool anonymous, struct buf *out, struct buf *why)
{
	int g = find_grade(grade);

	if (g < 0) {
		buf_add_fmt(why,
			"unknown cipher grade \"%s\"; expected export, low, medium, high or null",
			log_qs(grade));
		return ERR_SYNTAX;
	}
	buf_reset(out);
	buf_add_str(out, lists != NULL && lists[g] != NULL && lists[g][0] != '\0' ? lists[g]
										  : grades[g].list);
	if (add_exclusions(out, exclude, why) != 0)
		return ERR_SYNTAX;
	buf_add_str(out, ":!PSK:!SRP:!aDSS");
	if (server)
		buf_add_str(out, ":!kRSA:!kDHE");
	if (!anonymous)
		buf_add_str(out, ":!aNULL");
	if (!buf_failed(out))
		return 0;
	buf_add_str(why, "the list of ciphers is too long");
	return ERR_SYNTAX;
}

/* To try names with. OpenSSL reads its file of configuration if it is not started before. */
static SSL_CTX *any_context(void)
{
	return tls_library_start() == 0 ? SSL_CTX_new(TLS_method()) : NULL;
}

int tls_check_ciphers(const char *grade, const char *exclude, struct buf *why)
{
	struct buf list = BUF_INIT(4096);
	int err = tls_cipher_list(NULL, grade, exclude, false, true, &list, why);
	SSL_CTX *ctx = err == 0 ? any_context() : NULL;

	if (ctx != NULL) {
		SSL_CTX_set_security_level(ctx, 0);
		if (SSL_CTX_set_cipher_list(ctx, buf_str(&list)) != 1) {
			buf_add_fmt(
				why, "nothing is left of the ciphers of grade %s", log_qs(grade));
			err = ERR_SYNTAX;
		}
	}
	SSL_CTX_free(ctx);
	ERR_clear_error();
	buf_clear(&list);
	return err;
}

/* ------------------------------------------------------------------ groups */

static bool knows_group(SSL_CTX *ctx, struct slice name)
{
	char text[64];

	if (name.len >= sizeof(text))
		return false;
	memcpy(text, name.p, name.len);
	text[name.len] = '\0';
	return SSL_CTX_set1_groups_list(ctx, text) == 1;
}

int tls_groups_list(const char *groups, struct buf *out, struct buf *why)
{
	struct slice rest = slice_str(groups), token;
	SSL_CTX *ctx = any_context();
	bool asked = false;

	buf_reset(out);
	while (ctx != NULL && slice_token(&rest, ", \t\r\n:", &token)) {
		asked = true;
		if (!knows_group(ctx, token))
			continue;
		if (out->len > 0)
			buf_add_char(out, ':');
		buf_add_slice(out, token);
	}
	SSL_CTX_free(ctx);
	ERR_clear_error();
	if (out->len > 0 || !asked)
		return 0;
	buf_add_fmt(why,
		"no known group in \"%s\"; expected names like X25519, prime256v1, "
		"ffdhe2048",
		log_qs(groups));
	return ERR_SYNTAX;
}

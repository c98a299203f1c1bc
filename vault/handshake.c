/* SPDX-License-Identifier: ISC */
#include "vault/handshake.h"

#include <stdint.h>

#include "util/err.h"

enum { BLANKS = 64, HASH_256 = 32, HASH_384 = 48, RANDOMS = 64, NAMED_CURVE = 3 };
enum {
	CLIENT_HELLO = 1,
	SERVER_HELLO = 2,
	CERTIFICATE = 11,
	SERVER_KEY_EXCHANGE = 12,
	CERTIFICATE_REQUEST = 13,
	SERVER_HELLO_DONE = 14,
	CLIENT_KEY_EXCHANGE = 16,
	CERTIFICATE_STATUS = 22,
	MESSAGE_HEAD = 4,
	HELLO_LEAST = 2 + 32 + 1,
};

static const char server_context[] = "TLS 1.3, server CertificateVerify",
		  client_context[] = "TLS 1.3, client CertificateVerify";

static bool is_tls13(struct slice input, const char *context, size_t len)
{
	if (input.len != BLANKS + len + HASH_256 && input.len != BLANKS + len + HASH_384)
		return false;
	for (size_t i = 0; i < BLANKS; i++)
		if (input.p[i] != ' ')
			return false;
	/* With its zero byte. */
	return memcmp(input.p + BLANKS, context, len) == 0;
}

/* Groups of the key exchange (RFC 8422, 5.1.1) with the length of a point. */
static const struct {
	uint8_t group;
	uint8_t len;
	bool is_point; /* begins with 4: not compressed */
} groups[] = {{23, 65, true}, {24, 97, true}, {25, 133, true}, {29, 32, false}, {30, 56, false}};

static bool is_tls12_server(struct slice input)
{
	const uint8_t *p = (const uint8_t *)input.p + RANDOMS;

	if (input.len < RANDOMS + 4 || p[0] != NAMED_CURVE || p[1] != 0)
		return false;
	for (size_t i = 0; i < sizeof(groups) / sizeof(*groups); i++)
		if (p[2] == groups[i].group)
			return p[3] == groups[i].len && input.len == RANDOMS + 4U + groups[i].len &&
			       (!groups[i].is_point || p[4] == 4);
	return false;
}

/*
 * What comes after what in a full handshake in which the client has a certificate (RFC 5246, 7.3);
 * a row may be left out when it is optional.
 */
static const struct {
	uint8_t type;
	bool is_optional;
} order[] = {{CLIENT_HELLO, false}, {SERVER_HELLO, false}, {CERTIFICATE, false},
	{CERTIFICATE_STATUS, true}, {SERVER_KEY_EXCHANGE, false}, {CERTIFICATE_REQUEST, false},
	{SERVER_HELLO_DONE, false}, {CERTIFICATE, false}, {CLIENT_KEY_EXCHANGE, false}};

static bool is_tls12_client(struct slice input)
{
	size_t row = 0, rows = sizeof(order) / sizeof(*order);

	while (input.len > 0) {
		const uint8_t *p = (const uint8_t *)input.p;

		if (input.len < MESSAGE_HEAD)
			return false;
		size_t len = (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
		while (row < rows && order[row].is_optional && order[row].type != p[0])
			row++;
		if (row == rows || order[row].type != p[0] || len > input.len - MESSAGE_HEAD)
			return false;
		/* Both hellos begin with a version and a random. */
		if (row < 2 && (len < HELLO_LEAST || p[4] != 3 || p[5] != 3))
			return false;
		input = slice_from(input, MESSAGE_HEAD + len);
		row++;
	}
	return row == rows;
}

static const struct {
	enum handshake_scheme scheme;
	enum pem_kind kind;
	unsigned bits; /* of the curve in TLS 1.3; 0: any */
	bool only_12;
	struct handshake_how how;
} schemes[] = {
	{HS_RSA_PKCS1_SHA256, PEM_RSA, 0, true, {"SHA256", false}},
	{HS_RSA_PKCS1_SHA384, PEM_RSA, 0, true, {"SHA384", false}},
	{HS_RSA_PKCS1_SHA512, PEM_RSA, 0, true, {"SHA512", false}},
	{HS_ECDSA_SHA256, PEM_EC, 256, false, {"SHA256", false}},
	{HS_ECDSA_SHA384, PEM_EC, 384, false, {"SHA384", false}},
	{HS_ECDSA_SHA512, PEM_EC, 521, false, {"SHA512", false}},
	{HS_RSA_PSS_RSAE_SHA256, PEM_RSA, 0, false, {"SHA256", true}},
	{HS_RSA_PSS_RSAE_SHA384, PEM_RSA, 0, false, {"SHA384", true}},
	{HS_RSA_PSS_RSAE_SHA512, PEM_RSA, 0, false, {"SHA512", true}},
	{HS_ED25519, PEM_ED25519, 0, false, {NULL, false}},
	{HS_ED448, PEM_ED448, 0, false, {NULL, false}},
	{HS_RSA_PSS_PSS_SHA256, PEM_RSA_PSS, 0, false, {"SHA256", true}},
	{HS_RSA_PSS_PSS_SHA384, PEM_RSA_PSS, 0, false, {"SHA384", true}},
	{HS_RSA_PSS_PSS_SHA512, PEM_RSA_PSS, 0, false, {"SHA512", true}},
};

static int deny(const char **why, const char *text)
{
	*why = text;
	return ERR_DENIED;
}

int handshake_check(enum role asker, struct slice input, uint64_t scheme, enum pem_kind kind,
	unsigned bits, struct handshake_how *how, const char **why)
{
	bool is_server = asker == ROLE_SMTPD;
	bool is_13 = is_tls13(input, is_server ? server_context : client_context,
		is_server ? sizeof(server_context) : sizeof(client_context));

	*why = NULL;
	if (asker != ROLE_SMTPD && asker != ROLE_CLIENT)
		return deny(why, "not a process that speaks TLS");
	if (!is_13 && !(is_server ? is_tls12_server(input) : is_tls12_client(input)))
		return deny(why, "not what a TLS handshake signs on this side");
	for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++) {
		if (schemes[i].scheme != scheme)
			continue;
		if (schemes[i].kind != kind)
			return deny(why, "the scheme does not fit the key");
		if (is_13 &&
			(schemes[i].only_12 || (schemes[i].bits != 0 && schemes[i].bits != bits)))
			return deny(why, "the scheme does not fit TLS 1.3");
		*how = schemes[i].how;
		return 0;
	}
	return deny(why, "an unknown scheme");
}

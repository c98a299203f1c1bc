/* SPDX-License-Identifier: ISC */
#ifndef VAULT_HANDSHAKE_H
#define VAULT_HANDSHAKE_H

#include "ipc/role.h"
#include "util/slice.h"
#include "vault/pem.h"

/*
 * Whether bytes are what a TLS handshake has signed by the side that the asking process is, and by
 * a scheme that fits both the protocol and the key. Nothing else is ever signed: a process that was
 * broken into can have handshakes signed that it takes part in, but no mail, certificate or token.
 *
 *   TLS 1.3 (RFC 8446, 4.4.3)    64 blanks, the context string of the side, a zero byte, the hash
 *                                of the transcript (32 or 48 bytes)
 *   TLS 1.2 server (RFC 8422, 5.4) both randoms, a named curve, its public key
 *   TLS 1.2 client (RFC 5246, 7.4.8) the handshake's messages, from ClientHello to
 *                                ClientKeyExchange
 *
 * No two of these begin alike.
 */
enum handshake_scheme {
	HS_RSA_PKCS1_SHA256 = 0x0401,
	HS_RSA_PKCS1_SHA384 = 0x0501,
	HS_RSA_PKCS1_SHA512 = 0x0601,
	HS_ECDSA_SHA256 = 0x0403,
	HS_ECDSA_SHA384 = 0x0503,
	HS_ECDSA_SHA512 = 0x0603,
	HS_RSA_PSS_RSAE_SHA256 = 0x0804,
	HS_RSA_PSS_RSAE_SHA384 = 0x0805,
	HS_RSA_PSS_RSAE_SHA512 = 0x0806,
	HS_ED25519 = 0x0807,
	HS_ED448 = 0x0808,
	HS_RSA_PSS_PSS_SHA256 = 0x0809,
	HS_RSA_PSS_PSS_SHA384 = 0x080a,
	HS_RSA_PSS_PSS_SHA512 = 0x080b,
};

struct handshake_how {
	const char *digest; /* "SHA256"; NULL: the key's own way */
	bool is_pss;
};

/* asker: ROLE_SMTPD is the server, ROLE_CLIENT the client. ERR_DENIED: why is a short text. */
int handshake_check(enum role asker, struct slice input, uint64_t scheme, enum pem_kind kind,
	unsigned bits, struct handshake_how *how, const char **why);

#endif

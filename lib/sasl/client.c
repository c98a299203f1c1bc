/* SPDX-License-Identifier: ISC */
#include "sasl/client.h"

#include "sasl/mechanism.h"
#include "util/base64.h"
#include "util/err.h"

enum { BINDING_MAX = 512, NONCE_MAX = 1024, TEXT_MAX = 4 * SASL_CLIENT_MESSAGE_MAX };

/* Steps. */
enum { FIRST, FINAL, END, NAME = FIRST, PASSWORD = FINAL };

const char *sasl_client_name(enum sasl_client_kind kind)
{
	static const char *const names[SASL_CLIENT_KINDS] = {
		[SASL_CLIENT_SCRAM_PLUS] = "SCRAM-SHA-256-PLUS",
		[SASL_CLIENT_SCRAM] = "SCRAM-SHA-256",
		[SASL_CLIENT_PLAIN] = "PLAIN",
		[SASL_CLIENT_LOGIN] = "LOGIN",
		[SASL_CLIENT_XOAUTH2] = "XOAUTH2",
	};
	return names[kind];
}

void sasl_client_clear(struct sasl_client *x)
{
	buf_clear(&x->login);
	buf_clear(&x->password);
	buf_clear(&x->first_bare);
	buf_clear(&x->nonce);
	buf_clear(&x->cbind);
	explicit_bzero(x->server_signature, sizeof(x->server_signature));
}

static void add_name(struct buf *out, struct slice name)
{
	for (size_t i = 0; i < name.len; i++) {
		if (name.p[i] == ',')
			(void)buf_add_str(out, "=2C");
		else if (name.p[i] == '=')
			(void)buf_add_str(out, "=3D");
		else
			(void)buf_add_char(out, name.p[i]);
	}
}

/* RFC 5802, 7: gs2-header, and c= is what it says. */
static int add_binding(struct sasl_client *x, struct slice binding, struct buf *out)
{
	struct slice data = binding, type = SLICE_NONE;

	if (x->kind != SASL_CLIENT_SCRAM_PLUS) {
		(void)buf_add_str(&x->cbind, binding.len > 0 ? "y,," : "n,,");
		(void)buf_add_slice(out, buf_slice(&x->cbind));
		return 0;
	}
	if (!slice_part(&data, '\0', &type) || type.len == 0 || data.len == 0)
		return ERR_SYNTAX;
	(void)buf_add_fmt(&x->cbind, "p=%.*s,,", SLICE_FMT(type));
	(void)buf_add_slice(out, buf_slice(&x->cbind));
	(void)buf_add_slice(&x->cbind, data);
	return 0;
}

static int begin_scram(
	struct sasl_client *x, struct slice nonce, struct slice binding, struct buf *out)
{
	int r = add_binding(x, binding, out);

	(void)buf_add_slice(&x->nonce, nonce);
	(void)buf_add_str(&x->first_bare, "n=");
	add_name(&x->first_bare, buf_slice(&x->login));
	(void)buf_add_fmt(&x->first_bare, ",r=%.*s", SLICE_FMT(nonce));
	(void)buf_add_slice(out, buf_slice(&x->first_bare));
	return r;
}

static bool is_scram(enum sasl_client_kind kind)
{
	return kind == SASL_CLIENT_SCRAM || kind == SASL_CLIENT_SCRAM_PLUS;
}

int sasl_client_begin(struct sasl_client *x, enum sasl_client_kind kind, struct slice login,
	struct slice password, struct slice nonce, struct slice binding, struct buf *out, bool *has)
{
	int r = 0;

	*x = (struct sasl_client){.kind = kind,
		.login = BUF_SECRET(SASL_CLIENT_MESSAGE_MAX),
		.password = BUF_SECRET(SASL_CLIENT_MESSAGE_MAX),
		.first_bare = BUF_INIT(TEXT_MAX),
		.nonce = BUF_INIT(NONCE_MAX),
		.cbind = BUF_INIT(BINDING_MAX),
		.derive = sasl_pbkdf2};
	*has = kind != SASL_CLIENT_LOGIN;
	if (!sasl_is_text(login) || !sasl_is_text(password))
		return ERR_SYNTAX;
	(void)buf_add_slice(&x->login, login);
	(void)buf_add_slice(&x->password, password);
	if (is_scram(kind)) {
		r = begin_scram(x, nonce, binding, out);
	} else if (kind == SASL_CLIENT_PLAIN) {
		(void)buf_add_char(out, '\0');
		(void)buf_add_slice(out, login);
		(void)buf_add_char(out, '\0');
		(void)buf_add_slice(out, password);
	} else if (kind == SASL_CLIENT_XOAUTH2) {
		(void)buf_add_fmt(out, "user=%.*s\001auth=Bearer %.*s\001\001", SLICE_FMT(login),
			SLICE_FMT(password));
	}
	if (r != 0)
		return r;
	return buf_failed(&x->login) || buf_failed(&x->password) || buf_failed(&x->first_bare) ||
			       buf_failed(&x->nonce) || buf_failed(&x->cbind) || buf_failed(out)
		       ? ERR_LIMIT
		       : 0;
}

/* "x=value" off the front, up to a comma. */
static bool take_value(struct slice *rest, char name, struct slice *value)
{
	if (!slice_part(rest, ',', value) || value->len < 2 || value->p[0] != name ||
		value->p[1] != '=')
		return false;
	*value = slice_from(*value, 2);
	return true;
}

static int take_server_first(const struct sasl_client *x, struct slice message, struct slice *nonce,
	struct buf *salt, uint64_t *iterations)
{
	struct slice salt64, count;

	if (!take_value(&message, 'r', nonce) || !take_value(&message, 's', &salt64) ||
		!take_value(&message, 'i', &count))
		return ERR_SYNTAX;
	/* The server's nonce goes on with ours. */
	if (nonce->len <= x->nonce.len || nonce->len > NONCE_MAX ||
		!slice_eq(slice_first(*nonce, x->nonce.len), buf_slice(&x->nonce)))
		return ERR_SYNTAX;
	if (base64_decode(salt, salt64) != 0 || buf_failed(salt) || salt->len == 0)
		return ERR_SYNTAX;
	return slice_u64(count, SASL_ITERATIONS_MIN, SASL_CLIENT_ITERATIONS_MAX, iterations) == 0
		       ? 0
		       : ERR_SYNTAX;
}

static void hmac_text(const uint8_t key[SASL_KEY], const char *text, uint8_t out[SASL_KEY])
{
	sasl_hmac(slice_of(key, SASL_KEY), slice_str(text), out);
}

/* ClientProof into proof, what the server has to say into x (RFC 5802, 3). */
static void prove(
	struct sasl_client *x, const uint8_t salted[SASL_KEY], struct slice text, uint8_t *proof)
{
	uint8_t key[SASL_KEY], stored[SASL_KEY], signature[SASL_KEY];

	hmac_text(salted, "Client Key", key);
	sasl_sha256(slice_of(key, SASL_KEY), stored);
	sasl_hmac(slice_of(stored, SASL_KEY), text, signature);
	for (size_t i = 0; i < SASL_KEY; i++)
		proof[i] = key[i] ^ signature[i];
	hmac_text(salted, "Server Key", key);
	sasl_hmac(slice_of(key, SASL_KEY), text, x->server_signature);
	explicit_bzero(key, sizeof(key));
	explicit_bzero(stored, sizeof(stored));
}

static int answer_first(struct sasl_client *x, struct slice challenge, struct buf *out)
{
	struct buf salt = BUF_INIT(SASL_CLIENT_MESSAGE_MAX), text = BUF_INIT(TEXT_MAX);
	uint8_t salted[SASL_KEY], proof[SASL_KEY];
	uint64_t iterations = 0;
	struct slice nonce;
	int r = take_server_first(x, challenge, &nonce, &salt, &iterations);

	if (r == 0) {
		(void)buf_add_str(out, "c=");
		base64_encode(out, buf_slice(&x->cbind));
		(void)buf_add_fmt(out, ",r=%.*s", SLICE_FMT(nonce));
		(void)buf_add_fmt(&text, "%s,%.*s,%s", buf_str(&x->first_bare),
			SLICE_FMT(challenge), buf_str(out));
		r = buf_failed(&text) || buf_failed(out) ? ERR_LIMIT : 0;
	}
	if (r == 0) {
		x->derive(buf_slice(&x->password), buf_slice(&salt), (unsigned)iterations, salted);
		prove(x, salted, buf_slice(&text), proof);
		(void)buf_add_str(out, ",p=");
		base64_encode(out, slice_of(proof, SASL_KEY));
		x->step = FINAL;
	}
	explicit_bzero(salted, sizeof(salted));
	buf_clear(&salt);
	buf_clear(&text);
	return r;
}

/* "v=…": the server's proof; "e=…": it refuses. */
static int check_final(struct sasl_client *x, struct slice challenge)
{
	struct buf signature = BUF_INIT(SASL_KEY);
	struct slice value;
	bool good = take_value(&challenge, 'v', &value) && base64_decode(&signature, value) == 0 &&
		    signature.len == SASL_KEY &&
		    sasl_is_equal(buf_str(&signature), x->server_signature, SASL_KEY);

	buf_clear(&signature);
	x->step = END;
	x->is_proved = good;
	return good ? 0 : ERR_DENIED;
}

int sasl_client_step(struct sasl_client *x, struct slice challenge, struct buf *out)
{
	if (challenge.len > SASL_CLIENT_MESSAGE_MAX)
		return ERR_SYNTAX;
	if (x->step == END)
		return ERR_STATE;
	switch (x->kind) {
	case SASL_CLIENT_SCRAM_PLUS:
	case SASL_CLIENT_SCRAM:
		return x->step == FIRST ? answer_first(x, challenge, out)
					: check_final(x, challenge);
	case SASL_CLIENT_LOGIN:
		/* What the challenges say is not fixed; that there are two is. */
		(void)buf_add_slice(out, buf_slice(x->step == NAME ? &x->login : &x->password));
		x->step++;
		return buf_failed(out) ? ERR_LIMIT : 0;
	case SASL_CLIENT_XOAUTH2:
		/* The challenge says why it was refused; an empty answer ends it. */
		x->step = END;
		return 0;
	default: return ERR_STATE;
	}
}

/* SPDX-License-Identifier: ISC */
#include "sasl/exchange.h"

#include "sasl/mechanism.h"
#include "util/base64.h"
#include "util/err.h"

int sasl_plain_parse(struct slice message, struct sasl_plain *p)
{
	*p = (struct sasl_plain){SLICE_NONE, SLICE_NONE, SLICE_NONE};
	if (!slice_part(&message, '\0', &p->authzid) || !slice_part(&message, '\0', &p->login) ||
		message.p == NULL)
		return ERR_SYNTAX;
	p->password = message;
	return sasl_is_text(p->login) && sasl_is_text(p->password) &&
			       (p->authzid.len == 0 || sasl_is_text(p->authzid))
		       ? 0
		       : ERR_SYNTAX;
}

void sasl_scram_init(struct sasl_scram_server *x)
{
	struct buf *all[] = {&x->login, &x->authzid, &x->header, &x->first_bare, &x->nonce,
		&x->server_first, &x->binding_type, &x->binding_data};

	*x = (struct sasl_scram_server){0};
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		buf_init(all[i], SASL_SCRAM_MESSAGE_MAX);
}

void sasl_scram_clear(struct sasl_scram_server *x)
{
	struct buf *all[] = {&x->login, &x->authzid, &x->header, &x->first_bare, &x->nonce,
		&x->server_first, &x->binding_type, &x->binding_data};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		buf_clear(all[i]);
	explicit_bzero(&x->record, sizeof(x->record));
}

/* saslname: "=2C" is a comma, "=3D" an equals sign, nothing else may follow '=' (RFC 5802, 5.1). */
static int decode_name(struct slice s, struct buf *out)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (c == '=') {
			struct slice code = slice_first(slice_from(s, i), 3);

			if (!slice_eq_str(code, "=2C") && !slice_eq_str(code, "=3D"))
				return ERR_SYNTAX;
			c = code.p[2] == 'C' ? ',' : '=';
			i += 2;
		}
		(void)buf_add_char(out, c);
	}
	return buf_failed(out) ? ERR_LIMIT : sasl_is_text(buf_slice(out)) ? 0 : ERR_SYNTAX;
}

/* "x=value" off the front, up to a comma. */
static int take_value(struct slice *rest, char name, struct slice *value)
{
	if (!slice_part(rest, ',', value) || value->len < 2 || value->p[0] != name ||
		value->p[1] != '=')
		return ERR_SYNTAX;
	*value = slice_from(*value, 2);
	return 0;
}

/* A name of a binding: letters, digits, '.', '-' (RFC 5802, 7). */
static bool is_binding_type(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
			c != '.' && c != '-')
			return false;
	}
	return s.len > 0;
}

static int take_flag(struct sasl_scram_server *x, struct slice flag)
{
	if (x->binding == SASL_BINDING_CHOSEN) {
		struct slice type = slice_from(flag, 2);

		if (!slice_starts(flag, "p=") || !is_binding_type(type))
			return ERR_SYNTAX;
		return buf_add_slice(&x->binding_type, type);
	}
	if (slice_eq_str(flag, "y"))
		return x->binding == SASL_BINDING_OFFERED ? ERR_DENIED : 0;
	return slice_eq_str(flag, "n") ? 0 : ERR_SYNTAX;
}

/* "n,," or "p=type,a=name,": what stands before the bare message. */
static int take_header(struct sasl_scram_server *x, struct slice *rest)
{
	struct slice whole = *rest, flag, zid;
	int err;

	if (!slice_part(rest, ',', &flag) || !slice_part(rest, ',', &zid) || rest->p == NULL)
		return ERR_SYNTAX;
	if ((err = take_flag(x, flag)) != 0)
		return err;
	if (zid.len > 0 &&
		(!slice_starts(zid, "a=") || decode_name(slice_from(zid, 2), &x->authzid) != 0))
		return ERR_SYNTAX;
	return buf_add_slice(&x->header, slice_first(whole, whole.len - rest->len));
}

static bool is_nonce(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] < 0x21 || s.p[i] > 0x7e)
			return false;
	return s.len > 0 && s.len <= 512;
}

int sasl_scram_begin(struct sasl_scram_server *x, struct slice message)
{
	struct slice rest = message, name, nonce;
	int err = message.len > SASL_SCRAM_MESSAGE_MAX ? ERR_SYNTAX : take_header(x, &rest);

	if (err != 0)
		return err;
	if (buf_add_slice(&x->first_bare, rest) != 0 || take_value(&rest, 'n', &name) != 0 ||
		decode_name(name, &x->login) != 0 || take_value(&rest, 'r', &nonce) != 0 ||
		!is_nonce(nonce))
		return ERR_SYNTAX;
	return buf_add_slice(&x->nonce, nonce);
}

void sasl_scram_challenge(
	struct sasl_scram_server *x, const struct sasl_scram *record, struct slice nonce)
{
	x->record = *record;
	(void)buf_add_slice(&x->nonce, nonce);
	(void)buf_add_fmt(&x->server_first, "r=%s,s=", buf_str(&x->nonce));
	base64_encode(&x->server_first, slice_of(record->salt, record->salt_len));
	(void)buf_add_fmt(&x->server_first, ",i=%u", record->iterations);
}

static bool is_binding(const struct sasl_scram_server *x, struct slice value)
{
	struct buf expected = BUF_INIT(4 * SASL_SCRAM_MESSAGE_MAX);
	struct buf bytes = BUF_INIT(2 * SASL_SCRAM_MESSAGE_MAX);

	(void)buf_add_slice(&bytes, buf_slice(&x->header));
	(void)buf_add_slice(&bytes, buf_slice(&x->binding_data));
	base64_encode(&expected, buf_slice(&bytes));
	buf_wipe_clear(&bytes);
	bool same = slice_eq(buf_slice(&expected), value);
	buf_clear(&expected);
	return same;
}

/* client-final-message: "c=…,r=…[,extensions],p=…"; without: all that stands before ",p=". */
static int take_final(const struct sasl_scram_server *x, struct slice message,
	struct slice *without, uint8_t proof[SASL_KEY])
{
	struct slice rest = message, binding, nonce;
	ptrdiff_t comma = slice_find_last(message, ',');
	struct slice p = slice_from(message, (size_t)(comma + 1));
	struct buf bytes = BUF_INIT(SASL_KEY);

	if (comma < 0 || !slice_starts(p, "p=") || take_value(&rest, 'c', &binding) != 0 ||
		take_value(&rest, 'r', &nonce) != 0 || !is_binding(x, binding) ||
		!slice_eq(nonce, buf_slice(&x->nonce)))
		return ERR_SYNTAX;
	*without = slice_first(message, (size_t)comma);
	int r = base64_decode(&bytes, slice_from(p, 2));
	if (r == 0 && (buf_failed(&bytes) || bytes.len != SASL_KEY))
		r = ERR_SYNTAX;
	if (r == 0)
		memcpy(proof, buf_str(&bytes), SASL_KEY);
	buf_wipe_clear(&bytes);
	return r;
}

int sasl_scram_finish(struct sasl_scram_server *x, struct slice message, struct buf *out)
{
	struct buf text = BUF_INIT(4 * SASL_SCRAM_MESSAGE_MAX);
	uint8_t key[SASL_KEY], proof[SASL_KEY], signature[SASL_KEY];
	struct slice without;
	int r = message.len > SASL_SCRAM_MESSAGE_MAX ? ERR_SYNTAX
						     : take_final(x, message, &without, proof);

	if (r != 0)
		return r;
	(void)buf_add_fmt(&text, "%s,%s,%.*s", buf_str(&x->first_bare), buf_str(&x->server_first),
		SLICE_FMT(without));
	sasl_hmac(slice_of(x->record.stored_key, SASL_KEY), buf_slice(&text), signature);
	for (size_t i = 0; i < SASL_KEY; i++)
		key[i] = proof[i] ^ signature[i];
	sasl_sha256(slice_of(key, SASL_KEY), key);
	bool good = sasl_is_equal(key, x->record.stored_key, SASL_KEY);
	sasl_hmac(slice_of(x->record.server_key, SASL_KEY), buf_slice(&text), signature);
	if (good) {
		(void)buf_add_str(out, "v=");
		base64_encode(out, slice_of(signature, SASL_KEY));
	}
	explicit_bzero(key, sizeof(key));
	explicit_bzero(proof, sizeof(proof));
	buf_clear(&text);
	return good ? 0 : ERR_DENIED;
}

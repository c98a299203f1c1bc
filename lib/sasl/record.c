/* SPDX-License-Identifier: ISC */
#include "sasl/record.h"

#include <crypt.h>

#include "sasl/mechanism.h"
#include "sasl/prep.h"
#include "util/base64.h"
#include "util/err.h"
#include "util/mem.h"

/* How a hash begins, and the length of what stands behind its last '$'; bcrypt's is salt and hash.
 */
static const struct {
	const char *prefix;
	size_t len;
} hashes[] = {{"$y$", 43}, {"$6$", 86}, {"$5$", 43}, {"$2b$", 53}, {"$2y$", 53}};

static int parse_crypt(struct slice s, struct sasl_record *r)
{
	ptrdiff_t last = slice_find_last(s, '$');

	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (!(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
			strchr("./$=", c) == NULL)
			return ERR_SYNTAX;
	}
	for (size_t i = 0; i < sizeof(hashes) / sizeof(*hashes); i++) {
		if (!slice_starts(s, hashes[i].prefix))
			continue;
		if ((size_t)last < strlen(hashes[i].prefix) ||
			s.len - (size_t)last - 1 != hashes[i].len)
			return ERR_SYNTAX;
		r->kind = SASL_RECORD_CRYPT;
		r->crypt = s;
		return 0;
	}
	return ERR_SYNTAX;
}

static int take_base64(struct slice *rest, uint8_t *to, size_t min, size_t max, size_t *len)
{
	struct slice part;
	struct buf bytes = BUF_INIT(SASL_SALT_MAX);
	int r = slice_part(rest, ',', &part) ? base64_decode(&bytes, part) : ERR_SYNTAX;

	*len = bytes.len;
	if (r == 0 && (buf_failed(&bytes) || bytes.len < min || bytes.len > max))
		r = ERR_SYNTAX;
	if (r == 0)
		memcpy(to, buf_str(&bytes), bytes.len);
	buf_wipe_clear(&bytes);
	return r;
}

static int parse_scram(struct slice s, struct sasl_record *r)
{
	struct slice rest = s, part;
	uint64_t iterations = 0;
	size_t len;
	struct sasl_scram *m = &r->scram;

	r->kind = SASL_RECORD_SCRAM;
	if (!slice_part(&rest, ',', &part) ||
		slice_u64(part, SASL_ITERATIONS_MIN, SASL_ITERATIONS_MAX, &iterations) != 0)
		return ERR_SYNTAX;
	m->iterations = (unsigned)iterations;
	if (take_base64(&rest, m->salt, 1, SASL_SALT_MAX, &m->salt_len) != 0 ||
		take_base64(&rest, m->stored_key, SASL_KEY, SASL_KEY, &len) != 0 ||
		take_base64(&rest, m->server_key, SASL_KEY, SASL_KEY, &len) != 0)
		return ERR_SYNTAX;
	return rest.p == NULL ? 0 : ERR_SYNTAX;
}

int sasl_record_next(struct slice *rest, struct sasl_record *r)
{
	struct slice word;

	*r = (struct sasl_record){0};
	if (!slice_token(rest, " \t", &word))
		return ERR_NOT_FOUND;
	if (slice_case_starts(word, "{SCRAM-SHA-256}"))
		return parse_scram(slice_from(word, strlen("{SCRAM-SHA-256}")), r);
	if (slice_case_starts(word, "{CRYPT}"))
		word = slice_from(word, strlen("{CRYPT}"));
	return parse_crypt(word, r);
}

bool sasl_records_are_good(struct slice records)
{
	struct sasl_record r;
	size_t n = 0;
	int err = records.len > SASL_RECORDS_MAX ? ERR_LIMIT : 0;

	while (err == 0 && (err = sasl_record_next(&records, &r)) == 0)
		n++;
	return err == ERR_NOT_FOUND && n > 0;
}

int sasl_records_scram(struct slice records, struct sasl_scram *s)
{
	struct sasl_record r;
	int err;

	while ((err = sasl_record_next(&records, &r)) != ERR_NOT_FOUND) {
		if (err == 0 && r.kind == SASL_RECORD_SCRAM) {
			*s = r.scram;
			return 0;
		}
	}
	return ERR_NOT_FOUND;
}

static bool is_crypt(struct slice hash, struct slice password)
{
	struct crypt_data *data = mem_alloc(sizeof(*data));
	char *setting = slice_dup(hash), *phrase = slice_dup(password);
	const char *made = crypt_rn(phrase, setting, data, (int)sizeof(*data));
	bool equal =
		made != NULL && strlen(made) == hash.len && sasl_is_equal(made, hash.p, hash.len);

	mem_wipe_free(phrase, password.len);
	mem_wipe_free(setting, hash.len);
	mem_wipe_free(data, sizeof(*data));
	return equal;
}

static bool is_scram(const struct sasl_scram *s, struct slice password)
{
	struct sasl_scram made;

	sasl_scram_make(password, slice_of(s->salt, s->salt_len), s->iterations, &made);
	return sasl_is_equal(made.stored_key, s->stored_key, SASL_KEY);
}

static bool is_any(struct slice records, struct slice password)
{
	struct sasl_record r;
	int err;

	while ((err = sasl_record_next(&records, &r)) != ERR_NOT_FOUND) {
		if (err != 0)
			continue;
		if (r.kind == SASL_RECORD_CRYPT ? is_crypt(r.crypt, password)
						: is_scram(&r.scram, password))
			return true;
	}
	return false;
}

bool sasl_records_verify(struct slice records, struct slice password)
{
	struct buf prepared = BUF_SECRET(SASL_PREP_MAX(SASL_PASSWORD_MAX));
	bool good = false;

	if (!sasl_is_text(password) || password.len > SASL_PASSWORD_MAX)
		return false;
	if (sasl_prep(password, SASL_PREP_QUERY, &prepared) == 0)
		good = is_any(records, buf_slice(&prepared));
	if (!good && !slice_eq(buf_slice(&prepared), password))
		good = is_any(records, password);
	buf_clear(&prepared);
	return good;
}

void sasl_scram_make(
	struct slice password, struct slice salt, unsigned iterations, struct sasl_scram *s)
{
	uint8_t salted[SASL_KEY], client[SASL_KEY];
	struct slice key = slice_of(salted, sizeof(salted));

	*s = (struct sasl_scram){.iterations = iterations};
	s->salt_len = salt.len < SASL_SALT_MAX ? salt.len : SASL_SALT_MAX;
	memcpy(s->salt, salt.p, s->salt_len);
	sasl_pbkdf2(password, salt, iterations, salted);
	sasl_hmac(key, SLICE_LIT("Client Key"), client);
	sasl_sha256(slice_of(client, sizeof(client)), s->stored_key);
	sasl_hmac(key, SLICE_LIT("Server Key"), s->server_key);
	explicit_bzero(salted, sizeof(salted));
	explicit_bzero(client, sizeof(client));
}

void sasl_scram_format(const struct sasl_scram *s, struct buf *out)
{
	(void)buf_add_fmt(out, "{SCRAM-SHA-256}%u,", s->iterations);
	base64_encode(out, slice_of(s->salt, s->salt_len));
	(void)buf_add_char(out, ',');
	base64_encode(out, slice_of(s->stored_key, SASL_KEY));
	(void)buf_add_char(out, ',');
	base64_encode(out, slice_of(s->server_key, SASL_KEY));
}

int sasl_crypt_make(struct slice password, struct buf *out)
{
	static const char *const kinds[] = {"$y$", "$6$"};
	struct crypt_data *data = mem_alloc(sizeof(*data));
	char setting[CRYPT_GENSALT_OUTPUT_SIZE], *phrase = slice_dup(password);
	const char *made = NULL;

	for (size_t i = 0; made == NULL && i < sizeof(kinds) / sizeof(*kinds); i++)
		if (crypt_gensalt_rn(kinds[i], 0, NULL, 0, setting, sizeof(setting)) != NULL)
			made = crypt_rn(phrase, setting, data, (int)sizeof(*data));
	int r = made != NULL ? buf_add_str(out, made) : ERR_SYS;
	mem_wipe_free(phrase, password.len);
	mem_wipe_free(data, sizeof(*data));
	return r;
}

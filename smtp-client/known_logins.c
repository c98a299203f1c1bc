/* SPDX-License-Identifier: ISC */
#include "smtp-client/known_logins.h"

#include <string.h>

#include "conf/conf.h"
#include "sasl/crypto.h"
#include "smtp-client/setting.h"
#include "util/aged.h"

enum { TEXT_MAX = 512, KEY_LIMIT = 8192 };

struct login {
	uint8_t key[SASL_KEY];
	int64_t until;
	char mark[SASL_MARK_TEXT];
};

struct refusal {
	uint8_t key[SASL_KEY];
	int64_t until;
	unsigned code;
	char status[16], text[TEXT_MAX];
};

static struct aged *logins, *refusals;

/* False: the names are longer than any name is. */
static bool make_key(const char *const *words, size_t n, uint8_t key[SASL_KEY])
{
	struct buf text = BUF_INIT(KEY_LIMIT);
	for (size_t i = 0; i < n; i++) {
		buf_add_fmt(&text, "%s\n", words[i]);
	}
	sasl_sha256(buf_slice(&text), key);
	bool good = !buf_failed(&text);
	buf_clear(&text);
	return good;
}

static bool login_key(const char *host, const char *site, const char *sender, uint8_t key[SASL_KEY])
{
	bool by_sender = conf_bool(setting_of(P_smtp_sender_dependent_authentication));
	const char *words[] = {host, site, by_sender ? sender : ""};
	return make_key(words, 3, key);
}

/* The record of this key, made where it is missing. */
static void *touch(struct aged **a, size_t size, const uint8_t key[SASL_KEY])
{
	if (*a == NULL) {
		*a = aged_new(size, SASL_KEY, KNOWN_LOGINS_MAX, NULL, NULL);
	}
	void *record = aged_get(*a, key);
	if (record == NULL) {
		return aged_add(*a, key);
	}
	aged_touch(*a, record);
	return record;
}

void known_logins_add(const struct session *s, const char *mark)
{
	uint8_t key[SASL_KEY];
	if (!login_key(s->name, s->site, s->delivery->job->sender, key)) {
		return;
	}
	struct login *l = touch(&logins, sizeof(*l), key);
	if (l != NULL) {
		l->until = loop_now() + KNOWN_LOGINS_SECONDS * CLOCK_SEC;
		strlcpy(l->mark, mark, sizeof(l->mark));
	}
}

const char *known_logins_find(const char *host, const char *site, const char *sender)
{
	uint8_t key[SASL_KEY];
	if (logins == NULL || !login_key(host, site, sender, key)) {
		return NULL;
	}
	const struct login *l = aged_get(logins, key);
	return l != NULL && l->until > loop_now() ? l->mark : NULL;
}

static bool is_kept(void)
{
	return *conf_str(setting_of(P_smtp_sasl_auth_cache_name)) != '\0';
}

void known_logins_refused(
	const struct session *s, const char *mark, const char *text, const char *status)
{
	const char *words[] = {s->name, mark};
	uint8_t key[SASL_KEY];
	if (!is_kept() || !make_key(words, 2, key)) {
		return;
	}
	struct refusal *r = touch(&refusals, sizeof(*r), key);
	if (r != NULL) {
		r->until = loop_now() + conf_time(setting_of(P_smtp_sasl_auth_cache_time));
		r->code = (unsigned)s->reply.code;
		strlcpy(r->status, status, sizeof(r->status));
		strlcpy(r->text, text, sizeof(r->text));
	}
}

bool known_logins_is_refused(struct session *s, const char *mark)
{
	const char *words[] = {s->name, mark};
	uint8_t key[SASL_KEY];
	if (refusals == NULL || !make_key(words, 2, key)) {
		return false;
	}
	const struct refusal *r = aged_get(refusals, key);
	if (r == NULL || r->until <= loop_now()) {
		return false;
	}
	session_problem(s, STAGE_AUTH, r->status,
		"SASL [CACHED] authentication failed; server %s said: %s", s->name, r->text);
	s->delivery->why.code = r->code;
	return true;
}

/* SPDX-License-Identifier: ISC */
#include "smtp-client/auth.h"

#include <stdio.h>
#include <string.h>

#include "conf/conf.h"
#include "sasl/client.h"
#include "sasl/mechanism.h"
#include "server/server.h"
#include "smtp-client/hello.h"
#include "smtp-client/known_logins.h"
#include "smtp-client/outcome.h"
#include "smtp-client/setting.h"
#include "smtp-client/tables.h"
#include "util/base64.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

enum {
	LINE_MAX_BYTES = 510, /* RFC 5321, 4.5.3.1.4, without the line's end */
	SECRET_MAX = 16384,   /* a message, as base64 too */
	VAULT_TIME = 10       /* seconds that a session waits for a vault */
};

struct auth {
	TAILQ_ENTRY(auth) link;
	struct session *session;
	struct ipc *vault; /* NULL: none is asked */
	uint64_t id;
	int64_t vault_until; /* for its first word, however often one is waited for */
	bool any;            /* mechanisms that both sides know */
	bool has_begun;      /* AUTH is sent */
	bool is_asked;       /* vault is, for what comes next */
	bool must_prove;     /* the host, before its 235 counts */
	bool is_proved;
	char mechanism[SASL_NAME_MAX + 1];
	char mark[SASL_MARK_TEXT];
	struct buf
		first;   /* an initial response that did not fit into the line of AUTH, as base64 */
	struct buf said; /* the last message as base64, until it is answered */
};

static TAILQ_HEAD(, auth) auths = TAILQ_HEAD_INITIALIZER(auths);
static bool enabled;
static struct sasl_options plain_options, tls_options, verified_options;
static struct match *filter;
static struct loop_timer patience;

static void tired(void *arg);

static void read_options(enum param p, struct sasl_options *o)
{
	struct buf why = BUF_INIT(1024);
	if (sasl_options_parse(slice_str(conf_str(p)), &why, o) != 0) {
		log_fatal("%s: %s", conf_name(p), log_q(buf_slice(&why)));
	}
	buf_clear(&why);
}

void auth_init(void)
{
	enabled = conf_bool(setting_of(P_smtp_sasl_auth_enable));
	read_options(setting_of(P_smtp_sasl_security_options), &plain_options);
	read_options(setting_of(P_smtp_sasl_tls_security_options), &tls_options);
	read_options(setting_of(P_smtp_sasl_tls_verified_security_options), &verified_options);
	tables_open_match(setting_of(P_smtp_sasl_mechanism_filter), 0, &filter);
	loop_timer_init(&patience, tired, NULL);
}

/* ---- The end of it. ---- */

void auth_forget(struct session *s)
{
	struct auth *a = s->auth;
	if (a == NULL) {
		return;
	}
	s->auth = NULL;
	TAILQ_REMOVE(&auths, a, link);
	if (a->vault != NULL) {
		ipc_set_arg(a->vault, a->id, true, NULL);
		(void)ipc_send(a->vault, PROTO_RELAY_END, a->id);
	}
	buf_clear(&a->first);
	buf_clear(&a->said);
	mem_free(a);
}

static void give_up(struct session *s, const char *status)
{
	s->delivery->why.stage = STAGE_AUTH;
	auth_forget(s);
	if (status[0] == '5') {
		outcome_all_failed(s->delivery, true);
	}
	session_fail(s, true);
}

static void cannot(struct session *s, const char *why)
{
	session_problem(s, STAGE_AUTH, "4.7.0",
		"SASL authentication failed; cannot authenticate to server %s: %s", s->host, why);
	give_up(s, "4.7.0");
}

/* Nothing that the server offers may be used. */
static void no_mechanism(struct session *s)
{
	session_problem(s, STAGE_AUTH, "4.7.0",
		"SASL authentication failed: server %s offered no compatible authentication "
		"mechanisms for this type of connection security",
		s->host);
	give_up(s, "4.7.0");
}

/* What a host with credentials gets waits for TLS, as in Postfix: neither password nor mail goes.
 */
static void not_in_clear(struct session *s)
{
	session_problem(s, STAGE_TLS, "4.7.5",
		"Cannot start TLS; host %s, for which there are credentials, gets no mail in "
		"clear text",
		s->host);
	auth_forget(s);
	session_fail(s, true);
}

/* The server has refused it: smtp_sasl_auth_soft_bounce. */
static void refused(struct session *s)
{
	bool soft = conf_bool(setting_of(P_smtp_sasl_auth_soft_bounce));
	struct buf text = BUF_INIT(REPLY_TEXT_LIMIT * 2);
	char status[sizeof(s->reply.status)];
	reply_add_text(&text, &s->reply);
	strlcpy(status, reply_class(&s->reply) >= 4 ? s->reply.status : "4.5.0", sizeof(status));
	if (soft && status[0] == '5') {
		status[0] = '4';
	}
	if (s->reply.code == 535) {
		known_logins_refused(s, s->auth->mark, buf_str(&text), status);
	}
	session_problem(s, STAGE_AUTH, status, "SASL authentication failed; server %s said: %s",
		s->host, buf_str(&text));
	s->delivery->why.code = (unsigned)s->reply.code;
	buf_add_slice(&s->delivery->why.diagnostic, buf_slice(&text));
	buf_clear(&text);
	give_up(s, status);
}

static void on(struct session *s)
{
	if (s->auth != NULL && s->auth->has_begun) {
		s->login = mem_str(s->auth->mark);
	}
	auth_forget(s);
	session_ready(s);
}

/* ---- Mechanisms. ---- */

static unsigned properties_of(const char *mechanism)
{
	for (const struct sasl_mechanism *m = sasl_table_mechanisms; m->name != NULL; m++) {
		if (strcasecmp(m->name, mechanism) == 0) {
			return m->properties;
		}
	}
	/* A token is as good as a password for whoever hears it. */
	return SASL_PLAINTEXT;
}

static const struct sasl_options *options_of(const struct session *s)
{
	if (s->tls == NULL) {
		return &plain_options;
	}
	const struct tls_facts *f = tls_facts(s->tls);
	bool verified = s->level >= TLS_FINGERPRINT && f->is_matched;
	return verified ? &verified_options : &tls_options;
}

static bool may_use(const struct session *s, const char *mechanism)
{
	return sasl_options_permit(options_of(s), properties_of(mechanism)) &&
	       (filter == NULL || match_domain(filter, slice_str(mechanism), NULL) == 0);
}

static bool offers(const struct session *s, const char *mechanism)
{
	struct slice rest = slice_str(s->ehlo.auth), word;
	while (slice_token(&rest, " ", &word)) {
		if (slice_case_eq_str(word, mechanism)) {
			return true;
		}
	}
	return false;
}

/* tls-exporter is TLS 1.3's (RFC 9266). */
static void put_binding(struct ipc *vault, const struct session *s)
{
	static const char *const types[] = {"tls-exporter", "tls-server-end-point"};
	struct buf binding = BUF_INIT(256), data = BUF_INIT(200);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]) && s->tls != NULL; i++) {
		buf_reset(&data);
		if (tls_channel_binding(s->tls, slice_str(types[i]), &data) == 0) {
			buf_add_str(&binding, types[i]);
			buf_add_char(&binding, '\0');
			buf_add_slice(&binding, buf_slice(&data));
			ipc_put_bytes(vault, FIELD_BINDING, buf_slice(&binding));
			break;
		}
	}
	buf_clear(&binding);
	buf_clear(&data);
}

static void put_mechanisms(struct auth *a)
{
	const struct session *s = a->session;
	const char *plus = sasl_client_name(SASL_CLIENT_SCRAM_PLUS);
	a->any = false;
	for (unsigned k = 0; k < SASL_CLIENT_KINDS; k++) {
		const char *name = sasl_client_name((enum sasl_client_kind)k);
		if (!s->plain && offers(s, name) && may_use(s, name)) {
			ipc_put_str(a->vault, FIELD_MECHANISM, name);
			a->any = true;
		}
	}
	/* What a filter hides is not said to be unknown to the server. */
	if (!offers(s, plus) || may_use(s, plus)) {
		put_binding(a->vault, s);
	}
}

/* ---- vault. ---- */

static bool waits_for_vault(const struct auth *a)
{
	return a->vault == NULL && !a->has_begun;
}

/* For the first that waits: they stand in the order in which they began. */
static void set_patience(void)
{
	const struct auth *a = NULL;
	TAILQ_FOREACH(a, &auths, link)
	{
		if (waits_for_vault(a)) {
			break;
		}
	}
	loop_timer_set(&patience, a != NULL ? a->vault_until : CLOCK_NEVER);
}

static void ask(struct auth *a)
{
	/* The first of them, always: what it says of logins can be compared. */
	struct server_peer *peer = TAILQ_FIRST(server_peers(ROLE_VAULT));
	const struct session *s = a->session;
	if (peer == NULL) {
		set_patience();
		return;
	}
	a->vault = peer->ipc;
	a->id = ipc_ask(a->vault);
	ipc_begin(a->vault, PROTO_RELAY_AUTH, a->id);
	ipc_put_str(a->vault, FIELD_NAME, s->name);
	ipc_put_str(a->vault, FIELD_NEXTHOP, s->site);
	ipc_put_str(a->vault, FIELD_SENDER, s->delivery->job->sender);
	put_mechanisms(a);
	(void)ipc_end(a->vault);
	ipc_set_arg(a->vault, a->id, true, a);
	a->is_asked = true;
}

bool auth_take(struct session *s)
{
	/* Where TLS has failed the host need not offer it: whether there are credentials counts. */
	if (!enabled || ((s->ehlo.features & EHLO_AUTH) == 0 && !s->plain)) {
		return false;
	}
	struct auth *a = mem_alloc(sizeof(*a));
	a->session = s;
	a->vault_until = loop_now() + VAULT_TIME * CLOCK_SEC;
	a->first = BUF_SECRET(SECRET_MAX);
	a->said = BUF_SECRET(SECRET_MAX);
	TAILQ_INSERT_TAIL(&auths, a, link);
	s->auth = a;
	s->state = SESSION_AUTH;
	stream_deadline(s->stream, session_deadline(P_smtp_helo_timeout));
	ask(a);
	return true;
}

void auth_peer_new(void)
{
	struct auth *a = NULL;
	TAILQ_FOREACH(a, &auths, link)
	{
		if (waits_for_vault(a)) {
			ask(a);
		}
	}
}

/* No vault has come. */
static void tired(void *arg)
{
	struct auth *a = TAILQ_FIRST(&auths);
	while (a != NULL) {
		struct auth *next = TAILQ_NEXT(a, link);
		if (waits_for_vault(a) && a->vault_until <= loop_now()) {
			cannot(a->session, "vault does not answer");
			/* Others may have gone with it. */
			next = TAILQ_FIRST(&auths);
		}
		a = next;
	}
	set_patience();
}

void auth_peer_gone(struct ipc *vault)
{
	struct auth *a = TAILQ_FIRST(&auths);
	while (a != NULL) {
		struct auth *next = TAILQ_NEXT(a, link);
		if (a->vault == vault) {
			a->vault = NULL;
			a->is_asked = false;
			if (!a->has_begun) {
				ask(a);
			} else if (!a->is_proved) {
				cannot(a->session, "vault has ended");
				next = TAILQ_FIRST(&auths);
			}
		}
		a = next;
	}
}

/* ---- The dialogue. ---- */

static void keep_said(struct auth *a, struct slice message)
{
	buf_clear(&a->said);
	base64_encode(&a->said, message);
}

static void send_line(struct session *s, const char *verb, struct slice text)
{
	stream_set_secret(s->stream);
	(void)stream_write_slice(s->stream, slice_str(verb));
	(void)stream_write_slice(s->stream, text);
	(void)stream_write(s->stream, "\r\n", 2);
	stream_deadline(s->stream, session_deadline(P_smtp_helo_timeout));
}

/* RFC 4954, 4: an empty initial response is "=", one that does not fit comes behind a 334. */
static void begin(struct auth *a, const struct ipc_msg *m)
{
	struct session *s = a->session;
	struct buf verb = BUF_INIT(64);
	struct slice text = SLICE_NONE;
	bool has = ipc_has(m, FIELD_SECRET);
	keep_said(a, ipc_bytes(m, FIELD_SECRET));
	if (has) {
		text = a->said.len > 0 ? buf_slice(&a->said) : slice_str("=");
	}
	buf_add_fmt(&verb, "AUTH %s", a->mechanism);
	log_debug("> %s: %s", s->relay, buf_str(&verb));
	if (verb.len + 1 + text.len > LINE_MAX_BYTES) {
		buf_add_slice(&a->first, text);
		text = SLICE_NONE;
	}
	if (text.len > 0) {
		buf_add_char(&verb, ' ');
	}
	send_line(s, buf_str(&verb), text);
	a->has_begun = true;
	buf_clear(&verb);
}

static void add_mark(struct auth *a, struct slice mark)
{
	struct buf text = BUF_INIT(sizeof(a->mark));
	base64_encode(&text, mark);
	strlcpy(a->mark, buf_str(&text), sizeof(a->mark));
	buf_clear(&text);
}

static void take_first(struct auth *a, const struct ipc_msg *m)
{
	struct session *s = a->session;
	struct slice name = ipc_bytes(m, FIELD_MECHANISM);
	(void)snprintf(a->mechanism, sizeof(a->mechanism), "%.*s", SLICE_FMT(name));
	a->must_prove = slice_starts(name, "SCRAM-");
	add_mark(a, ipc_bytes(m, FIELD_LOGIN_MARK));
	known_logins_add(s, a->mark);
	if (known_logins_is_refused(s, a->mark)) {
		give_up(s, s->delivery->why.status);
		return;
	}
	begin(a, m);
}

static void say(struct auth *a, const struct ipc_msg *m)
{
	a->is_asked = false;
	if (!a->has_begun) {
		take_first(a, m);
		return;
	}
	keep_said(a, ipc_bytes(m, FIELD_SECRET));
	log_debug("> %s: (a response)", a->session->relay);
	send_line(a->session, "", buf_slice(&a->said));
}

static void done(struct auth *a, const struct ipc_msg *m)
{
	struct session *s = a->session;
	uint64_t result = ipc_u64(m, FIELD_RESULT);
	a->is_asked = false;
	if (result == RESULT_OK && a->has_begun) {
		/* The host has proved itself in a challenge, which wants an answer. */
		a->is_proved = true;
		send_line(s, "", SLICE_NONE);
	} else if (result == RESULT_NOT_FOUND) {
		known_logins_add(s, "");
		on(s);
	} else if (s->plain && result == RESULT_FAILED) {
		not_in_clear(s);
	} else if (!a->any && result == RESULT_FAILED) {
		no_mechanism(s);
	} else {
		struct slice why = ipc_bytes(m, FIELD_TEXT);
		char *text = slice_dup(why.len > 0 ? why : SLICE_LIT("vault cannot say"));
		cannot(s, text);
		mem_free(text);
	}
}

bool auth_peer_msg(struct ipc_msg *m)
{
	struct auth *a = m->arg;
	if (m->type != PROTO_RELAY_SAY && m->type != PROTO_RELAY_DONE) {
		return false;
	}
	if (a != NULL && m->type == PROTO_RELAY_SAY) {
		say(a, m);
	} else if (a != NULL) {
		done(a, m);
	}
	return true;
}

/* The text of a 334, decoded. */
static void challenge(struct auth *a)
{
	struct session *s = a->session;
	struct slice rest = buf_slice(&s->reply.text), line = SLICE_NONE;
	struct buf message = BUF_SECRET(SECRET_MAX);
	(void)reply_next_line(&rest, &line);
	if (a->first.len > 0) {
		send_line(s, "", buf_slice(&a->first));
		buf_clear(&a->first);
	} else if (a->vault == NULL || a->is_proved) {
		cannot(s, "the host breaks the rules of the mechanism");
	} else if (base64_decode(&message, slice_trim(line)) != 0) {
		send_line(s, "*", SLICE_NONE);
		cannot(s, "the host sent a challenge that is no base64");
	} else {
		ipc_begin(a->vault, PROTO_RELAY_CHALLENGE, a->id);
		ipc_put_bytes(a->vault, FIELD_SECRET, buf_slice(&message));
		(void)ipc_end(a->vault);
		a->is_asked = true;
	}
	buf_clear(&message);
}

void auth_reply(struct session *s)
{
	struct auth *a = s->auth;
	int class = reply_class(&s->reply);
	if (!a->has_begun || a->is_asked) {
		/* It was asked nothing. */
		session_said(s, STAGE_AUTH, "no command");
		give_up(s, "");
	} else if (class == 3) {
		challenge(a);
	} else if (class != 2) {
		refused(s);
	} else if (a->must_prove && !a->is_proved) {
		cannot(s, "the host does not prove that it knows the password");
	} else {
		on(s);
	}
}

bool auth_is_same(const struct session *s, const struct delivery *d)
{
	if (!enabled || (s->ehlo.features & EHLO_AUTH) == 0) {
		return true;
	}
	const char *mark = known_logins_find(s->name, d->site, d->job->sender);
	return mark != NULL && strcmp(mark, s->login != NULL ? s->login : "") == 0;
}

/* ---- Echoes. ---- */

static void mask(struct buf *text, struct slice secret)
{
	char *from = text->data + text->start, *end = from + text->len, *at = NULL;
	if (secret.len < 3 || text->len == 0) {
		return;
	}
	while ((at = memmem(from, (size_t)(end - from), secret.p, secret.len)) != NULL) {
		memset(at, '*', secret.len);
		from = at + secret.len;
	}
}

/* The last part of PLAIN's and XOAUTH2's message, the whole of LOGIN's, is the secret. */
void auth_mask(struct session *s)
{
	struct auth *a = s->auth;
	struct buf message = BUF_SECRET(SECRET_MAX);
	if (a == NULL || a->said.len == 0) {
		return;
	}
	mask(&s->reply.text, buf_slice(&a->said));
	if (base64_decode(&message, buf_slice(&a->said)) == 0) {
		struct slice rest = buf_slice(&message), part, last = rest;
		while (slice_token(&rest, "\001", &part)) {
			last = part;
		}
		rest = last;
		while (slice_part(&rest, '\0', &part)) {
			last = part;
		}
		if (slice_starts(last, "auth=Bearer ")) {
			last = slice_from(last, strlen("auth=Bearer "));
		}
		mask(&s->reply.text, last);
	}
	buf_clear(&message);
}

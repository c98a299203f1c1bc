/* SPDX-License-Identifier: ISC */
#include "smtpd/auth.h"

#include "conf/conf.h"
#include "sasl/mechanism.h"
#include "smtp/ehlo.h"
#include "smtpd/auth_backend.h"
#include "smtpd/auth_dovecot.h"
#include "smtpd/starttls.h"
#include "tls/tls.h"
#include "util/base64.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/wire.h"

/*
 *   auth_command ──► backend ──challenge──► 334, RESPONSE ──auth_line──► backend …
 *                       └──done──► 235, 454, 535; COMMAND
 */
enum { MESSAGE_MAX = 16000, LINES = 4096, BINDINGS_MAX = 1024 };

struct auth {
	struct auth_exchange x; /* first: events get it */
	struct session *session;
	char mechanism[SASL_NAME_MAX + 1], client[NET_ADDR_TEXT], server[NET_ADDR_TEXT];
	struct buf bindings;
	struct loop_timer limit;
	bool waited; /* the reply comes from the event loop */
};

static struct {
	bool enabled, tls_only, broken_clients;
	struct sasl_options options, tls_options; /* in clear, and inside of TLS */
	struct match *filter, *exceptions;
	const struct auth_backend *backend;
} self;

void (*auth_on_failure)(const struct auth_failure *f);

static struct match *open_match(enum param p)
{
	struct buf why = BUF_INIT(1024);
	struct match *m = NULL;

	if (match_open(conf_str(p), MATCH_PARENT, &why, &m) != 0)
		log_fatal("%s: %s", conf_name(p), buf_str(&why));
	buf_clear(&why);
	return m;
}

static void read_options(enum param p, struct sasl_options *o)
{
	struct buf why = BUF_INIT(1024);

	if (sasl_options_parse(slice_str(conf_str(p)), &why, o) != 0)
		log_fatal("%s: %s", conf_name(p), buf_str(&why));
	buf_clear(&why);
}

void auth_open(void)
{
	self.enabled = conf_bool(P_smtpd_sasl_auth_enable);
	self.tls_only = conf_bool(P_smtpd_tls_auth_only) || starttls_is_mandatory();
	self.broken_clients = conf_bool(P_broken_sasl_auth_clients);
	self.backend =
		strcmp(conf_str(P_smtpd_sasl_type), "table") == 0 ? &auth_vault : &auth_dovecot;
	if (!self.enabled)
		return;
	read_options(P_smtpd_sasl_security_options, &self.options);
	read_options(P_smtpd_sasl_tls_security_options, &self.tls_options);
	self.filter = open_match(P_smtpd_sasl_mechanism_filter);
	self.exceptions = open_match(P_smtpd_sasl_exceptions_networks);
}

void auth_start(void)
{
	if (auth_is_enabled() && self.backend == &auth_dovecot)
		auth_dovecot_start(conf_str(P_smtpd_sasl_path), conf_str(P_smtpd_sasl_service));
}

bool auth_is_enabled(void)
{
	return self.enabled && (settings.discarded & EHLO_AUTH) == 0;
}

/* ---- what is offered ---- */

/* ERR_NOT_FOUND: AUTH is for the client; 0: it is not; another: a table failed. */
static int find_exception(const struct session *s)
{
	return match_host(self.exceptions, slice_str(s->name), slice_str(s->addr), NULL);
}

static bool may_be_offered_to(const struct session *s)
{
	return auth_is_enabled() && (s->discarded & EHLO_AUTH) == 0 && !s->is_local;
}

/* All of it is in clear before there is TLS. */
static bool is_in_clear(const struct session *s)
{
	return self.tls_only && s->tls == NULL;
}

static bool has_trusted_cert(const struct session *s)
{
	return s->tls != NULL && tls_facts(s->tls)->has_cert && tls_facts(s->tls)->is_trusted;
}

/* 0: may be used; ERR_NOT_FOUND: not; another: a table failed. */
static int find_permission(const struct session *s, const char *name, unsigned properties)
{
	const struct sasl_options *o = s->tls != NULL ? &self.tls_options : &self.options;

	if (sasl_is_bound(slice_str(name)) && (s->tls == NULL || !self.backend->can_bind))
		return ERR_NOT_FOUND;
	if (strcmp(name, "EXTERNAL") == 0 && !has_trusted_cert(s))
		return ERR_NOT_FOUND;
	return sasl_options_permit(o, properties) ? match_domain(self.filter, slice_str(name), NULL)
						  : ERR_NOT_FOUND;
}

struct offer {
	const struct session *session;
	const char *wanted; /* NULL: any */
	int err;            /* of that one; ERR_NOT_FOUND until it is found */
	bool has_bound;
	struct buf list;
};

static void take_mechanism(const char *name, unsigned properties, void *arg)
{
	struct offer *o = arg;
	int err = find_permission(o->session, name, properties);

	if (o->wanted != NULL && strcmp(name, o->wanted) == 0)
		o->err = err;
	if (err != 0)
		return;
	o->has_bound = o->has_bound || sasl_is_bound(slice_str(name));
	(void)buf_add_fmt(&o->list, "%s%s", o->list.len > 0 ? " " : "", name);
}

void auth_add_ehlo(const struct session *s, struct buf *lines)
{
	struct offer o = {.session = s, .list = BUF_INIT(LINES / 2 - 100)};

	if (!may_be_offered_to(s) || is_in_clear(s) || find_exception(s) != ERR_NOT_FOUND)
		return;
	self.backend->walk(take_mechanism, &o);
	if (o.list.len > 0) {
		(void)buf_add_fmt(lines, "250-AUTH %s\r\n", buf_str(&o.list));
		if (self.broken_clients)
			(void)buf_add_fmt(lines, "250-AUTH=%s\r\n", buf_str(&o.list));
	}
	buf_clear(&o.list);
}

/* ---- the end of an exchange ---- */

void auth_cancel(struct session *s)
{
	struct auth *a = s->auth;

	s->auth = NULL;
	if (a == NULL)
		return;
	a->x.backend->cancel(&a->x);
	loop_timer_clear(&a->limit);
	buf_clear(&a->bindings);
	mem_free(a);
}

static void finish(struct session *s, bool good)
{
	bool waited = s->auth == NULL || s->auth->waited;

	session_count(s, SMTP_AUTH, good);
	auth_cancel(s);
	if (waited)
		session_go_on(s);
	else if (s->state != CLOSED)
		s->state = COMMAND;
}

static void succeed(struct auth *a, struct slice login)
{
	struct session *s = a->session;

	s->login = slice_dup(login);
	s->sasl_method = mem_str(a->mechanism);
	session_reply(s, "235 2.7.0 Authentication successful");
	finish(s, true);
}

static void fail(struct auth *a, const struct auth_outcome *o)
{
	struct session *s = a->session;
	struct slice why = o->why.len > 0 ? o->why : SLICE_LIT("(reason unavailable)");
	struct auth_failure f = {s, o->login, o->has_mark, o->mark};

	log_warning("%s: SASL %s authentication failed: %s, sasl_username=%s", s->namaddr,
		a->mechanism, log_q(slice_first(why, 200)),
		o->login.len > 0 ? log_q(slice_first(o->login, 100)) : "(unavailable)");
	session_reply(s, "535 5.7.8 Error: authentication failed: %.*s",
		SLICE_FMT(slice_first(why, 200)));
	if (auth_on_failure != NULL)
		auth_on_failure(&f);
	finish(s, false);
}

/* In other words than a failure: those who watch the log must not ban the client for it. */
static void put_off(struct auth *a, struct slice why, struct slice login)
{
	struct session *s = a->session;

	log_warning("%s: SASL %s temporary authentication failure: %s, sasl_username=%s",
		s->namaddr, a->mechanism, log_q(slice_first(why, 200)),
		login.len > 0 ? log_q(slice_first(login, 100)) : "(unavailable)");
	session_reply(s, "454 4.7.0 Temporary authentication failure: %.*s",
		SLICE_FMT(slice_first(why, 200)));
	finish(s, false);
}

static void on_done(struct auth_exchange *x, const struct auth_outcome *o)
{
	struct auth *a = (struct auth *)(void *)x;

	switch (o->result) {
	case AUTH_OK: succeed(a, o->login); break;
	case AUTH_WRONG: fail(a, o); break;
	default: put_off(a, o->why, o->login); break;
	}
}

static void too_slow(void *arg)
{
	put_off(arg, SLICE_LIT("Connection lost to authentication server"), SLICE_NONE);
}

static void give_up(struct session *s, const char *reply)
{
	session_reply(s, "%s", reply);
	finish(s, false);
}

/* ---- between client and backend ---- */

static void on_challenge(struct auth_exchange *x, struct slice message)
{
	struct auth *a = (struct auth *)(void *)x;
	struct session *s = a->session;
	struct buf reply = BUF_INIT(4000);

	loop_timer_set(&a->limit, CLOCK_NEVER);
	(void)buf_add_str(&reply, "334 ");
	base64_encode(&reply, message);
	if (buf_failed(&reply)) {
		put_off(a, SLICE_LIT("challenge is too long"), SLICE_NONE);
	} else {
		session_reply_text(s, buf_slice(&reply));
		session_await_response(s);
	}
	buf_clear(&reply);
}

static const struct auth_events events = {on_challenge, on_done};

static void wait_for_backend(struct auth *a)
{
	a->session->state = WAITING;
	loop_timer_set(&a->limit, loop_now() + a->x.backend->wait_sec * CLOCK_SEC);
}

/* An initial response of "=" is an empty one (RFC 4954, 4). */
static int decode(struct slice text, bool is_initial, struct buf *message)
{
	if (is_initial && slice_eq_str(text, "="))
		return 0;
	int err = base64_decode(message, text);
	return buf_failed(message) ? ERR_LIMIT : err;
}

void auth_line(struct session *s, struct slice line)
{
	struct auth *a = s->auth;
	struct buf message = BUF_SECRET(MESSAGE_MAX);

	a->waited = true;
	if (slice_eq_str(line, "*")) {
		log_warning("%s: SASL %s authentication aborted", s->namaddr, a->mechanism);
		give_up(s, "501 5.7.0 Authentication aborted");
	} else if (decode(line, false, &message) != 0) {
		give_up(s, "501 5.5.2 Error: authentication failed: malformed base64");
	} else {
		wait_for_backend(a);
		a->x.backend->respond(&a->x, buf_slice(&message));
	}
	buf_clear(&message);
}

void auth_long_line(struct session *s)
{
	give_up(s, "500 5.5.6 SASL response limit exceeded");
}

static void add_binding(struct auth *a, const char *type)
{
	struct buf one = BUF_INIT(BINDINGS_MAX);

	(void)buf_add(&one, type, strlen(type) + 1);
	if (tls_channel_binding(a->session->tls, slice_str(type), &one) == 0 && !buf_failed(&one))
		wire_counted(&a->bindings, buf_slice(&one));
	buf_wipe_clear(&one);
}

/* What the session's TLS proves about the client, for mechanisms that ask for it. */
static void take_tls(struct auth *a)
{
	const struct tls *t = a->session->tls;

	a->x.is_secured = t != NULL;
	if (t == NULL)
		return;
	if (sasl_is_bound(slice_str(a->mechanism))) {
		add_binding(a, "tls-exporter");
		add_binding(a, "tls-server-end-point");
		a->x.bindings = buf_slice(&a->bindings);
	}
	if (strcmp(a->mechanism, "EXTERNAL") == 0 && has_trusted_cert(a->session))
		a->x.names_n = tls_cert_names(t, &a->x.names);
}

static struct auth *auth_new(struct session *s, struct slice mechanism)
{
	struct auth *a = mem_alloc(sizeof(*a));
	struct net_addr local;

	a->session = s;
	a->x = (struct auth_exchange){.events = &events,
		.backend = self.backend,
		.mechanism = a->mechanism,
		.client = s->addr,
		.server = a->server,
		.client_port = s->port};
	for (size_t i = 0; i < mechanism.len; i++) {
		char c = mechanism.p[i];

		a->mechanism[i] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
	}
	if (net_local(stream_fd(s->stream), &local) == 0) {
		net_addr_text(&local, a->server);
		a->x.server_port = net_addr_port(&local);
	}
	buf_init(&a->bindings, BINDINGS_MAX);
	loop_timer_init(&a->limit, too_slow, a);
	return a;
}

static void begin(struct session *s, struct slice mechanism, struct slice initial)
{
	struct auth *a = s->auth = auth_new(s, mechanism);
	struct offer o = {.session = s,
		.wanted = a->mechanism,
		.err = ERR_NOT_FOUND,
		.list = BUF_INIT(LINES)};
	struct buf message = BUF_SECRET(MESSAGE_MAX);
	static const struct auth_outcome unknown = {
		.result = AUTH_WRONG, .why = {"Invalid authentication mechanism", 32}};

	self.backend->walk(take_mechanism, &o);
	a->x.offers_binding = o.has_bound;
	take_tls(a);
	if (o.err == ERR_NOT_FOUND) {
		fail(a, &unknown);
	} else if (o.err != 0) {
		put_off(a, SLICE_LIT("lookup failure"), SLICE_NONE);
	} else if (initial.p != NULL && decode(initial, true, &message) != 0) {
		give_up(s, "501 5.5.2 Error: authentication failed: malformed base64");
	} else {
		a->waited = true;
		wait_for_backend(a);
		a->x.backend->begin(&a->x, initial.p != NULL ? buf_slice(&message) : SLICE_NONE);
	}
	buf_clear(&o.list);
	buf_clear(&message);
}

static const char *refusal(const struct session *s)
{
	int exception = may_be_offered_to(s) ? find_exception(s) : 0;

	if (settings.helo_required && s->helo == NULL)
		return "503 5.5.1 Error: send HELO/EHLO first";
	if (exception == 0)
		return "503 5.5.1 Error: authentication not enabled";
	if (exception != ERR_NOT_FOUND)
		return "454 4.7.0 Temporary authentication failure: lookup failure";
	if (s->transaction != NULL)
		return "503 5.5.1 Error: MAIL transaction in progress";
	if (is_in_clear(s))
		return "538 5.7.11 Encryption required for requested authentication mechanism";
	return s->login != NULL ? "503 5.5.1 Error: already authenticated" : NULL;
}

void auth_command(struct session *s, struct slice args)
{
	const char *reply = refusal(s);
	struct slice rest = args, mechanism, initial, more;
	bool is_good = slice_token(&rest, " ", &mechanism) && sasl_is_mechanism(mechanism);
	bool has_initial = slice_token(&rest, " ", &initial);

	if (reply == NULL && (!is_good || slice_token(&rest, " ", &more)))
		reply = "501 5.5.4 Syntax: AUTH mechanism";
	if (reply != NULL) {
		session_count(s, SMTP_AUTH, false);
		session_reply(s, "%s", reply);
	} else {
		begin(s, mechanism, has_initial ? initial : SLICE_NONE);
	}
}

/* SPDX-License-Identifier: ISC */
#include <stdio.h>

#include "conf/value.h"
#include "map/spec.h"
#include "net/pool.h"
#include "policy/restrict.h"
#include "util/err.h"
#include "util/mem.h"

/*
 * check_policy_service: another program decides (Postfix's SMTPD_POLICY_README). A request is lines
 * of "name=value" and an empty one; the answer is "action=…" and an empty line. What it says is
 * carried out as an entry of an access table. A server that does not answer is asked again as often
 * as try_limit says; then default_action stands in for its answer.
 */
enum {
	CONNECTIONS = 100,
	WAITING = 20000,
	REPLY_LIMIT = 16384,
	REQUEST_LIMIT = 65536,
	TEXT_SHOWN = 200
};

/* A server with its settings; one for all lists of a process in which it stands alike. */
struct service {
	struct service *next;
	unsigned users;
	char *text;                   /* owned: as in the list */
	char *server;                 /* owned */
	char *default_action, *about; /* owned; about: policy_context */
	int64_t timeout, idle, ttl, retry_delay;
	unsigned try_limit, request_limit;
	struct pool *pool; /* made when it is asked first */
};

static struct service *services;

/* Settings. */

static const struct {
	const char *name;
	enum param param;
} attributes[] = {
	{"timeout", P_smtpd_policy_service_timeout},
	{"default_action", P_smtpd_policy_service_default_action},
	{"policy_context", P_smtpd_policy_service_policy_context},
	{"try_limit", P_smtpd_policy_service_try_limit},
	{"retry_delay", P_smtpd_policy_service_retry_delay},
	{"request_limit", P_smtpd_policy_service_request_limit},
	{"max_idle", P_smtpd_policy_service_max_idle},
	{"max_ttl", P_smtpd_policy_service_max_ttl},
};

static void set_number(struct service *s, enum param p, int64_t n)
{
	switch (p) {
	case P_smtpd_policy_service_timeout: s->timeout = n; break;
	case P_smtpd_policy_service_retry_delay: s->retry_delay = n; break;
	case P_smtpd_policy_service_max_idle: s->idle = n; break;
	case P_smtpd_policy_service_max_ttl: s->ttl = n; break;
	case P_smtpd_policy_service_try_limit: s->try_limit = (unsigned)n; break;
	default: s->request_limit = (unsigned)n; break;
	}
}

static int set_value(struct service *s, enum param p, struct slice value, struct buf *why)
{
	char **text = p == P_smtpd_policy_service_default_action   ? &s->default_action
		      : p == P_smtpd_policy_service_policy_context ? &s->about
								   : NULL;
	int64_t number;
	size_t where;
	int err;

	if (text != NULL) {
		mem_free(*text);
		*text = slice_dup(value);
		return 0;
	}
	err = value_parse(p, value, "", why, &where, &number);
	if (err == 0)
		set_number(s, p, number);
	return err;
}

/* "timeout=10s" or "{ default_action = 450 later }". */
static int set_attribute(struct service *s, struct slice item, struct buf *why)
{
	(void)spec_strip_braces(&item);

	ptrdiff_t at = slice_find(item, '=');
	struct slice name = slice_trim(slice_first(item, at < 0 ? 0 : (size_t)at));

	for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++)
		if (slice_eq_str(name, attributes[i].name))
			return set_value(s, attributes[i].param,
				slice_trim(slice_from(item, (size_t)at + 1)), why);
	(void)buf_add_fmt(why,
		"check_policy_service: \"%.*s\" is no attribute; expected timeout=, "
		"default_action=, policy_context=, try_limit=, retry_delay= or request_limit=",
		SLICE_FMT(item));
	return ERR_SYNTAX;
}

static void set_defaults(struct service *s)
{
	s->timeout = conf_time(P_smtpd_policy_service_timeout);
	s->idle = conf_time(P_smtpd_policy_service_max_idle);
	s->ttl = conf_time(P_smtpd_policy_service_max_ttl);
	s->retry_delay = conf_time(P_smtpd_policy_service_retry_delay);
	s->try_limit = (unsigned)conf_int(P_smtpd_policy_service_try_limit);
	s->request_limit = (unsigned)conf_int(P_smtpd_policy_service_request_limit);
	s->default_action = mem_str(conf_str(P_smtpd_policy_service_default_action));
	s->about = mem_str(conf_str(P_smtpd_policy_service_policy_context));
}

static bool is_server(struct slice s)
{
	return (slice_starts(s, "unix:") && s.len > strlen("unix:")) ||
	       (slice_starts(s, "inet:") && slice_find_last(s, ':') > (ptrdiff_t)strlen("inet:"));
}

static void service_free(struct service *s)
{
	pool_free(&s->pool);
	mem_free(s->text);
	mem_free(s->server);
	mem_free(s->default_action);
	mem_free(s->about);
	mem_free(s);
}

static int service_new(const char *text, struct buf *why, struct service **out)
{
	struct service *s = mem_alloc(sizeof(*s));
	struct slice rest = slice_str(text), item = SLICE_NONE;
	int err = 0;

	s->text = mem_str(text);
	set_defaults(s);
	(void)spec_token(&rest, &item);
	if (!is_server(item)) {
		(void)buf_add_fmt(why,
			"restriction check_policy_service must be followed by transport:server, "
			"not \"%.*s\"; expected unix:PATH or inet:HOST:PORT",
			SLICE_FMT(item));
		err = ERR_SYNTAX;
	}
	s->server = slice_dup(item);
	while (err == 0 && spec_token(&rest, &item))
		err = set_attribute(s, item, why);
	if (err != 0) {
		service_free(s);
		s = NULL;
	}
	*out = s;
	return err;
}

static int open_service(struct policy *p, struct policy_item *item, struct buf *why)
{
	struct service *s = services;
	int err = 0;

	(void)p;
	while (s != NULL && strcmp(s->text, item->text) != 0)
		s = s->next;
	if (s == NULL) {
		err = service_new(item->text, why, &s);
		if (err != 0)
			return err;
		s->next = services;
		services = s;
	}
	s->users++;
	item->state = s;
	return 0;
}

static void close_service(struct policy_item *item)
{
	struct service *s = item->state, **at = &services;

	item->state = NULL;
	if (s == NULL || --s->users > 0)
		return;
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	service_free(s);
}

/* The request. */

static void add(struct buf *b, const char *name, struct slice value)
{
	/* A line end cannot be in there: input with one is refused. Others' words may be odd. */
	for (size_t i = 0; i < value.len; i++) {
		if (value.p[i] == '\n' || value.p[i] == '\0') {
			value.len = i;
			break;
		}
	}
	(void)buf_add_fmt(b, "%s=%.*s\n", name, SLICE_FMT(value));
}

static void add_number(struct buf *b, const char *name, uint64_t n)
{
	(void)buf_add_fmt(b, "%s=%llu\n", name, (unsigned long long)n);
}

static void add_port(struct buf *b, const char *name, uint16_t port)
{
	if (port != 0)
		add_number(b, name, port);
	else
		add(b, name, SLICE_LIT("unknown"));
}

static struct slice state_name(const struct policy_eval *e)
{
	if (e->stage == POLICY_HELO && e->facts->is_ehlo)
		return SLICE_LIT("EHLO");
	return slice_str(policy_stage_name(e->stage));
}

static void add_session(struct buf *b, const struct policy_facts *f)
{
	add(b, "client_address", f->client_addr);
	add(b, "client_name", f->client_name);
	add_port(b, "client_port", f->client_port);
	add(b, "reverse_client_name", f->reverse_name);
	add(b, "server_address", f->server_addr);
	add_port(b, "server_port", f->server_port);
	add(b, "helo_name", f->helo);
}

static void add_transaction(struct buf *b, const struct policy_eval *e)
{
	const struct policy_facts *f = e->facts;
	bool is_content = e->stage == POLICY_DATA || e->stage == POLICY_END_OF_DATA;

	add(b, "sender", f->sender);
	add(b, "recipient", f->recipient);
	add_number(b, "recipient_count", is_content ? f->recipient_count : 0);
	add(b, "queue_id", f->queue_id);
	add(b, "instance", f->instance);
	add_number(b, "size", f->size);
	add(b, "etrn_domain", f->etrn_domain);
	add(b, "stress", f->stress);
}

/* Names in a certificate that nobody vouches for are not told; others in xtext. */
static void add_ccert_name(
	struct buf *b, const char *name, const struct policy_facts *f, struct slice value)
{
	(void)buf_add_fmt(b, "%s=", name);
	if (f->ccert_is_trusted)
		address_xtext_encode(b, value);
	(void)buf_add_char(b, '\n');
}

static void add_security(struct buf *b, const struct policy_facts *f)
{
	add(b, "sasl_method", f->sasl_method);
	add(b, "sasl_username", f->login);
	add(b, "sasl_sender", f->sasl_sender);
	add_ccert_name(b, "ccert_subject", f, f->ccert_subject);
	add_ccert_name(b, "ccert_issuer", f, f->ccert_issuer);
	add(b, "ccert_fingerprint", f->ccert_fingerprint);
	add(b, "ccert_pubkey_fingerprint", f->ccert_pubkey_fingerprint);
	add(b, "encryption_protocol", f->tls_protocol);
	add(b, "encryption_cipher", f->tls_cipher);
	add_number(b, "encryption_keysize", f->tls_keysize);
	add(b, "tls_sni", f->tls_sni);
}

static void write_request(struct buf *b, const struct policy_eval *e, const struct service *s)
{
	add(b, "request", SLICE_LIT("smtpd_access_policy"));
	add(b, "protocol_state", state_name(e));
	add(b, "protocol_name", e->facts->protocol);
	add_session(b, e->facts);
	add_transaction(b, e);
	add_security(b, e->facts);
	add(b, "policy_context", slice_str(s->about));
	add(b, "compatibility_level", slice_str(conf_str(P_compatibility_level)));
	add(b, "mail_version", slice_str(conf_str(P_mail_version)));
	(void)buf_add_char(b, '\n');
}

/* Asking. */

/* Up to and with the empty line; servers that end lines with CR LF are understood. */
static ptrdiff_t frame(struct slice in)
{
	ptrdiff_t plain = slice_find_str(in, "\n\n"), dos = slice_find_str(in, "\n\r\n");

	if (slice_starts(in, "\n") || slice_starts(in, "\r\n"))
		return ERR_SYNTAX;
	if (dos >= 0 && (plain < 0 || dos < plain))
		return dos + 3;
	return plain < 0 ? 0 : plain + 2;
}

struct question {
	struct service *service;
	struct later_answer *answer;
	struct pool_request *request;
	struct loop_timer timer; /* till the next try */
	struct buf bytes;
	unsigned tries;
};

static void question_free(struct question *q)
{
	pool_cancel(&q->request);
	loop_timer_clear(&q->timer);
	buf_clear(&q->bytes);
	mem_free(q);
}

static void withdrawn(void *arg)
{
	question_free(arg);
}

static void answered(void *arg, int err, struct slice reply)
{
	struct question *q = arg;
	struct later_answer *a = q->answer;

	q->request = NULL;
	if (err == ERR_CLOSED && ++q->tries < q->service->try_limit) {
		loop_timer_set(&q->timer, loop_now() + q->service->retry_delay);
		return;
	}
	question_free(q);
	later_done(a, err, err == 0 ? reply : SLICE_NONE);
}

static void try(void *arg)
{
	struct question *q = arg;

	q->request = pool_ask(q->service->pool, buf_slice(&q->bytes), answered, q);
}

static void make_pool(struct service *s)
{
	const struct pool_spec spec = {
		.name = s->server,
		.limit = CONNECTIONS,
		.waiting = WAITING,
		.tries = 1,
		.timeout = s->timeout,
		.idle = s->idle,
		.ttl = s->ttl,
		.requests = s->request_limit,
		.reply_limit = REPLY_LIMIT,
		.frame = frame,
	};

	if (s->pool == NULL)
		s->pool = pool_new(&spec);
}

static int begin(struct service *s, struct slice request, struct later *l)
{
	struct question *q = mem_alloc(sizeof(*q));

	q->service = s;
	q->answer = later_add(l, s, request, withdrawn, q);
	if (q->answer == NULL) {
		mem_free(q);
		return ERR_TEMP;
	}
	make_pool(s);
	loop_timer_init(&q->timer, try, q);
	buf_init(&q->bytes, REQUEST_LIMIT);
	(void)buf_add_slice(&q->bytes, request);
	try(q);
	return ERR_LATER;
}

/* 0 with the reply, ERR_LATER, or why there is none. */
static int ask(struct service *s, struct slice request, struct later *l, struct slice *reply)
{
	struct later_answer *a = l != NULL ? later_find(l, s, request) : NULL;

	*reply = SLICE_NONE;
	if (a == NULL)
		return begin(s, request, l);
	return later_is_done(a) ? later_result(a, reply) : ERR_LATER;
}

static const char *why_not(int err)
{
	switch (err) {
	case ERR_CLOSED: return "Connection refused or lost";
	case ERR_TIMEOUT: return "Connection timed out";
	case ERR_SYNTAX: return "Malformed reply";
	default: return err_str(err);
	}
}

/* The action in a reply; ERR_SYNTAX when there is none that could be one. */
static int find_action(struct slice reply, struct slice *action)
{
	struct slice line;

	while (slice_token(&reply, "\r\n", &line)) {
		if (!slice_case_starts(line, "action="))
			continue;
		*action = slice_trim(slice_from(line, strlen("action=")));
		return action->len > 0 && slice_is_utf8(*action) && slice_is_printable(*action)
			       ? 0
			       : ERR_SYNTAX;
	}
	return ERR_SYNTAX;
}

static int check_policy(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	struct service *s = item->state;
	struct buf request = BUF_INIT(REQUEST_LIMIT);
	struct slice reply, action = slice_str(s->default_action);
	int err;

	write_request(&request, e, s);
	err = buf_failed(&request) ? ERR_LIMIT : ask(s, buf_slice(&request), e->later, &reply);
	buf_clear(&request);
	if (err == ERR_LATER)
		return err;
	if (err != 0) {
		policy_note(e, POLICY_WARNING, SLICE_NONE, "problem talking to server %s: %s",
			s->server, why_not(err));
	} else if (find_action(reply, &action) != 0) {
		policy_note(e, POLICY_WARNING, SLICE_NONE,
			"malformed reply from policy server %s: \"%.*s\"", s->server,
			SLICE_FMT(slice_first(slice_trim(reply), TEXT_SHOWN)));
		action = slice_str(s->default_action);
	}
	return policy_do(e, s->server, SLICE_LIT("policy query"), action, e->about, result);
}

const struct restriction service_rows[] = {
	{"check_policy_service", RESTRICT_TEXT, 0, check_policy, open_service, close_service},
	{NULL, RESTRICT_NONE, 0, NULL, NULL, NULL},
};

/* SPDX-License-Identifier: ISC */
#include "smtpd/limits.h"

#include "conf/conf.h"
#include "smtpd/auth.h"
#include "smtpd/gate.h"
#include "smtpd/report.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

static struct {
	unsigned ipv4_bits, ipv6_bits;
	uint64_t connection_rate;
	uint64_t failures[TALLY_KINDS]; /* that ban; 0: none do */
	uint64_t ban_seconds;
	int ban_code;
	struct match *exempt; /* from bans */
	bool greylist;
	int64_t greylist_delay;
	uint64_t of_bytes; /* whether any limit asks for them */
} self;

/*
 * Commands that have a rate. Bytes are counted when they were taken, TLS sessions when they are not
 * resumed: MAIL and STARTTLS only ask for them.
 */
static struct check {
	enum smtp_verb verb;
	enum tally_kind kind;
	uint64_t count;
	enum param limit_of;
	bool by_login;
	const char *reply; /* behind it comes who */
	const char *log;
	uint64_t limit; /* 0: none */
} checks[] = {
	{SMTP_MAIL, TALLY_BYTES, 0, P_smtpd_client_byte_rate_limit, false,
		"450 4.7.1 Error: too many bytes from", "Content byte", 0},
	{SMTP_MAIL, TALLY_BYTES, 0, P_smtpd_login_byte_rate_limit, true,
		"450 4.7.1 Error: too many bytes from", "Content byte", 0},
	{SMTP_MAIL, TALLY_MESSAGES, 1, P_smtpd_client_message_rate_limit, false,
		"450 4.7.1 Error: too much mail from", "Message delivery request", 0},
	{SMTP_MAIL, TALLY_MESSAGES, 1, P_smtpd_login_message_rate_limit, true,
		"450 4.7.1 Error: too much mail from", "Message delivery request", 0},
	{SMTP_RCPT, TALLY_RECIPIENTS, 1, P_smtpd_client_recipient_rate_limit, false,
		"450 4.7.1 Error: too many recipients from", "Recipient address", 0},
	{SMTP_RCPT, TALLY_RECIPIENTS, 1, P_smtpd_login_recipient_rate_limit, true,
		"450 4.7.1 Error: too many recipients from", "Recipient address", 0},
	{SMTP_AUTH, TALLY_AUTHS, 1, P_smtpd_client_auth_rate_limit, false,
		"450 4.7.1 Error: too many AUTH commands from", "AUTH command", 0},
	{SMTP_STARTTLS, TALLY_TLS_SESSIONS, 0, P_smtpd_client_new_tls_session_rate_limit, false,
		"454 4.7.0 Error: too many new TLS sessions from", "New TLS session", 0},
};

enum { CHECKS = sizeof(checks) / sizeof(checks[0]) };

/* A command that waits. */
struct limits {
	struct session *session;
	struct tally_question *question;
	size_t check; /* the one that is asked */
	enum smtp_verb verb;
	size_t len;
	char *line; /* owned; may hold a password */
	/* TLS that begins, without a command or behind it. */
	bool has_begun;
	void (*known)(struct session *s, bool is_good);
};

/* ---- settings ---- */

static void on_auth_failure(const struct auth_failure *f);
static void on_error(struct session *s);

void limits_open(void)
{
	struct buf why = BUF_INIT(1024);

	self.ipv4_bits = (unsigned)conf_int(P_smtpd_client_ipv4_prefix_length);
	self.ipv6_bits = (unsigned)conf_int(P_smtpd_client_ipv6_prefix_length);
	self.connection_rate = (uint64_t)conf_int(P_smtpd_client_connection_rate_limit);
	self.failures[TALLY_BAD_AUTH] = (uint64_t)conf_int(P_smtpd_ban_auth_failures);
	self.failures[TALLY_UNKNOWN_RECIPIENT] = (uint64_t)conf_int(P_smtpd_ban_unknown_recipients);
	self.failures[TALLY_ERROR] = (uint64_t)conf_int(P_smtpd_ban_errors);
	self.ban_seconds = (uint64_t)(conf_time(P_smtpd_ban_time) / CLOCK_SEC);
	self.ban_code = (int)conf_int(P_smtpd_ban_reject_code);
	self.greylist = conf_bool(P_smtpd_greylist);
	self.greylist_delay = conf_time(P_smtpd_greylist_delay) / CLOCK_SEC;
	if (match_open(conf_str(P_smtpd_ban_exempt_clients), MATCH_PARENT, &why, &self.exempt) != 0)
		log_fatal("smtpd_ban_exempt_clients: %s", buf_str(&why));
	buf_clear(&why);
	for (size_t i = 0; i < CHECKS; i++) {
		checks[i].limit = (uint64_t)conf_int(checks[i].limit_of);
		if (checks[i].kind == TALLY_BYTES)
			self.of_bytes |= checks[i].limit;
	}
}

void limits_start(void)
{
	auth_on_failure = on_auth_failure;
	gate_on_error = on_error;
	tally_on_bans(session_cut_banned);
}

/* ---- who ---- */

static struct slice service_name(void)
{
	const char *service = server_service();

	return slice_first(slice_str(service), strcspn(service, "/"));
}

static struct policy_facts client_facts(const struct session *s)
{
	return (struct policy_facts){
		.client_name = slice_str(s->name), .client_addr = slice_str(s->addr)};
}

static bool is_safe(const struct session *s)
{
	struct policy_facts facts = client_facts(s);

	return s->is_local || *s->client == '\0' || policy_is_safe(settings.policy, &facts);
}

static bool has_rates(const struct session *s)
{
	return !is_safe(s) && match_host(settings.count_exceptions, slice_str(s->name),
				      slice_str(s->addr), NULL) != 0;
}

/* Not while that cannot be told: a ban may wait, who is exempt may not be banned. */
static bool can_be_banned(const struct session *s)
{
	return !is_safe(s) && match_host(self.exempt, slice_str(s->name), slice_str(s->addr),
				      NULL) == ERR_NOT_FOUND;
}

/* As what it is counted: "" where it has no address. */
static void set_client(struct session *s, struct net_range *range)
{
	*s->client = '\0';
	if (s->is_local || net_range_parse(slice_str(s->addr), range) != 0)
		return;
	net_range_mask(range, self.ipv4_bits, self.ipv6_bits);
	net_range_text(range, s->client);
}

/* ---- bans ---- */

static void refuse_banned(struct session *s)
{
	char *reply = mem_fmt("%d %d.7.0 %s Error: %s is banned for now", self.ban_code,
		self.ban_code / 100, settings.hostname, s->addr);

	if (s->name == NULL)
		s->name = mem_str("unknown");
	session_set_namaddr(s);
	report_refusal(s, slice_str(reply));
	session_reply_refusal(s, slice_str(reply));
	session_drop(s);
	mem_free(reply);
}

void limits_cut(struct session *s)
{
	report_lost(s, "banned client");
	session_end(s, "421 4.7.0 %s Error: %s is banned for now", settings.hostname, s->addr);
}

bool limits_is_banned(const struct session *s)
{
	struct net_range range;

	return !s->is_local && net_range_parse(slice_str(s->addr), &range) == 0 &&
	       tally_is_banned(&range) && can_be_banned(s);
}

static void failed(struct session *s, struct tally_failure *f)
{
	f->limit = self.failures[f->kind];
	f->ban_seconds = self.ban_seconds;
	f->client_addr = slice_str(s->client);
	if (f->limit > 0 && can_be_banned(s))
		tally_fail(f);
}

static void on_auth_failure(const struct auth_failure *a)
{
	struct tally_failure f = {.kind = TALLY_BAD_AUTH,
		.login = a->login,
		.has_mark = a->has_mark,
		.mark = a->mark};

	failed(a->session, &f);
}

static void on_error(struct session *s)
{
	failed(s, &(struct tally_failure){.kind = TALLY_ERROR});
}

void limits_unknown_recipient(struct session *s)
{
	failed(s, &(struct tally_failure){.kind = TALLY_UNKNOWN_RECIPIENT});
}

/* ---- connections ---- */

static void entered(void *arg, const struct tally_reply *r)
{
	struct session *s = arg;

	s->connections = r->connections;
	s->connection_rate = r->rate;
	s->is_banned = r->is_banned;
	s->counted = true;
	s->on_counted(s);
}

bool limits_enter(struct session *s, void (*known)(struct session *s))
{
	struct net_range range;
	bool is_asked = settings.count_limit > 0 || self.connection_rate > 0;
	bool is_new = !tally_knows_bans();

	set_client(s, &range);
	if (limits_is_banned(s)) {
		refuse_banned(s);
		return true;
	}
	s->counted = !(is_asked && has_rates(s)) && !(is_new && can_be_banned(s));
	s->on_counted = known;
	if (!s->counted)
		s->tally = tally_enter(
			service_name(), slice_str(s->client), self.connection_rate, entered, s);
	return false;
}

static bool is_over(struct session *s, const char *what, uint64_t n, uint64_t limit)
{
	if (limit == 0 || n <= limit)
		return false;
	log_warning("Connection %s limit exceeded: %llu from %s for service %.*s", what,
		(unsigned long long)n, s->namaddr, SLICE_FMT(service_name()));
	session_end(
		s, "421 4.7.0 %s Error: too many connections from %s", settings.hostname, s->addr);
	return true;
}

bool limits_turn_away(struct session *s)
{
	if (s->is_banned && can_be_banned(s)) {
		refuse_banned(s);
		return true;
	}
	s->is_banned = false;
	return s->tally != NULL && has_rates(s) &&
	       (is_over(s, "concurrency", s->connections, settings.count_limit) ||
		       is_over(s, "rate", s->connection_rate, self.connection_rate));
}

/* ---- commands ---- */

static void free_limits(struct limits *l)
{
	tally_cancel(&l->question);
	mem_wipe_free(l->line, l->len);
	mem_free(l);
}

void limits_cancel(struct session *s)
{
	struct limits *l = s->limits;

	s->limits = NULL;
	if (l != NULL)
		free_limits(l);
}

static void refuse(struct limits *l, uint64_t rate)
{
	const struct check *c = &checks[l->check];
	struct session *s = l->session;

	log_warning("%s rate limit exceeded: %llu from %s for service %.*s%s%s", c->log,
		(unsigned long long)rate, s->namaddr, SLICE_FMT(service_name()),
		c->by_login ? ", sasl_username=" : "", c->by_login ? log_qs(s->login) : "");
	session_count(s, l->verb, false);
	limits_cancel(s);
	session_reply(s, "%s %s", c->reply, c->by_login ? s->login : s->addr);
	session_go_on(s);
}

static void carry_on(struct limits *l)
{
	struct session *s = l->session;
	struct slice line = slice_of(l->line, l->len);
	struct smtp_command c;

	s->limits = NULL;
	s->state = COMMAND;
	smtp_command_parse(line, &c);
	command_carry_out(s, line, &c);
	if (s->state != CLOSED && s->state != WAITING)
		loop_soon(&s->run);
	free_limits(l);
}

static bool applies(const struct session *s, const struct check *c, enum smtp_verb verb)
{
	if (c->verb != verb || c->limit == 0)
		return false;
	return c->by_login ? s->login != NULL && !is_safe(s) : has_rates(s);
}

static size_t next_check(const struct session *s, enum smtp_verb verb, size_t from)
{
	while (from < CHECKS && !applies(s, &checks[from], verb))
		from++;
	return from;
}

static void answered(void *arg, const struct tally_reply *r);

static void ask(struct limits *l)
{
	const struct check *c = &checks[l->check];
	struct session *s = l->session;
	struct tally_event e = {.kind = c->kind, .count = c->count, .service = service_name()};

	if (c->by_login)
		e.login = slice_str(s->login);
	else
		e.client_addr = slice_str(s->client);
	l->question = tally_add(&e, c->limit, answered, l);
}

static void answered(void *arg, const struct tally_reply *r)
{
	struct limits *l = arg;
	const struct check *c = &checks[l->check];

	l->question = NULL;
	/* What is not counted here has reached its limit when there is no room for more. */
	if (r->is_known && r->rate + (c->count == 0 ? 1 : 0) > c->limit) {
		refuse(l, r->rate + (c->kind == TALLY_TLS_SESSIONS ? 1 : 0));
		return;
	}
	l->check = next_check(l->session, l->verb, l->check + 1);
	if (l->check < CHECKS)
		ask(l);
	else
		carry_on(l);
}

/* Commands out of their order are refused without being counted. */
static bool is_in_order(const struct session *s, enum smtp_verb verb)
{
	switch (verb) {
	case SMTP_MAIL:
		return s->transaction == NULL && (s->helo != NULL || !settings.helo_required);
	case SMTP_RCPT: return s->transaction != NULL;
	case SMTP_AUTH: return s->login == NULL && s->transaction == NULL;
	case SMTP_STARTTLS: return s->tls == NULL;
	default: return true;
	}
}

bool limits_hold_up(struct session *s, struct slice line, enum smtp_verb verb)
{
	struct limits *l = NULL;
	size_t first = next_check(s, verb, 0);

	if (first == CHECKS || !is_in_order(s, verb))
		return false;
	l = mem_alloc(sizeof(*l));
	l->session = s;
	l->verb = verb;
	l->check = first;
	l->line = slice_dup(line);
	l->len = line.len;
	s->limits = l;
	s->state = WAITING;
	ask(l);
	return true;
}

/* ---- TLS sessions ---- */

static void tls_known(void *arg, const struct tally_reply *r)
{
	struct limits *l = arg;
	struct session *s = l->session;
	const struct check *c = &checks[l->check];
	bool is_over = r->is_known && r->rate + (l->has_begun ? 0 : 1) > c->limit;
	void (*known)(struct session * s, bool is_good) = l->known;

	l->question = NULL;
	if (is_over)
		log_warning("%s rate limit exceeded: %llu from %s for service %.*s", c->log,
			(unsigned long long)r->rate + (l->has_begun ? 0 : 1), s->namaddr,
			SLICE_FMT(service_name()));
	limits_cancel(s);
	known(s, !is_over);
}

void limits_tls(struct session *s, bool has_begun, void (*known)(struct session *s, bool is_good))
{
	struct tally_event e = {
		TALLY_TLS_SESSIONS, has_begun ? 1 : 0, service_name(), SLICE_NONE, SLICE_NONE};
	size_t check = next_check(s, SMTP_STARTTLS, 0);
	struct limits *l = NULL;

	if (check == CHECKS) {
		known(s, true);
		return;
	}
	l = mem_alloc(sizeof(*l));
	l->session = s;
	l->verb = SMTP_STARTTLS;
	l->check = check;
	l->has_begun = has_begun;
	l->known = known;
	s->limits = l;
	s->state = WAITING;
	e.client_addr = slice_str(s->client);
	l->question = tally_add(&e, checks[check].limit, tls_known, l);
}

void limits_tls_failed(struct session *s)
{
	struct tally_event e = {
		TALLY_TLS_SESSIONS, 1, service_name(), slice_str(s->client), SLICE_NONE};

	if (next_check(s, SMTP_STARTTLS, 0) < CHECKS)
		tally_tell(&e);
}

/* ---- bytes, the greylist ---- */

void limits_bytes(struct session *s, uint64_t bytes)
{
	struct tally_event e = {TALLY_BYTES, bytes, service_name(), SLICE_NONE, SLICE_NONE};

	if (self.of_bytes == 0 || is_safe(s))
		return;
	e.client_addr = slice_str(s->client);
	tally_tell(&e);
	e.client_addr = SLICE_NONE;
	e.login = slice_str(s->login);
	if (e.login.len > 0)
		tally_tell(&e);
}

struct tally_question *limits_greylist(
	struct session *s, struct slice recipient, tally_answer *answer, void *arg)
{
	struct policy_facts facts = client_facts(s);

	if (!self.greylist || s->login != NULL || is_safe(s) ||
		policy_is_trusted(settings.policy, &facts))
		return NULL;
	return tally_greylist(slice_str(s->addr), buf_slice(&s->transaction->sender), recipient,
		self.greylist_delay, answer, arg);
}

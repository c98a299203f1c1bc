/* SPDX-License-Identifier: ISC */
#include "smtpd/starttls.h"

#include "conf/conf.h"
#include "smtp/ehlo.h"
#include "smtpd/gate.h"
#include "smtpd/limits.h"
#include "smtpd/report.h"
#include "smtpd/tls_report.h"
#include "smtpd/xclient.h"
#include "tls/keys.h"
#include "tls/tls.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

enum { EXCLUDED_LIMIT = 8192 };
/* How long the first clients of a new worker wait for its certificates, and how often is looked. */
enum { KEYS_MSEC = 5000, KEYS_AGAIN_MSEC = 20 };

static struct {
	struct tls_context *context; /* NULL: no TLS here */
	bool is_enabled, is_mandatory, is_wrapped, has_chain, asks_cert, requires_cert;
	bool in_received, requiretls;
	int log_level;
	const char *protocols, *grade;
	struct buf excluded;
} self;

static TAILQ_HEAD(, session) keyless = TAILQ_HEAD_INITIALIZER(keyless);
static struct loop_timer keys_timer;

static void look_for_keys(void *arg);

/* ---- settings ---- */

static void read_level(void)
{
	const char *level = conf_str(P_smtpd_tls_security_level);

	if (*level == '\0')
		level = conf_bool(P_smtpd_enforce_tls) ? "encrypt"
			: conf_bool(P_smtpd_use_tls)   ? "may"
						       : "none";
	self.is_wrapped = conf_bool(P_smtpd_tls_wrappermode);
	self.is_mandatory = self.is_wrapped || strcmp(level, "encrypt") == 0;
	self.is_enabled = self.is_mandatory || strcmp(level, "may") == 0;
}

static void read_ciphers(void)
{
	self.protocols = conf_str(
		self.is_mandatory ? P_smtpd_tls_mandatory_protocols : P_smtpd_tls_protocols);
	self.grade =
		conf_str(self.is_mandatory ? P_smtpd_tls_mandatory_ciphers : P_smtpd_tls_ciphers);
	buf_init(&self.excluded, EXCLUDED_LIMIT);
	(void)buf_add_str(&self.excluded, conf_str(P_smtpd_tls_exclude_ciphers));
	if (self.is_mandatory)
		(void)buf_add_fmt(
			&self.excluded, " %s", conf_str(P_smtpd_tls_mandatory_exclude_ciphers));
	/* Who has no certificate himself cannot ask for one. */
	if (self.asks_cert)
		(void)buf_add_str(&self.excluded, " aNULL");
}

/* A mistake in a list of ciphers must not show at the first client only. */
static void check_ciphers(void)
{
	struct buf why = BUF_INIT(1024);

	if (tls_check_protocols(self.protocols, &why) != 0)
		log_fatal("%s: %s",
			conf_name(self.is_mandatory ? P_smtpd_tls_mandatory_protocols
						    : P_smtpd_tls_protocols),
			buf_str(&why));
	if (tls_check_ciphers(self.grade, buf_str(&self.excluded), &why) != 0)
		log_fatal("smtpd_tls_exclude_ciphers: %s", buf_str(&why));
	buf_clear(&why);
}

static void make_context(void)
{
	struct buf why = BUF_INIT(1024), groups = BUF_INIT(4096);
	struct tls_settings s = {
		.side = TLS_SERVER,
		.ca_file = conf_str(P_smtpd_tls_CAfile),
		.ca_path = conf_str(P_smtpd_tls_CApath),
		.append_default_ca = conf_bool(P_tls_append_default_CA),
		.digest = conf_str(P_smtpd_tls_fingerprint_digest),
		.depth = (int)conf_int(P_smtpd_tls_ccert_verifydepth),
		.log_level = self.log_level,
		.lists = {[TLS_EXPORT] = conf_str(P_tls_export_cipherlist),
			[TLS_LOW] = conf_str(P_tls_low_cipherlist),
			[TLS_MEDIUM] = conf_str(P_tls_medium_cipherlist),
			[TLS_HIGH] = conf_str(P_tls_high_cipherlist),
			[TLS_NULL] = conf_str(P_tls_null_cipherlist)},
		.ask_cert = self.asks_cert,
		.preempt = conf_bool(P_tls_preempt_cipherlist),
		.listener = server_service(),
		.tickets = conf_time(P_smtpd_tls_session_cache_timeout) > 0,
		/* As many as there can be sessions: one that does not go on has a deadline. */
		.handshakes = UINT16_MAX,
	};

	(void)buf_add_fmt(&groups, "%s %s", conf_str(P_tls_eecdh_auto_curves),
		conf_str(P_tls_ffdhe_auto_groups));
	s.groups = buf_str(&groups);
	if (tls_context_new(&s, &self.context, &why) != 0)
		log_fatal("TLS: %s", buf_str(&why));
	buf_clear(&groups);
	buf_clear(&why);
}

/* The files are vault's; whether there are to be any is known here. */
static bool is_set(const char *name)
{
	const char *value = conf_lookup(name);

	return value != NULL && *value != '\0' && strcmp(value, "none") != 0;
}

void starttls_open(void)
{
	read_level();
	if (!self.is_enabled)
		return;
	self.has_chain = is_set("smtpd_tls_chain_files") || is_set("smtpd_tls_cert_file") ||
			 is_set("smtpd_tls_eccert_file");
	if (!self.has_chain)
		log_warning("No server certs available. TLS can't be enabled");
	self.log_level = (int)conf_int(P_smtpd_tls_loglevel);
	self.in_received = conf_bool(P_smtpd_tls_received_header);
	self.requiretls = conf_bool(P_requiretls_enable);
	self.requires_cert = conf_bool(P_smtpd_tls_req_ccert);
	self.asks_cert = self.requires_cert || conf_bool(P_smtpd_tls_ask_ccert);
	if (self.requires_cert && !self.is_mandatory)
		log_warning("Can't require client certs unless TLS is required");
	self.requires_cert = self.requires_cert && self.is_mandatory;
	loop_timer_init(&keys_timer, look_for_keys, NULL);
	read_ciphers();
	check_ciphers();
	make_context();
}

bool starttls_is_enabled(void)
{
	return self.is_enabled;
}

bool starttls_is_mandatory(void)
{
	return self.is_mandatory;
}

bool starttls_is_first(void)
{
	return self.is_wrapped;
}

/* ---- what is taken in clear and what inside ---- */

unsigned starttls_hides(const struct session *s)
{
	unsigned hidden = 0;

	if (s->tls != NULL || !self.is_enabled || !self.has_chain || s->is_local)
		hidden |= EHLO_STARTTLS;
	if (s->tls == NULL || !self.requiretls)
		hidden |= EHLO_REQUIRETLS;
	return hidden;
}

bool starttls_is_awaited(const struct session *s)
{
	return self.is_wrapped && s->tls == NULL && !s->is_local;
}

const char *starttls_refusal(const struct session *s, enum smtp_verb verb)
{
	if (!self.is_mandatory || s->tls != NULL || s->is_local)
		return NULL;
	switch (verb) {
	case SMTP_HELO:
	case SMTP_EHLO:
	case SMTP_STARTTLS:
	case SMTP_NOOP:
	case SMTP_QUIT:
	case SMTP_UNKNOWN: return NULL;
	default: return "530 5.7.0 Must issue a STARTTLS command first";
	}
}

/* ---- the handshake ---- */

/* Nothing that the client has said in clear counts inside (RFC 3207, 4.2). */
static void forget(struct session *s)
{
	transaction_free(&s->transaction);
	mem_free(s->helo);
	mem_free(s->login);
	mem_free(s->sasl_method);
	s->helo = s->login = s->sasl_method = NULL;
	s->esmtp = s->bdat_failed = false;
	for (int i = POLICY_HELO; i < 3; i++) {
		mem_free(s->deferral[i]);
		s->deferral[i] = NULL;
	}
	xforward_clear(s);
}

static void failed(struct session *s, const struct tls *t, int err)
{
	if (t != NULL)
		tls_report_failure(s, tls_why(t), err);
	if (err == ERR_CORRUPT)
		gate_error(s);
	limits_tls_failed(s);
	if (s->on_tls == NULL)
		session_count(s, SMTP_STARTTLS, false);
	report_lost(s, "lost connection");
	session_drop(s);
}

/* smtpd_tls_req_ccert: the next command, or the greeting, is answered with this. */
static void demand_cert(struct session *s, const struct tls_facts *f)
{
	const char *what =
		f->has_cert ? "Client certificate not trusted" : "No client certificate presented";

	if (!self.requires_cert || f->is_trusted)
		return;
	log_info("NOQUEUE: abort: TLS from %s: %s", s->namaddr, what);
	s->tls_refusal = what;
}

bool starttls_turn_away(struct session *s)
{
	if (s->tls_refusal == NULL)
		return false;
	session_end(s, "421 4.7.1 %s Error: %s", settings.hostname, s->tls_refusal);
	return true;
}

static void go_on_inside(struct session *s, bool is_good)
{
	void (*done)(struct session * s) = s->on_tls;

	if (!is_good) {
		session_end(s, "421 4.7.0 %s Error: too many new TLS sessions from %s",
			settings.hostname, s->namaddr);
		return;
	}
	stream_read(s->stream, true);
	if (done == NULL) {
		session_count(s, SMTP_STARTTLS, true);
		session_go_on(s);
		return;
	}
	s->on_tls = NULL;
	stream_read(s->stream, false);
	stream_deadline(s->stream, CLOCK_NEVER);
	s->state = GREETING;
	if (!starttls_turn_away(s))
		done(s);
}

static void on_done(struct tls *t, int err, void *arg)
{
	struct session *s = arg;
	const struct tls_facts *f;

	if (err != 0) {
		failed(s, t, err);
		return;
	}
	s->tls = t;
	f = tls_facts(t);
	session_set_offer(s);
	if (self.requires_cert && f->has_cert && !f->is_trusted)
		tls_report_distrust(s, f);
	tls_report_success(s, f, self.log_level);
	demand_cert(s, f);
	if (f->is_reused)
		go_on_inside(s, true);
	else
		limits_tls(s, true, go_on_inside);
}

static void start(struct session *s)
{
	static const struct tls_events events = {on_done};
	struct buf why = BUF_INIT(1024);
	struct tls_ask ask = {
		.level = self.is_mandatory ? TLS_ENCRYPT : TLS_MAY,
		.protocols = self.protocols,
		.grade = self.grade,
		.exclude = buf_str(&self.excluded),
		.chain = "",
	};
	struct tls *t;

	if (self.log_level > 1)
		log_info("setting up TLS connection from %s", s->namaddr);
	s->has_begun_tls = true;
	stream_deadline(s->stream, loop_now() + s->bounds->starttls_timeout);
	if (tls_start(self.context, s->stream, &ask, &events, s, &t, &why) != 0) {
		log_warning("TLS with %s: %s", s->namaddr, buf_str(&why));
		failed(s, NULL, ERR_TEMP);
	}
	buf_clear(&why);
}

/* A reply may be held back for a while after many errors; 220 is the last one in clear. */
void starttls_go_on(struct session *s)
{
	if (s->state == HANDSHAKE && !s->has_begun_tls && !s->sleeping)
		start(s);
}

/* ---- before the first certificate ---- */

void starttls_cancel(struct session *s)
{
	if (s->on_keys != NULL)
		TAILQ_REMOVE(&keyless, s, keyless);
	s->on_keys = NULL;
}

static void look_for_keys(void *arg)
{
	struct session *s, *after;

	(void)arg;
	TAILQ_FOREACH_SAFE(s, &keyless, keyless, after)
	{
		void (*known)(struct session * s, bool is_good) = s->on_keys;

		if (!tls_keys_ready() && s->keys_due > loop_now())
			continue;
		starttls_cancel(s);
		known(s, tls_keys_ready());
	}
	if (!TAILQ_EMPTY(&keyless))
		loop_timer_set(&keys_timer, loop_now() + KEYS_AGAIN_MSEC * CLOCK_MSEC);
}

/* Vault sends them to a new worker as soon as both live. */
static void await_keys(struct session *s, void (*known)(struct session *s, bool is_good))
{
	if (tls_keys_ready() || !self.has_chain) {
		known(s, tls_keys_ready());
		return;
	}
	s->state = WAITING;
	s->on_keys = known;
	s->keys_due = loop_now() + KEYS_MSEC * CLOCK_MSEC;
	TAILQ_INSERT_TAIL(&keyless, s, keyless);
	loop_timer_set(&keys_timer, loop_now() + KEYS_AGAIN_MSEC * CLOCK_MSEC);
}

/* ---- STARTTLS ---- */

static void refuse(struct session *s, const char *reply)
{
	session_count(s, SMTP_STARTTLS, false);
	session_reply(s, "%s", reply);
}

static void accept_command(struct session *s, bool is_good)
{
	bool waited = s->state == WAITING;

	if (!is_good) {
		refuse(s, "454 4.7.0 TLS not available due to local problem");
		if (waited)
			session_go_on(s);
		return;
	}
	stream_read(s->stream, false);
	session_reply(s, "220 2.0.0 Ready to start TLS");
	if (s->state == CLOSED)
		return;
	/* What came while the answer was awaited. */
	if (stream_input(s->stream).len > 0 && !s->is_pipelining)
		report_pipelining(s, SMTP_STARTTLS, stream_input(s->stream));
	(void)stream_discard(s->stream);
	forget(s);
	s->state = HANDSHAKE;
	loop_soon(&s->run);
}

void starttls_command(struct session *s, struct slice args)
{
	if (args.len > 0) {
		refuse(s, "501 5.5.4 Syntax: STARTTLS");
	} else if (s->tls != NULL) {
		refuse(s, "554 5.5.1 Error: TLS already active");
	} else if (!self.is_enabled || s->is_local || (s->discarded & EHLO_STARTTLS) != 0) {
		refuse(s, "502 5.5.1 Error: command not implemented");
	} else {
		await_keys(s, accept_command);
	}
}

/* ---- TLS from connect ---- */

static void wrap_with_keys(struct session *s, bool is_good)
{
	if (is_good) {
		s->state = HANDSHAKE;
		start(s);
		return;
	}
	log_warning("Wrapper-mode request dropped from %s for service %s. There is no certificate.",
		s->namaddr, server_service());
	session_drop(s);
}

static void wrap_now(struct session *s, bool is_good)
{
	if (is_good)
		await_keys(s, wrap_with_keys);
	else
		session_drop(s);
}

void starttls_wrap(struct session *s, void (*done)(struct session *s))
{
	s->on_tls = done;
	limits_tls(s, false, wrap_now);
}

/* ---- what others are told ---- */

void starttls_facts(const struct session *s, struct policy_facts *f)
{
	const struct tls_facts *t;

	if (s->tls == NULL)
		return;
	t = tls_facts(s->tls);
	f->has_tls = true;
	f->ccert_is_trusted = t->is_trusted;
	f->tls_protocol = slice_str(t->protocol);
	f->tls_cipher = slice_str(t->cipher);
	f->tls_keysize = (unsigned)t->used_bits;
	f->tls_sni = slice_str(t->sni);
	if (!t->has_cert)
		return;
	f->ccert_subject = slice_str(t->subject_cn);
	f->ccert_issuer = slice_str(t->issuer_cn);
	f->ccert_fingerprint = slice_str(t->fingerprint);
	f->ccert_pubkey_fingerprint = slice_str(t->key_fingerprint);
}

void starttls_trace(const struct session *s, struct buf *lines)
{
	if (!self.in_received || s->tls == NULL)
		return;
	tls_report_trace(tls_facts(s->tls), self.asks_cert, lines);
}

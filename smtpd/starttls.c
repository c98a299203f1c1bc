/* SPDX-License-Identifier: ISC */
#include "smtpd/starttls.h"

#include "conf/conf.h"
#include "smtp/ehlo.h"
#include "smtpd/gate.h"
#include "smtpd/limits.h"
#include "smtpd/report.h"
#include "smtpd/xclient.h"
#include "tls/keys.h"
#include "tls/tls.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

enum { EXCLUDED_LIMIT = 8192, TRACE_LIMIT = 4096 };

static struct {
	struct tls_context *context; /* NULL: no TLS here */
	bool is_enabled, is_mandatory, is_wrapped, has_chain, asks_cert, requires_cert;
	bool in_received, requiretls;
	int log_level;
	const char *protocols, *grade;
	struct buf excluded;
} self;

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

/* In Postfix's words: an error of TLS itself comes with its reason in a line of its own. */
static void report_failure(const struct session *s, const struct tls *t, int err)
{
	static const char prefix[] = "SSL_accept error: ";
	const char *why = tls_why(t);

	if (strncmp(why, prefix, strlen(prefix)) == 0)
		why += strlen(prefix);
	switch (err) {
	case ERR_CLOSED:
	case ERR_SYS: log_info("SSL_accept error from %s: %s", s->namaddr, why); break;
	case ERR_TIMEOUT:
		log_info("SSL_accept error from %s: Connection timed out", s->namaddr);
		break;
	default:
		log_info("SSL_accept error from %s: -1", s->namaddr);
		log_warning("TLS library problem: %s", why);
		break;
	}
}

static void failed(struct session *s, const struct tls *t, int err)
{
	if (t != NULL)
		report_failure(s, t, err);
	if (err == ERR_CORRUPT)
		gate_error(s);
	limits_tls_failed(s);
	if (s->on_tls == NULL)
		session_count(s, SMTP_STARTTLS, false);
	report_lost(s, "lost connection");
	session_drop(s);
}

static void report_success(const struct session *s, const struct tls_facts *f)
{
	struct buf line = BUF_INIT(TRACE_LIMIT);

	if (f->has_cert && self.log_level > 1)
		log_info("%s: subject_CN=%s, issuer_CN=%s, fingerprint=%s, pkey_fingerprint=%s",
			s->namaddr, f->subject_cn, f->issuer_cn, f->fingerprint,
			f->key_fingerprint);
	if (self.log_level > 0) {
		tls_add_summary(&line, f);
		log_info("%s TLS connection established from %s%s%s: %s", tls_trust_word(f),
			s->namaddr, *f->sni != '\0' ? " to " : "", f->sni, buf_str(&line));
	}
	buf_clear(&line);
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
	report_success(s, f);
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

/* ---- STARTTLS ---- */

static void refuse(struct session *s, const char *reply)
{
	session_count(s, SMTP_STARTTLS, false);
	session_reply(s, "%s", reply);
}

void starttls_command(struct session *s, struct slice args)
{
	if (args.len > 0) {
		refuse(s, "501 5.5.4 Syntax: STARTTLS");
	} else if (s->tls != NULL) {
		refuse(s, "554 5.5.1 Error: TLS already active");
	} else if (!self.is_enabled || s->is_local || (s->discarded & EHLO_STARTTLS) != 0) {
		refuse(s, "502 5.5.1 Error: command not implemented");
	} else if (!tls_keys_ready()) {
		refuse(s, "454 4.7.0 TLS not available due to local problem");
	} else {
		stream_read(s->stream, false);
		session_reply(s, "220 2.0.0 Ready to start TLS");
		if (s->state == CLOSED)
			return;
		(void)stream_discard(s->stream);
		forget(s);
		s->state = HANDSHAKE;
		loop_soon(&s->run);
	}
}

/* ---- TLS from connect ---- */

static void wrap_now(struct session *s, bool is_good)
{
	if (is_good && !tls_keys_ready())
		log_warning("Wrapper-mode request dropped from %s for service %s. There is no "
			    "certificate.",
			s->namaddr, server_service());
	if (!is_good || !tls_keys_ready()) {
		session_drop(s);
		return;
	}
	s->state = HANDSHAKE;
	start(s);
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

/* The text of a comment: brackets in pairs, nothing that would end it (RFC 5322, 3.2.2). */
static void add_comment(struct buf *out, const char *text)
{
	unsigned open = 0;

	for (; *text != '\0'; text++) {
		char c = *text;

		if (c < 32 || c == 127 || c == '\\' || (c == ')' && open == 0))
			c = '?';
		open += c == '(' ? 1 : 0;
		open -= c == ')' ? 1 : 0;
		(void)buf_add_char(out, c);
	}
	while (open-- > 0)
		(void)buf_add_char(out, ')');
}

static void add_detail(struct buf *out, const char *name, const char *curve, int bits)
{
	(void)buf_add_fmt(out, " %s", name);
	if (*curve != '\0')
		(void)buf_add_fmt(out, " (%s)", curve);
	else if (bits > 0)
		(void)buf_add_fmt(out, " (%d bits)", bits);
}

static void add_server_side(struct buf *out, const struct tls_facts *t)
{
	if (*t->kex == '\0' && *t->server_sig == '\0')
		return;
	(void)buf_add_char(out, '\0');
	if (*t->kex != '\0') {
		(void)buf_add_str(out, " key-exchange");
		add_detail(out, t->kex, t->kex_group, t->kex_bits);
	}
	if (*t->server_sig != '\0') {
		(void)buf_add_str(out, " server-signature");
		add_detail(out, t->server_sig, t->server_sig_curve, t->server_sig_bits);
		if (*t->server_digest != '\0')
			(void)buf_add_fmt(out, " server-digest %s", t->server_digest);
	}
}

static void add_client_side(struct buf *out, const struct tls_facts *t)
{
	if (*t->client_sig == '\0')
		return;
	(void)buf_add_char(out, '\0');
	(void)buf_add_str(out, " client-signature");
	add_detail(out, t->client_sig, t->client_sig_curve, t->client_sig_bits);
	if (*t->client_digest != '\0')
		(void)buf_add_fmt(out, " client-digest %s", t->client_digest);
}

static void add_cert(struct buf *out, const struct tls_facts *t)
{
	if (!t->has_cert) {
		(void)buf_add_str(out, self.asks_cert ? "(Client did not present a certificate)"
						      : "(No client certificate requested)");
		return;
	}
	(void)buf_add_str(out, "(Client CN \"");
	add_comment(out, t->subject_cn);
	(void)buf_add_str(out, "\", Issuer \"");
	add_comment(out, t->issuer_cn);
	(void)buf_add_fmt(out, "\" (%s))", t->is_trusted ? "verified OK" : "not verified");
}

void starttls_trace(const struct session *s, struct buf *lines)
{
	const struct tls_facts *t;

	if (!self.in_received || s->tls == NULL)
		return;
	t = tls_facts(s->tls);
	(void)buf_add_fmt(lines, "(using %s with cipher %s (%d/%d bits)", t->protocol, t->cipher,
		t->used_bits, t->cipher_bits);
	add_server_side(lines, t);
	add_client_side(lines, t);
	(void)buf_add_char(lines, ')');
	(void)buf_add_char(lines, '\0');
	add_cert(lines, t);
}

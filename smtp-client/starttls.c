/* SPDX-License-Identifier: ISC */
#include "smtp-client/starttls.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "conf/conf.h"
#include "net/addr.h"
#include "server/server.h"
#include "smtp-client/dane.h"
#include "smtp-client/hello.h"
#include "smtp-client/level.h"
#include "smtp-client/policy.h"
#include "smtp-client/setting.h"
#include "tls/keys.h"
#include "tls/tls.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

enum {
	SESSIONS_KEPT = 1000,
	KEYS_TIME = 10,
	WHY_LIMIT = 2048,
	SUMMARY_LIMIT = 1024,
	LIST_LIMIT = 8192
};

static struct tls_context *context; /* NULL: there is no TLS */
static bool wants_chain;
static TAILQ_HEAD(, session) waiting = TAILQ_HEAD_INITIALIZER(waiting);
static struct loop_timer patience;

static bool has_chain(void)
{
	static const enum param rows[] = {
		P_smtp_tls_chain_files, P_smtp_tls_cert_file, P_smtp_tls_eccert_file};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (*conf_str(setting_of(rows[i])) != '\0') {
			return true;
		}
	}
	return false;
}

void starttls_init(void)
{
	struct buf why = BUF_INIT(WHY_LIMIT), groups = BUF_INIT(WHY_LIMIT);
	buf_add_fmt(&groups, "%s %s", conf_str(P_tls_eecdh_auto_curves),
		conf_str(P_tls_ffdhe_auto_groups));
	int64_t keep = conf_time(setting_of(P_smtp_tls_session_cache_timeout));
	struct tls_settings s = {
		.side = TLS_CLIENT,
		.ca_file = conf_str(setting_of(P_smtp_tls_CAfile)),
		.ca_path = conf_str(setting_of(P_smtp_tls_CApath)),
		.append_default_ca = conf_bool(P_tls_append_default_CA),
		.groups = buf_str(&groups),
		.digest = conf_str(setting_of(P_smtp_tls_fingerprint_digest)),
		.depth = (int)conf_int(setting_of(P_smtp_tls_scert_verifydepth)),
		.log_level = (int)conf_int(setting_of(P_smtp_tls_loglevel)),
		.sessions = keep > 0 ? SESSIONS_KEPT : 0,
		.session_time = keep,
		.handshakes = (unsigned)server_limit(),
		.lists = {conf_str(P_tls_export_cipherlist), conf_str(P_tls_low_cipherlist),
			conf_str(P_tls_medium_cipherlist), conf_str(P_tls_high_cipherlist),
			conf_str(P_tls_null_cipherlist)},
	};
	if (tls_context_new(&s, &context, &why) != 0) {
		log_warning("%s: TLS is disabled", log_q(buf_slice(&why)));
	}
	wants_chain = has_chain();
	buf_clear(&why);
	buf_clear(&groups);
}

bool starttls_is_wrapped(void)
{
	return conf_bool(setting_of(P_smtp_tls_wrappermode));
}

/* ---- Problems. ---- */

static bool is_required(const struct session *s)
{
	return s->level > TLS_MAY;
}

static void fail(struct session *s, bool said, const char *status, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static void fail(struct session *s, bool said, const char *status, const char *fmt, ...)
{
	char text[WHY_LIMIT];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	session_problem(s, STAGE_TLS, status, "%s", text);
	session_fail(s, said);
}

/* A message that must not travel without TLS is returned by a server that has none (RFC 8689). */
static const char *status_of(const struct session *s, const char *status)
{
	return level_is_required(s->delivery) ? "5.7.30" : status;
}

/* As in Postfix: new mail waits, so that a short trouble with TLS does not uncover it. */
static bool has_waited(const struct job *j)
{
	return j->active - j->arrival >= conf_time(P_minimal_backoff_time);
}

bool starttls_may_fall_back(const struct session *s)
{
	return s->tls != NULL && s->level == TLS_MAY && has_waited(s->delivery->job);
}

/* ---- STARTTLS. ---- */

static void no_way(struct session *s, bool offered)
{
	if (offered) {
		fail(s, true, "4.7.5", "TLS is required, but our TLS engine is unavailable");
	} else {
		fail(s, true, status_of(s, "4.7.4"),
			"TLS is required, but was not offered by host %s", s->host);
	}
}

bool starttls_take(struct session *s)
{
	bool offered = (s->ehlo.features & EHLO_STARTTLS) != 0;
	if (s->tls != NULL) {
		return false;
	}
	if (offered && s->level == TLS_NONE &&
		conf_bool(setting_of(P_smtp_tls_note_starttls_offer))) {
		log_info("Host offered STARTTLS: [%s]", s->name);
	}
	if (offered && s->level > TLS_NONE && context != NULL) {
		log_debug("> %s: STARTTLS", s->relay);
		s->state = SESSION_STARTTLS;
		(void)stream_printf(s->stream, "STARTTLS\r\n");
		stream_deadline(s->stream, session_deadline(P_smtp_starttls_timeout));
		return true;
	}
	if (is_required(s)) {
		no_way(s, offered);
		return true;
	}
	return false;
}

void starttls_reply(struct session *s)
{
	if (reply_class(&s->reply) == 2) {
		starttls_begin(s);
		return;
	}
	if (is_required(s)) {
		const char *status = reply_class(&s->reply) >= 4 ? s->reply.status : "4.5.0";
		struct buf text = BUF_INIT(WHY_LIMIT);
		reply_add_text(&text, &s->reply);
		session_problem(s, STAGE_TLS, status_of(s, status),
			"TLS is required, but host %s refused to start TLS: %s", s->host,
			buf_str(&text));
		session_add_reply(s, &text);
		session_fail(s, true);
		return;
	}
	s->ehlo.features &= ~(unsigned)EHLO_STARTTLS;
	hello_done(s);
}

/* ---- The handshake. ---- */

static bool is_address(struct slice name)
{
	struct net_addr a;
	return net_addr_parse(name, 0, &a) == 0;
}

/* What TLS with a server goes by. */
struct way {
	const struct policy *policy;
	enum tls_level level;
	const char *host;
	struct slice nexthop; /* the domain or host alone */
};

static struct way way_of(const struct session *s)
{
	const struct nexthop *n = &s->delivery->nexthop;
	return (struct way){.policy = s->policy,
		.level = s->level,
		.host = s->name,
		.nexthop = n->unix_path ? slice_str(conf_str(P_myhostname)) : n->host};
}

/* What the servername of policy or parameter stands for; an address is no name (RFC 6066, 3). */
static char *servername(const struct way *w)
{
	const char *name = w->policy->servername != NULL
				   ? w->policy->servername
				   : conf_str(setting_of(P_smtp_tls_servername));
	char *found = NULL;
	if (strcmp(name, "hostname") == 0) {
		found = mem_str(w->host);
	} else if (strcmp(name, "nexthop") == 0) {
		found = slice_dup(w->nexthop);
	} else {
		found = mem_str(name);
	}
	if (is_address(slice_str(found))) {
		found[0] = '\0';
	}
	return found;
}

/* "hostname", "nexthop" and "dot-nexthop" stand for names of this session. */
static char *name_to_match(const struct way *w, const char *word)
{
	if (strcasecmp(word, "hostname") == 0) {
		return mem_str(w->host);
	}
	if (strcasecmp(word, "nexthop") == 0) {
		return slice_dup(w->nexthop);
	}
	if (strcasecmp(word, "dot-nexthop") == 0) {
		return mem_fmt(".%.*s", SLICE_FMT(w->nexthop));
	}
	return mem_str(word);
}

/* Everything that tls_start borrows. */
struct wish {
	struct tls_ask ask;
	struct tlsa_answer tlsa;
	struct buf exclude, key;
	char *servername;
	char *names[POLICY_WORDS];
};

static void add_names(struct wish *w, const struct way *way)
{
	const struct policy *p = way->policy;
	if (way->level == TLS_DANE) {
		/* RFC 7672, 3.2.3. */
		w->names[w->ask.match_n++] = mem_str(w->tlsa.base);
		w->names[w->ask.match_n++] = slice_dup(way->nexthop);
		if (w->tlsa.mx_name[0] != '\0') {
			w->names[w->ask.match_n++] = mem_str(w->tlsa.mx_name);
		}
		w->ask.tlsa = w->tlsa.records;
		w->ask.tlsa_n = w->tlsa.n;
	} else if (way->level == TLS_FINGERPRINT) {
		w->ask.fingerprint = (const char *const *)p->match;
		w->ask.fingerprint_n = p->match_n;
	} else if (way->level > TLS_FINGERPRINT) {
		for (size_t i = 0; i < p->match_n; i++) {
			w->names[w->ask.match_n++] = name_to_match(way, p->match[i]);
		}
	}
	w->ask.match = (const char *const *)w->names;
}

/*
 * What a TLS session is kept under: it is resumed for the same host of the same next hop, by the
 * same policy, so that nothing that one was satisfied with is taken for more by another.
 */
static void add_key(struct buf *key, const struct session *s)
{
	buf_add_fmt(key, "%s\n%s\n%s\n%s\n%s", server_service(), s->site, s->relay,
		tls_level_name(s->level), s->policy->key);
}

static void wish_make(struct wish *w, const struct session *s)
{
	const struct delivery *d = s->delivery;
	struct way way = way_of(s);
	*w = (struct wish){.exclude = BUF_INIT(LIST_LIMIT), .key = BUF_INIT(1 << 21)};
	policy_add_exclusions(&w->exclude, s->policy, s->level);
	if (s->level == TLS_DANE) {
		client_tlsa(d, &w->tlsa);
	}
	/* RFC 7672, 8.1: the name that the records are of. */
	w->servername = s->level == TLS_DANE ? mem_str(w->tlsa.base) : servername(&way);
	add_key(&w->key, s);
	if (s->level == TLS_DANE) {
		/* A session is no proof by records that came later. */
		buf_add_char(&w->key, '\n');
		dane_add_key(&w->key, &w->tlsa);
	}
	w->ask.level = s->level;
	w->ask.protocols = policy_protocols(s->policy, s->level);
	w->ask.grade = policy_grade(s->policy, s->level);
	w->ask.exclude = buf_str(&w->exclude);
	w->ask.servername = w->servername;
	w->ask.anchors = s->policy->anchors;
	w->ask.session_key = buf_failed(&w->key) ? NULL : buf_str(&w->key);
	add_names(w, &way);
}

static void wish_clear(struct wish *w)
{
	buf_clear(&w->exclude);
	buf_clear(&w->key);
	mem_free(w->servername);
	for (size_t i = 0; i < w->ask.match_n; i++) {
		mem_free(w->names[i]);
	}
}

void starttls_add_way(struct buf *out, const struct delivery *d, const char *host)
{
	const struct policy *p = d->policy;
	struct way way = {p, d->level, host, d->nexthop.host};
	buf_add_str(out, tls_level_name(d->level));
	if (d->level == TLS_NONE) {
		return;
	}
	buf_add_fmt(out, "\n%s\n", p->key);
	if (d->level == TLS_DANE) {
		struct tlsa_answer tlsa;
		client_tlsa(d, &tlsa);
		dane_add_key(out, &tlsa);
		buf_add_fmt(out, "\n%.*s", SLICE_FMT(way.nexthop));
		return;
	}
	char *name = servername(&way);
	buf_add_str(out, name);
	mem_free(name);
	for (size_t i = 0; i < p->match_n && d->level > TLS_FINGERPRINT; i++) {
		name = name_to_match(&way, p->match[i]);
		buf_add_fmt(out, "\n%s", name);
		mem_free(name);
	}
}

static void handshake_failed(struct session *s, const char *why)
{
	struct delivery *d = s->delivery;
	log_info("SSL_connect error to %s: %s", s->relay, why);
	if (s->level == TLS_MAY && has_waited(d->job)) {
		delivery_fall_back(d);
	}
	fail(s, false, "4.7.5", "Cannot start TLS: handshake failure");
}

static bool must_be_trusted(enum tls_level level)
{
	return level > TLS_FINGERPRINT;
}

static bool is_trusted(const struct tls_facts *f)
{
	return f->is_trusted || f->is_dane;
}

static bool is_wanted_server(const struct session *s, const struct tls_facts *f)
{
	return s->level < TLS_FINGERPRINT ||
	       (f->is_matched && (is_trusted(f) || !must_be_trusted(s->level)));
}

/*
 * As in Postfix: a host that its records vouch for, but insecure MX records have led to, is not
 * called verified.
 */
static const char *trust_word(const struct session *s, const struct tls_facts *f)
{
	struct tlsa_answer tlsa;
	if (!is_wanted_server(s, f) && f->has_cert) {
		return "Untrusted";
	}
	if (f->is_dane && s->delivery != NULL) {
		client_tlsa(s->delivery, &tlsa);
		return tlsa.mx && !tlsa.mx_secure ? "Trusted" : tls_trust_word(f);
	}
	return tls_trust_word(f);
}

static void log_session(const struct session *s, const struct tls_facts *f, const char *what)
{
	int64_t level = conf_int(setting_of(P_smtp_tls_loglevel));
	struct buf summary = BUF_INIT(SUMMARY_LIMIT);
	if (level >= 2 && f->is_reused) {
		log_info("%s: Reusing old session", s->relay);
	}
	if (level >= 2 && f->has_cert) {
		log_info("%s: subject_CN=%s, issuer_CN=%s, fingerprint=%s, pkey_fingerprint=%s",
			s->relay, f->subject_cn, f->issuer_cn, f->fingerprint, f->key_fingerprint);
	}
	if (level >= 1) {
		tls_add_summary(&summary, f);
		log_info("%s TLS connection %s to %s: %s", trust_word(s, f), what, s->relay,
			buf_str(&summary));
	}
	buf_clear(&summary);
}

/* As Postfix words it: some reasons are said of the "server certificate". */
static void log_reason(const struct session *s, const char *reason)
{
	static const char *const of_server[] = {
		"certificate has expired", "certificate not yet valid", "num="};
	const char *whose = "";
	for (size_t i = 0; i < sizeof(of_server) / sizeof(of_server[0]); i++) {
		if (slice_starts(slice_str(reason), of_server[i])) {
			whose = "server ";
		}
	}
	log_info("%scertificate verification failed for %s: %s", whose, s->relay, reason);
}

/* Reasons are logged where they matter, or when more is wanted in the log. */
static void log_distrust(const struct session *s, const struct tls_facts *f)
{
	bool good = is_wanted_server(s, f), known = is_trusted(f);
	int64_t level = conf_int(setting_of(P_smtp_tls_loglevel));
	if (!f->has_cert || (good && (known || level < 2 || s->level == TLS_FINGERPRINT))) {
		return;
	}
	if (f->is_reused) {
		log_info("%s: re-using session with untrusted certificate, look for details "
			 "earlier in the log",
			s->relay);
	} else {
		log_reason(s, known && must_be_trusted(s->level) ? "num=62:hostname mismatch"
								 : f->trust_error);
	}
}

/* The handshake is done: is this the server that the level wants? False: the session is gone. */
static bool is_good_enough(struct session *s)
{
	const struct tls_facts *f = tls_facts(s->tls);
	log_distrust(s, f);
	log_session(s, f, "established");
	if (!is_wanted_server(s, f)) {
		fail(s, true, status_of(s, "4.7.5"), "Server certificate not verified");
		return false;
	}
	return true;
}

static void on_done(struct tls *t, int err, void *arg)
{
	static const char begins[] = "SSL_connect error: ";
	struct session *s = arg;
	if (err != 0) {
		struct slice why = slice_str(tls_why(t));
		const char *known = slice_starts(why, begins) ? why.p + strlen(begins) : why.p;
		handshake_failed(s, why.len > 0 ? known : err_str(err));
		return;
	}
	s->tls = t;
	if (is_good_enough(s)) {
		hello_again(s);
	}
}

static void shake_hands(struct session *s)
{
	static const struct tls_events events = {on_done};
	struct buf why = BUF_INIT(WHY_LIMIT);
	struct tls *t = NULL;
	struct wish w;
	if (conf_int(setting_of(P_smtp_tls_loglevel)) >= 2) {
		log_info("setting up TLS connection to %s", s->relay);
	}
	stream_deadline(s->stream, session_deadline(P_smtp_starttls_timeout));
	wish_make(&w, s);
	int r = tls_start(context, s->stream, &w.ask, &events, s, &t, &why);
	wish_clear(&w);
	if (r != 0) {
		handshake_failed(s, why.len > 0 ? log_q(buf_slice(&why)) : err_str(r));
	}
	buf_clear(&why);
}

/* ---- Certificates of ours. ---- */

void starttls_forget(struct session *s)
{
	if (s->waits) {
		TAILQ_REMOVE(&waiting, s, waiting);
		s->waits = false;
	}
}

static void go_on(void *arg)
{
	struct session *s;
	loop_timer_clear(&patience);
	while ((s = TAILQ_FIRST(&waiting)) != NULL) {
		starttls_forget(s);
		shake_hands(s);
	}
}

void starttls_keys(void)
{
	if (tls_keys_ready()) {
		go_on(NULL);
	}
}

static void wait_for_keys(struct session *s)
{
	if (TAILQ_EMPTY(&waiting)) {
		loop_timer_clear(&patience);
		loop_timer_init(&patience, go_on, NULL);
		loop_timer_set(&patience, loop_now() + KEYS_TIME * CLOCK_SEC);
	}
	TAILQ_INSERT_TAIL(&waiting, s, waiting);
	s->waits = true;
}

void starttls_begin(struct session *s)
{
	if (context == NULL) {
		no_way(s, true);
		return;
	}
	s->state = SESSION_HANDSHAKE;
	if (wants_chain && !tls_keys_ready()) {
		wait_for_keys(s);
	} else {
		shake_hands(s);
	}
}

void starttls_reused(const struct session *s)
{
	if (s->tls != NULL) {
		log_session(s, tls_facts(s->tls), "reused");
	}
}

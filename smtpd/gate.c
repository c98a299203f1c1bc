/* SPDX-License-Identifier: ISC */
#include "smtpd/gate.h"

#include "conf/conf.h"
#include "smtpd/dnsbl.h"
#include "smtpd/report.h"
#include "smtpd/starttls.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/wire.h"

enum { EXCERPT = 100 };

static struct {
	int64_t wait, greet_ttl; /* microseconds */
	int64_t dnsbl_timeout, dnsbl_ttl;
	int threshold;
	const char *teaser;
} gates;

struct gate {
	struct session *session;
	struct tally_question *question;
	struct loop_timer timer;
	int64_t since;
	bool is_waiting;                  /* the greeting waits */
	int64_t greet_until, dnsbl_until; /* real times; what is known of the client already */
	struct dnsbl *dnsbl;              /* NULL: nothing to ask */
	void (*done)(struct session *s);
	void (*decided)(struct session *s, const char *reply); /* a recipient waits */
};

void (*gate_on_error)(struct session *s);

void gate_error(struct session *s)
{
	if (gate_on_error != NULL && !s->is_local)
		gate_on_error(s);
}

void gate_open(void)
{
	struct buf why = BUF_INIT(1024);
	struct map_list *names = NULL;

	gates.wait = conf_time(P_smtpd_greet_wait);
	gates.greet_ttl = conf_time(P_smtpd_greet_ttl);
	gates.teaser = conf_str(P_smtpd_greet_banner);
	gates.dnsbl_timeout = conf_time(P_smtpd_dnsbl_timeout);
	gates.dnsbl_ttl = conf_time(P_smtpd_dnsbl_ttl);
	gates.threshold = (int)conf_int(P_smtpd_dnsbl_threshold);
	if (map_list_open(conf_str(P_smtpd_dnsbl_reply_map), &why, &names) != 0)
		log_fatal("smtpd_dnsbl_reply_map: %s", buf_str(&why));
	if (dnsbl_open(slice_str(conf_str(P_smtpd_dnsbl_sites)), names, &why) != 0)
		log_fatal("smtpd_dnsbl_sites: %s", buf_str(&why));
	map_list_close(&names);
	buf_clear(&why);
}

void gate_cancel(struct session *s)
{
	struct gate *g = s->gate;

	s->gate = NULL;
	if (g == NULL)
		return;
	tally_cancel(&g->question);
	dnsbl_free(&g->dnsbl);
	loop_timer_clear(&g->timer);
	mem_free(g);
}

/* The cache: until when the client need not wait, and need not be looked for in lists. */

static void put_key(const struct session *s, struct buf *key)
{
	(void)buf_add_fmt(key, "gate:%s", s->addr);
}

static void keep(const struct gate *g)
{
	struct buf key = BUF_INIT(256), value = BUF_INIT(64);
	int64_t until = g->greet_until > g->dnsbl_until ? g->greet_until : g->dnsbl_until;

	put_key(g->session, &key);
	wire_u64(&value, (uint64_t)g->greet_until);
	wire_u64(&value, (uint64_t)g->dnsbl_until);
	tally_cache_put(buf_slice(&key), buf_slice(&value), until);
	buf_clear(&key);
	buf_clear(&value);
}

/* The greeting. */

static void pass(struct gate *g)
{
	struct session *s = g->session;

	if (g->is_waiting) {
		g->is_waiting = false;
		g->greet_until = clock_real() + gates.greet_ttl;
		keep(g);
	}
	stream_read(s->stream, false);
	g->done(s);
}

static void waited(void *arg)
{
	pass(arg);
}

/* How long, with two digits as in postscreen's lines. */
static void add_age(struct buf *line, int64_t since)
{
	double age = (double)(loop_now() - since) / CLOCK_SEC;

	(void)buf_add_fmt(line, age < 0.01 ? "0" : "%.2g", age);
}

/* As in C, which is the form of postscreen. */
static void add_escaped(struct buf *line, struct slice text)
{
	/* A letter, and what it stands for. */
	static const char names[] = "a\ab\bf\fn\nr\rt\tv\v\\\\";

	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.p[i];
		size_t k = 0;

		while (k < sizeof(names) - 1 && (unsigned char)names[k + 1] != c)
			k += 2;
		if (k < sizeof(names) - 1)
			(void)buf_add_fmt(line, "\\%c", names[k]);
		else if (c < ' ' || c > 126)
			(void)buf_add_fmt(line, "\\%03o", c);
		else
			(void)buf_add_char(line, (char)c);
	}
}

void gate_input(struct session *s)
{
	struct gate *g = s->gate;
	struct slice in = stream_input(s->stream);
	struct buf line = BUF_INIT(2048);

	if (g == NULL || !g->is_waiting || in.len == 0)
		return;
	(void)buf_add_fmt(&line, "PREGREET %zu after ", in.len);
	add_age(&line, g->since);
	(void)buf_add_fmt(&line, " from [%s]:%u: ", s->addr, s->port);
	add_escaped(&line, slice_first(in, EXCERPT));
	log_info("%s", buf_str(&line));
	buf_clear(&line);
	s->is_pipelining = true;
	gate_error(s);
	session_end(s, "521 5.5.1 Protocol error");
}

void gate_gone(struct session *s)
{
	struct gate *g = s->gate;
	struct buf age = BUF_INIT(64);

	if (g == NULL || !g->is_waiting)
		return;
	add_age(&age, g->since);
	log_info("HANGUP after %s from [%s]:%u in tests before SMTP handshake", buf_str(&age),
		s->addr, s->port);
	buf_clear(&age);
}

/* Lists. */

static bool is_listed(const struct gate *g)
{
	return g->dnsbl != NULL && dnsbl_score(g->dnsbl) >= gates.threshold;
}

static void decide(struct gate *g)
{
	void (*decided)(struct session * s, const char *reply) = g->decided;
	struct session *s = g->session;
	char *reply = NULL;

	g->decided = NULL;
	if (is_listed(g))
		reply = mem_fmt("554 5.7.1 Service unavailable; client [%s] blocked using %s",
			s->addr, dnsbl_name(g->dnsbl));
	decided(s, reply != NULL ? session_stranger_reply(s, reply) : "");
	mem_free(reply);
}

static void scored(void *arg)
{
	struct gate *g = arg;

	if (is_listed(g)) {
		log_info("DNSBL rank %d for [%s]:%u", dnsbl_score(g->dnsbl), g->session->addr,
			g->session->port);
	} else if (dnsbl_is_complete(g->dnsbl) && gates.dnsbl_ttl > 0) {
		g->dnsbl_until = clock_real() + gates.dnsbl_ttl;
		keep(g);
	}
	if (g->decided != NULL)
		decide(g);
}

void gate_ask(struct session *s, void (*decided)(struct session *s, const char *reply))
{
	struct gate *g = s->gate;

	if (g == NULL || g->dnsbl == NULL || s->login != NULL) {
		decided(s, "");
		return;
	}
	g->decided = decided;
	if (dnsbl_is_done(g->dnsbl))
		decide(g);
	else
		s->state = WAITING;
}

/* The beginning. */

static void start(struct gate *g)
{
	struct session *s = g->session;
	int64_t now = clock_real();

	if (g->dnsbl_until < now)
		g->dnsbl =
			dnsbl_ask(slice_str(s->addr), loop_now() + gates.dnsbl_timeout, scored, g);
	/* Who speaks for others, or says XCLIENT, has been greeted already; with TLS from connect
	 * it is the client who speaks first. */
	if (gates.wait == 0 || g->greet_until >= now || s->is_greeted || starttls_is_awaited(s)) {
		pass(g);
		return;
	}
	g->is_waiting = true;
	g->since = loop_now();
	loop_timer_set(&g->timer, g->since + gates.wait);
	if (*gates.teaser != '\0')
		session_reply(s, "220-%s", gates.teaser);
	if (s->state == GREETING)
		stream_read(s->stream, true);
}

static void known(void *arg, const struct tally_reply *r)
{
	struct gate *g = arg;
	struct reader in = reader_of(r->value);

	g->question = NULL;
	if (r->is_known && r->is_found) {
		g->greet_until = (int64_t)reader_u64(&in);
		g->dnsbl_until = (int64_t)reader_u64(&in);
		reader_end(&in);
	}
	if (in.err != 0)
		g->greet_until = g->dnsbl_until = 0;
	start(g);
}

static bool is_exempt(const struct session *s)
{
	struct policy_facts f;

	evaluation_facts(s, &f);
	return s->is_local || policy_is_trusted(settings.policy, &f) ||
	       policy_is_safe(settings.policy, &f);
}

void gate_begin(struct session *s, void (*done)(struct session *s))
{
	struct buf key = BUF_INIT(256);
	struct gate *g = NULL;

	if ((gates.wait == 0 && !dnsbl_is_used()) || is_exempt(s)) {
		done(s);
		return;
	}
	g = mem_alloc(sizeof(*g));
	g->session = s;
	g->done = done;
	loop_timer_init(&g->timer, waited, g);
	s->gate = g;
	put_key(s, &key);
	g->question = tally_cache_get(buf_slice(&key), known, g);
	buf_clear(&key);
}

/* SPDX-License-Identifier: ISC */
#include "smtp-client/hello.h"

#include <string.h>

#include "conf/conf.h"
#include "map/map.h"
#include "server/server.h"
#include "smtp-client/auth.h"
#include "smtp-client/level.h"
#include "smtp-client/outcome.h"
#include "smtp-client/self.h"
#include "smtp-client/setting.h"
#include "smtp-client/starttls.h"
#include "smtp-client/tables.h"
#include "smtp-client/transcript.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

static struct map_list *pix_maps, *discard_maps;

void hello_init(void)
{
	tables_open(setting_of(P_smtp_pix_workaround_maps), &pix_maps);
	tables_open(setting_of(P_smtp_discard_ehlo_keyword_address_maps), &discard_maps);
}

/* What is said of the server's address, else the parameter. ERR_LATER: the session waits. */
static int find_list(struct session *s, struct map_list *maps, enum param p, struct buf *out)
{
	int r = maps != NULL ? map_list_find(maps, slice_str(s->address), &s->later, out)
			     : ERR_NOT_FOUND;
	if (r == ERR_LATER) {
		s->asks = true;
		return r;
	}
	if (r == ERR_NOT_FOUND) {
		buf_reset(out);
		(void)buf_add_str(out, conf_str(p));
		return 0;
	}
	return r;
}

static void table_failed(struct session *s, enum param p)
{
	log_warning("%s: lookup error for %s", conf_name(p), s->address);
	session_lost(s, ERR_TEMP, STAGE_HELO, "");
	session_fail(s, true);
}

/* ---- EHLO. ---- */

static const char *hello_command(const struct session *s)
{
	return s->lmtp ? "LHLO" : s->state == SESSION_HELO ? "HELO" : "EHLO";
}

const char *hello_doing(const struct session *s)
{
	switch (s->state) {
	case SESSION_CONNECTING: return "receiving the initial server greeting";
	case SESSION_HELO: return "performing the HELO handshake";
	case SESSION_STARTTLS: return "receiving the STARTTLS response";
	case SESSION_AUTH: return "performing SASL authentication";
	default: return s->lmtp ? "performing the LHLO handshake" : "performing the EHLO handshake";
	}
}

static void say_hello(struct session *s, enum session_state state)
{
	const char *name = conf_str(setting_of(P_smtp_helo_name));

	if (*name == '\0')
		name = conf_str(P_myhostname);
	s->state = state;
	if (log_is_debug()) {
		log_debug("> %s: %s %s", s->relay, hello_command(s), name);
	}
	transcript_out(s, slice_str(hello_command(s)));
	(void)stream_printf(s->stream, "%s %s\r\n", hello_command(s), name);
	stream_deadline(s->stream, s->hello_until);
}

void hello_again(struct session *s)
{
	/* What was said in clear text counts no more (RFC 3207, 4.2). */
	s->ehlo = (struct ehlo){0};
	s->hello_until = session_deadline(P_smtp_helo_timeout);
	if (starttls_is_wrapped()) {
		s->state = SESSION_CONNECTING;
		stream_deadline(s->stream, s->hello_until);
	} else {
		say_hello(s, SESSION_EHLO);
	}
}

/* ---- A PIX. ---- */

/* It hides the greeting: nothing but stars, blanks and the digits of the code are left. */
static bool is_pix(const struct reply *r)
{
	struct slice text = buf_slice(&r->text);
	bool has_star = false;
	for (size_t i = 0; i < text.len; i++) {
		if (strchr("20 *\n-", text.p[i]) == NULL) {
			return false;
		}
		has_star = has_star || text.p[i] == '*';
	}
	return has_star;
}

/* Mail that goes through at once has met no such trouble. */
static bool has_waited(const struct job *j)
{
	enum param p = setting_of(P_smtp_pix_workaround_threshold_time);
	return j->active - j->arrival >= conf_time(p);
}

static void work_around(struct session *s, struct slice words)
{
	struct slice rest = words, word;
	bool any = false;
	while (slice_token(&rest, ", \t\r\n", &word)) {
		bool esmtp = slice_case_eq_str(word, "disable_esmtp");
		bool dot = slice_case_eq_str(word, "delay_dotcrlf");
		s->no_esmtp = s->no_esmtp || (esmtp && !s->lmtp);
		s->slow_dot = s->slow_dot || dot;
		any = any || esmtp || dot;
		if (!esmtp && !dot) {
			log_warning("PIX workarounds: unknown word: %s", log_q(word));
		}
	}
	if (any) {
		log_info("%s: enabling PIX workarounds: %s for %s", s->delivery->job->id,
			log_q(words), s->relay);
	}
}

/* 0, ERR_LATER, or the session is gone. */
static int look_for_pix(struct session *s)
{
	struct buf words = BUF_INIT(MAP_VALUE_LIMIT);
	enum param p = setting_of(P_smtp_pix_workarounds);
	int r = 0;
	if (is_pix(&s->reply) && has_waited(s->delivery->job)) {
		r = find_list(s, pix_maps, p, &words);
	}
	if (r == 0) {
		work_around(s, slice_trim(buf_slice(&words)));
	} else if (r != ERR_LATER) {
		table_failed(s, setting_of(P_smtp_pix_workaround_maps));
	}
	buf_clear(&words);
	return r;
}

/* ---- The greeting. ---- */

/* smtp_skip_5xx_greeting: a refusal at the door says nothing about other hosts; without it, all. */
static void refused_at_the_door(struct session *s)
{
	enum param p = setting_of(P_smtp_skip_5xx_greeting);
	struct problem *why = &s->delivery->why;
	session_refused(s);
	if (why->status[0] == '5' && conf_bool(p)) {
		why->status[0] = '4';
	} else if (why->status[0] == '5') {
		outcome_all_failed(s->delivery, true);
	}
	session_fail(s, true);
}

void hello_greeting(struct session *s)
{
	if (s->reply.code != 220) {
		refused_at_the_door(s);
		return;
	}
	if (look_for_pix(s) != 0) {
		return;
	}
	if (delivery_may_loop(s->delivery) && self_is_named(&s->reply)) {
		log_warning("host %s greeted me with my own hostname %s", s->relay,
			conf_str(P_myhostname));
	}
	bool helo = (conf_bool(P_smtp_never_send_ehlo) || s->no_esmtp) && !s->lmtp;
	say_hello(s, helo ? SESSION_HELO : SESSION_EHLO);
}

/* ---- The reply to EHLO. ---- */

/* The server is this one, whatever the way to it: mail for it would go in a circle. */
static void met_self(struct session *s)
{
	struct delivery *d = s->delivery;
	log_warning("host %s replied to HELO/EHLO with my own hostname %s", s->relay,
		conf_str(P_myhostname));
	session_problem(s, STAGE_HELO, delivery_is_best(d) ? "5.4.6" : "4.4.6",
		"mail for %s loops back to myself", d->site);
	session_fail(s, true);
}

/* smtp_tls_block_early_mail_reply: replies to what only somebody in between can have said. */
static bool is_early(const struct session *s)
{
	return s->tls != NULL && stream_input(s->stream).len > 0 &&
	       conf_bool(setting_of(P_smtp_tls_block_early_mail_reply));
}

/* 0: what the server offers is read, without what is not to be seen; else as look_for_pix. */
static int read_offer(struct session *s)
{
	enum param p = setting_of(P_smtp_discard_ehlo_keywords);
	struct buf words = BUF_INIT(MAP_VALUE_LIMIT);
	int r = find_list(s, discard_maps, p, &words);
	if (r == 0) {
		unsigned discard = ehlo_keywords(buf_slice(&words));
		if (discard != 0 && (discard & EHLO_SILENT_DISCARD) == 0) {
			log_info("discarding EHLO keywords: %s",
				log_q(slice_trim(buf_slice(&words))));
		}
		ehlo_parse(&s->reply, discard, &s->ehlo);
	} else if (r != ERR_LATER) {
		table_failed(s, setting_of(P_smtp_discard_ehlo_keyword_address_maps));
	}
	buf_clear(&words);
	return r;
}

static void agree(struct session *s)
{
	if (s->state == SESSION_EHLO && read_offer(s) != 0) {
		return;
	}
	if (is_early(s)) {
		session_problem(s, STAGE_HELO, "4.7.0", "unexpected server message");
		session_fail(s, false);
	} else if (!starttls_take(s)) {
		hello_done(s);
	}
}

void hello_reply(struct session *s)
{
	int class = reply_class(&s->reply);
	if (class == 2 && delivery_may_loop(s->delivery) && self_is_named(&s->reply)) {
		met_self(s);
	} else if (class == 2) {
		agree(s);
	} else if (class == 5 && s->state == SESSION_EHLO && !s->lmtp) {
		say_hello(s, SESSION_HELO);
	} else {
		session_refused(s);
		session_fail(s, true);
	}
}

/* RFC 8689, 4.2.1: what must travel with TLS all the way goes to servers that promise the same. */
static bool keeps_tls(const struct session *s)
{
	return !level_is_required(s->delivery) ||
	       (s->tls != NULL && (s->ehlo.features & EHLO_REQUIRETLS) != 0);
}

void hello_done(struct session *s)
{
	if (!keeps_tls(s)) {
		session_problem(s, STAGE_TLS, "5.7.30",
			"REQUIRETLS is required, but was not offered by host %s", s->host);
		session_fail(s, true);
	} else if (!auth_take(s)) {
		session_ready(s);
	}
}

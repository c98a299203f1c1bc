/* SPDX-License-Identifier: ISC */
#include "smtpd/etrn.h"

#include "conf/conf.h"
#include "net/addr.h"
#include "smtp/xattr.h"
#include "smtpd/inquiry.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

enum { DOMAIN_LIMIT = 255 };

static struct match *domains;

void etrn_open(void)
{
	struct slice parents = slice_str(conf_str(P_parent_domain_matches_subdomains));
	struct buf why = BUF_INIT(1024);
	int flags = settings_has_word(parents, SLICE_LIT("fast_flush_domains")) ? MATCH_PARENT : 0;

	if (match_open(conf_str(P_fast_flush_domains), flags, &why, &domains) != 0)
		log_fatal("fast_flush_domains: %s", buf_str(&why));
	buf_clear(&why);
}

static void answer(struct session *s, bool good, const char *reply)
{
	session_count(s, SMTP_ETRN, good);
	session_reply(s, "%s", reply);
}

static bool is_domain(struct slice name)
{
	return smtp_is_hostname(name) && name.len <= DOMAIN_LIMIT && name.p[name.len - 1] != '.';
}

static bool is_literal(struct slice text)
{
	struct net_addr addr;

	return text.len > 2 && text.p[0] == '[' && text.p[text.len - 1] == ']' &&
	       net_addr_parse(slice_of(text.p + 1, text.len - 2), 0, &addr) == 0;
}

/* One that cannot be looked for is not served either. */
static void serve(struct session *s, struct slice domain, int err)
{
	char *reply = NULL;

	if (err == ERR_TEMP) {
		answer(s, false, "451 4.3.0 Error: temporary lookup failure");
	} else if (err != 0) {
		log_warning("reject: ETRN %s... from %s", log_q(domain), s->namaddr);
		reply = mem_fmt("459 4.7.1 <%.*s>: service unavailable", SLICE_FMT(domain));
		answer(s, false, reply);
	} else if (!author_flush(domain)) {
		answer(s, false, "458 4.3.0 Unable to queue messages");
	} else {
		answer(s, true, "250 2.0.0 Queuing started");
	}
	mem_free(reply);
}

static void flush(struct session *s, struct slice domain)
{
	int err = match_domain(domains, domain, inquiry_later(s));
	struct inquiry *inquiry = NULL;

	if (err == ERR_LATER) {
		inquiry_wait(s, domain, flush);
		return;
	}
	inquiry = inquiry_take(s);
	serve(s, domain, err);
	inquiry_free(&inquiry);
}

static void decided(struct session *s, const struct policy_verdict *v, struct slice domain)
{
	if (v->action == POLICY_PERMIT) {
		flush(s, domain);
		return;
	}
	session_count(s, SMTP_ETRN, false);
	evaluation_refuse(s, v);
}

void etrn_command(struct session *s, struct slice args)
{
	struct slice domain = args;

	/* "@domain" means its sub-domains too, "#queue" is for the server to understand. */
	if (domain.len > 0 && (domain.p[0] == '@' || domain.p[0] == '#'))
		domain = slice_from(domain, 1);
	if (settings.helo_required && s->helo == NULL && !s->is_local)
		answer(s, false, "503 5.5.1 Error: send HELO/EHLO first");
	else if (s->transaction != NULL)
		answer(s, false, "503 5.5.1 Error: MAIL transaction in progress");
	else if (args.len == 0 || slice_find(args, ' ') >= 0)
		answer(s, false, "500 5.5.2 Syntax: ETRN domain");
	else if (!is_domain(domain) && !is_literal(domain))
		answer(s, false, "501 5.5.4 Error: invalid parameter syntax");
	else
		evaluation_begin(s, POLICY_ETRN, domain, decided);
}

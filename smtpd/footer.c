/* SPDX-License-Identifier: ISC */
#include "smtpd/footer.h"

#include "conf/conf.h"
#include "conf/expand.h"
#include "policy/facts.h"
#include "smtp/reply.h"
#include "smtpd/recipient.h"
#include "smtpd/session.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

enum { TEMPLATE_LIMIT = 8192, VALUE_LIMIT = 2048, QUESTIONS = 10 };

static struct {
	const char *template;
	struct map_list *maps; /* NULL: none */
} self;

/* A reply that waits. */
struct footer {
	struct session *session;
	struct later later;
	char *reply; /* owned */
};

/* The text. */

struct lookup {
	struct policy_facts facts;
	struct buf value;
};

static const char *find(void *arg, struct slice name)
{
	struct lookup *l = arg;
	const char *value = facts_lookup(&l->facts, name, &l->value);

	if (value == NULL)
		log_warning("unknown macro name \"%.*s\" in expansion request", SLICE_FMT(name));
	return value;
}

/* "550 5.7.1 text": a refusal, as all replies of this program begin. */
static bool is_refusal(struct slice reply)
{
	return reply.len >= 4 && (reply.p[0] == '4' || reply.p[0] == '5') && reply.p[3] == ' ';
}

/* The next line of the template; false at the end. */
static bool next_line(struct slice *rest, struct slice *line)
{
	ptrdiff_t at = slice_find_str(*rest, "\\n");

	if (rest->p == NULL)
		return false;
	*line = at < 0 ? *rest : slice_first(*rest, (size_t)at);
	*rest = at < 0 ? SLICE_NONE : slice_from(*rest, (size_t)at + 2);
	return true;
}

static void add_code(struct buf *out, struct slice reply, bool is_last)
{
	(void)buf_add_slice(out, slice_first(reply, 3));
	(void)buf_add_char(out, is_last ? ' ' : '-');
}

static int add_lines(
	const struct expand *by, struct slice reply, struct slice template, struct buf *out)
{
	struct slice text = slice_from(reply, 4), line;
	struct slice status = slice_first(text, reply_status_len(text));
	bool is_joined = slice_starts(template, "\\c");
	int err = 0;

	if (is_joined) {
		template = slice_from(template, 2);
		(void)next_line(&template, &line);
	}
	add_code(out, reply, template.p == NULL);
	(void)buf_add_slice(out, text);
	if (is_joined)
		err = expand(by, line, out);
	while (err == 0 && next_line(&template, &line)) {
		(void)buf_add_str(out, "\r\n");
		add_code(out, reply, template.p == NULL);
		(void)buf_add_slice(out, status);
		(void)buf_add_str(out, status.len > 0 ? " " : "");
		err = expand(by, line, out);
	}
	return buf_failed(out) ? ERR_LIMIT : err;
}

static void add_footer(
	const struct session *s, struct slice reply, struct slice template, struct buf *out)
{
	struct lookup l = {.value = BUF_INIT(VALUE_LIMIT)};
	struct buf why = BUF_INIT(VALUE_LIMIT);
	const struct expand by = {.lookup = find, .arg = &l, .why = &why};

	evaluation_facts(s, &l.facts);
	if (s->recipient != NULL)
		l.facts.recipient = recipient_address(s->recipient);
	if (template.len == 0 || add_lines(&by, reply, template, out) != 0) {
		if (template.len > 0)
			log_warning("smtpd_reject_footer: \"%.*s\": %s", SLICE_FMT(template),
				why.len > 0 ? buf_str(&why) : "too long");
		buf_reset(out);
		(void)buf_add_slice(out, reply);
	}
	(void)buf_add_str(out, "\r\n");
	buf_clear(&l.value);
	buf_clear(&why);
}

/* Which footer. */

static int find_template(struct slice reply, struct later *l, struct buf *template)
{
	int err = ERR_NOT_FOUND;

	if (self.maps != NULL)
		err = map_list_find(self.maps, reply, l, template);
	if (err == 0 || err == ERR_LATER)
		return err;
	if (err != ERR_NOT_FOUND)
		log_warning("smtpd_reject_footer_maps: lookup error for \"%s\"", log_q(reply));
	buf_reset(template);
	(void)buf_add_str(template, self.template);
	return 0;
}

static int add(const struct session *s, struct slice reply, struct later *l, struct buf *out)
{
	struct buf template = BUF_INIT(TEMPLATE_LIMIT);
	int err = find_template(reply, l, &template);

	if (err == 0)
		add_footer(s, reply, buf_slice(&template), out);
	buf_clear(&template);
	return err;
}

/* Waiting. */

void footer_cancel(struct session *s)
{
	struct footer *f = s->footer;

	s->footer = NULL;
	if (f == NULL)
		return;
	later_clear(&f->later);
	mem_free(f->reply);
	mem_free(f);
}

static void answered(void *arg)
{
	struct footer *f = arg;
	struct session *s = f->session;
	struct buf out = BUF_INIT(FOOTER_REPLY_LIMIT);

	if (add(s, slice_str(f->reply), &f->later, &out) == 0) {
		footer_cancel(s);
		session_footer_ready(s, buf_slice(&out));
	}
	buf_clear(&out);
}

bool footer_is_wanted(const struct session *s, struct slice reply)
{
	return !s->is_local && is_refusal(reply) && (*self.template != '\0' || self.maps != NULL);
}

int footer_add(struct session *s, struct slice reply, struct buf *out)
{
	struct footer *f = NULL;
	int err = 0;

	reply = slice_first(reply, reply.len - 2);
	s->footer = f = mem_alloc(sizeof(*f));
	f->session = s;
	f->reply = slice_dup(reply);
	later_init(&f->later, QUESTIONS, answered, f);
	err = add(s, reply, &f->later, out);
	if (err == 0)
		footer_cancel(s);
	return err;
}

void footer_take(struct session *s, struct buf *out)
{
	struct footer *f = s->footer;

	if (f == NULL)
		return;
	add_footer(s, slice_str(f->reply), slice_str(self.template), out);
	footer_cancel(s);
}

/* The settings. */

static const char *anything(void *arg, struct slice name)
{
	(void)arg;
	(void)name;
	return "";
}

static void check_template(void)
{
	struct buf why = BUF_INIT(VALUE_LIMIT), out = BUF_INIT(FOOTER_REPLY_LIMIT);
	const struct expand by = {.lookup = anything, .why = &why};

	if (expand(&by, slice_str(self.template), &out) != 0)
		log_fatal("smtpd_reject_footer: %s", why.len > 0 ? buf_str(&why) : "too long");
	buf_clear(&out);
	buf_clear(&why);
}

void footer_open(void)
{
	struct buf why = BUF_INIT(VALUE_LIMIT);

	self.template = conf_str(P_smtpd_reject_footer);
	check_template();
	if (map_list_open(conf_str(P_smtpd_reject_footer_maps), &why, &self.maps) != 0)
		log_fatal("smtpd_reject_footer_maps: %s", buf_str(&why));
	if (map_list_is_empty(self.maps))
		map_list_close(&self.maps);
	buf_clear(&why);
}

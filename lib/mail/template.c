/* SPDX-License-Identifier: ISC */
#include "mail/template.h"

#include <stdio.h>

#include "mail/header.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"

struct templates {
	struct template all[TEMPLATES];
};

#define GREETING "This is the mail system at host $myhostname.\n\n"
#define HELP "\nFor help, write to postmaster at the host above and enclose this report.\n"

static const struct {
	const char *name, *subject, *copy_subject, *text;
} built_in[TEMPLATES] = {
	[TEMPLATE_FAILURE] = {"failure", "Undelivered Mail Returned to Sender",
		"Postmaster Copy: Undelivered Mail",
		GREETING
		"Your message could not be delivered to the recipients listed below. The\n"
		"attempts are over: if the mail still matters, it must be sent again. What\n"
		"was said about each recipient follows; the message, or its header, is\n"
		"attached.\n" HELP},
	[TEMPLATE_DELAY] = {"delay", "Delayed Mail (still being retried)",
		"Postmaster Warning: Delayed Mail",
		GREETING "THIS IS A WARNING ONLY: there is no need to send your message again.\n\n"
			 "It could not be delivered to the recipients listed below for more than\n"
			 "$delay_warning_time_hours hour(s). Delivery is tried on until it is\n"
			 "$maximal_queue_lifetime_days day(s) old.\n" HELP},
	[TEMPLATE_SUCCESS] = {"success", "Successful Mail Delivery Report", NULL,
		GREETING
		"Your message was delivered to the recipients listed below, as far as this\n"
		"system can tell.\n"},
	[TEMPLATE_VERIFY] = {"verify", "Mail Delivery Status Report", NULL,
		GREETING "The report of delivery that you asked for is enclosed.\n"},
};

const char *template_name(enum template_kind kind)
{
	return built_in[kind].name;
}

static void set(char **to, struct slice value)
{
	mem_free(*to);
	*to = slice_dup(value);
}

static struct template template_of(enum template_kind kind)
{
	return (struct template){.charset = mem_str("us-ascii"),
		.from = mem_str("Mail Delivery System <MAILER-DAEMON>"),
		.subject = mem_str(built_in[kind].subject),
		.copy_subject = mem_str(built_in[kind].copy_subject),
		.text = mem_str(built_in[kind].text)};
}

static void clear(struct template *t)
{
	mem_free(t->charset);
	mem_free(t->from);
	mem_free(t->subject);
	mem_free(t->copy_subject);
	mem_free(t->text);
}

struct templates *templates_new(void)
{
	struct templates *t = mem_alloc(sizeof(*t));

	for (int i = 0; i < TEMPLATES; i++)
		t->all[i] = template_of((enum template_kind)i);
	return t;
}

void templates_free(struct templates **t)
{
	if (*t == NULL)
		return;
	for (int i = 0; i < TEMPLATES; i++)
		clear(&(*t)->all[i]);
	mem_free(*t);
	*t = NULL;
}

void templates_drop(struct templates *t, enum template_kind kind)
{
	clear(&t->all[kind]);
	t->all[kind] = template_of(kind);
}

const struct template *templates_get(const struct templates *t, enum template_kind kind)
{
	return &t->all[kind];
}

/* ---- Reading. ---- */

struct parser {
	struct slice rest; /* lines behind the present one */
	unsigned line;     /* number of the present one */
	template_tell tell;
	void *arg;
};

static void mistake(struct parser *p, unsigned line, unsigned column, const char *text)
{
	if (p->tell != NULL)
		p->tell(TEMPLATE_ERROR, line, column, text, p->arg);
}

static void mistake_in(struct parser *p, unsigned line, unsigned column, const char *before,
	struct slice what, const char *behind)
{
	char *text = mem_fmt("%s\"%.*s\"%s", before, SLICE_FMT(slice_first(what, 100)), behind);

	mistake(p, line, column, text);
	mem_free(text);
}

static bool next_line(struct parser *p, struct slice *line)
{
	if (p->rest.len == 0 || !slice_part(&p->rest, '\n', line))
		return false;
	p->line++;
	return true;
}

/* Where one of a template's headers is kept; NULL: there is no such header. */
static char **header_of(struct template *t, struct slice name)
{
	return slice_case_eq_str(name, "Charset")              ? &t->charset
	       : slice_case_eq_str(name, "From")               ? &t->from
	       : slice_case_eq_str(name, "Subject")            ? &t->subject
	       : slice_case_eq_str(name, "Postmaster-Subject") ? &t->copy_subject
							       : NULL;
}

static bool is_charset(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (strchr(" \t;,\"/()<>@:\\[]?=", s.p[i]) != NULL)
			return false;
	return true;
}

static const char *why_no_value(struct slice name, struct slice value)
{
	if (value.len == 0)
		return " has no value; expected one";
	if (!slice_is_ascii(value) || !slice_is_printable(value))
		return " has bytes outside of ASCII; expected printable ASCII";
	if (slice_case_eq_str(name, "Charset") && !is_charset(value))
		return " is no character set; expected a name such as utf-8";
	return NULL;
}

/* One header. False: the template cannot be used. */
static bool take_header(
	struct parser *p, struct template *t, struct slice line, size_t len, unsigned number)
{
	struct slice name = slice_trim(slice_first(line, len)),
		     value = slice_trim(slice_from(line, (size_t)slice_find(line, ':') + 1));
	char **to = header_of(t, name);
	const char *why = to != NULL
				  ? why_no_value(name, value)
				  : " is no header of a template; expected Charset, From, Subject "
				    "or Postmaster-Subject";

	if (why != NULL)
		mistake_in(p, number, 1, "", name, why);
	else
		set(to, value);
	return why == NULL;
}

/* The text; its lines all have an end. False: there is a byte that no mail may have. */
static bool take_text(struct parser *p, struct template *t, struct slice text, unsigned number)
{
	unsigned column = 1;

	mem_free(t->text);
	t->text = mem_fmt("%.*s%s", SLICE_FMT(text),
		text.len > 0 && text.p[text.len - 1] != '\n' ? "\n" : "");
	t->line = number;
	for (size_t i = 0; i < text.len; i++, column++) {
		unsigned char c = (unsigned char)text.p[i];

		if (c == '\n') {
			number++;
			column = 0;
		} else if ((c < ' ' && c != '\t') || c == 127) {
			mistake(p, number, column, "control character; expected text");
			return false;
		} else if (c > 127 && slice_case_eq_str(slice_str(t->charset), "us-ascii")) {
			mistake(p, number, column,
				"byte outside of ASCII; expected a Charset: header that names the "
				"character set");
			return false;
		}
	}
	return true;
}

/* What stands between the first line and the last. */
static bool take_body(struct parser *p, struct template *t, struct slice body, unsigned number)
{
	struct slice rest = body, line;
	bool good = true;
	size_t len;

	while (slice_part(&rest, '\n', &line) && (len = header_name_len(line)) > 0) {
		good = take_header(p, t, line, len, number++) && good;
		body = rest;
	}
	/* An empty line parts headers and text; without one the text begins where headers end. */
	if (body.len > 0 && body.p[0] == '\n') {
		body = slice_from(body, 1);
		number++;
	}
	return take_text(p, t, body, number) && good;
}

/* The lines up to the one that is the end word, each with its end. False: it is missing. */
static bool take_until(struct parser *p, struct slice end, struct slice *body)
{
	const struct slice from = p->rest;
	struct slice line;

	while (next_line(p, &line)) {
		if (slice_eq(line, end)) {
			*body = slice_first(from, (size_t)(line.p - from.p));
			return true;
		}
	}
	return false;
}

static int find_name(struct slice name)
{
	if (!slice_ends(name, "_template"))
		return TEMPLATES;
	name = slice_first(name, name.len - strlen("_template"));
	for (int i = 0; i < TEMPLATES; i++)
		if (slice_eq_str(name, built_in[i].name))
			return i;
	return TEMPLATES;
}

/* "NAME = <<WORD" or "NAME = text". */
static void take_template(struct parser *p, struct templates *all, struct slice line)
{
	unsigned first = p->line;
	ptrdiff_t equals = slice_find(line, '=');
	struct slice name = slice_trim(slice_first(line, equals < 0 ? 0 : (size_t)equals)),
		     value = slice_trim(slice_from(line, (size_t)(equals + 1))), body = value, end;
	unsigned column = (unsigned)(name.p - line.p) + 1;
	int kind = find_name(name);
	struct template t;

	if (equals < 0 || name.len == 0) {
		mistake(p, first, 1, "no name of a template; expected NAME_template = <<WORD");
		return;
	}
	end = slice_trim(slice_from(value, 2));
	if (slice_starts(value, "<<") && end.len == 0) {
		mistake(p, first, (unsigned)(value.p - line.p) + 1,
			"no word behind \"<<\"; expected the line that ends the template");
		return;
	}
	if (slice_starts(value, "<<") && !take_until(p, end, &body)) {
		mistake_in(p, first, (unsigned)(end.p - line.p) + 1, "no line ", end,
			" below; expected it at the end of the template");
		return;
	}
	if (kind == TEMPLATES) {
		mistake_in(p, first, column, "unknown template ", name,
			"; expected failure_template, delay_template, success_template or "
			"verify_template");
		return;
	}
	if (all->all[kind].first != 0)
		mistake_in(p, first, column, "", name, " is there before; expected one");
	t = template_of((enum template_kind)kind);
	t.first = first;
	if (!take_body(p, &t, body, slice_starts(value, "<<") ? first + 1 : first) ||
		all->all[kind].first != 0) {
		clear(&t);
		return;
	}
	clear(&all->all[kind]);
	all->all[kind] = t;
}

void templates_parse(struct templates *t, struct slice file, template_tell tell, void *arg)
{
	struct parser p = {.rest = file, .tell = tell, .arg = arg};
	struct slice line, text;

	while (next_line(&p, &line)) {
		text = slice_trim(line);
		if (slice_find(line, '\0') >= 0)
			mistake(&p, p.line, (unsigned)slice_find(line, '\0') + 1,
				"NUL byte; expected text");
		else if (text.len > 0 && text.p[0] != '#')
			take_template(&p, t, line);
	}
}

/* ---- $name. ---- */

static const struct {
	const char *suffix;
	int64_t unit; /* seconds */
} units[] = {
	{"_seconds", 1}, {"_minutes", 60}, {"_hours", 3600}, {"_days", 86400}, {"_weeks", 604800}};

static const char *const times[] = {"delay_warning_time", "maximal_queue_lifetime"};

struct expansion {
	const struct template *t;
	const struct conf *c;
	template_tell tell;
	void *arg;
	char number[24];
};

/* Where a byte of the text stands in the file. */
static void tell_at(
	struct expansion *x, enum template_grade grade, const char *byte, const char *text)
{
	unsigned line = x->t->line, column = 1;

	/* What stands in a value is that parameter's mistake, and we make none. */
	if (x->tell == NULL || line == 0 || byte < x->t->text ||
		byte > x->t->text + strlen(x->t->text))
		return;
	for (const char *at = x->t->text; at < byte; at++, column++)
		if (*at == '\n') {
			line++;
			column = 0;
		}
	x->tell(grade, line, column, text, x->arg);
}

static void tell_name(
	struct expansion *x, enum template_grade grade, struct slice name, const char *text)
{
	char *whole = mem_fmt("\"$%.*s\" %s", SLICE_FMT(slice_first(name, 100)), text);

	tell_at(x, grade, name.p, whole);
	mem_free(whole);
}

/* A time in the unit that the name ends in. */
static bool find_time(const struct conf *c, struct slice name, int64_t *seconds, int64_t *unit)
{
	for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++) {
		if (!slice_starts(name, times[i]))
			continue;
		*seconds = set_time(c, param_find(slice_str(times[i]))) / CLOCK_SEC;
		for (size_t k = 0; k < sizeof(units) / sizeof(*units); k++) {
			*unit = units[k].unit;
			if (slice_eq_str(slice_from(name, strlen(times[i])), units[k].suffix))
				return true;
		}
	}
	return false;
}

static const char *lookup_time(void *arg, struct slice name)
{
	struct expansion *x = arg;
	int64_t seconds, unit;

	if (!find_time(x->c, name, &seconds, &unit))
		return NULL;
	(void)snprintf(x->number, sizeof(x->number), "%lld", (long long)(seconds / unit));
	return x->number;
}

static void seen(void *arg, struct slice name)
{
	struct expansion *x = arg;
	int64_t seconds, unit;

	if (find_time(x->c, name, &seconds, &unit)) {
		if (seconds > 0 && seconds < unit)
			tell_name(x, TEMPLATE_WARNING, name, "is 0; expected a smaller unit");
	} else if (!set_is_name(x->c, name)) {
		tell_name(x, TEMPLATE_ERROR, name, "is not defined; expected a parameter");
	}
}

/* Syntax alone: the first line that is wrong by itself. */
static void tell_line(struct expansion *x, const char *why)
{
	struct slice rest = slice_str(x->t->text), line;
	struct buf out = BUF_INIT(TEMPLATE_TEXT_LIMIT);
	const char *byte = x->t->text;

	while (slice_part(&rest, '\n', &line)) {
		buf_reset(&out);
		if (set_expand(x->c, line, NULL, &out) != 0) {
			byte = line.p;
			break;
		}
	}
	tell_at(x, TEMPLATE_ERROR, byte, why);
	buf_clear(&out);
}

int template_expand(const struct template *t, const struct conf *c, template_tell tell, void *arg,
	struct buf *out)
{
	struct expansion x = {.t = t, .c = c, .tell = tell, .arg = arg};
	struct set_names more = {.lookup = lookup_time, .seen = seen, .arg = &x};
	struct buf text = BUF_INIT(TEMPLATE_TEXT_LIMIT), why = BUF_INIT(1024);
	int err = set_expand_names(c, &more, slice_str(t->text), &why, &text);

	if (err == 0)
		err = buf_add_slice(out, buf_slice(&text));
	else
		tell_line(&x, why.len > 0 ? buf_str(&why) : err_str(err));
	buf_clear(&text);
	buf_clear(&why);
	return err;
}

/* ---- Showing. ---- */

void template_print(const struct template *t, enum template_kind kind, struct buf *out)
{
	buf_add_fmt(out, "%s_template = <<EOF\nCharset: %s\nFrom: %s\nSubject: %s\n",
		template_name(kind), t->charset, t->from, t->subject);
	if (t->copy_subject != NULL)
		buf_add_fmt(out, "Postmaster-Subject: %s\n", t->copy_subject);
	buf_add_fmt(out, "\n%sEOF\n", t->text);
}

/* SPDX-License-Identifier: ISC */
#include <stdarg.h>
#include <stdio.h>

#include "policy/restrict.h"
#include "util/wire.h"

/* The longest text of a refusal is cut to what a reply and a line of the log have room for. */
enum { TEXT_LIMIT = 8192, NOTES_LIMIT = 262144, REPLY_TEXT = 2000 };

const char policy_client[] = "Client host", policy_reverse_client[] = "Unverified Client host",
	   policy_ccert[] = "Client certificate", policy_login[] = "SASL login name",
	   policy_helo[] = "Helo command", policy_sender[] = "Sender address",
	   policy_recipient[] = "Recipient address", policy_etrn[] = "Etrn command",
	   policy_data[] = "Data command", policy_end_of_data[] = "End-of-data";

void policy_verdict_init(struct policy_verdict *v)
{
	*v = (struct policy_verdict){.parameter = "", .restriction = ""};
	buf_init(&v->text, TEXT_LIMIT);
	buf_init(&v->deferral, TEXT_LIMIT);
	buf_init(&v->notes, NOTES_LIMIT);
}

void policy_verdict_clear(struct policy_verdict *v)
{
	buf_clear(&v->text);
	buf_clear(&v->deferral);
	buf_clear(&v->notes);
}

/* Notes. */

static const char *const words[] = {
	[POLICY_REJECT_WARNING] = "reject_warning",
	[POLICY_WARN] = "warn",
	[POLICY_INFO] = "info",
	[POLICY_PERMIT_LOG] = "permit",
	[POLICY_WARNING] = "warning",
	[POLICY_LOG] = "log",
	[POLICY_HOLD] = "hold",
	[POLICY_DISCARD] = "discard",
	[POLICY_FILTER] = "filter",
	[POLICY_REDIRECT] = "redirect",
	[POLICY_BCC] = "bcc",
	[POLICY_PREPEND] = "prepend",
};

const char *policy_note_word(enum policy_note_kind kind)
{
	return words[kind];
}

bool policy_note_next(const struct policy_verdict *v, size_t *at, struct policy_note *note)
{
	struct slice rest = slice_from(buf_slice(&v->notes), *at);
	struct reader in = reader_of(rest);

	if (rest.len == 0)
		return false;
	note->kind = (enum policy_note_kind)reader_u8(&in);
	note->text = reader_counted(&in, rest.len);
	note->value = reader_counted(&in, rest.len);
	*at += 1 + 4 + note->text.len + 4 + note->value.len;
	return true;
}

static void add_note(
	struct policy_eval *e, enum policy_note_kind kind, struct slice value, struct slice text)
{
	struct buf *notes = &e->verdict->notes;
	size_t before = notes->len;

	(void)buf_add_char(notes, (char)kind);
	wire_counted(notes, text);
	wire_counted(notes, value);
	/* All of it or nothing. */
	if (buf_failed(notes))
		buf_truncate(notes, before);
}

void policy_note(
	struct policy_eval *e, enum policy_note_kind kind, struct slice value, const char *fmt, ...)
{
	char text[TEXT_LIMIT];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof(text))
		n = (int)sizeof(text) - 1;
	add_note(e, kind, value, slice_of(text, n > 0 ? (size_t)n : 0));
}

/* Enhanced status codes. */

static bool take_number(struct slice *s, size_t max)
{
	size_t n = 0;

	while (n < s->len && n < max && s->p[n] >= '0' && s->p[n] <= '9')
		n++;
	*s = slice_from(*s, n);
	return n > 0;
}

/* "5.7.1": the length of one at the front, or 0 (RFC 3463, 2). */
static size_t status_len(struct slice text)
{
	struct slice s = text;

	if (s.len == 0 || (s.p[0] != '2' && s.p[0] != '4' && s.p[0] != '5'))
		return 0;
	s = slice_from(s, 1);
	if (!slice_starts(s, "."))
		return 0;
	s = slice_from(s, 1);
	if (!take_number(&s, 3) || !slice_starts(s, "."))
		return 0;
	s = slice_from(s, 1);
	if (!take_number(&s, 3) || (s.len > 0 && s.p[0] != ' ' && s.p[0] != '\t'))
		return 0;
	return text.len - s.len;
}

void policy_split_status(struct slice *text, const char *def, char out[16])
{
	size_t n = status_len(*text);

	if (n > 0) {
		memcpy(out, text->p, n);
		out[n] = '\0';
	} else {
		(void)snprintf(out, 16, "%s", def);
	}
	*text = slice_trim(slice_from(*text, n));
}

/*
 * Details of "X.1.Y" (addresses) as they fit senders and recipients: a table does not know for
 * which of them its entry will be used.
 */
static const struct {
	const char *detail, *sender, *recipient;
} details[] = {
	{"1", "1.7", "1.1"},
	{"2", "1.8", "1.2"},
	{"3", "1.7", "1.3"},
	{"4", "1.7", "1.4"},
	{"5", "1.0", "1.5"},
	{"6", "1.7", "1.6"},
	{"7", "1.7", "1.3"},
	{"8", "1.8", "1.2"},
};

const char *policy_status(const char *class, const char *status, char out[16])
{
	const char *fitting = NULL;

	(void)snprintf(out, 16, "%s", status);
	if (strncmp(status + 1, ".1.", 3) != 0)
		return out;
	if (class != policy_sender && class != policy_recipient) {
		(void)snprintf(out, 16, "%c.0.0", status[0]);
		return out;
	}
	for (size_t i = 0; i < sizeof(details) / sizeof(details[0]) && fitting == NULL; i++)
		if (strcmp(status + 4, details[i].detail) == 0)
			fitting = class == policy_sender ? details[i].sender : details[i].recipient;
	(void)snprintf(out, 16, "%c.%s", status[0], fitting != NULL ? fitting : "1.0");
	return out;
}

/* Refusals. */

static bool is_valid_code(int code)
{
	return code >= 400 && code <= 599;
}

static void set_refusal(struct policy_eval *e, int code, const char *status, struct slice text)
{
	struct policy_verdict *v = e->verdict;

	v->action = POLICY_REJECT;
	v->code = code;
	/* A code that the administrator has set as 4xx or 5xx decides the class of the status. */
	(void)snprintf(v->status, sizeof(v->status), "%c%s", '0' + code / 100, status + 1);
	buf_reset(&v->text);
	for (size_t i = 0; i < text.len && i < REPLY_TEXT; i++) {
		bool is_control = (unsigned char)text.p[i] < 32 || text.p[i] == 127;

		(void)buf_add_char(&v->text, is_control ? ' ' : text.p[i]);
	}
}

static enum restrict_result warn(
	struct policy_eval *e, int code, const char *status, struct slice text)
{
	policy_note(e, POLICY_REJECT_WARNING, SLICE_NONE, "%d %c%s %.*s", code, '0' + code / 100,
		status + 1, SLICE_FMT(text));
	return RESTRICT_DUNNO;
}

static enum restrict_result refuse(
	struct policy_eval *e, int code, const char *status, struct slice text, bool is_fault)
{
	bool is_soft = e->warn_depth > 0 && !is_fault;
	struct policy_deferral *d = e->if_reject;

	if (!is_valid_code(code)) {
		policy_note(e, POLICY_WARNING, SLICE_NONE,
			"SMTP reply code configuration error: %d %s %.*s", code, status,
			SLICE_FMT(text));
		code = 450;
		status = "4.7.1";
		text = SLICE_LIT("Service unavailable");
	}
	if (!is_soft && d->is_active && code / 100 == 5) {
		set_refusal(e, d->code, d->status, buf_slice(&d->text));
		return RESTRICT_REFUSED;
	}
	if (e->policy->soft_bounce && code / 100 == 5)
		code -= 100;
	if (is_soft)
		return warn(e, code, status, text);
	set_refusal(e, code, status, text);
	return RESTRICT_REFUSED;
}

/* The text of a refusal, in a buffer that lasts until the next one. */
static struct slice format(struct policy_eval *e, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));

static struct slice format(struct policy_eval *e, const char *fmt, va_list ap)
{
	struct buf *b = &e->policy->reason;
	char *at = NULL;

	buf_reset(b);
	if (buf_room(b, TEXT_LIMIT, &at) != 0)
		return SLICE_NONE;
	int n = vsnprintf(at, TEXT_LIMIT, fmt, ap);
	return slice_of(at, n < 0 ? 0 : n < TEXT_LIMIT ? (size_t)n : TEXT_LIMIT - 1);
}

enum restrict_result policy_reject(
	struct policy_eval *e, int code, const char *status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	struct slice text = format(e, fmt, ap);
	va_end(ap);
	return refuse(e, code, status, text, false);
}

enum restrict_result policy_reject_about(struct policy_eval *e, struct policy_about about, int code,
	const char *status, const char *text)
{
	char fitted[16];

	return policy_reject(e, code, policy_status(about.class, status, fitted),
		"<%.*s>: %s rejected: %s", SLICE_FMT(about.name), about.class, text);
}

static enum restrict_result fault(struct policy_eval *e, int code, const char *status,
	const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static enum restrict_result fault(
	struct policy_eval *e, int code, const char *status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	struct slice text = format(e, fmt, ap);
	va_end(ap);
	return refuse(e, code, status, text, true);
}

enum restrict_result policy_reject_server(struct policy_eval *e)
{
	return fault(e, 451, "4.3.5", "Server configuration error");
}

enum restrict_result policy_reject_table(struct policy_eval *e, struct policy_about about)
{
	return fault(e, 451, "4.3.5", "<%.*s>: %s rejected: Server configuration error",
		SLICE_FMT(about.name), about.class);
}

enum restrict_result policy_reject_lookup(struct policy_eval *e, struct slice name)
{
	return fault(e, 451, "4.3.0", "<%.*s>: Temporary lookup failure", SLICE_FMT(name));
}

/* Provisional decisions. */

static void keep(struct policy_deferral *d, int code, const char *status, struct slice text)
{
	if (d->is_active)
		return;
	d->is_active = true;
	d->code = code;
	(void)snprintf(d->status, sizeof(d->status), "%c%s", '0' + code / 100, status + 1);
	buf_reset(&d->text);
	(void)buf_add_slice(&d->text, slice_first(text, REPLY_TEXT));
}

enum restrict_result policy_defer_if_permit(
	struct policy_eval *e, int code, const char *status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	struct slice text = format(e, fmt, ap);
	va_end(ap);
	if (e->warn_depth > 0)
		return refuse(e, code, status, text, false);
	keep(e->if_permit, code, status, text);
	return RESTRICT_DUNNO;
}

enum restrict_result policy_defer_if_reject(
	struct policy_eval *e, int code, const char *status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	struct slice text = format(e, fmt, ap);
	va_end(ap);
	keep(e->if_reject, code, status, text);
	return RESTRICT_DUNNO;
}

/* Permissions. */

static bool is_logged(const char *list, struct slice action)
{
	struct slice rest = slice_str(list), word;

	while (slice_token(&rest, ", \t\r\n", &word))
		if (slice_case_eq(word, action) || slice_eq_str(word, "static:all"))
			return true;
	return false;
}

enum restrict_result policy_permit(
	struct policy_eval *e, struct slice action, struct policy_about about)
{
	const char *list = e->policy->permit_log;

	/* One that will be overruled is not told of. */
	if (*list != '\0' && !e->if_permit->is_active && is_logged(list, action))
		policy_note(e, POLICY_PERMIT_LOG, SLICE_NONE, "action=%.*s for %s=%.*s",
			SLICE_FMT(action), about.class, SLICE_FMT(about.name));
	return RESTRICT_OK;
}

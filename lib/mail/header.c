/* SPDX-License-Identifier: ISC */
#include "mail/header.h"

static const struct {
	const char *name;
	enum header_kind kind;
} known[] = {
	{"received", HEADER_RECEIVED},
	{"delivered-to", HEADER_DELIVERED_TO},
	{"message-id", HEADER_MESSAGE_ID},
	{"date", HEADER_DATE},
	{"from", HEADER_FROM},
	{"sender", HEADER_SENDER},
	{"reply-to", HEADER_REPLY_TO},
	{"to", HEADER_TO},
	{"cc", HEADER_CC},
	{"bcc", HEADER_BCC},
	{"resent-message-id", HEADER_RESENT_MESSAGE_ID},
	{"resent-date", HEADER_RESENT_DATE},
	{"resent-from", HEADER_RESENT_FROM},
	{"resent-sender", HEADER_RESENT_SENDER},
	{"resent-to", HEADER_RESENT_TO},
	{"resent-cc", HEADER_RESENT_CC},
	{"resent-bcc", HEADER_RESENT_BCC},
	{"return-path", HEADER_RETURN_PATH},
	{"subject", HEADER_SUBJECT},
	{"tls-required", HEADER_TLS_REQUIRED},
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

enum header_kind header_kind(struct slice name)
{
	/* The first letter keeps most names from being compared at all. */
	char first = name.len > 0 ? (char)(name.p[0] | 0x20) : '\0';

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].name[0] == first && slice_case_eq_str(name, known[i].name))
			return known[i].kind;
	return HEADER_OTHER;
}

size_t header_name_len(struct slice line)
{
	size_t len = 0, i = 0;

	while (len < line.len && line.p[len] > ' ' && line.p[len] < 127 && line.p[len] != ':')
		len++;
	for (i = len; i < line.len && is_blank(line.p[i]); i++)
		;
	return i < line.len && line.p[i] == ':' ? len : 0;
}

/* "From user@example.com Sat Nov 21 …", with any number of '>' before it. */
static bool is_mailbox_line(struct slice line)
{
	while (line.len > 0 && line.p[0] == '>')
		line = slice_from(line, 1);
	return slice_case_starts(line, "From ");
}

static bool is_empty_line(struct slice line)
{
	return line.p[0] == '\n' || (line.len > 1 && line.p[0] == '\r' && line.p[1] == '\n');
}

void header_scan_init(struct header_scan *s)
{
	*s = (struct header_scan){0};
}

size_t header_pending(const struct header_scan *s)
{
	return s->field;
}

void header_shift(struct header_scan *s, size_t n)
{
	s->field -= n;
	s->line -= n;
	s->seen -= n;
	s->end -= s->is_done ? n : 0;
	s->body -= s->is_done ? n : 0;
}

void header_cut(struct header_scan *s)
{
	s->line = s->seen = s->field;
	s->in_field = false;
}

/* The present field ends before the present line. */
static enum header_event give(struct header_scan *s, struct slice text, struct header_field *f)
{
	struct slice raw = slice_first(slice_from(text, s->field), s->line - s->field);
	size_t name = header_name_len(raw);

	*f = (struct header_field){
		.start = s->field, .len = raw.len, .name = slice_first(raw, name)};
	if (s->field == 0 && name == 0)
		f->kind = HEADER_MAILBOX_LINE;
	else {
		ptrdiff_t colon = slice_find(raw, ':');

		f->kind = header_kind(f->name);
		f->value = slice_from(raw, (size_t)colon + 1);
	}
	s->field = s->line;
	s->in_field = false;
	return HEADER_FIELD;
}

static enum header_event finish(struct header_scan *s, size_t blank)
{
	s->is_done = true;
	s->end = s->field = s->line;
	s->has_blank = blank > 0;
	s->body = s->seen = s->line = s->line + blank;
	return HEADER_END;
}

/* Looks for the end of the present line. False: there is none yet. */
static bool find_line(struct header_scan *s, struct slice text, bool is_last, size_t *end)
{
	const char *nl =
		text.len > s->seen ? memchr(text.p + s->seen, '\n', text.len - s->seen) : NULL;

	*end = nl != NULL ? (size_t)(nl - text.p) + 1 : text.len;
	s->seen = text.len;
	return nl != NULL || is_last;
}

enum header_event header_next(
	struct header_scan *s, struct slice text, bool is_last, struct header_field *f)
{
	while (!s->is_done) {
		size_t end = 0;
		struct slice line;

		if (s->line >= text.len) {
			if (!is_last)
				return HEADER_MORE;
			return s->in_field ? give(s, text, f) : finish(s, 0);
		}
		/* Whether the field goes on is told by the first byte of the next line. */
		if (s->in_field && !is_blank(text.p[s->line]))
			return give(s, text, f);
		if (!find_line(s, text, is_last, &end))
			return HEADER_MORE;
		line = slice_first(slice_from(text, s->line), end - s->line);
		if (!s->in_field) {
			if (is_empty_line(line))
				return finish(s, line.len);
			if (header_name_len(line) == 0 && !(s->line == 0 && is_mailbox_line(line)))
				return finish(s, 0);
			s->in_field = true;
		}
		s->line = s->seen = end;
	}
	return HEADER_END;
}

bool header_holds_addresses(enum header_kind kind, struct slice name)
{
	static const char *const others[] = {"apparently-to", "errors-to", "return-receipt-to",
		"disposition-notification-to", "resent-reply-to", "mail-followup-to"};

	switch (kind) {
	case HEADER_FROM:
	case HEADER_SENDER:
	case HEADER_REPLY_TO:
	case HEADER_TO:
	case HEADER_CC:
	case HEADER_BCC:
	case HEADER_RESENT_FROM:
	case HEADER_RESENT_SENDER:
	case HEADER_RESENT_TO:
	case HEADER_RESENT_CC:
	case HEADER_RESENT_BCC: return true;
	case HEADER_OTHER: break;
	default: return false;
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (slice_case_eq_str(name, others[i]))
			return true;
	return false;
}

/* SPDX-License-Identifier: ISC */
#include "util/err.h"

#include "smtp/command.h"

static const char *const names[SMTP_VERBS][2] = {
	[SMTP_HELO] = {"HELO", "helo"},
	[SMTP_EHLO] = {"EHLO", "ehlo"},
	[SMTP_XCLIENT] = {"XCLIENT", "xclient"},
	[SMTP_XFORWARD] = {"XFORWARD", "xforward"},
	[SMTP_STARTTLS] = {"STARTTLS", "starttls"},
	[SMTP_AUTH] = {"AUTH", "auth"},
	[SMTP_MAIL] = {"MAIL", "mail"},
	[SMTP_RCPT] = {"RCPT", "rcpt"},
	[SMTP_DATA] = {"DATA", "data"},
	[SMTP_BDAT] = {"BDAT", "bdat"},
	[SMTP_RSET] = {"RSET", "rset"},
	[SMTP_NOOP] = {"NOOP", "noop"},
	[SMTP_VRFY] = {"VRFY", "vrfy"},
	[SMTP_ETRN] = {"ETRN", "etrn"},
	[SMTP_QUIT] = {"QUIT", "quit"},
	[SMTP_HELP] = {"HELP", "help"},
	[SMTP_EXPN] = {"EXPN", "expn"},
	[SMTP_UNKNOWN] = {"UNKNOWN", "unknown"},
};

const char *smtp_verb_name(enum smtp_verb verb)
{
	return names[verb][0];
}

const char *smtp_verb_lower(enum smtp_verb verb)
{
	return names[verb][1];
}

void smtp_command_parse(struct slice line, struct smtp_command *c)
{
	*c = (struct smtp_command){.verb = SMTP_UNKNOWN};
	if (!slice_token(&line, " \t", &c->word))
		return;
	c->args = slice_trim(line);
	for (int verb = 0; verb < SMTP_UNKNOWN; verb++) {
		if (slice_case_eq_str(c->word, names[verb][0])) {
			c->verb = (enum smtp_verb)verb;
			return;
		}
	}
}

/* Bytes of a line that is too long: dropped, up to its end if that is there. */
static int skip_line(struct smtp_lines *l, ptrdiff_t lf, size_t len, size_t *used)
{
	*used = lf < 0 ? len : (size_t)lf + 1;
	l->skipped += *used;
	if (l->skipped > SMTP_SKIP_LIMIT)
		return ERR_RANGE;
	if (lf < 0)
		return ERR_AGAIN;
	l->skipped = 0;
	return ERR_LIMIT;
}

int smtp_line_next(struct smtp_lines *l, struct slice in, size_t limit, struct slice *line,
	bool *bare, size_t *used)
{
	ptrdiff_t lf = slice_find(in, '\n');

	*line = SLICE_NONE;
	*bare = false;
	*used = 0;
	if (l->skipped > 0)
		return skip_line(l, lf, in.len, used);
	if (lf < 0 && in.len <= limit)
		return ERR_AGAIN;
	size_t len = lf < 0 ? in.len : (size_t)lf;
	*bare = len == 0 || in.p[len - 1] != '\r';
	if (len > 0 && !*bare)
		len--;
	if (lf < 0 || len > limit)
		return skip_line(l, lf, in.len, used);
	*line = slice_first(in, len);
	*used = (size_t)lf + 1;
	return 0;
}

static int refuse(struct buf *reply, const char *text)
{
	buf_reset(reply);
	(void)buf_add_str(reply, text);
	return ERR_SYNTAX;
}

int smtp_bdat_parse(struct slice args, uint64_t *size, bool *last, struct buf *reply)
{
	struct slice count = SLICE_NONE, word = SLICE_NONE, more;

	*size = 0;
	*last = false;
	bool good = slice_token(&args, " \t", &count);
	if (slice_token(&args, " \t", &word)) {
		*last = slice_case_eq_str(word, "LAST");
		good = good && *last;
	}
	if (!good || slice_token(&args, " \t", &more) || slice_u64(count, 0, INT64_MAX, size) != 0)
		return refuse(reply, "521 5.5.4 Syntax: BDAT count [LAST]");
	return 0;
}

int smtp_helo_parse(enum smtp_verb verb, struct slice args, struct buf *name, struct buf *reply)
{
	struct slice rest = slice_first(args, 255);

	if (rest.len == 0)
		return refuse(reply, verb == SMTP_EHLO ? "501 Syntax: EHLO hostname"
						       : "501 Syntax: HELO hostname");
	buf_reset(name);
	/* What has a meaning in a log line or a header is taken out too. */
	for (size_t i = 0; i < rest.len; i++) {
		unsigned char c = (unsigned char)rest.p[i];
		bool odd = c < 32 || c > 126 || strchr(" <>()\\\";@", c) != NULL;
		(void)buf_add_char(name, odd ? '?' : (char)c);
	}
	return 0;
}

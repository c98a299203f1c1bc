/* SPDX-License-Identifier: ISC */
#include "smtpd/transcript.h"

#include "util/mem.h"

struct transcript {
	struct buf text;
	unsigned classes, lines;
	bool is_cut;
	const char *reason;
};

/* NULL: nobody wants one. */
static struct transcript *transcript_of(struct session *s)
{
	if (settings.tells == 0 || s->is_local)
		return NULL;
	if (s->transcript == NULL) {
		s->transcript = mem_alloc(sizeof(*s->transcript));
		buf_init(&s->transcript->text, TRANSCRIPT_LIMIT);
	}
	return s->transcript;
}

static void transcript_free(struct transcript **t)
{
	if (*t == NULL)
		return;
	buf_clear(&(*t)->text);
	mem_free(*t);
	*t = NULL;
}

static void add_line(struct transcript *t, const char *who, struct slice line)
{
	size_t before = t->text.len;

	while (line.len > 0 && strchr("\r\n", line.p[line.len - 1]) != NULL)
		line.len--;
	t->lines++;
	if (t->is_cut)
		return;
	(void)buf_add_str(&t->text, who);
	for (size_t i = 0; i < line.len; i++)
		(void)buf_add_char(&t->text,
			(unsigned char)line.p[i] < ' ' || line.p[i] == 127 ? '?' : line.p[i]);
	(void)buf_add_char(&t->text, '\n');
	t->is_cut = buf_failed(&t->text);
	if (t->is_cut)
		buf_truncate(&t->text, before);
}

static void send_it(struct session *s)
{
	struct transcript *t = s->transcript;

	if (t->classes & settings.tells)
		author_transcript(t->classes & settings.tells, slice_str(s->namaddr),
			buf_slice(&t->text), slice_str(t->reason));
}

void transcript_in(struct session *s, struct slice line, enum smtp_verb verb)
{
	struct transcript *t = transcript_of(s);
	bool begins =
		verb == SMTP_HELO || verb == SMTP_EHLO || verb == SMTP_MAIL || verb == SMTP_RSET;

	if (t != NULL && begins && t->lines > TRANSCRIPT_LINES) {
		send_it(s);
		transcript_free(&s->transcript);
		t = transcript_of(s);
	}
	if (t != NULL)
		add_line(t, " In:  ", line);
}

void transcript_out(struct session *s, struct slice reply)
{
	struct transcript *t = transcript_of(s);
	struct slice line;

	while (t != NULL && reply.len > 0 && slice_part(&reply, '\n', &line))
		add_line(t, " Out: ", line);
}

void transcript_class(struct session *s, unsigned classes)
{
	struct transcript *t = classes != 0 ? transcript_of(s) : NULL;

	if (t != NULL)
		t->classes |= classes;
}

void transcript_reason(struct transcript *t, const char *reason)
{
	if (t != NULL)
		t->reason = reason;
}

void transcript_end(struct session *s)
{
	if (s->transcript == NULL)
		return;
	if (s->namaddr != NULL)
		send_it(s);
	transcript_free(&s->transcript);
}

/* SPDX-License-Identifier: ISC */
#include "smtpd/transcript.h"

#include "mail/talk.h"

/* NULL: nobody wants one. */
static struct talk *talk_of(struct session *s)
{
	if (settings.tells == 0 || s->is_local)
		return NULL;
	if (s->talk == NULL)
		s->talk = talk_new();
	return s->talk;
}

static void send_it(struct session *s)
{
	const struct talk *t = s->talk;

	if (t->classes & settings.tells)
		author_transcript(t->classes & settings.tells, slice_str(s->namaddr),
			buf_slice(&t->text), slice_str(s->end_reason));
}

void transcript_in(struct session *s, struct slice line, enum smtp_verb verb)
{
	struct talk *t = talk_of(s);
	bool begins =
		verb == SMTP_HELO || verb == SMTP_EHLO || verb == SMTP_MAIL || verb == SMTP_RSET;

	if (t != NULL && begins && t->lines > TALK_LINES) {
		send_it(s);
		talk_free(&s->talk);
		t = talk_of(s);
	}
	if (t != NULL)
		talk_add(t, " In:  ", line);
}

void transcript_out(struct session *s, struct slice reply)
{
	struct talk *t = talk_of(s);

	if (t != NULL)
		talk_add_lines(t, " Out: ", reply);
}

void transcript_class(struct session *s, unsigned classes)
{
	struct talk *t = classes != 0 ? talk_of(s) : NULL;

	if (t != NULL)
		t->classes |= classes;
}

void transcript_end(struct session *s)
{
	if (s->talk != NULL && s->namaddr != NULL)
		send_it(s);
	talk_free(&s->talk);
}

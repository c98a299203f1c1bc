/* SPDX-License-Identifier: ISC */
#include "smtpd/inquiry.h"

#include "smtpd/session.h"
#include "util/mem.h"

struct inquiry {
	struct session *session;
	struct later later;
	enum session_state before;
	void (*again)(struct session *s, struct slice text);
	char *text; /* owned; NULL before it has to wait */
	size_t len;
};

void inquiry_free(struct inquiry **qp)
{
	struct inquiry *q = *qp;

	*qp = NULL;
	if (q == NULL)
		return;
	later_clear(&q->later);
	mem_wipe_free(q->text, q->len);
	mem_free(q);
}

void inquiry_cancel(struct session *s)
{
	inquiry_free(&s->inquiry);
}

struct inquiry *inquiry_take(struct session *s)
{
	struct inquiry *q = s->inquiry;

	s->inquiry = NULL;
	return q;
}

static void answered(void *arg)
{
	struct inquiry *q = arg;
	struct session *s = q->session;

	s->state = q->before;
	q->again(s, slice_of(q->text, q->len));
	if (s->state != CLOSED && s->state != WAITING && s->state != GREETING)
		loop_soon(&s->run);
}

struct later *inquiry_later(struct session *s)
{
	if (s->inquiry == NULL) {
		s->inquiry = mem_alloc(sizeof(*s->inquiry));
		s->inquiry->session = s;
		later_init(&s->inquiry->later, INQUIRY_QUESTIONS, answered, s->inquiry);
	}
	return &s->inquiry->later;
}

void inquiry_wait(
	struct session *s, struct slice text, void (*again)(struct session *s, struct slice text))
{
	struct inquiry *q = s->inquiry;

	/* Asked again, text is that of the first time. */
	if (q->text == NULL) {
		q->text = slice_dup(text);
		q->len = text.len;
	}
	q->again = again;
	q->before = s->state;
	if (s->state != GREETING)
		s->state = WAITING;
}

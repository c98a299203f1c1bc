/* SPDX-License-Identifier: ISC */
#include "smtpd/answer.h"

#include <stdio.h>
#include <string.h>

#include "smtpd/footer.h"
#include "smtpd/gate.h"
#include "smtpd/starttls.h"
#include "smtpd/transcript.h"
#include "util/log.h"
#include "util/mem.h"

enum { REPLY_LIMIT = 4096 };

static void soften(char *line, size_t len)
{
	if (line[0] != '5')
		return;
	line[0] = '4';
	if (len > 6 && line[4] == '5' && line[5] == '.')
		line[4] = '4';
}

/* soft_bounce. */
static void soften_lines(char *text, size_t len)
{
	for (char *end = text + len, *next; text < end; text = next) {
		next = memchr(text, '\n', (size_t)(end - text));
		next = next != NULL ? next + 1 : end;
		soften(text, (size_t)(next - text));
	}
}

static void write_reply(struct session *s, char *text, size_t len)
{
	if (settings.soft_bounce && !s->is_local)
		soften_lines(text, len);
	transcript_out(s, slice_of(text, len));
	if (!s->sleeping && s->errors >= s->bounds->soft_errors && s->bounds->error_sleep > 0) {
		s->sleeping = true;
		loop_timer_set(&s->sleep, loop_now() + s->bounds->error_sleep);
	}
	/* A client that reads no replies is cut off when they come to the limit. */
	int err = s->sleeping ? buf_add(&s->held, text, len) : stream_write(s->stream, text, len);
	if (err != 0)
		session_drop(s);
}

static void write_copy(struct session *s, struct slice reply)
{
	char *text = slice_dup(reply);

	write_reply(s, text, reply.len);
	mem_free(text);
}

void answer_awaited(struct session *s)
{
	struct buf out = BUF_INIT(FOOTER_REPLY_LIMIT);

	if (s->footer != NULL) {
		footer_take(s, &out);
		write_copy(s, buf_slice(&out));
	}
	buf_clear(&out);
}

void session_footer_ready(struct session *s, struct slice text)
{
	write_copy(s, text);
	if (s->state != CLOSED)
		loop_soon(&s->run);
}

static void reply_bytes(struct session *s, char *text, size_t len)
{
	struct buf out = BUF_INIT(FOOTER_REPLY_LIMIT);

	/* Between the last word in clear and the first one inside of TLS there is none. */
	if (starttls_is_awaited(s) || (s->has_begun_tls && s->tls == NULL))
		return;
	answer_awaited(s);
	if (s->state == CLOSED)
		return;
	if (!footer_is_wanted(s, slice_of(text, len)))
		write_reply(s, text, len);
	else if (footer_add(s, slice_of(text, len), &out) == 0)
		write_copy(s, buf_slice(&out));
	buf_clear(&out);
}

void session_reply_refusal(struct session *s, struct slice text)
{
	char line[REPLY_LIMIT];
	size_t len = text.len < sizeof(line) - 2 ? text.len : sizeof(line) - 2;

	memcpy(line, text.p, len);
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < 32 || line[i] == 127)
			line[i] = '?';
	memcpy(line + len, "\r\n", 2);
	if (log_is_debug())
		log_debug("> %s: %s", s->namaddr != NULL ? s->namaddr : "unknown",
			slice_starts(text, "334 ") ? "334 (not shown)"
						   : log_q(slice_of(line, len)));
	reply_bytes(s, line, len + 2);
}

/* What smtpd_ban_errors counts; 5xx alone would count what is refused for better reasons. */
static bool is_protocol_error(struct slice text)
{
	uint64_t code = 0;

	return slice_u64(slice_first(text, 3), 0, 999, &code) == 0 &&
	       ((code >= 500 && code <= 504) || code == 555);
}

void session_reply_text(struct session *s, struct slice text)
{
	transcript_class(s, mail_class_of_reply(text, false));
	session_reply_refusal(s, text);
	if (s->state != CLOSED && is_protocol_error(text))
		gate_error(s);
}

static void reply_va(struct session *s, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));

static void reply_va(struct session *s, const char *fmt, va_list ap)
{
	char text[REPLY_LIMIT];
	int n = vsnprintf(text, sizeof(text), fmt, ap);

	if (n >= (int)sizeof(text))
		n = (int)sizeof(text) - 1;
	session_reply_text(s, slice_of(text, n > 0 ? (size_t)n : 0));
}

void session_reply(struct session *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	reply_va(s, fmt, ap);
	va_end(ap);
}

void session_reply_lines(struct session *s, const char *lines, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	reply_va(s, fmt, ap);
	va_end(ap);
	char *copy = mem_str(lines);
	reply_bytes(s, copy, strlen(copy));
	mem_free(copy);
}

void session_end(struct session *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	reply_va(s, fmt, ap);
	va_end(ap);
	session_drop(s);
}

void answer_slept(void *arg)
{
	struct session *s = arg;

	s->sleeping = false;
	if (stream_write_slice(s->stream, buf_slice(&s->held)) != 0) {
		session_drop(s);
		return;
	}
	buf_clear(&s->held);
	loop_soon(&s->run);
}

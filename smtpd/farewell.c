/* SPDX-License-Identifier: ISC */
#include "smtpd/farewell.h"

#include <string.h>

#include "net/loop.h"
#include "util/log.h"
#include "util/mem.h"

enum { LINES_LIMIT = 16384 };

struct letter {
	TAILQ_ENTRY(letter) next;
	struct farewell *of;
	struct message *message; /* owned */
	struct buf first, lines;
	bool is_local;
};

struct farewell {
	TAILQ_ENTRY(farewell) next;
	TAILQ_HEAD(, letter) letters;
	struct buf lines; /* the session's */
	struct loop_timer due;
	bool is_over; /* the session is */
};

static TAILQ_HEAD(, farewell) all = TAILQ_HEAD_INITIALIZER(all);

void farewell_lines(struct buf *lines, const char *id)
{
	struct slice rest = buf_slice(lines), line;

	while (slice_token(&rest, "\n", &line)) {
		if (slice_starts(line, FAREWELL_WARNING))
			log_warning("%s: %.*s", id,
				SLICE_FMT(slice_from(line, strlen(FAREWELL_WARNING))));
		else
			log_info("%s: %.*s", id, SLICE_FMT(line));
	}
	buf_clear(lines);
}

void farewell_first(bool is_local, const char *id, const char *line)
{
	if (is_local)
		log_info_as("pickup", "%s: %s", id, line);
	else
		log_info("%s: %s", id, line);
}

/* The session's own lines. */
static void say_all(struct farewell *f)
{
	struct slice rest = buf_slice(&f->lines), line;

	while (slice_token(&rest, "\n", &line))
		log_info("%.*s", SLICE_FMT(line));
	buf_clear(&f->lines);
}

/* Where nothing waits any more. */
static void settle(struct farewell *f)
{
	if (!TAILQ_EMPTY(&f->letters))
		return;
	say_all(f);
	loop_timer_set(&f->due, CLOCK_NEVER);
	if (!f->is_over)
		return;
	TAILQ_REMOVE(&all, f, next);
	loop_timer_clear(&f->due);
	mem_free(f);
}

static void late(void *arg)
{
	say_all(arg);
}

/* ---- what cleanup says ---- */

static void letter_end(struct letter *l, const char *id)
{
	struct farewell *f = l->of;

	TAILQ_REMOVE(&f->letters, l, next);
	farewell_lines(&l->lines, id);
	message_free(&l->message);
	buf_clear(&l->first);
	mem_free(l);
	settle(f);
}

static void opened(void *arg)
{
	struct letter *l = arg;
	const char *id = message_queue_id(l->message);

	farewell_first(l->is_local, id, buf_str(&l->first));
	letter_end(l, id);
}

static void room(void *arg)
{
	(void)arg;
}

static void facts(struct message_facts *f, void *arg)
{
	(void)f;
	(void)arg;
}

static void over(void *arg)
{
	letter_end(arg, "NOQUEUE");
}

static void failed(int code, const char *status, struct slice text, void *arg)
{
	(void)code;
	(void)status;
	(void)text;
	over(arg);
}

static const struct message_events events = {opened, room, facts, over, failed, over};

/* ---- */

static struct farewell *farewell_new(void)
{
	struct farewell *f = mem_alloc(sizeof(*f));

	TAILQ_INIT(&f->letters);
	buf_init(&f->lines, LINES_LIMIT);
	loop_timer_init(&f->due, late, f);
	TAILQ_INSERT_TAIL(&all, f, next);
	return f;
}

bool farewell_begin(struct farewell **fp, struct message *message, bool is_local, struct buf *first,
	struct buf *lines)
{
	struct letter *l = mem_alloc(sizeof(*l));

	if (!message_hand_over(message, &events, l)) {
		mem_free(l);
		return false;
	}
	if (*fp == NULL)
		*fp = farewell_new();
	l->of = *fp;
	l->message = message;
	l->is_local = is_local;
	l->first = *first;
	l->lines = *lines;
	TAILQ_INSERT_TAIL(&l->of->letters, l, next);
	return true;
}

void farewell_say(struct farewell *f, const char *line)
{
	if (f == NULL || TAILQ_EMPTY(&f->letters)) {
		log_info("%s", line);
		return;
	}
	if (f->lines.len == 0)
		loop_timer_set(&f->due, loop_now() + FAREWELL_MSEC * CLOCK_MSEC);
	(void)buf_add_str(&f->lines, line);
	(void)buf_add_char(&f->lines, '\n');
}

void farewell_end(struct farewell **fp)
{
	struct farewell *f = *fp;

	*fp = NULL;
	if (f == NULL)
		return;
	f->is_over = true;
	settle(f);
}

void farewell_end_all(void)
{
	struct farewell *f, *next_one;
	struct letter *l, *next_letter;

	TAILQ_FOREACH_SAFE(f, &all, next, next_one)
	{
		TAILQ_FOREACH_SAFE(l, &f->letters, next, next_letter)
		farewell_lines(&l->lines, "NOQUEUE");
		say_all(f);
	}
}

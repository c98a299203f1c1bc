/* SPDX-License-Identifier: ISC */
#ifndef MAIL_TALK_H
#define MAIL_TALK_H

#include "util/buf.h"

/*
 * What was said in an SMTP session, for a transcript to the postmaster: lines, each behind the word
 * for who said it, control characters as '?'. At TALK_LIMIT bytes the rest is left out.
 */
enum { TALK_LIMIT = 32768, TALK_LINES = 100 /* at which a session's begin may be sent */ };

struct talk {
	struct buf text;         /* lines that end in LF */
	unsigned lines, classes; /* enum mail_class: what has gone wrong */
	bool is_cut;
};

struct talk *talk_new(void);
void talk_free(struct talk **t);
/* One line, with or without its end. */
void talk_add(struct talk *t, const char *who, struct slice line);
/* Each line of several. */
void talk_add_lines(struct talk *t, const char *who, struct slice lines);

#endif

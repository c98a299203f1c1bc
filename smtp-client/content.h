/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_CONTENT_H
#define CLIENT_CONTENT_H

#include "net/stream.h"
#include "queue/file.h"
#include "smtp-client/session.h"
#include "smtp/dot.h"

/*
 * A job's content on its way to the server: what came in frames, then the body file, each of its
 * 64 KB verified before a byte of it goes out. Lines are looked at only when that is needed: when
 * one begins with a dot (the envelope says so) or may be over smtp_line_length_limit, when tables
 * may change it, and when it has to become 7 bit (convert.h).
 */
struct convert;

struct content {
	const struct job *job; /* borrowed */
	bool dots;             /* it goes out by DATA; else by BDAT, which has its length */
	bool encode, at_end;
	struct dot_encoder encoder;
	struct slice rest;  /* as it was kept */
	struct slice ready; /* as it goes out, before dots */
	char last[2];       /* the last bytes, to know whether the content ends with a line end */
	struct convert *convert; /* owned; NULL: nothing is changed */
	struct queue_body_reader body;
};

/* Whether it must become 7 bit for this server: the length is then not what the envelope says. */
bool content_is_converted(const struct session *s);

/* wake(arg): content_write or content_fill, which waited for a table, may go on. */
void content_init(
	struct content *c, const struct session *s, bool dots, void (*wake)(void *arg), void *arg);
void content_clear(struct content *c);
/*
 * Writes until the stream holds about limit bytes. 0: more is left, call again when it is drained;
 * ERR_CLOSED: all of it is written; ERR_LATER: wake is called. Else the final dot must not be sent:
 * ERR_TEMP: a table failed; ERR_DENIED: it cannot become 7 bit, see content_why; anything else: the
 * body is damaged or cannot be read.
 */
int content_write(struct content *c, struct stream *s, size_t limit);
/* The same into a buffer, until it holds about limit bytes; its own limit is above that. */
int content_fill(struct content *c, struct buf *out, size_t limit);
const char *content_why(const struct content *c, const char **status);
/* The final dot, if there is one, with a line end before it where the content lacks one. */
struct slice content_end(const struct content *c);
/* All of it is in memory and below limit: it can be written together with the final dot. */
bool content_is_small(const struct content *c, size_t limit);

#endif

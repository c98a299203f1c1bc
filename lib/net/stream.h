/* SPDX-License-Identifier: ISC */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include "net/loop.h"

/*
 * A buffered, non-blocking byte stream over a socket, with one absolute deadline and a place for a
 * filter (TLS).
 *
 * Input: on_input is called when bytes have come; stream_input shows all unread bytes (borrowed
 * until the callback returns or stream_consume is called); what is not consumed is kept, at most
 * in_limit bytes, and shown again together with more. At in_limit reading stops by itself until
 * something is consumed. An idle stream holds no buffer. Output: stream_write gathers; one write(2)
 * at the end of the loop's iteration, or stream_flush. on_drained tells that all of it is with the
 * kernel after it once was not. End: on_end is called once, with ERR_CLOSED (end of file), ERR_SYS
 * (errno), ERR_TIMEOUT (the deadline; the stream is still usable: say 421, set a new deadline) or
 * ERR_CORRUPT (filter). ERR_CLOSED comes behind the last input; the stream can still be written
 * to, for a peer that has closed its half alone, and ERR_SYS may follow. The owner frees the
 * stream, in a callback too.
 */
struct stream;

struct stream_events {
	void (*on_input)(struct stream *s, void *arg);
	void (*on_drained)(struct stream *s, void *arg); /* may be NULL */
	void (*on_end)(struct stream *s, int err, void *arg);
};

/*
 * A filter stands between socket and buffers. read and write behave as on a non-blocking socket:
 * bytes done, or ERR_AGAIN with *want set to LOOP_READ or LOOP_WRITE (what the socket must be ready
 * for) or 0 (it waits for something else and says stream_retry then), ERR_CLOSED, ERR_SYS,
 * ERR_CORRUPT. pending: bytes that read would give without the socket.
 */
struct stream_filter {
	int (*read)(void *filter, int fd, void *p, size_t len, size_t *done, int *want);
	int (*write)(void *filter, int fd, const void *p, size_t len, size_t *done, int *want);
	bool (*pending)(void *filter);
	void (*shutdown)(void *filter, int fd); /* best effort, at stream_free */
	void (*free)(void *filter);
};

/* Takes fd over (made non-blocking). Limits in bytes; out_limit bounds what stream_write gathers.
 */
struct stream *stream_new(int fd, const struct stream_events *events, void *arg, size_t in_limit,
	size_t out_limit);           /* owned */
void stream_free(struct stream **s); /* closes; unsent output is lost: see stream_finish */
/* Sends what is gathered (until the deadline, at most 5 s), then frees. No more callbacks. */
void stream_finish(struct stream **s);
int stream_fd(const struct stream *s);
void stream_set_arg(struct stream *s, const struct stream_events *events, void *arg);

/* What passes through its buffers may be secret: they overwrite what they leave. */
void stream_set_secret(struct stream *s);

/* Reading starts with the first call; off: bytes stay with the kernel (back-pressure). */
void stream_read(struct stream *s, bool on);
/* At most so many bytes at a time, for who must leave with the kernel what is another's; 0: any. */
void stream_read_most(struct stream *s, size_t most);
struct slice stream_input(const struct stream *s);
void stream_consume(struct stream *s, size_t n);
/* The same for a secret: its bytes are overwritten. */
void stream_wipe(struct stream *s, size_t n);
/* Calls on_input soon if there are unread bytes: after a pause in the owner's own state. */
void stream_again(struct stream *s);
/*
 * Nothing has come that was not read, nor the end: the kernel is asked. For who is about to speak
 * on a connection that was idle, and must not take what was said before for the answer.
 */
bool stream_is_quiet(const struct stream *s);
/* Drops unread bytes, for STARTTLS (RFC 3207, 4.2); how many there were. */
size_t stream_discard(struct stream *s);

int stream_write(struct stream *s, const void *p, size_t len); /* ERR_LIMIT: nothing was added */
int stream_write_slice(struct stream *s, struct slice b);
/* At most 2,047 bytes: else ERR_LIMIT. */
int stream_printf(struct stream *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void stream_flush(struct stream *s);
size_t stream_unsent(const struct stream *s);

void stream_deadline(struct stream *s, int64_t due); /* CLOCK_NEVER: none */
/* Puts a filter (owned) in; input read before must have been consumed or discarded. */
void stream_filter(struct stream *s, const struct stream_filter *ops, void *filter);
/* For a filter: its read, and its write when something waits for it, are called again soon. */
void stream_retry(struct stream *s);
/* What stream_set_arg was given last; a filter stands in for the owner during its handshake. */
const struct stream_events *stream_owner(const struct stream *s, void **arg);

#endif

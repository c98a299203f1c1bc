/* SPDX-License-Identifier: ISC */
#ifndef TOOLS_GATEQ_H
#define TOOLS_GATEQ_H

#include "util/buf.h"
#include "util/clock.h"

/*
 * gateq: the queue, for people. One set of operations, carried out by qmgr when it is there
 * (gateq_ask.c), else, for root, on the queue itself under its lock (gateq_direct.c). gateq.c
 * and gateq_postfix.c are two command lines for the same operations.
 */
struct gateq_rcpt {
	const char *address, *orig_to, *transport, *nexthop, *site; /* never NULL */
	const char *status, *host, *reason;                         /* of the last attempt */
	uint64_t attempts;
	int64_t last, next; /* attempt: microseconds since 1970; 0: not known */
	char *text;         /* owned: all of these texts */
};
/* The same, as it comes. */
struct gateq_rcpt_parts {
	struct slice address, orig_to, transport, nexthop, site, status, host, reason;
	uint64_t attempts;
	int64_t last, next;
};

struct gateq_message {
	char id[32];
	char queue[16];        /* active, deferred, hold, corrupt */
	int64_t arrival, next; /* microseconds since 1970; next 0: not known */
	uint64_t size;
	bool is_forced; /* to expire */
	char *sender;   /* owned */
	struct gateq_rcpt *rcpts;
	size_t count;
};
void gateq_message_clear(struct gateq_message *m);
void gateq_message_add(struct gateq_message *m, const struct gateq_rcpt_parts *parts);

/* What an operation on one message came to. */
typedef void gateq_done(const char *id, int result, const char *why, void *arg);

struct gateq_backend {
	/* Calls each message of the queue; it is the callee's to read, not to keep. */
	int (*list)(
		bool with_rcpts, void (*each)(const struct gateq_message *m, void *arg), void *arg);
	/*
	 * "hold", "release", "requeue", "delete", "expire", "flush" on each id; done is called for
	 * each: 0, ERR_NOT_FOUND, or an error with its reason. ERR_CLOSED, ERR_AGAIN (said).
	 */
	int (*act)(const char *what, char *const *ids, size_t n, gateq_done *done, void *arg);
	/* All, or what waits for a site (not NULL): so many messages. */
	int (*flush)(const char *site, uint64_t *count);
	/*
	 * "show" (lines "name: value"), "history" (what its file does not have) or "cat" (content
	 * as on the wire). ERR_NOT_FOUND.
	 */
	int (*see)(const char *what, const char *id, void (*text)(struct slice piece, void *arg),
		void *arg);
};

extern const char *gateq_program; /* for messages */

/*
 * Opens what is there. ERR_CLOSED: qmgr is down and this user may not touch the queue itself;
 * ERR_DENIED, ERR_SYS. Reads main.cf of dir first.
 */
int gateq_open(const char *dir, const struct gateq_backend **backend);
int gateq_ask_open(const struct gateq_backend **backend);
int gateq_direct_open(const struct gateq_backend **backend);
void gateq_direct_close(void); /* leaves the queue in good order; fine when it was not opened */

/* The history that stands in the message's own file; nothing when it has none. */
void gateq_file_history(const char *id, void (*text)(struct slice piece, void *arg), void *arg);

/* To standard error, behind the program's name. */
void gateq_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void gateq_fail(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Ids from standard input, one a line; appended. */
void gateq_read_ids(char ***ids, size_t *n);
void gateq_add_id(char ***ids, size_t *n, const char *id);

/* The report of mailq, and of postqueue -j. */
struct gateq_report {
	uint64_t bytes;
	size_t messages;
};
void gateq_print_mailq(struct gateq_report *r, const struct gateq_message *m);
void gateq_print_mailq_end(const struct gateq_report *r);
/* as_postfix: the members of postqueue -j alone. */
void gateq_print_json(const struct gateq_message *m, bool as_postfix);

/* gateq_qshape.c; the exit status. */
int gateq_qshape(const char *dir, int argc, char **argv);
const char *gateq_qshape_usage(void);

/* postqueue, postsuper, postcat, qshape, mailq by name; -1: none of these. */
int gateq_postfix(const char *program, int argc, char **argv);

#endif

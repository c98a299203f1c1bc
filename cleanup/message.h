/* SPDX-License-Identifier: ISC */
#ifndef CLEANUP_MESSAGE_H
#define CLEANUP_MESSAGE_H

#include <sys/queue.h>

#include "cleanup/action.h"
#include "cleanup/content.h"
#include "cleanup/recipients.h"
#include "queue/envelope.h"
#include "queue/id.h"

/*
 * A message from its begin to its end. Phases:
 *
 *   MESSAGE_OPEN     recipients and content come; any of it may fail
 *   MESSAGE_ENDED    content is complete
 *   MESSAGE_ROUTING  committed: aliases and routes are looked up (recipients.c)
 *   MESSAGE_READY    waits for the journal at the end of this iteration (commit.c)
 *   MESSAGE_WRITTEN  in the journal, not durable; only the journal decides now
 *
 * It ends by one of calls->done and calls->failed, after which it is freed, or by message_discard
 * without a call (not when WRITTEN: then the owner is forgotten).
 */
enum message_phase {
	MESSAGE_OPEN,
	MESSAGE_ENDED,
	MESSAGE_ROUTING,
	MESSAGE_READY,
	MESSAGE_WRITTEN,
};

struct message;

struct message_failure {
	int code;           /* SMTP reply code */
	const char *status; /* enhanced status code */
	const char *text;
};

struct message_calls {
	void (*done)(struct message *m);
	void (*failed)(struct message *m, const struct message_failure *why);
};

struct message_rcpt {
	struct slice address, orig_to, orcpt; /* in bytes */
	struct slice given;                   /* address before it was completed */
	uint8_t notify;
	bool is_dropped;
	bool is_expanded; /* it stands for others, which are told of by it */
	bool is_bad;      /* no address: it goes back to the sender */
	char bytes[];
};

struct message {
	TAILQ_ENTRY(message) next;  /* of all that hold content in memory */
	TAILQ_ENTRY(message) batch; /* of those that wait for the journal */
	const struct message_calls *calls;
	void *owner; /* NULL: nobody waits any more */
	enum message_phase phase;
	char id[QUEUE_ID_MAX + 1];
	struct queue_envelope env; /* strings borrowed from strings */
	char *strings;             /* owned */
	struct buf sender;         /* env.sender, when it had to be completed */
	struct buf parents;        /* env.parent_rcpts */
	struct message_rcpt **rcpts;
	size_t rcpt_n, rcpt_cap;
	struct content content;
	struct recipients recipients;
	struct actions actions;
	bool returns; /* its author has gone: what is refused for good goes back to the sender */
	struct buf trace;  /* lines of Received: that the client's session gave */
	struct buf top;    /* headers above the content's own */
	struct buf bottom; /* and behind them */
};

/* 0 and a new message with its queue id; ERR_SYS, ERR_FULL: no id could be had. */
int message_new(const struct message_calls *calls, void *owner, struct message **m);
/* Frees it at once; a WRITTEN one lives on without owner. */
void message_discard(struct message **m);
/* It is durable, or failed: tells the owner, frees. */
void message_done(struct message *m);
void message_fail(struct message *m, const struct message_failure *why);

/* Addresses are completed by append_at_myorigin and its kin. The sender's is borrowed otherwise. */
void message_set_sender(struct message *m, struct slice sender);
/* orcpt: internal form "rfc822;address". ERR_LIMIT. */
int message_add_rcpt(struct message *m, struct slice address, struct slice orig_to,
	struct slice orcpt, unsigned notify);
/*
 * What was called address stands for more than one recipient, which are like the one at that place.
 * When success is to be told of, it is told of this, and not of the success of each: the NOTIFY
 * that they get (RFC 3461, 5.2.7.3).
 */
uint8_t message_expanded(
	struct message *m, size_t place, struct slice address, struct slice orig_to);

/* Everything is said: looks up recipients, then gives it to the journal. It may have ended behind
 * the call. */
void message_commit(struct message *m);

/* Failures that more than one module has. */
extern const struct message_failure message_no_space, message_write_error, message_no_resources;

#endif

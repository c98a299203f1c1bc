/* SPDX-License-Identifier: ISC */
#ifndef LOCAL_DELIVERY_H
#define LOCAL_DELIVERY_H

#include "map/map.h"
#include "server/job.h"

/*
 * The three processes of local and virtual:
 *
 *   front    what master started. Without rights after its start: qmgr's jobs, aliases, new
 * messages to cleanup, the log. It asks for deliveries, recipient by recipient. spawner  root, the
 * front's child. It sees a request (an address, a queue id, descriptors), never a message, and
 * forks. child    begins as root: who the recipient is, it takes from tables and NSS, never from
 * the request. It becomes that user, then reads the message and delivers it.
 *
 * The child answers the front with one struct outcome through a pipe. When the front ends the
 * spawner does too, and its children are killed.
 */
struct outcome {
	uint32_t result; /* enum proto_result; RESULT_UNTRIED: the queue's file is damaged */
	char status[16];
	char text[480];
};

void outcome_set(struct outcome *o, enum proto_result result, const char *status, const char *fmt,
	...) __attribute__((format(printf, 4, 5)));

/* What is to be done with a recipient. */
enum plan_kind {
	PLAN_ANSWER,  /* nothing to be done: the outcome stands in the plan */
	PLAN_DELIVER, /* ask the spawner */
	PLAN_FORWARD, /* a new message to other addresses */
	PLAN_REROUTE, /* another transport's */
};

enum { PLAN_ADDRESSES_MAX = 1000 };

struct plan {
	enum plan_kind kind;
	struct outcome outcome;
	char *user;       /* owned; local part without extension, folded */
	char **addresses; /* owned; PLAN_FORWARD: internal form */
	size_t count;
	bool has_itself;           /* the alias names itself: its second pass is for the mailbox */
	char *transport, *nexthop; /* owned; PLAN_REROUTE */
};

/* plan_local.c or plan_virtual.c: the program. Opens the front's tables; why as for map_open. */
int plan_open(struct buf *why);
/* 0, or ERR_LATER: to be called again. The plan is made anew each time. */
int plan_make(const struct job_rcpt *r, struct later *l, struct plan *p);
/* The recipient is unknown (5.1.1): true when the mail goes to somebody else (luser_relay). */
bool plan_unknown(const struct job_rcpt *r, struct plan *p);
void plan_clear(struct plan *p);
void plan_answer(struct plan *p, enum proto_result result, const char *status, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif

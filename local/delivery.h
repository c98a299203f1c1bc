/* SPDX-License-Identifier: ISC */
#ifndef LOCAL_DELIVERY_H
#define LOCAL_DELIVERY_H

#include "map/map.h"
#include "server/job.h"

/*
 * What the parent and its children share. The parent (root) decides from its own tables what is to
 * be done with a recipient: a plan. A child carries it out as the user whom the plan names; it is
 * the only one that looks into the message. It answers by one struct outcome through a pipe.
 */
enum plan_kind {
	PLAN_ANSWER,  /* nothing to be done: the outcome stands in the plan */
	PLAN_USER,    /* the mailbox of a system user, found by NSS in the child */
	PLAN_BOX,     /* a mailbox with the user and group that tables give */
	PLAN_FORWARD, /* a new message to other addresses, once a child has looked for a loop */
	PLAN_REROUTE, /* another transport's */
};

struct outcome {
	uint32_t result; /* enum proto_result; RESULT_UNTRIED: the queue's file is damaged */
	uint32_t loops;  /* PLAN_FORWARD: how many Delivered-To: fields name the recipient */
	char status[16];
	char text[480];
};

enum { PLAN_ADDRESSES_MAX = 1000 };

struct plan {
	enum plan_kind kind;
	struct outcome outcome;
	char *user; /* owned; PLAN_USER, and PLAN_FORWARD to itself */
	uid_t uid;  /* PLAN_BOX */
	gid_t gid;
	char *path;       /* owned; PLAN_BOX: absolute, a Maildir when it ends in '/' */
	char **addresses; /* owned; PLAN_FORWARD: internal form */
	size_t count;
	bool has_itself;           /* the alias names itself: its second pass is for the mailbox */
	char *transport, *nexthop; /* owned; PLAN_REROUTE */
};

/* plan_local.c or plan_virtual.c: the program. Opens its tables; why as for map_open. */
int plan_open(struct buf *why);
/* 0, or ERR_LATER: to be called again. The plan is made anew each time. */
int plan_make(const struct job_rcpt *r, struct later *l, struct plan *p);
void plan_clear(struct plan *p);
void plan_answer(struct plan *p, enum proto_result result, const char *status, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

void outcome_set(struct outcome *o, enum proto_result result, const char *status, const char *fmt,
	...) __attribute__((format(printf, 4, 5)));

#endif

/* SPDX-License-Identifier: ISC */
#ifndef CLEANUP_NOTICE_PRIVATE_H
#define CLEANUP_NOTICE_PRIVATE_H

#include <sys/queue.h>

#include "cleanup/message.h"
#include "cleanup/notice.h"
#include "mail/dsn.h"

/*
 * Inside of the notices. Modules: notice.c (requests, who is told), notice_make.c (what it says).
 */
enum {
	PARTS_LIMIT = 16 << 20, /* of the texts about all recipients */
	CONTENT_LIMIT = 16 << 20,
	MESSAGE_ID_LIMIT = 900,
	GRANT = IPC_CREDIT / 2,
	FLAG_COMPLETE = 1
};

/* One request. */
struct notice {
	TAILQ_ENTRY(notice) next;
	struct server_peer *peer;
	uint64_t id;
	struct message *message; /* NULL: not made yet; requeue: from the beginning */
	enum dsn_kind kind;
	struct queue_envelope parent; /* borrowed from strings */
	char *strings;                /* owned */
	char parent_id[QUEUE_ID_MAX + 1];
	uint64_t reason;
	int64_t deadline;
	struct buf text, status, content; /* the parts of the report */
	struct buf told;                  /* indices of all that was asked for */
	struct buf to, sender;            /* of the notice */
	struct buf about;                 /* a recipient, as it was first called */
	uint32_t told_n, told_about;      /* of these, in the report */
	uint64_t ungranted;
	bool is_8bit, is_redacted;
};

/* A new message from the sender of n to one recipient, with the report as its content. */
const struct message_failure *notice_make(
	struct notice *n, struct message *m, bool is_copy, bool is_complete, struct slice to);
/* Its Message-ID alone (requiretls_redact_dsn). */
void notice_redact(struct notice *n);

#endif

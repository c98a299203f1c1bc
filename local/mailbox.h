/* SPDX-License-Identifier: ISC */
#ifndef LOCAL_MAILBOX_H
#define LOCAL_MAILBOX_H

#include "local/delivery.h"

/*
 * Delivery into a mailbox, as its user (a child, rights dropped). Both are durable when they say
 * RESULT_OK: file and name are synced.
 */
struct mailbox {
	const char *path;  /* a Maildir when it ends in '/' */
	const char *user;  /* for the log */
	const char *locks; /* mbox: mailbox_delivery_lock */
	uint64_t limit;    /* bytes: of the mbox, of one file of a Maildir; 0 none */
	bool must_own;     /* strict_mailbox_ownership */
	bool has_delivered_to;
};

/*
 * mbox: locked, appended, synced; on an error cut back to where it was. Not followed: symbolic
 * links, files with more than one link, what is no plain file.
 */
void mailbox_deliver_mbox(
	const struct job *j, const struct job_rcpt *r, const struct mailbox *m, struct outcome *o);
/*
 * Maildir: written to tmp/, synced, moved to new/, which is synced. The name is made of arrival
 * time, queue id and recipient index: a second delivery of the same finds the first one, and is
 * done when size and content are the same.
 */
void mailbox_deliver_maildir(
	const struct job *j, const struct job_rcpt *r, const struct mailbox *m, struct outcome *o);

/* Says in o what errno means for a delivery; what is in front of its text. */
void mailbox_failed(struct outcome *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif

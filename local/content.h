/* SPDX-License-Identifier: ISC */
#ifndef LOCAL_CONTENT_H
#define LOCAL_CONTENT_H

#include "local/delivery.h"

/*
 * The message in a child: header fields looked at, content written to a mailbox with line ends of
 * this system. Runs as the recipient.
 */

/* How many Delivered-To: fields of the header section name the recipient. */
unsigned content_count_delivered(const struct job *j, const char *recipient);

struct content_style {
	bool is_mbox;          /* From_ line, quoted "From ", blank line behind */
	bool has_delivered_to; /* Delivered-To: and X-Original-To: */
};

/*
 * Writes the message to fd from where it stands. 0, ERR_SYS, ERR_CORRUPT (the body does not have
 * its checksums). *size is what was written.
 */
int content_write(const struct job *j, const struct job_rcpt *r, const struct content_style *style,
	int fd, uint64_t *size);

#endif

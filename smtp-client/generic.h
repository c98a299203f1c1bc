/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_GENERIC_H
#define CLIENT_GENERIC_H

#include "mail/header.h"
#include "server/job.h"
#include "util/later.h"

/*
 * smtp_generic_maps and lmtp_generic_maps: addresses of the envelope and of the message's own
 * header fields as the next hop gets them (generic(5) of Postfix). Looked up once, the result is
 * not looked up again. What is no address in a table is left out, with a warning.
 */
void generic_init(void);
bool generic_is_on(void);

/*
 * The envelope of one job on the wire; what is not changed has no entry. Owned, NULL when nothing
 * is.
 */
struct generic_envelope;

/* Of the job's open recipients and its sender. ERR_TEMP, ERR_LATER (l). */
int generic_envelope(const struct job *j, struct later *l, struct generic_envelope **e);
void generic_envelope_free(struct generic_envelope **e);
/* e may be NULL. */
struct slice generic_sender(const struct generic_envelope *e, const struct job *j);
struct slice generic_rcpt(
	const struct generic_envelope *e, const struct job *j, const struct job_rcpt *r);

/*
 * A whole field with its line ends. 1: out has it with other addresses; 0: it stays; ERR_TEMP,
 * ERR_LATER; ERR_LIMIT: the result is too long, and it stays.
 */
int generic_field(struct slice field, struct later *l, struct buf *out);

#endif

/* SPDX-License-Identifier: ISC */
#ifndef CLEANUP_RECIPIENTS_H
#define CLEANUP_RECIPIENTS_H

#include "route/route.h"
#include "util/dict.h"

/*
 * What a message's recipients become: each is expanded by virtual_alias_maps, what comes twice is
 * left out (duplicate_filter_limit), each of the rest gets its route. Tables may answer later:
 * the place is kept and resume is called when they have.
 */
struct message;
struct message_failure;

struct recipients {
	struct later later;
	void (*resume)(struct message *m);
	size_t at;           /* recipient that is being worked on */
	struct buf expanded; /* its addresses, each behind a u32 length */
	size_t offset;       /* of the next one that has no route yet */
	struct dict *seen;
	struct route_result route;
	struct buf encoded;    /* queue_recipient_encode of each */
	struct buf text;       /* of a failure */
	uint32_t n, too_large; /* of them, those elsewhere that the message is too large for */
	bool is_traced, is_expanded;
};

void recipients_init(struct message *m);
void recipients_clear(struct message *m);
void recipients_start(struct message *m, void (*resume)(struct message *m));
/* 0: all are in encoded; ERR_LATER; ERR_TEMP: the message fails, why says how.
 * outgoing_message_size_limit: a message too large for recipients elsewhere is returned to its
 * sender for them, or fails when there are no others. */
int recipients_run(struct message *m, struct message_failure *why);

#endif

/* SPDX-License-Identifier: ISC */
#ifndef CLEANUP_CONTENT_H
#define CLEANUP_CONTENT_H

#include "mail/header.h"
#include "queue/file.h"

/*
 * The content of one message on its way. Bytes are copied once, into text: the header section
 * without the fields that are dropped, then the body; a body over queue_journal_message_limit, or
 * the largest one at cleanup_buffer_limit, goes to a file of its own (queue/file.h) and text keeps
 * the header section.
 */
struct message;

struct content {
	struct buf text;
	struct header_scan scan;
	struct queue_body *body; /* NULL: all of it is in text */
	struct buf from;         /* addresses of From:, each behind a u32 length */
	uint64_t size;           /* bytes that came */
	uint64_t ungranted;      /* bytes taken since credit was given last */
	size_t header_len;       /* bytes of the fields in text, once they are complete */
	uint32_t received;       /* Received: fields */
	uint32_t from_fields;    /* From: fields */
	uint32_t seen;           /* set of 1 << enum header_kind */
	bool has_odd_from;       /* an address in one that is not in from */
	bool has_header, has_mailbox_line, has_blank, is_listed;
};

void content_begin(struct message *m);
void content_clear(struct message *m);

/* 0, or the failure that ends the message. */
struct message_failure;
const struct message_failure *content_add(struct message *m, struct slice bytes);
const struct message_failure *content_end(struct message *m);
/* Leaves those of its header fields that have come whole, and nothing of its body. */
void content_cut(struct message *m);
/*
 * Moves the body to a file, whatever its size. 0, ERR_FULL, ERR_SYS. Only in phases OPEN and ENDED.
 */
int content_spill(struct message *m);
/*
 * While cleanup_buffer_limit is exceeded: moves the largest body to a file, or refuses the message
 * that holds most. Ends messages, so nothing may be held over the call.
 */
void content_relieve(void);
/* Calls add for each address of From:. */
void content_walk_from(
	const struct message *m, void (*add)(struct slice address, void *arg), void *arg);
static inline bool content_has(const struct content *c, enum header_kind kind)
{
	return c->seen & (1u << kind);
}
/* Other fields in the place of the first header_len bytes. Only behind the end. ERR_LIMIT. */
int content_replace_header(struct message *m, struct slice fields);
/* Reads message_drop_headers. */
void content_open(void);

#endif

/* SPDX-License-Identifier: ISC */
#ifndef QUEUE_DROP_H
#define QUEUE_DROP_H

#include "queue/envelope.h"
#include "queue/id.h"

/*
 * A file of maildrop: mail of a local program while smtpd does not take it. sendmail gives the
 * bytes, a set-gid helper copies them without a look, cleanup believes nothing of them: who wrote
 * the file is its owner, when is its time.
 *
 *   magic "GPM1", 0 (4 bytes), length of the envelope (u32), length of the content (u64),
 *   envelope (queue/envelope.h: sender, recipients, RET, ENVID, BODY, flags), content with any
 *   line ends, CRC-32C of all before it (u32)
 *
 * Names: "drop.TOKEN", TOKEN being 24 hexadecimal digits of the helper's choice; "ID.TOKEN" when
 * cleanup has taken it: it becomes the message ID or none (Q19); "bad.TOKEN" was set aside. A file
 * is complete when its owner may execute it; its writer, and then who takes it, holds its lock.
 */
#define QUEUE_DROP_HEAD 20
#define QUEUE_DROP_TAIL 4
#define QUEUE_DROP_TOKEN 24
#define QUEUE_DROP_NAME (QUEUE_ID_MAX + 1 + QUEUE_DROP_TOKEN + 1)
#define QUEUE_DROP_ENVELOPE_MAX (4u << 20)
#define QUEUE_DROP_COMPLETE 0100 /* of its mode */
/* In public, below queue_directory: cleanup hears of new files; message_size_limit in digits. */
#define QUEUE_DROP_BELL "public/pickup"
#define QUEUE_DROP_LIMIT "public/maildrop_limit"

enum queue_drop_kind { QUEUE_DROP_NONE, QUEUE_DROP_NEW, QUEUE_DROP_TAKEN, QUEUE_DROP_BAD };

/* NONE: no name of ours. token and id (of a TAKEN one) are borrowed from name. */
enum queue_drop_kind queue_drop_parse_name(const char *name, struct slice *id, struct slice *token);
/* id NULL: as the helper makes it. */
void queue_drop_format_name(
	char name[QUEUE_DROP_NAME], const char *id, struct slice token, enum queue_drop_kind kind);

/* Appends head and envelope; env->id may be empty. Errors as queue_envelope_encode. */
int queue_drop_encode(struct buf *out, const struct queue_envelope *env, struct slice recipients,
	uint64_t content_len);
/*
 * The first QUEUE_DROP_HEAD bytes of a file of that size. ERR_SHORT, ERR_SYNTAX, ERR_RANGE (the
 * lengths are not those of the file).
 */
int queue_drop_decode(
	struct slice in, uint64_t file_size, uint32_t *envelope_len, uint64_t *content_len);

#endif

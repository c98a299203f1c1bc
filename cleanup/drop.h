/* SPDX-License-Identifier: ISC */
#ifndef CLEANUP_DROP_H
#define CLEANUP_DROP_H

#include <sys/queue.h>

#include "cleanup/message.h"
#include "queue/drop.h"

/*
 * One file of maildrop on its way to a message. Made by pickup.c, which has opened, looked at and
 * locked it; freed by what `over` does.
 *
 *   DROP_ASKING   qmgr is asked for its id     → over(DROP_GONE, DROP_AGAIN)
 *   DROP_TAKEN    it has an id, to be synced
 *   DROP_READING  its bytes become a message   → over(DROP_DENIED, DROP_BAD)
 *   DROP_MESSAGE  committed                    → over(DROP_DONE, DROP_LATER, DROP_BAD)
 *
 * Its author has gone when it is read. What cannot be accepted becomes a message all the same, with
 * no body and every recipient's route an answer ("error:STATUS TEXT"), so that qmgr returns it to
 * the sender as it returns any other, by the same commit and id. Bad are only files that cannot be
 * understood, name no sender to whom to return them, or whose owner may not send at all.
 */
enum drop_state { DROP_ASKING, DROP_TAKEN, DROP_READING, DROP_MESSAGE };

enum drop_result {
	DROP_DONE,   /* its message is durable */
	DROP_GONE,   /* it was before */
	DROP_AGAIN,  /* it never was: from the start */
	DROP_LATER,  /* not now */
	DROP_DENIED, /* never: its owner may not */
	DROP_BAD     /* never */
};

struct drop {
	TAILQ_ENTRY(drop) next;
	char name[QUEUE_DROP_NAME]; /* what it is called now */
	char token[QUEUE_DROP_TOKEN + 1];
	char id[QUEUE_ID_MAX + 1];
	int fd; /* owned; holds the lock */
	enum drop_state state;
	uid_t uid;
	int64_t written;   /* real microseconds */
	uint64_t size, at; /* of the file; read so far */
	uint32_t crc;
	struct content_decoder *decoder;       /* owned */
	struct message *message;               /* while it is READING */
	const struct message_failure *refusal; /* NULL: it is delivered, as far as is known */
	void (*over)(struct drop *d, enum drop_result result, const char *why);
};

void drop_free(struct drop **d);
/* A message with an id for it. False: none can be had now. */
bool drop_begin(struct drop *d);
/* TAKEN, and its name is durable: reads its head. May end it. */
void drop_open(struct drop *d);
/* READING: one piece more. May end it. */
void drop_read(struct drop *d);
/* While tools are still at hand: whose mail is taken. */
void drop_init(void);

#endif

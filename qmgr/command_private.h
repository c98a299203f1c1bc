/* SPDX-License-Identifier: ISC */
#ifndef QMGR_COMMAND_PRIVATE_H
#define QMGR_COMMAND_PRIVATE_H

#include <sys/queue.h>

#include "qmgr/command.h"
#include "qmgr/show.h"
#include "server/desk.h"

/*
 * Inside of the requests of operators. Modules: command.c (who asks what, and the message it is
 * about), command_change.c (what changes the queue), command_see.c (content, history, lists).
 */
enum op_kind {
	OP_LIST,
	OP_FLUSH,
	OP_HOLD,
	OP_RELEASE,
	OP_REQUEUE,
	OP_DELETE,
	OP_EXPIRE,
	OP_SHOW,
	OP_HISTORY,
	OP_CAT,
	OP_KINDS
};

struct client {
	struct desk_client desk;
	size_t ops;
};

/* A request. While it waits for a message to be read, or for its content, it stands in `ops`. */
struct op {
	TAILQ_ENTRY(op) link;
	struct client *client;
	uint64_t request;
	enum op_kind kind;
	char id[QUEUE_ID_MAX + 1];
	struct queue_message *m; /* whose content it waits for */
	enum queue_place place;  /* where it is looked for now */
	struct op *list;         /* it reads one message of that list */
	struct show_place shown; /* of that message */
	bool waits;              /* it is there, and the connection has no room for it */
	/* a list */
	struct op *sending; /* its message that is sent in part; others wait till it is whole */
	uint64_t *keys;
	size_t count, at, loads;
	bool with_rcpts, wants_unread;
};

TAILQ_HEAD(command_ops, op);
extern struct command_ops command_ops; /* all that wait */

/* command.c */
struct op *command_op_new(struct client *c, uint64_t request, enum op_kind kind);
void command_op_free(struct op *op);
void command_say(struct client *c, uint64_t request, enum proto_result result, uint64_t count,
	const char *text);
/* The same for an op, which ends by it. */
void command_done(struct op *op, enum proto_result result, uint64_t count, const char *text);
/* Looks for its message in memory, then in its place. The op may be gone afterwards. */
void command_fetch(struct op *op);

/* command_change.c: the op is answered when the change is durable. m may be gone afterwards. */
void command_change(struct op *op, struct queue_message *m);

/* command_see.c */
void command_see(struct op *op, struct queue_message *m);
void command_give_content(struct op *op, struct queue_message *m, int result, struct slice content);
/* A list, which goes on as its connection has room and its messages come. */
void command_list(struct client *c, struct ipc_msg *msg);
void command_list_go_on(struct op *op);
/* A message of a list is there. False: it waits for room, and is not done. */
bool command_list_item(struct op *op, const struct queue_message *m);

#endif

/* SPDX-License-Identifier: ISC */
#ifndef IPC_IPC_H
#define IPC_IPC_H

#include "ipc/proto.h"
#include "net/loop.h"

/*
 * One connection between two processes: a UNIX stream socket that carries frames.
 *
 * A frame is 16 bytes of header (u32 length of the body, u16 message, u16 flags: 1 a descriptor
 * comes along; u64 request id; little-endian) and fields; at most IPC_FRAME_LIMIT bytes and one
 * descriptor. proto.def says who may send what in which state, and what is in it; lib/ipc checks
 * every frame against it on both sides. A peer that breaks a rule is cut off and logged: on_end is
 * called with ERR_SYNTAX. What a program sends against the rules is its own bug: log_panic, except
 * to a request that the other side has just ended (ERR_STATE, the frame is dropped).
 *
 * Requests: ipc_ask gives a new id; all frames of the request carry it; many are in flight at once,
 * in any order. It is over when its state is NONE again, on the asker's side after the last answer.
 * The number of requests a peer may have open is bounded (IPC_REQUEST_LIMIT). A request may carry
 * a pointer of its owner: ipc_set_arg, msg->arg.
 *
 * Credit: bytes in BYTES of ASK_CREDIT frames. The asker has IPC_CREDIT at the begin of a request;
 * ipc_credit says what is left; ipc_end returns ERR_LIMIT (nothing sent) over it. The answering
 * side grants more with its GRANTS message as it has room.
 *
 * Output is gathered and sent once an iteration of the loop, or by ipc_flush. It is bounded by the
 * limit given to ipc_new; a connection over it is cut off (its peer does not read), so a program
 * that sends much asks ipc_room first and is told by on_room.
 */
enum {
	IPC_FRAME_LIMIT = 65536, /* header included */
	IPC_HEAD = 16,
	IPC_CREDIT = 262144,
	IPC_REQUEST_LIMIT = 65536,
};

struct ipc;

struct ipc_msg {
	unsigned type; /* enum proto_msg */
	uint64_t id;   /* 0 for events */
	int fd;        /* -1: none. Closed after the handler unless it took it: set -1 */
	void *arg;     /* of the request (ipc_set_arg), NULL for a new one or an event */
	struct slice body;
};

struct ipc_events {
	void (*on_msg)(struct ipc *c, struct ipc_msg *msg, void *arg);
	/* ERR_CLOSED, ERR_SYS, ERR_SYNTAX (broke a rule). Called once; the owner frees. */
	void (*on_end)(struct ipc *c, int err, void *arg);
	/* Output is below half of its limit after it once was above. May be NULL. */
	void (*on_room)(struct ipc *c, void *arg);
};

/* Takes fd over. self and peer: as master said. out_limit in bytes, 0: 4 MB. */
struct ipc *ipc_new(int fd, enum role self, enum role peer, const struct ipc_events *events,
	void *arg, size_t out_limit); /* owned */
void ipc_free(struct ipc **c);        /* in a handler too */
enum role ipc_peer(const struct ipc *c);
void ipc_set_events(struct ipc *c, const struct ipc_events *events, void *arg);
/* What is sent and received may be secret: its bytes are overwritten when they are done with. */
void ipc_set_secret(struct ipc *c);
/* Reading can be stopped (back-pressure); it starts on. */
void ipc_read(struct ipc *c, bool on);
/* Waits for and handles frames until the deadline or for one round; for start-up, without the loop.
 */
int ipc_pump(struct ipc *c, int64_t deadline);

/* Reading a message. One that is not there: 0, the empty slice. */
bool ipc_has(const struct ipc_msg *m, enum proto_field f);
uint64_t ipc_u64(const struct ipc_msg *m, enum proto_field f);
struct slice ipc_bytes(const struct ipc_msg *m, enum proto_field f);
/* Each occurrence in turn; *at begins with 0. False at the end. */
bool ipc_next(const struct ipc_msg *m, enum proto_field f, size_t *at, struct slice *value);
bool ipc_next_u64(const struct ipc_msg *m, enum proto_field f, size_t *at, uint64_t *value);
int ipc_take_fd(struct ipc_msg *m); /* the descriptor, now the caller's; or -1 */

/*
 * Sending: ipc_begin, ipc_put…, ipc_end. One frame is under construction at a time. The id of a
 * new request comes from ipc_ask; the answering side uses msg->id. Texts are made fit: control
 * characters become '?', what is over the field's limit is cut (ipc_put_text); bytes over it are a
 * panic.
 */
uint64_t ipc_ask(struct ipc *c);
void ipc_begin(struct ipc *c, enum proto_msg type, uint64_t id);
void ipc_put_u64(struct ipc *c, enum proto_field f, uint64_t v);
void ipc_put_text(struct ipc *c, enum proto_field f, struct slice s);
void ipc_put_str(struct ipc *c, enum proto_field f, const char *s);
void ipc_put_bytes(struct ipc *c, enum proto_field f, struct slice s);
/* Bytes that still fit into the frame under construction, a field head already deducted. */
size_t ipc_frame_room(const struct ipc *c);
int ipc_end(struct ipc *c);             /* 0, ERR_STATE, ERR_LIMIT (credit) or ERR_CLOSED */
int ipc_end_fd(struct ipc *c, int *fd); /* takes *fd over, whatever the result */
/* A message with no field, and the commonest with one. */
int ipc_send(struct ipc *c, enum proto_msg type, uint64_t id);

/* The owner's pointer of a request; mine: this side began it. */
void ipc_set_arg(struct ipc *c, uint64_t id, bool mine, void *arg);
size_t ipc_credit(const struct ipc *c, uint64_t id);
size_t ipc_room(const struct ipc *c);
int ipc_flush(struct ipc *c);
/* Bytes gathered and not yet with the kernel. */
size_t ipc_unsent(const struct ipc *c);
/* Calls visit for each open request of one side, with its pointer. */
void ipc_walk(
	struct ipc *c, bool mine, bool (*visit)(uint64_t id, void *request, void *arg), void *arg);

#endif

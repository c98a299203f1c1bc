/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_AUTHOR_H
#define SMTPD_AUTHOR_H

#include "server/server.h"

/*
 * Messages on their way to cleanup, the author of the queue. A message is opened at the cleanup
 * worker with the fewest messages whose commit is not answered, over the connection that stays open
 * for all of them. From then on exactly one of done, failed and doubt comes, from the event loop
 * and never from inside a call, unless the owner lets the message go before.
 *
 * A cleanup that dies before the commit was sent has kept nothing: failed (451). One that dies
 * after it may have made the message durable: others are asked for its id (Q6), for at most
 * AUTHOR_DOUBT_MSEC; "durable" is done, silence is doubt: the client must be told neither yes nor
 * no.
 */
enum { AUTHOR_DOUBT_MSEC = 5000 };

/* Most that one call of message_data may bring; message_room says 0 below it. */
enum { MESSAGE_PIECE = 66 * 1024 };

struct message;

/* What cleanup says of a content that has ended. */
struct message_facts {
	struct ipc_msg *msg;
	size_t at;           /* message_next_from */
	unsigned from_count; /* From: fields; 0: some address in one cannot be told */
};

struct message_events {
	void (*opened)(void *arg);                         /* message_queue_id has it now */
	void (*room)(void *arg);                           /* message_room is more than 0 again */
	void (*facts)(struct message_facts *f, void *arg); /* behind message_end */
	void (*done)(void *arg);                           /* durable */
	void (*failed)(int code, const char *status, struct slice text, void *arg);
	void (*doubt)(void *arg);
};

/* What MSG_OPEN says; all borrowed. */
struct message_spec {
	struct slice sender, client_name, client_addr, helo, protocol, login, envid;
	struct slice verp;  /* two delimiters */
	struct slice trace; /* lines for Received:, a NUL between two */
	uint64_t flags;     /* QUEUE_FLAG_* */
	uint64_t deadline;  /* real microseconds; 0: none */
	uint64_t client_port, uid, ret, body, size;
	bool is_local;
	/* XFORWARD. */
	struct slice origin_name, origin_addr, origin_helo, origin_protocol, origin_ident;
	uint64_t origin_port;
};

/* wake is called once when a cleanup has come or has room again; embedded. */
struct author_waiter {
	TAILQ_ENTRY(author_waiter) next;
	void (*wake)(void *arg);
	void *arg;
	bool queued;
};
void author_wait(struct author_waiter *w);
void author_wait_cancel(struct author_waiter *w);

/* cleanup has said that there is no space: answer 452. free: bytes, UINT64_MAX when not known. */
bool author_is_full(uint64_t *free_bytes);

/* A transcript for the postmaster; nobody waits for it. text: why the session ended, or empty. */
void author_transcript(
	unsigned classes, struct slice client, struct slice transcript, struct slice text);

/* ETRN: mail that waits for the domain is to be tried now. False: nobody can be told. */
bool author_flush(struct slice domain);

/* NULL: no cleanup is connected, or none has room. Owned; ends by message_free. */
struct message *message_open(
	const struct message_spec *spec, const struct message_events *events, void *arg);
/* "" while it is not known. */
const char *message_queue_id(const struct message *m);
/* False: no room just now; author_wait. */
bool message_rcpt(struct message *m, struct slice recipient, struct slice orcpt, unsigned notify);
/* Bytes that message_data takes now: 0, or at least MESSAGE_PIECE. What is over it is lost. */
size_t message_room(const struct message *m);
void message_data(struct message *m, struct slice bytes);
/* Something that the policy wants done: POLICY_HOLD and what follows it. Before message_commit. */
void message_action(struct message *m, unsigned kind, struct slice value);
/* End of content. flags: QUEUE_FLAG_* as observed. facts follows, unless the commit comes at once.
 */
void message_end(struct message *m, uint64_t flags);
/* Make it durable; behind message_end. */
void message_commit(struct message *m);
/* Addresses of From:, one after the other; false at the end. Inside facts. */
bool message_next_from(struct message_facts *f, struct slice *address);
/* Another owner gets the events from now on. False: none will come any more. */
bool message_hand_over(struct message *m, const struct message_events *events, void *arg);
/* Lets it go: discards it if it is not committed. No more events. */
void message_free(struct message **m);

/* For the program's server_spec. */
void author_peer_new(struct server_peer *peer);
void author_peer_gone(struct server_peer *peer);
void author_peer_msg(struct server_peer *peer, struct ipc_msg *msg);
void author_peer_room(struct server_peer *peer);

#endif

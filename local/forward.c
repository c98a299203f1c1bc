/* SPDX-License-Identifier: ISC */
#include "local/forward.h"

#include <stdio.h>
#include <unistd.h>

#include "mail/address.h"
#include "queue/envelope.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

enum {
	PIECE = 32768,
	ROOM_LEFT = 131072,
	/* Seconds that it waits for a cleanup when there is none just now: at the start, and while
	 * the last one that died is replaced. */
	ABSENCE = 30,
};

struct forward {
	TAILQ_ENTRY(forward) link;
	const struct job *j;
	const struct job_rcpt *r;
	const struct plan *p;
	struct server_peer *cleanup;
	uint64_t id, sent; /* bytes of content */
	bool is_waiting;   /* for a cleanup, with patience */
	bool is_ended;
	struct loop_timer patience;
	void (*done)(const struct outcome *o, void *arg);
	void *arg;
	bool is_damaged;
	struct loop_task answer; /* what is known at once is said from the loop */
};

static TAILQ_HEAD(, forward) forwards = TAILQ_HEAD_INITIALIZER(forwards);

void forward_drop(struct forward **f)
{
	struct forward *old = *f;
	*f = NULL;
	if (old == NULL)
		return;
	loop_task_cancel(&old->answer);
	loop_timer_clear(&old->patience);
	if (old->cleanup != NULL) {
		ipc_set_arg(old->cleanup->ipc, old->id, true, NULL);
		if (!old->is_ended)
			(void)ipc_send(old->cleanup->ipc, PROTO_MSG_DISCARD, old->id);
	}
	TAILQ_REMOVE(&forwards, old, link);
	mem_free(old);
}

static void finish(
	struct forward *f, enum proto_result result, const char *status, struct slice text)
{
	struct outcome o;
	void (*done)(const struct outcome *o, void *arg) = f->done;
	void *arg = f->arg;
	outcome_set(&o, result, status, "%.*s", SLICE_FMT(text));
	f->is_ended = true;
	forward_drop(&f);
	done(&o, arg);
}

static void answer(void *arg)
{
	struct forward *f = arg;
	if (f->is_damaged)
		finish(f, RESULT_UNTRIED, "4.3.0", SLICE_LIT("queue file damaged"));
	else
		finish(f, RESULT_DEFERRED, "4.3.0", SLICE_LIT("queue service is not available"));
}

static void put_envelope(struct forward *f)
{
	struct ipc *c = f->cleanup->ipc;
	const struct plan *p = f->p;
	ipc_begin(c, PROTO_MSG_OPEN, f->id);
	ipc_put_str(c, FIELD_SENDER, f->j->sender);
	ipc_put_u64(c, FIELD_TIME, (uint64_t)clock_real());
	ipc_put_str(c, FIELD_SERVICE, server_program());
	ipc_put_u64(c, FIELD_FLAGS,
		f->j->flags & (QUEUE_FLAG_SMTPUTF8 | QUEUE_FLAG_REQUIRETLS | QUEUE_FLAGS_BY));
	if (f->j->deadline != 0)
		ipc_put_u64(c, FIELD_DEADLINE, (uint64_t)f->j->deadline);
	if (f->j->envid != NULL)
		ipc_put_str(c, FIELD_ENVID, f->j->envid);
	if (f->j->ret != 0)
		ipc_put_u64(c, FIELD_RET, f->j->ret);
	if (f->j->body != 0)
		ipc_put_u64(c, FIELD_BODY, f->j->body);
	ipc_put_u64(c, FIELD_SIZE, f->j->size);
	/* qmgr ends the recipient with it, or drops it when another one came first. */
	ipc_put_str(c, FIELD_PARENT, f->j->id);
	ipc_put_u64(c, FIELD_REASON, QUEUE_REASON_FORWARD);
	ipc_put_u64(c, FIELD_PARENT_INDEX, f->r->index);
	(void)ipc_end(c);
	for (size_t i = 0; i < p->count; i++) {
		ipc_begin(c, PROTO_MSG_RCPT, f->id);
		ipc_put_str(c, FIELD_RECIPIENT, p->addresses[i]);
		ipc_put_str(
			c, FIELD_ORIG_TO, f->r->orig_to != NULL ? f->r->orig_to : f->r->address);
		if (f->r->orcpt != NULL)
			ipc_put_str(c, FIELD_ORCPT, f->r->orcpt);
		if (f->r->notify != 0)
			ipc_put_u64(c, FIELD_NOTIFY, f->r->notify);
		(void)ipc_end(c);
	}
}

static void put_commit(struct forward *f)
{
	struct ipc *c = f->cleanup->ipc;
	struct buf header = BUF_INIT(4096);
	buf_add_str(&header, "Delivered-To: ");
	address_add_external(&header, slice_str(f->r->address));
	buf_add_str(&header, "\r\n");
	f->is_ended = true;
	ipc_begin(c, PROTO_MSG_END, f->id);
	ipc_put_u64(c, FIELD_FLAGS, 0);
	(void)ipc_end(c);
	ipc_begin(c, PROTO_MSG_COMMIT, f->id);
	ipc_put_u64(c, FIELD_FLAGS, 0);
	ipc_put_bytes(c, FIELD_HEADER, buf_slice(&header));
	(void)ipc_end(c);
	buf_clear(&header);
}

/* The next bytes of the message; empty at its end, p NULL when it cannot be read. */
static struct slice next_piece(const struct forward *f, size_t max, char room[PIECE])
{
	struct slice small = buf_slice(&f->j->content);
	if (f->sent < small.len)
		return slice_first(slice_from(small, (size_t)f->sent), max);
	uint64_t at = f->sent - small.len;
	if (f->j->body_fd < 0 || at >= f->j->body_size)
		return slice_of("", 0);
	size_t want = f->j->body_size - at < max ? (size_t)(f->j->body_size - at) : max;
	ssize_t n = pread(f->j->body_fd, room, want, (off_t)(f->j->body_offset + at));
	return n > 0 ? slice_of(room, (size_t)n) : SLICE_NONE;
}

/* What credit and room allow. */
static void send_more(struct forward *f)
{
	struct ipc *c = f->cleanup->ipc;
	char room[PIECE];
	while (!f->is_ended && ipc_room(c) > ROOM_LEFT) {
		size_t credit = ipc_credit(c, f->id);
		struct slice piece = next_piece(f, credit < PIECE ? credit : PIECE, room);
		if (piece.p == NULL) {
			(void)ipc_send(c, PROTO_MSG_DISCARD, f->id);
			ipc_set_arg(c, f->id, true, NULL);
			f->is_ended = f->is_damaged = true;
			f->cleanup = NULL;
			loop_soon(&f->answer);
			return;
		}
		if (piece.len == 0 && credit == 0)
			return;
		if (piece.len == 0) {
			put_commit(f);
			return;
		}
		ipc_begin(c, PROTO_MSG_DATA, f->id);
		ipc_put_bytes(c, FIELD_BYTES, piece);
		if (ipc_end(c) != 0)
			return;
		f->sent += piece.len;
	}
}

static void begin(struct forward *f, struct server_peer *cleanup)
{
	f->is_waiting = false;
	loop_timer_set(&f->patience, CLOCK_NEVER);
	f->cleanup = cleanup;
	f->id = ipc_ask(cleanup->ipc);
	put_envelope(f);
	ipc_set_arg(cleanup->ipc, f->id, true, f);
	send_more(f);
}

struct forward *forward_new(const struct job *j, const struct job_rcpt *r, const struct plan *p,
	void (*done)(const struct outcome *o, void *arg), void *arg)
{
	/* The newest: an older one may be about to be replaced. */
	struct server_peer *cleanup = TAILQ_LAST(server_peers(ROLE_CLEANUP), server_peer_list);
	struct forward *f = mem_alloc(sizeof(*f));
	*f = (struct forward){.j = j, .r = r, .p = p, .done = done, .arg = arg};
	loop_task_init(&f->answer, answer, f);
	loop_timer_init(&f->patience, answer, f);
	TAILQ_INSERT_TAIL(&forwards, f, link);
	if (cleanup != NULL) {
		begin(f, cleanup);
	} else {
		f->is_waiting = true;
		loop_timer_set(&f->patience, loop_now() + ABSENCE * CLOCK_SEC);
	}
	return f;
}

void forward_peer_new(struct server_peer *peer)
{
	struct forward *f, *next;
	TAILQ_FOREACH_SAFE(f, &forwards, link, next)
	if (f->is_waiting)
		begin(f, peer);
}

static void refused(struct forward *f, struct ipc_msg *msg)
{
	char status[16];
	snprintf(status, sizeof(status), "%.*s",
		SLICE_FMT(slice_first(ipc_bytes(msg, FIELD_STATUS), 15)));
	bool is_permanent = ipc_u64(msg, FIELD_CODE) >= 500 && status[0] == '5';
	struct slice text = ipc_bytes(msg, FIELD_TEXT);
	finish(f, is_permanent ? RESULT_FAILED : RESULT_DEFERRED, status, text);
}

void forward_msg(struct server_peer *peer, struct ipc_msg *msg)
{
	struct forward *f = msg->arg;
	char text[64];
	if (msg->type == PROTO_MSG_FAILED)
		(void)ipc_send(peer->ipc, PROTO_MSG_DISCARD, msg->id);
	if (f == NULL)
		return;
	switch (msg->type) {
	case PROTO_MSG_GRANT: send_more(f); break;
	case PROTO_MSG_DONE:
		snprintf(text, sizeof(text), "forwarded as %.*s",
			SLICE_FMT(ipc_bytes(msg, FIELD_QUEUE_ID)));
		f->cleanup = NULL;
		finish(f, RESULT_PASSED, "2.0.0", slice_str(text));
		break;
	case PROTO_MSG_FAILED:
		f->cleanup = NULL;
		refused(f, msg);
		break;
	default: break;
	}
}

void forward_room(struct server_peer *peer)
{
	struct forward *f, *next;
	TAILQ_FOREACH_SAFE(f, &forwards, link, next)
	if (f->cleanup == peer)
		send_more(f);
}

/* What was committed may be durable or not: qmgr takes the first that it reads, no second one. */
void forward_gone(struct server_peer *peer)
{
	struct forward *f, *next;
	TAILQ_FOREACH_SAFE(f, &forwards, link, next)
	if (f->cleanup == peer) {
		f->cleanup = NULL;
		finish(f, RESULT_DEFERRED, "4.3.0", SLICE_LIT("queue service went away"));
	}
}

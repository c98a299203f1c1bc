/* SPDX-License-Identifier: ISC */
#include "smtpd/author.h"

#include <string.h>

#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

/* How often others are asked about an id, and the piece of content that one frame carries. */
enum { ASK_AGAIN_MSEC = 500, DATA_MAX = 60000 };

/*
 * Output to a cleanup that is kept free for what must not wait (end and commit of every session):
 * with less room than this neither content nor recipients are sent.
 */
enum { ROOM_RESERVE = 512 * 1024 };

/*
 *   OPEN       recipients and content go out
 *   ENDED      the content is complete; its facts are awaited
 *   COMMITTED  the commit is sent, the answer is not here
 *   DOUBT      cleanup was lost then; others are asked
 *   OVER       answered, or refused: the request is no more
 */
enum state { OPEN, ENDED, COMMITTED, DOUBT, OVER };

struct message {
	TAILQ_ENTRY(message) next; /* of its author, or of those in doubt */
	struct author *author;     /* NULL in DOUBT and OVER */
	uint64_t id;               /* of the request */
	enum state state;
	char queue_id[33];
	bool starved;                        /* message_room has said 0 */
	const struct message_events *events; /* NULL: the owner has let it go */
	void *arg;
	struct loop_timer timer; /* DOUBT */
	int64_t give_up;
};

TAILQ_HEAD(message_list, message);

/* One cleanup worker. */
struct author {
	struct server_peer *peer;
	struct message_list messages;
	size_t unanswered; /* commits */
	bool full, leaving;
	uint64_t free_bytes;
};

static struct message_list doubtful = TAILQ_HEAD_INITIALIZER(doubtful);
static TAILQ_HEAD(waiter_list, author_waiter) waiters = TAILQ_HEAD_INITIALIZER(waiters);

void author_wait(struct author_waiter *w)
{
	if (!w->queued)
		TAILQ_INSERT_TAIL(&waiters, w, next);
	w->queued = true;
}

void author_wait_cancel(struct author_waiter *w)
{
	if (w->queued)
		TAILQ_REMOVE(&waiters, w, next);
	w->queued = false;
}

bool author_is_full(uint64_t *free_bytes)
{
	struct server_peer *peer;
	bool full = false;

	*free_bytes = UINT64_MAX;
	TAILQ_FOREACH(peer, server_peers(ROLE_CLEANUP), next)
	{
		struct author *a = peer->arg;

		full |= a->full;
		if (a->free_bytes < *free_bytes)
			*free_bytes = a->free_bytes;
	}
	return full;
}

static bool has_room(const struct author *a)
{
	return ipc_room(a->peer->ipc) > ROOM_RESERVE;
}

static struct author *least_busy(void)
{
	struct server_peer *peer;
	struct author *best = NULL;

	TAILQ_FOREACH(peer, server_peers(ROLE_CLEANUP), next)
	{
		struct author *a = peer->arg;

		if (!has_room(a))
			continue;
		/* One that is being replaced is better than none. */
		if (best == NULL || a->leaving < best->leaving ||
			(a->leaving == best->leaving && a->unanswered < best->unanswered))
			best = a;
	}
	return best;
}

void author_transcript(
	unsigned classes, struct slice client, struct slice transcript, struct slice text)
{
	struct author *a = least_busy();

	if (a == NULL)
		return;
	ipc_begin(a->peer->ipc, PROTO_TRANSCRIPT, 0);
	ipc_put_u64(a->peer->ipc, FIELD_FLAGS, classes);
	ipc_put_str(a->peer->ipc, FIELD_NAME, "SMTP server");
	ipc_put_text(a->peer->ipc, FIELD_REMOTE, slice_first(client, 1024));
	ipc_put_bytes(a->peer->ipc, FIELD_BYTES, transcript);
	if (text.len > 0)
		ipc_put_text(a->peer->ipc, FIELD_TEXT, text);
	(void)ipc_end(a->peer->ipc);
}

bool author_flush(struct slice domain)
{
	struct author *a = least_busy();

	if (a == NULL)
		return false;
	ipc_begin(a->peer->ipc, PROTO_FLUSH_DOMAIN, 0);
	ipc_put_text(a->peer->ipc, FIELD_NAME, domain);
	return ipc_end(a->peer->ipc) == 0;
}

static void put_text(struct ipc *c, enum proto_field field, struct slice s)
{
	if (s.len > 0)
		ipc_put_text(c, field, s);
}

static void put_number(struct ipc *c, enum proto_field field, uint64_t v)
{
	if (v != 0)
		ipc_put_u64(c, field, v);
}

static void send_open(struct ipc *c, uint64_t id, const struct message_spec *spec)
{
	const char *service = server_service();
	struct slice trace = spec->trace, line;

	ipc_begin(c, PROTO_MSG_OPEN, id);
	ipc_put_text(c, FIELD_SENDER, spec->sender);
	ipc_put_u64(c, FIELD_TIME, (uint64_t)clock_real());
	ipc_put_text(c, FIELD_SERVICE, slice_first(slice_str(service), strcspn(service, "/")));
	ipc_put_u64(c, FIELD_FLAGS, spec->flags);
	put_text(c, FIELD_CLIENT_NAME, spec->client_name);
	put_text(c, FIELD_CLIENT_ADDR, spec->client_addr);
	put_number(c, FIELD_CLIENT_PORT, spec->client_port);
	put_text(c, FIELD_HELO, spec->helo);
	put_text(c, FIELD_PROTOCOL, spec->protocol);
	put_text(c, FIELD_LOGIN, spec->login);
	if (spec->is_local)
		ipc_put_u64(c, FIELD_UID, spec->uid);
	put_text(c, FIELD_ENVID, spec->envid);
	put_text(c, FIELD_VERP, spec->verp);
	put_number(c, FIELD_DEADLINE, spec->deadline);
	put_number(c, FIELD_RET, spec->ret);
	put_number(c, FIELD_BODY, spec->body);
	put_number(c, FIELD_SIZE, spec->size);
	put_text(c, FIELD_ORIGIN_NAME, spec->origin_name);
	put_text(c, FIELD_ORIGIN_ADDR, spec->origin_addr);
	put_number(c, FIELD_ORIGIN_PORT, spec->origin_port);
	put_text(c, FIELD_ORIGIN_HELO, spec->origin_helo);
	put_text(c, FIELD_ORIGIN_PROTOCOL, spec->origin_protocol);
	put_text(c, FIELD_ORIGIN_IDENT, spec->origin_ident);
	while (slice_part(&trace, '\0', &line))
		ipc_put_text(c, FIELD_TRACE, line);
	(void)ipc_end(c);
}

struct message *message_open(
	const struct message_spec *spec, const struct message_events *events, void *arg)
{
	struct author *a = least_busy();
	struct message *m = NULL;

	if (a == NULL)
		return NULL;
	m = mem_alloc(sizeof(*m));
	m->author = a;
	m->events = events;
	m->arg = arg;
	m->id = ipc_ask(a->peer->ipc);
	send_open(a->peer->ipc, m->id, spec);
	ipc_set_arg(a->peer->ipc, m->id, true, m);
	TAILQ_INSERT_TAIL(&a->messages, m, next);
	return m;
}

const char *message_queue_id(const struct message *m)
{
	return m->queue_id;
}

bool message_rcpt(struct message *m, struct slice recipient, struct slice orcpt, unsigned notify)
{
	struct ipc *c = m->state == OPEN ? m->author->peer->ipc : NULL;

	if (c == NULL)
		return true;
	if (!has_room(m->author))
		return false;
	ipc_begin(c, PROTO_MSG_RCPT, m->id);
	ipc_put_text(c, FIELD_RECIPIENT, recipient);
	put_text(c, FIELD_ORCPT, orcpt);
	put_number(c, FIELD_NOTIFY, notify);
	(void)ipc_end(c);
	return true;
}

size_t message_room(const struct message *m)
{
	struct message *mine = (struct message *)(uintptr_t)m;

	/* What will be refused or is lost anyway is taken, so that its reply comes at its place. */
	if (m->state != OPEN)
		return SIZE_MAX;
	size_t credit = has_room(m->author) ? ipc_credit(m->author->peer->ipc, m->id) : 0;
	mine->starved = credit < MESSAGE_PIECE;
	return mine->starved ? 0 : credit;
}

void message_data(struct message *m, struct slice bytes)
{
	while (bytes.len > 0 && m->state == OPEN) {
		struct ipc *c = m->author->peer->ipc;
		struct slice part = slice_first(bytes, DATA_MAX);

		ipc_begin(c, PROTO_MSG_DATA, m->id);
		ipc_put_bytes(c, FIELD_BYTES, part);
		if (ipc_end(c) == ERR_LIMIT)
			log_panic("content without credit");
		bytes = slice_from(bytes, part.len);
	}
}

void message_action(struct message *m, unsigned kind, struct slice value)
{
	if (m->state != OPEN)
		return;
	struct ipc *c = m->author->peer->ipc;

	ipc_begin(c, PROTO_MSG_ACTION, m->id);
	ipc_put_u64(c, FIELD_ACTION, kind);
	put_text(c, FIELD_TEXT, value);
	(void)ipc_end(c);
}

void message_end(struct message *m, uint64_t flags)
{
	if (m->state != OPEN)
		return;
	struct ipc *c = m->author->peer->ipc;

	ipc_begin(c, PROTO_MSG_END, m->id);
	ipc_put_u64(c, FIELD_FLAGS, flags);
	(void)ipc_end(c);
	m->state = ENDED;
}

void message_commit(struct message *m)
{
	if (m->state != ENDED)
		return;
	struct ipc *c = m->author->peer->ipc;

	ipc_begin(c, PROTO_MSG_COMMIT, m->id);
	ipc_put_u64(c, FIELD_FLAGS, 0);
	(void)ipc_end(c);
	m->state = COMMITTED;
	m->author->unanswered++;
}

bool message_next_from(struct message_facts *f, struct slice *address)
{
	return ipc_next(f->msg, FIELD_FROM_ADDRESS, &f->at, address);
}

/* The request is over: the message stays until its owner lets it go. */
static void leave_author(struct message *m)
{
	if (m->author == NULL)
		return;
	TAILQ_REMOVE(&m->author->messages, m, next);
	if (m->state == COMMITTED)
		m->author->unanswered--;
	m->author = NULL;
}

bool message_hand_over(struct message *m, const struct message_events *events, void *arg)
{
	if (m->state == OVER)
		return false;
	m->events = events;
	m->arg = arg;
	return true;
}

void message_free(struct message **mp)
{
	struct message *m = *mp;

	*mp = NULL;
	if (m == NULL)
		return;
	if (m->state == COMMITTED) {
		m->events = NULL;
		return;
	}
	if (m->state == OPEN || m->state == ENDED) {
		(void)ipc_send(m->author->peer->ipc, PROTO_MSG_DISCARD, m->id);
		ipc_set_arg(m->author->peer->ipc, m->id, true, NULL);
		leave_author(m);
	}
	if (m->state == DOUBT)
		TAILQ_REMOVE(&doubtful, m, next);
	loop_timer_clear(&m->timer);
	mem_free(m);
}

/* Tells the owner, or, when there is none any more, ends the message. */
static void over(struct message *m)
{
	leave_author(m);
	if (m->state == DOUBT) {
		TAILQ_REMOVE(&doubtful, m, next);
		loop_timer_clear(&m->timer);
	}
	m->state = OVER;
	if (m->events == NULL)
		message_free(&m);
}

static void tell_done(struct message *m)
{
	bool owned = m->events != NULL;

	over(m);
	if (owned)
		m->events->done(m->arg);
}

static void tell_failed(struct message *m, int code, const char *status, struct slice text)
{
	bool owned = m->events != NULL;

	over(m);
	if (owned)
		m->events->failed(code, status, text, m->arg);
}

/* In doubt. */

static void ask_about(struct server_peer *peer, const struct message *m)
{
	ipc_begin(peer->ipc, PROTO_ID_QUERY, 0);
	ipc_put_str(peer->ipc, FIELD_QUEUE_ID, m->queue_id);
	(void)ipc_end(peer->ipc);
}

static void ask_all(void *arg)
{
	struct message *m = arg;
	struct server_peer *peer;

	if (loop_now() >= m->give_up) {
		bool owned = m->events != NULL;
		over(m);
		if (owned)
			m->events->doubt(m->arg);
		return;
	}
	TAILQ_FOREACH(peer, server_peers(ROLE_CLEANUP), next)
	ask_about(peer, m);
	loop_timer_set(&m->timer, loop_now() + ASK_AGAIN_MSEC * CLOCK_MSEC);
}

static void begin_doubt(struct message *m)
{
	leave_author(m);
	m->state = DOUBT;
	TAILQ_INSERT_TAIL(&doubtful, m, next);
	m->give_up = loop_now();
	/* Without an id there is nothing to ask for. */
	if (m->queue_id[0] != '\0')
		m->give_up += AUTHOR_DOUBT_MSEC * CLOCK_MSEC;
	loop_timer_init(&m->timer, ask_all, m);
	loop_timer_set(&m->timer, loop_now());
}

static void id_is_durable(struct slice id)
{
	struct message *m, *after;

	TAILQ_FOREACH_SAFE(m, &doubtful, next, after)
	if (slice_eq_str(id, m->queue_id))
		tell_done(m);
}

/* Peers. */

/* Who still finds no room waits again, behind those that are here now. */
static void wake_waiters(void)
{
	struct author_waiter *last = TAILQ_LAST(&waiters, waiter_list), *w = NULL;

	while (last != NULL && w != last && (w = TAILQ_FIRST(&waiters)) != NULL) {
		author_wait_cancel(w);
		w->wake(w->arg);
	}
}

void author_peer_new(struct server_peer *peer)
{
	struct author *a = mem_alloc(sizeof(*a));

	a->peer = peer;
	a->free_bytes = UINT64_MAX;
	TAILQ_INIT(&a->messages);
	peer->arg = a;
	wake_waiters();
}

void author_peer_gone(struct server_peer *peer)
{
	struct author *a = peer->arg;
	struct message *m;

	peer->arg = NULL;
	while ((m = TAILQ_FIRST(&a->messages)) != NULL) {
		if (m->state != COMMITTED) {
			tell_failed(m, 451, "4.3.0", SLICE_LIT("Error: queue file write error"));
		} else if (m->events == NULL) {
			over(m);
		} else {
			begin_doubt(m);
		}
	}
	mem_free(a);
}

static void take_id(struct message *m, struct slice id)
{
	if (m->queue_id[0] != '\0' || id.len == 0 || id.len >= sizeof(m->queue_id))
		return;
	memcpy(m->queue_id, id.p, id.len);
	if (m->events != NULL)
		m->events->opened(m->arg);
}

static void take_refusal(struct message *m, struct ipc_msg *msg)
{
	char status[17] = "";
	struct slice s = slice_first(ipc_bytes(msg, FIELD_STATUS), sizeof(status) - 1);

	memcpy(status, s.p, s.len);
	(void)ipc_send(m->author->peer->ipc, PROTO_MSG_DISCARD, m->id);
	ipc_set_arg(m->author->peer->ipc, m->id, true, NULL);
	tell_failed(m, (int)ipc_u64(msg, FIELD_CODE), status, ipc_bytes(msg, FIELD_TEXT));
}

static void take_state(struct author *a, struct ipc_msg *msg)
{
	a->full = ipc_u64(msg, FIELD_FLAGS) & 1;
	a->leaving = ipc_u64(msg, FIELD_FLAGS) & 2;
	a->free_bytes = ipc_u64(msg, FIELD_SIZE);
}

static void give_room(struct message *m)
{
	if (!m->starved || m->state != OPEN || m->events == NULL || message_room(m) == 0)
		return;
	m->events->room(m->arg);
}

static void take_facts(struct message *m, struct ipc_msg *msg)
{
	struct message_facts f = {.msg = msg, .from_count = (unsigned)ipc_u64(msg, FIELD_COUNT)};

	if (m->state == ENDED && m->events != NULL)
		m->events->facts(&f, m->arg);
}

void author_peer_msg(struct server_peer *peer, struct ipc_msg *msg)
{
	struct message *m = msg->arg;

	if (msg->type == PROTO_ID_DURABLE)
		id_is_durable(ipc_bytes(msg, FIELD_QUEUE_ID));
	else if (msg->type == PROTO_QUEUE_STATE)
		take_state(peer->arg, msg);
	if (m == NULL)
		return;
	switch (msg->type) {
	case PROTO_MSG_OPENED: take_id(m, ipc_bytes(msg, FIELD_QUEUE_ID)); break;
	case PROTO_MSG_GRANT: give_room(m); break;
	case PROTO_MSG_DONE:
		take_id(m, ipc_bytes(msg, FIELD_QUEUE_ID));
		tell_done(m);
		break;
	case PROTO_MSG_FAILED: take_refusal(m, msg); break;
	case PROTO_MSG_FACTS: take_facts(m, msg); break;
	default: break;
	}
}

void author_peer_room(struct server_peer *peer)
{
	struct author *a = peer->arg;
	struct message *m, *after;

	TAILQ_FOREACH_SAFE(m, &a->messages, next, after)
	give_room(m);
	wake_waiters();
}

/* SPDX-License-Identifier: ISC */
#include "qmgr/ask.h"

#include "conf/conf.h"
#include "mail/address.h"
#include "qmgr/plan.h"
#include "qmgr/qmgr.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

#define ROUTES_IN_A_FRAME 100
#define NOTICES 200 /* at a time */
#define DATA_PIECE 64000
#define LINE_MAX_RETURNED 2048 /* bytes behind the limit in which its line must end */
#define ROOM 131072            /* wanted on a connection before a request is made */

/* NOTICE: how far it is. */
enum notice_stage { NOTICE_WAITS, NOTICE_READS, NOTICE_SENDS, NOTICE_SENT };

struct ask {
	TAILQ_ENTRY(ask) link;
	struct active *a;         /* NULL: the answer is not wanted any more */
	struct server_peer *peer; /* NULL: not asked yet */
	uint64_t id;              /* of the request */
	uint64_t worker;          /* of a lost cleanup whose takeover it waits for; 0: none */
	uint32_t *rcpts;          /* routes: places in a->rcpts; notice: indices */
	uint32_t count;
	/* notices alone */
	enum queue_reason reason; /* of a notice, or REQUEUE */
	enum notice_stage stage;
	struct buf content;
	int body;       /* descriptor of a large one that goes whole; -1 */
	uint64_t flags; /* of NOTICE_GO */
};
TAILQ_HEAD(asks, ask);
static struct asks routes = TAILQ_HEAD_INITIALIZER(routes);
static struct asks notices = TAILQ_HEAD_INITIALIZER(notices);
static size_t notices_open;

static struct ask *ask_new(struct asks *list, struct active *a, uint32_t count)
{
	struct ask *q = mem_alloc(sizeof(*q));

	q->a = a;
	q->count = count;
	q->body = -1;
	q->rcpts = mem_array(count, sizeof(*q->rcpts));
	TAILQ_INSERT_TAIL(list, q, link);
	return q;
}

static void ask_free(struct asks *list, struct ask *q)
{
	if (q->peer != NULL && q->peer->ipc != NULL && q->id != 0)
		ipc_set_arg(q->peer->ipc, q->id, true, NULL);
	if (list == &notices && q->stage != NOTICE_WAITS)
		notices_open--;
	TAILQ_REMOVE(list, q, link);
	buf_clear(&q->content);
	fd_close(&q->body);
	mem_free(q->rcpts);
	mem_free(q);
}

/* Workers up to this one may have settings of before. Numbers grow. */
static uint64_t older;
static bool is_waiting_for_new;

void ask_settings_changed(void)
{
	struct server_peer *peer;

	TAILQ_FOREACH(peer, server_peers(ROLE_CLEANUP), next)
	if (peer->worker > older)
		older = peer->worker;
	is_waiting_for_new = true;
}

static bool has_new(void)
{
	struct server_peer *peer;

	TAILQ_FOREACH(peer, server_peers(ROLE_CLEANUP), next)
	if (peer->worker > older)
		return true;
	return false;
}

/* In turn, so that no worker gets all; one with older settings only while there is no other. */
static struct server_peer *choose(void)
{
	struct server_peer_list *peers = server_peers(ROLE_CLEANUP);
	struct server_peer *peer;
	static uint64_t turn;
	struct server_peer *best = NULL;
	bool is_new_alone = has_new();

	TAILQ_FOREACH(peer, peers, next)
	{
		if (ipc_room(peer->ipc) < ROOM || (is_new_alone && peer->worker <= older))
			continue;
		if (best == NULL || (peer->worker > turn && best->worker <= turn))
			best = peer;
	}
	if (best != NULL)
		turn = best->worker;
	return best;
}

/* ---- Routes. ---- */

static void send_route(struct ask *q)
{
	struct server_peer *peer = choose();
	struct queue_envelope env;
	struct ipc *c;

	if (peer == NULL)
		return;
	queue_store_envelope(q->a->m, &env);
	c = peer->ipc;
	q->peer = peer;
	q->id = ipc_ask(c);
	ipc_begin(c, PROTO_RESOLVE, q->id);
	ipc_put_text(c, FIELD_SENDER, env.sender);
	ipc_put_u64(c, FIELD_FLAGS, env.flags);
	if (env.content_filter_next.len > 0)
		ipc_put_text(c, FIELD_FILTER, env.content_filter_next);
	for (uint32_t i = 0; i < q->count; i++)
		ipc_put_text(c, FIELD_RECIPIENT,
			active_recipient(q->a, &q->a->rcpts[q->rcpts[i]]).address);
	if (ipc_end(c) == 0)
		ipc_set_arg(c, q->id, true, q);
}

void ask_routes(struct active *a)
{
	/* A message can have a million, and comes here for each hundred. */
	uint32_t at = a->unasked;

	while (at < a->count) {
		struct ask *q = ask_new(&routes, a, ROUTES_IN_A_FRAME);
		size_t bytes = 0;

		q->count = 0;
		for (; at < a->count && q->count < ROUTES_IN_A_FRAME && bytes < 30000; at++) {
			struct active_rcpt *r = &a->rcpts[at];

			if (r->state != ACTIVE_RESOLVING || r->is_asked)
				continue;
			r->is_asked = true;
			bytes += active_recipient(a, r).address.len + 8;
			q->rcpts[q->count++] = at;
		}
		if (q->count == 0)
			ask_free(&routes, q);
		else
			send_route(q);
	}
	a->unasked = at;
}

static void routed(struct ask *q, struct ipc_msg *msg)
{
	struct active *a = q->a;
	struct slice transport, nexthop, plan;
	size_t at_transport = 0, at_nexthop = 0, at_via = 0, at_plan = 0;
	uint64_t via;
	uint32_t *places = q->rcpts, count = q->count, i = 0;
	/* By settings of before, while there are newer ones: asked again. */
	bool is_old = q->peer != NULL && q->peer->worker <= older && has_new();

	q->rcpts = NULL;
	ask_free(&routes, q);
	if (a == NULL)
		goto out;
	if (!is_old && ipc_u64(msg, FIELD_RESULT) != 0) {
		struct slice text = ipc_bytes(msg, FIELD_TEXT);

		active_unrouted(a, text.len > 0 ? text : SLICE_LIT("address resolver failure"));
		goto out;
	}
	a->is_passing = true;
	for (; !is_old && i < count && ipc_next(msg, FIELD_TRANSPORT, &at_transport, &transport) &&
		ipc_next(msg, FIELD_NEXTHOP, &at_nexthop, &nexthop);
		i++) {
		struct active_rcpt *r = &a->rcpts[places[i]];

		if (!ipc_next_u64(msg, FIELD_VIA, &at_via, &via))
			via = 0;
		if (!ipc_next(msg, FIELD_PLAN, &at_plan, &plan))
			plan = SLICE_NONE;
		if (r->state == ACTIVE_RESOLVING)
			active_route(a, r, transport, nexthop, plan, (unsigned)via);
	}
	for (; i < count; i++)
		active_unasked(a, &a->rcpts[places[i]]);
	a->is_passing = false;
	if (a->resolving > 0)
		ask_routes(a);
	active_check(a);
out:
	mem_free(places);
}

/* ---- Notices. ---- */

static void notice_failed(struct ask *q, bool was_made)
{
	struct active *a = q->a;
	enum queue_reason reason = q->reason;
	uint32_t *rcpts = q->rcpts, n = q->count;

	q->rcpts = NULL;
	ask_free(&notices, q);
	if (a != NULL && reason == QUEUE_REASON_REQUEUE)
		active_requeue_failed(a, rcpts, n);
	else if (a != NULL)
		active_notice_done(a, reason, was_made, rcpts, n);
	mem_free(rcpts);
}

static void put_orcpt(struct ipc *c, struct slice orcpt)
{
	struct buf out = BUF_INIT(4 * QUEUE_STRING_MAX);
	ptrdiff_t at = slice_find(orcpt, ';');

	if (at >= 0) {
		buf_add_slice(&out, slice_first(orcpt, (size_t)at + 1));
		address_xtext_encode(&out, slice_from(orcpt, (size_t)at + 1));
		if (buf_slice(&out).len <= proto_field_max(FIELD_ORCPT))
			ipc_put_text(c, FIELD_ORCPT, buf_slice(&out));
	}
	buf_clear(&out);
}

static enum proto_result result_of(enum queue_event_type type)
{
	switch (type) {
	case QUEUE_EV_DELIVERED: return RESULT_OK;
	case QUEUE_EV_EXPIRED: return RESULT_EXPIRED;
	case QUEUE_EV_FAILED: return RESULT_FAILED;
	default: return RESULT_DEFERRED;
	}
}

/* What is said where the event with it has left the log. */
static const char *usual_status(const struct ask *q, uint32_t index)
{
	uint8_t state = q->a->m->r[index].state;

	return state == QUEUE_R_DELIVERED || state == QUEUE_R_RETURNED ? "2.0.0"
	       : state == QUEUE_R_FAILED                               ? "5.0.0"
								       : "4.0.0";
}

static enum proto_result usual_result(const struct ask *q, uint32_t index)
{
	const char *status = usual_status(q, index);

	return *status == '2' ? RESULT_OK : *status == '5' ? RESULT_FAILED : RESULT_DEFERRED;
}

/* The host's reply stands in the text between these words. */
static struct slice diagnostic(struct slice text)
{
	ptrdiff_t at = slice_find_str(text, " said: ");
	ptrdiff_t end;

	if (at < 0)
		return SLICE_NONE;
	text = slice_from(text, (size_t)at + 7);
	end = slice_find_str(text, " (in reply to ");
	return end < 0 ? text : slice_first(text, (size_t)end);
}

/* A host's last reply is the text itself. */
static struct slice reply_to_success(const struct queue_event *ev)
{
	return ev->host.len > 0 && slice_starts(ev->text, "2") ? ev->text : SLICE_NONE;
}

/* That the time which its sender asked for is over is what there is to be said (RFC 2852, 4). */
static bool tells_by(const struct ask *q)
{
	return (q->reason == QUEUE_REASON_DELAY || q->reason == QUEUE_REASON_DELAY_COPY) &&
	       (q->a->m->env.flags & QUEUE_FLAG_BY_NOTIFY);
}

/* The host, or who delivers here; not what is answered without an attempt. */
static struct slice relay_of(const struct queue_event *ev, const struct queue_recipient *to)
{
	if (ev->host.len > 0)
		return ev->host;
	return slice_eq_str(to->transport, "local") || slice_eq_str(to->transport, "virtual")
		       ? to->transport
		       : SLICE_NONE;
}

/* As Postfix says it: of a success, and in a report that was asked for, also by whom. */
static void put_text(struct ipc *c, const struct ask *q, const struct queue_event *ev,
	const struct queue_recipient *to)
{
	struct buf text = BUF_INIT(4096);
	struct slice relay = relay_of(ev, to);

	if ((ev->type == QUEUE_EV_DELIVERED || q->reason == QUEUE_REASON_TRACE) && relay.len > 0)
		(void)buf_add_fmt(&text, "delivery via %.*s: ", SLICE_FMT(relay));
	if (tells_by(q))
		plan_say_over(&text, ev->text);
	else
		(void)buf_add_slice(&text, ev->text);
	if (ev->text.len > 0 || tells_by(q))
		ipc_put_text(c, FIELD_TEXT, buf_slice(&text));
	buf_clear(&text);
}

static struct slice status_of(const struct ask *q, uint32_t index, const struct queue_event *ev)
{
	if (tells_by(q))
		return SLICE_LIT("4.4.7");
	return ev->dsn.len > 0 ? ev->dsn : slice_str(usual_status(q, index));
}

static void put_rcpt(struct ipc *c, const struct ask *q, uint32_t index)
{
	const struct queue_message *m = q->a->m;
	struct queue_recipient to;
	struct queue_event ev = {0};
	struct slice reply;

	queue_store_recipient(m, index, &to);
	bool known = queue_store_last(m, index, &ev);

	reply = ev.type == QUEUE_EV_DELIVERED ? reply_to_success(&ev) : SLICE_NONE;
	if (reply.len == 0)
		reply = diagnostic(ev.text);
	ipc_begin(c, PROTO_NOTICE_RCPT, q->id);
	ipc_put_u64(c, FIELD_INDEX, index);
	ipc_put_text(c, FIELD_RECIPIENT, to.address);
	if (to.orig_to.len > 0)
		ipc_put_text(c, FIELD_ORIG_TO, to.orig_to);
	put_orcpt(c, to.orcpt);
	if (to.notify != 0)
		ipc_put_u64(c, FIELD_NOTIFY, to.notify);
	ipc_put_u64(c, FIELD_RESULT,
		known ? result_of((enum queue_event_type)ev.type) : usual_result(q, index));
	ipc_put_text(c, FIELD_STATUS, status_of(q, index, &ev));
	if (to.flags & QUEUE_RCPT_EXPANDED)
		ipc_put_u64(c, FIELD_HOW, QUEUE_HOW_EXPANDED);
	else if (ev.type == QUEUE_EV_DELIVERED && ev.reason != QUEUE_HOW_NONE)
		ipc_put_u64(c, FIELD_HOW, ev.reason);
	if (ev.host.len > 0)
		ipc_put_text(c, FIELD_REMOTE, ev.host);
	if (reply.len > 0)
		ipc_put_text(c, FIELD_DIAGNOSTIC, reply);
	put_text(c, q, &ev, &to);
	if (ev.time > 0)
		ipc_put_u64(c, FIELD_TIME, (uint64_t)ev.time);
	ipc_end(c);
}

/* Of a large message that is requeued. */
static void send_body(struct ask *q)
{
	if (q->body < 0)
		return;
	ipc_begin(q->peer->ipc, PROTO_NOTICE_BODY, q->id);
	ipc_put_u64(q->peer->ipc, FIELD_SIZE, q->a->m->env.body_len);
	ipc_end_fd(q->peer->ipc, &q->body);
}

static void send_content(struct ask *q)
{
	struct ipc *c = q->peer->ipc;

	while (buf_slice(&q->content).len > 0) {
		struct slice piece = slice_first(buf_slice(&q->content), DATA_PIECE);

		piece = slice_first(piece, ipc_credit(c, q->id));
		if (piece.len == 0 || ipc_room(c) < DATA_PIECE + 4096)
			return;
		ipc_begin(c, PROTO_NOTICE_DATA, q->id);
		ipc_put_bytes(c, FIELD_BYTES, piece);
		if (ipc_end(c) != 0)
			return;
		buf_consume(&q->content, piece.len);
	}
	buf_clear(&q->content);
	q->stage = NOTICE_SENT;
	send_body(q);
	ipc_begin(c, PROTO_NOTICE_GO, q->id);
	ipc_put_u64(c, FIELD_FLAGS, q->flags);
	ipc_end(c);
}

static void send_notice(struct ask *q)
{
	struct server_peer *peer = choose();
	struct queue_envelope env;
	struct buf out = BUF_INIT(60000);
	struct ipc *c;

	if (peer == NULL)
		return;
	queue_store_envelope(q->a->m, &env);
	c = peer->ipc;
	q->peer = peer;
	q->id = ipc_ask(c);
	/* Asked about all at once, so its plain sender is told. */
	if (q->reason != QUEUE_REASON_REQUEUE && conf_bool(P_disable_verp_bounces))
		env.verp = SLICE_NONE;
	/* What is made anew does not tell again. */
	if (plan_was_told(q->a->m, q->rcpts, q->count))
		env.flags |= QUEUE_FLAG_BY_TOLD;
	if (queue_envelope_encode(&out, &env, SLICE_NONE) != 0)
		log_panic("%s: its envelope cannot be encoded", q->a->m->id);
	ipc_begin(c, PROTO_NOTICE, q->id);
	ipc_put_str(c, FIELD_QUEUE_ID, q->a->m->id);
	ipc_put_u64(c, FIELD_REASON, q->reason);
	ipc_put_bytes(c, FIELD_ENVELOPE, buf_slice(&out));
	if (q->reason == QUEUE_REASON_DELAY || q->reason == QUEUE_REASON_DELAY_COPY)
		ipc_put_u64(c, FIELD_DEADLINE, (uint64_t)plan_end(q->a->m));
	ipc_end(c);
	buf_clear(&out);
	ipc_set_arg(c, q->id, true, q);
	for (uint32_t i = 0; i < q->count; i++)
		put_rcpt(c, q, q->rcpts[i]);
	send_content(q);
}

/*
 * The beginning of a large body. It is read here, at most a chunk or two for a message that is
 * returned: nobody else has it in memory.
 */
static void add_body(struct ask *q, size_t limit)
{
	struct queue_message *m = q->a->m;
	struct queue_body_reader r;
	struct slice chunk;
	int fd = -1;

	if (!(m->env.flags & QUEUE_FLAG_BODY_FILE) || q->content.len >= limit ||
		queue_store_body(m, &fd) != 0)
		return;
	queue_body_reader_init(&r, &queue_io_posix, fd, m->env.body_len);
	while (q->content.len < limit && queue_body_reader_next(&r, &chunk) == 0 && chunk.len > 0)
		buf_add_slice(&q->content, chunk);
	queue_body_reader_clear(&r);
	fd_close(&fd);
}

/* To the end of the line that reaches the limit. */
static void cut_content(struct ask *q, size_t limit)
{
	struct slice rest;
	ptrdiff_t end;

	if (q->content.len <= limit)
		return;
	rest = slice_first(slice_from(buf_slice(&q->content), limit - 1), LINE_MAX_RETURNED);
	end = slice_find(rest, '\n');
	buf_truncate(&q->content, end < 0 ? limit : limit + (size_t)end);
}

/*
 * Whether a notice returns headers alone: the sender asked for that (RFC 3461, 4.3), nothing was
 * lost, or the content must not go without TLS (RFC 8689, 5).
 */
static bool is_headers_alone(const struct ask *q)
{
	const struct queue_brief *env = &q->a->m->env;

	return q->reason != QUEUE_REASON_BOUNCE || env->ret == QUEUE_RET_HDRS ||
	       ((env->flags & QUEUE_FLAG_REQUIRETLS) && conf_bool(P_requiretls_redact_dsn));
}

/* Up to bounce_size_limit. */
static void set_content(struct ask *q, struct slice content)
{
	const struct queue_brief *env = &q->a->m->env;
	size_t limit = (size_t)conf_int(P_bounce_size_limit);
	bool headers = is_headers_alone(q) || content.len == 0;

	q->flags = headers ? 2 : 1;
	buf_add_slice(&q->content, headers ? slice_first(content, env->header_len) : content);
	if (!headers)
		add_body(q, limit);
	cut_content(q, limit);
	q->stage = NOTICE_SENDS;
	send_notice(q);
}

/* All of it, or it is not made anew. */
static void set_whole(struct ask *q, int err, struct slice content)
{
	struct queue_message *m = q->a->m;

	if (err == 0 && (m->env.flags & QUEUE_FLAG_BODY_FILE))
		err = queue_store_body(m, &q->body);
	if (err == 0)
		err = buf_add_slice(&q->content, content);
	if (err != 0) {
		log_warning("%s: cannot be requeued: %s", m->id, err_str(err));
		notice_failed(q, false);
		return;
	}
	q->stage = NOTICE_SENDS;
	send_notice(q);
}

/* Without its content a notice still says what is to be said. */
static void take_content(struct ask *q, int err, struct slice content)
{
	if (q->reason == QUEUE_REASON_REQUEUE)
		set_whole(q, err, content);
	else
		set_content(q, err == 0 ? content : SLICE_NONE);
}

void ask_content(struct queue_message *m, int result, struct slice content)
{
	struct ask *q, *next;

	for (q = TAILQ_FIRST(&notices); q != NULL; q = next) {
		next = TAILQ_NEXT(q, link);
		if (q->stage != NOTICE_READS || q->a == NULL || q->a->m != m)
			continue;
		take_content(q, result, content);
	}
}

static void begin_notice(struct ask *q)
{
	struct buf content = BUF_INIT(QUEUE_RECORD_MAX);
	int err = 0;

	notices_open++;
	q->stage = NOTICE_READS;
	if (q->reason != QUEUE_REASON_REQUEUE)
		err = queue_store_ask(q->a->m, q->rcpts, q->count, q->reason);
	if (err != 0) {
		notice_failed(q, false);
		return;
	}
	err = queue_store_content(q->a->m, &content);
	if (err != ERR_LATER)
		take_content(q, err, buf_slice(&content));
	buf_clear(&content);
}

/* Begins what waits, and sends what found no cleanup before. */
static void run(void)
{
	struct ask *q, *next;

	for (q = TAILQ_FIRST(&notices); q != NULL; q = next) {
		next = TAILQ_NEXT(q, link);
		if (q->a == NULL && q->peer == NULL)
			ask_free(&notices, q);
		else if (q->stage == NOTICE_WAITS && q->worker == 0 && notices_open < NOTICES)
			begin_notice(q);
		else if (q->stage == NOTICE_SENDS && q->peer == NULL)
			send_notice(q);
	}
	for (q = TAILQ_FIRST(&routes); q != NULL; q = next) {
		next = TAILQ_NEXT(q, link);
		if (q->a == NULL && q->peer == NULL)
			ask_free(&routes, q);
		else if (q->peer == NULL)
			send_route(q);
	}
}

static void ask_child(struct active *a, const uint32_t *rcpts, uint32_t n, enum queue_reason reason)
{
	struct ask *q = ask_new(&notices, a, n);

	q->reason = reason;
	memcpy(q->rcpts, rcpts, n * sizeof(*rcpts));
	buf_init(&q->content, QUEUE_RECORD_MAX);
	if (notices_open < NOTICES)
		begin_notice(q);
}

void ask_notice_of(struct active *a, enum queue_reason reason, const uint32_t *rcpts, uint32_t n)
{
	ask_child(a, rcpts, n, reason);
}

void ask_requeue_of(struct active *a, const uint32_t *rcpts, uint32_t n)
{
	ask_child(a, rcpts, n, QUEUE_REASON_REQUEUE);
}

size_t ask_notices(void)
{
	return notices_open;
}

/* ---- Answers and ends. ---- */

bool ask_msg(struct server_peer *peer, struct ipc_msg *msg)
{
	struct ask *q = msg->arg;

	switch (msg->type) {
	case PROTO_RESOLVED:
		if (q != NULL)
			routed(q, msg);
		break;
	case PROTO_NOTICE_GRANT:
		if (q != NULL && q->stage == NOTICE_SENDS)
			send_content(q);
		break;
	case PROTO_NOTICE_DONE:
		/* With an id it counts when the store has read it: active_child. */
		if (q != NULL && ipc_bytes(msg, FIELD_QUEUE_ID).len > 0)
			ask_free(&notices, q);
		else if (q != NULL)
			notice_failed(q, true);
		break;
	case PROTO_NOTICE_FAILED:
		if (q != NULL) {
			log_warning("%s: %s cannot be made now: %s",
				q->a != NULL && q->a->m != NULL ? q->a->m->id : "NOQUEUE",
				q->reason == QUEUE_REASON_REQUEUE ? "its requeued copy"
								  : "a notice",
				log_q(ipc_bytes(msg, FIELD_TEXT)));
			notice_failed(q, false);
		}
		ipc_send(peer->ipc, PROTO_NOTICE_DISCARD, msg->id);
		break;
	default: return false;
	}
	run();
	return true;
}

/*
 * Each becomes mail, and who asks for it may have been broken into: so many at once, and one a
 * second. What cleanup does not read on is left out as well.
 */
enum { TRANSCRIPTS_AT_ONCE = 100, TRANSCRIPT_ROOM = 2 * IPC_FRAME_LIMIT };

static bool may_tell(const struct server_peer *peer)
{
	static int64_t paid_until;
	static bool is_full;
	bool was_full = is_full;

	if (paid_until < loop_now())
		paid_until = loop_now();
	is_full = paid_until > loop_now() + (TRANSCRIPTS_AT_ONCE - 1) * CLOCK_SEC ||
		  ipc_room(peer->ipc) < TRANSCRIPT_ROOM;
	if (is_full && !was_full)
		log_warning("too many transcripts of sessions at once: some are left out");
	if (!is_full)
		paid_until += CLOCK_SEC;
	return !is_full;
}

void ask_transcript(const struct ipc_msg *msg)
{
	struct server_peer *peer = choose();

	if (peer == NULL || !may_tell(peer))
		return;
	ipc_begin(peer->ipc, PROTO_TRANSCRIPT, 0);
	ipc_put_u64(peer->ipc, FIELD_FLAGS, ipc_u64(msg, FIELD_FLAGS));
	ipc_put_text(peer->ipc, FIELD_NAME, ipc_bytes(msg, FIELD_NAME));
	ipc_put_text(peer->ipc, FIELD_REMOTE, ipc_bytes(msg, FIELD_REMOTE));
	ipc_put_bytes(peer->ipc, FIELD_BYTES, ipc_bytes(msg, FIELD_BYTES));
	(void)ipc_end(peer->ipc);
}

void ask_peer_new(void)
{
	/* Meanwhile those of before have given routes: what has not left yet gets its own. */
	if (is_waiting_for_new && has_new()) {
		is_waiting_for_new = false;
		active_reroute();
	}
	run();
}

void ask_peer_room(struct server_peer *peer)
{
	struct ask *q;

	TAILQ_FOREACH(q, &notices, link)
	if (q->peer == peer && q->stage == NOTICE_SENDS)
		send_content(q);
	run();
}

void ask_peer_gone(struct server_peer *peer)
{
	struct ask *q, *next;

	TAILQ_FOREACH(q, &routes, link)
	if (q->peer == peer)
		q->peer = NULL;
	for (q = TAILQ_FIRST(&notices); q != NULL; q = next) {
		next = TAILQ_NEXT(q, link);
		if (q->peer != peer)
			continue;
		q->peer = NULL;
		if (q->stage == NOTICE_SENT)
			q->worker = peer->worker;
		else if (q->a == NULL)
			ask_free(&notices, q);
		else
			notice_failed(q, false);
	}
	run();
}

void ask_worker_done(uint64_t worker)
{
	struct ask *q, *next;

	for (q = TAILQ_FIRST(&notices); q != NULL; q = next) {
		struct active *a = q->a;

		next = TAILQ_NEXT(q, link);
		if (q->worker != worker || worker == 0)
			continue;
		if (q->reason == QUEUE_REASON_REQUEUE) {
			if (a != NULL)
				notice_failed(q, false);
			else
				ask_free(&notices, q);
			continue;
		}
		if (a != NULL && a->m != NULL && a->is_asking) {
			/* Certainly not committed: ask another one. */
			a->is_asking = false;
			active_unask(a, q->rcpts, q->count);
		}
		ask_free(&notices, q);
		if (a != NULL)
			active_check(a);
	}
}

static void forget(struct asks *list, const struct active *a)
{
	struct ask *q;

	TAILQ_FOREACH(q, list, link)
	if (q->a == a)
		q->a = NULL;
}

void ask_forget_routes(const struct active *a)
{
	forget(&routes, a);
}

void ask_forget(const struct active *a)
{
	forget(&routes, a);
	forget(&notices, a);
}

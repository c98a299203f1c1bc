/* SPDX-License-Identifier: ISC */
#include "cleanup/notice_private.h"

#include <stdlib.h>

#include "cleanup/cleanup.h"
#include "cleanup/intro.h"
#include "cleanup/message.h"
#include "cleanup/requeue.h"
#include "cleanup/trace.h"
#include "conf/conf.h"
#include "mail/address.h"
#include "mail/dsn.h"
#include "mail/mailclass.h"
#include "mail/verp.h"
#include "queue/state.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/wire.h"

static TAILQ_HEAD(, notice) all = TAILQ_HEAD_INITIALIZER(all);
static unsigned tells; /* enum mail_class */

void notice_open(void)
{
	intro_open();
	tells = mail_classes(slice_str(conf_str(P_notify_classes)));
}

void notice_double_bounce(struct buf *out)
{
	struct slice sender = slice_str(conf_str(P_double_bounce_sender));

	buf_reset(out);
	(void)buf_add_slice(out, sender);
	if (slice_find(sender, '@') < 0)
		(void)buf_add_fmt(out, "@%s", conf_str(P_myhostname));
}

bool notice_is_idle(void)
{
	return TAILQ_EMPTY(&all);
}

static void notice_free(struct notice *n)
{
	TAILQ_REMOVE(&all, n, next);
	buf_clear(&n->text);
	buf_clear(&n->status);
	buf_clear(&n->content);
	buf_clear(&n->told);
	buf_clear(&n->to);
	buf_clear(&n->sender);
	buf_clear(&n->about);
	mem_free(n->strings);
	mem_free(n);
}

/* Answers. */

static void answer_failed(struct notice *n, const char *text)
{
	ipc_begin(n->peer->ipc, PROTO_NOTICE_FAILED, n->id);
	ipc_put_str(n->peer->ipc, FIELD_TEXT, text);
	(void)ipc_end(n->peer->ipc);
	ipc_set_arg(n->peer->ipc, n->id, false, NULL);
	notice_free(n);
}

/* id NULL: nobody is to be told. */
static void answer_done(struct notice *n, const char *id)
{
	ipc_begin(n->peer->ipc, PROTO_NOTICE_DONE, n->id);
	if (id != NULL)
		ipc_put_str(n->peer->ipc, FIELD_QUEUE_ID, id);
	(void)ipc_end(n->peer->ipc);
	notice_free(n);
}

static const char *word(enum dsn_kind kind)
{
	switch (kind) {
	case DSN_FAILED: return "non-delivery";
	case DSN_DELAYED: return "delay";
	default: return "delivery status";
	}
}

static void log_notice(const struct notice *n, const struct message *m, bool to_postmaster)
{
	log_info_as("bounce", "%s: %s %s notification: %s", n->parent_id,
		to_postmaster ? "postmaster" : "sender", word(n->kind), m->id);
}

static bool is_copy(const struct notice *n)
{
	return n->reason == QUEUE_REASON_BOUNCE_COPY || n->reason == QUEUE_REASON_DELAY_COPY;
}

static bool is_to_postmaster(const struct notice *n)
{
	return is_copy(n) || n->parent.sender.len == 0;
}

static void done(struct message *m)
{
	struct notice *n = m->owner;

	log_notice(n, m, is_to_postmaster(n));
	/* qmgr's "removed" comes behind it. */
	(void)log_flush();
	answer_done(n, m->id);
}

static void failed(struct message *m, const struct message_failure *why)
{
	answer_failed(m->owner, why->text);
}

static const struct message_calls calls = {done, failed};

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = wire_get_u32(a), y = wire_get_u32(b);

	return x < y ? -1 : x > y;
}

static void name_parent(struct notice *n, struct message *m)
{
	struct slice told = buf_slice(&n->told);

	buf_add_slice(&m->parents, told);
	if (m->parents.len > 0)
		qsort((char *)(uintptr_t)buf_str(&m->parents), n->told_n, 4, compare_u32);
	m->env.parent = slice_str(n->parent_id);
	m->env.parent_rcpts = buf_slice(&m->parents);
	m->env.reason = (uint8_t)n->reason;
}

static void send(struct notice *n, bool is_complete)
{
	const struct message_failure *why = NULL;
	struct message *m = NULL;

	if (message_new(&calls, n, &m) != 0) {
		answer_failed(n, "no queue id");
		return;
	}
	n->message = m;
	name_parent(n, m);
	why = notice_make(n, m, is_to_postmaster(n), is_complete, buf_slice(&n->to));
	if (why != NULL) {
		message_fail(m, why);
		return;
	}
	trace_received(m);
	message_commit(m);
}

/* Which postmaster wants it: instead of a sender, or beside him. NULL: none. */
static const char *postmaster_of(const struct notice *n)
{
	bool is_double = n->parent.sender.len == 0;

	if (n->kind == DSN_FAILED && (tells & (is_double ? MAIL_CLASS_2BOUNCE : MAIL_CLASS_BOUNCE)))
		return conf_str(is_double ? P_2bounce_notice_recipient : P_bounce_notice_recipient);
	return n->kind == DSN_DELAYED && (tells & MAIL_CLASS_DELAY)
		       ? conf_str(P_delay_notice_recipient)
		       : NULL;
}

/* Of mail with VERP each recipient has a sender of its own, and qmgr asks for each alone. */
static void address_sender(struct notice *n)
{
	if (n->parent.verp.len > 0 && n->about.len > 0)
		(void)verp_sender(&n->to, n->parent.verp, n->parent.sender, buf_slice(&n->about));
	else
		(void)buf_add_slice(&n->to, n->parent.sender);
}

/* Whom to tell. False: nobody. */
static bool address(struct notice *n)
{
	struct buf double_bounce = BUF_INIT(ADDRESS_LIMIT);
	struct slice sender = n->parent.sender;
	const char *postmaster = postmaster_of(n);
	bool is_double;

	notice_double_bounce(&double_bounce);
	is_double = slice_case_eq(sender, buf_slice(&double_bounce));
	if (is_double && !is_copy(n) && (n->kind == DSN_FAILED || n->kind == DSN_DELAYED)) {
		log_warning("%s: undeliverable postmaster notification discarded", n->parent_id);
	} else if (sender.len > 0 && !is_double && !is_copy(n)) {
		address_sender(n);
	} else if (!is_double && is_copy(n) == (sender.len > 0) && postmaster != NULL) {
		route_complete(cleanup.route, slice_str(postmaster), &n->to);
		buf_add_slice(&n->sender, buf_slice(&double_bounce));
	}
	buf_clear(&double_bounce);
	return n->to.len > 0 && n->told_about > 0;
}

/* The request's frames. */

static int take_envelope(struct notice *n, struct slice encoded)
{
	n->strings = mem_dup(encoded.p, encoded.len);
	return queue_envelope_decode(slice_of(n->strings, encoded.len), &n->parent);
}

static void requeue_done(struct message *m)
{
	answer_done(m->owner, m->id);
}

static const struct message_calls requeue_calls = {requeue_done, failed};

static void open_requeue(struct notice *n, struct slice encoded)
{
	if (message_new(&requeue_calls, n, &n->message) != 0)
		answer_failed(n, "no queue id");
	else if (requeue_fill(n->message, encoded) != 0)
		message_fail(n->message, &message_write_error);
}

/* A question (sendmail -bv) has the text of a report, not that of a success. */
static enum dsn_kind kind_of(const struct notice *n)
{
	switch (n->reason) {
	case QUEUE_REASON_DELAY:
	case QUEUE_REASON_DELAY_COPY: return DSN_DELAYED;
	case QUEUE_REASON_TRACE: return DSN_TRACED;
	case QUEUE_REASON_SUCCESS:
		return n->parent.flags & QUEUE_FLAG_PROBE ? DSN_TRACED : DSN_DELIVERED;
	default: return DSN_FAILED;
	}
}

static void open_notice(struct server_peer *peer, struct ipc_msg *msg)
{
	struct notice *n = mem_alloc(sizeof(*n));
	struct slice id = ipc_bytes(msg, FIELD_QUEUE_ID);

	n->peer = peer;
	n->id = msg->id;
	n->reason = ipc_u64(msg, FIELD_REASON);
	n->deadline = (int64_t)ipc_u64(msg, FIELD_DEADLINE);
	buf_init(&n->text, PARTS_LIMIT);
	buf_init(&n->status, PARTS_LIMIT);
	buf_init(&n->content, CONTENT_LIMIT);
	buf_init(&n->told, QUEUE_PARENTS_MAX * 4);
	buf_init(&n->to, ADDRESS_LIMIT);
	buf_init(&n->sender, ADDRESS_LIMIT);
	buf_init(&n->about, ADDRESS_LIMIT);
	TAILQ_INSERT_TAIL(&all, n, next);
	ipc_set_arg(peer->ipc, msg->id, false, n);
	if (!queue_id_is_valid(id) || take_envelope(n, ipc_bytes(msg, FIELD_ENVELOPE)) != 0) {
		answer_failed(n, "the envelope of the message is damaged");
		return;
	}
	n->kind = kind_of(n);
	memcpy(n->parent_id, id.p, id.len);
	if (n->reason == QUEUE_REASON_REQUEUE)
		open_requeue(n, ipc_bytes(msg, FIELD_ENVELOPE));
}

/* Whether the sender wants to hear of this recipient (RFC 3461, 4.1). */
static bool is_wanted(const struct notice *n, unsigned notify)
{
	/* Of others qmgr knows why it asks: a delay that is over, a report that was asked for. */
	return notify == 0 || is_copy(n) || n->kind == DSN_DELIVERED || n->kind == DSN_TRACED ||
	       (notify & (n->kind == DSN_DELAYED ? QUEUE_NOTIFY_DELAY : QUEUE_NOTIFY_FAILURE));
}

/* RFC 3464, 2.3.3; what was only asked for as Postfix says it. */
static const char *action_of(uint64_t result, uint64_t how)
{
	static const char *const actions[] = {[QUEUE_HOW_NONE] = "delivered",
		[QUEUE_HOW_DELIVERED] = "delivered",
		[QUEUE_HOW_RELAYED] = "relayed",
		[QUEUE_HOW_TAKEN] = "relayed",
		[QUEUE_HOW_EXPANDED] = "expanded",
		[QUEUE_HOW_DELIVERABLE] = "deliverable",
		[QUEUE_HOW_UNDELIVERABLE] = "undeliverable",
		[QUEUE_HOW_BY] = "relayed"};

	if (result == RESULT_OK)
		return how < sizeof(actions) / sizeof(actions[0]) ? actions[how] : actions[0];
	return result == RESULT_DEFERRED ? "delayed" : "failed";
}

static void take_recipient(struct notice *n, const struct ipc_msg *msg)
{
	struct buf orcpt = BUF_INIT(QUEUE_STRING_MAX), plain = BUF_INIT(QUEUE_STRING_MAX);
	struct dsn_report r = {.kind = n->kind, .is_utf8 = n->parent.flags & QUEUE_FLAG_SMTPUTF8};
	struct dsn_recipient rcpt = {
		.action = action_of(ipc_u64(msg, FIELD_RESULT), ipc_u64(msg, FIELD_HOW)),
		.address = ipc_bytes(msg, FIELD_RECIPIENT),
		.orig_to = ipc_bytes(msg, FIELD_ORIG_TO),
		.status = ipc_bytes(msg, FIELD_STATUS),
		.remote = ipc_bytes(msg, FIELD_REMOTE),
		.diagnostic = ipc_bytes(msg, FIELD_DIAGNOSTIC),
		.text = ipc_bytes(msg, FIELD_TEXT),
		.last_attempt = (int64_t)ipc_u64(msg, FIELD_TIME)};
	struct slice type;

	r.deadline = n->deadline;
	if (n->told_n == QUEUE_PARENTS_MAX)
		return;
	wire_u32(&n->told, (uint32_t)ipc_u64(msg, FIELD_INDEX));
	n->told_n++;
	if (n->message == NULL && !is_wanted(n, (unsigned)ipc_u64(msg, FIELD_NOTIFY)))
		return;
	if (ipc_has(msg, FIELD_ORCPT) && address_orcpt_decode(ipc_bytes(msg, FIELD_ORCPT),
						 ADDRESS_UTF8, &type, &plain) == 0) {
		buf_add_fmt(&orcpt, "%.*s;%s", SLICE_FMT(type), buf_str(&plain));
		rcpt.orcpt = buf_slice(&orcpt);
	}
	n->told_about++;
	if (n->message != NULL) {
		requeue_recipient(n->message, &rcpt, (unsigned)ipc_u64(msg, FIELD_NOTIFY),
			ipc_u64(msg, FIELD_HOW) == QUEUE_HOW_EXPANDED);
	} else {
		if (n->about.len == 0)
			(void)buf_add_slice(
				&n->about, rcpt.orig_to.len > 0 ? rcpt.orig_to : rcpt.address);
		dsn_add_text(&n->text, &r, &rcpt);
		dsn_add_status(&n->status, &r, &rcpt);
	}
	buf_clear(&plain);
	buf_clear(&orcpt);
}

/* What is over the limit is left out: a report need not hold all of the message. */
static void take_content(struct notice *n, struct slice bytes)
{
	const struct message_failure *why = NULL;

	n->ungranted += bytes.len;
	if (n->message != NULL)
		why = content_add(n->message, bytes);
	else
		(void)buf_add_slice(&n->content, bytes);
	if (why != NULL) {
		message_fail(n->message, why);
		return;
	}
	if (n->ungranted < GRANT)
		return;
	ipc_begin(n->peer->ipc, PROTO_NOTICE_GRANT, n->id);
	ipc_put_u64(n->peer->ipc, FIELD_SIZE, n->ungranted);
	(void)ipc_end(n->peer->ipc);
	n->ungranted = 0;
}

static void take_body(struct notice *n, struct ipc_msg *msg)
{
	const struct message_failure *why = NULL;

	if (n->message == NULL)
		return;
	why = requeue_body(n->message, msg->fd, ipc_u64(msg, FIELD_SIZE));
	if (why != NULL)
		message_fail(n->message, why);
}

static void go_requeue(struct notice *n)
{
	struct message *m = n->message;
	const struct message_failure *why = requeue_end(m, n->parent_id);

	if (why == NULL && m->content.size != n->parent.size)
		why = &message_write_error;
	name_parent(n, m);
	if (why != NULL)
		message_fail(m, why);
	else
		message_commit(m);
}

static void go(struct notice *n, uint64_t flags)
{
	if (n->message != NULL) {
		go_requeue(n);
		return;
	}
	if (!address(n)) {
		answer_done(n, NULL);
		return;
	}
	n->is_redacted =
		(n->parent.flags & QUEUE_FLAG_REQUIRETLS) && conf_bool(P_requiretls_redact_dsn);
	if (n->is_redacted)
		notice_redact(n);
	n->is_8bit = !slice_is_ascii(buf_slice(&n->content)) || !slice_is_ascii(n->parent.sender);
	send(n, (flags & FLAG_COMPLETE) && !buf_failed(&n->content));
}

void notice_msg(struct server_peer *peer, struct ipc_msg *msg)
{
	struct notice *n = msg->arg;

	if (msg->type == PROTO_NOTICE) {
		open_notice(peer, msg);
		return;
	}
	/* It has failed already, and qmgr has not heard yet. */
	if (n == NULL)
		return;
	switch (msg->type) {
	case PROTO_NOTICE_RCPT: take_recipient(n, msg); break;
	case PROTO_NOTICE_DATA: take_content(n, ipc_bytes(msg, FIELD_BYTES)); break;
	case PROTO_NOTICE_GO: go(n, ipc_u64(msg, FIELD_FLAGS)); break;
	case PROTO_NOTICE_BODY: take_body(n, msg); break;
	case PROTO_NOTICE_DISCARD:
		message_discard(&n->message);
		notice_free(n);
		break;
	default: break;
	}
}

void notice_peer_gone(struct server_peer *qmgr)
{
	struct notice *next = NULL;

	for (struct notice *n = TAILQ_FIRST(&all); n != NULL; n = next) {
		next = TAILQ_NEXT(n, next);
		if (n->peer != qmgr)
			continue;
		/* What is in the journal already stays: the next qmgr finds it there (Q14). */
		message_discard(&n->message);
		notice_free(n);
	}
}

/* SPDX-License-Identifier: ISC */
#include "cleanup/recipients.h"

#include "cleanup/cleanup.h"
#include "cleanup/message.h"
#include "cleanup/trace.h"
#include "conf/conf.h"
#include "mail/address.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/wire.h"

enum {
	QUESTIONS = 1000,         /* of one step: an expansion or a route */
	EXPANDED_LIMIT = 4 << 20, /* bytes of what one recipient expands to */
	SEEN_LIMIT = 1000000
};

void recipients_init(struct message *m)
{
	struct recipients *r = &m->recipients;

	later_init(&r->later, QUESTIONS, NULL, NULL);
	buf_init(&r->expanded, EXPANDED_LIMIT);
	buf_init(&r->encoded, QUEUE_ENVELOPE_MAX);
	buf_init(&r->text, 512);
	route_result_init(&r->route);
}

void recipients_clear(struct message *m)
{
	struct recipients *r = &m->recipients;

	later_clear(&r->later);
	dict_free(&r->seen);
	buf_clear(&r->expanded);
	buf_clear(&r->encoded);
	buf_clear(&r->text);
	route_result_clear(&r->route);
}

static void wake(void *arg)
{
	struct message *m = arg;

	m->recipients.resume(m);
}

void recipients_start(struct message *m, void (*resume)(struct message *m))
{
	struct recipients *r = &m->recipients;
	int64_t limit = conf_int(P_duplicate_filter_limit);

	later_init(&r->later, QUESTIONS, wake, m);
	r->resume = resume;
	/* One recipient's aliases are without duplicates already. */
	if (m->rcpt_n > 1)
		r->seen = dict_new(
			limit > 0 && limit < SEEN_LIMIT ? (size_t)limit : SEEN_LIMIT, NULL);
}

static void fail(struct message_failure *why, const struct message_failure *how)
{
	*why = *how;
}

static void keep_address(struct slice address, void *arg)
{
	wire_counted(arg, address);
}

/* More than one address? */
static bool has_many(struct slice expanded)
{
	struct reader in = reader_of(expanded);

	(void)reader_counted(&in, in.in.len);
	return in.in.len > 0;
}

/* Aliases of the present recipient. */
static int expand(struct message *m, struct message_failure *why)
{
	struct recipients *r = &m->recipients;
	struct slice address = m->rcpts[r->at]->address;
	struct buf text = BUF_INIT(256);
	int err;

	buf_reset(&r->expanded);
	r->offset = 0;
	err = route_expand(cleanup.route, address, &r->later, keep_address, &r->expanded, &text);
	buf_clear(&text);
	if (err == ERR_LATER)
		return err;
	later_clear(&r->later);
	if (err == 0 && !buf_failed(&r->expanded)) {
		r->is_expanded = true;
		if (has_many(buf_slice(&r->expanded))) {
			struct message_rcpt *from = m->rcpts[r->at];

			from->notify = message_expanded(m, r->at, from->given, from->orig_to);
		}
		return 0;
	}
	if (err == 0 || err == ERR_LIMIT) {
		log_warning("%s: unreasonable virtual_alias_maps map expansion size or nesting for "
			    "%s -- message not accepted, try again later",
			m->id, log_q(address));
		fail(why, &(struct message_failure){451, "4.6.0", "Alias expansion error"});
	} else {
		log_warning("%s: virtual_alias_maps map lookup problem for %s -- message not "
			    "accepted, try again later",
			m->id, log_q(address));
		fail(why, &message_write_error);
	}
	return ERR_TEMP;
}

/* Whether this one has come before; with enable_original_recipient from the same original. */
static bool is_duplicate(struct message *m, const struct queue_recipient *q, struct slice original)
{
	static char there;
	struct recipients *r = &m->recipients;
	struct buf key = BUF_INIT(4096);
	bool found = false;

	if (r->seen == NULL)
		return false;
	buf_add_lower(&key, q->address);
	if (cleanup.keep_original) {
		buf_add_fmt(&key, "\n%u\n", q->notify);
		buf_add_slice(&key, q->orcpt);
		buf_add_char(&key, '\n');
		buf_add_lower(&key, original);
	}
	found = !buf_failed(&key) && dict_get(r->seen, buf_slice(&key)) != NULL;
	/* At its limit it remembers no more, as in Postfix. */
	if (!found && !buf_failed(&key))
		(void)dict_set(r->seen, buf_slice(&key), &there);
	buf_clear(&key);
	return found;
}

/* Transports that qmgr answers itself have a text where others have a next hop. */
static bool is_answered_at_once(struct slice transport)
{
	return slice_eq_str(transport, "error") || slice_eq_str(transport, "retry") ||
	       slice_eq_str(transport, "discard");
}

static const struct message_failure too_large = {552, "5.3.4", "Message size exceeds fixed limit"};

static bool is_too_large(const struct message *m)
{
	return cleanup.outgoing_limit > 0 && m->content.size > cleanup.outgoing_limit &&
	       m->recipients.route.class == ROUTE_DEFAULT &&
	       (m->env.flags & QUEUE_FLAG_NOTICE) == 0;
}

/* It is returned, unless nobody gets the message and the client can be told. */
static void return_one(struct recipients *r)
{
	buf_reset(&r->route.transport);
	buf_reset(&r->route.nexthop);
	buf_add_str(&r->route.transport, "error");
	buf_add_fmt(&r->route.nexthop, "%s %s", too_large.status, too_large.text);
	r->too_large++;
}

static int encode(struct message *m, struct queue_recipient *q, struct message_failure *why)
{
	struct recipients *r = &m->recipients;

	if (is_too_large(m))
		return_one(r);
	else if (m->actions.filter != NULL)
		action_filter(slice_str(m->actions.filter), &r->route);
	struct slice nexthop = buf_slice(&r->route.nexthop);
	int err;

	q->class = (uint8_t)r->route.class;
	q->transport = buf_slice(&r->route.transport);
	if (is_answered_at_once(q->transport))
		q->reason = slice_first(nexthop, QUEUE_STRING_MAX);
	else
		q->nexthop = nexthop;
	q->plan = buf_slice(&r->route.plan);
	q->via = (uint16_t)r->route.via;
	err = queue_recipient_encode(&r->encoded, q);
	if (err == 0) {
		r->n++;
		return 0;
	}
	log_warning("%s: recipient %s with transport %s and next hop %s: %s", m->id,
		log_q(q->address), log_q(q->transport), log_q(nexthop), err_str(err));
	fail(why, &message_write_error);
	return ERR_TEMP;
}

/* The route of one address of the present recipient. */
static int route_one(struct message *m, struct slice address, struct message_failure *why)
{
	struct recipients *r = &m->recipients;
	const struct message_rcpt *from = m->rcpts[r->at];
	struct slice original = from->orig_to.len > 0 ? from->orig_to : from->given;
	struct queue_recipient q = {
		.address = address, .orcpt = from->orcpt, .notify = from->notify};
	bool is_probe = (m->env.flags & (QUEUE_FLAG_PROBE | QUEUE_FLAG_TRACE)) == QUEUE_FLAG_PROBE;
	int err = route_resolve(is_probe ? cleanup.probe_route : cleanup.route, address,
		m->env.sender, &r->later, &r->route);

	if (err == ERR_LATER)
		return err;
	later_clear(&r->later);
	if (err != 0) {
		log_warning("%s: the route of %s cannot be looked up -- message not accepted, try "
			    "again later",
			m->id, log_q(address));
		fail(why, &(struct message_failure){451, "4.3.0", "Temporary lookup failure"});
		return ERR_TEMP;
	}
	if (r->route.address.len > 0)
		q.address = buf_slice(&r->route.address);
	if (is_duplicate(m, &q, original))
		return 0;
	if (cleanup.keep_original && !slice_eq(original, q.address))
		q.orig_to = original;
	return encode(m, &q, why);
}

/* It goes nowhere: qmgr has it delivered at once, and tells of it. */
static int keep_expanded(struct message *m, struct message_failure *why)
{
	struct recipients *r = &m->recipients;
	const struct message_rcpt *from = m->rcpts[r->at];
	struct queue_recipient q = {.address = from->address,
		.orig_to = from->orig_to,
		.orcpt = from->orcpt,
		.notify = from->notify,
		.flags = QUEUE_RCPT_EXPANDED};

	if (queue_recipient_encode(&r->encoded, &q) == 0) {
		r->n++;
		return 0;
	}
	fail(why, &message_write_error);
	return ERR_TEMP;
}

/* As qmgr of Postfix returns what its resolver does not understand. */
static int return_bad(struct message *m, struct message_failure *why)
{
	struct recipients *r = &m->recipients;
	const struct message_rcpt *from = m->rcpts[r->at];

	route_result_clear(&r->route);
	route_result_init(&r->route);
	buf_add_str(&r->route.transport, "error");
	buf_add_str(&r->route.nexthop, "5.1.3 bad address syntax");
	return encode(m,
		&(struct queue_recipient){.address = from->address, .notify = from->notify}, why);
}

static int run_one(struct message *m, struct message_failure *why)
{
	struct recipients *r = &m->recipients;
	int err = 0;

	if (m->rcpts[r->at]->is_dropped)
		return 0;
	if (m->rcpts[r->at]->is_bad)
		return return_bad(m, why);
	if (m->rcpts[r->at]->is_expanded)
		return keep_expanded(m, why);
	if (!r->is_expanded)
		err = expand(m, why);
	while (err == 0 && r->offset < r->expanded.len) {
		struct reader in = reader_of(slice_from(buf_slice(&r->expanded), r->offset));
		struct slice address = reader_counted(&in, in.in.len);

		err = route_one(m, address, why);
		if (err == 0)
			r->offset += 4 + address.len;
	}
	return err;
}

int recipients_run(struct message *m, struct message_failure *why)
{
	struct recipients *r = &m->recipients;
	int err = 0;

	if (!r->is_traced)
		trace_missing(m);
	r->is_traced = true;
	for (; err == 0 && r->at < m->rcpt_n; r->at++) {
		err = run_one(m, why);
		if (err != 0)
			return err;
		r->is_expanded = false;
	}
	if (err == 0 && r->n > 0 && r->too_large == r->n && !m->returns) {
		log_warning("%s: outgoing_message_size_limit exceeded", m->id);
		fail(why, &too_large);
		return ERR_TEMP;
	}
	return err;
}

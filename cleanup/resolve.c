/* SPDX-License-Identifier: ISC */
#include "cleanup/resolve.h"

#include "cleanup/action.h"
#include "cleanup/cleanup.h"
#include "queue/envelope.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

enum { QUESTIONS = 1000, ROUTES_LIMIT = 60000 };

/* One request; its routes are collected as fields of the answer. */
struct resolve {
	TAILQ_ENTRY(resolve) next;
	struct server_peer *peer;
	uint64_t id;
	char *body; /* owned: the request's fields */
	struct ipc_msg msg;
	struct later later;
	struct route_result route;
	size_t at; /* for ipc_next over the recipients */
	bool has_recipient;
	struct slice recipient;
	struct {
		uint64_t class, via;
		char *transport, *nexthop, *plan; /* owned */
	} * routes;
	size_t n, cap, bytes;
};

static TAILQ_HEAD(, resolve) all = TAILQ_HEAD_INITIALIZER(all);

static void resolve_free(struct resolve *r)
{
	TAILQ_REMOVE(&all, r, next);
	later_clear(&r->later);
	route_result_clear(&r->route);
	for (size_t i = 0; i < r->n; i++) {
		mem_free(r->routes[i].transport);
		mem_free(r->routes[i].nexthop);
		mem_free(r->routes[i].plan);
	}
	mem_free(r->routes);
	mem_free(r->body);
	mem_free(r);
}

static void answer(struct resolve *r)
{
	struct ipc *c = r->peer->ipc;

	ipc_begin(c, PROTO_RESOLVED, r->id);
	ipc_put_u64(c, FIELD_RESULT, RESULT_OK);
	for (size_t i = 0; i < r->n; i++) {
		ipc_put_u64(c, FIELD_CLASS, r->routes[i].class);
		ipc_put_str(c, FIELD_TRANSPORT, r->routes[i].transport);
		ipc_put_str(c, FIELD_NEXTHOP, r->routes[i].nexthop);
		ipc_put_str(c, FIELD_PLAN, r->routes[i].plan);
		ipc_put_u64(c, FIELD_VIA, r->routes[i].via);
	}
	(void)ipc_end(c);
	resolve_free(r);
}

/* Keeps the route; false when the frame is full. */
static bool keep(struct resolve *r)
{
	size_t need = r->route.transport.len + r->route.nexthop.len + r->route.plan.len + 64;

	if (r->n > 0 && r->bytes + need > ROUTES_LIMIT)
		return false;
	r->bytes += need;
	if (r->n == r->cap) {
		r->cap = r->cap > 0 ? r->cap * 2 : 4;
		r->routes = mem_resize(r->routes, r->cap, sizeof(r->routes[0]));
	}
	r->routes[r->n].class = r->route.class;
	r->routes[r->n].via = r->route.via;
	r->routes[r->n].transport = slice_dup(buf_slice(&r->route.transport));
	r->routes[r->n].nexthop = slice_dup(buf_slice(&r->route.nexthop));
	r->routes[r->n].plan = slice_dup(buf_slice(&r->route.plan));
	r->n++;
	return true;
}

/* It waits; the others go on. */
static void put_off(struct resolve *r, int err)
{
	log_warning("the route of %s cannot be looked up: %s", log_q(r->recipient), err_str(err));
	route_result_clear(&r->route);
	route_result_init(&r->route);
	(void)buf_add_str(&r->route.transport, "retry");
	(void)buf_add_str(&r->route.nexthop, "4.3.0 address resolver failure");
}

static void run(void *arg)
{
	struct resolve *r = arg;
	struct slice sender = ipc_bytes(&r->msg, FIELD_SENDER);
	bool is_probe = (ipc_u64(&r->msg, FIELD_FLAGS) & (QUEUE_FLAG_PROBE | QUEUE_FLAG_TRACE)) ==
			QUEUE_FLAG_PROBE;
	struct route *by = is_probe ? cleanup.probe_route : cleanup.route;

	for (;;) {
		int err;

		if (!r->has_recipient && !ipc_next(&r->msg, FIELD_RECIPIENT, &r->at, &r->recipient))
			break;
		r->has_recipient = true;
		err = route_resolve(by, r->recipient, sender, &r->later, &r->route);
		if (err == ERR_LATER)
			return;
		later_clear(&r->later);
		if (err == 0 && ipc_has(&r->msg, FIELD_FILTER))
			action_filter(ipc_bytes(&r->msg, FIELD_FILTER), &r->route);
		if (err != 0)
			put_off(r, err);
		if (!keep(r))
			break;
		r->has_recipient = false;
	}
	answer(r);
}

void resolve_msg(struct server_peer *qmgr, struct ipc_msg *msg)
{
	struct resolve *r = mem_alloc(sizeof(*r));

	r->peer = qmgr;
	r->id = msg->id;
	r->body = mem_dup(msg->body.p, msg->body.len);
	r->msg = (struct ipc_msg){.type = msg->type,
		.id = msg->id,
		.fd = -1,
		.body = slice_of(r->body, msg->body.len)};
	later_init(&r->later, QUESTIONS, run, r);
	route_result_init(&r->route);
	TAILQ_INSERT_TAIL(&all, r, next);
	run(r);
}

void resolve_peer_gone(struct server_peer *qmgr)
{
	struct resolve *next = NULL;

	for (struct resolve *r = TAILQ_FIRST(&all); r != NULL; r = next) {
		next = TAILQ_NEXT(r, next);
		if (r->peer == qmgr)
			resolve_free(r);
	}
}

/* SPDX-License-Identifier: ISC */
#include "qmgr/held.h"

#include <stdio.h>

#include "qmgr/active_index.h"
#include "qmgr/qmgr.h"
#include "qmgr/report.h"
#include "util/dict.h"
#include "util/log.h"
#include "util/mem.h"

#define HELD_LIMIT 100000 /* jobs of all workers */

struct held_rcpt {
	uint64_t index;
	struct active *a; /* NULL: its message has not come yet */
	struct active_rcpt *r;
	bool is_reported, is_done;
	uint64_t result, flags, code, stage;
	char *status, *remote, *text, *transport, *nexthop; /* of a report that waits */
};

struct held {
	TAILQ_ENTRY(held) link;
	TAILQ_ENTRY(held) same;   /* of those with the same id */
	struct server_peer *peer; /* NULL: has gone */
	uint64_t job;
	char id[QUEUE_ID_MAX + 1];
	bool is_over, is_by_relay;
	size_t count;
	struct held_rcpt *rcpts;
};
TAILQ_HEAD(held_list, held);
static struct held_list helds = TAILQ_HEAD_INITIALIZER(helds);
static struct dict *by_job; /* worker and job → struct held; borrowed */
static struct dict *by_id;  /* queue id → struct held_list; owned */
static size_t held_count;

/* Its bytes are the key: no padding. */
struct job_key {
	uint64_t peer, job;
};

static struct held *find(const struct server_peer *peer, uint64_t job)
{
	struct job_key key = {(uintptr_t)peer, job};

	return by_job != NULL ? dict_get(by_job, slice_of(&key, sizeof(key))) : NULL;
}

static struct held *first_of(const struct active *a)
{
	struct held_list *same =
		by_id != NULL && a->m != NULL ? dict_get(by_id, slice_str(a->m->id)) : NULL;

	return same != NULL ? TAILQ_FIRST(same) : NULL;
}

static void held_add(struct held *h)
{
	struct job_key key = {(uintptr_t)h->peer, h->job};
	struct held_list *same;

	if (by_job == NULL) {
		by_job = dict_new(HELD_LIMIT, NULL);
		by_id = dict_new(HELD_LIMIT, mem_free);
	}
	same = dict_get(by_id, slice_str(h->id));
	if (same == NULL) {
		same = mem_alloc(sizeof(*same));
		TAILQ_INIT(same);
		(void)dict_set(by_id, slice_str(h->id), same);
	}
	(void)dict_set(by_job, slice_of(&key, sizeof(key)), h);
	TAILQ_INSERT_TAIL(same, h, same);
	TAILQ_INSERT_TAIL(&helds, h, link);
	held_count++;
}

/* Its worker has gone, or it goes itself. */
static void no_worker(struct held *h)
{
	struct job_key key = {(uintptr_t)h->peer, h->job};

	if (h->peer != NULL)
		(void)dict_take(by_job, slice_of(&key, sizeof(key)));
	h->peer = NULL;
}

static void held_free(struct held *h)
{
	struct held_list *same = dict_get(by_id, slice_str(h->id));

	no_worker(h);
	TAILQ_REMOVE(same, h, same);
	if (TAILQ_EMPTY(same))
		(void)dict_remove(by_id, slice_str(h->id));
	for (size_t i = 0; i < h->count; i++) {
		mem_free(h->rcpts[i].status);
		mem_free(h->rcpts[i].remote);
		mem_free(h->rcpts[i].text);
		mem_free(h->rcpts[i].transport);
		mem_free(h->rcpts[i].nexthop);
	}
	TAILQ_REMOVE(&helds, h, link);
	held_count--;
	mem_free(h->rcpts);
	mem_free(h);
}

/* Forgets the job, on both sides, when all of it is noted. */
static void held_check(struct held *h)
{
	if (!h->is_over && h->peer != NULL)
		return;
	for (size_t i = 0; i < h->count; i++)
		if (!h->rcpts[i].is_done &&
			(!qmgr_has_read_all() || active_may_come(slice_str(h->id))))
			return;
	if (h->peer == NULL) {
		held_free(h);
		return;
	}
	queue_store_flush(qmgr.store);
	ipc_begin(h->peer->ipc, PROTO_HELD_NOTED, 0);
	ipc_put_u64(h->peer->ipc, FIELD_JOB, h->job);
	ipc_end(h->peer->ipc);
	held_free(h);
}

/* Its end without a report: it was given back untouched. */
static void untouched(struct held_rcpt *hr)
{
	hr->is_done = true;
	active_back(hr->a, hr->r, false);
}

static void give(struct held_rcpt *hr)
{
	struct report report = {
		.result = hr->result,
		.status = slice_str(hr->status),
		.remote = slice_str(hr->remote),
		.text = slice_str(hr->text),
		.transport = slice_str(hr->transport),
		.nexthop = slice_str(hr->nexthop),
		.flags = hr->flags,
		.code = hr->code,
		.stage = hr->stage,
	};

	report_give(hr->a, hr->r, &report);
	hr->is_done = true;
}

static void held_job(struct server_peer *peer, struct ipc_msg *msg)
{
	struct slice id = ipc_bytes(msg, FIELD_QUEUE_ID);
	struct held *h;
	uint64_t index;
	size_t at = 0;

	if (held_count >= HELD_LIMIT || !queue_id_is_valid(id))
		return;
	h = mem_alloc(sizeof(*h));
	h->peer = peer;
	h->job = ipc_u64(msg, FIELD_JOB);
	h->is_by_relay = ipc_u64(msg, FIELD_FLAGS) & 2;
	snprintf(h->id, sizeof(h->id), "%.*s", SLICE_FMT(id));
	while (ipc_next_u64(msg, FIELD_INDEX, &at, &index))
		h->count++;
	h->rcpts = mem_array(h->count, sizeof(*h->rcpts));
	at = 0;
	for (size_t i = 0; ipc_next_u64(msg, FIELD_INDEX, &at, &index); i++) {
		h->rcpts[i].index = index;
		if (!qmgr_has_read_all())
			queue_store_claim(qmgr.store, id, (uint32_t)index);
	}
	held_add(h);
}

static void held_report(struct held *h, struct ipc_msg *msg)
{
	uint64_t index = ipc_u64(msg, FIELD_INDEX);
	struct report said;

	report_read(msg, &said);
	for (size_t i = 0; i < h->count; i++) {
		struct held_rcpt *hr = &h->rcpts[i];

		if (hr->index != index || hr->is_reported)
			continue;
		hr->is_reported = true;
		hr->result = said.result;
		hr->flags = said.flags;
		hr->code = said.code;
		hr->stage = said.stage;
		hr->status = slice_dup(said.status);
		hr->remote = slice_dup(said.remote);
		hr->text = slice_dup(said.text);
		hr->transport = slice_dup(said.transport);
		hr->nexthop = slice_dup(said.nexthop);
		if (hr->a != NULL) {
			struct active *a = hr->a;

			give(hr);
			active_check(a);
		}
		return;
	}
}

static void held_end(struct held *h)
{
	h->is_over = true;
	for (size_t i = 0; i < h->count; i++) {
		struct held_rcpt *hr = &h->rcpts[i];
		struct active *a = hr->a;

		if (hr->is_done || hr->is_reported || a == NULL)
			continue;
		untouched(hr);
		active_check(a);
	}
	held_check(h);
}

void held_msg(struct server_peer *peer, struct ipc_msg *msg)
{
	struct held *h = find(peer, ipc_u64(msg, FIELD_JOB));

	if (msg->type == PROTO_HELD_JOB && h == NULL)
		held_job(peer, msg);
	else if (msg->type == PROTO_HELD_REPORT && h != NULL)
		held_report(h, msg);
	else if (msg->type == PROTO_HELD_END && h != NULL)
		held_end(h);
	qmgr_work();
}

void held_gone(struct server_peer *peer)
{
	struct held *h, *next;

	for (h = TAILQ_FIRST(&helds); h != NULL; h = next) {
		next = TAILQ_NEXT(h, link);
		if (h->peer != peer)
			continue;
		for (size_t i = 0; i < h->count; i++) {
			struct held_rcpt *hr = &h->rcpts[i];
			struct active *a = hr->a;

			if (a == NULL || hr->is_done)
				continue;
			hr->is_done = true;
			active_doubt(a, hr->r, "delivery agent died");
			/* Held or deleted meanwhile, it waited for nothing else. */
			active_check(a);
		}
		no_worker(h);
		held_check(h);
	}
}

void held_attach(struct active *a, struct active_rcpt *r)
{
	struct held *h;

	for (h = first_of(a); h != NULL; h = TAILQ_NEXT(h, same)) {
		for (size_t i = 0; i < h->count; i++) {
			struct held_rcpt *hr = &h->rcpts[i];

			if (hr->index != r->index || hr->a != NULL)
				continue;
			if (h->peer == NULL && !hr->is_reported && !h->is_over) {
				hr->is_done = true;
				break;
			}
			hr->a = a;
			hr->r = r;
			a->held++;
			if (h->is_by_relay)
				queue_store_set_road(a->m, r->index, QUEUE_ROAD_RELAY);
			if (hr->is_reported)
				give(hr);
			else if (h->is_over)
				untouched(hr);
			held_check(h);
			return;
		}
	}
	active_doubt(a, r, "its delivery agent is gone");
}

void held_forget(const struct active *a)
{
	/* Of one that was deleted meanwhile the id is not known any more. */
	bool has_id = a->m != NULL;
	struct held *h = has_id ? first_of(a) : TAILQ_FIRST(&helds);

	for (; a->held > 0 && h != NULL; h = has_id ? TAILQ_NEXT(h, same) : TAILQ_NEXT(h, link))
		for (size_t i = 0; i < h->count; i++)
			if (h->rcpts[i].a == a) {
				h->rcpts[i].a = NULL;
				h->rcpts[i].is_done = true;
			}
}

void held_begun(const struct active *a)
{
	struct held *h, *next;

	for (h = first_of(a); h != NULL; h = next) {
		next = TAILQ_NEXT(h, same);
		for (size_t i = 0; i < h->count; i++)
			if (h->rcpts[i].a == NULL)
				h->rcpts[i].is_done = true;
		held_check(h);
	}
}

void held_tick(void)
{
	static int64_t last;
	struct held *h, *next;

	if (TAILQ_EMPTY(&helds) || loop_now() < last + CLOCK_SEC || !qmgr_has_read_all())
		return;
	last = loop_now();
	for (h = TAILQ_FIRST(&helds); h != NULL; h = next) {
		next = TAILQ_NEXT(h, link);
		held_check(h);
	}
}

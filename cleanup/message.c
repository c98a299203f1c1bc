/* SPDX-License-Identifier: ISC */
#include "cleanup/message.h"

#include "cleanup/cleanup.h"
#include "cleanup/commit.h"
#include "cleanup/trace.h"
#include "mail/address.h"
#include "util/err.h"
#include "util/mem.h"

enum { RCPT_LIMIT = 100000, HEADERS_LIMIT = 1 << 20, TRACE_LIMIT = 16384 };

const struct message_failure message_no_space = {452, "4.3.1", "Insufficient system storage"},
			     message_write_error = {451, "4.3.0", "Error: queue file write error"},
			     message_no_resources = {
				     452, "4.3.1", "Error: insufficient system resources"};

int message_new(const struct message_calls *calls, void *owner, struct message **out)
{
	struct message *m = NULL;
	char id[QUEUE_ID_MAX + 1];
	int err = queue_ids_next(cleanup.ids, cleanup.long_ids, clock_real(), id);

	*out = NULL;
	if (err != 0)
		return err;
	m = mem_alloc(sizeof(*m));
	memcpy(m->id, id, sizeof(id));
	m->calls = calls;
	m->owner = owner;
	m->env.id = slice_str(m->id);
	buf_init(&m->trace, TRACE_LIMIT);
	buf_init(&m->top, HEADERS_LIMIT);
	buf_init(&m->bottom, HEADERS_LIMIT);
	buf_init(&m->sender, ADDRESS_LIMIT);
	buf_init(&m->parents, QUEUE_PARENTS_MAX * 4);
	content_begin(m);
	action_init(m);
	recipients_init(m);
	*out = m;
	return 0;
}

static void message_free(struct message *m)
{
	if (m->phase == MESSAGE_READY)
		commit_remove(m);
	recipients_clear(m);
	content_clear(m);
	action_clear(m);
	buf_clear(&m->trace);
	buf_clear(&m->top);
	buf_clear(&m->bottom);
	buf_clear(&m->sender);
	buf_clear(&m->parents);
	for (size_t i = 0; i < m->rcpt_n; i++)
		mem_free(m->rcpts[i]);
	mem_free(m->rcpts);
	mem_free(m->strings);
	mem_free(m);
}

void message_discard(struct message **mp)
{
	struct message *m = *mp;

	*mp = NULL;
	if (m == NULL)
		return;
	if (m->phase == MESSAGE_WRITTEN)
		m->owner = NULL;
	else
		message_free(m);
}

void message_done(struct message *m)
{
	if (m->owner != NULL)
		m->calls->done(m);
	message_free(m);
}

void message_fail(struct message *m, const struct message_failure *why)
{
	if (m->owner != NULL)
		m->calls->failed(m, why);
	message_free(m);
}

void message_set_sender(struct message *m, struct slice sender)
{
	m->env.sender = sender;
	if (route_complete(cleanup.route, sender, &m->sender) == 0 &&
		!slice_eq(buf_slice(&m->sender), sender))
		m->env.sender = buf_slice(&m->sender);
}

static char *keep(char *at, struct slice from, struct slice *to)
{
	*to = slice_of(at, from.len);
	if (from.len > 0)
		memcpy(at, from.p, from.len);
	return at + from.len;
}

int message_add_rcpt(struct message *m, struct slice address, struct slice orig_to,
	struct slice orcpt, unsigned notify)
{
	struct buf whole = BUF_INIT(ADDRESS_LIMIT);
	struct message_rcpt *r = NULL;
	struct slice given = address;
	char *at = NULL;

	if (m->rcpt_n == RCPT_LIMIT)
		return ERR_LIMIT;
	if (m->rcpt_n == m->rcpt_cap) {
		m->rcpt_cap = m->rcpt_cap > 0 ? m->rcpt_cap * 2 : 4;
		m->rcpts = mem_resize(m->rcpts, m->rcpt_cap, sizeof(m->rcpts[0]));
	}
	if (route_complete(cleanup.route, given, &whole) == 0)
		address = buf_slice(&whole);
	r = mem_alloc(sizeof(*r) + given.len + address.len + orig_to.len + orcpt.len);
	at = keep(r->bytes, address, &r->address);
	at = keep(at, given, &r->given);
	at = keep(at, orig_to, &r->orig_to);
	keep(at, orcpt, &r->orcpt);
	r->notify = (uint8_t)notify;
	m->rcpts[m->rcpt_n++] = r;
	buf_clear(&whole);
	return 0;
}

uint8_t message_expanded(
	struct message *m, size_t place, struct slice address, struct slice orig_to)
{
	const struct message_rcpt *r = m->rcpts[place];
	uint8_t notify = r->notify, rest = (uint8_t)(notify & ~QUEUE_NOTIFY_SUCCESS);

	if (!(notify & QUEUE_NOTIFY_SUCCESS) || (m->env.flags & QUEUE_FLAG_PROBE))
		return notify;
	if (message_add_rcpt(m, address, orig_to, r->orcpt, QUEUE_NOTIFY_SUCCESS) != 0)
		return notify;
	m->rcpts[m->rcpt_n - 1]->is_expanded = true;
	return rest != 0 ? rest : QUEUE_NOTIFY_NEVER;
}

static void resume(struct message *m)
{
	struct message_failure why = {0};
	int err = recipients_run(m, &why);

	if (err == ERR_LATER)
		return;
	if (err != 0) {
		message_fail(m, &why);
		return;
	}
	m->phase = MESSAGE_READY;
	commit_add(m);
}

void message_commit(struct message *m)
{
	m->phase = MESSAGE_ROUTING;
	recipients_start(m, resume);
	resume(m);
}

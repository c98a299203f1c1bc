/* SPDX-License-Identifier: ISC */
#include "cleanup/action.h"

#include "cleanup/message.h"
#include "mail/address.h"
#include "mail/header.h"
#include "policy/policy.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/wire.h"

enum { COPIES_LIMIT = 65536 };

void action_init(struct message *m)
{
	buf_init(&m->actions.copies, COPIES_LIMIT);
}

void action_clear(struct message *m)
{
	mem_free(m->actions.filter);
	mem_free(m->actions.redirect);
	buf_clear(&m->actions.copies);
}

static void replace(char **kept, struct slice text)
{
	mem_free(*kept);
	*kept = slice_dup(text);
}

/* An address from a table, in the form of the queue. */
static bool read_address(struct message *m, struct slice text, struct buf *out)
{
	int err = address_parse(text, ADDRESS_UTF8, out);

	if (err == 0 && out->len > 0 && out->len <= QUEUE_ADDRESS_MAX)
		return true;
	log_warning("%s: bad address in an access table: %s", m->id, log_q(text));
	return false;
}

static void add_copy(struct message *m, struct slice text)
{
	struct buf address = BUF_INIT(ADDRESS_LIMIT);

	if (read_address(m, text, &address) &&
		m->actions.copies.len + address.len + 4 <= COPIES_LIMIT)
		wire_counted(&m->actions.copies, buf_slice(&address));
	buf_clear(&address);
}

static void add_redirect(struct message *m, struct slice text)
{
	struct buf address = BUF_INIT(ADDRESS_LIMIT);

	if (read_address(m, text, &address))
		replace(&m->actions.redirect, buf_slice(&address));
	buf_clear(&address);
}

static void add_header(struct message *m, struct slice text)
{
	/* Anything else would end the header section here. */
	if (header_name_len(text) == 0)
		return;
	(void)buf_add_slice(&m->top, text);
	(void)buf_add_str(&m->top, "\r\n");
}

void action_add(struct message *m, uint64_t kind, struct slice text)
{
	switch (kind) {
	case POLICY_HOLD: m->env.flags |= QUEUE_FLAG_HOLD; break;
	case POLICY_DISCARD: m->actions.is_discarded = true; break;
	case POLICY_FILTER:
		replace(&m->actions.filter, slice_first(text, QUEUE_STRING_MAX));
		m->env.content_filter_next = slice_str(m->actions.filter);
		break;
	case POLICY_REDIRECT: add_redirect(m, text); break;
	case POLICY_BCC: add_copy(m, text); break;
	case POLICY_PREPEND: add_header(m, text); break;
	default: break;
	}
}

/* All recipients give way to one. */
static int redirect(struct message *m)
{
	struct slice first = m->rcpts[0]->address;

	for (size_t i = 0; i < m->rcpt_n; i++)
		m->rcpts[i]->is_dropped = true;
	return message_add_rcpt(m, slice_str(m->actions.redirect), first, SLICE_NONE, 0);
}

int action_recipients(struct message *m)
{
	struct reader in = reader_of(buf_slice(&m->actions.copies));
	int err = 0;

	if (m->rcpt_n > 0 && m->actions.redirect != NULL)
		return redirect(m);
	while (err == 0 && in.in.len > 0) {
		struct slice address = reader_counted(&in, in.in.len);

		err = message_add_rcpt(m, address, SLICE_NONE, SLICE_NONE, QUEUE_NOTIFY_NEVER);
	}
	return err;
}

void action_filter(struct slice filter, struct route_result *route)
{
	ptrdiff_t colon = slice_find(filter, ':');

	if (colon <= 0)
		return;
	buf_reset(&route->transport);
	buf_reset(&route->nexthop);
	buf_reset(&route->plan);
	route->via = 0;
	(void)buf_add_slice(&route->transport, slice_first(filter, (size_t)colon));
	(void)buf_add_slice(&route->nexthop, slice_trim(slice_from(filter, (size_t)colon + 1)));
}

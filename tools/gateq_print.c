/* SPDX-License-Identifier: ISC */
#include <stdio.h>

#include "mail/address.h"
#include "tools/gateq.h"
#include "tools/json.h"
#include "util/log.h"
#include "util/mem.h"

#define REASON_END 76 /* the column where a reason ends, as Postfix has it */
#define LONG_ID 12

void gateq_message_clear(struct gateq_message *m)
{
	for (size_t i = 0; i < m->count; i++)
		mem_free(m->rcpts[i].text);
	mem_free(m->rcpts);
	mem_free(m->sender);
	*m = (struct gateq_message){.id = ""};
}

/* Into the one text that a recipient owns. */
static const char *put(char **at, struct slice s)
{
	char *begin = *at;

	if (s.len > 0)
		memcpy(begin, s.p, s.len);
	begin[s.len] = '\0';
	*at = begin + s.len + 1;
	return begin;
}

void gateq_message_add(struct gateq_message *m, const struct gateq_rcpt_parts *p)
{
	size_t len = p->address.len + p->orig_to.len + p->transport.len + p->nexthop.len +
		     p->site.len + p->status.len + p->host.len + p->reason.len + 8;
	struct gateq_rcpt *r;
	char *at;

	if ((m->count & (m->count - 1)) == 0)
		m->rcpts = mem_resize(m->rcpts, m->count == 0 ? 1 : m->count * 2, sizeof(*r));
	r = &m->rcpts[m->count++];
	at = r->text = mem_alloc(len);
	r->address = put(&at, p->address);
	r->orig_to = put(&at, p->orig_to);
	r->transport = put(&at, p->transport);
	r->nexthop = put(&at, p->nexthop);
	r->site = put(&at, p->site);
	r->status = put(&at, p->status);
	r->host = put(&at, p->host);
	r->reason = put(&at, p->reason);
	r->attempts = p->attempts;
	r->last = p->last;
	r->next = p->next;
}

static void print_address(const char *internal, const char *end)
{
	struct buf external = BUF_INIT(4096), out = BUF_INIT(8192);

	address_add_external(&external, slice_str(internal));
	log_quote(&out, buf_slice(&external), 4096);
	printf("%s%s", buf_str(&out), end);
	buf_clear(&external);
	buf_clear(&out);
}

static void print_reason(const char *reason)
{
	struct buf out = BUF_INIT(8192);
	int pad;

	log_quote(&out, slice_str(reason), 4096);
	pad = REASON_END - (int)buf_slice(&out).len;
	printf("%*s(%s)\n", pad > 0 ? pad : 0, "", buf_str(&out));
	buf_clear(&out);
}

static char mark(const struct gateq_message *m)
{
	if (m->is_forced)
		return '#';
	return strcmp(m->queue, "active") == 0 ? '*' : strcmp(m->queue, "hold") == 0 ? '!' : '\0';
}

void gateq_print_mailq(struct gateq_report *r, const struct gateq_message *m)
{
	bool is_long = strlen(m->id) > LONG_ID;
	struct buf when = BUF_INIT(64);
	char id[40], suffix[2] = {mark(m), '\0'};
	const char *last = "";

	if (r->messages == 0)
		printf(is_long ? "%-17s %8s %-19s %s\n" : "%-11s %7s %-20s %s\n",
			is_long ? "----Queue ID-----" : "-Queue ID- ",
			is_long ? "--Size--" : "--Size--",
			is_long ? "---Arrival Time----" : "----Arrival Time----",
			is_long ? "--Sender/Recipient------" : "-Sender/Recipient-------");
	clock_load_zone();
	clock_add_ctime(&when, m->arrival);
	snprintf(id, sizeof(id), "%s%s", m->id, suffix);
	printf(is_long ? "%-17s %8llu %-19s " : "%-11s %7llu %-20s ", id,
		(unsigned long long)m->size, buf_str(&when));
	print_address(m->sender[0] != '\0' ? m->sender : "MAILER-DAEMON", "\n");
	for (size_t i = 0; i < m->count; i++) {
		const struct gateq_rcpt *to = &m->rcpts[i];

		if (to->reason[0] != '\0' && strcmp(to->reason, last) != 0)
			print_reason(to->reason);
		last = to->reason;
		printf("%*s", is_long ? 47 : 41, "");
		print_address(to->address, "\n");
	}
	printf("\n");
	buf_clear(&when);
	r->messages++;
	r->bytes += m->size;
}

void gateq_print_mailq_end(const struct gateq_report *r)
{
	if (r->messages == 0)
		printf("Mail queue is empty\n");
	else
		printf("-- %llu Kbytes in %zu Request%s.\n",
			(unsigned long long)((r->bytes + 1023) / 1024), r->messages,
			r->messages == 1 ? "" : "s");
}

static void member_if(const char *name, const char *value)
{
	if (value[0] != '\0')
		json_member(name, slice_str(value), false);
}

static void time_if(const char *name, int64_t when)
{
	if (when != 0)
		json_number(name, (uint64_t)(when / CLOCK_SEC), false);
}

/* Postfix has no more than address and reason. */
static void print_more(const struct gateq_rcpt *to)
{
	member_if("transport", to->transport);
	member_if("nexthop", to->nexthop);
	member_if("site", to->site);
	if (to->attempts > 0)
		json_number("attempts", to->attempts, false);
	member_if("status", to->status);
	member_if("host", to->host);
	time_if("last_attempt", to->last);
	time_if("next_attempt", to->next);
}

void gateq_print_json(const struct gateq_message *m, bool as_postfix)
{
	printf("{");
	json_member("queue_name", slice_str(m->queue), true);
	json_member("queue_id", slice_str(m->id), false);
	printf(", \"arrival_time\": %lld, \"message_size\": %llu, \"forced_expire\": %s",
		(long long)(m->arrival / CLOCK_SEC), (unsigned long long)m->size,
		m->is_forced ? "true" : "false");
	json_member("sender", slice_str(m->sender), false);
	if (!as_postfix)
		time_if("next_attempt", m->next);
	printf(", \"recipients\": [");
	for (size_t i = 0; i < m->count; i++) {
		const struct gateq_rcpt *to = &m->rcpts[i];

		printf("%s{", i > 0 ? ", " : "");
		json_member("orig_address", slice_str(to->orig_to), true);
		json_member("address", slice_str(to->address), false);
		member_if("delay_reason", to->reason);
		if (!as_postfix)
			print_more(to);
		printf("}");
	}
	printf("]}\n");
}

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
	for (size_t i = 0; i < m->count; i++) {
		mem_free(m->rcpts[i].address);
		mem_free(m->rcpts[i].orig_to);
		mem_free(m->rcpts[i].transport);
		mem_free(m->rcpts[i].nexthop);
		mem_free(m->rcpts[i].reason);
	}
	mem_free(m->rcpts);
	mem_free(m->sender);
	*m = (struct gateq_message){.id = ""};
}

void gateq_message_add(struct gateq_message *m, struct slice address, struct slice orig_to,
	struct slice transport, struct slice nexthop, struct slice reason)
{
	struct gateq_rcpt *r;

	if ((m->count & (m->count - 1)) == 0)
		m->rcpts = mem_resize(m->rcpts, m->count == 0 ? 1 : m->count * 2, sizeof(*r));
	r = &m->rcpts[m->count++];
	r->address = slice_dup(address);
	r->orig_to = slice_dup(orig_to);
	r->transport = slice_dup(transport);
	r->nexthop = slice_dup(nexthop);
	r->reason = slice_dup(reason);
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

void gateq_print_json(const struct gateq_message *m)
{
	printf("{");
	json_member("queue_name", slice_str(m->queue), true);
	json_member("queue_id", slice_str(m->id), false);
	printf(", \"arrival_time\": %lld, \"message_size\": %llu, \"forced_expire\": %s",
		(long long)(m->arrival / CLOCK_SEC), (unsigned long long)m->size,
		m->is_forced ? "true" : "false");
	json_member("sender", slice_str(m->sender), false);
	printf(", \"recipients\": [");
	for (size_t i = 0; i < m->count; i++) {
		const struct gateq_rcpt *to = &m->rcpts[i];

		printf("%s{", i > 0 ? ", " : "");
		json_member("orig_address", slice_str(to->orig_to), true);
		json_member("address", slice_str(to->address), false);
		if (to->reason[0] != '\0')
			json_member("delay_reason", slice_str(to->reason), false);
		printf("}");
	}
	printf("]}\n");
}

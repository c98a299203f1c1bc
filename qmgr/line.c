/* SPDX-License-Identifier: ISC */
#include "qmgr/line.h"

#include "mail/address.h"
#include "qmgr/probe.h"
#include "qmgr/qmgr.h"
#include "util/log.h"

#define LINE_LIMIT 4096

void line_add_delay(struct buf *out, int64_t delay)
{
	int64_t hundredths = delay <= 0 ? 0 : (delay + 5 * CLOCK_MSEC) / (10 * CLOCK_MSEC);

	if (hundredths == 0) {
		buf_add_str(out, "0");
	} else if (hundredths < 100) {
		buf_add_fmt(out, hundredths % 10 == 0 ? "0.%.1lld" : "0.%.2lld",
			(long long)(hundredths % 10 == 0 ? hundredths / 10 : hundredths));
	} else if (hundredths < 1000) {
		int64_t tenths = (hundredths + 5) / 10;

		if (tenths % 10 == 0)
			buf_add_fmt(out, "%lld", (long long)(tenths / 10));
		else
			buf_add_fmt(out, "%lld.%lld", (long long)(tenths / 10),
				(long long)(tenths % 10));
	} else {
		buf_add_fmt(out, "%lld", (long long)((hundredths + 50) / 100));
	}
}

static void add_address(struct buf *out, const char *name, struct slice address)
{
	struct buf external = BUF_INIT(2 * QUEUE_ADDRESS_MAX + 16);

	address_add_external(&external, address);
	buf_add_fmt(out, "%s=<", name);
	log_quote(out, buf_slice(&external), 2 * QUEUE_ADDRESS_MAX);
	buf_add_str(out, ">");
	buf_clear(&external);
}

/* Those that are delivered to: an alias of others stands for itself only in its notice. */
static uint32_t count_recipients(const struct queue_message *m)
{
	uint32_t n = 0;
	struct queue_recipient to;

	/* It comes with at least two others. */
	if (m->env.recipients < 3)
		return m->env.recipients;
	for (uint32_t i = 0; i < m->env.recipients; i++) {
		queue_store_recipient(m, i, &to);
		n += !(to.flags & QUEUE_RCPT_EXPANDED);
	}
	return n;
}

void line_active(const struct queue_message *m)
{
	struct buf out = BUF_INIT(LINE_LIMIT);

	add_address(&out, "from", m->env.sender);
	log_info("%s: %s, size=%llu, nrcpt=%u (queue active)", m->id, buf_str(&out),
		(unsigned long long)m->env.size, count_recipients(m));
	buf_clear(&out);
}

void line_result(const char *program, const struct active *a, const struct active_rcpt *r,
	const char *status, struct slice dsn, struct slice text)
{
	struct queue_recipient to = active_recipient(a, r);
	struct buf out = BUF_INIT(2 * LINE_LIMIT);
	int64_t now = qmgr_now();

	add_address(&out, "to", to.address);
	if (to.orig_to.len > 0 && !slice_eq(to.orig_to, to.address)) {
		buf_add_str(&out, ", ");
		add_address(&out, "orig_to", to.orig_to);
	}
	buf_add_str(&out, ", relay=none, delay=");
	line_add_delay(&out, now - a->m->env.arrival);
	buf_add_str(&out, ", delays=");
	line_add_delay(&out, a->since - a->m->env.arrival);
	buf_add_str(&out, "/");
	line_add_delay(&out, now - a->since);
	buf_add_fmt(&out, "/0/0, dsn=%.*s, status=%s (", SLICE_FMT(dsn),
		probe_is(a->m) ? probe_status(status) : status);
	log_quote(&out, text, 1000);
	log_info_as(program, "%s: %s)", a->m->id, buf_str(&out));
	buf_clear(&out);
}

void line_expired(const struct queue_message *m, bool is_forced, bool is_by)
{
	struct buf out = BUF_INIT(LINE_LIMIT);

	add_address(&out, "from", m->env.sender);
	log_info("%s: %s, status=%s, returned to sender%s", m->id, buf_str(&out),
		is_forced ? "force-expired" : "expired",
		is_by ? ": the delivery time that it asked for is over (DELIVERBY)" : "");
	buf_clear(&out);
}

void line_relay_limit(const struct active *a, const struct active_rcpt *r, unsigned attempts)
{
	struct buf out = BUF_INIT(LINE_LIMIT);

	add_address(&out, "to", active_recipient(a, r).address);
	log_info("%s: %s, status=expired, returned to sender: %u attempt%s through a relay "
		 "(relay_attempts_limit)",
		a->m->id, buf_str(&out), attempts, attempts == 1 ? "" : "s");
	buf_clear(&out);
}

uint64_t line_in_doubt(const struct queue_message *m, uint32_t index, struct slice reason)
{
	struct buf out = BUF_INIT(LINE_LIMIT);
	struct queue_recipient to;
	uint64_t seq;

	queue_store_recipient(m, index, &to);
	add_address(&out, "to", to.address);
	buf_add_str(&out, ": in doubt: ");
	log_quote(&out, reason, 500);
	seq = log_must("%s: %s; sending again", m->id, buf_str(&out));
	buf_clear(&out);
	return seq;
}

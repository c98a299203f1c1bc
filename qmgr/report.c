/* SPDX-License-Identifier: ISC */
#include "qmgr/report.h"

#include "conf/conf.h"
#include "qmgr/line.h"
#include "qmgr/qmgr.h"
#include "qmgr/transport.h"
#include "server/job.h"
#include "util/mem.h"

void report_read(const struct ipc_msg *msg, struct report *out)
{
	*out = (struct report){
		.result = ipc_u64(msg, FIELD_RESULT),
		.status = ipc_bytes(msg, FIELD_STATUS),
		.remote = ipc_bytes(msg, FIELD_REMOTE),
		.text = ipc_bytes(msg, ipc_has(msg, FIELD_TEXT) ? FIELD_TEXT : FIELD_DIAGNOSTIC),
		.transport = ipc_bytes(msg, FIELD_TRANSPORT),
		.nexthop = ipc_bytes(msg, FIELD_NEXTHOP),
		.flags = ipc_u64(msg, FIELD_FLAGS),
		.code = ipc_u64(msg, FIELD_CODE),
		.stage = ipc_u64(msg, FIELD_STAGE),
	};
}

static enum queue_event_type type_of(uint64_t result)
{
	switch (result) {
	case RESULT_OK: return QUEUE_EV_DELIVERED;
	case RESULT_FAILED:
	case RESULT_NOT_FOUND: return QUEUE_EV_FAILED;
	case RESULT_EXPIRED: return QUEUE_EV_EXPIRED;
	default: return QUEUE_EV_DEFERRED;
	}
}

/* Its sender wants to hear of each relay, or of one that does not keep the time (RFC 2852, 4.1.4).
 */
static bool tells_by(const struct active *a, const struct active_rcpt *r, uint64_t flags)
{
	uint32_t by = a->m != NULL ? a->m->env.flags : 0;

	return ((by & QUEUE_FLAG_BY_TRACE) ||
		       ((by & QUEUE_FLAG_BY_NOTIFY) && !(flags & JOB_KEEPS_TIME))) &&
	       !(active_recipient(a, r).notify & QUEUE_NOTIFY_NEVER);
}

/* Who tells its sender, if anybody is to (RFC 3461, 5.2). */
static uint8_t how_of(const struct active *a, const struct active_rcpt *r, uint64_t flags)
{
	bool clears =
		a->m != NULL && a->m->r[r->index].is_told && conf_bool(P_confirm_delay_cleared);

	if (flags & JOB_FINAL)
		return QUEUE_HOW_DELIVERED;
	if (tells_by(a, r, flags))
		return QUEUE_HOW_BY;
	if (!(flags & JOB_TELLS_SUCCESS) || clears || a->m == NULL ||
		!(active_recipient(a, r).notify & QUEUE_NOTIFY_SUCCESS))
		return QUEUE_HOW_RELAYED;
	return QUEUE_HOW_TAKEN;
}

/* A worker makes no transport: each stays for good, and it may have been broken into. */
static void put_off(struct active *a, struct active_rcpt *r)
{
	struct slice dsn = SLICE_LIT("4.3.0"), text = SLICE_LIT("mail transport unavailable");

	line_result("error", a, r, "deferred", dsn, text);
	active_result(a, r, QUEUE_EV_DEFERRED, dsn, SLICE_NONE, text);
}

void report_give(struct active *a, struct active_rcpt *r, const struct report *report)
{
	const struct active_facts facts = {.code = (unsigned)report->code,
		.stage = (unsigned)report->stage,
		.by_relay = (report->flags & JOB_BY_RELAY) != 0};

	switch (report->result) {
	case RESULT_PASSED: active_passed(a, r); return;
	case RESULT_REROUTE:
		if (report->transport.len > 0 && !transport_is_known(report->transport)) {
			put_off(a, r);
			return;
		}
		if (report->transport.len > 0)
			active_set_route(a, r, report->transport, report->nexthop);
		active_back(a, r, false);
		return;
	case RESULT_UNTRIED: active_back(a, r, false); return;
	default: break;
	}
	r->how = how_of(a, r, report->flags);
	active_report(a, r, type_of(report->result), report->status, report->remote, report->text,
		&facts);
}

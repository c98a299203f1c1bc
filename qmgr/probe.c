/* SPDX-License-Identifier: ISC */
#include "qmgr/probe.h"

#include <string.h>

#include "conf/conf.h"
#include "qmgr/qmgr.h"
#include "server/server.h"

static int64_t count;

void probe_count(int change)
{
	count += change;
}

bool probe_is_one_too_many(void)
{
	return count > conf_int(P_address_verify_pending_request_limit);
}

static enum proto_result result_of(enum queue_event_type type)
{
	switch (type) {
	case QUEUE_EV_DELIVERED: return RESULT_OK;
	case QUEUE_EV_FAILED: return RESULT_FAILED;
	default: return RESULT_DEFERRED;
	}
}

/* Without tally nobody waits for the answer either. */
void probe_result(const struct active *a, struct active_rcpt *r, enum queue_event_type type,
	struct slice text)
{
	struct server_peer *tally = TAILQ_FIRST(server_peers(ROLE_TALLY));
	struct queue_recipient to = active_recipient(a, r);
	enum proto_result result = result_of(type);
	int64_t expire = conf_time(result == RESULT_OK ? P_address_verify_positive_expire_time
						       : P_address_verify_negative_expire_time);

	/* Of sendmail -bv its sender is told by a report. */
	if (r->is_told || tally == NULL || (a->m->env.flags & QUEUE_FLAG_TRACE))
		return;
	r->is_told = true;
	ipc_begin(tally->ipc, PROTO_PROBE_RESULT, 0);
	ipc_put_text(tally->ipc, FIELD_RECIPIENT, to.orig_to.len > 0 ? to.orig_to : to.address);
	ipc_put_u64(tally->ipc, FIELD_RESULT, result);
	ipc_put_u64(tally->ipc, FIELD_UNTIL, (uint64_t)(qmgr_now() + expire));
	if (text.len > 0)
		ipc_put_text(tally->ipc, FIELD_TEXT, text);
	(void)ipc_end(tally->ipc);
}

const char *probe_status(const char *status)
{
	return strcmp(status, "sent") == 0 ? "deliverable" : "undeliverable";
}

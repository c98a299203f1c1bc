/* SPDX-License-Identifier: ISC */
#include "policy/restrict.h"

#include "conf/conf.h"
#include "util/clock.h"

/* Restrictions that ask for nothing but the list they stand in. */

static int permit(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	*result = policy_permit(e, slice_str(item->row->name), e->about);
	return 0;
}

static int reject(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	(void)item;
	*result = policy_reject(e, (int)conf_int(P_reject_code), "5.7.1",
		"<%.*s>: %s rejected: Access denied", SLICE_FMT(e->about.name), e->about.class);
	return 0;
}

static int defer(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	(void)item;
	*result = policy_reject(e, (int)conf_int(P_defer_code), "4.3.2",
		"<%.*s>: %s rejected: Try again later", SLICE_FMT(e->about.name), e->about.class);
	return 0;
}

static int defer_if_permit(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	(void)item;
	*result = policy_defer_if_permit(e, 450, "4.7.0",
		"<%.*s>: %s rejected: defer_if_permit requested", SLICE_FMT(e->about.name),
		e->about.class);
	return 0;
}

static int defer_if_reject(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	(void)item;
	*result = policy_defer_if_reject(e, 450, "4.7.0",
		"<%.*s>: %s rejected: defer_if_reject requested", SLICE_FMT(e->about.name),
		e->about.class);
	return 0;
}

/* The reply comes so much later; the evaluation itself does not wait. */
static int sleep_row(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	(void)result;
	e->verdict->sleep += (int64_t)item->number * CLOCK_SEC;
	return 0;
}

static int reject_plaintext_session(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	(void)item;
	if (!e->facts->has_tls)
		*result = policy_reject(e, (int)conf_int(P_plaintext_reject_code), "4.7.1",
			"Session encryption is required");
	return 0;
}

static int reject_unauth_pipelining(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	(void)item;
	if (e->facts->is_pipelining)
		*result = policy_reject(e, 503, "5.5.0",
			"<%.*s>: %s rejected: Improper use of SMTP command pipelining",
			SLICE_FMT(e->about.name), e->about.class);
	return 0;
}

static int reject_multi_recipient_bounce(
	struct policy_eval *e, const struct policy_item *item, enum restrict_result *result)
{
	const struct policy_facts *f = e->facts;
	/* At RCPT the one that is asked for is not counted yet. */
	unsigned allowed = e->stage == POLICY_DATA || e->stage == POLICY_END_OF_DATA ? 1 : 0;

	(void)item;
	if (f->sender.p != NULL && f->sender.len == 0 && f->recipient_count > allowed)
		*result = policy_reject(e, (int)conf_int(P_multi_recipient_bounce_reject_code),
			"5.5.3", "<%.*s>: %s rejected: Multi-recipient bounce",
			SLICE_FMT(e->about.name), e->about.class);
	return 0;
}

const struct restriction restrict_rows[] = {
	{"permit", RESTRICT_NONE, RESTRICT_ENDS, permit, NULL, NULL},
	{"reject", RESTRICT_NONE, RESTRICT_GUARDS_RELAY, reject, NULL, NULL},
	{"defer", RESTRICT_NONE, RESTRICT_GUARDS_RELAY, defer, NULL, NULL},
	{"defer_if_permit", RESTRICT_NONE, RESTRICT_GUARDS_RELAY, defer_if_permit, NULL, NULL},
	{"defer_if_reject", RESTRICT_NONE, 0, defer_if_reject, NULL, NULL},
	{"warn_if_reject", RESTRICT_NONE, 0, NULL, NULL, NULL},
	{"sleep", RESTRICT_NUMBER, 0, sleep_row, NULL, NULL},
	{"reject_plaintext_session", RESTRICT_NONE, 0, reject_plaintext_session, NULL, NULL},
	{"reject_unauth_pipelining", RESTRICT_NONE, 0, reject_unauth_pipelining, NULL, NULL},
	{"reject_multi_recipient_bounce", RESTRICT_NONE, 0, reject_multi_recipient_bounce, NULL,
		NULL},
	{NULL, RESTRICT_NONE, 0, NULL, NULL, NULL},
};

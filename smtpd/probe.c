/* SPDX-License-Identifier: ISC */
#include "smtpd/probe.h"

#include "queue/envelope.h"
#include "smtpd/author.h"
#include "util/mem.h"

struct probe {
	struct message *message;
};

static unsigned open_n;

static void over(void *arg)
{
	struct probe *p = arg;

	message_free(&p->message);
	mem_free(p);
	open_n--;
}

static void nothing(void *arg)
{
	(void)arg;
}

/* Who waits for the address is answered for now, and asks again. */
static void failed(int code, const char *status, struct slice text, void *arg)
{
	(void)code;
	(void)status;
	(void)text;
	over(arg);
}

static const struct message_events events = {
	.opened = nothing, .room = nothing, .done = over, .failed = failed, .doubt = over};

bool probe_send(struct slice sender, struct slice address)
{
	const struct message_spec spec = {.sender = sender, .flags = QUEUE_FLAG_PROBE};
	struct probe *p = NULL;

	if (open_n >= PROBES_MAX)
		return false;
	p = mem_alloc(sizeof(*p));
	p->message = message_open(&spec, &events, p);
	if (p->message == NULL ||
		!message_rcpt(p->message, address, SLICE_NONE, QUEUE_NOTIFY_NEVER)) {
		message_free(&p->message);
		mem_free(p);
		return false;
	}
	open_n++;
	message_end(p->message, 0);
	message_commit(p->message);
	return true;
}

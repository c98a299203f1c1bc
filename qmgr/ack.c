/* SPDX-License-Identifier: ISC */
#include "qmgr/ack.h"

#include <sys/queue.h>

#include "qmgr/qmgr.h"
#include "util/mem.h"

struct ack {
	TAILQ_ENTRY(ack) link;
	uint64_t ticket, number;
	void (*done)(void *arg, uint64_t number);
	void *arg;
};
static TAILQ_HEAD(, ack) acks = TAILQ_HEAD_INITIALIZER(acks);

void ack_when(uint64_t ticket, void (*done)(void *arg, uint64_t number), void *arg, uint64_t number)
{
	struct ack *a = mem_alloc(sizeof(*a));

	*a = (struct ack){.ticket = ticket, .number = number, .done = done, .arg = arg};
	TAILQ_INSERT_TAIL(&acks, a, link);
	queue_store_sync(qmgr.store);
	qmgr_work();
}

void ack_cancel(const void *arg)
{
	struct ack *a, *next;

	for (a = TAILQ_FIRST(&acks); a != NULL; a = next) {
		next = TAILQ_NEXT(a, link);
		if (a->arg != arg)
			continue;
		TAILQ_REMOVE(&acks, a, link);
		mem_free(a);
	}
}

void ack_durable(uint64_t ticket)
{
	struct ack *a = TAILQ_FIRST(&acks);

	while (a != NULL) {
		struct ack one = *a, *next = TAILQ_NEXT(a, link);

		if (a->ticket <= ticket) {
			TAILQ_REMOVE(&acks, a, link);
			mem_free(a);
			one.done(one.arg, one.number);
			/* It may have cancelled others. */
			next = TAILQ_FIRST(&acks);
			while (next != NULL && next->ticket > ticket)
				next = TAILQ_NEXT(next, link);
		}
		a = next;
	}
}

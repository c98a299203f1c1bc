/* SPDX-License-Identifier: ISC */
#include "vault/ticket.h"

#include <stdlib.h>

#include "util/clock.h"
#include "util/log.h"
#include "vault/arena.h"

enum { KEPT = 2 };

static struct ticket {
	uint8_t *key; /* in the arena; NULL: there is none */
	int64_t until;
} tickets[KEPT]; /* the newest last */
static struct loop_timer next;

static void send_ticket(struct ipc *c, const struct ticket *t)
{
	ipc_begin(c, PROTO_TLS_TICKETS, 0);
	ipc_put_bytes(c, FIELD_TICKET_KEY, slice_of(t->key, TICKET_KEY));
	ipc_put_u64(c, FIELD_UNTIL, (uint64_t)t->until);
	(void)ipc_end(c);
}

static void renew(void *arg)
{
	struct ticket *t = &tickets[KEPT - 1];
	struct server_peer *peer = NULL;

	(void)arg;
	arena_free(tickets[0].key);
	for (size_t i = 0; i + 1 < KEPT; i++)
		tickets[i] = tickets[i + 1];
	t->key = arena_alloc(TICKET_KEY);
	if (t->key == NULL)
		log_fatal("no memory for keys is left");
	arc4random_buf(t->key, TICKET_KEY);
	t->until = clock_real() + TICKET_SECONDS * CLOCK_SEC;
	TAILQ_FOREACH(peer, server_peers(ROLE_SMTPD), next)
	send_ticket(peer->ipc, t);
	loop_timer_set(&next, loop_now() + TICKET_NEW_SECONDS * CLOCK_SEC);
}

void ticket_start(void)
{
	loop_timer_clear(&next);
	loop_timer_init(&next, renew, NULL);
	renew(NULL);
}

void ticket_peer_new(struct server_peer *peer)
{
	for (size_t i = 0; peer->role == ROLE_SMTPD && i < KEPT; i++)
		if (tickets[i].key != NULL && tickets[i].until > clock_real())
			send_ticket(peer->ipc, &tickets[i]);
}

/* SPDX-License-Identifier: ISC */
#ifndef QMGR_TRANSPORT_H
#define QMGR_TRANSPORT_H

#include "qmgr/schedule.h"
#include "queue/envelope.h"

/*
 * Transports: services of master.cf that deliver, known here by name alone. discard, error and
 * retry need no process: the answer is the transport's meaning, given with that program's log
 * line. One that no worker serves for a while is suspended, and so is one in defer_transports.
 */
enum transport_kind {
	TRANSPORT_WORKERS, /* delivery workers */
	TRANSPORT_DISCARD, /* delivered */
	TRANSPORT_ERROR,   /* failed; the next hop is "5.1.1 text" or a text */
	TRANSPORT_RETRY,   /* deferred, likewise */
};

struct transport {
	TAILQ_ENTRY(transport) link;
	char *name;
	enum transport_kind kind;
	struct schedule_transport *scheduled;
	bool is_off;           /* in defer_transports */
	bool falls_back;       /* its workers go on to a relay when the hosts of a next hop fail */
	bool by_recipient;     /* recipient limit 1: each recipient is a destination */
	unsigned initial;      /* concurrency of a new destination */
	unsigned limit;        /* concurrency of any; 0: none */
	int64_t slowest;       /* the longest time in which a bucket of it fills; 0: it has none */
	unsigned workers;      /* connected */
	unsigned room;         /* jobs that they would take */
	int64_t missing_since; /* no worker, and mail waits; 0: no */
};

/* Made with its settings when it is new. name: at most 128 bytes, from an envelope or cleanup. */
struct transport *transport_get(struct slice name);
/* It has been made, or needs no worker. */
bool transport_is_known(struct slice name);
/* Settings were changed. */
void transport_reload(void);
/* Its workers have room for n more (or fewer) jobs. */
void transport_room(struct transport *t, int n);
void transport_workers(struct transport *t, int n);
/* Mail was queued for it: without workers a watch begins. */
void transport_wanted(struct transport *t);
/* Makes deferred mail due now that may be for the next hop, whatever its transport, or domain of
 * that name; how many messages. */
size_t transport_flush(struct slice name);
void transport_init(void);

#endif

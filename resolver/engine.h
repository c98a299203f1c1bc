/* SPDX-License-Identifier: ISC */
#ifndef RESOLVER_ENGINE_H
#define RESOLVER_ENGINE_H

#include "dns/packet.h"
#include "dns/resolvconf.h"

/*
 * Questions to name servers: cache, sending, waiting, retrying. One question is sent once however
 * many ask it at a time. Each try has a socket of its own (so a port of its own) and a new random
 * id; a reply counts only from the server that was asked, with this id and question.
 *
 * A try ends with an answer; with a failure of that server (SERVFAIL, refused port, …: the next one
 * is asked at once), or after the try's time. All servers are tried "attempts" times, each at least
 * once within the time of all tries. As long as
 * every server only refuses the connection, as one that restarts does, tries go on until the time
 * of all tries together is used. The server that answered last is asked first.
 */
struct engine;

enum {
	ENGINE_CACHE = 20000,   /* answers kept */
	ENGINE_SENT_MAX = 1000, /* questions on the way at once, each with a socket */
	ENGINE_WAITING_MAX =
		20000 /* those and the ones that wait for room; more are answered TEMP */
};

/* cache: answers that are kept; time_limit: microseconds for all tries of a question. */
struct engine *engine_new(size_t cache, int64_t time_limit); /* owned */
void engine_free(struct engine **e);
/*
 * Takes these servers from now on; when they differ (true), the cache is emptied. No answer is
 * secure unless rc->trust_ad.
 */
bool engine_configure(struct engine *e, const struct resolvconf *rc);

/* Whether the name servers are trusted with what they say of DNSSEC. */
bool engine_is_trusted(const struct engine *e);
/* Whether an answer was secure since the servers were taken. */
bool engine_has_validated(const struct engine *e);
/* The domains of "search", the first is 0; NULL: so many there are not. */
const char *engine_search(const struct engine *e, unsigned i);

/* Embedded in who asks. */
struct engine_ask {
	void (*done)(void *arg, struct slice answer); /* encoded, see dns/answer.h; borrowed */
	void *arg;
	struct engine_ask *next, **prev; /* private */
};

/*
 * Asks. done is called once: from within this call when the answer is in the cache or can only be
 * TEMP, else from the event loop.
 */
void engine_ask(struct engine *e, const struct dns_question *q, struct engine_ask *ask);
/* Withdraws; the question itself goes on, for the cache. Harmless when done was called. */
void engine_cancel(struct engine_ask *ask);

#endif

/* SPDX-License-Identifier: ISC */
#include "tally/peaks.h"

#include <stdio.h>

#include "util/clock.h"
#include "util/mem.h"

/* In anvil's order. */
enum peak_kind {
	CONNECTION_RATE,
	CONNECTION_COUNT,
	MESSAGES,
	RECIPIENTS,
	NEWTLS,
	AUTHS,
	CACHE_SIZE
};

static const struct {
	const char *name;
	bool is_rate, has_client;
} kinds[] = {
	[CONNECTION_RATE] = {"connection rate", true, true},
	[CONNECTION_COUNT] = {"connection count", false, true},
	[MESSAGES] = {"message rate", true, true},
	[RECIPIENTS] = {"recipient rate", true, true},
	[NEWTLS] = {"newtls rate", true, true},
	[AUTHS] = {"auth rate", true, true},
	[CACHE_SIZE] = {"cache size", false, false},
};

enum { KINDS = sizeof(kinds) / sizeof(*kinds), WHO_MAX = 256 };

struct peaks {
	struct {
		uint64_t n; /* 0: none */
		int64_t when;
		char who[WHO_MAX]; /* service:client */
	} at[KINDS];
};

struct peaks *peaks_new(void)
{
	return mem_alloc(sizeof(struct peaks));
}

void peaks_free(struct peaks **p)
{
	mem_free(*p);
	*p = NULL;
}

static void note(
	struct peaks *p, enum peak_kind kind, const struct tally_event *e, uint64_t n, int64_t now)
{
	if (n <= p->at[kind].n)
		return;
	p->at[kind].n = n;
	p->at[kind].when = now;
	(void)snprintf(p->at[kind].who, WHO_MAX, "%.*s:%.*s", SLICE_FMT(e->service),
		SLICE_FMT(e->client_addr));
}

void peaks_rate(struct peaks *p, const struct tally_event *e, uint64_t rate, int64_t now)
{
	/* What a login does is not a client's. */
	if (e->client_addr.len == 0)
		return;
	switch (e->kind) {
	case TALLY_CONNECTIONS: note(p, CONNECTION_RATE, e, rate, now); break;
	case TALLY_MESSAGES: note(p, MESSAGES, e, rate, now); break;
	case TALLY_RECIPIENTS: note(p, RECIPIENTS, e, rate, now); break;
	case TALLY_AUTHS: note(p, AUTHS, e, rate, now); break;
	case TALLY_TLS_SESSIONS: note(p, NEWTLS, e, rate, now); break;
	default: break;
	}
}

void peaks_count(
	struct peaks *p, const struct tally_event *e, uint64_t open, uint64_t clients, int64_t now)
{
	note(p, CONNECTION_COUNT, e, open, now);
	note(p, CACHE_SIZE, e, clients, now);
}

void peaks_tell(struct peaks *p, int64_t unit, void (*tell)(const char *line))
{
	struct buf line = BUF_INIT(WHO_MAX + 128);

	for (size_t i = 0; i < KINDS; i++) {
		if (p->at[i].n == 0)
			continue;
		buf_reset(&line);
		(void)buf_add_fmt(&line, "statistics: max %s %llu", kinds[i].name,
			(unsigned long long)p->at[i].n);
		if (kinds[i].is_rate)
			(void)buf_add_fmt(&line, "/%llds", (long long)(unit / CLOCK_SEC));
		if (kinds[i].has_client)
			(void)buf_add_fmt(&line, " for (%s)", p->at[i].who);
		(void)buf_add_str(&line, " at ");
		clock_add_syslog(&line, p->at[i].when);
		tell(buf_str(&line));
		p->at[i].n = 0;
	}
	buf_clear(&line);
}

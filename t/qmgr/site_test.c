/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <time.h>

#include "qmgr/active_private.h"
#include "qmgr/memory.h"
#include "qmgr/qmgr.h"
#include "qmgr/site.h"
#include "server/server.h"
#include "t/tap.h"
#include "util/mem.h"

/*
 * Asking for sites: the scheduler is real; the loop's clock, the frames to resolver and the
 * messages around are here, so that five seconds and an hour pass at once.
 */
enum { MOST = 60000, START = 1000000 };

struct qmgr qmgr;
static int64_t now = START;
static struct loop_timer *timer;

int64_t loop_now(void)
{
	return now;
}

void loop_timer_init(struct loop_timer *t, void (*fire)(void *arg), void *arg)
{
	*t = (struct loop_timer){.fire = fire, .arg = arg, .due = CLOCK_NEVER};
	timer = t;
}

void loop_timer_set(struct loop_timer *t, int64_t due)
{
	t->due = due;
}

int64_t qmgr_time(void)
{
	return now;
}

void qmgr_work(void)
{
}

void memory_meet_site(const struct transport *t, struct slice key, struct slice site)
{
}

static void after(int64_t time)
{
	now += time;
	for (int i = 0; i < 10 && timer->due <= now; i++)
		timer->fire(timer->arg);
	ok(timer->due > now, "the timer is set for later");
}

/* ---- resolver. ---- */

struct ipc {
	bool is_full; /* takes nothing more */
};

static struct request {
	struct ipc *to;
	char nexthop[64];
	void *arg;
	bool is_over;
} requests[MOST + 1]; /* by id */
static uint64_t requests_n;
static struct {
	uint64_t result, ttl;
	const char *site;
} reply;

static struct ipc wire;
static struct server_peer resolver;
static struct server_peer_list resolvers = TAILQ_HEAD_INITIALIZER(resolvers);

struct server_peer_list *server_peers(enum role role)
{
	return &resolvers;
}

uint64_t ipc_ask(struct ipc *c)
{
	requests[++requests_n] = (struct request){.to = c};
	return requests_n;
}

void ipc_begin(struct ipc *c, enum proto_msg type, uint64_t id)
{
}

void ipc_put_str(struct ipc *c, enum proto_field f, const char *s)
{
	(void)snprintf(requests[requests_n].nexthop, sizeof(requests->nexthop), "%s", s);
}

int ipc_end(struct ipc *c)
{
	requests[requests_n].is_over = c->is_full;
	return c->is_full ? ERR_CLOSED : 0;
}

void ipc_set_arg(struct ipc *c, uint64_t id, bool mine, void *arg)
{
	requests[id].arg = arg;
}

uint64_t ipc_u64(const struct ipc_msg *m, enum proto_field f)
{
	return f == FIELD_TTL ? reply.ttl : reply.result;
}

struct slice ipc_bytes(const struct ipc_msg *m, enum proto_field f)
{
	return slice_str(reply.site);
}

/* Has it been asked and nobody has said that the answer is not wanted? */
static bool is_open(uint64_t id)
{
	return requests[id].arg != NULL && !requests[id].is_over;
}

static unsigned open_requests(void)
{
	unsigned n = 0;

	for (uint64_t id = 1; id <= requests_n; id++)
		n += is_open(id);
	return n;
}

static void answer(uint64_t id, const char *site, uint64_t ttl)
{
	struct ipc_msg msg = {.type = PROTO_DNS_SITE_ANSWER, .id = id, .arg = requests[id].arg};

	reply.result = *site == '\0';
	reply.ttl = ttl;
	reply.site = site;
	requests[id].is_over = true;
	site_msg(&msg);
}

static void peer_new(struct server_peer *peer, struct ipc *c)
{
	*peer = (struct server_peer){.ipc = c, .role = ROLE_RESOLVER};
	TAILQ_INSERT_TAIL(&resolvers, peer, next);
	site_peer_new();
}

/* What it was asked is not answered any more. */
static void peer_gone(struct server_peer *peer)
{
	TAILQ_REMOVE(&resolvers, peer, next);
	for (uint64_t id = 1; id <= requests_n; id++)
		requests[id].is_over = requests[id].is_over || requests[id].to == peer->ipc;
	site_peer_gone(peer);
}

/* ---- Messages. ---- */

static char smtp_name[] = "smtp";
static struct transport smtp = {.name = smtp_name};
static struct active_rcpt rcpts[MOST];
static struct queue_message *const some = (struct queue_message *)&qmgr;
static struct active message;
static unsigned sent, checks;

struct slice active_nexthop(const struct active *a, const struct active_rcpt *r)
{
	return slice_str(r->nexthop);
}

void active_dest_key(const struct active *a, const struct active_rcpt *r, struct buf *key)
{
	buf_reset(key);
	if (r->transport->by_recipient)
		(void)buf_add_fmt(key, "%u@", r->index);
	(void)buf_add_lower(key, slice_str(r->nexthop));
}

void active_wait(struct active *a, struct active_rcpt *r)
{
	r->state = ACTIVE_RESOLVING;
}

void active_enqueue(struct active *a, struct active_rcpt *r)
{
	struct buf key = BUF_INIT(1000);

	active_dest_key(a, r, &key);
	if (!site_wait(a, r, buf_slice(&key))) {
		r->state = ACTIVE_QUEUED;
		sent++;
	}
	buf_clear(&key);
}

void active_check(struct active *a)
{
	checks++;
}

/* A recipient for that next hop; "%u": one for each. */
static void mail(unsigned n, const char *nexthop)
{
	message.m = some;
	sent = checks = 0;
	for (unsigned i = 0; i < n; i++) {
		rcpts[i] = (struct active_rcpt){.index = i, .transport = &smtp};
		rcpts[i].nexthop = strchr(nexthop, '%') != NULL ? mem_fmt("%u.%s", i, nexthop + 3)
								: mem_str(nexthop);
		active_enqueue(&message, &rcpts[i]);
	}
}

static void forget(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		site_forget(&rcpts[i]);
		mem_free(rcpts[i].nexthop);
	}
}

static bool wants(const char *key)
{
	return schedule_dest_wants_site(qmgr.schedule, now, smtp.scheduled, slice_str(key));
}

static struct slice site(const char *key)
{
	return schedule_dest_site(smtp.scheduled, slice_str(key));
}

static void begin(void)
{
	static const struct schedule_settings settings = {
		.message_limit = MOST, .recipient_limit = MOST};
	static const struct schedule_limits limits = {.recipients = 50,
		.initial_concurrency = 5,
		.concurrency = 20,
		.site_concurrency = 1};

	qmgr.schedule = schedule_new(&settings);
	smtp.scheduled = schedule_transport_set(qmgr.schedule, SLICE_LIT("smtp"), &limits);
	smtp.by_recipient = false;
	requests_n = 0;
	peer_new(&resolver, &wire);
}

static void end(unsigned n)
{
	forget(n);
	is_int(open_requests(), 0, "nobody waits for an answer");
	ok(timer->due == CLOCK_NEVER, "nor for the time to end");
	if (!TAILQ_EMPTY(&resolvers))
		peer_gone(&resolver);
	schedule_free(&qmgr.schedule);
}

/* ---- Tests. ---- */

/* More than may be asked at once: none goes without its site. */
static void test_many(void)
{
	unsigned most = 0;

	begin();
	mail(3500, "%u.many.test");
	is_int(sent, 0, "of 3500 next hops none goes before its site is said");
	is_int(requests_n, SITE_QUESTIONS, "so many are asked for at once");
	for (uint64_t id = 1; id <= requests_n; id++) {
		answer(id, "mx.test", 3600);
		most = open_requests() > most ? open_requests() : most;
	}
	is_int(requests_n, 3500, "all are asked for, each once");
	ok(most <= SITE_QUESTIONS, "never more at once (%u)", most);
	is_int(sent, 3500, "and all go");
	is_slice(site("0.many.test"), "mx.test", "the first one's site");
	is_slice(site("3499.many.test"), "mx.test", "the last one's");
	end(3500);
}

/* *_destination_recipient_limit = 1: each recipient is a destination. */
static void test_by_recipient(void)
{
	begin();
	smtp.by_recipient = true;
	mail(5000, "One.test");
	is_int(requests_n, 1, "one question for 5000 recipients of a domain");
	is_str(requests[1].nexthop, "one.test", "about the domain");
	is_int(sent, 0, "all wait for it");
	answer(1, "mx.test", 3600);
	is_int(sent, 5000, "and go");
	is_int(checks, 1, "their message is looked at once");
	is_slice(site("4999@one.test"), "mx.test", "each has the site");
	end(5000);
}

static void test_silent(void)
{
	begin();
	mail(SITE_QUESTIONS + 10, "%u.silent.test");
	after(SITE_WAIT - 1);
	is_int(sent, 0, "a silent resolver: they wait");
	is_int(open_requests(), SITE_QUESTIONS, "as many as may be asked");
	after(1);
	is_int(sent, SITE_QUESTIONS, "at the end of their time they go");
	is_int(requests_n, SITE_QUESTIONS + 10, "the others are asked for then");
	is_slice(site("0.silent.test"), "", "as sites of their own");
	ok(!wants("0.silent.test"), "which they are for a while");
	answer(1, "mx.test", 3600);
	is_slice(site("0.silent.test"), "", "an answer that comes too late is none");
	after(SITE_WAIT);
	is_int(sent, SITE_QUESTIONS + 10, "and these have their time, too");
	forget(SITE_QUESTIONS + 10);
	after(SCHEDULE_NO_SITE_LIFE);
	mail(1, "%u.silent.test");
	is_int(requests_n, SITE_QUESTIONS + 11, "the next try asks again");
	answer(requests_n, "", 0);
	is_int(sent, 1, "one that cannot be said goes at once");
	ok(!wants("0.silent.test"), "by itself, for a while");
	end(1);
}

static void test_lost(void)
{
	static struct ipc c[3];
	struct server_peer peer[3];

	begin();
	peer_new(&peer[0], &c[0]);
	mail(1, "lost.test");
	ok(requests_n == 1 && requests[1].to == &wire, "the first resolver is asked");
	after(SITE_WAIT - 2);
	peer_gone(&resolver);
	ok(requests_n == 2 && requests[2].to == &c[0] && is_open(2),
		"it is lost: the other one is asked");
	peer_gone(&peer[0]);
	is_int(requests_n, 2, "there is none: the question waits");
	peer_new(&peer[1], &c[1]);
	ok(requests_n == 3 && requests[3].to == &c[1], "for the next one");
	after(1);
	answer(3, "mx.test", 3600);
	is_int(sent, 1, "and has its answer");
	is_slice(site("lost.test"), "mx.test", "which counts");
	forget(1);

	mail(1, "lost2.test");
	peer_gone(&peer[1]);
	after(SITE_WAIT);
	is_int(sent, 1, "none comes: its time is the same");
	ok(!wants("lost2.test"), "it is a site by itself");
	forget(1);

	c[2].is_full = true;
	peer_new(&peer[2], &c[2]);
	mail(1, "lost3.test");
	is_int(sent, 0, "one that takes no question");
	after(SITE_WAIT);
	is_int(sent, 1, "its time ends, too");
	peer_gone(&peer[2]);
	end(1);
}

/* As long as the records say, within bounds. */
static void test_life(void)
{
	static const struct {
		uint64_t ttl;
		int64_t holds;
	} rows[] = {{0, SCHEDULE_SITE_LIFE_MIN}, {1, SCHEDULE_SITE_LIFE_MIN},
		{300, 300 * CLOCK_SEC}, {86400, SCHEDULE_SITE_LIFE},
		{UINT64_MAX, SCHEDULE_SITE_LIFE}};

	begin();
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		mail(1, "life.test");
		is_int(requests_n, i + 1, "it is asked for");
		answer(requests_n, "mx.test", rows[i].ttl);
		forget(1);
		after(rows[i].holds - 1);
		mail(1, "life.test");
		is_int(requests_n, i + 1, "said for %ju s: it holds", (uintmax_t)rows[i].ttl);
		forget(1);
		after(1);
	}
	mail(1, "life.test");
	is_int(requests_n, COUNT_OF(rows) + 1, "and no longer");
	forget(1);
	end(0);
}

/* What nobody waits for any more. */
static void test_forget(void)
{
	begin();
	mail(SITE_QUESTIONS + 1, "%u.end.test");
	site_forget(&rcpts[5]);
	ok(!is_open(6), "a message that ends: its question is withdrawn");
	ok(requests_n == SITE_QUESTIONS + 1 && is_open(requests_n), "the next one has its place");
	answer(6, "mx.test", 3600);
	ok(wants("5.end.test"), "its answer is none");
	message.m = NULL;
	answer(7, "mx.test", 3600);
	is_int(sent, 0, "nothing is queued of a message that was deleted");
	end(SITE_QUESTIONS + 1);
}

/* Seconds of processor time for a recipient that comes and goes while so many wait. */
static double turn(unsigned waiting)
{
	enum { TURNS = 20000 };
	char shared[] = "0.flat.test", own[] = "own.test";
	struct active_rcpt r = {.transport = &smtp};
	clock_t start;
	double took;

	begin();
	smtp.by_recipient = true;
	mail(waiting / 2, "%u.flat.test");
	for (unsigned i = waiting / 2; i < waiting; i++) {
		rcpts[i] = (struct active_rcpt){
			.index = i, .transport = &smtp, .nexthop = mem_str("0.flat.test")};
		active_enqueue(&message, &rcpts[i]);
	}
	r.index = waiting;
	start = clock();
	for (int i = 0; i < TURNS; i++) {
		r.nexthop = i % 2 != 0 ? shared : own;
		active_enqueue(&message, &r);
		site_forget(&r);
	}
	took = (double)(clock() - start) / CLOCKS_PER_SEC / TURNS;
	is_int(sent, 0, "%u wait", waiting);
	end(waiting);
	return took;
}

static void test_flat(void)
{
	double few = turn(100), many = turn(MOST);

	diag("a recipient beside 100: %.2f us, beside %d: %.2f us", few * 1e6, MOST, many * 1e6);
	/* Wide, for caches; a walk would make it hundreds of times as much. */
	ok(many <= few * 8 + 4e-6, "its cost does not grow with how many wait");
}

int main(void)
{
	site_init();
	test_many();
	test_by_recipient();
	test_silent();
	test_lost();
	test_life();
	test_forget();
	test_flat();
	return done_testing();
}

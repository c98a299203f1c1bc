/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "dns/client.h"
#include "util/err.h"
#include "util/log.h"

/* The other end: the test is the resolver. It answers, or keeps the question. */
struct resolver {
	struct ipc *here, *there;
	unsigned asked;
	uint64_t last;
	bool silent;
};

static void answer(struct ipc *c, uint64_t id, bool hosts)
{
	struct buf b = BUF_INIT(65536);
	static struct hosts h;
	if (hosts) {
		h = (struct hosts){.status = DNS_NULLMX, .name = SLICE_LIT("a.test")};
		hosts_encode(&b, &h);
	} else {
		dns_answer_begin(&b, DNS_NODATA, false, 9, SLICE_LIT("a.test"));
		dns_answer_add(&b, DNS_A, 0, SLICE_LIT("\177\0\0\1"));
	}
	ipc_begin(c, hosts ? PROTO_DNS_HOSTS_ANSWER : PROTO_DNS_ANSWER, id);
	ipc_put_bytes(c, FIELD_VALUE, buf_slice(&b));
	(void)ipc_end(c);
	buf_clear(&b);
}

static void resolver_msg(struct ipc *c, struct ipc_msg *m, void *arg)
{
	struct resolver *r = arg;
	r->asked++;
	r->last = m->id;
	if (!r->silent) {
		answer(c, m->id, m->type == PROTO_DNS_HOSTS);
	}
}

static void client_msg(struct ipc *c, struct ipc_msg *m, void *arg)
{
	dns_client_msg(c, m);
}

static void ended(struct ipc *c, int err, void *arg)
{
}

static void resolver_start(struct resolver *r)
{
	static const struct ipc_events mine = {resolver_msg, ended, NULL},
				       theirs = {client_msg, ended, NULL};
	int fds[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
		bail_out("socketpair failed");
	}
	*r = (struct resolver){0};
	r->here = ipc_new(fds[0], ROLE_RESOLVER, ROLE_CLIENT, &mine, r, 0);
	r->there = ipc_new(fds[1], ROLE_CLIENT, ROLE_RESOLVER, &theirs, NULL, 0);
	dns_client_add(r->there);
}

static void resolver_stop(struct resolver *r)
{
	dns_client_remove(r->there);
	ipc_free(&r->there);
	ipc_free(&r->here);
}

struct got {
	unsigned calls, records;
	enum dns_status status;
};

static void take(void *arg, const struct dns_answer *a)
{
	struct got *g = arg;
	g->calls++;
	g->status = a->status;
	g->records = a->count;
}

static void take_hosts(void *arg, const struct hosts *h)
{
	struct got *g = arg;
	g->calls++;
	g->status = h->status;
}

static void wait_for(const struct got *g, unsigned calls)
{
	int64_t deadline = clock_mono() + 10 * CLOCK_SEC;
	while (g->calls < calls && clock_mono() < deadline) {
		loop_once(clock_mono() + 20 * CLOCK_MSEC);
	}
}

static int64_t soon(int ms)
{
	return clock_mono() + ms * CLOCK_MSEC;
}

static void test_queries(void)
{
	struct resolver r;
	struct got g = {0};
	struct dns_query *q = NULL;
	static const struct dns_hosts_want want = {.mx = true, .ipv4 = true, .port = 25};

	resolver_start(&r);
	(void)dns_query(DNS_A, SLICE_LIT("A.Test"), soon(20000), take, &g);
	is_int(g.calls, 0, "never from inside the call");
	wait_for(&g, 1);
	ok(g.status == DNS_OK && g.records == 1, "an answer");
	(void)dns_query_ptr(SLICE_LIT("\177\0\0\1"), soon(20000), take, &g);
	(void)dns_query_hosts(SLICE_LIT("a.test"), &want, soon(20000), take_hosts, &g);
	wait_for(&g, 3);
	is_int(g.status, DNS_NULLMX, "hosts");
	unsigned asked = r.asked;
	(void)dns_query(DNS_A, SLICE_LIT("no name"), soon(20000), take, &g);
	is_int(g.calls, 3, "a bad name: not from inside either");
	wait_for(&g, 4);
	is_int(g.status, DNS_NXDOMAIN, "cannot exist");
	(void)dns_query_hosts(SLICE_LIT("no name"), &want, soon(20000), take_hosts, &g);
	wait_for(&g, 5);
	is_int(g.status, DNS_NXDOMAIN, "as a next hop neither");
	is_int(r.asked, asked, "nobody is asked");
	r.silent = true;
	q = dns_query(DNS_A, SLICE_LIT("a.test"), soon(20000), take, &g);
	loop_once(soon(50));
	dns_cancel(&q);
	ok(q == NULL, "withdrawn");
	loop_once(soon(20));
	answer(r.here, r.last, false);
	loop_once(soon(50));
	is_int(g.calls, 5, "its answer is nobody's");
	(void)dns_query(DNS_A, SLICE_LIT("a.test"), soon(60), take, &g);
	wait_for(&g, 6);
	is_int(g.status, DNS_TEMP, "silence until the deadline");
	resolver_stop(&r);
}

static void test_restart(void)
{
	struct resolver one, two;
	struct got g = {0}, many[12] = {{0}};
	struct dns_query *waiting[12] = {NULL};

	(void)dns_query(DNS_A, SLICE_LIT("a.test"), soon(20000), take, &g);
	loop_once(soon(20));
	resolver_start(&one);
	wait_for(&g, 1);
	is_int(g.status, DNS_OK, "asked before there is a resolver");
	one.silent = true;
	(void)dns_query(DNS_A, SLICE_LIT("a.test"), soon(20000), take, &g);
	while (one.asked < 2) {
		loop_once(soon(20));
	}
	resolver_stop(&one);
	resolver_start(&two);
	wait_for(&g, 2);
	ok(g.status == DNS_OK && two.asked == 1, "a resolver that restarts is asked again");
	two.silent = true;
	for (int i = 0; i < 12; i++) {
		waiting[i] = dns_query(DNS_A, SLICE_LIT("a.test"), soon(20000), take, &many[i]);
	}
	wait_for(&many[11], 1);
	is_int(many[11].status, DNS_TEMP, "over the limit: at once");
	ok(many[0].calls == 0, "the others wait");
	for (int i = 0; i < 10; i++) {
		dns_cancel(&waiting[i]);
	}
	resolver_stop(&two);
}

static unsigned woken;

static void wake(void *arg)
{
	woken++;
}

static void test_later(void)
{
	struct resolver r;
	struct later l;
	struct dns_answer a;
	resolver_start(&r);
	later_init(&l, 2, wake, NULL);
	is_int(dns_later(&l, DNS_A, SLICE_LIT("a.test"), 20 * CLOCK_SEC, &a), ERR_LATER, "asked");
	is_int(dns_later(&l, DNS_A, SLICE_LIT("A.TEST"), 20 * CLOCK_SEC, &a), ERR_LATER,
		"the same question");
	while (woken == 0) {
		loop_once(soon(20));
	}
	is_int(r.asked, 1, "one question");
	is_int(dns_later(&l, DNS_A, SLICE_LIT("a.test"), 20 * CLOCK_SEC, &a), 0, "answered");
	ok(a.status == DNS_OK && a.count == 1, "with its record");
	r.silent = true;
	is_int(dns_later_ptr(&l, SLICE_LIT("\177\0\0\1"), CLOCK_SEC, &a), ERR_LATER, "another");
	is_int(dns_later(&l, DNS_A, SLICE_LIT("c.test"), CLOCK_SEC, &a), ERR_TEMP,
		"over the limit");
	is_int(dns_later(NULL, DNS_A, SLICE_LIT("c.test"), CLOCK_SEC, &a), ERR_TEMP,
		"who cannot wait");
	later_clear(&l);
	loop_once(soon(20));
	is_int(woken, 1, "withdrawn: nobody is woken");
	resolver_stop(&r);
}

int main(void)
{
	log_set_level(LOG_LEVEL_NONE);
	loop_init();
	dns_client_init(10);
	test_queries();
	test_restart();
	test_later();
	return done_testing();
}

/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/addr.h"
#include "net/stream.h"
#include "resolver/engine.h"
#include "resolver/lookup.h"
#include "resolver/site.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"

/* A name server on the same loop, whose behaviour the first label of the question says. */
struct server {
	int udp, tcp;
	struct loop_watch *udp_watch, *tcp_watch;
	struct stream *stream;
	uint16_t port;
	unsigned queries, by_tcp;
	bool dead;
};

enum { SEEN = 40 };

/* Of the last questions by UDP: what a guess would have to meet. */
static struct {
	uint16_t port, id;
	char name[SEEN + 1];
} seen[SEEN];
static unsigned seen_n;

static struct server one, two;

/* Time that has passed for the engine alone: the linker gives it this clock, which can be stopped.
 */
static int64_t skew, stopped;
int64_t __real_loop_now(void);
int64_t __wrap_loop_now(void);

int64_t __wrap_loop_now(void)
{
	return (stopped != 0 ? stopped : __real_loop_now()) + skew;
}

static void put16(struct buf *b, unsigned v)
{
	buf_add_char(b, (char)(v >> 8));
	buf_add_char(b, (char)v);
}

static void put_rr(struct buf *b, unsigned type, const void *data, size_t len)
{
	put16(b, 0xc00c);
	put16(b, type);
	put16(b, 1);
	put16(b, 0);
	put16(b, 60);
	put16(b, (unsigned)len);
	buf_add(b, data, len);
}

static bool asks(struct slice q, const char *label)
{
	size_t len = strlen(label);
	return q.len > 13 + len && (size_t)(unsigned char)q.p[12] == len &&
	       slice_case_eq(slice_first(slice_from(q, 13), len), slice_str(label));
}

static void put_answer(struct buf *b, struct slice q, unsigned type)
{
	if (asks(q, "alias")) {
		put_rr(b, DNS_CNAME, "\002ok\004test", 9);
	} else if (asks(q, "loop")) {
		put_rr(b, DNS_CNAME, "\004loop\004test", 11);
	} else if (type == DNS_MX) {
		put_rr(b, DNS_MX, "\000\012\002m1\004test", 11);
		put_rr(b, DNS_MX, "\000\024\002m2\004test", 11);
		put_rr(b, DNS_MX, "\000\036\002nx\004test", 11);
	} else if (type == DNS_AAAA) {
		put_rr(b, DNS_AAAA, "0123456789abcdef", 16);
	} else {
		put_rr(b, DNS_A, "\177\0\0\1", 4);
	}
}

/* The zone's SOA, by which "not there" may be kept for 30 seconds (RFC 2308, 5). */
static void put_soa(struct buf *b)
{
	static const char data[22] = {[21] = 30};

	put_rr(b, DNS_SOA, data, sizeof(data));
}

static bool has_no_answer(struct slice q, unsigned type)
{
	return asks(q, "none") || asks(q, "empty") ||
	       (type == DNS_MX && (asks(q, "plain") || asks(q, "m1")));
}

/* The reply to q; empty: silence. */
static void answer(struct server *s, struct buf *b, struct slice q, bool tcp)
{
	size_t end = 12;
	while (end < q.len && q.p[end] != 0) {
		end += 1 + (size_t)q.p[end];
	}
	end += 5;
	unsigned type = (unsigned)(unsigned char)q.p[end - 4] << 8 | (unsigned char)q.p[end - 3];
	bool edns = q.p[11] != 0;
	bool soa = asks(q, "gone") || asks(q, "empty");
	unsigned rcode = asks(q, "nx") || asks(q, "gone") ? 3
			 : asks(q, "fail")                ? 2
			 : asks(q, "noedns") && edns      ? 1
							  : 0;
	bool cut = !tcp && asks(q, "trunc");
	s->queries++;
	s->by_tcp += tcp;
	buf_reset(b);
	if (asks(q, "silent") || (asks(q, "second") && s == &one)) {
		return;
	}
	bool empty = rcode != 0 || cut || has_no_answer(q, type);
	unsigned n = type == DNS_MX && !asks(q, "alias") ? 3 : 1;
	buf_add_slice(b, slice_first(q, 2));
	put16(b, 0x8180 | rcode | (cut ? 0x200 : 0));
	put16(b, 1);
	put16(b, empty ? 0 : n);
	put16(b, soa ? 1 : 0);
	put16(b, 0);
	if (asks(q, "case") && !tcp) {
		buf_add_lower(b, slice_first(slice_from(q, 12), end - 12));
	} else {
		buf_add_slice(b, slice_first(slice_from(q, 12), end - 12));
	}
	if (!empty) {
		put_answer(b, q, type);
	}
	if (soa) {
		put_soa(b);
	}
}

static void note(struct slice q, const struct net_addr *from)
{
	if (seen_n < SEEN) {
		seen[seen_n].port = net_addr_port(from);
		memcpy(&seen[seen_n].id, q.p, 2);
		struct slice name = slice_first(slice_from(q, 13), (size_t)q.p[12]);
		(void)snprintf(seen[seen_n++].name, SEEN, "%.*s", SLICE_FMT(name));
	}
}

static void udp_ready(int what, void *arg)
{
	struct server *s = arg;
	struct buf b = BUF_INIT(65535);
	struct net_addr from = {.len = sizeof(from.ss)};
	char packet[2048];
	struct sockaddr *sa = (struct sockaddr *)&from.ss;
	ssize_t n = recvfrom(s->udp, packet, sizeof(packet), 0, sa, &from.len);
	if (n <= 12) {
		return;
	}
	struct slice q = slice_of(packet, (size_t)n);
	note(q, &from);
	answer(s, &b, q, false);
	if (b.len > 0 && asks(q, "guess")) {
		/* An attacker's packets come first: another id, another question. */
		b.data[b.start] ^= 1;
		(void)!sendto(s->udp, buf_str(&b), b.len, 0, sa, from.len);
		b.data[b.start] ^= 1;
		b.data[b.start + 14] ^= 1;
		(void)!sendto(s->udp, buf_str(&b), b.len, 0, sa, from.len);
		b.data[b.start + 14] ^= 1;
	}
	if (b.len > 0) {
		(void)!sendto(s->udp, buf_str(&b), b.len, 0, sa, from.len);
	}
	buf_clear(&b);
}

static void tcp_input(struct stream *st, void *arg)
{
	struct server *s = arg;
	struct buf b = BUF_INIT(65535);
	struct slice in = stream_input(st);
	if (in.len < 2 || in.len < 2 + (size_t)(unsigned char)in.p[1]) {
		return;
	}
	answer(s, &b, slice_from(in, 2), true);
	stream_consume(st, in.len);
	char head[2] = {(char)(b.len >> 8), (char)b.len};
	(void)stream_write(st, head, 2);
	(void)stream_write_slice(st, buf_slice(&b));
	buf_clear(&b);
}

static void tcp_end(struct stream *st, int err, void *arg)
{
	struct server *s = arg;
	stream_free(&s->stream);
}

static void tcp_ready(int what, void *arg)
{
	static const struct stream_events events = {.on_input = tcp_input, .on_end = tcp_end};
	struct server *s = arg;
	struct net_addr peer;
	int fd = -1;
	if (net_accept(s->tcp, &fd, &peer) != 0) {
		return;
	}
	stream_free(&s->stream);
	s->stream = stream_new(fd, &events, s, 65536, 65536);
	stream_read(s->stream, true);
}

static void server_start(struct server *s)
{
	struct net_addr a;
	struct sockaddr *sa = (struct sockaddr *)&a.ss;
	int64_t deadline = clock_mono() + 20 * CLOCK_SEC;
	int on = 1;
	/* A port that is free for both; that of before, which somebody may have for a moment. */
	for (;;) {
		(void)net_addr_parse(SLICE_LIT("127.0.0.1"), s->port, &a);
		s->udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
		s->tcp = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)setsockopt(s->tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		bool bound = bind(s->udp, sa, a.len) == 0 && net_local(s->udp, &a) == 0 &&
			     bind(s->tcp, sa, a.len) == 0 && listen(s->tcp, 5) == 0;
		if (bound) {
			break;
		}
		close(s->udp);
		close(s->tcp);
		if (clock_mono() > deadline) {
			bail_out("port %u is taken", s->port);
		}
		if (s->port != 0) {
			(void)usleep(20000);
		}
	}
	s->port = net_addr_port(&a);
	s->udp_watch = loop_watch_new(s->udp, udp_ready, s);
	s->tcp_watch = loop_watch_new(s->tcp, tcp_ready, s);
	loop_watch_set(s->udp_watch, LOOP_READ);
	loop_watch_set(s->tcp_watch, LOOP_READ);
}

static void server_stop(struct server *s)
{
	loop_watch_free(&s->udp_watch);
	loop_watch_free(&s->tcp_watch);
	stream_free(&s->stream);
	fd_close(&s->udp);
	fd_close(&s->tcp);
}

struct result {
	struct engine_ask ask;
	struct buf text;
	bool done;
	enum dns_status status;
};

static void got(void *arg, struct slice encoded)
{
	struct result *r = arg;
	struct dns_answer a;
	is_int(dns_answer_parse(encoded, &a), 0, "a sound answer");
	r->done = true;
	r->status = a.status;
}

static void wait_for(const bool *done)
{
	int64_t deadline = clock_mono() + 20 * CLOCK_SEC;
	while (!*done && clock_mono() < deadline) {
		loop_once(clock_mono() + CLOCK_SEC);
	}
}

static enum dns_status ask(struct engine *e, enum dns_type type, const char *name)
{
	struct result r = {.ask = {.done = got, .arg = &r}};
	struct dns_question q;
	(void)dns_question_set(&q, type, slice_str(name));
	engine_ask(e, &q, &r.ask);
	wait_for(&r.done);
	engine_cancel(&r.ask);
	return r.done ? r.status : (enum dns_status) - 1;
}

static void configure(struct engine *e, const char *options)
{
	struct resolvconf rc;
	struct buf b = BUF_INIT(1000);
	buf_add_fmt(&b, "nameserver [127.0.0.1]:%u\nnameserver [127.0.0.1]:%u\noptions %s\n",
		one.port, two.port, options);
	resolvconf_parse(buf_slice(&b), &rc);
	engine_configure(e, &rc);
	buf_clear(&b);
}

static void test_answers(struct engine *e)
{
	static const struct {
		const char *name;
		enum dns_type type;
		enum dns_status status;
		unsigned queries, by_tcp;
	} rows[] = {
		{"ok.test", DNS_A, DNS_OK, 1, 0},
		{"ok.test", DNS_A, DNS_OK, 0, 0}, /* from the cache */
		{"ok.test", DNS_AAAA, DNS_OK, 1, 0},
		{"nx.test", DNS_A, DNS_NXDOMAIN, 1, 0},
		{"none.test", DNS_A, DNS_NODATA, 1, 0},
		{"trunc.test", DNS_A, DNS_OK, 2, 1},
		{"case.test", DNS_A, DNS_OK, 2, 1},
		{"guess.test", DNS_A, DNS_OK, 1, 0},
		{"noedns.test", DNS_A, DNS_OK, 2, 0},
		{"alias.test", DNS_A, DNS_OK, 2, 0},
		{"loop.test", DNS_A, DNS_BAD, 1, 0},
		{"fail.test", DNS_A, DNS_TEMP, 4, 0},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		one.queries = two.queries = one.by_tcp = two.by_tcp = 0;
		is_int(ask(e, rows[i].type, rows[i].name), rows[i].status, "%s", rows[i].name);
		is_int(one.queries + two.queries, rows[i].queries, "asked");
		is_int(one.by_tcp + two.by_tcp, rows[i].by_tcp, "by TCP");
	}
}

static unsigned asked_for(struct engine *e, const char *name, enum dns_status status)
{
	one.queries = two.queries = 0;
	is_int(ask(e, DNS_A, name), status, "%s", name);
	return one.queries + two.queries;
}

/* What is there, and what is not, is asked for again when its time is over, and not before. */
static void test_kept(struct engine *e)
{
	static const struct {
		const char *name;
		enum dns_status status;
		unsigned ttl; /* 0: it is not kept */
	} rows[] = {
		{"kept.test", DNS_OK, 60},
		{"gone.test", DNS_NXDOMAIN, 30},
		{"empty.test", DNS_NODATA, 30},
		{"nx.test", DNS_NXDOMAIN, 0},
		{"none.test", DNS_NODATA, 0},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned again = rows[i].ttl == 0;
		stopped = __real_loop_now();
		is_int(asked_for(e, rows[i].name, rows[i].status), 1, "asked for");
		is_int(asked_for(e, rows[i].name, rows[i].status), again, "a second question");
		skew += (rows[i].ttl - 1 + again) * CLOCK_SEC;
		is_int(asked_for(e, rows[i].name, rows[i].status), again, "one within its %u s",
			rows[i].ttl);
		skew += CLOCK_SEC;
		is_int(asked_for(e, rows[i].name, rows[i].status), 1, "one behind them");
	}
	skew = stopped = 0;
}

/* Room for two answers: the one not used for the longest time goes. */
static void test_room(void)
{
	struct engine *e = engine_new(2, 100 * CLOCK_SEC);
	configure(e, "timeout:20 attempts:2");
	is_int(asked_for(e, "first.test", DNS_OK), 1, "asked for");
	is_int(asked_for(e, "other.test", DNS_OK), 1, "asked for");
	is_int(asked_for(e, "first.test", DNS_OK), 0, "kept");
	is_int(asked_for(e, "last.test", DNS_OK), 1, "a third");
	is_int(asked_for(e, "first.test", DNS_OK), 0, "is in the place of another");
	is_int(asked_for(e, "other.test", DNS_OK), 1, "which is asked for again");
	engine_free(&e);
}

/* Of 40 questions hardly any two have the same port, id, or case of letters. */
static void test_chance(struct engine *e)
{
	unsigned ports = 0, ids = 0, cases = 0;
	char name[64];
	seen_n = 0;
	for (int i = 0; i < SEEN; i++) {
		(void)snprintf(name, sizeof(name), "abcdefghijklmnopqrst%c%c.test", 'a' + i / 26,
			'a' + i % 26);
		(void)ask(e, DNS_A, name);
	}
	is_int(seen_n, SEEN, "questions by UDP");
	for (unsigned i = 0; i < seen_n; i++) {
		bool port = false, id = false, same = false;
		for (unsigned k = 0; k < i; k++) {
			port = port || seen[k].port == seen[i].port;
			id = id || seen[k].id == seen[i].id;
			same = same || strncmp(seen[k].name, seen[i].name, 20) == 0;
		}
		ports += !port;
		ids += !id;
		cases += !same;
	}
	ok(ports > SEEN / 2, "a new port for each (%u)", ports);
	ok(ids > SEEN - 3, "a new id for each (%u)", ids);
	ok(cases > SEEN - 3, "letters in another case (%u)", cases);
}

static void test_shared(struct engine *e)
{
	struct result r[3] = {{.ask = {.done = got, .arg = &r[0]}},
		{.ask = {.done = got, .arg = &r[1]}}, {.ask = {.done = got, .arg = &r[2]}}};
	struct dns_question q;
	(void)dns_question_set(&q, DNS_A, SLICE_LIT("shared.test"));
	one.queries = 0;
	for (int i = 0; i < 3; i++) {
		engine_ask(e, &q, &r[i].ask);
	}
	engine_cancel(&r[1].ask);
	wait_for(&r[0].done);
	ok(r[0].done && r[2].done && !r[1].done, "all askers are told, one has withdrawn");
	is_int(one.queries, 1, "by one question");
}

static void test_servers(struct engine *e)
{
	struct resolvconf rc;
	configure(e, "timeout:2 attempts:2");
	is_int(ask(e, DNS_A, "second.test"), DNS_OK,
		"the first server is silent, the second answers");
	one.queries = two.queries = 0;
	is_int(ask(e, DNS_A, "next.test"), DNS_OK, "another question");
	ok(one.queries == 0 && two.queries == 1, "goes to the server that answered last");

	struct engine *hasty = engine_new(10, 4 * CLOCK_SEC);
	configure(hasty, "timeout:30 attempts:1");
	is_int(ask(hasty, DNS_A, "second.test"), DNS_OK,
		"a silent server's time is longer than there is in all: the second has its turn");
	engine_free(&hasty);

	server_stop(&two);
	is_int(ask(e, DNS_A, "third.test"), DNS_OK, "a refused port: the next server at once");
	server_stop(&one);
	struct result r = {.ask = {.done = got, .arg = &r}};
	struct dns_question q;
	(void)dns_question_set(&q, DNS_A, SLICE_LIT("restart.test"));
	engine_ask(e, &q, &r.ask);
	for (int i = 0; i < 3; i++) {
		loop_once(clock_mono() + 300 * CLOCK_MSEC);
	}
	ok(!r.done, "all servers are down: it waits");
	server_start(&one);
	wait_for(&r.done);
	is_int(r.status, DNS_OK, "and gets its answer when one is back");
	server_start(&two);

	resolvconf_parse(SLICE_LIT("options timeout:1 attempts:1"), &rc);
	configure(e, "timeout:1 attempts:1");
	is_int(ask(e, DNS_A, "silent.test"), DNS_TEMP, "nobody answers: a temporary failure");
	configure(e, "use-vc");
	one.by_tcp = two.by_tcp = 0;
	is_int(ask(e, DNS_A, "vc.test"), DNS_OK, "by TCP alone");
	is_int(one.by_tcp + two.by_tcp, 1, "it was");
}

struct found {
	struct hosts h;
	char name[256];
	bool done;
};

static void found(void *arg, const struct hosts *h)
{
	struct found *f = arg;
	f->h = *h;
	(void)snprintf(f->name, sizeof(f->name), "%.*s", SLICE_FMT(h->name));
	f->done = true;
}

static void test_hosts(struct engine *e)
{
	static const struct {
		const char *name;
		unsigned flags;
		enum dns_status status;
		unsigned n;
		enum dns_type type;
		const char *failed;
	} rows[] = {
		{"three.test", LOOKUP_MX | LOOKUP_IPV4, DNS_OK, 2, 0, ""},
		{"three.test", LOOKUP_MX | LOOKUP_IPV4 | LOOKUP_IPV6, DNS_OK, 4, 0, ""},
		{"plain.test", LOOKUP_MX | LOOKUP_IPV4, DNS_OK, 1, 0, ""},
		{"m1.test", LOOKUP_IPV4, DNS_OK, 1, 0, ""},
		{"nx.test", LOOKUP_MX | LOOKUP_IPV4, DNS_NXDOMAIN, 0, DNS_A, "nx.test"},
		{"nx.test", LOOKUP_IPV4 | LOOKUP_IPV6, DNS_NXDOMAIN, 0, DNS_AAAA, "nx.test"},
		{"none.test", LOOKUP_MX | LOOKUP_IPV4, DNS_NODATA, 0, DNS_A, "none.test"},
		{"fail.test", LOOKUP_MX | LOOKUP_IPV4, DNS_TEMP, 0, DNS_MX, "fail.test"},
		{"not a name", LOOKUP_MX | LOOKUP_IPV4, DNS_NXDOMAIN, 0, DNS_A, "not a name"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		static struct found f;
		struct lookup *l = NULL;
		f.done = false;
		lookup_new(e, slice_str(rows[i].name), rows[i].flags, 25, found, &f, &l);
		wait_for(&f.done);
		is_int(f.h.status, rows[i].status, "hosts of %s", rows[i].name);
		is_int(f.h.n, rows[i].n, "addresses");
		if (f.h.n == 0) {
			is_int(f.h.type, rows[i].type, "type that failed");
			is_str(f.name, rows[i].failed, "name that failed");
		}
	}
	static struct found f;
	struct lookup *l = NULL;
	f.done = false;
	lookup_new(e, SLICE_LIT("silent.test"), LOOKUP_MX | LOOKUP_IPV4, 25, found, &f, &l);
	ok(l != NULL && !f.done, "one that waits");
	lookup_free(&l);
	ok(l == NULL, "can be withdrawn");
}

struct place {
	int result;
	char site[300];
	uint32_t ttl;
	bool done;
};

static void placed(void *arg, int result, struct slice site, uint32_t ttl)
{
	struct place *p = arg;
	p->result = result;
	p->ttl = ttl;
	(void)snprintf(p->site, sizeof(p->site), "%.*s", SLICE_FMT(site));
	p->done = true;
}

static void test_sites(struct engine *e)
{
	static const struct {
		const char *nexthop;
		int result;
		const char *site;
	} rows[] = {
		{"three.test", 0, "m1.test"},
		{"Three.Test:26", 0, "m1.test:26"},
		{"three.test, plain.test", 0, "m1.test"},
		{"plain.test", 0, "plain.test"},
		{"nx.test", 0, "nx.test"},
		{"[M1.test]", 0, "m1.test"},
		{"[m1.test]:25", 0, "m1.test"},
		{"[127.0.0.1]:26", 0, "127.0.0.1:26"},
		{"inet:m1.test:24", 0, "m1.test:24"},
		{"unix:/run/lmtp", 0, "/run/lmtp"},
		{"[", 0, "["},
		{"fail.test", ERR_TEMP, ""},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct place p = {0};
		struct site_lookup *l = NULL;
		site_new(e, slice_str(rows[i].nexthop), placed, &p, &l);
		wait_for(&p.done);
		is_int(p.result, rows[i].result, "site of %s", rows[i].nexthop);
		is_str(p.site, rows[i].site, "its name");
		ok(i > 2 || p.ttl > 0, "holds for some time");
	}
	struct place p = {0};
	struct site_lookup *l = NULL;
	site_new(e, SLICE_LIT("silent.test"), placed, &p, &l);
	ok(l != NULL && !p.done, "one that waits");
	site_free(&l);
	ok(l == NULL, "can be withdrawn");
}

int main(void)
{
	log_set_level(LOG_LEVEL_NONE);
	loop_init();
	server_start(&one);
	server_start(&two);
	/* Nobody is silent till test_servers. */
	struct engine *e = engine_new(1000, 100 * CLOCK_SEC);
	configure(e, "timeout:20 attempts:2");
	test_answers(e);
	test_kept(e);
	test_room();
	test_shared(e);
	test_chance(e);
	test_hosts(e);
	test_sites(e);
	test_servers(e);
	engine_free(&e);
	server_stop(&one);
	server_stop(&two);
	return done_testing();
}

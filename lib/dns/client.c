/* SPDX-License-Identifier: ISC */
#include "dns/client.h"

#include <sys/queue.h>

#include "dns/question.h"
#include "net/loop.h"
#include "util/err.h"
#include "util/mem.h"

/*
 * A query is SENT to one resolver, or WAITING for one to be connected, or DECIDED here without
 * asking (its callback still comes from the loop).
 */
enum state { WAITING, SENT, DECIDED };
enum kind { RECORDS, HOSTS, LATER };

struct dns_query {
	TAILQ_ENTRY(dns_query) link;
	enum state state;
	enum kind kind;
	struct dns_question q;
	unsigned flags; /* of DNS_HOSTS or DNS_QUERY */
	struct ipc *to;
	uint64_t id;
	struct loop_timer timer;
	struct loop_task task;
	enum dns_status decided;
	dns_done_fn *done;
	dns_hosts_fn *hosts_done;
	uint16_t port;
	void *arg;
	struct later_answer *later;
};

TAILQ_HEAD(query_list, dns_query);

enum { RESOLVERS_MAX = 16, FLAG_HOSTS_FILE = 1 };
/* Of DNS_HOSTS. */
enum {
	FLAG_MX = 1,
	FLAG_IPV4 = 2,
	FLAG_IPV6 = 4,
	FLAG_TLSA = 8,
	FLAG_FORCE = 16,
	FLAG_DEFNAMES = 32,
	FLAG_SEARCH = 64,
	FLAG_FILE = 128,
	FLAG_FILE_LAST = 256
};

static struct {
	struct query_list queries;
	size_t count, limit;
	struct ipc *resolver[RESOLVERS_MAX];
	unsigned resolvers;
} client;

/* Addresses of this stand for "a name server" in a struct later. */
static const char later_source;

static void query_free(struct dns_query *q)
{
	if (q->state == SENT) {
		ipc_set_arg(q->to, q->id, true, NULL);
	}
	TAILQ_REMOVE(&client.queries, q, link);
	client.count--;
	loop_timer_clear(&q->timer);
	loop_task_cancel(&q->task);
	mem_free(q);
}

static void later_answered(struct dns_query *q, struct slice encoded)
{
	struct later_answer *a = q->later;
	query_free(q);
	later_done(a, 0, encoded);
}

static void hosts_answered(struct dns_query *q, struct slice encoded)
{
	struct hosts *h = mem_alloc(sizeof(*h));
	struct dns_query copy = *q;
	if (hosts_decode(encoded, h) != 0) {
		h->status = DNS_TEMP;
	}
	query_free(q);
	copy.hosts_done(copy.arg, h);
	mem_free(h);
}

/* The query is gone before its owner is told, who may ask again. */
static void answered(struct dns_query *q, struct slice encoded)
{
	struct dns_answer a;
	if (q->kind == LATER) {
		later_answered(q, encoded);
	} else if (q->kind == HOSTS) {
		hosts_answered(q, encoded);
	} else {
		dns_done_fn *done = q->done;
		void *arg = q->arg;
		if (dns_answer_parse(encoded, &a) != 0) {
			a.status = DNS_TEMP;
		}
		query_free(q);
		done(arg, &a);
	}
}

/* Answers without a resolver's word. */
static void decide(void *arg)
{
	struct dns_query *q = arg;
	struct buf b = BUF_INIT(1024);
	char name[DNS_NAME_MAX + 1];
	memcpy(name, q->q.name, sizeof(name));
	if (q->kind == HOSTS) {
		struct hosts *h = mem_alloc(sizeof(*h));
		h->status = q->decided;
		h->type = q->flags & FLAG_MX && q->decided == DNS_TEMP ? DNS_MX
			  : q->flags & FLAG_IPV6                       ? DNS_AAAA
								       : DNS_A;
		h->name = slice_str(name);
		hosts_encode(&b, h);
		mem_free(h);
	} else {
		dns_answer_begin(&b, q->decided, false, 0, slice_str(name));
	}
	answered(q, buf_slice(&b));
	buf_clear(&b);
}

static void timed_out(void *arg)
{
	struct dns_query *q = arg;
	q->decided = DNS_TEMP;
	decide(q);
}

/* Equal names go to the same resolver, so that its cache serves them. */
static struct ipc *choose(const struct dns_query *q)
{
	unsigned sum = 0;
	for (const char *p = q->q.name; *p != '\0'; p++) {
		sum = sum * 31 + (unsigned char)*p;
	}
	return client.resolver[sum % client.resolvers];
}

static void query_send(struct dns_query *q)
{
	q->state = WAITING;
	if (client.resolvers == 0) {
		return;
	}
	struct ipc *c = choose(q);
	uint64_t id = ipc_ask(c);
	if (q->kind == HOSTS) {
		ipc_begin(c, PROTO_DNS_HOSTS, id);
		ipc_put_bytes(c, FIELD_KEY, slice_str(q->q.name));
		ipc_put_u64(c, FIELD_FLAGS, q->flags);
		ipc_put_u64(c, FIELD_PORT, q->port);
	} else {
		ipc_begin(c, PROTO_DNS_QUERY, id);
		ipc_put_u64(c, FIELD_TYPE, q->q.type);
		ipc_put_bytes(c, FIELD_KEY, slice_str(q->q.name));
		if (q->flags != 0) {
			ipc_put_u64(c, FIELD_FLAGS, q->flags);
		}
	}
	if (ipc_end(c) != 0) {
		return; /* that connection is at its end: dns_client_remove comes, then another */
	}
	ipc_set_arg(c, id, true, q);
	q->to = c;
	q->id = id;
	q->state = SENT;
}

void dns_client_init(size_t limit)
{
	TAILQ_INIT(&client.queries);
	client.limit = limit;
}

void dns_client_add(struct ipc *c)
{
	struct dns_query *q;
	if (client.resolvers == RESOLVERS_MAX) {
		return;
	}
	client.resolver[client.resolvers++] = c;
	TAILQ_FOREACH(q, &client.queries, link)
	{
		if (q->state == WAITING) {
			query_send(q);
		}
	}
}

void dns_client_remove(struct ipc *c)
{
	struct dns_query *q;
	for (unsigned i = 0; i < client.resolvers; i++) {
		if (client.resolver[i] == c) {
			client.resolver[i] = client.resolver[--client.resolvers];
			break;
		}
	}
	TAILQ_FOREACH(q, &client.queries, link)
	{
		if (q->state == SENT && q->to == c) {
			query_send(q);
		}
	}
}

void dns_client_msg(struct ipc *c, struct ipc_msg *msg)
{
	struct dns_query *q = msg->arg;
	if (q != NULL) {
		q->state = DECIDED; /* the request is over: nothing is left to be cleared there */
		answered(q, ipc_bytes(msg, FIELD_VALUE));
	}
}

static struct dns_query *query_new(enum kind kind, int named, int64_t deadline)
{
	struct dns_query *q = mem_alloc(sizeof(*q));
	q->kind = kind;
	loop_timer_init(&q->timer, timed_out, q);
	loop_task_init(&q->task, decide, q);
	TAILQ_INSERT_TAIL(&client.queries, q, link);
	client.count++;
	if (named != 0 || client.count > client.limit) {
		q->state = DECIDED;
		q->decided = named != 0 ? DNS_NXDOMAIN : DNS_TEMP;
		loop_soon(&q->task);
	} else {
		loop_timer_set(&q->timer, deadline);
	}
	return q;
}

static struct dns_query *records_query(
	enum kind kind, enum dns_type type, struct slice name, unsigned flags, int64_t deadline)
{
	struct dns_question question;
	int r = dns_question_set(&question, type, name);
	struct dns_query *q = query_new(kind, r, deadline);
	q->q = question;
	q->flags = flags;
	if (q->state != DECIDED) {
		query_send(q);
	}
	return q;
}

struct dns_query *dns_query(
	enum dns_type type, struct slice name, int64_t deadline, dns_done_fn *done, void *arg)
{
	struct dns_query *q = records_query(RECORDS, type, name, 0, deadline);
	q->done = done;
	q->arg = arg;
	return q;
}

struct dns_query *dns_query_client(
	enum dns_type type, struct slice name, int64_t deadline, dns_done_fn *done, void *arg)
{
	struct dns_query *q = records_query(RECORDS, type, name, FLAG_HOSTS_FILE, deadline);
	q->done = done;
	q->arg = arg;
	return q;
}

struct dns_query *dns_query_ptr(struct slice addr, int64_t deadline, dns_done_fn *done, void *arg)
{
	char name[DNS_NAME_MAX + 1];
	(void)dns_reverse_name(addr, name);
	return dns_query(DNS_PTR, slice_str(name), deadline, done, arg);
}

static unsigned hosts_flags(const struct dns_hosts_want *w)
{
	return (w->mx ? FLAG_MX : 0) | (w->ipv4 ? FLAG_IPV4 : 0) | (w->ipv6 ? FLAG_IPV6 : 0) |
	       (w->tlsa ? FLAG_TLSA : 0) | (w->force_tlsa ? FLAG_FORCE : 0) |
	       (w->defnames ? FLAG_DEFNAMES : 0) | (w->search ? FLAG_SEARCH : 0) |
	       (w->file ? FLAG_FILE : 0) | (w->file_last ? FLAG_FILE_LAST : 0);
}

struct dns_query *dns_query_hosts(struct slice name, const struct dns_hosts_want *want,
	int64_t deadline, dns_hosts_fn *done, void *arg)
{
	struct dns_question question;
	int r = dns_question_set(&question, DNS_MX, name);
	struct dns_query *q = query_new(HOSTS, r, deadline);
	q->q = question;
	q->flags = hosts_flags(want);
	q->port = want->port;
	q->hosts_done = done;
	q->arg = arg;
	if (q->state != DECIDED) {
		query_send(q);
	}
	return q;
}

void dns_cancel(struct dns_query **q)
{
	if (*q != NULL) {
		query_free(*q);
		*q = NULL;
	}
}

static void later_withdrawn(void *arg)
{
	struct dns_query *q = arg;
	dns_cancel(&q);
}

static int later_value(const struct later_answer *answer, struct dns_answer *a)
{
	struct slice value;
	if (!later_is_done(answer)) {
		return ERR_LATER;
	}
	(void)later_result(answer, &value);
	if (dns_answer_parse(value, a) != 0) {
		a->status = DNS_TEMP;
	}
	return 0;
}

int dns_later(struct later *l, enum dns_type type, struct slice name, int64_t time_limit,
	struct dns_answer *a)
{
	struct buf key = BUF_INIT(DNS_NAME_MAX * 4 + 16);
	*a = (struct dns_answer){.status = DNS_TEMP};
	name = slice_first(name, DNS_NAME_MAX * 4);
	buf_add_fmt(&key, "%d ", (int)type);
	buf_add_lower(&key, name);
	struct later_answer *answer = later_find(l, &later_source, buf_slice(&key));
	int r = ERR_TEMP;
	if (answer != NULL) {
		r = later_value(answer, a);
	} else if (l != NULL && l->count < l->limit) {
		struct dns_query *q = records_query(LATER, type, name, 0, loop_now() + time_limit);
		q->later = later_add(l, &later_source, buf_slice(&key), later_withdrawn, q);
		r = ERR_LATER;
	}
	buf_clear(&key);
	return r;
}

int dns_later_ptr(struct later *l, struct slice addr, int64_t time_limit, struct dns_answer *a)
{
	char name[DNS_NAME_MAX + 1];
	(void)dns_reverse_name(addr, name);
	return dns_later(l, DNS_PTR, slice_str(name), time_limit, a);
}

/* SPDX-License-Identifier: ISC */
#include "t/cleanup/author.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/loop.h"
#include "queue/drop.h"
#include "queue/segment.h"
#include "t/tap.h"
#include "util/fd.h"
#include "util/hash.h"
#include "util/wire.h"

/*
 * cleanup and qmgr: what is told when, in which order things become known, and what happens when a
 * sync fails (Q18) or qmgr is away.
 */
#define TEXT SLICE_LIT("X: 1\r\n\r\nbody\r\n")

struct manager {
	struct ipc *ipc;
	uint64_t segment, durable, told, left, lefts;
	uint64_t cut_segment, cut_offset, cut_request;
	size_t generation_len;
	char query[32];
	bool has_told, has_cut, has_query, has_routes;
	uint64_t result;
	char routes[512];
};

static void on_msg(struct ipc *c, struct ipc_msg *m, void *arg)
{
	struct manager *q = arg;
	size_t at = 0, n_at = 0;
	struct slice transport, nexthop;

	switch (m->type) {
	case PROTO_SEG_DURABLE:
		q->segment = ipc_u64(m, FIELD_SEGMENT);
		q->durable = ipc_u64(m, FIELD_DURABLE);
		q->told++;
		q->has_told = true;
		break;
	case PROTO_SEG_LEFT:
		q->left = ipc_u64(m, FIELD_SEGMENT);
		q->lefts++;
		break;
	case PROTO_SEG_FAIL:
		q->cut_segment = ipc_u64(m, FIELD_SEGMENT);
		q->cut_offset = ipc_u64(m, FIELD_OFFSET);
		q->generation_len = ipc_bytes(m, FIELD_GENERATION).len;
		q->cut_request = m->id;
		q->has_cut = true;
		break;
	case PROTO_ID_QUERY:
		snprintf(q->query, sizeof(q->query), "%.*s",
			SLICE_FMT(ipc_bytes(m, FIELD_QUEUE_ID)));
		q->has_query = true;
		break;
	case PROTO_RESOLVED:
		q->result = ipc_u64(m, FIELD_RESULT);
		q->routes[0] = '\0';
		while (ipc_next(m, FIELD_TRANSPORT, &at, &transport) &&
			ipc_next(m, FIELD_NEXTHOP, &n_at, &nexthop)) {
			size_t n = strlen(q->routes);

			snprintf(q->routes + n, sizeof(q->routes) - n, "%.*s:%.*s|",
				SLICE_FMT(transport), SLICE_FMT(nexthop));
		}
		q->has_routes = true;
		break;
	default: break;
	}
	(void)c;
}

static void on_end(struct ipc *c, int err, void *arg)
{
	struct manager *q = arg;

	(void)c;
	(void)err;
	ipc_free(&q->ipc);
}

static const struct ipc_events events = {on_msg, on_end, NULL};

static void connect_qmgr(struct harness *h, struct manager *q)
{
	*q = (struct manager){0};
	q->ipc = harness_peer(h, ROLE_QMGR, true, &events, q);
}

static void test_durable(struct harness *h)
{
	struct manager q;
	struct author a;
	struct harness_record r;
	uint64_t first;

	author_connect(h, &a);
	author_send(&a, CLIENT_FAR, "r@far.example", TEXT, 100);
	ok(a.is_done, "a message is taken while qmgr is away");
	connect_qmgr(h, &q);
	harness_wait(&q.has_told);
	ok(q.segment > 0 && q.durable > QUEUE_BLOCK, "a new qmgr is told how far it is durable");
	first = q.durable;
	q.has_told = false;
	author_send(&a, CLIENT_FAR, "r@far.example", TEXT, 100);
	harness_wait(&q.has_told);
	ok(q.durable > first, "and when it goes on");
	is_int(q.durable % QUEUE_BLOCK, 0, "a commit ends with its block");
	ok(harness_record(h, a.id, &r), "the record stands below it");
	harness_record_clear(&r);
	is_int(q.lefts, 0, "no segment was left");
	/* Many at once: fewer syncs than messages. */
	enum { N = 50 };
	uint64_t ids[N];

	for (int i = 0; i < N; i++) {
		ids[i] = author_open(&a, "s@far.example", CLIENT_FAR);
		author_rcpt(&a, ids[i], "r@far.example");
		author_data(&a, ids[i], TEXT, 100);
	}
	q.told = 0;
	a.overs = 0;
	for (int i = 0; i < N; i++) {
		author_end(&a, ids[i], 0);
		author_commit(&a, ids[i]);
	}
	while (a.overs < N) {
		a.is_over = false;
		harness_wait(&a.is_over);
	}
	harness_idle();
	ok(q.told > 0 && q.told < N / 2, "%d messages share %d syncs", N, (int)q.told);
	ipc_free(&q.ipc);
	ipc_free(&a.ipc);
}

static void ask_id(struct author *a, const char *id)
{
	ipc_begin(a->ipc, PROTO_ID_QUERY, 0);
	ipc_put_str(a->ipc, FIELD_QUEUE_ID, id);
	ipc_end(a->ipc);
}

static void test_query(struct harness *h)
{
	struct manager q;
	struct author a, b;

	author_connect(h, &a);
	author_connect(h, &b);
	author_send(&a, CLIENT_FAR, "r@far.example", TEXT, 100);
	ask_id(&b, a.id);
	harness_wait(&b.has_durable);
	is_str(b.durable, a.id, "an id of our own is known at once");
	b.has_durable = false;
	ask_id(&b, "0123456789A");
	harness_idle();
	ok(!b.has_durable, "another one is answered by silence, without qmgr");
	connect_qmgr(h, &q);
	ask_id(&b, "0123456789A");
	harness_wait(&q.has_query);
	is_str(q.query, "0123456789A", "qmgr is asked");
	ipc_begin(q.ipc, PROTO_ID_DURABLE, 0);
	ipc_put_str(q.ipc, FIELD_QUEUE_ID, "0123456789A");
	ipc_end(q.ipc);
	harness_wait(&b.has_durable);
	is_str(b.durable, "0123456789A", "and its answer passed on");
	ok(!a.has_durable, "to who asked");
	ipc_free(&q.ipc);
	ipc_free(&a.ipc);
	ipc_free(&b.ipc);
}

static void resolve(struct manager *q, const char *const *addresses, uint64_t flags)
{
	uint64_t id = ipc_ask(q->ipc);

	q->has_routes = false;
	ipc_begin(q->ipc, PROTO_RESOLVE, id);
	ipc_put_str(q->ipc, FIELD_SENDER, "s@far.example");
	ipc_put_u64(q->ipc, FIELD_FLAGS, flags);
	for (; *addresses != NULL; addresses++)
		ipc_put_str(q->ipc, FIELD_RECIPIENT, *addresses);
	ipc_end(q->ipc);
	harness_wait(&q->has_routes);
}

static void test_resolve(struct harness *h)
{
	static const char *const some[] = {
		"a@far.example", "b@mx.example", "c@other.example", "alias@here.example", NULL};
	static const char *many[200];
	struct manager q;
	int n = 0;

	connect_qmgr(h, &q);
	resolve(&q, some, 0);
	is_int(q.result, 0, "routes are found");
	is_str(q.routes,
		"smtp:[127.0.0.1]:1025|local:mx.example|lmtp:unix:/x|error:5.1.1 User unknown in "
		"virtual alias table|",
		"in order, without expanding aliases again");
	resolve(&q, some, QUEUE_FLAG_PROBE);
	is_str(q.routes,
		"smtp:[127.0.0.1]:1026|local:mx.example|lmtp:unix:/x|error:5.1.1 User unknown in "
		"virtual alias table|",
		"a probe has routes of its own");
	for (n = 0; n < 199; n++)
		many[n] = "a@long.example";
	resolve(&q, many, 0);
	is_int(q.result, 0, "more than fits a frame");
	ok(slice_starts(slice_str(q.routes), "smtp:xxxx"), "is answered as far as it fits");
	ipc_free(&q.ipc);
}

/* Garbage from a peer costs it its connection, and nobody else anything. */
static void test_out_of_turn(struct harness *h)
{
	static const char bytes[] = "this is no frame at all, whatever one may think of it.......";
	struct author a;
	char c;
	int fd = harness_peer_fd(h, ROLE_SMTPD, false);

	is_int(write(fd, bytes, sizeof(bytes)), sizeof(bytes), "garbage is sent");
	is_int(read(fd, &c, 1), 0, "the connection is closed");
	fd_close(&fd);
	author_connect(h, &a);
	author_send(&a, CLIENT_FAR, "r@far.example", TEXT, 100);
	ok(a.is_done, "another one works");
	ipc_free(&a.ipc);
}

/* Tables that fail are temporary failures, never "not found". */
static void test_failing_tables(void)
{
	static const char *const settings[] = {"virtual_alias_maps = fail:x\n",
		"transport_maps = fail:x\n", "direct_delivery_maps = fail:x\n"};
	static const char *const one[] = {"a@far.example", NULL};

	for (size_t i = 0; i < COUNT_OF(settings); i++) {
		struct harness h = {.inject = NULL};
		struct manager q;
		struct author a;

		harness_start(&h, "cleanup/cleanup", ROLE_CLEANUP, settings[i]);
		author_connect(&h, &a);
		author_send(&a, CLIENT_FAR, "r@far.example", TEXT, 100);
		is_int(a.code, 451, "%.20s: 451", settings[i]);
		is_str(a.status, "4.3.0", "%.20s: 4.3.0", settings[i]);
		if (i == 1) {
			connect_qmgr(&h, &q);
			resolve(&q, one, 0);
			is_str(q.routes, "retry:4.3.0 address resolver failure|", "it is to wait");
			ipc_free(&q.ipc);
		}
		ipc_free(&a.ipc);
		is_int(harness_stop(&h), 0, "it ends in good order");
	}
}

/* The next sync fails; qmgr can note it. */
static void test_cut(void)
{
	/* The first sync is that of the segment's new generation, the second is the first commit.
	 */
	struct harness h = {.inject = "inject=fdatasync:error=EIO:when=3"};
	struct manager q;
	struct author a;
	uint64_t good;

	harness_start(&h, "cleanup/cleanup", ROLE_CLEANUP, "mydestination =\n");
	connect_qmgr(&h, &q);
	author_connect(&h, &a);
	author_send(&a, CLIENT_FAR, "r@far.example", TEXT, 100);
	ok(a.is_done, "a good sync");
	harness_wait(&q.has_told);
	good = q.durable;
	uint64_t id = author_open(&a, "s@far.example", CLIENT_FAR);
	author_rcpt(&a, id, "r@far.example");
	author_data(&a, id, TEXT, 100);
	author_end(&a, id, 0);
	author_commit(&a, id);
	harness_wait(&q.has_cut);
	is_int(q.cut_segment, q.segment, "a failed one: qmgr is asked to end the segment");
	is_int(q.cut_offset, good, "behind the last good commit");
	is_int(q.generation_len, QUEUE_GENERATION, "in its generation");
	harness_idle();
	ok(!a.is_over, "nobody hears 4xx before it is noted");
	ipc_begin(q.ipc, PROTO_SEG_NOTED, q.cut_request);
	ipc_put_u64(q.ipc, FIELD_RESULT, RESULT_OK);
	ipc_end(q.ipc);
	harness_wait(&a.is_over);
	is_int(a.code, 451, "then 451");
	is_str(a.status, "4.3.0", "4.3.0");
	uint64_t old = q.segment;
	q.has_told = false;
	author_send(&a, CLIENT_FAR, "r@far.example", TEXT, 100);
	ok(a.is_done, "the next message goes on");
	harness_wait(&q.has_told);
	ok(q.segment != old, "in another segment");
	is_int(q.lefts, 0, "the failed one is not left in good order");
	ipc_free(&q.ipc);
	ipc_free(&a.ipc);
	is_int(harness_stop(&h), 0, "it ends in good order");
}

/* The same without qmgr: silence, and the end. */
static void test_cut_alone(void)
{
	struct harness h = {.inject = "inject=fdatasync:error=EIO:when=2+"};
	struct author a;
	int status;

	harness_start(&h, "cleanup/cleanup", ROLE_CLEANUP, "mydestination =\n");
	author_connect(&h, &a);
	uint64_t id = author_open(&a, "s@far.example", CLIENT_FAR);
	author_rcpt(&a, id, "r@far.example");
	author_data(&a, id, TEXT, 100);
	author_end(&a, id, 0);
	author_commit(&a, id);
	harness_wait(&a.is_lost);
	ok(!a.is_over, "without qmgr there is no answer");
	harness_wait(&h.has_ended);
	ok(harness_wait_log(&h, "fatal: a failed write of the journal could not be noted") != NULL,
		"the log says why it ended");
	status = harness_stop(&h);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 1, "status 1");
}

/* ---- Mail of maildrop (Q19) ---- */

#define DROP "queue/maildrop/drop.0123456789ABCDEF01234567"

static void put_file(struct harness *h, const char *name, int flags, mode_t mode, struct slice text)
{
	int fd = open(harness_path(h, name), flags | O_WRONLY | O_CLOEXEC, mode);

	ok(fd >= 0 && fd_write_full(fd, text.p, text.len) == 0, "%s", name);
	if (flags & O_CREAT)
		(void)fchmod(fd, mode);
	fd_close(&fd);
}

/* What the helper leaves; it rings. */
static void drop(struct harness *h)
{
	struct queue_envelope env = {.sender = SLICE_LIT("s@far.example")};
	struct queue_recipient to = {.address = SLICE_LIT("r@far.example")};
	struct buf out = BUF_INIT(65536), recipients = BUF_INIT(65536);

	queue_recipient_encode(&recipients, &to);
	queue_drop_encode(&out, &env, buf_slice(&recipients), TEXT.len);
	buf_add_slice(&out, TEXT);
	wire_u32(&out, crc32c(0, buf_str(&out), out.len));
	put_file(h, DROP, O_CREAT | O_EXCL, 0744, buf_slice(&out));
	put_file(h, "queue/" QUEUE_DROP_BELL, O_NONBLOCK, 0, SLICE_LIT("W"));
	buf_clear(&out);
	buf_clear(&recipients);
}

static bool has_files(const struct harness *h)
{
	DIR *d = opendir(harness_path(h, "queue/maildrop"));
	const struct dirent *e;
	bool any = false;

	while (d != NULL && (e = readdir(d)) != NULL)
		any |= e->d_name[0] != '.';
	closedir(d);
	return any;
}

static void wait_picked_up(struct harness *h)
{
	int64_t until = clock_mono() + 20 * CLOCK_SEC;

	while (has_files(h) && clock_mono() < until)
		loop_once(loop_now() + 10 * CLOCK_MSEC);
	ok(!has_files(h), "picked up");
}

/* False: it was not taken. */
static bool send_large(struct author *a)
{
	static char line[] = "a line of a message that fills the journal\r\n";
	struct buf text = BUF_INIT(1 << 20);
	uint64_t id = author_open(a, "s@far.example", CLIENT_FAR);

	buf_add_str(&text, "X: 1\r\n\r\n");
	while (text.len < 250000)
		buf_add_str(&text, line);
	author_rcpt(a, id, "r@far.example");
	author_data(a, id, buf_slice(&text), 60000);
	author_end(a, id, 0);
	author_commit(a, id);
	while (!a->is_over && !a->is_lost)
		loop_once(loop_now() + CLOCK_SEC);
	buf_clear(&text);
	return a->is_over && a->is_done;
}

/*
 * A segment with mail of maildrop is left when the unlinks are durable. The first sync is that of
 * the name with the id, the second comes before the segment is left, the third tries that again.
 */
static void test_unlinks(const char *inject, bool survives)
{
	struct harness h = {.inject = inject, .inject_path = "queue/maildrop"};
	struct manager q;
	struct author a;
	uint64_t first;
	int n = 0;

	harness_start(&h, "cleanup/cleanup", ROLE_CLEANUP,
		"mydestination =\nqueue_journal_limit = 268435456\n");
	connect_qmgr(&h, &q);
	author_connect(&h, &a);
	drop(&h);
	wait_picked_up(&h);
	harness_wait(&q.has_told);
	first = q.segment;
	while (q.segment == first && n++ < 400 && send_large(&a))
		;
	ok(n < 400, "the segment is full");
	ok(harness_wait_log(&h, "maildrop: sync: Input/output error") != NULL, "a failed sync");
	if (survives) {
		int64_t until = clock_mono() + 20 * CLOCK_SEC;

		while (q.lefts == 0 && clock_mono() < until)
			loop_once(until);
		is_int(q.lefts, 1, "the next one is good: the segment is left");
		is_int(q.left, first, "it");
	} else {
		ok(a.is_lost, "all fail: its worker ends, without an answer");
		ok(harness_wait_log(&h, "fatal: what was removed from maildrop") != NULL, "log");
		is_int(q.lefts, 0, "and has not left it");
		is_int(q.segment, first, "nor told of another");
		harness_wait(&h.has_ended);
	}
	ipc_free(&q.ipc);
	ipc_free(&a.ipc);
	(void)harness_stop(&h);
}

static void test_full(void)
{
	struct harness h = {.inject = NULL};
	struct author a;

	harness_start(&h, "cleanup/cleanup", ROLE_CLEANUP,
		"mydestination =\nqueue_minfree = 9000000000000000\n");
	author_connect(&h, &a);
	author_begin(&a, "s@far.example", CLIENT_FAR);
	harness_wait(&a.is_over);
	is_int(a.code, 452, "below queue_minfree a message is refused");
	is_str(a.status, "4.3.1", "4.3.1");
	ok(a.is_full, "authors are told, so that they refuse at MAIL");
	ipc_free(&a.ipc);
	is_int(harness_stop(&h), 0, "it ends in good order");
}

/* Replaced on reload: authors go elsewhere, what is on its way is taken. */
static void test_drain(struct harness *h)
{
	struct author a;
	int64_t asked;

	author_connect(h, &a);
	uint64_t id = author_open(&a, "s@far.example", CLIENT_FAR);
	author_rcpt(&a, id, "r@far.example");
	ipc_begin(h->master, PROTO_DRAIN, 0);
	ipc_put_u64(h->master, FIELD_FLAGS, 0);
	ipc_end(h->master);
	harness_wait(&a.is_leaving);
	ok(a.is_leaving, "authors are told");
	author_data(&a, id, TEXT, 100);
	author_end(&a, id, 0);
	author_commit(&a, id);
	harness_wait(&a.is_over);
	ok(a.is_done, "an open message ends as it would");
	author_send(&a, CLIENT_FAR, "r@far.example", TEXT, 100);
	ok(a.is_done, "one that was under way is taken too");
	asked = clock_mono();
	harness_wait(&h->has_ended);
	ok(clock_mono() - asked < 15 * CLOCK_SEC, "then it ends, though the author stays");
}

/* queue_journal_limit: refused until qmgr has ended a segment. */
static void test_journal_full(void)
{
	struct harness h = {.inject = NULL};
	struct queue_segment s;
	struct author a;
	struct buf text = BUF_INIT(1 << 20);
	int n = 0;

	harness_start(&h, "cleanup/cleanup", ROLE_CLEANUP,
		"mydestination =\nqueue_journal_limit = 134217728\n");
	author_connect(&h, &a);
	buf_add_str(&text, "X: 1\r\n\r\n");
	while (text.len < 250000)
		buf_add_str(&text, "a line of a message that fills the journal\r\n");
	do {
		author_send(&a, CLIENT_FAR, "r@far.example", buf_slice(&text), 60000);
	} while (a.is_done && ++n < 1000);
	ok(n > 450 && n < 530, "%d messages fill two segments", n);
	is_int(a.code, 452, "one more is refused");
	is_str(a.status, "4.3.1", "4.3.1");
	for (n = 0; !a.is_full && n < 100; n++)
		author_send(&a, CLIENT_FAR, "r@far.example", TEXT, 100);
	ok(a.is_full, "authors are told when there is no room for small ones either (%d)", n);
	drop(&h);
	for (n = 0; n < 25; n++)
		harness_idle();
	ok(access(harness_path(&h, DROP), F_OK) == 0, "mail of maildrop waits");
	/* As the keeper does it when all of the first segment is done. */
	is_int(queue_segment_open(&h.root, 1, &s), 0, "the first segment");
	s.state = QUEUE_SEGMENT_FREE;
	is_int(queue_segment_write_head(&s), 0, "is free again");
	queue_segment_close(&s);
	while (a.is_full)
		loop_once(loop_now() + CLOCK_SEC);
	author_send(&a, CLIENT_FAR, "r@far.example", TEXT, 100);
	ok(a.is_done, "then mail is taken again");
	wait_picked_up(&h);
	buf_clear(&text);
	ipc_free(&a.ipc);
	is_int(harness_stop(&h), 0, "it ends in good order");
}

int main(void)
{
	struct harness h = {.inject = NULL};
	char settings[8192], filler[1000];

	loop_init();
	memset(filler, 'x', sizeof(filler) - 1);
	filler[sizeof(filler) - 1] = '\0';
	snprintf(settings, sizeof(settings),
		"relayhost = [127.0.0.1]:1025\naddress_verify_relayhost = [127.0.0.1]:1026\n"
		"mydestination = mx.example\n"
		"virtual_alias_domains = here.example\n"
		"virtual_alias_maps = inline:{alias@here.example=x@far.example}\n"
		"transport_maps = inline:{ {other.example = lmtp:unix:/x}, {long.example = "
		"smtp:%s} }\n",
		filler);
	harness_start(&h, "cleanup/cleanup", ROLE_CLEANUP, settings);
	test_durable(&h);
	test_query(&h);
	test_resolve(&h);
	test_out_of_turn(&h);
	test_drain(&h);
	is_int(harness_stop(&h), 0, "it ends in good order");
	test_failing_tables();
	test_full();
	test_journal_full();
	test_cut();
	test_cut_alone();
	test_unlinks("inject=fsync:error=EIO:when=2", true);
	test_unlinks("inject=fsync:error=EIO:when=2+", false);
	return done_testing();
}

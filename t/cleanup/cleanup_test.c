/* SPDX-License-Identifier: ISC */
#include "t/cleanup/harness.h"

#include <stdio.h>
#include <stdlib.h>

#include "net/loop.h"
#include "t/tap.h"
#include "util/mem.h"

/*
 * cleanup, seen by an author: what comes in as frames stands in the journal as it should when
 * MSG_DONE comes.
 */
struct author {
	struct ipc *ipc;
	char id[32];
	bool is_opened, is_over, is_done, is_lost, has_facts;
	uint64_t code, size, hops, grants;
	char status[16], text[256], from[512];
	bool is_full;
};

static void take(char *to, size_t size, struct slice from)
{
	snprintf(to, size, "%.*s", SLICE_FMT(from));
}

static void on_msg(struct ipc *c, struct ipc_msg *m, void *arg)
{
	struct author *a = arg;
	struct slice from;
	size_t at = 0;

	switch (m->type) {
	case PROTO_MSG_OPENED:
		take(a->id, sizeof(a->id), ipc_bytes(m, FIELD_QUEUE_ID));
		a->is_opened = true;
		break;
	case PROTO_MSG_GRANT: a->grants += ipc_u64(m, FIELD_SIZE); break;
	case PROTO_MSG_FACTS:
		a->has_facts = true;
		a->hops = ipc_u64(m, FIELD_HOPS);
		a->size = ipc_u64(m, FIELD_SIZE);
		a->from[0] = '\0';
		while (ipc_next(m, FIELD_FROM_ADDRESS, &at, &from)) {
			size_t n = strlen(a->from);

			snprintf(a->from + n, sizeof(a->from) - n, "<%.*s>", SLICE_FMT(from));
		}
		break;
	case PROTO_MSG_DONE:
		a->is_over = a->is_done = true;
		a->size = ipc_u64(m, FIELD_SIZE);
		break;
	case PROTO_MSG_FAILED:
		a->is_over = true;
		a->code = ipc_u64(m, FIELD_CODE);
		take(a->status, sizeof(a->status), ipc_bytes(m, FIELD_STATUS));
		take(a->text, sizeof(a->text), ipc_bytes(m, FIELD_TEXT));
		ipc_send(c, PROTO_MSG_DISCARD, m->id);
		break;
	case PROTO_QUEUE_STATE: a->is_full = ipc_u64(m, FIELD_FLAGS) & 1; break;
	default: break;
	}
}

static void on_end(struct ipc *c, int err, void *arg)
{
	struct author *a = arg;

	(void)c;
	(void)err;
	a->is_lost = true;
	ipc_free(&a->ipc);
}

static const struct ipc_events events = {on_msg, on_end, NULL};

static void connect_author(struct harness *h, struct author *a)
{
	*a = (struct author){0};
	a->ipc = harness_peer(h, ROLE_SMTPD, false, &events, a);
}

/* What MSG_OPEN says beside sender and time. */
enum { CLIENT_FAR, CLIENT_NEAR, CLIENT_USER };

static uint64_t open_message(struct author *a, const char *sender, int client)
{
	uint64_t id = ipc_ask(a->ipc);
	struct ipc *c = a->ipc;

	a->is_opened = a->is_over = a->is_done = a->has_facts = false;
	a->code = 0;
	ipc_begin(c, PROTO_MSG_OPEN, id);
	ipc_put_str(c, FIELD_SENDER, sender);
	ipc_put_u64(c, FIELD_TIME, UINT64_C(1700000000000000));
	ipc_put_str(c, FIELD_SERVICE, "smtp");
	ipc_put_u64(c, FIELD_FLAGS, client == CLIENT_USER ? QUEUE_FLAG_LOCAL : 0);
	if (client == CLIENT_USER)
		ipc_put_u64(c, FIELD_UID, 1000);
	else {
		ipc_put_str(c, FIELD_CLIENT_NAME, "client.example");
		ipc_put_str(c, FIELD_CLIENT_ADDR, client == CLIENT_FAR ? "192.0.2.1" : "127.0.0.1");
		ipc_put_str(c, FIELD_HELO, "helo.example");
		ipc_put_str(c, FIELD_PROTOCOL, "ESMTP");
	}
	ipc_end(c);
	harness_wait(&a->is_opened);
	return id;
}

static void add_rcpt(struct author *a, uint64_t id, const char *address)
{
	ipc_begin(a->ipc, PROTO_MSG_RCPT, id);
	ipc_put_str(a->ipc, FIELD_RECIPIENT, address);
	ipc_end(a->ipc);
}

static void add_data(struct author *a, uint64_t id, struct slice data, size_t step)
{
	while (data.len > 0) {
		struct slice piece = slice_first(data, step);

		while (ipc_credit(a->ipc, id) < piece.len && !a->is_over && !a->is_lost)
			loop_once(loop_now() + CLOCK_SEC);
		ipc_begin(a->ipc, PROTO_MSG_DATA, id);
		ipc_put_bytes(a->ipc, FIELD_BYTES, piece);
		if (ipc_end(a->ipc) != 0)
			return;
		data = slice_from(data, piece.len);
	}
}

static void end(struct author *a, uint64_t id, uint64_t flags)
{
	ipc_begin(a->ipc, PROTO_MSG_END, id);
	ipc_put_u64(a->ipc, FIELD_FLAGS, flags);
	ipc_end(a->ipc);
}

static void commit(struct author *a, uint64_t id)
{
	ipc_begin(a->ipc, PROTO_MSG_COMMIT, id);
	ipc_put_u64(a->ipc, FIELD_FLAGS, 0);
	ipc_end(a->ipc);
}

static void send_message(
	struct author *a, int client, const char *rcpt, struct slice data, size_t step)
{
	uint64_t id = open_message(a, "sender@far.example", client);

	add_rcpt(a, id, rcpt);
	add_data(a, id, data, step);
	end(a, id, 0);
	commit(a, id);
	harness_wait(&a->is_over);
}

/* The content as it is kept, with the id as "ID" for comparison. */
static char *content_of(struct harness *h, const struct author *a)
{
	struct harness_record r;
	struct buf text = BUF_INIT(32 << 20);
	struct slice rest;
	ptrdiff_t at;
	char *copy;

	if (!harness_record(h, a->id, &r))
		return mem_str("no record");
	rest = r.content;
	while ((at = slice_find_str(rest, a->id)) >= 0) {
		buf_add_slice(&text, slice_first(rest, (size_t)at));
		buf_add_str(&text, "ID");
		rest = slice_from(rest, (size_t)at + strlen(a->id));
	}
	buf_add_slice(&text, rest);
	copy = slice_dup(buf_slice(&text));
	is_int(r.env.size, r.content.len + r.env.body_len, "size of %s", a->id);
	buf_clear(&text);
	harness_record_clear(&r);
	return copy;
}

#define DATE "Tue, 14 Nov 2023 22:13:20 +0000 (UTC)"
#define RECEIVED(addr)                                                \
	"Received: from helo.example (client.example [" addr "])\r\n" \
	"\tby mx.example (Gatepost) with ESMTP id ID\r\n"             \
	"\tfor <r@far.example>; " DATE "\r\n"
#define FAR RECEIVED("192.0.2.1")
#define NEAR RECEIVED("127.0.0.1")
#define USER "Received: by mx.example (Gatepost, from userid 1000)\r\n\tid ID; " DATE "\r\n"
#define FULL "From: a@far.example\r\nDate: x\r\nMessage-ID: <1@far.example>\r\n"

static const struct {
	const char *name;
	int client;
	const char *text, *want;
} messages[] = {
	{"plain", CLIENT_FAR, FULL "\r\nbody\r\n", FAR FULL "\r\nbody\r\n"},
	{"odd headers keep their bytes", CLIENT_FAR, FULL "X-A  :  1\r\n\t 2 \r\nx:\r\n\r\n.\r\n",
		FAR FULL "X-A  :  1\r\n\t 2 \r\nx:\r\n\r\n.\r\n"},
	{"a stranger's missing headers stay missing", CLIENT_FAR, "Subject: x\r\n\r\nbody\r\n",
		FAR "Subject: x\r\n\r\nbody\r\n"},
	{"ours are completed", CLIENT_NEAR, "Subject: x\r\n\r\nbody\r\n",
		NEAR "Subject: x\r\nMessage-Id: <20231114221320.ID@mx.example>\r\nDate: " DATE
		     "\r\nFrom: sender@far.example\r\n\r\nbody\r\n"},
	{"a resent message", CLIENT_NEAR, FULL "Resent-To: x@far.example\r\n\r\n",
		NEAR FULL "Resent-To: x@far.example\r\n"
			  "Resent-Message-Id: <20231114221320.ID@mx.example>\r\nResent-Date: " DATE
			  "\r\nResent-From: sender@far.example\r\n\r\n"},
	{"local submission", CLIENT_USER, FULL "\r\nbody\r\n", USER FULL "\r\nbody\r\n"},
	{"dropped headers", CLIENT_FAR,
		"Bcc: x@far.example\r\n" FULL
		"bcc : y@far.example,\r\n z@far.example\r\nReturn-Path: <q>\r\n"
		"Content-Length: 5\r\nBccx: 1\r\n\r\nBcc: stays\r\n",
		FAR FULL "Bccx: 1\r\n\r\nBcc: stays\r\n"},
	{"no header section", CLIENT_FAR, "body\r\nX: 1\r\n", FAR "\r\nbody\r\nX: 1\r\n"},
	{"a header section that just ends", CLIENT_FAR, FULL "body\r\n", FAR FULL "\r\nbody\r\n"},
	{"a header section without body", CLIENT_FAR, FULL, FAR FULL},
	{"begins with a blank", CLIENT_FAR, " x: 1\r\n", FAR "\r\n x: 1\r\n"},
	{"begins with an empty line", CLIENT_FAR, "\r\nbody\r\n", FAR "\r\nbody\r\n"},
	{"empty", CLIENT_FAR, "", FAR},
	{"a mailbox's first line", CLIENT_FAR, "From a@b Sat Nov 21\r\n" FULL "\r\n",
		FAR "Mailbox-Line: From a@b Sat Nov 21\r\n" FULL "\r\n"},
};

static void test_content(struct harness *h)
{
	static const size_t steps[] = {60000, 7, 1};
	struct author a;

	connect_author(h, &a);
	for (size_t i = 0; i < COUNT_OF(messages); i++)
		for (size_t k = 0; k < COUNT_OF(steps); k++) {
			char *got;

			send_message(&a, messages[i].client, "r@far.example",
				slice_str(messages[i].text), steps[k]);
			ok(a.is_done, "%s: taken", messages[i].name);
			got = content_of(h, &a);
			is_str(got, messages[i].want, "%s, %zu bytes a frame", messages[i].name,
				steps[k]);
			mem_free(got);
		}
	ipc_free(&a.ipc);
}

static void test_envelope(struct harness *h)
{
	struct author a;
	struct harness_record r;
	struct queue_recipient q;
	uint32_t offset = 0, index = 0;
	uint64_t id;

	connect_author(h, &a);
	id = open_message(&a, "sender@far.example", CLIENT_FAR);
	add_rcpt(&a, id, "one@far.example");
	add_rcpt(&a, id, "two@far.example");
	add_rcpt(&a, id, "ONE@far.example");
	add_rcpt(&a, id, "alias@here.example");
	add_data(&a, id,
		SLICE_LIT("Received: x\r\nReceived: y\r\nFrom: A <a@far.example>, "
			  "b@far.example\r\n\r\n\x80"),
		100);
	end(&a, id, QUEUE_FLAG_8BIT | QUEUE_FLAG_DOT_LINE | QUEUE_FLAG_NOTICE);
	harness_wait(&a.has_facts);
	is_int(a.hops, 2, "facts: hops");
	is_str(a.from, "<a@far.example><b@far.example>", "facts: From addresses");
	ipc_begin(a.ipc, PROTO_MSG_COMMIT, id);
	ipc_put_u64(a.ipc, FIELD_FLAGS, 1);
	ipc_put_u64(a.ipc, FIELD_INDEX, 1);
	ipc_put_bytes(a.ipc, FIELD_HEADER, SLICE_LIT("X-Added: 1\r\n"));
	ipc_end(a.ipc);
	harness_wait(&a.is_over);
	ok(a.is_done, "committed");
	ok(harness_record(h, a.id, &r), "it is in the journal");
	is_slice(r.env.sender, "sender@far.example", "sender");
	is_int(r.env.flags, QUEUE_FLAG_8BIT | QUEUE_FLAG_DOT_LINE | QUEUE_FLAG_HOLD,
		"flags: what may be set and what was observed");
	is_int(r.env.hops, 2, "hops");
	is_slice(r.env.client_addr, "192.0.2.1", "client");
	ok(slice_starts(r.content, "X-Added: 1\r\nReceived: from"), "an added header is on top");
	ok(slice_find_str(r.content, "\tby mx.example (Gatepost) with ESMTP id") >= 0 &&
			slice_find_str(r.content, "for <") < 0,
		"no recipient is named when there are several");
	is_int(r.env.recipients, 3, "one dropped, one a duplicate, one is two");
	ok(queue_recipient_next(&r.env, &offset, &index, &q), "first");
	is_slice(q.address, "one@far.example", "its address");
	is_slice(q.transport, "smtp", "its transport");
	is_slice(q.nexthop, "[127.0.0.1]:1025", "its next hop");
	ok(queue_recipient_next(&r.env, &offset, &index, &q), "second");
	is_slice(q.address, "x@far.example", "an alias");
	is_slice(q.orig_to, "alias@here.example", "and what it was");
	ok(queue_recipient_next(&r.env, &offset, &index, &q), "third");
	is_slice(q.address, "nobody@here.example", "another, in a class of aliases");
	is_slice(q.transport, "error", "that does not exist");
	is_slice(q.reason, "5.1.1 User unknown in virtual alias table", "and why");
	harness_record_clear(&r);
	ipc_free(&a.ipc);
}

static void test_limits(struct harness *h)
{
	struct author a;
	struct buf text = BUF_INIT(1 << 20);
	char *got;

	connect_author(h, &a);
	for (int i = 0; i < 9; i++)
		buf_add_str(&text, "Received: x\r\n");
	send_message(&a, CLIENT_FAR, "r@far.example", buf_slice(&text), 1000);
	ok(!a.is_done, "too many hops");
	is_int(a.code, 554, "code");
	is_str(a.status, "5.4.6", "status");
	is_str(a.text, "Error: too many hops", "text");
	send_message(&a, CLIENT_FAR, "r@far.example", slice_from(buf_slice(&text), 13), 1000);
	ok(a.is_done, "one hop less");
	buf_reset(&text);
	buf_add_str(&text, "X: 1\r\n");
	for (int i = 0; i < 1000; i++)
		buf_add_fmt(&text, " line %03d\r\n", i);
	buf_add_str(&text, "Y: 1\r\n\r\n");
	send_message(&a, CLIENT_FAR, "r@far.example", buf_slice(&text), 777);
	got = content_of(h, &a);
	ok(strstr(got, " line 088\r\n") != NULL && strstr(got, " line 095\r\n") == NULL,
		"a header over header_size_limit is cut");
	ok(strstr(got, "\r\nY: 1\r\n\r\n") != NULL, "what follows it stays");
	mem_free(got);
	buf_clear(&text);
	ipc_free(&a.ipc);
}

static void test_large(struct harness *h)
{
	struct author a;
	struct harness_record r;
	struct buf text = BUF_INIT(8 << 20);
	char path[256], name[64];
	FILE *f;
	long size = 0;

	connect_author(h, &a);
	buf_add_str(&text, "Subject: large\r\n\r\n");
	while (text.len < 3000000)
		buf_add_fmt(&text, "%zu line of a large body\r\n", text.len);
	send_message(&a, CLIENT_FAR, "r@far.example", buf_slice(&text), 60000);
	ok(a.is_done, "3 MB are taken");
	ok(a.grants > 2000000, "with more credit on the way (%llu)", (unsigned long long)a.grants);
	ok(harness_record(h, a.id, &r), "it is in the journal");
	is_int(r.env.flags, QUEUE_FLAG_BODY_FILE, "its body is not");
	is_int(r.env.body_len, text.len - 18, "it is as long as it was");
	ok(slice_ends(r.content, "Subject: large\r\n\r\n"), "the header section is");
	is_int(r.env.header_len, r.content.len, "with its length");
	is_int(r.env.size, r.content.len + r.env.body_len, "size");
	snprintf(name, sizeof(name), "queue/incoming/%s.body", a.id);
	snprintf(path, sizeof(path), "%s", harness_path(h, name));
	f = fopen(path, "r");
	if (ok(f != NULL, "the file is there")) {
		char *body = mem_alloc(r.env.body_len);

		is_int(fread(body, 1, r.env.body_len, f), r.env.body_len, "it can be read");
		ok(memcmp(body, buf_str(&text) + 18, r.env.body_len) == 0, "and is the body");
		fseek(f, 0, SEEK_END);
		size = ftell(f);
		ok(size > (long)r.env.body_len, "checksums are behind it");
		mem_free(body);
		fclose(f);
	}
	harness_record_clear(&r);
	/* One that is given up leaves nothing. */
	uint64_t id = open_message(&a, "s@far.example", CLIENT_FAR);
	add_rcpt(&a, id, "r@far.example");
	add_data(&a, id, slice_first(buf_slice(&text), 1000000), 60000);
	snprintf(name, sizeof(name), "queue/incoming/%s.body", a.id);
	ipc_send(a.ipc, PROTO_MSG_DISCARD, id);
	open_message(&a, "s@far.example", CLIENT_FAR);
	snprintf(path, sizeof(path), "%s", harness_path(h, name));
	ok(fopen(path, "r") == NULL, "a discarded message leaves no file");
	buf_clear(&text);
	ipc_free(&a.ipc);
}

/* Half messages over cleanup_buffer_limit (1 MB): none waits for another. */
static void test_buffers(struct harness *h)
{
	enum { N = 20 };
	struct author a;
	struct buf text = BUF_INIT(1 << 20);
	uint64_t ids[N];
	char names[N][32];

	connect_author(h, &a);
	buf_add_str(&text, "Subject: half\r\n\r\n");
	while (text.len < 200000)
		buf_add_str(&text, "half a message\r\n");
	for (int i = 0; i < N; i++) {
		ids[i] = open_message(&a, "s@far.example", CLIENT_FAR);
		snprintf(names[i], sizeof(names[i]), "%s", a.id);
		add_rcpt(&a, ids[i], "r@far.example");
		add_data(&a, ids[i], buf_slice(&text), 50000);
	}
	for (int i = N - 1; i >= 0; i--) {
		struct harness_record r;

		a.is_over = a.is_done = false;
		add_data(&a, ids[i], SLICE_LIT("end\r\n"), 100);
		end(&a, ids[i], 0);
		commit(&a, ids[i]);
		harness_wait(&a.is_over);
		if (!a.is_done || !harness_record(h, names[i], &r)) {
			fail("message %d", i);
			continue;
		}
		is_int(r.env.size - r.env.header_len, text.len - 17 + 5, "message %d is whole, %s",
			i, r.env.flags & QUEUE_FLAG_BODY_FILE ? "in a file" : "in the journal");
		harness_record_clear(&r);
	}
	buf_clear(&text);
	ipc_free(&a.ipc);
}

/* The author dies: nothing of what was not committed stays, and nobody is hurt. */
static void test_lost_author(struct harness *h)
{
	struct author a, b;
	uint64_t id;

	connect_author(h, &a);
	connect_author(h, &b);
	id = open_message(&a, "s@far.example", CLIENT_FAR);
	add_rcpt(&a, id, "r@far.example");
	add_data(&a, id, SLICE_LIT("X: 1\r\n\r\n"), 100);
	open_message(&a, "s@far.example", CLIENT_FAR);
	ipc_free(&a.ipc);
	send_message(&b, CLIENT_FAR, "r@far.example", SLICE_LIT("X: 1\r\n\r\n"), 100);
	ok(b.is_done, "another author's message is taken");
	ipc_free(&b.ipc);
}

int main(void)
{
	struct harness h;

	loop_init();
	harness_start(&h, "cleanup/cleanup", ROLE_CLEANUP,
		"hopcount_limit = 10\nheader_size_limit = 1000\ncleanup_buffer_limit = 1048576\n"
		"relayhost = [127.0.0.1]:1025\nmydestination = mx.example\n"
		"virtual_alias_domains = here.example\n"
		"virtual_alias_maps = inline:{ {alias@here.example = x@far.example, "
		"nobody@here.example} }\n");
	test_content(&h);
	test_envelope(&h);
	test_limits(&h);
	test_large(&h);
	test_buffers(&h);
	test_lost_author(&h);
	is_int(harness_stop(&h), 0, "it ends in good order");
	return done_testing();
}

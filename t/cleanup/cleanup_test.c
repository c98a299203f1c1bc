/* SPDX-License-Identifier: ISC */
#include "t/cleanup/author.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/loop.h"
#include "t/tap.h"
#include "util/mem.h"

/*
 * cleanup, seen by an author: what comes in as frames stands in the journal as it should when
 * MSG_DONE comes.
 */
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

	author_connect(h, &a);
	for (size_t i = 0; i < COUNT_OF(messages); i++)
		for (size_t k = 0; k < COUNT_OF(steps); k++) {
			char *got;

			author_send(&a, messages[i].client, "r@far.example",
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

	author_connect(h, &a);
	id = author_open(&a, "sender@far.example", CLIENT_FORWARDED);
	author_rcpt(&a, id, "one@far.example");
	author_rcpt(&a, id, "two@far.example");
	author_rcpt(&a, id, "ONE@far.example");
	author_rcpt(&a, id, "alias@here.example");
	author_data(&a, id,
		SLICE_LIT("Received: x\r\nReceived: y\r\nFrom: A <a@far.example>, "
			  "b@far.example\r\n\r\n\x80"),
		100);
	author_end(&a, id, QUEUE_FLAG_8BIT | QUEUE_FLAG_DOT_LINE | QUEUE_FLAG_NOTICE);
	harness_wait(&a.has_facts);
	is_int(a.hops, 2, "facts: hops");
	is_str(a.from, "<a@far.example><b@far.example>", "facts: From addresses");
	ipc_begin(a.ipc, PROTO_MSG_COMMIT, id);
	ipc_put_u64(a.ipc, FIELD_FLAGS, 1);
	ipc_put_u64(a.ipc, FIELD_INDEX, 1);
	ipc_put_bytes(a.ipc, FIELD_HEADER, SLICE_LIT("X-Added: 1\r\n"));
	ipc_put_bytes(a.ipc, FIELD_HEADER, SLICE_LIT("no header\r\n"));
	ipc_put_bytes(a.ipc, FIELD_HEADER, SLICE_LIT("X-Open: 1"));
	ipc_end(a.ipc);
	harness_wait(&a.is_over);
	ok(a.is_done, "committed");
	ok(harness_record(h, a.id, &r), "it is in the journal");
	is_slice(r.env.sender, "sender@far.example", "sender");
	is_int(r.env.flags,
		QUEUE_FLAG_8BIT | QUEUE_FLAG_DOT_LINE | QUEUE_FLAG_HOLD | QUEUE_FLAG_FORWARDED,
		"flags: what may be set and what was observed");
	is_int(r.env.hops, 2, "hops");
	is_slice(r.env.client_addr, "192.0.2.1", "client");
	is_slice(queue_envelope_client(&r.env).addr, "192.0.2.8", "for whom it speaks");
	is_int(queue_envelope_client(&r.env).port, 50124, "and that one's port");
	is_slice(r.env.origin_ident, "ABC123", "its id there");
	ok(slice_find_str(r.content, "Received: from helo.example (client.example [192.0.2.1])") >=
			0,
		"the trace shows who has really come");
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

/*
 * End of content and commit are two requests, and between them the author may think better of it:
 * nothing of the message is in the journal then, and others on the connection go on.
 */
static void test_two_requests(struct harness *h)
{
	struct author a;
	struct harness_record r;
	char refused[32];
	uint64_t id, other;

	author_connect(h, &a);
	other = author_open(&a, "sender@far.example", CLIENT_FAR);
	author_rcpt(&a, other, "r@far.example");
	author_data(&a, other, SLICE_LIT(FULL "\r\nhalf of the other"), 100);
	id = author_open(&a, "sender@far.example", CLIENT_FAR);
	snprintf(refused, sizeof(refused), "%s", a.id);
	author_rcpt(&a, id, "r@far.example");
	author_data(&a, id, SLICE_LIT(FULL "\r\nrefused\r\n"), 100);
	author_end(&a, id, 0);
	harness_wait(&a.has_facts);
	is_int(a.size, strlen(FULL "\r\nrefused\r\n"), "the facts come, the commit does not");
	harness_idle();
	ok(!harness_record(h, refused, &r), "without the commit it is not in the journal");
	harness_record_clear(&r);
	ipc_send(a.ipc, PROTO_MSG_DISCARD, id);
	author_send(&a, CLIENT_FAR, "r@far.example", SLICE_LIT(FULL "\r\nnext\r\n"), 100);
	ok(a.is_done, "the next one is taken");
	ok(!harness_record(h, refused, &r), "the refused one never comes into the journal");
	harness_record_clear(&r);
	a.is_over = a.is_done = false;
	author_end(&a, other, 0);
	author_commit(&a, other);
	harness_wait(&a.is_over);
	ok(a.is_done, "nor does it harm the one that was half there");
	ipc_free(&a.ipc);
}

/* What delivery is told of bytes over 127: those in the header section have a flag of their own. */
static void test_8bit(struct harness *h)
{
	static const struct {
		const char *name, *rcpt, *text;
		uint64_t seen, want;
	} cases[] = {
		{"ASCII", "r@far.example", "X: 1\r\n\r\nbody", 0, 0},
		{"in the body", "r@far.example", "X: 1\r\n\r\n\xc3\xbc", QUEUE_FLAG_8BIT,
			QUEUE_FLAG_8BIT},
		{"in the header section", "r@far.example", "X: \xc3\xbc\r\n\r\n", QUEUE_FLAG_8BIT,
			QUEUE_FLAG_8BIT | QUEUE_FLAG_8BIT_HEADER},
		{"in Received:", "\xc3\xbc@far.example", "X: 1\r\n\r\n", 0,
			QUEUE_FLAG_8BIT | QUEUE_FLAG_8BIT_HEADER},
	};
	struct author a;

	author_connect(h, &a);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		uint64_t id = author_open(&a, "s@far.example", CLIENT_FAR);
		struct harness_record r;

		author_rcpt(&a, id, cases[i].rcpt);
		author_data(&a, id, slice_str(cases[i].text), 100);
		author_end(&a, id, cases[i].seen);
		author_commit(&a, id);
		harness_wait(&a.is_over);
		ok(harness_record(h, a.id, &r), "8 bit %s: taken", cases[i].name);
		is_int(r.env.flags, cases[i].want, "8 bit %s: flags", cases[i].name);
		harness_record_clear(&r);
	}
	ipc_free(&a.ipc);
}

static void test_limits(struct harness *h)
{
	struct author a;
	struct buf text = BUF_INIT(1 << 20);
	char *got;

	author_connect(h, &a);
	for (int i = 0; i < 9; i++)
		buf_add_str(&text, "Received: x\r\n");
	author_send(&a, CLIENT_FAR, "r@far.example", buf_slice(&text), 1000);
	ok(!a.is_done, "too many hops");
	is_int(a.code, 554, "code");
	is_str(a.status, "5.4.6", "status");
	is_str(a.text, "Error: too many hops", "text");
	author_send(&a, CLIENT_FAR, "r@far.example", slice_from(buf_slice(&text), 13), 1000);
	ok(a.is_done, "one hop less");
	buf_reset(&text);
	buf_add_str(&text, "X: 1\r\n");
	for (int i = 0; i < 1000; i++)
		buf_add_fmt(&text, " line %03d\r\n", i);
	buf_add_str(&text, "Y: 1\r\n\r\n");
	author_send(&a, CLIENT_FAR, "r@far.example", buf_slice(&text), 777);
	got = content_of(h, &a);
	ok(strstr(got, " line 088\r\n") != NULL && strstr(got, " line 095\r\n") == NULL,
		"a header over header_size_limit is cut");
	ok(strstr(got, "\r\nY: 1\r\n\r\n") != NULL, "what follows it stays");
	mem_free(got);
	buf_clear(&text);
	ipc_free(&a.ipc);
}

static bool is_there(const struct harness *h, const char *name)
{
	return access(harness_path(h, name), F_OK) == 0;
}

/* The same, when what was sent last is on its way still. */
static bool comes(const struct harness *h, const char *name)
{
	int64_t until = clock_mono() + 20 * CLOCK_SEC;

	while (!is_there(h, name) && clock_mono() < until)
		loop_once(loop_now() + 10 * CLOCK_MSEC);
	return is_there(h, name);
}

static void test_large(struct harness *h)
{
	struct author a;
	struct harness_record r;
	struct buf text = BUF_INIT(8 << 20);
	char path[256], name[64];
	FILE *f;
	long size = 0;

	author_connect(h, &a);
	buf_add_str(&text, "Subject: large\r\n\r\n");
	while (text.len < 3000000)
		buf_add_fmt(&text, "%zu line of a large body\r\n", text.len);
	author_send(&a, CLIENT_FAR, "r@far.example", buf_slice(&text), 60000);
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
	uint64_t id = author_open(&a, "s@far.example", CLIENT_FAR);
	author_rcpt(&a, id, "r@far.example");
	author_data(&a, id, slice_first(buf_slice(&text), 1000000), 60000);
	snprintf(name, sizeof(name), "queue/incoming/%s.part", a.id);
	ok(comes(h, name), "a large body that comes in has a file");
	ipc_send(a.ipc, PROTO_MSG_DISCARD, id);
	author_open(&a, "s@far.example", CLIENT_FAR);
	ok(!is_there(h, name), "a discarded message leaves none");
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

	author_connect(h, &a);
	buf_add_str(&text, "Subject: half\r\n\r\n");
	while (text.len < 200000)
		buf_add_str(&text, "half a message\r\n");
	for (int i = 0; i < N; i++) {
		ids[i] = author_open(&a, "s@far.example", CLIENT_FAR);
		snprintf(names[i], sizeof(names[i]), "%s", a.id);
		author_rcpt(&a, ids[i], "r@far.example");
		author_data(&a, ids[i], buf_slice(&text), 50000);
	}
	for (int i = N - 1; i >= 0; i--) {
		struct harness_record r;

		a.is_over = a.is_done = false;
		author_data(&a, ids[i], SLICE_LIT("end\r\n"), 100);
		author_end(&a, ids[i], 0);
		author_commit(&a, ids[i]);
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

	author_connect(h, &a);
	author_connect(h, &b);
	id = author_open(&a, "s@far.example", CLIENT_FAR);
	author_rcpt(&a, id, "r@far.example");
	author_data(&a, id, SLICE_LIT("X: 1\r\n\r\n"), 100);
	author_open(&a, "s@far.example", CLIENT_FAR);
	ipc_free(&a.ipc);
	author_send(&b, CLIENT_FAR, "r@far.example", SLICE_LIT("X: 1\r\n\r\n"), 100);
	ok(b.is_done, "another author's message is taken");
	ipc_free(&b.ipc);
}

/* The same with other settings than the defaults. */
static void test_settings(void)
{
	struct harness h = {.inject = NULL};
	struct author a;
	struct harness_record r;
	char *got;
	uint64_t id;

	harness_start(&h, "cleanup/cleanup", ROLE_CLEANUP,
		"mydestination =\nalways_add_missing_headers = yes\nenable_long_queue_ids = yes\n"
		"undisclosed_recipients_header = To: undisclosed-recipients:;\n"
		"message_drop_headers = x-drop, subject\nenable_original_recipient = no\n"
		"mail_name = Other\nmyorigin = origin.example\n"
		"virtual_alias_maps = inline:{one@x.example=two@x.example}\n");
	author_connect(&h, &a);
	author_send(&a, CLIENT_FAR, "r@far.example",
		SLICE_LIT("Bcc: x\r\nSubject: x\r\nX-Drop: 1\r\n\r\n"), 1000);
	ok(strlen(a.id) > 12 && strchr(a.id, 'z') != NULL, "a long queue id: %s", a.id);
	got = content_of(&h, &a);
	is_str(got,
		"Received: from helo.example (client.example [192.0.2.1])\r\n"
		"\tby mx.example (Other) with ESMTP id ID\r\n\tfor <r@far.example>; " DATE
		"\r\nBcc: x\r\nMessage-Id: <ID@mx.example>\r\nDate: " DATE
		"\r\nFrom: sender@far.example\r\nTo: undisclosed-recipients:;\r\n\r\n",
		"what is missing is added for all, what is named is dropped");
	mem_free(got);
	id = author_open(&a, "", CLIENT_FAR);
	author_rcpt(&a, id, "one@x.example");
	author_rcpt(&a, id, "two@x.example");
	author_data(&a, id, SLICE_LIT("Cc: x\r\n\r\n"), 1000);
	author_end(&a, id, 0);
	author_commit(&a, id);
	harness_wait(&a.is_over);
	ok(harness_record(&h, a.id, &r), "a message from the null sender");
	is_int(r.env.recipients, 1,
		"without the original recipients those that become the same are one");
	ok(slice_find_str(r.content, "\r\nFrom: MAILER-DAEMON@origin.example\r\n\r\n") > 0,
		"its From:, and no To: beside Cc:");
	harness_record_clear(&r);
	id = author_open(&a, "s@far.example", CLIENT_FAR);
	author_rcpt(&a, id, "one@x.example");
	author_end(&a, id, 0);
	ipc_begin(a.ipc, PROTO_MSG_COMMIT, id);
	ipc_put_u64(a.ipc, FIELD_FLAGS, 0);
	ipc_put_u64(a.ipc, FIELD_INDEX, 0);
	ipc_put_u64(a.ipc, FIELD_INDEX, 7);
	ipc_end(a.ipc);
	harness_wait(&a.is_over);
	is_int(a.code, 554, "all recipients dropped: 554");
	ipc_free(&a.ipc);
	is_int(harness_stop(&h), 0, "it ends in good order");
}

/* outgoing_message_size_limit: for whom a message is too large. */
static void test_outgoing(void)
{
	static const struct {
		const char *to, *and; /* NULL: one recipient */
		size_t size;
		int code;
		uint32_t returned; /* recipients, from the first */
	} rows[] = {
		{"r@far.example", NULL, 1000, 0, 0},
		{"r@far.example", NULL, 1001, 552, 0},
		{"r@far.example", "s@far.example", 1001, 552, 0},
		{"r@far.example", "u@own.example", 1001, 0, 1},
		{"u@own.example", NULL, 1001, 0, 0},
		{"alias@own.example", NULL, 1001, 552, 0},
	};
	struct harness h = {.inject = NULL};
	struct author a;
	char text[1100];

	memset(text, 'x', sizeof(text));
	memcpy(text, "X: 1\r\n\r\n", 8);
	harness_start(&h, "cleanup/cleanup", ROLE_CLEANUP,
		"mydestination =\nrelay_domains = own.example\noutgoing_message_size_limit = 1000\n"
		"virtual_alias_maps = inline:{alias@own.example=r@far.example}\n");
	author_connect(&h, &a);
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct harness_record r;
		struct queue_recipient q;
		uint32_t offset = 0, index = 0, returned = 0;
		uint64_t id = author_open(&a, "s@far.example", CLIENT_FAR);

		a.is_over = a.is_done = false;
		a.code = 0;
		author_rcpt(&a, id, rows[i].to);
		if (rows[i].and != NULL)
			author_rcpt(&a, id, rows[i].and);
		author_data(&a, id, slice_of(text, rows[i].size), 500);
		author_end(&a, id, 0);
		author_commit(&a, id);
		harness_wait(&a.is_over);
		is_int(a.code, rows[i].code, "%zu bytes to %s", rows[i].size, rows[i].to);
		if (rows[i].code != 0) {
			is_str(a.status, "5.3.4", "its status");
			continue;
		}
		ok(harness_record(&h, a.id, &r), "it is in the journal");
		while (queue_recipient_next(&r.env, &offset, &index, &q))
			if (slice_eq_str(q.transport, "error")) {
				is_slice(q.reason, "5.3.4 Message size exceeds fixed limit",
					"why it is returned");
				returned++;
			}
		is_int(returned, rows[i].returned, "returned for recipients elsewhere alone");
		harness_record_clear(&r);
	}
	ok(harness_wait_log(&h, ": outgoing_message_size_limit exceeded") != NULL,
		"the log has it");
	ipc_free(&a.ipc);
	is_int(harness_stop(&h), 0, "it ends in good order");
}

/* What was coming in when the worker was killed goes, when nobody can be at it any more. */
static void test_sweep(void)
{
	struct harness h = {.inject = NULL};
	struct author a;
	struct buf text = BUF_INIT(1 << 20);
	struct timespec old[2] = {{.tv_sec = 1700000000}, {.tv_sec = 1700000000}};
	char parts[2][64];

	harness_start(&h, "cleanup/cleanup", ROLE_CLEANUP, "mydestination =\n");
	author_connect(&h, &a);
	buf_add_str(&text, "X: 1\r\n\r\n");
	while (text.len < 900000)
		buf_add_str(&text, "half a message\r\n");
	for (int i = 0; i < 2; i++) {
		uint64_t id = author_open(&a, "s@far.example", CLIENT_FAR);

		author_data(&a, id, buf_slice(&text), 60000);
		snprintf(parts[i], sizeof(parts[i]), "queue/incoming/%s.part", a.id);
		ok(comes(&h, parts[i]), "a body comes in");
	}
	is_int(utimensat(AT_FDCWD, harness_path(&h, parts[0]), old, 0), 0, "one is old");
	harness_restart(&h, "cleanup/cleanup", ROLE_CLEANUP);
	ok(!is_there(&h, parts[0]), "killed and started again: the old one is gone");
	ok(is_there(&h, parts[1]), "the young one stays a while");
	ok(harness_wait_log(&h, "removed 1 unfinished bodies") != NULL, "and the log says so");
	buf_clear(&text);
	ipc_free(&a.ipc);
	is_int(harness_stop(&h), 0, "it ends in good order");
}

#define SETTINGS(later)                                                                   \
	"hopcount_limit = 10\nheader_size_limit = 1000\ncleanup_buffer_limit = 1048576\n" \
	"relayhost = [127.0.0.1]:1025\nmydestination = mx.example\n"                      \
	"virtual_alias_domains = here.example\nvirtual_alias_maps = " later               \
	"inline:{ {alias@here.example = x@far.example, nobody@here.example} }\n"          \
	"transport_maps = " later "inline:{none.example=x}\n"

int main(void)
{
	struct harness h = {.inject = NULL};

	loop_init();
	harness_start(&h, "cleanup/cleanup", ROLE_CLEANUP, SETTINGS(""));
	test_content(&h);
	test_envelope(&h);
	test_two_requests(&h);
	test_8bit(&h);
	test_limits(&h);
	test_large(&h);
	test_buffers(&h);
	test_lost_author(&h);
	is_int(harness_stop(&h), 0, "it ends in good order");
	/* The same with tables that answer later. */
	harness_start(&h, "cleanup/cleanup", ROLE_CLEANUP, SETTINGS("later:"));
	test_content(&h);
	test_envelope(&h);
	test_buffers(&h);
	test_lost_author(&h);
	is_int(harness_stop(&h), 0, "it ends in good order");
	test_settings();
	test_outgoing();
	test_sweep();
	return done_testing();
}

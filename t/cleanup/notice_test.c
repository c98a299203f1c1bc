/* SPDX-License-Identifier: ISC */
#include "t/cleanup/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/loop.h"
#include "queue/state.h"
#include "t/tap.h"
#include "util/fd.h"
#include "util/mem.h"

/* Notices as qmgr asks for them: who is told, and what stands in them. */
struct manager {
	struct ipc *ipc;
	char id[32];
	bool is_over, is_done, has_failed;
	uint64_t credit;
};

static void on_msg(struct ipc *c, struct ipc_msg *m, void *arg)
{
	struct manager *q = arg;

	if (m->type == PROTO_NOTICE_DONE) {
		snprintf(q->id, sizeof(q->id), "%.*s", SLICE_FMT(ipc_bytes(m, FIELD_QUEUE_ID)));
		q->is_over = q->is_done = true;
	} else if (m->type == PROTO_NOTICE_FAILED) {
		q->is_over = q->has_failed = true;
		ipc_send(c, PROTO_NOTICE_DISCARD, m->id);
	}
}

static void on_end(struct ipc *c, int err, void *arg)
{
	(void)c;
	(void)err;
	ipc_free(&((struct manager *)arg)->ipc);
}

static const struct ipc_events events = {on_msg, on_end, NULL};

static enum queue_reason reason = QUEUE_REASON_BOUNCE;
static const char *verp = "";

static uint64_t begin(struct manager *q, const char *sender, uint32_t flags)
{
	struct queue_envelope env = {.id = SLICE_LIT("0123456789A"),
		.arrival = INT64_C(1700000000000000),
		.sender = slice_str(sender),
		.size = 100,
		.header_len = 20,
		.flags = flags,
		.envid = SLICE_LIT("my id"),
		.verp = slice_str(verp)};
	struct buf out = BUF_INIT(60000);
	uint64_t id = ipc_ask(q->ipc);

	q->is_over = q->is_done = q->has_failed = false;
	is_int(queue_envelope_encode(&out, &env, SLICE_NONE), 0, "an envelope without recipients");
	ipc_begin(q->ipc, PROTO_NOTICE, id);
	ipc_put_text(q->ipc, FIELD_QUEUE_ID, env.id);
	ipc_put_u64(q->ipc, FIELD_REASON, reason);
	ipc_put_bytes(q->ipc, FIELD_ENVELOPE, buf_slice(&out));
	if (reason == QUEUE_REASON_DELAY)
		ipc_put_u64(q->ipc, FIELD_DEADLINE, UINT64_C(1700100000000000));
	ipc_end(q->ipc);
	buf_clear(&out);
	return id;
}

static void about(
	struct manager *q, uint64_t id, uint64_t index, const char *address, unsigned notify)
{
	ipc_begin(q->ipc, PROTO_NOTICE_RCPT, id);
	ipc_put_u64(q->ipc, FIELD_INDEX, index);
	ipc_put_str(q->ipc, FIELD_RECIPIENT, address);
	ipc_put_str(q->ipc, FIELD_ORIG_TO, "orig@far.example");
	if (notify != 0) {
		ipc_put_u64(q->ipc, FIELD_NOTIFY, notify);
		ipc_put_str(q->ipc, FIELD_ORCPT, "rfc822;first+2Blast@far.example");
	}
	ipc_put_u64(q->ipc, FIELD_RESULT, RESULT_FAILED);
	ipc_put_str(q->ipc, FIELD_STATUS, "5.1.1");
	ipc_put_str(q->ipc, FIELD_REMOTE, "mx.far.example[192.0.2.1]:25");
	ipc_put_str(q->ipc, FIELD_DIAGNOSTIC, "550 5.1.1 unknown");
	ipc_put_str(q->ipc, FIELD_TEXT,
		"host mx.far.example[192.0.2.1] said: 550 5.1.1 unknown (in reply to RCPT TO "
		"command)");
	ipc_put_u64(q->ipc, FIELD_TIME, UINT64_C(1700000060000000));
	ipc_end(q->ipc);
}

static void go(struct manager *q, uint64_t id, const char *content, uint64_t flags)
{
	ipc_begin(q->ipc, PROTO_NOTICE_DATA, id);
	ipc_put_bytes(q->ipc, FIELD_BYTES, slice_str(content));
	ipc_end(q->ipc);
	ipc_begin(q->ipc, PROTO_NOTICE_GO, id);
	ipc_put_u64(q->ipc, FIELD_FLAGS, flags);
	ipc_end(q->ipc);
	harness_wait(&q->is_over);
}

static void has(const struct harness_record *r, const char *text)
{
	if (!ok(slice_find_str(r->content, text) >= 0, "it says: %.60s", text))
		diag("%.*s", SLICE_FMT(r->content));
}

/* Nobody is told of what must make no bounce. */
static void test_no_bounce(struct harness *h, struct manager *q)
{
	uint64_t id = begin(q, "sender@far.example", 0);

	about(q, id, 0, "never@far.example", QUEUE_NOTIFY_NEVER);
	go(q, id, "\r\n", 1);
	ok(q->is_done && q->id[0] == '\0', "all of them NEVER: nobody is told");
	id = begin(q, "", 0);
	about(q, id, 0, "one@far.example", 0);
	go(q, id, "\r\n", 1);
	ok(q->is_done && q->id[0] == '\0', "the null sender: nobody is told");
	id = begin(q, "double-bounce@mx.example", 0);
	about(q, id, 0, "one@far.example", 0);
	go(q, id, "\r\n", 1);
	ok(q->is_done && q->id[0] == '\0', "a double bounce: nobody is told");
	ok(harness_wait_log(h, "undeliverable postmaster notification discarded") != NULL,
		"but it is logged");
}

static void test_bounce(struct harness *h)
{
	struct manager q = {0};
	struct harness_record r;
	struct queue_recipient to;
	uint32_t offset = 0, index = 0;
	char line[128];

	q.ipc = harness_peer(h, ROLE_QMGR, true, &events, &q);
	uint64_t id = begin(&q, "sender@far.example", 0);
	about(&q, id, 3, "one@far.example", 0);
	about(&q, id, 1, "two@far.example", QUEUE_NOTIFY_FAILURE | QUEUE_NOTIFY_DELAY);
	about(&q, id, 2, "never@far.example", QUEUE_NOTIFY_NEVER);
	go(&q, id, "Subject: x\r\n\r\n.the body\r\n", 1);
	ok(q.is_done && q.id[0] != '\0', "a bounce is made");
	if (!ok(harness_record(h, q.id, &r), "it is in the journal"))
		return;
	is_int(r.env.sender.len, 0, "from the null sender");
	is_int(r.env.flags, QUEUE_FLAG_NOTICE, "a notice");
	is_slice(r.env.parent, "0123456789A", "made from");
	is_int(r.env.reason, QUEUE_REASON_BOUNCE, "why");
	is_int(queue_parent_count(&r.env), 3, "for all three recipients");
	is_int(queue_parent_at(&r.env, 0), 1, "in ascending");
	is_int(queue_parent_at(&r.env, 2), 3, "order");
	ok(queue_recipient_next(&r.env, &offset, &index, &to), "a recipient");
	is_slice(to.address, "sender@far.example", "the sender");
	has(&r, "Received: by mx.example (Gatepost)\r\n\tid ");
	has(&r, "\r\nFrom: Mail Delivery System <MAILER-DAEMON@mx.example>\r\n");
	has(&r, "\r\nSubject: Undelivered Mail Returned to Sender\r\nTo: sender@far.example\r\n");
	has(&r, "\r\nAuto-Submitted: auto-replied\r\n");
	has(&r, "Content-Type: multipart/report; report-type=delivery-status;\r\n");
	snprintf(line, sizeof(line), ".%s@mx.example>\r\n\r\n", q.id);
	has(&r, "\r\nMessage-Id: <");
	has(&r, line);
	has(&r, "\r\n<one@far.example> (expanded from <orig@far.example>): host\r\n"
		"    mx.far.example[192.0.2.1] said: 550 5.1.1 unknown (in reply to RCPT TO\r\n"
		"    command)\r\n\r\n");
	has(&r, "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\n"
		"Original-Envelope-Id: my id\r\nX-Gatepost-Queue-ID: 0123456789A\r\n"
		"X-Gatepost-Sender: rfc822; sender@far.example\r\n"
		"Arrival-Date: Tue, 14 Nov 2023 22:13:20 +0000 (UTC)\r\n\r\n"
		"Final-Recipient: rfc822; one@far.example\r\n"
		"Original-Recipient: rfc822;orig@far.example\r\nAction: failed\r\nStatus: 5.1.1\r\n"
		"Remote-MTA: dns; mx.far.example\r\nDiagnostic-Code: smtp; 550 5.1.1 unknown\r\n"
		"Last-Attempt-Date: Tue, 14 Nov 2023 22:14:20 +0000 (UTC)\r\n\r\n"
		"Final-Recipient: rfc822; two@far.example\r\n"
		"Original-Recipient: rfc822;first+last@far.example\r\n");
	ok(slice_find_str(r.content, "never@far.example") < 0, "NOTIFY=NEVER is honoured");
	has(&r, "Content-Description: Undelivered Message\r\nContent-Type: message/rfc822\r\n\r\n"
		"Return-Path: <sender@far.example>\r\nSubject: x\r\n\r\n.the body\r\n\r\n--");
	ok(slice_ends(r.content, "/mx.example--\r\n"), "and ends with its boundary");
	harness_record_clear(&r);
	snprintf(line, sizeof(line),
		"bounce[%d]: 0123456789A: sender non-delivery notification: %s\n", h->pid, q.id);
	ok(harness_wait_log(h, line) != NULL, "logged as by bounce");

	id = begin(&q, "sender@far.example", QUEUE_FLAG_SMTPUTF8);
	about(&q, id, 0, "j\xc3\xbcrgen@far.example", 0);
	go(&q, id, "Subject: \xc3\xbc\r\n\r\n", 2);
	ok(harness_record(h, q.id, &r), "a bounce in UTF-8");
	is_int(r.env.flags, QUEUE_FLAG_NOTICE | QUEUE_FLAG_SMTPUTF8 | QUEUE_FLAG_8BIT,
		"its flags: the header section is ASCII");
	is_int(r.env.body, QUEUE_BODY_8BITMIME, "its body type");
	has(&r, "report-type=global-delivery-status;");
	has(&r, "Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: "
		"8bit\r\n");
	has(&r, "Final-Recipient: utf-8; j\xc3\xbcrgen@far.example\r\n");
	has(&r, "Content-Description: Undelivered Message Headers\r\nContent-Type: "
		"message/global-headers\r\nContent-Transfer-Encoding: 8bit\r\n\r\nReturn-Path: "
		"<sender@far.example>\r\nSubject: ");
	harness_record_clear(&r);

	test_no_bounce(h, &q);
	ipc_free(&q.ipc);
}

/* A large header section comes in many frames, with credit. */
static void test_large(struct harness *h)
{
	struct manager q = {0};
	struct harness_record r;
	char *line = mem_alloc(60001);
	size_t sent = 0;

	memset(line, 'x', 60000);
	memcpy(line, "X: ", 3);
	memcpy(line + 59998, "\r\n", 2);
	q.ipc = harness_peer(h, ROLE_QMGR, true, &events, &q);
	uint64_t id = begin(&q, "sender@far.example", 0);
	about(&q, id, 0, "one@far.example", 0);
	while (sent < 1200000) {
		while (ipc_credit(q.ipc, id) < 60000)
			loop_once(loop_now() + CLOCK_SEC);
		ipc_begin(q.ipc, PROTO_NOTICE_DATA, id);
		ipc_put_bytes(q.ipc, FIELD_BYTES, slice_of(line, 60000));
		ipc_end(q.ipc);
		sent += 60000;
	}
	go(&q, id, "", 2);
	ok(q.is_done && harness_record(h, q.id, &r), "a bounce with a large header section");
	ok(r.env.size > sent, "has all of it");
	harness_record_clear(&r);
	ipc_free(&q.ipc);
	mem_free(line);
}

static void test_postmaster(void)
{
	struct harness h = {.inject = NULL};
	struct manager q = {0};
	struct harness_record r;
	struct queue_recipient to;
	uint32_t offset = 0, index = 0;

	harness_start(&h, "cleanup/cleanup", ROLE_CLEANUP,
		"notify_classes = bounce, 2bounce\n2bounce_notice_recipient = "
		"second@far.example\n");
	q.ipc = harness_peer(&h, ROLE_QMGR, true, &events, &q);
	uint64_t id = begin(&q, "", 0);
	about(&q, id, 0, "one@far.example", 0);
	go(&q, id, "Subject: x\r\n\r\nbody\r\n", 1);
	ok(q.is_done && harness_record(&h, q.id, &r),
		"the null sender: a report to the postmaster");
	is_slice(r.env.sender, "double-bounce@mx.example", "from double_bounce_sender");
	ok(queue_recipient_next(&r.env, &offset, &index, &to), "to");
	is_slice(to.address, "second@far.example", "2bounce_notice_recipient");
	is_slice(r.env.parent, "0123456789A", "it stands for the bounce");
	has(&r, "Subject: Postmaster Copy: Undelivered Mail\r\n");
	harness_record_clear(&r);

	id = begin(&q, "sender@far.example", 0);
	about(&q, id, 0, "one@far.example", 0);
	go(&q, id, "Subject: x\r\n\r\nsecret body\r\n", 1);
	ok(q.is_done && harness_record(&h, q.id, &r), "another sender gets a bounce");
	has(&r, "secret body");
	harness_record_clear(&r);
	ok(harness_wait_log(&h, "0123456789A: sender non-delivery notification: ") != NULL, "log");

	reason = QUEUE_REASON_BOUNCE_COPY;
	id = begin(&q, "sender@far.example", 0);
	about(&q, id, 3, "one@far.example", 0);
	go(&q, id, "Subject: x\r\n\r\n", 2);
	ok(q.is_done && harness_record(&h, q.id, &r), "and the postmaster a copy");
	offset = index = 0;
	ok(queue_recipient_next(&r.env, &offset, &index, &to), "to");
	is_slice(to.address, "postmaster@mx.example", "bounce_notice_recipient");
	is_slice(r.env.sender, "double-bounce@mx.example", "from double_bounce_sender");
	is_slice(r.env.parent, "0123456789A", "whose parent is told that it is there");
	is_int(r.env.reason, QUEUE_REASON_BOUNCE_COPY, "as a copy");
	ok(queue_parent_count(&r.env) == 1 && queue_parent_at(&r.env, 0) == 3, "about whom");
	has(&r, "Subject: Postmaster Copy: Undelivered Mail\r\n");
	has(&r, "Content-Type: text/rfc822-headers\r\n");
	harness_record_clear(&r);
	reason = QUEUE_REASON_DELAY_COPY;
	id = begin(&q, "sender@far.example", 0);
	about(&q, id, 0, "one@far.example", 0);
	go(&q, id, "Subject: x\r\n\r\n", 2);
	ok(q.is_done && q.id[0] == '\0', "of a delay it wants none");
	reason = QUEUE_REASON_BOUNCE_COPY;
	id = begin(&q, "double-bounce@mx.example", 0);
	about(&q, id, 0, "one@far.example", 0);
	go(&q, id, "Subject: x\r\n\r\n", 2);
	ok(q.is_done && q.id[0] == '\0', "nor of what it would get itself");
	reason = QUEUE_REASON_BOUNCE;
	ipc_free(&q.ipc);
	is_int(harness_stop(&h), 0, "it ends in good order");
}

/* A recipient with another result than a failure. */
static void told(struct manager *q, uint64_t id, uint64_t index, enum proto_result result,
	const char *status, enum queue_how how)
{
	ipc_begin(q->ipc, PROTO_NOTICE_RCPT, id);
	ipc_put_u64(q->ipc, FIELD_INDEX, index);
	ipc_put_str(q->ipc, FIELD_RECIPIENT, "one@far.example");
	ipc_put_u64(q->ipc, FIELD_RESULT, result);
	ipc_put_str(q->ipc, FIELD_STATUS, status);
	ipc_put_str(q->ipc, FIELD_TEXT, "what happened");
	if (how != QUEUE_HOW_NONE)
		ipc_put_u64(q->ipc, FIELD_HOW, how);
	ipc_end(q->ipc);
}

static void test_kinds(struct manager *q, struct harness *h)
{
	static const struct {
		enum queue_reason reason;
		uint32_t flags;
		enum proto_result result;
		const char *status;
		enum queue_how how;
		const char *subject, *action;
	} rows[] = {
		{QUEUE_REASON_DELAY, 0, RESULT_DEFERRED, "4.4.1", QUEUE_HOW_NONE,
			"Delayed Mail (still being retried)", "delayed"},
		{QUEUE_REASON_SUCCESS, 0, RESULT_OK, "2.0.0", QUEUE_HOW_RELAYED,
			"Successful Mail Delivery Report", "relayed"},
		{QUEUE_REASON_SUCCESS, 0, RESULT_OK, "2.0.0", QUEUE_HOW_DELIVERED,
			"Successful Mail Delivery Report", "delivered"},
		{QUEUE_REASON_SUCCESS, 0, RESULT_OK, "2.0.0", QUEUE_HOW_EXPANDED,
			"Successful Mail Delivery Report", "expanded"},
		{QUEUE_REASON_TRACE, QUEUE_FLAG_TRACE, RESULT_FAILED, "5.1.1", QUEUE_HOW_NONE,
			"Mail Delivery Status Report", "failed"},
		{QUEUE_REASON_SUCCESS, QUEUE_FLAG_TRACE | QUEUE_FLAG_PROBE, RESULT_OK, "5.1.1",
			QUEUE_HOW_UNDELIVERABLE, "Mail Delivery Status Report", "undeliverable"},
	};
	struct harness_record r;
	char text[200];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		reason = rows[i].reason;
		uint64_t id = begin(q, "sender@far.example", rows[i].flags);

		told(q, id, 0, rows[i].result, rows[i].status, rows[i].how);
		go(q, id, "Message-ID: <m@x>\r\nSubject: x\r\n\r\n", 2);
		if (!ok(q->is_done && harness_record(h, q->id, &r), "a notice: %s", rows[i].action))
			continue;
		is_int(r.env.reason, rows[i].reason, "why it was made");
		snprintf(text, sizeof(text), "\r\nSubject: %s\r\n", rows[i].subject);
		has(&r, text);
		snprintf(text, sizeof(text), "\r\nAction: %s\r\nStatus: %s\r\n", rows[i].action,
			rows[i].status);
		has(&r, text);
		has(&r, "\r\nReferences: <m@x>\r\nIn-Reply-To: <m@x>\r\n");
		if (rows[i].reason == QUEUE_REASON_DELAY)
			has(&r, "\r\nWill-Retry-Until: Thu, 16 Nov 2023 02:00:00 +0000 (UTC)\r\n");
		harness_record_clear(&r);
	}
	reason = QUEUE_REASON_BOUNCE;
}

/* What was to be protected: nothing of it in the notice, or only with TLS. */
static void test_requiretls(struct manager *q, struct harness *h, bool redacts)
{
	struct harness_record r;
	uint64_t id = begin(q, "sender@far.example", QUEUE_FLAG_REQUIRETLS);

	about(q, id, 0, "one@far.example", 0);
	go(q, id, "Subject: secret\r\nMessage-ID: <m@x>\r\n\r\n", 2);
	if (!ok(q->is_done && harness_record(h, q->id, &r), "a notice about REQUIRETLS"))
		return;
	ok((slice_find_str(r.content, "Subject: secret") < 0) == redacts, "its subject");
	is_int(r.env.flags & QUEUE_FLAG_REQUIRETLS, redacts ? 0 : QUEUE_FLAG_REQUIRETLS,
		"whether it wants TLS itself");
	has(&r, "Message-ID: <m@x>\r\n");
	harness_record_clear(&r);
}

static void test_verp(struct manager *q, struct harness *h)
{
	struct harness_record r;
	struct queue_recipient to;
	uint32_t offset = 0, index = 0;

	verp = "+=";
	uint64_t id = begin(q, "owner@far.example", 0);
	verp = "";
	about(q, id, 0, "one@far.example", 0);
	go(q, id, "Subject: x\r\n\r\n", 2);
	if (!ok(q->is_done && harness_record(h, q->id, &r), "a bounce of mail with VERP"))
		return;
	ok(queue_recipient_next(&r.env, &offset, &index, &to), "goes to");
	is_slice(to.address, "owner+orig=far.example@far.example", "the sender of that recipient");
	harness_record_clear(&r);
}

static void test_more(void)
{
	struct harness h = {.inject = NULL};
	struct manager q = {0};
	struct harness_record r;
	struct queue_recipient to;
	uint32_t offset = 0, index = 0;

	harness_start(&h, "cleanup/cleanup", ROLE_CLEANUP,
		"enable_threaded_bounces = yes\nnotify_classes = delay\n"
		"delay_notice_recipient = late@far.example\n");
	q.ipc = harness_peer(&h, ROLE_QMGR, true, &events, &q);
	test_kinds(&q, &h);
	test_requiretls(&q, &h, true);
	test_verp(&q, &h);
	reason = QUEUE_REASON_DELAY;
	uint64_t id = begin(&q, "", 0);
	told(&q, id, 0, RESULT_DEFERRED, "4.4.1", QUEUE_HOW_NONE);
	go(&q, id, "Subject: x\r\n\r\n", 2);
	ok(q.is_done && harness_record(&h, q.id, &r), "a delay of the null sender's mail");
	ok(queue_recipient_next(&r.env, &offset, &index, &to), "is told to");
	is_slice(to.address, "late@far.example", "delay_notice_recipient");
	harness_record_clear(&r);
	reason = QUEUE_REASON_BOUNCE;
	ipc_free(&q.ipc);
	is_int(harness_stop(&h), 0, "it ends in good order");

	harness_start(&h, "cleanup/cleanup", ROLE_CLEANUP, "requiretls_redact_dsn = no\n");
	q.ipc = harness_peer(&h, ROLE_QMGR, true, &events, &q);
	test_requiretls(&q, &h, false);
	ipc_free(&q.ipc);
	is_int(harness_stop(&h), 0, "it ends in good order");
}

/* The file is handed over as master does it. */
static void test_templates(void)
{
	static const char file[] =
		"failure_template = <<END\nCharset: iso-8859-1\nFrom: Post <post> (x)\n"
		"Subject: Zur\\fcck\nPostmaster-Subject: Kopie\n\n$myhostname gr\xfc\xdft $$, "
		"$maximal_queue_lifetime_hours h\n.\nEND\n"
		"delay_template = <<END\nbad: header\nEND\n";
	struct harness h = {.inject = NULL};
	struct manager q = {0};
	struct harness_record r;
	char path[] = "/tmp/gp-template-XXXXXX", settings[200];
	int fd = mkstemp(path);

	ok(write(fd, file, sizeof(file) - 1) > 0, "a file of templates");
	fd_close(&fd);
	snprintf(settings, sizeof(settings), "bounce_template_file = %s\nnotify_classes = bounce\n",
		path);
	harness_start(&h, "cleanup/cleanup", ROLE_CLEANUP, settings);
	ok(harness_wait_log(&h, "line 11, column 1: \"bad\" is no header of a template") != NULL,
		"what is wrong in it is logged");
	q.ipc = harness_peer(&h, ROLE_QMGR, true, &events, &q);
	uint64_t id = begin(&q, "sender@far.example", 0);
	about(&q, id, 0, "one@far.example", 0);
	go(&q, id, "Subject: x\r\n\r\nbody\r\n", 1);
	ok(q.is_done && harness_record(&h, q.id, &r), "a bounce");
	has(&r, "\r\nFrom: Post <post@mx.example> (x)\r\nSubject: Zur\\fcck\r\n");
	has(&r, "Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: "
		"8bit\r\n\r\nmx.example gr\xfc\xdft $, 120 h\r\n.\r\n\r\n<one@far.example>");
	is_int(r.env.flags & QUEUE_FLAG_8BIT, QUEUE_FLAG_8BIT, "it is 8-bit");
	is_int(r.env.flags & QUEUE_FLAG_DOT_LINE, QUEUE_FLAG_DOT_LINE, "with a line of a dot");
	harness_record_clear(&r);
	ipc_free(&q.ipc);
	is_int(harness_stop(&h), 0, "it ends in good order");
	unlink(path);
}

int main(void)
{
	struct harness h = {.inject = NULL};

	loop_init();
	harness_start(&h, "cleanup/cleanup", ROLE_CLEANUP, "mydestination =\n");
	test_bounce(&h);
	test_large(&h);
	is_int(harness_stop(&h), 0, "it ends in good order");
	test_postmaster();
	test_more();
	test_templates();
	return done_testing();
}

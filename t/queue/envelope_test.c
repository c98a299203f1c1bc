/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "queue/envelope.h"
#include "queue/event.h"
#include "t/tap.h"
#include "util/err.h"
#include "util/wire.h"

static struct queue_envelope sample(void)
{
	static const char parents[] = {1, 0, 0, 0, 7, 0, 0, 0};

	return (struct queue_envelope){.id = SLICE_LIT("0A1B2C3D4E5"),
		.arrival = INT64_C(1800000000123456),
		.sender = SLICE_LIT("a@example.org"),
		.size = 1234,
		.header_len = 200,
		.flags = QUEUE_FLAG_DOT_LINE | QUEUE_FLAG_NOTICE | QUEUE_FLAG_PROBE,
		.body = QUEUE_BODY_8BITMIME,
		.ret = QUEUE_RET_HDRS,
		.envid = SLICE_LIT("QQ314159"),
		.client_name = SLICE_LIT("client.example"),
		.client_addr = SLICE_LIT("192.0.2.7"),
		.client_port = 50123,
		.helo = SLICE_LIT("client"),
		.protocol = SLICE_LIT("ESMTP"),
		.login = SLICE_LIT("user"),
		.uid = 1000,
		.service = SLICE_LIT("smtp"),
		.content_filter_next = SLICE_LIT("scan:[127.0.0.1]:10025"),
		.deadline = 5,
		.delay_warning = 6,
		.hops = 3,
		.parent = SLICE_LIT("FFFFFF"),
		.reason = QUEUE_REASON_BOUNCE,
		.parent_rcpts = slice_of(parents, sizeof(parents)),
		.origin_name = SLICE_LIT("origin.example"),
		.origin_addr = SLICE_LIT("192.0.2.8"),
		.origin_helo = SLICE_LIT("origin"),
		.origin_protocol = SLICE_LIT("SMTP"),
		.origin_ident = SLICE_LIT("ABC123"),
		.origin_port = 50124,
		.verp = SLICE_LIT("+=")};
}

/* What the first version has room for, used or not. */
static void check_room(const struct queue_envelope *out)
{
	is_slice(out->client_name, "client.example", "client: name");
	is_slice(out->client_addr, "192.0.2.7", "address");
	is_int(out->client_port, 50123, "port");
	is_slice(out->helo, "client", "HELO");
	is_slice(out->protocol, "ESMTP", "protocol");
	is_slice(out->login, "user", "login");
	is_int(out->uid, 1000, "uid");
	is_slice(out->service, "smtp", "service");
	ok(out->flags & QUEUE_FLAG_PROBE, "a probe");
	is_slice(out->parent, "FFFFFF", "parent");
	is_int(out->reason, QUEUE_REASON_BOUNCE, "why it was made from it");
	is_int(queue_parent_count(out), 2, "of how many recipients");
	is_int(out->deadline, 5, "deadline");
	is_int(out->delay_warning, 6, "when to tell of a delay");
	is_slice(out->content_filter_next, "scan:[127.0.0.1]:10025", "a filter");
	is_int(out->hops, 3, "hops");
}

/* Whom others are told as the client. */
static void check_client(struct queue_envelope *env)
{
	struct queue_client c = queue_envelope_client(env);

	is_slice(c.name, "client.example", "the client is its own origin");
	is_int(c.port, 50123, "and so is its port");
	is_slice(env->origin_ident, "ABC123", "an id elsewhere stands alone");
	env->flags |= QUEUE_FLAG_FORWARDED;
	c = queue_envelope_client(env);
	is_slice(c.name, "origin.example", "unless a trusted client says so: name");
	is_slice(c.addr, "192.0.2.8", "address");
	is_slice(c.helo, "origin", "HELO");
	is_slice(c.protocol, "SMTP", "protocol");
	is_int(c.port, 50124, "port");
	env->origin_helo = SLICE_NONE;
	c = queue_envelope_client(env);
	is_slice(c.helo, "", "what is not said of the origin is not the client's");
}

static void round_trip(void)
{
	struct queue_envelope in = sample(), out, again;
	struct queue_recipient r = {.address = SLICE_LIT("b@example.net"),
		.orig_to = SLICE_LIT("list@example.net"),
		.orcpt = SLICE_LIT("rfc822;b@example.net"),
		.notify = QUEUE_NOTIFY_FAILURE,
		.class = QUEUE_CLASS_RELAY,
		.transport = SLICE_LIT("smtp"),
		.nexthop = SLICE_LIT("[mx.example.net]:25"),
		.reason = SLICE_LIT("text"),
		.flags = QUEUE_RCPT_NOADDR,
		.plan = SLICE_LIT("slow"),
		.via = QUEUE_VIA_ONLY};
	struct queue_recipient got;
	struct buf rcpts = BUF_INIT(100000), bytes = BUF_INIT(100000), twice = BUF_INIT(100000);
	uint32_t offset = 0, index = 0;

	is_int(queue_recipient_encode(&rcpts, &r), 0, "a full recipient");
	r = (struct queue_recipient){0};
	is_int(queue_recipient_encode(&rcpts, &r), 0, "one with an empty address");
	is_int(queue_envelope_encode(&bytes, &in, buf_slice(&rcpts)), 0, "encode");
	is_int(queue_envelope_decode(buf_slice(&bytes), &out), 0, "decode");
	queue_envelope_again(buf_slice(&bytes), &again);
	is_int(again.recipients, 0, "once more, without its recipients");
	is_int(queue_envelope_encode(&twice, &again, again.rcpt_bytes), 0, "encoded again");
	ok(slice_eq(buf_slice(&twice), buf_slice(&bytes)), "it is the same");
	buf_clear(&twice);
	is_slice(out.id, "0A1B2C3D4E5", "id");
	is_slice(out.sender, "a@example.org", "sender");
	is_slice(out.envid, "QQ314159", "ENVID");
	is_slice(out.verp, "+=", "VERP");
	check_room(&out);
	check_client(&out);
	out.flags &= ~QUEUE_FLAG_FORWARDED;
	is_int(out.arrival, in.arrival, "arrival");
	is_int(out.flags, in.flags, "flags");
	is_int(out.client_port, 50123, "port");
	is_int(out.ret, QUEUE_RET_HDRS, "RET");
	is_int(queue_parent_count(&out), 2, "recipients of the parent");
	is_int(queue_parent_at(&out, 1), 7, "the second of them");
	is_int(out.recipients, 2, "recipients");
	ok(queue_recipient_next(&out, &offset, &index, &got), "the first");
	is_slice(got.address, "b@example.net", "address");
	is_slice(got.nexthop, "[mx.example.net]:25", "next hop");
	is_slice(got.plan, "slow", "plan");
	is_int(got.via, QUEUE_VIA_ONLY, "what the next hop is");
	is_int(got.notify, QUEUE_NOTIFY_FAILURE, "NOTIFY");
	ok(queue_recipient_next(&out, &offset, &index, &got), "the second");
	is_slice(got.address, "", "its address");
	ok(!queue_recipient_next(&out, &offset, &index, &got), "no third");
	buf_clear(&rcpts);
	buf_clear(&bytes);
}

static void refused(void)
{
	struct queue_envelope env = sample();
	struct queue_recipient r = {.address = SLICE_LIT("b\r\n@example.net")};
	struct buf b = BUF_INIT(100000);
	static char longer[QUEUE_ADDRESS_MAX + 1];

	memset(longer, 'x', sizeof(longer));
	is_int(queue_recipient_encode(&b, &r), ERR_RANGE, "a line end in an address");
	is_int(b.len, 0, "leaves nothing");
	r.address = slice_of(longer, sizeof(longer));
	is_int(queue_recipient_encode(&b, &r), ERR_RANGE, "an address too long");
	r.address = SLICE_LIT("b@example.net");
	r.class = QUEUE_CLASS_DEFAULT + 1;
	is_int(queue_recipient_encode(&b, &r), ERR_RANGE, "an unknown class");
	env.verp = SLICE_LIT("+=-");
	is_int(queue_envelope_encode(&b, &env, SLICE_NONE), ERR_RANGE, "three delimiters");
	env.verp = SLICE_NONE;
	env.id = SLICE_LIT("../../x");
	is_int(queue_envelope_encode(&b, &env, SLICE_NONE), ERR_RANGE, "a bad id");
	buf_clear(&b);
}

/* Every cut and every flipped bit: an error or an envelope, never a crash (run under ASan). */
static void hostile(void)
{
	struct queue_envelope env = sample(), out;
	struct queue_recipient r = {.address = SLICE_LIT("b@example.net"), .class = 1};
	struct buf rcpts = BUF_INIT(1000), b = BUF_INIT(10000);
	int cut_ok = 0;

	(void)queue_recipient_encode(&rcpts, &r);
	(void)queue_envelope_encode(&b, &env, buf_slice(&rcpts));
	for (size_t len = 0; len < b.len; len++)
		cut_ok += queue_envelope_decode(slice_first(buf_slice(&b), len), &out) == 0;
	is_int(cut_ok, 0, "no cut envelope decodes");
	for (size_t i = 0; i < b.len * 8; i++) {
		b.data[b.start + i / 8] ^= (char)(1 << i % 8);
		(void)queue_envelope_decode(buf_slice(&b), &out);
		b.data[b.start + i / 8] ^= (char)(1 << i % 8);
	}
	is_int(queue_envelope_decode(buf_slice(&b), &out), 0, "unchanged it does");
	buf_add(&b, "\0", 1);
	ok(queue_envelope_decode(buf_slice(&b), &out) != 0, "nothing may stand behind it");
	buf_clear(&rcpts);
	buf_clear(&b);
}

/* As the first version wrote it: a queue on disk stays readable. */
static void first_version(void)
{
	static const char bytes[] =
		"GPE1\001\000\000\000\001\000\000\000\353\000\000\000\001\013\0000A1B2C3D4E5\002"
		"\010\000@b\232(\027e\006\000\003\015\000a@example.org\004\010\000\322\004\000"
		"\000\000\000\000\000\005\004\000\310\000\000\000\007\004\000a\000\000\000\010"
		"\001\000\002\011\001\000\002\012\010\000QQ314159\013\016\000client.example\014"
		"\011\000192.0.2.7\015\006\000client\016\005\000ESMTP\017\002\000\313\303\020"
		"\004\000user\021\004\000\350\003\000\000\022\004\000smtp\023\026\000scan:[127.0"
		".0.1]:10025\024\010\000\005\000\000\000\000\000\000\000\025\010\000\006\000\000"
		"\000\000\000\000\000\026\004\000\003\000\000\000\027\006\000FFFFFF\030\001\000"
		"\001\031\010\000\001\000\000\000\007\000\000\000\024\000\001\015\000b@example.n"
		"et\005\001\000\001";
	struct queue_envelope out;
	struct queue_recipient r;
	uint32_t offset = 0, index = 0;

	is_int(queue_envelope_decode(slice_of(bytes, sizeof(bytes) - 1), &out), 0,
		"the first version is read");
	check_room(&out);
	ok(queue_recipient_next(&out, &offset, &index, &r), "with its recipient");
	is_slice(r.address, "b@example.net", "address");
	is_int(r.class, QUEUE_CLASS_LOCAL, "class");
}

static void versions(void)
{
	struct queue_envelope env = {.id = SLICE_LIT("ABCDEF")}, out;
	struct buf b = BUF_INIT(10000);
	size_t fields;

	(void)queue_envelope_encode(&b, &env, SLICE_NONE);
	fields = b.len - 16;
	/* A field of type 200, three bytes long. */
	buf_add(&b, "\310\003\0abc", 6);
	wire_put_u32(b.data + b.start + 12, (uint32_t)fields + 6);
	is_int(queue_envelope_decode(buf_slice(&b), &out), ERR_CORRUPT,
		"an unknown field of our own version is damage");
	b.data[b.start + 5] = 9;
	is_int(queue_envelope_decode(buf_slice(&b), &out), 0, "of a newer minor it is passed over");
	is_int(out.minor, 9, "which is told");
	b.data[b.start + 4] = 2;
	is_int(queue_envelope_decode(buf_slice(&b), &out), ERR_RANGE, "another major is refused");
	buf_clear(&b);
}

static void events(void)
{
	struct queue_event in = {.type = QUEUE_EV_DEFERRED,
		.no = 4,
		.time = 77,
		.id = SLICE_LIT("ABCDEF"),
		.rcpts = SLICE_LIT("\1\0\0\0\2\0\0\0"),
		.dsn = SLICE_LIT("4.4.1"),
		.text = SLICE_LIT("connection refused"),
		.due = 99};
	struct queue_event out;
	struct buf b = BUF_INIT(100000);
	size_t used;

	is_int(queue_event_encode(&b, 5, &in), 0, "an event");
	is_int(queue_event_decode(buf_slice(&b), 5, &out, &used), 0, "back");
	is_int(used, b.len, "all of it");
	is_slice(out.text, "connection refused", "text");
	is_int(queue_event_rcpt_count(&out), 2, "recipients");
	is_int(queue_event_rcpt(&out, 1), 2, "the second");
	is_int(out.due, 99, "due");
	is_int(queue_event_decode(buf_slice(&b), 6, &out, &used), ERR_CORRUPT,
		"of another generation (Q4)");
	is_int(queue_event_decode(slice_first(buf_slice(&b), 10), 5, &out, &used), ERR_SHORT,
		"cut");
	is_int(queue_event_decode(SLICE_LIT("\0\0\0\0\0\0\0\0"), 5, &out, &used), ERR_NOT_FOUND,
		"padding");
	b.data[b.start + 30] ^= 1;
	is_int(queue_event_decode(buf_slice(&b), 5, &out, &used), ERR_CORRUPT, "a flipped bit");
	buf_clear(&b);
}

int main(void)
{
	round_trip();
	refused();
	hostile();
	versions();
	first_version();
	events();
	return done_testing();
}

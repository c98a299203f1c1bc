/* SPDX-License-Identifier: ISC */
/* Files of maildrop: names, and a head that anybody may have written. */
#include "queue/drop.h"

#include "t/tap.h"
#include "util/err.h"
#include "util/wire.h"

#define TOKEN "0123456789ABCDEF01234567"

static void test_names(void)
{
	static const struct {
		const char *name;
		enum queue_drop_kind kind;
	} rows[] = {
		{"drop." TOKEN, QUEUE_DROP_NEW},
		{"bad." TOKEN, QUEUE_DROP_BAD},
		{"4F2C1A7B9D0." TOKEN, QUEUE_DROP_TAKEN},
		{"ABCDEF." TOKEN, QUEUE_DROP_TAKEN},
		{"drop." TOKEN "0", QUEUE_DROP_NONE},
		{"drop.0123456789abcdef01234567", QUEUE_DROP_NONE},
		{"drop.", QUEUE_DROP_NONE},
		{"drop", QUEUE_DROP_NONE},
		{"." TOKEN, QUEUE_DROP_NONE},
		{"", QUEUE_DROP_NONE},
		{"other." TOKEN, QUEUE_DROP_NONE},
		{"../x." TOKEN, QUEUE_DROP_NONE},
		{"AB CDEF." TOKEN, QUEUE_DROP_NONE},
		{"drop." TOKEN "." TOKEN, QUEUE_DROP_NONE},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct slice id, token;
		char again[QUEUE_DROP_NAME], text[QUEUE_ID_MAX + 1] = "";
		enum queue_drop_kind kind = queue_drop_parse_name(rows[i].name, &id, &token);

		is_int(kind, rows[i].kind, "\"%s\"", rows[i].name);
		if (kind == QUEUE_DROP_NONE)
			continue;
		if (id.len > 0)
			memcpy(text, id.p, id.len);
		queue_drop_format_name(again, text, token, kind);
		is_str(again, rows[i].name, "and back");
	}
}

static void test_head(void)
{
	struct buf out = BUF_INIT(65536), to = BUF_INIT(4096), changed = BUF_INIT(65536);
	struct queue_envelope env = {.sender = SLICE_LIT("s@a.test")}, back;
	struct queue_recipient r = {.address = SLICE_LIT("r@b.test"), .notify = QUEUE_NOTIFY_DELAY};
	uint32_t len;
	uint64_t content;
	size_t size;

	is_int(queue_recipient_encode(&to, &r), 0, "a recipient");
	is_int(queue_drop_encode(&out, &env, buf_slice(&to), 100), 0, "a head");
	size = out.len + 100 + QUEUE_DROP_TAIL;
	is_int(queue_drop_decode(buf_slice(&out), size, &len, &content), 0, "is read");
	is_int(content, 100, "its content");
	is_int(QUEUE_DROP_HEAD + len, out.len, "its envelope");
	is_int(queue_envelope_decode(slice_from(buf_slice(&out), QUEUE_DROP_HEAD), &back), 0,
		"is one");
	is_int(back.recipients, 1, "of one recipient");
	is_int(queue_drop_decode(buf_slice(&out), size + 1, &len, &content), ERR_RANGE, "too long");
	is_int(queue_drop_decode(buf_slice(&out), size - 1, &len, &content), ERR_RANGE,
		"too short");
	is_int(queue_drop_decode(buf_slice(&out), 0, &len, &content), ERR_RANGE, "empty");
	is_int(queue_drop_decode(slice_first(buf_slice(&out), 19), size, &len, &content), ERR_SHORT,
		"half a head");
	for (size_t i = 0; i < 8; i++) {
		buf_reset(&changed);
		(void)buf_add_slice(&changed, buf_slice(&out));
		changed.data[changed.start + i] ^= 1;
		is_int(queue_drop_decode(buf_slice(&changed), size, &len, &content), ERR_SYNTAX,
			"byte %zu of its magic", i);
	}
	/* Lengths whose sum is right modulo 2^64. */
	buf_reset(&changed);
	(void)buf_add_slice(&changed, slice_first(buf_slice(&out), 8));
	wire_u32(&changed, QUEUE_DROP_ENVELOPE_MAX);
	wire_u64(&changed, (uint64_t)100 - QUEUE_DROP_ENVELOPE_MAX);
	is_int(queue_drop_decode(buf_slice(&changed), 124, &len, &content), ERR_RANGE, "wrapped");
	buf_clear(&out);
	buf_clear(&to);
	buf_clear(&changed);
}

int main(void)
{
	test_names();
	test_head();
	return done_testing();
}

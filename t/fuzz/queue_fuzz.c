/* SPDX-License-Identifier: ISC */
#include "t/fuzz/fuzz.h"

#include "queue/envelope.h"
#include "queue/event.h"
#include "queue/id.h"
#include "queue/log.h"
#include "util/err.h"
#include "util/mem.h"

/* What decodes must encode, and decode to the same again. */
static void fuzz_envelope(struct slice in)
{
	struct queue_envelope env, again;
	struct queue_recipient r;
	struct buf rcpts = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20);
	uint32_t offset = 0, index = 0, n = 0;

	if (queue_envelope_decode(in, &env) != 0)
		return;
	FUZZ_ASSERT(queue_id_is_valid(env.id));
	while (queue_recipient_next(&env, &offset, &index, &r)) {
		struct queue_recipient same;

		FUZZ_ASSERT(r.index == n && r.address.len <= QUEUE_ADDRESS_MAX);
		queue_recipient_at(&env, offset, index, &same);
		FUZZ_ASSERT(queue_recipient_encode(&rcpts, &r) == 0);
		n++;
	}
	FUZZ_ASSERT(n == env.recipients);
	FUZZ_ASSERT(queue_envelope_encode(&out, &env, buf_slice(&rcpts)) == 0);
	FUZZ_ASSERT(queue_envelope_decode(buf_slice(&out), &again) == 0);
	FUZZ_ASSERT(again.recipients == env.recipients && again.flags == env.flags &&
		    slice_eq(again.sender, env.sender));
	buf_clear(&rcpts);
	buf_clear(&out);
}

static void fuzz_event(struct slice in)
{
	struct queue_event ev, again;
	struct buf out = BUF_INIT(1 << 20);
	size_t used;

	if (queue_event_decode(in, 0, &ev, &used) != 0)
		return;
	FUZZ_ASSERT(used <= in.len);
	for (uint32_t i = 0; i < queue_event_rcpt_count(&ev); i++)
		(void)queue_event_rcpt(&ev, i);
	if (ev.type != QUEUE_EV_NONE) {
		FUZZ_ASSERT(queue_event_encode(&out, 7, &ev) == 0);
		FUZZ_ASSERT(queue_event_decode(buf_slice(&out), 7, &again, &used) == 0);
		FUZZ_ASSERT(again.no == ev.no && slice_eq(again.id, ev.id));
		FUZZ_ASSERT(queue_event_decode(buf_slice(&out), 8, &again, &used) == ERR_CORRUPT);
	}
	buf_clear(&out);
}

static void fuzz_piece(struct slice in)
{
	struct queue_event ev;
	uint64_t at = 0, last = 0;

	while (queue_piece_next(in, 0, UINT64_MAX, &at, &ev) == 0) {
		FUZZ_ASSERT(at > last && at <= in.len);
		last = at;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_of(data, size);

	fuzz_envelope(in);
	fuzz_event(in);
	fuzz_piece(in);
	(void)queue_id_is_valid(in);
	return 0;
}

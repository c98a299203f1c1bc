/* SPDX-License-Identifier: ISC */
#include "queue/event.h"

#include "util/err.h"
#include "util/hash.h"
#include "util/wire.h"

#define HEAD 17 /* length, checksum, generation, type */

/* Numbers are on disk: never change one. */
enum {
	F_NO = 1,
	F_TIME,
	F_ID,
	F_RCPTS,
	F_DSN,
	F_HOST,
	F_TEXT,
	F_DUE,
	F_OTHER,
	F_REASON,
	F_PLACE,
	F_SEGMENT,
	F_GENERATION,
	F_OFFSET,
	F_DATA,
	F_FLAGS,
};

static void add_bytes(struct buf *out, uint8_t tag, struct slice s)
{
	if (s.len == 0)
		return;
	wire_u8(out, tag);
	wire_u16(out, (uint16_t)s.len);
	buf_add_slice(out, s);
}

static void add_number(struct buf *out, uint8_t tag, uint64_t v, size_t size)
{
	char raw[8];

	wire_put_u64(raw, v);
	if (v != 0)
		add_bytes(out, tag, slice_of(raw, size));
}

static bool is_zero(const uint8_t generation[QUEUE_GENERATION])
{
	static const uint8_t none[QUEUE_GENERATION];

	return memcmp(generation, none, QUEUE_GENERATION) == 0;
}

static bool fields_fit(const struct queue_event *ev)
{
	return ev->id.len <= QUEUE_ID_MAX && ev->other.len <= QUEUE_ID_MAX && ev->dsn.len <= 32 &&
	       ev->host.len <= QUEUE_EVENT_TEXT_MAX && ev->text.len <= QUEUE_EVENT_TEXT_MAX &&
	       ev->rcpts.len <= QUEUE_EVENT_RCPTS * 4 && ev->data.len <= QUEUE_EVENT_MAX - 200;
}

int queue_event_encode(struct buf *out, uint64_t generation, const struct queue_event *ev)
{
	size_t before = out->len;
	char *head;

	if (!fields_fit(ev) || ev->type == QUEUE_EV_NONE)
		return ERR_RANGE;
	wire_u32(out, 0);
	wire_u32(out, 0);
	wire_u64(out, generation);
	wire_u8(out, ev->type);
	add_number(out, F_NO, ev->no, 4);
	add_number(out, F_TIME, (uint64_t)ev->time, 8);
	add_bytes(out, F_ID, ev->id);
	add_bytes(out, F_RCPTS, ev->rcpts);
	add_bytes(out, F_DSN, ev->dsn);
	add_bytes(out, F_HOST, ev->host);
	add_bytes(out, F_TEXT, ev->text);
	add_number(out, F_DUE, (uint64_t)ev->due, 8);
	add_bytes(out, F_OTHER, ev->other);
	add_number(out, F_REASON, ev->reason, 1);
	add_number(out, F_PLACE, ev->place, 1);
	add_number(out, F_SEGMENT, ev->segment, 4);
	if (!is_zero(ev->generation))
		add_bytes(out, F_GENERATION, slice_of(ev->generation, QUEUE_GENERATION));
	add_number(out, F_OFFSET, ev->offset, 8);
	add_bytes(out, F_DATA, ev->data);
	add_number(out, F_FLAGS, ev->flags, 1);
	if (buf_failed(out))
		return ERR_LIMIT;
	head = out->data + out->start + before;
	wire_put_u32(head, (uint32_t)(out->len - before));
	wire_put_u32(head + 4, crc32c(0, head + 8, out->len - before - 8));
	return 0;
}

static uint64_t number(struct slice s)
{
	char raw[8] = {0};

	memcpy(raw, s.p, s.len < 8 ? s.len : 8);
	return wire_get_u64(raw);
}

static int decode_field(struct queue_event *ev, uint8_t tag, struct slice v)
{
	switch (tag) {
	case F_NO: ev->no = (uint32_t)number(v); break;
	case F_TIME: ev->time = (int64_t)number(v); break;
	case F_ID: ev->id = v; break;
	case F_RCPTS: ev->rcpts = v; break;
	case F_DSN: ev->dsn = v; break;
	case F_HOST: ev->host = v; break;
	case F_TEXT: ev->text = v; break;
	case F_DUE: ev->due = (int64_t)number(v); break;
	case F_OTHER: ev->other = v; break;
	case F_REASON: ev->reason = (uint8_t)number(v); break;
	case F_PLACE: ev->place = (uint8_t)number(v); break;
	case F_SEGMENT: ev->segment = (uint32_t)number(v); break;
	case F_GENERATION:
		if (v.len != QUEUE_GENERATION)
			return ERR_CORRUPT;
		memcpy(ev->generation, v.p, v.len);
		break;
	case F_OFFSET: ev->offset = number(v); break;
	case F_DATA: ev->data = v; break;
	case F_FLAGS: ev->flags = (uint8_t)number(v); break;
	default: break; /* of a newer version: passed over */
	}
	return 0;
}

int queue_event_decode(struct slice in, uint64_t generation, struct queue_event *ev, size_t *used)
{
	struct reader r = reader_of(in);
	uint32_t len = reader_u32(&r), crc = reader_u32(&r);
	int err = 0;

	*ev = (struct queue_event){0};
	*used = 0;
	if (r.err != 0 || (len != 0 && len > in.len))
		return ERR_SHORT;
	if (len == 0)
		return ERR_NOT_FOUND;
	if (len < HEAD || len > QUEUE_EVENT_MAX + HEAD || crc != crc32c(0, in.p + 8, len - 8))
		return ERR_CORRUPT;
	r = reader_of(slice_of(in.p + 8, len - 8));
	if (reader_u64(&r) != generation)
		return ERR_CORRUPT;
	ev->type = reader_u8(&r);
	while (r.in.len > 0 && r.err == 0 && err == 0) {
		uint8_t tag = reader_u8(&r);

		err = decode_field(ev, tag, reader_bytes(&r, reader_u16(&r)));
	}
	if (r.err != 0 || err != 0 || !fields_fit(ev) || ev->rcpts.len % 4 != 0) {
		*ev = (struct queue_event){0};
		return ERR_CORRUPT;
	}
	*used = len;
	return 0;
}

uint32_t queue_event_rcpt_count(const struct queue_event *ev)
{
	return (uint32_t)(ev->rcpts.len / 4);
}

uint32_t queue_event_rcpt(const struct queue_event *ev, uint32_t i)
{
	return wire_get_u32(ev->rcpts.p + (size_t)i * 4);
}

/* SPDX-License-Identifier: ISC */
#include "util/wire.h"

#include "util/err.h"

static void reader_fail(struct reader *r, int err)
{
	if (r->err == 0)
		r->err = err;
	r->in = SLICE_NONE;
}

struct slice reader_bytes(struct reader *r, size_t len)
{
	struct slice s = SLICE_NONE;

	if (r->err != 0)
		return s;
	if (len > r->in.len) {
		reader_fail(r, ERR_SHORT);
		return s;
	}
	s = slice_first(r->in, len);
	r->in = slice_from(r->in, len);
	return s;
}

static inline uint64_t reader_number(struct reader *r, size_t len)
{
	struct slice s = reader_bytes(r, len);

	return s.len == len ? wire_load(s.p, len) : 0;
}

uint8_t reader_u8(struct reader *r)
{
	return (uint8_t)reader_number(r, 1);
}

uint16_t reader_u16(struct reader *r)
{
	return (uint16_t)reader_number(r, 2);
}

uint32_t reader_u32(struct reader *r)
{
	return (uint32_t)reader_number(r, 4);
}

uint64_t reader_u64(struct reader *r)
{
	return reader_number(r, 8);
}

struct slice reader_counted(struct reader *r, size_t max)
{
	size_t len = reader_u32(r);

	if (r->err == 0 && len > max)
		reader_fail(r, ERR_RANGE);
	return reader_bytes(r, len);
}

void reader_skip(struct reader *r, size_t len)
{
	reader_bytes(r, len);
}

void reader_end(struct reader *r)
{
	if (r->in.len > 0)
		reader_fail(r, ERR_RANGE);
}

static void wire_number(struct buf *b, uint64_t v, size_t len)
{
	uint8_t bytes[8];

	wire_put_u64(bytes, v);
	buf_add(b, bytes, len);
}

void wire_u8(struct buf *b, uint8_t v)
{
	wire_number(b, v, 1);
}

void wire_u16(struct buf *b, uint16_t v)
{
	wire_number(b, v, 2);
}

void wire_u32(struct buf *b, uint32_t v)
{
	wire_number(b, v, 4);
}

void wire_u64(struct buf *b, uint64_t v)
{
	wire_number(b, v, 8);
}

void wire_counted(struct buf *b, struct slice s)
{
	if (s.len > UINT32_MAX) {
		b->failed = true;
		return;
	}
	wire_u32(b, (uint32_t)s.len);
	buf_add_slice(b, s);
}

/* SPDX-License-Identifier: ISC */
#include "util/wire.h"

#include "t/tap.h"
#include "util/err.h"

static void test_round_trip(void)
{
	static const uint64_t values[] = {0, 1, 0x7f, 0x80, 0xff, 0x1234, 0xffff, 0x89abcdef,
		UINT32_MAX, UINT64_C(0x0123456789abcdef), UINT64_MAX};

	for (size_t i = 0; i < COUNT_OF(values); i++) {
		struct buf b = BUF_INIT(100);
		struct reader r;
		uint64_t v = values[i];
		uint8_t at[8];

		wire_u8(&b, (uint8_t)v);
		wire_u16(&b, (uint16_t)v);
		wire_u32(&b, (uint32_t)v);
		wire_u64(&b, v);
		is_int(b.len, 15, "fifteen bytes");
		r = reader_of(buf_slice(&b));
		is_int(reader_u8(&r), (uint8_t)v, "u8 %llx", (unsigned long long)v);
		is_int(reader_u16(&r), (uint16_t)v, "u16");
		is_int(reader_u32(&r), (uint32_t)v, "u32");
		is_int(reader_u64(&r), v, "u64");
		reader_end(&r);
		is_int(r.err, 0, "at the end");
		buf_clear(&b);

		wire_put_u16(at, (uint16_t)v);
		is_int(wire_get_u16(at), (uint16_t)v, "u16 in place");
		wire_put_u32(at, (uint32_t)v);
		is_int(wire_get_u32(at), (uint32_t)v, "u32 in place");
		wire_put_u64(at, v);
		is_int(wire_get_u64(at), v, "u64 in place");
	}
}

static void test_byte_order(void)
{
	struct buf b = BUF_INIT(100);

	wire_u16(&b, 0x0102);
	wire_u32(&b, 0x03040506);
	wire_u64(&b, UINT64_C(0x0708090a0b0c0d0e));
	is_slice(buf_slice(&b), "\x02\x01\x06\x05\x04\x03\x0e\x0d\x0c\x0b\x0a\x09\x08\x07",
		"little-endian");
	buf_clear(&b);
}

static void test_short(void)
{
	for (size_t len = 0; len < 8; len++) {
		struct reader r = reader_of(slice_of("\1\1\1\1\1\1\1", len));

		is_int(reader_u64(&r), 0, "u64 of %zu bytes", len);
		is_int(r.err, ERR_SHORT, "is short");
		is_int(reader_u8(&r), 0, "nothing can be read then");
		is_int(reader_bytes(&r, 0).len, 0, "no bytes either");
		reader_end(&r);
		is_int(r.err, ERR_SHORT, "the first error sticks");
	}
}

static void test_counted(void)
{
	static const struct {
		struct slice in;
		size_t max;
		int err;
		const char *want;
	} rows[] = {
		{SLICE_LIT("\3\0\0\0abc"), 3, 0, "abc"},
		{SLICE_LIT("\0\0\0\0"), 0, 0, ""},
		{SLICE_LIT("\3\0\0\0abc"), 2, ERR_RANGE, ""},
		{SLICE_LIT("\4\0\0\0abc"), 4, ERR_SHORT, ""},
		{SLICE_LIT("\xff\xff\xff\xff"
			   "abc"),
			SIZE_MAX, ERR_SHORT, ""},
		{SLICE_LIT("\xff\xff\xff\xff"
			   "abc"),
			100, ERR_RANGE, ""},
		{SLICE_LIT("\3\0\0"), 100, ERR_SHORT, ""},
		{SLICE_NONE, 100, ERR_SHORT, ""},
	};
	struct buf b = BUF_INIT(7);

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct reader r = reader_of(rows[i].in);

		is_slice(reader_counted(&r, rows[i].max), rows[i].want, "counted row %zu", i);
		is_int(r.err, rows[i].err, "its error");
	}
	wire_counted(&b, SLICE_LIT("abc"));
	ok(slice_eq(buf_slice(&b), SLICE_LIT("\3\0\0\0abc")), "written");
	wire_counted(&b, SLICE_NONE);
	ok(buf_failed(&b), "over the limit");
	buf_clear(&b);
}

static void test_skip_and_end(void)
{
	struct reader r = reader_of(SLICE_LIT("abc"));

	reader_skip(&r, 2);
	is_int(reader_u8(&r), 'c', "skip");
	is_int(r.err, 0, "no error");
	reader_skip(&r, 1);
	is_int(r.err, ERR_SHORT, "skip behind the end");
	r = reader_of(SLICE_LIT("abc"));
	reader_end(&r);
	is_int(r.err, ERR_RANGE, "not at the end");
	is_int(reader_u8(&r), 0, "nothing more");
}

int main(void)
{
	test_round_trip();
	test_byte_order();
	test_short();
	test_counted();
	test_skip_and_end();
	return done_testing();
}

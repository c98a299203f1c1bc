/* SPDX-License-Identifier: ISC */
#ifndef UTIL_WIRE_H
#define UTIL_WIRE_H

#include <endian.h>

#include "util/buf.h"

/*
 * Binary data, little-endian. The reader is a cursor over borrowed bytes whose first error sticks:
 * read ten fields, check once. After an error every read gives 0 or an empty slice.
 */
struct reader {
	struct slice in; /* the rest */
	int err;         /* 0 or ERR_SHORT, ERR_RANGE */
};

static inline struct reader reader_of(struct slice in)
{
	return (struct reader){in, 0};
}

uint8_t reader_u8(struct reader *r);
uint16_t reader_u16(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);
struct slice reader_bytes(struct reader *r, size_t len);
/* Bytes behind a u32 length; a length over max is ERR_RANGE. */
struct slice reader_counted(struct reader *r, size_t max);
void reader_skip(struct reader *r, size_t len);
/* Marks the cursor failed unless it is at the end. */
void reader_end(struct reader *r);

/* Writers append to a buffer; check buf_failed once. */
void wire_u8(struct buf *b, uint8_t v);
void wire_u16(struct buf *b, uint16_t v);
void wire_u32(struct buf *b, uint32_t v);
void wire_u64(struct buf *b, uint64_t v);
void wire_counted(struct buf *b, struct slice s); /* u32 length, bytes */

/* The same at a known place; p has room. */
static inline void wire_put_u16(void *p, uint16_t v)
{
	v = htole16(v);
	memcpy(p, &v, sizeof(v));
}

static inline void wire_put_u32(void *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

static inline void wire_put_u64(void *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
}

/* The first bytes of a little-endian number are its low ones: len may be less than 8. */
static inline uint64_t wire_load(const void *p, size_t len)
{
	uint64_t v = 0;

	memcpy(&v, p, len);
	return le64toh(v);
}

static inline uint16_t wire_get_u16(const void *p)
{
	return (uint16_t)wire_load(p, 2);
}

static inline uint32_t wire_get_u32(const void *p)
{
	return (uint32_t)wire_load(p, 4);
}

static inline uint64_t wire_get_u64(const void *p)
{
	return wire_load(p, 8);
}

#endif

/* SPDX-License-Identifier: ISC */
#include "queue/drop.h"

#include <stdio.h>

#include "util/err.h"
#include "util/wire.h"

#define MAGIC "GPM1\0\0\0\0"

static bool is_token(struct slice s)
{
	if (s.len != QUEUE_DROP_TOKEN)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (strchr("0123456789ABCDEF", s.p[i]) == NULL || s.p[i] == '\0')
			return false;
	return true;
}

enum queue_drop_kind queue_drop_parse_name(const char *name, struct slice *id, struct slice *token)
{
	struct slice all = slice_str(name), first;
	ptrdiff_t dot = slice_find(all, '.');

	*id = *token = SLICE_NONE;
	if (dot < 0 || !is_token(slice_from(all, (size_t)dot + 1)))
		return QUEUE_DROP_NONE;
	*token = slice_from(all, (size_t)dot + 1);
	first = slice_first(all, (size_t)dot);
	if (slice_eq_str(first, "drop"))
		return QUEUE_DROP_NEW;
	if (slice_eq_str(first, "bad"))
		return QUEUE_DROP_BAD;
	if (!queue_id_is_valid(first))
		return QUEUE_DROP_NONE;
	*id = first;
	return QUEUE_DROP_TAKEN;
}

void queue_drop_format_name(
	char name[QUEUE_DROP_NAME], const char *id, struct slice token, enum queue_drop_kind kind)
{
	(void)snprintf(name, QUEUE_DROP_NAME, "%s.%.*s",
		kind == QUEUE_DROP_TAKEN ? id
		: kind == QUEUE_DROP_BAD ? "bad"
					 : "drop",
		SLICE_FMT(token));
}

int queue_drop_encode(struct buf *out, const struct queue_envelope *env, struct slice recipients,
	uint64_t content_len)
{
	struct queue_envelope own = *env;
	struct buf envelope = BUF_INIT(QUEUE_DROP_ENVELOPE_MAX);
	int err;

	/* An envelope has one; this one's says nothing. */
	own.id = SLICE_LIT("000000");
	err = queue_envelope_encode(&envelope, &own, recipients);
	(void)buf_add(out, MAGIC, 8);
	wire_u32(out, (uint32_t)envelope.len);
	wire_u64(out, content_len);
	(void)buf_add_slice(out, buf_slice(&envelope));
	buf_clear(&envelope);
	return err == 0 && buf_failed(out) ? ERR_LIMIT : err;
}

int queue_drop_decode(
	struct slice in, uint64_t file_size, uint32_t *envelope_len, uint64_t *content_len)
{
	struct reader r = reader_of(in);
	struct slice magic = reader_bytes(&r, 8);
	uint64_t rest;

	*envelope_len = reader_u32(&r);
	*content_len = reader_u64(&r);
	if (r.err != 0)
		return r.err;
	if (!slice_eq(magic, slice_of(MAGIC, 8)))
		return ERR_SYNTAX;
	if (file_size < QUEUE_DROP_HEAD + QUEUE_DROP_TAIL)
		return ERR_RANGE;
	rest = file_size - QUEUE_DROP_HEAD - QUEUE_DROP_TAIL;
	if (*envelope_len > QUEUE_DROP_ENVELOPE_MAX || *envelope_len > rest ||
		*content_len != rest - *envelope_len)
		return ERR_RANGE;
	return 0;
}

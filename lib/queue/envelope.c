/* SPDX-License-Identifier: ISC */
#include "queue/envelope.h"

#include <stddef.h>

#include "queue/id.h"
#include "util/err.h"
#include "util/log.h"
#include "util/wire.h"

#define MAGIC 0x31455047u /* "GPE1" */
#define MAJOR 1
#define MINOR 2
#define HEAD 16 /* magic u32, major u8, minor u8, zero u16, recipients u32, message bytes u32 */

/* Field types. Numbers are on disk: never change one. */
enum {
	M_ID = 1,
	M_ARRIVAL,
	M_SENDER,
	M_SIZE,
	M_HEADER_LEN,
	M_BODY_LEN,
	M_FLAGS,
	M_BODY,
	M_RET,
	M_ENVID,
	M_CLIENT_NAME,
	M_CLIENT_ADDR,
	M_HELO,
	M_PROTOCOL,
	M_CLIENT_PORT,
	M_LOGIN,
	M_UID,
	M_SERVICE,
	M_FILTER,
	M_DEADLINE,
	M_DELAY_WARNING,
	M_HOPS,
	M_PARENT,
	M_REASON,
	M_PARENT_RCPTS,
	M_ORIGIN_NAME,
	M_ORIGIN_ADDR,
	M_ORIGIN_HELO,
	M_ORIGIN_PROTOCOL,
	M_ORIGIN_IDENT,
	M_ORIGIN_PORT,
	M_VERP,
	M_TYPES,
};

enum {
	R_ADDRESS = 1, /* always there and first */
	R_ORIG_TO,
	R_ORCPT,
	R_NOTIFY,
	R_CLASS,
	R_TRANSPORT,
	R_NEXTHOP,
	R_REASON,
	R_FLAGS,
	R_PLAN,
	R_VIA,
	R_TYPES,
};

/* One row a field: where it lives and how. */
enum kind { KIND_STRING, KIND_U8, KIND_U16, KIND_U32, KIND_U64, KIND_LIST };
struct field {
	uint8_t type;
	uint8_t kind;
	uint16_t max; /* strings: bytes; numbers: the largest value, 0 for any */
	size_t at;
};

#define M(t, k, max, member)                                                  \
	{                                                                     \
		M_##t, KIND_##k, max, offsetof(struct queue_envelope, member) \
	}
static const struct field message_fields[] = {
	M(ID, STRING, QUEUE_ID_MAX, id),
	M(ARRIVAL, U64, 0, arrival),
	M(SENDER, STRING, QUEUE_ADDRESS_MAX, sender),
	M(SIZE, U64, 0, size),
	M(HEADER_LEN, U32, 0, header_len),
	M(BODY_LEN, U64, 0, body_len),
	M(FLAGS, U32, 0, flags),
	M(BODY, U8, QUEUE_BODY_8BITMIME, body),
	M(RET, U8, QUEUE_RET_HDRS, ret),
	M(ENVID, STRING, QUEUE_STRING_MAX, envid),
	M(CLIENT_NAME, STRING, QUEUE_STRING_MAX, client_name),
	M(CLIENT_ADDR, STRING, QUEUE_STRING_MAX, client_addr),
	M(HELO, STRING, QUEUE_STRING_MAX, helo),
	M(PROTOCOL, STRING, QUEUE_STRING_MAX, protocol),
	M(CLIENT_PORT, U16, 0, client_port),
	M(LOGIN, STRING, QUEUE_STRING_MAX, login),
	M(UID, U32, 0, uid),
	M(SERVICE, STRING, QUEUE_STRING_MAX, service),
	M(FILTER, STRING, QUEUE_STRING_MAX, content_filter_next),
	M(DEADLINE, U64, 0, deadline),
	M(DELAY_WARNING, U64, 0, delay_warning),
	M(HOPS, U32, 0, hops),
	M(PARENT, STRING, QUEUE_ID_MAX, parent),
	M(REASON, U8, QUEUE_REASON_DELAY_COPY, reason),
	M(PARENT_RCPTS, LIST, QUEUE_PARENTS_MAX * 4, parent_rcpts),
	M(ORIGIN_NAME, STRING, QUEUE_STRING_MAX, origin_name),
	M(ORIGIN_ADDR, STRING, QUEUE_STRING_MAX, origin_addr),
	M(ORIGIN_HELO, STRING, QUEUE_STRING_MAX, origin_helo),
	M(ORIGIN_PROTOCOL, STRING, QUEUE_STRING_MAX, origin_protocol),
	M(ORIGIN_IDENT, STRING, QUEUE_STRING_MAX, origin_ident),
	M(ORIGIN_PORT, U16, 0, origin_port),
	M(VERP, STRING, 2, verp),
};

#define R(t, k, max, member)                                                   \
	{                                                                      \
		R_##t, KIND_##k, max, offsetof(struct queue_recipient, member) \
	}
static const struct field recipient_fields[] = {
	R(ADDRESS, STRING, QUEUE_ADDRESS_MAX, address),
	R(ORIG_TO, STRING, QUEUE_ADDRESS_MAX, orig_to),
	R(ORCPT, STRING, QUEUE_STRING_MAX, orcpt),
	R(NOTIFY, U8, 15, notify),
	R(CLASS, U8, QUEUE_CLASS_DEFAULT, class),
	R(TRANSPORT, STRING, QUEUE_STRING_MAX, transport),
	R(NEXTHOP, STRING, QUEUE_STRING_MAX, nexthop),
	R(REASON, STRING, QUEUE_STRING_MAX, reason),
	R(FLAGS, U32, 0, flags),
	R(PLAN, STRING, QUEUE_PLAN_MAX, plan),
	R(VIA, U16, 0, via),
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
_Static_assert(QUEUE_PARENTS_MAX * 4 <= UINT16_MAX, "a list fits its length");
_Static_assert(COUNT(message_fields) == M_TYPES - 1, "a row for each type");
_Static_assert(COUNT(recipient_fields) == R_TYPES - 1, "a row for each type");

static bool string_is_clean(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] == '\0' || s.p[i] == '\r' || s.p[i] == '\n')
			return false;
	}
	return true;
}

static void add_field(struct buf *out, uint8_t type, const void *p, size_t len)
{
	wire_u8(out, type);
	wire_u16(out, (uint16_t)len);
	buf_add(out, p, len);
}

static uint64_t number_at(const struct field *f, const char *base)
{
	const void *p = base + f->at;

	switch (f->kind) {
	case KIND_U8: return *(const uint8_t *)p;
	case KIND_U16: return *(const uint16_t *)p;
	case KIND_U32: return *(const uint32_t *)p;
	default: return *(const uint64_t *)p;
	}
}

static size_t number_size(uint8_t kind)
{
	static const uint8_t sizes[] = {
		[KIND_U8] = 1, [KIND_U16] = 2, [KIND_U32] = 4, [KIND_U64] = 8};

	return sizes[kind];
}

static bool number_is_allowed(const struct field *f, uint64_t v)
{
	return f->max == 0 || v <= f->max;
}

static int encode_fields(
	struct buf *out, const struct field *fields, size_t n, const void *from, uint8_t always)
{
	const char *base = from;

	for (const struct field *f = fields; f < fields + n; f++) {
		if (f->kind == KIND_STRING || f->kind == KIND_LIST) {
			struct slice s = *(const struct slice *)(const void *)(base + f->at);

			if (s.len > f->max || (f->kind == KIND_STRING && !string_is_clean(s)))
				return ERR_RANGE;
			if (s.len > 0 || f->type == always)
				add_field(out, f->type, s.p, s.len);
		} else {
			uint64_t v = number_at(f, base);
			char raw[8];

			if (!number_is_allowed(f, v))
				return ERR_RANGE;
			wire_put_u64(raw, v);
			if (v != 0)
				add_field(out, f->type, raw, number_size(f->kind));
		}
	}
	return buf_failed(out) ? ERR_LIMIT : 0;
}

static int put_number(const struct field *f, char *base, struct slice raw)
{
	char full[8] = {0};
	uint64_t v;
	void *p = base + f->at;

	if (raw.len != number_size(f->kind))
		return ERR_CORRUPT;
	memcpy(full, raw.p, raw.len);
	v = wire_get_u64(full);
	if (!number_is_allowed(f, v))
		return ERR_RANGE;
	switch (f->kind) {
	case KIND_U8: *(uint8_t *)p = (uint8_t)v; break;
	case KIND_U16: *(uint16_t *)p = (uint16_t)v; break;
	case KIND_U32: *(uint32_t *)p = (uint32_t)v; break;
	default: *(uint64_t *)p = v; break;
	}
	return 0;
}

static int put_field(const struct field *f, void *to, struct slice value)
{
	char *base = to;

	if (f->kind != KIND_STRING && f->kind != KIND_LIST)
		return put_number(f, base, value);
	if (value.len > f->max || (f->kind == KIND_STRING && !string_is_clean(value)) ||
		(f->kind == KIND_LIST && value.len % 4 != 0))
		return ERR_RANGE;
	*(struct slice *)(void *)(base + f->at) = value;
	return 0;
}

/* One field at the reader; types ascend, so none comes twice. *last starts with 0. */
static int decode_field(struct reader *r, const struct field *fields, size_t n, uint8_t minor,
	uint8_t *last, void *to)
{
	uint8_t type = reader_u8(r);
	uint16_t len = reader_u16(r);
	struct slice value = reader_bytes(r, len);

	if (r->err != 0)
		return ERR_SHORT;
	if (type <= *last)
		return ERR_CORRUPT;
	*last = type;
	if (type > n)
		return minor > MINOR ? 0 : ERR_CORRUPT;
	return put_field(&fields[type - 1], to, value);
}

int queue_recipient_encode(struct buf *out, const struct queue_recipient *r)
{
	size_t before = out->len;
	char head[2];
	int err;

	/* The length of a recipient is not known before: at most eleven fields of 1 KB fit u16. */
	buf_add(out, "\0\0", 2);
	err = encode_fields(out, recipient_fields, COUNT(recipient_fields), r, R_ADDRESS);
	if (err != 0) {
		if (!buf_failed(out))
			buf_truncate(out, before);
		return err;
	}
	wire_put_u16(head, (uint16_t)(out->len - before - 2));
	memcpy(out->data + out->start + before, head, 2);
	return 0;
}

/* Walks and checks all; also what the cursor relies on later. */
static int count_recipients(struct slice bytes, uint8_t minor, uint32_t *count)
{
	struct reader all = reader_of(bytes);

	*count = 0;
	while (all.in.len > 0) {
		struct queue_recipient rcpt = {0};
		struct reader one = reader_of(reader_bytes(&all, reader_u16(&all)));
		uint8_t last = 0;

		if (all.err != 0)
			return ERR_SHORT;
		do {
			int err = decode_field(&one, recipient_fields, COUNT(recipient_fields),
				minor, &last, &rcpt);

			if (err != 0)
				return err;
			if (rcpt.address.p == NULL)
				return ERR_CORRUPT;
		} while (one.in.len > 0);
		if (++*count > QUEUE_RECIPIENTS_MAX)
			return ERR_RANGE;
	}
	return 0;
}

int queue_envelope_encode(
	struct buf *out, const struct queue_envelope *env, struct slice recipients)
{
	size_t before = out->len;
	uint32_t count;
	char raw[4];
	int err;

	if (!queue_id_is_valid(env->id) || (env->parent.len > 0 && !queue_id_is_valid(env->parent)))
		return ERR_RANGE;
	err = count_recipients(recipients, MINOR, &count);
	if (err != 0)
		return err;
	wire_u32(out, MAGIC);
	wire_u8(out, MAJOR);
	wire_u8(out, MINOR);
	wire_u16(out, 0);
	wire_u32(out, count);
	wire_u32(out, 0);
	err = encode_fields(out, message_fields, COUNT(message_fields), env, M_ID);
	if (err == 0) {
		wire_put_u32(raw, (uint32_t)(out->len - before - HEAD));
		memcpy(out->data + out->start + before + 12, raw, 4);
		err = buf_add_slice(out, recipients);
	}
	if (err == 0 && out->len - before > QUEUE_ENVELOPE_MAX)
		err = ERR_LIMIT;
	return err;
}

static int check_envelope(const struct queue_envelope *env, uint32_t count)
{
	uint32_t n = queue_parent_count(env);

	if (env->recipients != count || !queue_id_is_valid(env->id) || env->arrival < 0 ||
		env->deadline < 0 || env->delay_warning < 0 || env->verp.len == 1)
		return ERR_CORRUPT;
	if (env->parent.len > 0 && !queue_id_is_valid(env->parent))
		return ERR_CORRUPT;
	if ((env->parent.len == 0) != (env->reason == QUEUE_REASON_NONE))
		return ERR_CORRUPT;
	if ((env->body_len > 0) && !(env->flags & QUEUE_FLAG_BODY_FILE))
		return ERR_CORRUPT;
	for (uint32_t i = 1; i < n; i++) {
		if (queue_parent_at(env, i) <= queue_parent_at(env, i - 1))
			return ERR_CORRUPT;
	}
	return 0;
}

/* All but the recipients; count: how many it says that there are. */
static int decode_message(struct slice in, struct queue_envelope *env, uint32_t *count)
{
	struct reader r = reader_of(in);
	struct reader fields;
	uint8_t last = 0, major;
	uint32_t magic;
	int err;

	*env = (struct queue_envelope){0};
	if (in.len > QUEUE_ENVELOPE_MAX)
		return ERR_RANGE;
	magic = reader_u32(&r);
	major = reader_u8(&r);
	env->minor = reader_u8(&r);
	reader_skip(&r, 2);
	*count = reader_u32(&r);
	fields = reader_of(reader_bytes(&r, reader_u32(&r)));
	if (r.err != 0)
		return ERR_SHORT;
	if (magic != MAGIC)
		return ERR_CORRUPT;
	if (major != MAJOR)
		return ERR_RANGE;
	while (fields.in.len > 0) {
		err = decode_field(
			&fields, message_fields, COUNT(message_fields), env->minor, &last, env);
		if (err != 0)
			return err;
	}
	env->rcpt_bytes = r.in;
	return 0;
}

int queue_envelope_decode(struct slice in, struct queue_envelope *env)
{
	uint32_t count = 0;
	int err = decode_message(in, env, &count);

	if (err == 0)
		err = count_recipients(env->rcpt_bytes, env->minor, &env->recipients);
	return err != 0 ? err : check_envelope(env, count);
}

void queue_envelope_again(struct slice in, struct queue_envelope *env)
{
	uint32_t count;

	if (decode_message(in, env, &count) != 0)
		log_panic("an envelope that was good is not");
}

void queue_recipient_at(const struct queue_envelope *env, uint32_t offset, uint32_t index,
	struct queue_recipient *r)
{
	queue_recipient_in(env->rcpt_bytes, offset, index, r);
}

void queue_recipient_in(
	struct slice rcpt_bytes, uint32_t offset, uint32_t index, struct queue_recipient *r)
{
	struct reader all = reader_of(slice_from(rcpt_bytes, offset));
	struct reader one = reader_of(reader_bytes(&all, reader_u16(&all)));
	uint8_t last = 0;

	*r = (struct queue_recipient){0};
	/* decode has checked it; what a newer minor added is passed over. */
	while (one.in.len > 0 && decode_field(&one, recipient_fields, COUNT(recipient_fields),
					 UINT8_MAX, &last, r) == 0)
		;
	r->index = index;
}

bool queue_recipient_next(const struct queue_envelope *env, uint32_t *offset, uint32_t *index,
	struct queue_recipient *r)
{
	struct reader all = reader_of(slice_from(env->rcpt_bytes, *offset));
	uint16_t len;

	if (all.in.len < 2) {
		*r = (struct queue_recipient){0};
		return false;
	}
	queue_recipient_at(env, *offset, *index, r);
	len = reader_u16(&all);
	*offset += 2u + len;
	*index += 1;
	return true;
}

struct queue_client queue_envelope_client(const struct queue_envelope *env)
{
	if (env->flags & QUEUE_FLAG_FORWARDED)
		return (struct queue_client){env->origin_name, env->origin_addr, env->origin_helo,
			env->origin_protocol, env->origin_port};
	return (struct queue_client){
		env->client_name, env->client_addr, env->helo, env->protocol, env->client_port};
}

uint32_t queue_parent_count(const struct queue_envelope *env)
{
	return (uint32_t)(env->parent_rcpts.len / 4);
}

uint32_t queue_parent_at(const struct queue_envelope *env, uint32_t i)
{
	return wire_get_u32(env->parent_rcpts.p + (size_t)i * 4);
}

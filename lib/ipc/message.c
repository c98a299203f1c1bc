/* SPDX-License-Identifier: ISC */
#include "ipc/ipc_priv.h"

#include "util/err.h"
#include "util/log.h"
#include "util/wire.h"

/* Reading a message. */

bool ipc_next(const struct ipc_msg *m, enum proto_field f, size_t *at, struct slice *value)
{
	struct reader in = reader_of(slice_from(m->body, *at));

	*value = SLICE_NONE;
	while (in.in.len > 0) {
		unsigned number = reader_u8(&in);
		struct slice v;

		reader_u8(&in);
		v = reader_bytes(&in, reader_u16(&in));
		if (in.err != 0)
			break;
		if (number == (unsigned)f) {
			*at = m->body.len - in.in.len;
			*value = v;
			return true;
		}
	}
	*at = m->body.len;
	return false;
}

bool ipc_next_u64(const struct ipc_msg *m, enum proto_field f, size_t *at, uint64_t *value)
{
	struct slice v;
	bool found = ipc_next(m, f, at, &v);

	*value = found && v.len == 8 ? wire_get_u64(v.p) : 0;
	return found;
}

struct slice ipc_bytes(const struct ipc_msg *m, enum proto_field f)
{
	struct slice v;
	size_t at = 0;

	ipc_next(m, f, &at, &v);
	return v;
}

uint64_t ipc_u64(const struct ipc_msg *m, enum proto_field f)
{
	uint64_t v;
	size_t at = 0;

	ipc_next_u64(m, f, &at, &v);
	return v;
}

bool ipc_has(const struct ipc_msg *m, enum proto_field f)
{
	struct slice v;
	size_t at = 0;

	return ipc_next(m, f, &at, &v);
}

int ipc_take_fd(struct ipc_msg *m)
{
	int fd = m->fd;

	m->fd = -1;
	return fd;
}

/* Building a frame. */

uint64_t ipc_ask(struct ipc *c)
{
	return ++c->last_mine;
}

void ipc_begin(struct ipc *c, enum proto_msg type, uint64_t id)
{
	if (c->type != 0)
		log_panic("ipc: %s begun inside %s", proto_name(type), proto_name(c->type));
	c->type = type;
	c->id = id;
	c->frame = c->out.len;
	wire_u32(&c->out, 0);
	wire_u16(&c->out, (uint16_t)type);
	wire_u16(&c->out, 0);
	wire_u64(&c->out, id);
}

size_t ipc_frame_room(const struct ipc *c)
{
	size_t used = c->out.len - c->frame + PROTO_FIELD_HEAD;

	return used < IPC_FRAME_LIMIT ? IPC_FRAME_LIMIT - used : 0;
}

static void put(struct ipc *c, enum proto_field f, unsigned type, struct slice s)
{
	if (s.len > UINT16_MAX)
		log_panic("ipc: field %d of %s has %zu bytes", (int)f, proto_name(c->type), s.len);
	wire_u8(&c->out, (uint8_t)f);
	wire_u8(&c->out, (uint8_t)type);
	wire_u16(&c->out, (uint16_t)s.len);
	buf_add_slice(&c->out, s);
}

void ipc_put_u64(struct ipc *c, enum proto_field f, uint64_t v)
{
	char bytes[8];

	wire_put_u64(bytes, v);
	put(c, f, PROTO_TYPE_U64, slice_of(bytes, sizeof(bytes)));
}

void ipc_put_bytes(struct ipc *c, enum proto_field f, struct slice s)
{
	put(c, f, PROTO_TYPE_BYTES, s);
}

void ipc_put_text(struct ipc *c, enum proto_field f, struct slice s)
{
	size_t max = proto_field_max(f), at;
	char *p;

	if (s.len > max)
		s.len = max;
	put(c, f, PROTO_TYPE_TEXT, s);
	if (slice_is_printable(s))
		return;
	at = c->out.len - s.len;
	p = c->out.data + c->out.start + at;
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)p[i] < 32 || p[i] == 127)
			p[i] = '?';
}

void ipc_put_str(struct ipc *c, enum proto_field f, const char *s)
{
	ipc_put_text(c, f, slice_str(s));
}

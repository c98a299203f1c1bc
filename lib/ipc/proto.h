/* SPDX-License-Identifier: ISC */
#ifndef IPC_PROTO_H
#define IPC_PROTO_H

#include "ipc/role.h"
#include "util/buf.h"

/*
 * proto.def as code: numbers of messages and fields, and the checks that its rows ask for. The
 * protocol version changes when a row changes its meaning; master starts one build only.
 */
enum { PROTO_VERSION = 1 };

enum proto_msg {
	PROTO_NONE = 0,
#define FIELD(number, name, type, max, text)
#define MESSAGE(number, name, from, to, kind, needs, then, fields, text) PROTO_##name = (number),
#include "ipc/proto.def"
#undef FIELD
#undef MESSAGE
};

enum proto_field {
	FIELD_NONE = 0,
#define FIELD(number, name, type, max, text) FIELD_##name = (number),
#define MESSAGE(number, name, from, to, kind, needs, then, fields, text)
#include "ipc/proto.def"
#undef FIELD
#undef MESSAGE
};

/* Values of the field RESULT. */
enum proto_result {
	RESULT_OK = 0,        /* done; of a recipient: delivered */
	RESULT_DEFERRED = 1,  /* try again later */
	RESULT_FAILED = 2,    /* permanent */
	RESULT_REROUTE = 3,   /* another transport is to deliver it */
	RESULT_NOT_FOUND = 4, /* certainly not there */
	RESULT_EXPIRED = 5,   /* gave up */
	RESULT_UNTRIED = 6,   /* withdrawn before anything was done */
	RESULT_PASSED = 7,    /* lives on in a new message that names this one as its parent */
};

enum proto_kind {
	KIND_EVENT,
	KIND_ASK,
	KIND_ASK_CREDIT,
	KIND_ASK_LAST,
	KIND_ANSWER,
	KIND_ANSWER_GRANTS
};

/* States of a request on a connection, as bits. */
enum proto_state {
	STATE_SAME = 0,
	STATE_NONE = 1 << 0,
	STATE_ASKED = 1 << 1,
	STATE_OPEN = 1 << 2,
	STATE_ENDED = 1 << 3,
	STATE_COMMITTED = 1 << 4,
	STATE_GOING = 1 << 5,
	STATE_CLOSING = 1 << 6,
};

struct proto_row {
	const char *name;
	unsigned from, to; /* sets of 1 << role */
	enum proto_kind kind;
	unsigned needs;
	enum proto_state then;
};

/* NULL: no such message. */
const struct proto_row *proto_row(unsigned type);
const char *proto_name(unsigned type);
/* The most bytes of a field. */
size_t proto_field_max(unsigned field);
/*
 * Whether body is fields as the message's row wants them: known, of their type and length, none
 * missing, none twice. On failure why says which and where. ERR_SYNTAX.
 */
int proto_check(unsigned type, struct slice body, struct buf *why);
/* One line: name, id, fields; BYTES as their length. For logs and the dump tool. */
void proto_dump(struct buf *out, unsigned type, uint64_t id, struct slice body);
/* All rows as text for the manual page. */
void proto_describe(struct buf *out);

/* A field in a frame: u8 number, u8 type, u16 length, bytes. */
enum { PROTO_FIELD_HEAD = 4, PROTO_TYPE_U64 = 1, PROTO_TYPE_TEXT, PROTO_TYPE_BYTES };

#endif

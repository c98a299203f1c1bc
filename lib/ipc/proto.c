/* SPDX-License-Identifier: ISC */
#include "ipc/proto.h"

#include <inttypes.h>

#include "util/err.h"
#include "util/log.h"
#include "util/wire.h"

enum type { U64 = PROTO_TYPE_U64, TEXT = PROTO_TYPE_TEXT, BYTES = PROTO_TYPE_BYTES };
enum rule { RULE_END, RULE_ONE, RULE_OPT, RULE_MANY };

struct field {
	const char *name;
	enum type type;
	size_t max;
	const char *text;
};

struct field_rule {
	uint8_t field, rule;
};

struct message {
	struct proto_row row;
	const struct field_rule *rules;
	const char *text;
};

static const struct field fields[256] = {
#define FIELD(number, name, type, max, text) [number] = {#name, type, max, text},
#define MESSAGE(number, name, from, to, kind, needs, then, fields, text)
#include "ipc/proto.def"
#undef FIELD
#undef MESSAGE
};

/* The rules of each message's fields, one array a message. */
#define F(...) __VA_ARGS__
#define ONE(f) {FIELD_##f, RULE_ONE},
#define OPT(f) {FIELD_##f, RULE_OPT},
#define MANY(f) {FIELD_##f, RULE_MANY},
#define FIELD(number, name, type, max, text)
#define MESSAGE(number, name, from, to, kind, needs, then, fields, text) \
	static const struct field_rule rules_##name[] = {fields{0, RULE_END}};
#include "ipc/proto.def"
#undef FIELD
#undef MESSAGE

/* The words that stand for roles, kinds and states in the rows. */
enum {
	MASTER = 1 << ROLE_MASTER,
	SMTPD = 1 << ROLE_SMTPD,
	CLEANUP = 1 << ROLE_CLEANUP,
	QMGR = 1 << ROLE_QMGR,
	KEEPER = 1 << ROLE_KEEPER,
	CLIENT = 1 << ROLE_CLIENT,
	LOCAL = 1 << ROLE_LOCAL,
	VAULT = 1 << ROLE_VAULT,
	RESOLVER = 1 << ROLE_RESOLVER,
	TALLY = 1 << ROLE_TALLY,
	MONITOR = 1 << ROLE_MONITOR,
	TOOL = 1 << ROLE_TOOL,
	NSS = 1 << ROLE_NSS,
	WORKERS =
		SMTPD | CLEANUP | QMGR | CLIENT | LOCAL | VAULT | RESOLVER | TALLY | MONITOR | NSS,
	AUTHORS = SMTPD | LOCAL,
	DELIVERERS = CLIENT | LOCAL,
};
#define EVENT KIND_EVENT
#define ASK KIND_ASK
#define ASK_CREDIT KIND_ASK_CREDIT
#define ASK_LAST KIND_ASK_LAST
#define ANSWER KIND_ANSWER
#define ANSWER_GRANTS KIND_ANSWER_GRANTS
#define SAME STATE_SAME
#define NONE STATE_NONE
#define ASKED STATE_ASKED
#define OPEN STATE_OPEN
#define ENDED STATE_ENDED
#define COMMITTED STATE_COMMITTED
#define GOING STATE_GOING
#define CLOSING STATE_CLOSING

static const struct message messages[] = {
#define FIELD(number, name, type, max, text)
#define MESSAGE(number, name, from, to, kind, needs, then, fields, text) \
	[number] = {{#name, from, to, kind, needs, then}, rules_##name, text},
#include "ipc/proto.def"
#undef FIELD
#undef MESSAGE
};

enum { MESSAGES = sizeof(messages) / sizeof(messages[0]) };

const struct proto_row *proto_row(unsigned type)
{
	if (type >= MESSAGES || messages[type].row.name == NULL)
		return NULL;
	return &messages[type].row;
}

const char *proto_name(unsigned type)
{
	const struct proto_row *row = proto_row(type);

	return row != NULL ? row->name : "unknown";
}

size_t proto_field_max(unsigned field)
{
	return field < 256 ? fields[field].max : 0;
}

static int check_value(const struct field *f, unsigned type, struct slice value, struct buf *why)
{
	if (type != f->type) {
		buf_add_fmt(why, "field %s has type %u", f->name, type);
		return ERR_SYNTAX;
	}
	if (value.len > f->max || (type == U64 && value.len != 8)) {
		buf_add_fmt(why, "field %s has %zu bytes", f->name, value.len);
		return ERR_SYNTAX;
	}
	if (type == TEXT && !slice_is_printable(value)) {
		buf_add_fmt(why, "field %s holds a control character", f->name);
		return ERR_SYNTAX;
	}
	return 0;
}

static const struct field_rule *find_rule(const struct message *m, unsigned field)
{
	for (const struct field_rule *r = m->rules; r->rule != RULE_END; r++)
		if (r->field == field)
			return r;
	return NULL;
}

int proto_check(unsigned type, struct slice body, struct buf *why)
{
	const struct message *m = &messages[type];
	struct reader in = reader_of(body);
	uint8_t seen[256] = {0};
	int err;

	if (proto_row(type) == NULL) {
		buf_add_fmt(why, "message %u is unknown", type);
		return ERR_SYNTAX;
	}
	while (in.in.len > 0) {
		unsigned number = reader_u8(&in), kind = reader_u8(&in);
		struct slice value = reader_bytes(&in, reader_u16(&in));
		const struct field_rule *rule = find_rule(m, number);

		if (in.err != 0) {
			buf_add_str(why, "a field is cut short");
			return ERR_SYNTAX;
		}
		if (rule == NULL) {
			buf_add_fmt(why, "field %u does not belong to %s", number, m->row.name);
			return ERR_SYNTAX;
		}
		if (seen[number] && rule->rule != RULE_MANY) {
			buf_add_fmt(why, "field %s stands twice", fields[number].name);
			return ERR_SYNTAX;
		}
		seen[number] = 1;
		err = check_value(&fields[number], kind, value, why);
		if (err != 0)
			return err;
	}
	for (const struct field_rule *r = m->rules; r->rule != RULE_END; r++)
		if (r->rule == RULE_ONE && !seen[r->field]) {
			buf_add_fmt(why, "field %s is missing", fields[r->field].name);
			return ERR_SYNTAX;
		}
	return 0;
}

void proto_dump(struct buf *out, unsigned type, uint64_t id, struct slice body)
{
	struct reader in = reader_of(body);

	buf_add_fmt(out, "%s %" PRIu64, proto_name(type), id);
	while (in.in.len > 0 && in.err == 0) {
		unsigned number = reader_u8(&in), kind = reader_u8(&in);
		struct slice value = reader_bytes(&in, reader_u16(&in));
		const char *name = fields[number].name != NULL ? fields[number].name : "?";

		if (in.err != 0)
			buf_add_str(out, " (cut short)");
		else if (kind == U64 && value.len == 8)
			buf_add_fmt(out, " %s=%" PRIu64, name, wire_get_u64(value.p));
		else if (kind == TEXT) {
			buf_add_fmt(out, " %s=<", name);
			log_quote(out, value, 256);
			buf_add_char(out, '>');
		} else
			buf_add_fmt(out, " %s=(%zu bytes)", name, value.len);
	}
}

static void describe_roles(struct buf *out, unsigned set)
{
	const char *sep = "";

	if (set == WORKERS) {
		buf_add_str(out, "any");
		return;
	}
	for (unsigned r = 0; r < ROLE_COUNT; r++)
		if (set & (1u << r)) {
			buf_add_fmt(out, "%s%s", sep, role_name((enum role)r));
			sep = ", ";
		}
}

void proto_describe(struct buf *out)
{
	static const char *const kinds[] = {
		"event", "ask", "ask, counted", "last", "answer", "answer, grants"};
	static const char *const rules[] = {"", "", "?", "*"};

	for (unsigned i = 0; i < MESSAGES; i++) {
		const struct message *m = &messages[i];

		if (m->row.name == NULL)
			continue;
		buf_add_fmt(out, "%u\t%s\t", i, m->row.name);
		describe_roles(out, m->row.from);
		buf_add_str(out, "\t");
		describe_roles(out, m->row.to);
		buf_add_fmt(out, "\t%s\t", kinds[m->row.kind]);
		for (const struct field_rule *r = m->rules; r->rule != RULE_END; r++)
			buf_add_fmt(out, "%s%s%s", r == m->rules ? "" : " ", fields[r->field].name,
				rules[r->rule]);
		buf_add_fmt(out, "\t%s\n", m->text);
	}
}

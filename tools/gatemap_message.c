/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <stdlib.h>

#include "mail/header.h"
#include "tools/gatemap.h"
#include "util/mem.h"

/*
 * A message on standard input as the keys that header_checks and body_checks would see (RFC 5322,
 * 2.2; RFC 2046, 5.1): each header field with its continuation lines, each line of the body.
 * Without MIME all behind the first header section is body. A malformed message has no error, only
 * a body.
 */
enum { DEPTH_LIMIT = 100, FIELD_LIMIT = 102400, BOUNDARY_LIMIT = 2048 };

enum part { PART_TEXT, PART_MULTIPART, PART_MESSAGE };

struct level {
	char *boundary;
	bool is_digest; /* its parts are messages where they do not say what they are */
};

struct message {
	void (*use)(struct slice key, void *arg);
	void *arg;
	bool in_header;
	bool is_mime_header; /* of a part; such a section may be missing without a trace */
	struct buf field;
	enum part part; /* what the present header section announces */
	struct level next, levels[DEPTH_LIMIT];
	size_t depth;
};

static void use_body(struct message *m, struct slice line)
{
	if (gatemap_options.body)
		m->use(line, m->arg);
}

/* Content-Type: multipart/mixed; charset=x; boundary="a b" */
static bool find_boundary(struct slice value, struct buf *out)
{
	struct slice rest = value, part;
	while (slice_part(&rest, ';', &part)) {
		ptrdiff_t equals = slice_find(part, '=');
		if (equals < 0 || !slice_case_eq_str(slice_trim(slice_first(part, (size_t)equals)),
					  "boundary"))
			continue;
		/* A quoted value may hold a semicolon. */
		size_t behind = (size_t)(part.p - value.p) + (size_t)equals + 1;
		struct slice text = slice_trim(slice_from(value, behind));
		bool quoted = slice_starts(text, "\"");
		for (size_t i = quoted; i < text.len; i++) {
			char c = text.p[i];
			if (quoted ? c == '"' : c == ';' || c == ' ' || c == '\t' || c == '\n')
				break;
			if (c == '\\' && quoted && i + 1 < text.len)
				c = text.p[++i];
			buf_add_char(out, c);
		}
		return out->len > 0 && !buf_failed(out);
	}
	return false;
}

static bool has_type(struct slice value, const char *type)
{
	struct slice rest = value, first = SLICE_NONE;
	return slice_part(&rest, ';', &first) && slice_case_starts(slice_trim(first), type);
}

static void take_type(struct message *m, struct slice value)
{
	struct buf boundary = BUF_INIT(BOUNDARY_LIMIT);
	m->part = PART_TEXT;
	if (has_type(value, "message/rfc822"))
		m->part = PART_MESSAGE;
	else if (has_type(value, "multipart/") && find_boundary(value, &boundary)) {
		m->part = PART_MULTIPART;
		mem_free(m->next.boundary);
		m->next.boundary = mem_str(buf_str(&boundary));
		m->next.is_digest = has_type(value, "multipart/digest");
	}
	buf_clear(&boundary);
}

static void end_field(struct message *m)
{
	struct slice field = buf_slice(&m->field);
	if (field.len == 0)
		return;
	size_t name = header_name_len(field);
	if (gatemap_options.mime &&
		slice_case_eq_str(slice_trim(slice_first(field, name)), "content-type"))
		take_type(m, slice_from(field, (size_t)slice_find(field, ':') + 1));
	if (gatemap_options.headers && (gatemap_options.mime || !m->is_mime_header))
		m->use(field, m->arg);
	buf_reset(&m->field);
}

static void begin_header(struct message *m, bool is_mime_header)
{
	m->in_header = true;
	m->is_mime_header = is_mime_header;
	m->part = PART_TEXT;
	if (is_mime_header && m->levels[m->depth - 1].is_digest)
		m->part = PART_MESSAGE;
}

static void end_header(struct message *m)
{
	end_field(m);
	m->in_header = false;
	if (m->part == PART_MULTIPART && m->depth < DEPTH_LIMIT) {
		m->levels[m->depth++] = m->next;
		m->next = (struct level){0};
	}
}

static void drop_levels(struct message *m, size_t depth)
{
	while (m->depth > depth)
		mem_free(m->levels[--m->depth].boundary);
}

/* Is line a delimiter of one of the multiparts that we are in? An outer one ends the inner ones. */
static bool take_delimiter(struct message *m, struct slice line)
{
	if (!slice_starts(line, "--"))
		return false;
	for (size_t i = m->depth; i > 0; i--) {
		const char *boundary = m->levels[i - 1].boundary;
		if (!slice_starts(slice_from(line, 2), boundary))
			continue;
		if (m->in_header)
			end_field(m);
		m->in_header = false;
		bool is_last = slice_starts(slice_from(line, 2 + strlen(boundary)), "--");
		drop_levels(m, is_last ? i - 1 : i);
		use_body(m, line);
		if (!is_last)
			begin_header(m, true);
		return true;
	}
	return false;
}

/* A line in a header section; false when it belongs to the body already. */
static bool take_header_line(struct message *m, struct slice line)
{
	bool is_blank = line.len > 0 && (line.p[0] == ' ' || line.p[0] == '\t');
	if (is_blank && m->field.len > 0) {
		buf_add_char(&m->field, '\n');
		buf_add_slice(&m->field, line);
		return true;
	}
	if (!is_blank && header_name_len(line) > 0) {
		end_field(m);
		buf_add_slice(&m->field, line);
		return true;
	}
	end_header(m);
	if (line.len == 0 || !m->is_mime_header)
		use_body(m, SLICE_NONE);
	if (m->part == PART_MESSAGE && line.len == 0)
		begin_header(m, false);
	return line.len == 0;
}

static void take_line(struct slice line, void *arg)
{
	struct message *m = arg;
	if (m->depth > 0 && take_delimiter(m, line))
		return;
	if (m->in_header && take_header_line(m, line))
		return;
	use_body(m, line);
}

void gatemap_message(void (*use)(struct slice key, void *arg), void *arg)
{
	struct message m = {.use = use, .arg = arg, .in_header = true};
	buf_init(&m.field, FIELD_LIMIT);
	gatemap_each_line(take_line, &m);
	end_field(&m);
	drop_levels(&m, 0);
	mem_free(m.next.boundary);
	buf_clear(&m.field);
}

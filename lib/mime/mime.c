/* SPDX-License-Identifier: ISC */
#include "mime/mime.h"

#include "mail/header.h"

/* Raw bytes in which a line of MIME_LINE has its end. */
enum { WINDOW = MIME_LINE + 2 };

static const struct mime_part plain = {MIME_TEXT, MIME_PLAIN, MIME_7BIT, MIME_7BIT};

void mime_init(struct mime *m, const struct mime_limits *limits, int options)
{
	*m = (struct mime){.part = plain, .limits = *limits, .options = options};
	m->after_line = true;
	buf_init(&m->line, WINDOW);
	buf_init(&m->field, limits->header + WINDOW);
}

/* ---- Lines. ---- */

/* A piece that may hold its line end, off what stands in one place. */
static void set_piece(struct mime *m, struct slice raw)
{
	size_t eol = slice_ends(raw, "\r\n") ? 2 : slice_ends(raw, "\n") ? 1 : 0;

	m->text = slice_first(raw, raw.len - eol);
	m->eol = slice_from(raw, raw.len - eol);
	m->begins = m->after_line;
	m->after_line = eol > 0;
	m->has_piece = true;
}

/*
 * Bytes of the next piece of a line whose begin stands in s: to the line end; MIME_LINE where there
 * is none in the window; 0: cannot be said yet.
 */
static size_t piece_len(struct slice s, bool is_last)
{
	struct slice window = slice_first(s, WINDOW);
	ptrdiff_t lf = slice_find(window, '\n');

	if (lf >= 0)
		return (size_t)lf + 1;
	if (window.len == WINDOW)
		return MIME_LINE;
	return !is_last ? 0 : window.len < MIME_LINE ? window.len : MIME_LINE;
}

/* The same where the line's begin came with an earlier chunk. */
static bool take_gathered(struct mime *m, struct slice *in, bool is_last)
{
	struct slice more = slice_first(*in, WINDOW - m->line.len);
	ptrdiff_t lf = slice_find(more, '\n');

	/* What stands in line already holds no line end. */
	more = lf >= 0 ? slice_first(more, (size_t)lf + 1) : more;
	(void)buf_add_slice(&m->line, more);
	*in = slice_from(*in, more.len);
	m->taken = piece_len(buf_slice(&m->line), is_last);
	if (m->taken > 0)
		set_piece(m, slice_first(buf_slice(&m->line), m->taken));
	return m->taken > 0;
}

/* The next piece of input into text and eol. False: more input is needed, or it has ended. */
static bool take_piece(struct mime *m, struct slice *in, bool is_last)
{
	size_t n;

	buf_consume(&m->line, m->taken);
	m->taken = 0;
	if (m->line.len > 0)
		return take_gathered(m, in, is_last);
	n = piece_len(*in, is_last);
	if (n == 0) {
		(void)buf_add_slice(&m->line, *in);
		*in = slice_from(*in, in->len);
		return false;
	}
	set_piece(m, slice_first(*in, n));
	*in = slice_from(*in, n);
	return true;
}

/* ---- Header sections. ---- */

static enum mime_field kind_of(struct slice name)
{
	static const struct {
		const char *name;
		enum mime_field field;
	} fields[] = {
		{"content-type", MIME_CONTENT_TYPE},
		{"content-transfer-encoding", MIME_CONTENT_TRANSFER_ENCODING},
		{"content-description", MIME_CONTENT_FIELD},
		{"content-disposition", MIME_CONTENT_FIELD},
		{"content-id", MIME_CONTENT_FIELD},
		{"mime-version", MIME_VERSION},
	};

	if (name.len < sizeof("content-id") - 1)
		return MIME_OTHER_FIELD;
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (slice_case_eq_str(name, fields[i].name))
			return fields[i].field;
	return MIME_OTHER_FIELD;
}

/* The field that was gathered is whole, or cut. */
static enum mime_event give_field(struct mime *m, struct mime_data *e)
{
	struct slice text = buf_slice(&m->field);

	e->text = text;
	e->name = slice_first(text, header_name_len(text));
	e->section = m->section;
	e->field = kind_of(e->name);
	if (e->field == MIME_CONTENT_TYPE)
		mime_take_type(m, slice_from(text, (size_t)slice_find(text, ':') + 1));
	else if (e->field == MIME_CONTENT_TRANSFER_ENCODING)
		mime_take_encoding(m, slice_from(text, (size_t)slice_find(text, ':') + 1));
	if ((m->options & MIME_LOOK_8BIT) && !slice_is_ascii(text))
		m->errors |= MIME_ERR_8BIT_HEADER;
	m->in_field = false;
	return MIME_HEADER;
}

static void add_to_field(struct mime *m)
{
	(void)buf_add_slice(&m->field, m->text);
	(void)buf_add_slice(&m->field, m->eol);
	m->has_piece = false;
}

static bool continues(const struct mime *m)
{
	return !m->begins || (m->text.len > 0 && (m->text.p[0] == ' ' || m->text.p[0] == '\t'));
}

static enum mime_event give_rest(struct mime *m, struct mime_data *e)
{
	e->text = m->text;
	e->eol = m->eol;
	e->section = m->section;
	m->has_piece = false;
	return MIME_REST;
}

/* Whether the part may have such an encoding (RFC 2045, 6.4; RFC 2046, 5.2.2 and 5.2.3). */
static void check_encoding(struct mime *m)
{
	const struct mime_part *p = &m->part;
	bool is_message = p->type == MIME_MESSAGE;
	bool is_part = p->subtype == MIME_PARTIAL || p->subtype == MIME_EXTERNAL_BODY;
	bool is_bad = p->encoding != p->domain;

	if (is_message && is_part)
		is_bad = p->domain != MIME_7BIT;
	if (is_bad && (is_message || p->type == MIME_MULTIPART_TYPE))
		m->errors |= MIME_ERR_ENCODING;
}

/* The piece at hand, or the end, is no field. */
static enum mime_event end_section(struct mime *m, struct mime_data *e)
{
	e->section = m->section;
	e->is_blank = m->has_piece && m->text.len == 0 && m->eol.len > 0;
	check_encoding(m);
	m->in_body = true;
	return MIME_HEAD_END;
}

/* One step in a section; MIME_MORE: the piece was taken in. */
static enum mime_event in_section(struct mime *m, struct mime_data *e)
{
	if (m->in_rest && continues(m))
		return give_rest(m, e);
	m->in_rest = false;
	if (m->in_field) {
		if (!continues(m))
			return give_field(m, e);
		if (m->field.len < m->limits.header) {
			add_to_field(m);
			return MIME_MORE;
		}
		m->errors |= MIME_ERR_LONG_HEADER;
		m->in_rest = true;
		return give_field(m, e);
	}
	if (!m->begins || header_name_len(m->text) == 0)
		return end_section(m, e);
	buf_reset(&m->field);
	m->in_field = true;
	add_to_field(m);
	return MIME_MORE;
}

/* ---- Bodies. ---- */

/* What follows the empty line behind a section. */
static void begin_body(struct mime *m)
{
	struct mime_part *p = &m->part;

	if (p->type == MIME_MESSAGE &&
		(p->subtype == MIME_RFC822 || (m->options & MIME_ALL_MESSAGES) != 0)) {
		*p = plain;
		m->section = MIME_NESTED;
		m->in_body = false;
	} else if (p->type == MIME_MULTIPART_TYPE) {
		/* Text before the first boundary. */
		*p = (struct mime_part){.encoding = MIME_7BIT};
	}
}

static enum mime_event give_line(struct mime *m, struct mime_data *e, bool is_blank)
{
	e->text = m->text;
	e->eol = m->eol;
	e->begins = m->begins;
	m->has_piece = false;
	if (is_blank)
		begin_body(m);
	else if (m->begins && m->depth > 0 && slice_starts(m->text, "--"))
		(void)mime_take_boundary(m, slice_from(m->text, 2));
	if ((m->options & MIME_LOOK_8BIT) && m->part.encoding == MIME_7BIT &&
		!slice_is_ascii(e->text))
		m->errors |= MIME_ERR_8BIT_BODY;
	return MIME_BODY;
}

/* MIME_PRIMARY_ONLY: what there is, whatever it is. */
static enum mime_event give_rest_of_input(struct mime *m, struct slice *in, struct mime_data *e)
{
	if (m->has_piece) {
		e->text = m->text;
		e->eol = m->eol;
		m->has_piece = false;
		return MIME_BODY;
	}
	buf_consume(&m->line, m->taken);
	m->taken = m->line.len;
	e->text = buf_slice(&m->line);
	if (e->text.len == 0) {
		e->text = *in;
		*in = slice_from(*in, in->len);
	}
	return e->text.len > 0 ? MIME_BODY : MIME_MORE;
}

static enum mime_event in_rest_of_input(
	struct mime *m, struct slice *in, bool is_last, struct mime_data *e)
{
	enum mime_event event = give_rest_of_input(m, in, e);

	if (event == MIME_MORE && is_last) {
		m->is_ended = true;
		return MIME_END;
	}
	return event;
}

enum mime_event mime_next(struct mime *m, struct slice *in, bool is_last, struct mime_data *e)
{
	bool is_blank = m->at_blank;

	*e = (struct mime_data){0};
	m->at_blank = false;
	while (!m->is_ended) {
		enum mime_event event;

		if (m->in_body && (m->options & MIME_PRIMARY_ONLY))
			return in_rest_of_input(m, in, is_last, e);
		if (!m->has_piece && !take_piece(m, in, is_last)) {
			if (!is_last)
				return MIME_MORE;
			if (m->in_field)
				return give_field(m, e);
			m->is_ended = true;
			return m->in_body ? MIME_END : end_section(m, e);
		}
		if (m->in_body)
			return give_line(m, e, is_blank);
		event = in_section(m, e);
		if (event == MIME_HEAD_END)
			m->at_blank = e->is_blank;
		if (event != MIME_MORE)
			return event;
	}
	return MIME_END;
}

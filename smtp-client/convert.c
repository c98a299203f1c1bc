/* SPDX-License-Identifier: ISC */
#include "smtp-client/convert.h"

#include "conf/conf.h"
#include "mail/header.h"
#include "mime/b64.h"
#include "mime/qp.h"
#include "smtp-client/checks.h"
#include "smtp-client/generic.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

enum {
	ENOUGH = 16 * 1024, /* of output, before it is given out */
	ROOM = 256 * 1024,  /* for what a table makes of one field */
	QUESTIONS = 1000    /* to tables, for one field */
};

/*
 * What is to be done with the event at hand. A table that answers later stops in one of these, and
 * only what stands in it is done again.
 *
 *   READ ─field─► FIELD_CHECK ──► FIELD_MAP ──► READ
 *     └──line──► LINE ─► [ENCODE ─piece─►] LINE_CHECK ──► [LINE, ENCODE …] ──► READ
 */
enum convert_stage { AT_READ, AT_FIELD_CHECK, AT_FIELD_MAP, AT_LINE, AT_ENCODE, AT_LINE_CHECK };

struct convert {
	const char *id;
	bool to_7bit, has_checks;
	struct mime mime;
	struct mime_data event;
	enum convert_stage stage, behind_line;
	struct slice field;     /* with its line ends */
	struct slice line, eol; /* of output */
	struct slice rest;      /* of a line, to be encoded */
	struct slice direct;    /* of a body without lines: goes out as it stands, behind out */
	bool is_dropped;        /* the field is; so is what follows of it */
	bool wants_blank;       /* before a body line: a section got a field and has no end */
	bool at_blank;          /* the line behind a section comes next; it is no data */
	bool is_given;          /* out has been given out */
	struct qp_encoder qp;
	struct b64_encoder b64;
	struct slice waiting; /* the end of the last line in base64: a boundary's, or data */
	struct buf coded;     /* a line of base64 */
	struct checks_result check;
	struct buf out, key, other;
	struct later later;
	const char *why, *status;
};

bool convert_has_tables(void)
{
	bool any = generic_is_on();
	for (int i = 0; i < CHECKS_KINDS; i++) {
		any = any || checks_is_on((enum checks_kind)i);
	}
	return any;
}

struct convert *convert_new(const char *id, bool to_7bit, void (*wake)(void *arg), void *arg)
{
	struct convert *c = mem_alloc(sizeof(*c));
	struct mime_limits limits = {
		.header = (size_t)conf_int(P_header_size_limit),
		.boundary = (size_t)conf_int(P_mime_boundary_length_limit),
		.nesting = (unsigned)conf_int(P_mime_nesting_limit),
	};
	bool by_parts = checks_is_on(CHECKS_MIME) || checks_is_on(CHECKS_NESTED) ||
			checks_is_on(CHECKS_BODY);
	c->id = id;
	c->to_7bit = to_7bit;
	c->has_checks = by_parts || checks_is_on(CHECKS_HEADER);
	mime_init(&c->mime, &limits, to_7bit || by_parts ? 0 : MIME_PRIMARY_ONLY);
	buf_init(&c->key, limits.header + ROOM);
	buf_init(&c->other, limits.header + ROOM);
	/* All that a table may say (checks.c), with CR before each LF. */
	buf_init(&c->check.text, limits.header * 2 + ROOM);
	buf_init(&c->coded, B64_LINE);
	buf_init(&c->out, ENOUGH + 2 * (limits.header + ROOM));
	later_init(&c->later, QUESTIONS, wake, arg);
	return c;
}

void convert_free(struct convert **cp)
{
	struct convert *c = *cp;
	*cp = NULL;
	if (c == NULL) {
		return;
	}
	later_clear(&c->later);
	mime_clear(&c->mime);
	buf_clear(&c->key);
	buf_clear(&c->other);
	buf_clear(&c->check.text);
	buf_clear(&c->coded);
	buf_clear(&c->out);
	mem_free(c);
}

const char *convert_why(const struct convert *c, const char **status)
{
	*status = c->status;
	return c->why;
}

static int refuse(struct convert *c, const char *status, const char *why)
{
	c->status = status;
	c->why = why;
	return ERR_DENIED;
}

/* ---- What is converted. ---- */

static bool is_labelled_8bit(const struct convert *c)
{
	return c->to_7bit && c->mime.part.domain != MIME_7BIT;
}

/* Of a part that is labelled so. */
static bool is_encoded(const struct mime_part *p)
{
	return p->type == MIME_MESSAGE ? p->subtype == MIME_OTHER_SUBTYPE
				       : p->type != MIME_MULTIPART_TYPE;
}

/* Of an encoded part. What is no text, or has no lines to speak of, must stay the same bytes. */
static bool is_base64(const struct mime_part *p)
{
	return p->domain == MIME_BINARY || (p->type != MIME_TEXT && p->type != MIME_MESSAGE);
}

/* RFC 2046, 5.2.2 and 5.2.3. */
static bool is_never_encoded(const struct mime_part *p)
{
	return p->type == MIME_MESSAGE &&
	       (p->subtype == MIME_PARTIAL || p->subtype == MIME_EXTERNAL_BODY);
}

static void put_line(
	struct convert *c, struct slice line, struct slice eol, enum convert_stage behind)
{
	c->line = line;
	c->eol = eol;
	c->behind_line = behind;
	c->stage = AT_LINE_CHECK;
}

/* ---- Events. ---- */

static void take_field(struct convert *c)
{
	c->is_dropped = is_labelled_8bit(c) && c->event.field == MIME_CONTENT_TRANSFER_ENCODING;
	c->field = c->event.text;
	if (!c->is_dropped) {
		c->stage = AT_FIELD_CHECK;
	}
}

/* Only here it is known what the label says of: the type may have come behind it. */
static void take_head_end(struct convert *c)
{
	const struct mime_part *p = &c->mime.part;
	c->at_blank = c->event.is_blank;
	if (is_labelled_8bit(c)) {
		c->field = !is_encoded(p) ? SLICE_LIT("Content-Transfer-Encoding: 7bit\r\n")
			   : is_base64(p)
				   ? SLICE_LIT("Content-Transfer-Encoding: base64\r\n")
				   : SLICE_LIT("Content-Transfer-Encoding: quoted-printable\r\n");
		c->event.name = slice_first(c->field, header_name_len(c->field));
		c->stage = AT_FIELD_CHECK;
		c->wants_blank = !c->event.is_blank;
	}
}

static bool has_base64(const struct convert *c)
{
	return b64_is_open(&c->b64) || c->waiting.len > 0;
}

/* Where a line of output is ready it goes first, then the stage behind it. */
static bool put_coded(struct convert *c, enum convert_stage behind)
{
	if (c->coded.len > 0) {
		put_line(c, buf_slice(&c->coded), SLICE_LIT("\r\n"), behind);
	}
	return c->coded.len > 0;
}

/* A line that is not of the part in base64: its boundary, whose line end was waiting. */
static bool ends_base64(struct convert *c)
{
	c->waiting = SLICE_NONE;
	b64_end(&c->b64, &c->coded);
	return put_coded(c, AT_LINE);
}

static int take_line(struct convert *c)
{
	const struct mime_data *e = &c->event;
	bool is_8bit = is_labelled_8bit(c);
	bool is_data = is_8bit && is_encoded(&c->mime.part) && !c->at_blank;
	if (!is_data && has_base64(c) && ends_base64(c)) {
		return 0;
	}
	if (c->wants_blank) {
		buf_add_str(&c->out, "\r\n");
		c->wants_blank = false;
	}
	c->at_blank = false;
	c->stage = AT_READ;
	if (is_data) {
		c->rest = e->text;
		c->stage = AT_ENCODE;
	} else if (is_8bit && is_never_encoded(&c->mime.part) && !slice_is_ascii(e->text)) {
		return refuse(c, "5.6.3",
			"8-bit data inside a part of type message/partial or "
			"message/external-body cannot be converted");
	} else if (e->text.len > MIME_LINE) {
		c->direct = e->text;
	} else {
		put_line(c, e->text, e->eol, AT_READ);
	}
	return 0;
}

/* A missing last boundary has no line end of its own. */
static int take_end(struct convert *c)
{
	if (qp_is_open(&c->qp)) {
		put_line(c, qp_end_line(&c->qp), SLICE_LIT("\r\n"), AT_READ);
		return 0;
	}
	if (!b64_encode(&c->b64, &c->waiting, &c->coded)) {
		b64_end(&c->b64, &c->coded);
	}
	return put_coded(c, AT_READ) ? 0 : ERR_CLOSED;
}

static int read_event(struct convert *c, struct slice *in, bool is_last)
{
	enum mime_event event = mime_next(&c->mime, in, is_last, &c->event);
	if (c->to_7bit && (c->mime.errors & MIME_ERR_NESTING) != 0) {
		const char *status;
		const char *text = mime_error_text(MIME_ERR_NESTING, &status);
		return refuse(c, status, text);
	}
	switch (event) {
	case MIME_MORE: return ERR_AGAIN;
	case MIME_HEADER: take_field(c); break;
	case MIME_REST:
		if (!c->is_dropped) {
			buf_add_slice(&c->out, c->event.text);
			buf_add_slice(&c->out, c->event.eol);
		}
		break;
	case MIME_HEAD_END: take_head_end(c); break;
	case MIME_BODY: c->stage = AT_LINE; break;
	case MIME_END: return take_end(c);
	}
	return 0;
}

/* ---- Stages. ---- */

static void add_with_end(struct convert *c, struct slice text)
{
	buf_add_slice(&c->out, text);
	buf_add_str(&c->out, "\r\n");
}

/* Asks a table; what has come is not needed any more when it has said all. */
static int check(struct convert *c, enum checks_kind kind, struct slice key)
{
	int r = checks_find(kind, c->id, key, &c->later, &c->check);
	if (r == ERR_TEMP) {
		log_warning("%s: smtp %s checks lookup error", c->id,
			kind == CHECKS_BODY ? "body" : "header");
	}
	if (r == ERR_LIMIT) {
		return refuse(c, "5.3.0", "a table makes too long a text of a header or line");
	}
	if (r == 0 && c->later.count > 0) {
		later_clear(&c->later);
	}
	if (r == 0 && c->check.prepend) {
		add_with_end(c, buf_slice(&c->check.text));
	}
	return r;
}

static int check_field(struct convert *c)
{
	enum checks_kind kind = checks_kind_of(&c->event);
	c->stage = AT_FIELD_MAP;
	if (!c->has_checks || !checks_is_on(kind)) {
		return 0;
	}
	buf_reset(&c->key);
	checks_add_key(&c->key, slice_trim(c->field), c->event.name);
	int r = check(c, kind, buf_slice(&c->key));
	if (r != 0) {
		c->stage = AT_FIELD_CHECK;
	} else if (c->check.fate == CHECKS_DROP) {
		c->is_dropped = true;
		c->stage = AT_READ;
	} else if (c->check.fate == CHECKS_REPLACE) {
		buf_add_str(&c->check.text, "\r\n");
		c->field = buf_slice(&c->check.text);
		c->is_dropped = true; /* what follows of the old one */
	}
	return r;
}

static int map_field(struct convert *c)
{
	int r = 0;
	if (generic_is_on() && c->event.section == MIME_PRIMARY) {
		r = generic_field(c->field, &c->later, &c->other);
	}
	if (r == ERR_LATER || r == ERR_TEMP) {
		return r;
	}
	if (r == ERR_LIMIT) {
		return refuse(c, "5.3.0", "a table makes too long a text of a header");
	}
	if (c->later.count > 0) {
		later_clear(&c->later);
	}
	buf_add_slice(&c->out, r == 1 ? buf_slice(&c->other) : c->field);
	c->stage = AT_READ;
	return 0;
}

static int check_line(struct convert *c)
{
	int r = 0;
	if (checks_is_on(CHECKS_BODY)) {
		r = check(c, CHECKS_BODY, c->line);
		if (r != 0) {
			return r;
		}
		c->stage = c->behind_line;
		if (c->check.fate == CHECKS_DROP) {
			return 0;
		}
		if (c->check.fate == CHECKS_REPLACE) {
			c->line = buf_slice(&c->check.text);
		}
	}
	c->stage = c->behind_line;
	buf_add_slice(&c->out, c->line);
	buf_add_slice(&c->out, c->eol);
	return 0;
}

/* Line ends are data, but for one that turns out to be the boundary's behind it. */
static void encode_base64(struct convert *c)
{
	if (!b64_encode(&c->b64, &c->waiting, &c->coded) &&
		!b64_encode(&c->b64, &c->rest, &c->coded)) {
		c->waiting = c->event.eol.len == 2   ? SLICE_LIT("\r\n")
			     : c->event.eol.len == 1 ? SLICE_LIT("\n")
						     : SLICE_NONE;
		c->stage = AT_READ;
	}
	(void)put_coded(c, AT_ENCODE);
}

static void encode(struct convert *c)
{
	struct slice line;
	if (is_base64(&c->mime.part)) {
		encode_base64(c);
	} else if (qp_encode(&c->qp, &c->rest, &line)) {
		put_line(c, line, SLICE_LIT("\r\n"), AT_ENCODE);
	} else if (c->event.eol.len > 0) {
		put_line(c, qp_end_line(&c->qp), c->event.eol, AT_READ);
	} else {
		c->stage = AT_READ;
	}
}

static int step(struct convert *c, struct slice *in, bool is_last)
{
	switch (c->stage) {
	case AT_READ: return read_event(c, in, is_last);
	case AT_FIELD_CHECK: return check_field(c);
	case AT_FIELD_MAP: return map_field(c);
	case AT_LINE: return take_line(c);
	case AT_ENCODE: encode(c); return 0;
	case AT_LINE_CHECK: return check_line(c);
	}
	return ERR_STATE;
}

static int give(struct convert *c, struct slice *piece)
{
	*piece = c->out.len > 0 ? buf_slice(&c->out) : c->direct;
	c->is_given = c->out.len > 0;
	if (!c->is_given) {
		c->direct = SLICE_NONE;
	}
	return buf_failed(&c->out) ? ERR_LIMIT : 0;
}

int convert_next(struct convert *c, struct slice *in, bool is_last, struct slice *piece)
{
	int r = 0;
	*piece = SLICE_NONE;
	if (c->is_given) {
		buf_reset(&c->out);
		c->is_given = false;
	}
	while (r == 0 && c->direct.len == 0 && c->out.len < ENOUGH) {
		r = step(c, in, is_last);
	}
	/* What is ready goes first: ERR_AGAIN, ERR_LATER and ERR_CLOSED come again. */
	if (r == ERR_DENIED || r == ERR_TEMP || (c->out.len == 0 && c->direct.len == 0)) {
		return r;
	}
	return give(c, piece);
}

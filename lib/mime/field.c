/* SPDX-License-Identifier: ISC */
#include "mime/mime.h"

#include "util/err.h"
#include "util/mem.h"

/* Levels of parts, each with the boundary that leads to its next part. */
struct mime_level {
	enum mime_type type; /* of a part that does not say its own */
	enum mime_subtype subtype;
	char *boundary; /* owned */
	size_t len;
};

/* A token of a structured field; a special is one whose text is that byte. */
enum token_kind { TOKEN_NONE, TOKEN_WORD, TOKEN_QUOTED, TOKEN_SPECIAL };

struct token {
	enum token_kind kind;
	struct slice text; /* in tokens.room */
};

enum { TOKENS = 3 };

/* Those of one parameter, what is behind the third left out. */
struct tokens {
	struct token token[TOKENS];
	size_t n;
	struct buf room;
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_special(char c)
{
	return c != '\0' && strchr("()<>@,;:\\\"/[]?=", c) != NULL;
}

static bool ends_word(char c)
{
	return is_space(c) || is_special(c) || (unsigned char)c < ' ' || c == 127;
}

/* Behind the comment that begins here. */
static struct slice skip_comment(struct slice s)
{
	size_t depth = 0, i = 0;

	for (; i < s.len; i++) {
		if (s.p[i] == '\\')
			i++;
		else if (s.p[i] == '(')
			depth++;
		else if (s.p[i] == ')' && --depth == 0)
			return slice_from(s, i + 1);
	}
	return slice_from(s, s.len);
}

/* A quoted string without its quotes, folding taken out; as far as it goes. */
static struct slice take_quoted(struct slice s, struct buf *out)
{
	size_t i = 1;

	for (; i < s.len && s.p[i] != '"'; i++) {
		if (s.p[i] == '\r' || s.p[i] == '\n')
			continue;
		if (s.p[i] == '\\' && i + 1 < s.len)
			i++;
		(void)buf_add_char(out, s.p[i]);
	}
	return slice_from(s, i + 1);
}

static struct slice take_word(struct slice s, struct buf *out)
{
	size_t n = 1;

	while (n < s.len && !ends_word(s.p[n]))
		n++;
	(void)buf_add_slice(out, slice_first(s, n));
	return slice_from(s, n);
}

static struct slice take_token(struct slice s, struct tokens *t)
{
	struct token token = {.kind = TOKEN_WORD};
	size_t mark = t->room.len;

	if (s.p[0] == '"') {
		token.kind = TOKEN_QUOTED;
		s = take_quoted(s, &t->room);
	} else if (is_special(s.p[0])) {
		token.kind = TOKEN_SPECIAL;
		(void)buf_add_char(&t->room, s.p[0]);
		s = slice_from(s, 1);
	} else
		s = take_word(s, &t->room);
	/* The room is as large as the field and was made at once, so it does not move. */
	token.text = slice_from(buf_slice(&t->room), mark);
	if (t->n < TOKENS)
		t->token[t->n++] = token;
	return s;
}

/* The tokens up to the next ';'. False: nothing is left. */
static bool next_tokens(struct slice *rest, struct tokens *t)
{
	struct slice s = *rest;

	t->n = 0;
	buf_reset(&t->room);
	memset(t->token, 0, sizeof(t->token));
	while (s.len > 0 && s.p[0] != ';') {
		if (is_space(s.p[0]))
			s = slice_from(s, 1);
		else if (s.p[0] == '(')
			s = skip_comment(s);
		else
			s = take_token(s, t);
	}
	if (s.len == 0 && t->n == 0)
		return false;
	*rest = slice_from(s, 1);
	return true;
}

static bool is_word(const struct token *t, const char *text)
{
	return t->kind == TOKEN_WORD && slice_case_eq_str(t->text, text);
}

static bool is_mark(const struct token *t, const char *text)
{
	return t->kind == TOKEN_SPECIAL && slice_eq_str(t->text, text);
}

static void push(struct mime *m, struct slice boundary, bool is_digest)
{
	struct mime_level *l;

	if (m->depth > m->limits.nesting) {
		m->errors |= MIME_ERR_NESTING;
		return;
	}
	if (m->depth == m->room) {
		m->room = m->room > 0 ? m->room * 2 : 4;
		m->levels = mem_resize(m->levels, m->room, sizeof(m->levels[0]));
	}
	boundary = slice_first(boundary, m->limits.boundary);
	l = &m->levels[m->depth++];
	l->type = is_digest ? MIME_MESSAGE : MIME_TEXT;
	l->subtype = is_digest ? MIME_RFC822 : MIME_PLAIN;
	l->boundary = slice_dup(boundary);
	l->len = boundary.len;
}

static void pop(struct mime *m)
{
	mem_free(m->levels[--m->depth].boundary);
}

void mime_clear(struct mime *m)
{
	while (m->depth > 0)
		pop(m);
	mem_free(m->levels);
	m->levels = NULL;
	m->room = 0;
	buf_clear(&m->line);
	buf_clear(&m->field);
}

static enum mime_subtype message_subtype(const struct token *t)
{
	return is_word(t, "rfc822")          ? MIME_RFC822
	       : is_word(t, "partial")       ? MIME_PARTIAL
	       : is_word(t, "external-body") ? MIME_EXTERNAL_BODY
					     : MIME_OTHER_SUBTYPE;
}

static void take_boundaries(struct mime *m, struct slice rest, struct tokens *t, bool is_digest)
{
	while (next_tokens(&rest, t))
		if (t->n == TOKENS && is_word(&t->token[0], "boundary") &&
			is_mark(&t->token[1], "="))
			push(m, t->token[2].text, is_digest);
}

static void take_type(struct mime *m, struct slice value, struct tokens *t)
{
	struct mime_part *p = &m->part;
	bool has_subtype;

	if (!next_tokens(&value, t) || t->n == 0)
		return;
	has_subtype = t->n == TOKENS && is_mark(&t->token[1], "/");
	p->type = MIME_OTHER_TYPE;
	p->subtype = MIME_OTHER_SUBTYPE;
	if (is_word(&t->token[0], "text")) {
		p->type = MIME_TEXT;
		if (has_subtype && is_word(&t->token[2], "plain"))
			p->subtype = MIME_PLAIN;
	} else if (is_word(&t->token[0], "message")) {
		p->type = MIME_MESSAGE;
		if (has_subtype)
			p->subtype = message_subtype(&t->token[2]);
	} else if (is_word(&t->token[0], "multipart")) {
		p->type = MIME_MULTIPART_TYPE;
		take_boundaries(m, value, t, has_subtype && is_word(&t->token[2], "digest"));
	}
}

void mime_take_type(struct mime *m, struct slice value)
{
	struct tokens t = {.room = BUF_INIT(value.len + 1)};
	char *room;

	(void)buf_room(&t.room, value.len + 1, &room);
	take_type(m, value, &t);
	buf_clear(&t.room);
}

static const struct {
	const char *name;
	enum mime_encoding domain;
} encodings[] = {
	[MIME_7BIT] = {"7bit", MIME_7BIT},
	[MIME_8BIT] = {"8bit", MIME_8BIT},
	[MIME_BINARY] = {"binary", MIME_BINARY},
	[MIME_QUOTED_PRINTABLE] = {"quoted-printable", MIME_7BIT},
	[MIME_BASE64] = {"base64", MIME_7BIT},
};

const char *mime_encoding_name(enum mime_encoding e)
{
	return encodings[e].name;
}

void mime_take_encoding(struct mime *m, struct slice value)
{
	struct slice word;

	while (value.len > 0 && (is_space(value.p[0]) || value.p[0] == '('))
		value = value.p[0] == '(' ? skip_comment(value) : slice_from(value, 1);
	if (!slice_token(&value, " \t\r\n(;", &word))
		return;
	for (size_t i = 0; i < sizeof(encodings) / sizeof(encodings[0]); i++)
		if (slice_case_eq_str(word, encodings[i].name)) {
			m->part.encoding = (enum mime_encoding)i;
			m->part.domain = encodings[i].domain;
		}
}

bool mime_take_boundary(struct mime *m, struct slice line)
{
	struct mime_level *l;
	unsigned at = m->depth;

	do {
		if (at == 0)
			return false;
		l = &m->levels[--at];
	} while (line.len < l->len || memcmp(line.p, l->boundary, l->len) != 0);
	while (m->depth > at + 1)
		pop(m);
	m->part = (struct mime_part){.encoding = MIME_7BIT};
	if (slice_starts(slice_from(line, l->len), "--")) {
		pop(m);
	} else {
		m->part.type = l->type;
		m->part.subtype = l->subtype;
		m->section = MIME_MULTIPART;
		m->in_body = false;
	}
	return true;
}

const char *mime_error_text(unsigned errors, const char **status)
{
	*status = "5.6.0";
	if (errors & MIME_ERR_NESTING)
		return "MIME nesting exceeds safety limit";
	if (errors & MIME_ERR_LONG_HEADER)
		return "message header length exceeds safety limit";
	if (errors & MIME_ERR_8BIT_HEADER)
		return "improper use of 8-bit data in message header";
	if (errors & MIME_ERR_8BIT_BODY)
		return "improper use of 8-bit data in message body";
	return "invalid message/* or multipart/* encoding domain";
}

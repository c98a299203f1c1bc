/* SPDX-License-Identifier: ISC */
#include "util/err.h"

#include "mail/address.h"

#include <arpa/inet.h>

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_control(char c)
{
	return (unsigned char)c < ' ' || c == 127;
}

/* atext of RFC 5322, 3.2.3, with RFC 6531's bytes over 127. */
static bool is_atext(char c)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
		return true;
	return (unsigned char)c >= 128 || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

/* The parser's state: where it is, what it has seen. */
struct parse {
	struct slice in; /* the rest */
	int flags;
	struct buf *out;
	ptrdiff_t at;   /* offset in out of the last unquoted '@', or -1 */
	bool quoted;    /* a quoted string or backslash was seen */
	bool atom;      /* so was something unquoted, dots too */
	bool bad_dot;   /* a dot at either end or beside another */
	bool after_dot; /* the last byte was a dot, or there was none yet */
};

static char take(struct parse *p)
{
	char c = p->in.p[0];

	p->in = slice_from(p->in, 1);
	return c;
}

static int put(struct parse *p, char c)
{
	return is_control(c) ? ERR_SYNTAX : buf_add_char(p->out, c);
}

/* Behind a backslash: any byte but a control character. */
static int take_escaped(struct parse *p)
{
	if (p->in.len == 0)
		return ERR_SYNTAX;
	return put(p, take(p));
}

static int take_quoted(struct parse *p)
{
	p->quoted = true;
	while (p->in.len > 0) {
		char c = take(p);
		if (c == '"')
			return 0;
		int err = c == '\\' ? take_escaped(p) : put(p, c);
		if (err != 0)
			return err;
	}
	return ERR_SYNTAX;
}

/* A literal is a whole domain: what follows it is a mistake. */
static int take_literal(struct parse *p)
{
	if (p->at < 0 || (size_t)p->at + 1 != p->out->len)
		return ERR_SYNTAX;
	struct slice rest = p->in;
	p->in = SLICE_NONE;
	if (!address_is_literal(rest, NULL))
		return ERR_SYNTAX;
	return buf_add_slice(p->out, rest);
}

static int take_at(struct parse *p)
{
	if (p->at >= 0 && (p->flags & ADDRESS_STRICT) != 0)
		return ERR_SYNTAX;
	(void)take(p);
	if (p->at < 0)
		p->bad_dot |= p->after_dot && p->atom;
	p->at = (ptrdiff_t)p->out->len;
	p->after_dot = true;
	return buf_add_char(p->out, '@');
}

static int take_one(struct parse *p)
{
	char c = p->in.p[0];

	if (c == '@')
		return take_at(p);
	if (c == '[')
		return take_literal(p);
	if (c == '"') {
		(void)take(p);
		p->after_dot = false;
		return p->at < 0 ? take_quoted(p) : ERR_SYNTAX;
	}
	if (c == '\\') {
		(void)take(p);
		p->quoted = p->atom = true;
		p->after_dot = false;
		return (p->flags & ADDRESS_STRICT) == 0 && p->at < 0 ? take_escaped(p) : ERR_SYNTAX;
	}
	if (c != '.' && !is_atext(c))
		return ERR_SYNTAX;
	if (p->at < 0) {
		p->atom = true;
		p->bad_dot |= c == '.' && p->after_dot;
		p->after_dot = c == '.';
	}
	return buf_add_char(p->out, take(p));
}

/* @a,@b: before the address proper (RFC 5321, 4.1.1.3: to be ignored). */
static int skip_source_route(struct slice *in)
{
	bool literal = false;

	if (in->len == 0 || in->p[0] != '@')
		return 0;
	for (size_t i = 0; i < in->len; i++) {
		char c = in->p[i];
		if (c == '[' || c == ']')
			literal = c == '[';
		else if (c == ':' && !literal) {
			*in = slice_from(*in, i + 1);
			return i > 1 ? 0 : ERR_SYNTAX;
		} else if (c != '@' && c != ',' && c != '.' && c != ':' && !is_atext(c))
			return ERR_SYNTAX;
	}
	return ERR_SYNTAX;
}

static int check_domain(struct parse *p)
{
	struct slice domain = slice_from(buf_slice(p->out), (size_t)p->at + 1);

	if (domain.len > 1 && domain.p[0] != '[' && domain.p[domain.len - 1] == '.' &&
		(p->flags & ADDRESS_STRICT) == 0) {
		buf_truncate(p->out, p->out->len - 1);
		domain.len--;
	}
	if (domain.len > 0 && domain.p[0] == '[')
		return 0;
	return address_is_domain(domain) ? 0 : ERR_SYNTAX;
}

static int check_local(struct parse *p)
{
	size_t len = p->at < 0 ? p->out->len : (size_t)p->at;

	/* An empty local part would read as "@domain", which tables use for a whole domain. */
	if (len == 0)
		return ERR_SYNTAX;
	if ((p->flags & ADDRESS_STRICT) == 0)
		return 0;
	if (p->at < 0 && !slice_case_eq_str(buf_slice(p->out), "postmaster"))
		return ERR_SYNTAX;
	if ((p->quoted && p->atom) || p->bad_dot)
		return ERR_SYNTAX;
	return 0;
}

static int check_charset(struct parse *p)
{
	struct slice all = buf_slice(p->out);

	if (slice_is_ascii(all))
		return 0;
	if ((p->flags & (ADDRESS_ASCII_ONLY | ADDRESS_UTF8)) == ADDRESS_ASCII_ONLY)
		return ERR_DENIED;
	return slice_is_utf8(all) ? 0 : ERR_SYNTAX;
}

int address_parse(struct slice text, int flags, struct buf *internal)
{
	struct parse p = {.flags = flags, .out = internal, .at = -1, .after_dot = true};
	int err = 0;

	buf_reset(internal);
	if (text.len > ADDRESS_PATH_LIMIT)
		return ERR_LIMIT;
	if ((flags & ADDRESS_STRICT) == 0)
		text = slice_trim(text);
	if (text.len == 0)
		return (flags & ADDRESS_NULL) != 0 ? 0 : ERR_SYNTAX;
	p.in = text;
	err = skip_source_route(&p.in);
	while (err == 0 && p.in.len > 0)
		err = take_one(&p);
	if (err == 0 && p.at < 0)
		p.bad_dot |= p.after_dot && p.atom;
	/* Without the quotes a quoted '@' is what divides the address. */
	if (err == 0 && p.at < 0 && (flags & ADDRESS_STRICT) == 0)
		p.at = slice_find_last(buf_slice(internal), '@');
	if (err == 0)
		err = check_local(&p);
	if (err == 0 && p.at >= 0)
		err = check_domain(&p);
	if (err == 0)
		err = check_charset(&p);
	if (err == 0 && internal->len > ADDRESS_LIMIT)
		err = ERR_LIMIT;
	if (err != 0)
		buf_reset(internal);
	return err;
}

/* How far a path reaches: up to (without) the byte end that is not quoted; in.len if there is none.
 */
static size_t path_len(struct slice in, bool brackets)
{
	bool quoted = false;

	for (size_t i = 0; i < in.len; i++) {
		char c = in.p[i];
		if (c == '\\')
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted && (brackets ? c == '>' : is_blank(c)))
			return i;
	}
	return in.len;
}

int address_parse_path(struct slice *rest, int flags, struct buf *internal)
{
	buf_reset(internal);
	while (rest->len > 0 && is_blank(rest->p[0]))
		*rest = slice_from(*rest, 1);
	bool brackets = rest->len > 0 && rest->p[0] == '<';
	if (!brackets && (rest->len == 0 || (flags & ADDRESS_STRICT) != 0))
		return ERR_SYNTAX;
	if (brackets)
		*rest = slice_from(*rest, 1);
	size_t len = path_len(*rest, brackets);
	struct slice path = slice_first(*rest, len);

	if (brackets && len++ == rest->len)
		return ERR_SYNTAX;
	*rest = slice_from(*rest, len);
	if (rest->len > 0 && !is_blank(rest->p[0]))
		return ERR_SYNTAX;
	return address_parse(path, brackets ? flags : flags & ~ADDRESS_NULL, internal);
}

void address_split(struct slice internal, struct slice *local, struct slice *domain)
{
	ptrdiff_t at = slice_find_last(internal, '@');

	*local = at < 0 ? internal : slice_first(internal, (size_t)at);
	*domain = at < 0 ? SLICE_NONE : slice_from(internal, (size_t)at + 1);
}

static bool needs_quotes(struct slice local)
{
	bool after_dot = true;

	for (size_t i = 0; i < local.len; i++) {
		if (local.p[i] == '.' ? after_dot : !is_atext(local.p[i]))
			return true;
		after_dot = local.p[i] == '.';
	}
	return after_dot;
}

void address_add_external(struct buf *out, struct slice internal)
{
	struct slice local, domain;

	if (internal.len == 0)
		return;
	address_split(internal, &local, &domain);
	if (!needs_quotes(local)) {
		(void)buf_add_slice(out, internal);
		return;
	}
	(void)buf_add_char(out, '"');
	for (size_t i = 0; i < local.len; i++) {
		if (local.p[i] == '"' || local.p[i] == '\\')
			(void)buf_add_char(out, '\\');
		(void)buf_add_char(out, local.p[i]);
	}
	(void)buf_add_char(out, '"');
	if (domain.p != NULL) {
		(void)buf_add_char(out, '@');
		(void)buf_add_slice(out, domain);
	}
}

/* Letters, digits, '_' and bytes over 127; '-' not at an end. */
static bool is_label(struct slice label)
{
	if (label.len == 0 || label.len > 63 || label.p[0] == '-' || label.p[label.len - 1] == '-')
		return false;
	for (size_t i = 0; i < label.len; i++)
		if (!is_atext(label.p[i]) ||
			(label.p[i] != '-' && label.p[i] != '_' &&
				strchr("!#$%&'*+/=?^`{|}~", label.p[i]) != NULL))
			return false;
	return true;
}

bool address_is_domain(struct slice domain)
{
	struct slice rest = domain, label;
	bool numeric = true;

	if (domain.len == 0 || domain.len > 255)
		return false;
	while (slice_part(&rest, '.', &label)) {
		if (!is_label(label))
			return false;
		for (size_t i = 0; i < label.len; i++)
			numeric &= label.p[i] >= '0' && label.p[i] <= '9';
	}
	/* 192.0.2.1 without brackets is no name (RFC 5321, 4.1.3). */
	return !numeric;
}

bool address_is_literal(struct slice domain, struct slice *ip)
{
	char text[INET6_ADDRSTRLEN + 1] = "";
	unsigned char bin[16];

	if (domain.len < 3 || domain.p[0] != '[' || domain.p[domain.len - 1] != ']')
		return false;
	struct slice inner = slice_from(slice_first(domain, domain.len - 1), 1);
	bool v6 = slice_case_starts(inner, "IPv6:");
	if (v6)
		inner = slice_from(inner, 5);
	/* A NUL would hide what stands behind it from inet_pton. */
	if (inner.len >= sizeof(text) || !slice_is_printable(inner))
		return false;
	memcpy(text, inner.p, inner.len);
	if (inet_pton(v6 ? AF_INET6 : AF_INET, text, bin) != 1)
		return false;
	if (ip != NULL)
		*ip = inner;
	return true;
}

bool address_split_extension(
	struct slice local, const char *delimiters, struct slice *user, struct slice *ext)
{
	*user = local;
	*ext = SLICE_NONE;
	if (delimiters == NULL || *delimiters == '\0' || slice_case_eq_str(local, "postmaster") ||
		slice_case_eq_str(local, "mailer-daemon") ||
		slice_case_eq_str(local, "double-bounce"))
		return false;
	if (strchr(delimiters, '-') != NULL &&
		(slice_case_starts(local, "owner-") ||
			(local.len > 8 && slice_case_ends(local, "-request"))))
		return false;
	for (size_t i = 0; i < local.len; i++) {
		if (local.p[i] == '\0' || strchr(delimiters, local.p[i]) == NULL)
			continue;
		if (i == 0 || i + 1 == local.len)
			return false;
		*user = slice_first(local, i);
		*ext = slice_from(local, i + 1);
		return true;
	}
	return false;
}

void address_fold(struct buf *out, struct slice internal)
{
	(void)buf_add_lower(out, internal);
}

/* SPDX-License-Identifier: ISC */
#include "smtp/xattr.h"

#include <arpa/inet.h>

#include "mail/address.h"
#include "util/err.h"

#define BIT(a) (1u << XATTR_##a)

const unsigned smtp_xclient_attributes = BIT(NAME) | BIT(ADDR) | BIT(PORT) | BIT(PROTO) |
					 BIT(HELO) | BIT(LOGIN) | BIT(DESTADDR) | BIT(DESTPORT) |
					 BIT(REVERSE_NAME);
const unsigned smtp_xforward_attributes =
	BIT(NAME) | BIT(ADDR) | BIT(PORT) | BIT(PROTO) | BIT(HELO) | BIT(IDENT) | BIT(SOURCE);

bool smtp_is_hostname(struct slice name)
{
	for (size_t i = 0; i < name.len; i++) {
		char c = name.p[i];
		bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			    (c >= '0' && c <= '9') || c == '_';

		bool is_first = i == 0 || name.p[i - 1] == '.';
		bool is_last = i + 1 == name.len || name.p[i + 1] == '.';

		if (c == '.' || c == '-')
			good = !is_first && (c == '.' || !is_last);
		if (!good)
			return false;
	}
	return name.len > 0;
}

static bool is_hostname(struct buf *value)
{
	return smtp_is_hostname(buf_slice(value));
}

static bool is_address(struct buf *value)
{
	static const char prefix[] = "IPv6:";
	unsigned char bytes[16];

	if (!slice_case_starts(buf_slice(value), prefix))
		return inet_pton(AF_INET, buf_str(value), bytes) == 1 ||
		       inet_pton(AF_INET6, buf_str(value), bytes) == 1;
	buf_consume(value, sizeof(prefix) - 1);
	return inet_pton(AF_INET6, buf_str(value), bytes) == 1;
}

static bool is_port(struct buf *value)
{
	uint64_t n;

	return slice_u64(buf_slice(value), 0, UINT16_MAX, &n) == 0;
}

static bool is_one_of(struct buf *value, const char *const words[2])
{
	for (int i = 0; i < 2; i++)
		if (slice_case_eq_str(buf_slice(value), words[i])) {
			buf_reset(value);
			(void)buf_add_str(value, words[i]);
			return true;
		}
	return false;
}

static bool is_protocol(struct buf *value)
{
	static const char *const words[] = {"SMTP", "ESMTP"};

	return is_one_of(value, words);
}

static bool is_source(struct buf *value)
{
	static const char *const words[] = {"LOCAL", "REMOTE"};

	return is_one_of(value, words);
}

static bool is_text(struct buf *value)
{
	return value->len > 0;
}

static const struct {
	const char *name;
	bool (*is_good)(struct buf *value);
} attributes[XATTRS] = {
	[XATTR_NAME] = {"NAME", is_hostname},
	[XATTR_ADDR] = {"ADDR", is_address},
	[XATTR_PORT] = {"PORT", is_port},
	[XATTR_PROTO] = {"PROTO", is_protocol},
	[XATTR_HELO] = {"HELO", is_text},
	[XATTR_LOGIN] = {"LOGIN", is_text},
	[XATTR_DESTADDR] = {"DESTADDR", is_address},
	[XATTR_DESTPORT] = {"DESTPORT", is_port},
	[XATTR_REVERSE_NAME] = {"REVERSE_NAME", is_hostname},
	[XATTR_IDENT] = {"IDENT", is_text},
	[XATTR_SOURCE] = {"SOURCE", is_source},
};

const char *smtp_xattr_name(enum smtp_xattr a)
{
	return attributes[a].name;
}

static int find(struct slice name, unsigned allowed, enum smtp_xattr *a)
{
	for (int i = 0; i < XATTRS; i++)
		if ((allowed & 1u << i) != 0 && slice_case_eq_str(name, attributes[i].name)) {
			*a = (enum smtp_xattr)i;
			return 0;
		}
	return ERR_NOT_FOUND;
}

static int refuse(struct buf *reply, const char *what, struct slice shown)
{
	(void)buf_add_fmt(reply, "501 5.5.4 %s: ", what);
	for (size_t i = 0; i < shown.len && i < XATTR_VALUE_LIMIT; i++)
		(void)buf_add_char(reply, shown.p[i] > ' ' && shown.p[i] < 127 ? shown.p[i] : '?');
	return ERR_SYNTAX;
}

static int refuse_value(struct buf *reply, enum smtp_xattr a, struct slice shown)
{
	struct buf what = BUF_INIT(64);

	(void)buf_add_fmt(&what, "Bad %s syntax", attributes[a].name);
	int err = refuse(reply, buf_str(&what), shown);
	buf_clear(&what);
	return err;
}

static int take_value(enum smtp_xattr a, struct slice text, enum smtp_xattr_kind *kind,
	struct buf *value, struct buf *reply)
{
	*kind = XATTR_VALUE;
	if (slice_case_eq_str(text, "[UNAVAILABLE]"))
		*kind = XATTR_UNAVAILABLE;
	else if (slice_case_eq_str(text, "[TEMPUNAVAIL]"))
		*kind = XATTR_TEMPUNAVAIL;
	if (*kind != XATTR_VALUE)
		return 0;
	int err = address_xtext_decode(value, text);

	if (text.len > 3 * XATTR_VALUE_LIMIT || value->len > XATTR_VALUE_LIMIT) {
		(void)buf_add_str(reply, "501 5.5.4 Error: attribute value too long");
		return ERR_SYNTAX;
	}
	if (err != 0)
		return refuse(reply, "Bad attribute value syntax", text);
	return attributes[a].is_good(value) ? 0 : refuse_value(reply, a, text);
}

int smtp_xattr_next(struct slice *rest, unsigned allowed, enum smtp_xattr *a,
	enum smtp_xattr_kind *kind, struct buf *value, struct buf *reply)
{
	struct slice word;
	ptrdiff_t equals;

	*kind = XATTR_VALUE;
	buf_reset(value);
	if (!slice_token(rest, " \t", &word))
		return ERR_NOT_FOUND;
	equals = slice_find(word, '=');
	if (equals <= 0 || (size_t)equals + 1 == word.len) {
		(void)buf_add_str(reply, "501 5.5.4 Error: attribute=value expected");
		return ERR_SYNTAX;
	}
	if (find(slice_first(word, (size_t)equals), allowed, a) != 0)
		return refuse(reply,
			allowed == smtp_xforward_attributes ? "Bad XFORWARD attribute name"
							    : "Bad XCLIENT attribute name",
			slice_first(word, (size_t)equals));
	return take_value(*a, slice_from(word, (size_t)equals + 1), kind, value, reply);
}

/* SPDX-License-Identifier: ISC */
#include "util/slice.h"

#include "util/err.h"
#include "util/mem.h"

static inline unsigned char fold(char c)
{
	return c >= 'A' && c <= 'Z' ? (unsigned char)c | 0x20 : (unsigned char)c;
}

bool slice_eq_str(struct slice a, const char *s)
{
	return slice_eq(a, slice_str(s));
}

bool slice_case_eq(struct slice a, struct slice b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (fold(a.p[i]) != fold(b.p[i]))
			return false;
	return true;
}

bool slice_case_eq_str(struct slice a, const char *s)
{
	return slice_case_eq(a, slice_str(s));
}

bool slice_starts(struct slice a, const char *prefix)
{
	struct slice want = slice_str(prefix);

	return a.len >= want.len && slice_eq(slice_first(a, want.len), want);
}

bool slice_case_starts(struct slice a, const char *prefix)
{
	struct slice want = slice_str(prefix);

	return a.len >= want.len && slice_case_eq(slice_first(a, want.len), want);
}

bool slice_ends(struct slice a, const char *suffix)
{
	struct slice want = slice_str(suffix);

	return a.len >= want.len && slice_eq(slice_from(a, a.len - want.len), want);
}

bool slice_case_ends(struct slice a, const char *suffix)
{
	struct slice want = slice_str(suffix);

	return a.len >= want.len && slice_case_eq(slice_from(a, a.len - want.len), want);
}

int slice_cmp(struct slice a, struct slice b)
{
	size_t common = a.len < b.len ? a.len : b.len;
	int r = common > 0 ? memcmp(a.p, b.p, common) : 0;

	if (r != 0)
		return r;
	return (a.len > b.len) - (a.len < b.len);
}

struct slice slice_first(struct slice a, size_t n)
{
	return slice_of(a.p, n < a.len ? n : a.len);
}

ptrdiff_t slice_find(struct slice a, char c)
{
	const char *at = a.len > 0 ? memchr(a.p, c, a.len) : NULL;

	return at != NULL ? at - a.p : -1;
}

ptrdiff_t slice_find_last(struct slice a, char c)
{
	const char *at = a.len > 0 ? memrchr(a.p, c, a.len) : NULL;

	return at != NULL ? at - a.p : -1;
}

ptrdiff_t slice_find_str(struct slice a, const char *needle)
{
	size_t len = strlen(needle);
	const char *at = NULL;

	if (len == 0)
		return 0;
	at = a.len > 0 ? memmem(a.p, a.len, needle, len) : NULL;
	return at != NULL ? at - a.p : -1;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct slice slice_trim(struct slice a)
{
	while (a.len > 0 && is_blank(a.p[a.len - 1]))
		a.len--;
	while (a.len > 0 && is_blank(a.p[0]))
		a = slice_from(a, 1);
	return a;
}

bool slice_token(struct slice *rest, const char *sep, struct slice *token)
{
	size_t seps = strlen(sep), end = 0;

	while (rest->len > 0 && memchr(sep, rest->p[0], seps) != NULL)
		*rest = slice_from(*rest, 1);
	while (end < rest->len && memchr(sep, rest->p[end], seps) == NULL)
		end++;
	*token = slice_first(*rest, end);
	*rest = slice_from(*rest, end);
	return token->len > 0;
}

bool slice_part(struct slice *rest, char sep, struct slice *part)
{
	ptrdiff_t at = slice_find(*rest, sep);

	*part = SLICE_NONE;
	if (rest->p == NULL)
		return false;
	if (at < 0) {
		*part = *rest;
		*rest = SLICE_NONE;
		return true;
	}
	*part = slice_first(*rest, (size_t)at);
	*rest = slice_from(*rest, (size_t)at + 1);
	return true;
}

int slice_u64(struct slice a, uint64_t min, uint64_t max, uint64_t *value)
{
	uint64_t v = 0;
	bool over = false;

	*value = 0;
	if (a.len == 0)
		return ERR_SYNTAX;
	for (size_t i = 0; i < a.len; i++) {
		if (a.p[i] < '0' || a.p[i] > '9')
			return ERR_SYNTAX;
		over |= __builtin_mul_overflow(v, UINT64_C(10), &v);
		over |= __builtin_add_overflow(v, (uint64_t)(a.p[i] - '0'), &v);
	}
	if (over || v < min || v > max)
		return ERR_RANGE;
	*value = v;
	return 0;
}

bool slice_is_printable(struct slice a)
{
	for (size_t i = 0; i < a.len; i++)
		if ((unsigned char)a.p[i] < ' ' || a.p[i] == 127)
			return false;
	return true;
}

bool slice_is_ascii(struct slice a)
{
	for (size_t i = 0; i < a.len; i++)
		if ((unsigned char)a.p[i] > 127)
			return false;
	return true;
}

/* The bounds of the second byte shut out overlong forms, surrogates and what is over U+10FFFF. */
size_t slice_utf8_len(struct slice a)
{
	unsigned char c = 0, low = 0x80, high = 0xbf;
	size_t len = 0;

	if (a.len == 0)
		return 0;
	c = (unsigned char)a.p[0];
	if (c < 0x80)
		return 1;
	if (c < 0xc2 || c > 0xf4)
		return 0;
	len = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	if (c == 0xe0)
		low = 0xa0;
	if (c == 0xed)
		high = 0x9f;
	if (c == 0xf0)
		low = 0x90;
	if (c == 0xf4)
		high = 0x8f;
	if (a.len < len)
		return 0;
	for (size_t i = 1; i < len; i++) {
		c = (unsigned char)a.p[i];
		if (c < low || c > high)
			return 0;
		low = 0x80;
		high = 0xbf;
	}
	return len;
}

bool slice_is_utf8(struct slice a)
{
	while (a.len > 0) {
		size_t n = slice_utf8_len(a);

		if (n == 0)
			return false;
		a = slice_from(a, n);
	}
	return true;
}

char *slice_dup(struct slice a)
{
	return mem_dup(a.p, a.len);
}

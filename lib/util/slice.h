/* SPDX-License-Identifier: ISC */
#ifndef UTIL_SLICE_H
#define UTIL_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * A borrowed run of bytes: never NUL-terminated by promise, may hold any byte. p may be NULL only
 * when len is 0. For printf: "%.*s", SLICE_FMT(s).
 */
struct slice {
	const char *p;
	size_t len;
};

#define SLICE_FMT(s) (int)(s).len, (s).p
#define SLICE_LIT(s) ((struct slice){(s), sizeof(s) - 1})
#define SLICE_NONE ((struct slice){NULL, 0})

static inline struct slice slice_of(const void *p, size_t len)
{
	return (struct slice){p, len};
}

/* NULL gives the empty slice. */
static inline struct slice slice_str(const char *s)
{
	return (struct slice){s, s != NULL ? strlen(s) : 0};
}

static inline bool slice_eq(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

bool slice_eq_str(struct slice a, const char *s);
bool slice_case_eq(struct slice a, struct slice b); /* ASCII case folded */
bool slice_case_eq_str(struct slice a, const char *s);
bool slice_starts(struct slice a, const char *prefix);
bool slice_case_starts(struct slice a, const char *prefix);
bool slice_ends(struct slice a, const char *suffix);
bool slice_case_ends(struct slice a, const char *suffix);
int slice_cmp(struct slice a, struct slice b); /* as memcmp, shorter first */

/* From byte n on, or the first n bytes; n behind the end gives the empty slice or all. */
static inline struct slice slice_from(struct slice a, size_t n)
{
	if (a.p == NULL)
		return a;
	if (n > a.len)
		n = a.len;
	return slice_of(a.p + n, a.len - n);
}

struct slice slice_first(struct slice a, size_t n);

/* Offset of the first / last c, or -1. */
ptrdiff_t slice_find(struct slice a, char c);
ptrdiff_t slice_find_last(struct slice a, char c);
ptrdiff_t slice_find_str(struct slice a, const char *needle);
/* Without blanks and tabs (and CR, LF) at both ends. */
struct slice slice_trim(struct slice a);
/*
 * Takes the next token up to any byte of sep off the front of *rest (runs of separators count as
 * one, leading ones are skipped). False at the end.
 */
bool slice_token(struct slice *rest, const char *sep, struct slice *token);
/* Takes a part up to exactly one sep off the front; empty parts count. False when rest.p is NULL.
 */
bool slice_part(struct slice *rest, char sep, struct slice *part);
/* Decimal without sign, leading blanks or trailing bytes. ERR_SYNTAX, ERR_RANGE. */
int slice_u64(struct slice a, uint64_t min, uint64_t max, uint64_t *value);
/* No control character (0 to 31, 127). */
bool slice_is_printable(struct slice a);
bool slice_is_ascii(struct slice a);
bool slice_is_utf8(struct slice a);
/* Bytes of the UTF-8 character at the front (RFC 3629, strictly); 0: none there, or cut off. */
size_t slice_utf8_len(struct slice a);
/* Owned NUL-terminated copy; an embedded NUL is the caller's business. */
char *slice_dup(struct slice a);

#endif

/* SPDX-License-Identifier: ISC */
#include "util/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

#define BUF_FIRST 64

void buf_init(struct buf *b, size_t limit)
{
	*b = BUF_INIT(limit);
}

void buf_clear(struct buf *b)
{
	if (b->secret)
		mem_wipe_free(b->data, b->cap);
	else
		mem_free(b->data);
	*b = (struct buf){.limit = b->limit, .secret = b->secret};
}

void buf_wipe_clear(struct buf *b)
{
	mem_wipe_free(b->data, b->cap);
	*b = BUF_INIT(b->limit);
}

void buf_reset(struct buf *b)
{
	b->start = b->len = 0;
	b->failed = false;
	if (b->data != NULL)
		b->data[0] = '\0';
}

void buf_release(struct buf *b)
{
	bool failed = b->failed;

	if (b->len > 0)
		return;
	buf_clear(b);
	b->failed = failed;
}

static void buf_to_front(struct buf *b)
{
	memmove(b->data, b->data + b->start, b->len + 1);
	b->start = 0;
}

/* Doubles, so that adding is amortised; never over the limit and its NUL. */
static void buf_grow(struct buf *b, size_t need)
{
	size_t cap = b->cap < BUF_FIRST / 2 ? BUF_FIRST : b->cap * 2;

	if (cap < need)
		cap = need;
	if (cap > b->limit + 1)
		cap = b->limit + 1;
	if (b->start > 0)
		buf_to_front(b);
	if (b->secret) {
		char *data = mem_alloc(cap);

		if (b->data != NULL)
			memcpy(data, b->data, b->len + 1);
		mem_wipe_free(b->data, b->cap);
		b->data = data;
	} else {
		b->data = mem_resize(b->data, cap, 1);
	}
	b->cap = cap;
	b->data[b->len] = '\0';
}

/* Makes room for n bytes and the NUL behind the last byte. */
static int buf_reserve(struct buf *b, size_t n)
{
	size_t need = 0;

	if (b->failed || n > b->limit - b->len) {
		b->failed = true;
		return ERR_LIMIT;
	}
	need = b->len + n + 1;
	if (b->data != NULL && need <= b->cap - b->start)
		return 0;
	/* Moving costs len; only when that much was taken off before does it stay amortised. */
	if (b->data != NULL && need <= b->cap && (b->start >= b->len || b->cap > b->limit))
		buf_to_front(b);
	else
		buf_grow(b, need);
	return 0;
}

int buf_add(struct buf *b, const void *p, size_t len)
{
	int r = buf_reserve(b, len);

	if (r < 0)
		return r;
	if (len > 0)
		memcpy(b->data + b->start + b->len, p, len);
	buf_added(b, len);
	return 0;
}

int buf_add_slice(struct buf *b, struct slice s)
{
	return buf_add(b, s.p, s.len);
}

int buf_add_str(struct buf *b, const char *s)
{
	return buf_add(b, s, strlen(s));
}

int buf_add_char(struct buf *b, char c)
{
	return buf_add(b, &c, 1);
}

int buf_add_fmt(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n = 0;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0 || buf_reserve(b, (size_t)n) < 0) {
		b->failed = true;
		return ERR_LIMIT;
	}
	va_start(ap, fmt);
	vsnprintf(b->data + b->start + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
	return 0;
}

int buf_add_lower(struct buf *b, struct slice s)
{
	char *to = NULL;
	int r = buf_room(b, s.len, &to);

	if (r < 0)
		return r;
	for (size_t i = 0; i < s.len; i++)
		to[i] = s.p[i] >= 'A' && s.p[i] <= 'Z' ? (char)(s.p[i] | 0x20) : s.p[i];
	buf_added(b, s.len);
	return 0;
}

int buf_room(struct buf *b, size_t n, char **room)
{
	int r = buf_reserve(b, n);

	*room = r == 0 ? b->data + b->start + b->len : NULL;
	return r;
}

void buf_added(struct buf *b, size_t n)
{
	if (n == 0)
		return;
	if (b->data == NULL || n >= b->cap - b->start - b->len)
		log_panic("buf_added: %zu bytes without room", n);
	b->len += n;
	b->data[b->start + b->len] = '\0';
}

void buf_consume(struct buf *b, size_t n)
{
	if (n > b->len)
		log_panic("buf_consume: %zu of %zu bytes", n, b->len);
	b->start += n;
	b->len -= n;
	if (b->len > 0 || b->data == NULL)
		return;
	b->start = 0;
	b->data[0] = '\0';
}

void buf_truncate(struct buf *b, size_t n)
{
	if (n > b->len)
		log_panic("buf_truncate: %zu of %zu bytes", n, b->len);
	b->len = n;
	if (b->data != NULL)
		b->data[b->start + n] = '\0';
}

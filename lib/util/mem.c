/* SPDX-License-Identifier: ISC */
#include "util/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/log.h"

static _Noreturn void mem_exhausted(size_t n, size_t size)
{
	log_fatal("out of memory (%zu times %zu bytes)", n, size);
}

void *mem_alloc(size_t size)
{
	return mem_array(1, size);
}

void *mem_array(size_t n, size_t size)
{
	/* An empty one is one byte: NULL would mean two things. */
	bool empty = n == 0 || size == 0;
	void *p = empty ? calloc(1, 1) : calloc(n, size);

	if (p == NULL)
		mem_exhausted(n, size);
	return p;
}

void *mem_resize(void *p, size_t n, size_t size)
{
	size_t bytes = 0;

	if (__builtin_mul_overflow(n, size, &bytes))
		mem_exhausted(n, size);
	p = realloc(p, bytes > 0 ? bytes : 1);
	if (p == NULL)
		mem_exhausted(n, size);
	return p;
}

void *mem_dup(const void *p, size_t len)
{
	size_t size = 0;
	char *copy = NULL;

	if (__builtin_add_overflow(len, (size_t)1, &size))
		mem_exhausted(len, 1);
	copy = mem_resize(NULL, size, 1);
	if (len > 0)
		memcpy(copy, p, len);
	copy[len] = '\0';
	return copy;
}

char *mem_str(const char *s)
{
	return s != NULL ? mem_dup(s, strlen(s)) : NULL;
}

char *mem_fmt(const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		mem_exhausted(1, strlen(fmt));
	va_end(ap);
	return s;
}

void mem_free(void *p)
{
	free(p);
}

void mem_wipe_free(void *p, size_t len)
{
	if (p == NULL)
		return;
	explicit_bzero(p, len);
	free(p);
}

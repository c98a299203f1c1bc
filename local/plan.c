/* SPDX-License-Identifier: ISC */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "local/delivery.h"
#include "util/mem.h"

__attribute__((format(printf, 4, 0))) static void set(struct outcome *o, enum proto_result result,
	const char *status, const char *fmt, va_list ap)
{
	*o = (struct outcome){.result = result};
	strlcpy(o->status, status, sizeof(o->status));
	vsnprintf(o->text, sizeof(o->text), fmt, ap);
}

void outcome_set(
	struct outcome *o, enum proto_result result, const char *status, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	set(o, result, status, fmt, ap);
	va_end(ap);
}

void plan_answer(struct plan *p, enum proto_result result, const char *status, const char *fmt, ...)
{
	va_list ap;
	p->kind = PLAN_ANSWER;
	va_start(ap, fmt);
	set(&p->outcome, result, status, fmt, ap);
	va_end(ap);
}

void plan_clear(struct plan *p)
{
	mem_free(p->user);
	mem_free(p->transport);
	mem_free(p->nexthop);
	for (size_t i = 0; i < p->count; i++)
		mem_free(p->addresses[i]);
	mem_free(p->addresses);
	*p = (struct plan){0};
}

/* SPDX-License-Identifier: ISC */
#include "smtp-client/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util/mem.h"

enum { PROBLEM_TEXT_MAX = 4096 };

void problem_clear(struct problem *p)
{
	buf_clear(&p->text);
	buf_clear(&p->diagnostic);
	mem_free(p->remote);
	p->remote = NULL;
}

void problem_set(struct problem *p, const char *status, const char *fmt, ...)
{
	/* What is over the limit is cut: a reason must never be missing as a whole. */
	char text[PROBLEM_TEXT_MAX];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	problem_clear(p);
	p->code = 0;
	p->stage = STAGE_NONE;
	p->text.limit = p->diagnostic.limit = PROBLEM_TEXT_MAX;
	strlcpy(p->status, status, sizeof(p->status));
	buf_add_str(&p->text, text);
}

bool problem_is_soft(const struct problem *p)
{
	return p->status[0] != '5';
}

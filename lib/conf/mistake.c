/* SPDX-License-Identifier: ISC */
#include <stdarg.h>
#include <stdio.h>

#include "conf/mistake.h"
#include "util/log.h"

enum { TEXT_LIMIT = 1 << 20, LINE_LIMIT = 2000, SEEN_LIMIT = 10000 };

void mistakes_init(struct mistakes *m)
{
	*m = (struct mistakes){.text = BUF_INIT(TEXT_LIMIT), .seen = dict_new(SEEN_LIMIT, NULL)};
}

void mistakes_clear(struct mistakes *m)
{
	buf_clear(&m->text);
	dict_free(&m->seen);
	m->errors = m->warnings = 0;
}

__attribute__((format(printf, 4, 0))) static void add(
	struct mistakes *m, struct place where, const char *grade, const char *fmt, va_list ap)
{
	char raw[LINE_LIMIT];
	struct buf line = BUF_INIT(2 * LINE_LIMIT);

	vsnprintf(raw, sizeof(raw), fmt, ap);
	if (where.path != NULL)
		buf_add_fmt(&line, "%s:", where.path);
	if (where.path != NULL && where.line != 0)
		buf_add_fmt(&line, "%u:%u:", where.line, where.column);
	if (line.len != 0)
		buf_add_char(&line, ' ');
	buf_add_fmt(&line, "%s: ", grade);
	log_quote(&line, slice_str(raw), LINE_LIMIT);
	buf_add_char(&line, '\n');
	if (dict_get(m->seen, buf_slice(&line)) == NULL) {
		dict_set(m->seen, buf_slice(&line), m);
		(*grade == 'e') ? m->errors++ : m->warnings++;
		buf_add_slice(&m->text, buf_slice(&line));
	}
	buf_clear(&line);
}

void mistakes_error(struct mistakes *m, struct place where, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(m, where, "error", fmt, ap);
	va_end(ap);
}

void mistakes_warning(struct mistakes *m, struct place where, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(m, where, "warning", fmt, ap);
	va_end(ap);
}

/* SPDX-License-Identifier: ISC */
#include "mail/talk.h"

#include "util/mem.h"

struct talk *talk_new(void)
{
	struct talk *t = mem_alloc(sizeof(*t));

	buf_init(&t->text, TALK_LIMIT);
	return t;
}

void talk_free(struct talk **t)
{
	if (*t == NULL)
		return;
	buf_clear(&(*t)->text);
	mem_free(*t);
	*t = NULL;
}

void talk_add(struct talk *t, const char *who, struct slice line)
{
	size_t before = t->text.len;

	while (line.len > 0 && strchr("\r\n", line.p[line.len - 1]) != NULL)
		line.len--;
	t->lines++;
	if (t->is_cut)
		return;
	(void)buf_add_str(&t->text, who);
	for (size_t i = 0; i < line.len; i++)
		(void)buf_add_char(&t->text,
			(unsigned char)line.p[i] < ' ' || line.p[i] == 127 ? '?' : line.p[i]);
	(void)buf_add_char(&t->text, '\n');
	t->is_cut = buf_failed(&t->text);
	if (t->is_cut)
		buf_truncate(&t->text, before);
}

void talk_add_lines(struct talk *t, const char *who, struct slice lines)
{
	struct slice line;

	while (lines.len > 0 && slice_part(&lines, '\n', &line))
		talk_add(t, who, line);
}

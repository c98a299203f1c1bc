/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "conf/line.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

static const char blanks[] = " \t\r\n\v\f";

static bool is_blank(char c)
{
	return c != '\0' && strchr(blanks, c) != NULL;
}

int line_read_file(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int r;

	if (fd < 0)
		return ERR_SYS;
	r = fd_read_all(fd, out);
	fd_close(&fd);
	return r;
}

int line_read_text(const char *path, struct buf *out, struct mistakes *m)
{
	int r = line_read_file(path, out);

	if (r == ERR_LIMIT)
		mistakes_error(m, (struct place){.path = path},
			"longer than %d bytes; expected a text file", LINE_FILE_LIMIT);
	else if (r != 0)
		mistakes_error(m, (struct place){.path = path}, "%s; expected a readable file",
			err_str(r));
	return r;
}

int line_check_text(struct slice file, const char *path, struct mistakes *m)
{
	ptrdiff_t nul = slice_find(file, '\0');
	struct place where = {.path = path, .line = 1, .column = 1};

	if (nul < 0)
		return 0;
	for (ptrdiff_t i = 0; i < nul; i++) {
		where.line += file.p[i] == '\n';
		where.column = file.p[i] == '\n' ? 1 : where.column + 1;
	}
	mistakes_error(m, where, "a NUL character; expected a text file");
	return ERR_SYNTAX;
}

void line_init(struct line_reader *r, struct slice file)
{
	*r = (struct line_reader){.rest = file, .line = 1, .text = BUF_INIT(LINE_FILE_LIMIT)};
}

void line_clear(struct line_reader *r)
{
	buf_clear(&r->text);
	line_pieces_clear(&r->pieces);
}

void line_pieces_clear(struct line_pieces *p)
{
	mem_free(p->piece);
	*p = (struct line_pieces){0};
}

static void add_piece(struct line_pieces *p, struct line_piece piece)
{
	p->piece = mem_resize(p->piece, p->count + 1, sizeof(*p->piece));
	p->piece[p->count++] = piece;
}

/* The next line of the file without its end. */
static bool physical(struct line_reader *r, struct slice *line)
{
	ptrdiff_t end = 0;

	if (r->rest.len == 0)
		return false;
	end = slice_find(r->rest, '\n');
	*line = slice_first(r->rest, end < 0 ? r->rest.len : (size_t)end);
	r->rest = slice_from(r->rest, line->len + 1);
	r->line++;
	return true;
}

static bool is_comment(struct slice line)
{
	struct slice text = slice_trim(line);

	return text.len == 0 || text.p[0] == '#';
}

bool line_next(struct line_reader *r)
{
	struct slice line;

	buf_reset(&r->text);
	line_pieces_clear(&r->pieces);
	for (;;) {
		struct slice before = r->rest;

		if (!physical(r, &line))
			break;
		if (is_comment(line))
			continue;
		if (r->text.len != 0 && !is_blank(line.p[0])) {
			r->rest = before;
			r->line--;
			break;
		}
		add_piece(&r->pieces, (struct line_piece){r->text.len, r->line - 1, 1});
		if (line.p[line.len - 1] == '\r')
			line.len--;
		buf_add_slice(&r->text, line);
	}
	return r->text.len != 0;
}

void line_place(const struct line_pieces *p, size_t offset, unsigned *line, unsigned *column)
{
	*line = *column = 0;
	for (size_t i = 0; i < p->count && p->piece[i].offset <= offset; i++) {
		*line = p->piece[i].line;
		*column = p->piece[i].column + (unsigned)(offset - p->piece[i].offset);
	}
}

struct line_pieces line_part(const struct line_pieces *p, size_t offset)
{
	struct line_pieces part = {0};
	struct line_piece first = {0};

	line_place(p, offset, &first.line, &first.column);
	add_piece(&part, first);
	for (size_t i = 0; i < p->count; i++) {
		if (p->piece[i].offset > offset)
			add_piece(&part, (struct line_piece){p->piece[i].offset - offset,
						 p->piece[i].line, p->piece[i].column});
	}
	return part;
}

bool line_item(struct slice *rest, struct slice *item)
{
	size_t start = 0, end = 0;
	int depth = 0;

	while (start < rest->len && (rest->p[start] == ',' || is_blank(rest->p[start])))
		start++;
	for (end = start; end < rest->len; end++) {
		char c = rest->p[end];

		if (c == '{')
			depth++;
		else if (c == '}' && depth > 0)
			depth--;
		else if (depth == 0 && (c == ',' || is_blank(c)))
			break;
	}
	*item = slice_first(slice_from(*rest, start), end - start);
	*rest = slice_from(*rest, end);
	return item->len != 0;
}

bool line_word(struct slice *rest, struct slice *word)
{
	size_t end = 0;
	int depth = 0;

	while (rest->len != 0 && is_blank(rest->p[0]))
		*rest = slice_from(*rest, 1);
	for (; end < rest->len; end++) {
		char c = rest->p[end];

		if (c == '{' && (end == 0 || depth > 0))
			depth++;
		else if (c == '}' && depth > 0)
			depth--;
		else if (depth == 0 && is_blank(c))
			break;
	}
	*word = slice_first(*rest, end);
	*rest = slice_from(*rest, end);
	return word->len != 0;
}

bool line_is_balanced(struct slice s)
{
	int depth = 0;

	for (size_t i = 0; i < s.len && depth >= 0; i++)
		depth += s.p[i] == '{' ? 1 : s.p[i] == '}' ? -1 : 0;
	return depth == 0;
}

/* SPDX-License-Identifier: ISC */
#include <ctype.h>
#include <errno.h>

#include "conf/set.h"
#include "util/err.h"
#include "util/mem.h"

static bool is_name(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (!isalnum((unsigned char)s.p[i]) && s.p[i] != '_')
			return false;
	}
	return s.len != 0;
}

int set_split(struct slice text, struct slice *name, struct slice *value)
{
	ptrdiff_t equals = slice_find(text, '=');

	*name = *value = SLICE_NONE;
	if (equals < 0)
		return ERR_SYNTAX;
	*name = slice_trim(slice_first(text, (size_t)equals));
	*value = slice_trim(slice_from(text, (size_t)equals + 1));
	return is_name(*name) ? 0 : ERR_SYNTAX;
}

static void read_line(
	struct conf *c, const struct line_reader *r, const char *path, struct mistakes *m)
{
	struct slice text = buf_slice(&r->text), name, value;
	struct place where = {.path = path};
	const struct setting *before = NULL;
	struct line_pieces pieces = {0};

	line_place(&r->pieces, 0, &where.line, &where.column);
	if (text.p[0] == ' ' || text.p[0] == '\t') {
		mistakes_error(m, where,
			"the first line begins with a blank; expected name = value at its "
			"beginning");
		return;
	}
	if (set_split(text, &name, &value) != 0) {
		if (slice_find(text, '=') < 0)
			mistakes_error(m, where, "no \"=\"; expected name = value");
		else
			mistakes_error(m, where,
				"\"%.*s\" is no name; expected letters, digits and _",
				SLICE_FMT(name));
		return;
	}
	before = set_find(c, name);
	if (before != NULL)
		mistakes_warning(m, where,
			"%.*s is set again; expected one setting, the one in line %u is not used",
			SLICE_FMT(name), before->line);
	pieces = line_part(&r->pieces, value.len != 0 ? (size_t)(value.p - text.p) : 0);
	set_override(c, name, value, path, &pieces);
	set_named(c, name, where.line, where.column);
}

int set_read_text(struct conf *c, const char *path, struct slice text, struct mistakes *m)
{
	struct line_reader r;

	if (line_check_text(text, path, m) != 0)
		return ERR_SYNTAX;
	line_init(&r, text);
	while (line_next(&r))
		read_line(c, &r, path, m);
	line_clear(&r);
	return 0;
}

int set_read_main(struct conf *c, struct mistakes *m)
{
	char *path = mem_fmt("%s/main.cf", set_raw(c, P_config_directory));
	struct buf file = BUF_INIT(LINE_FILE_LIMIT);
	int r = line_read_text(path, &file, m);

	if (r == 0)
		r = set_read_text(c, path, buf_slice(&file), m);
	buf_clear(&file);
	mem_free(path);
	return r;
}

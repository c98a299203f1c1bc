/* SPDX-License-Identifier: ISC */
#include <fcntl.h>

#include "map/keyed.h"
#include "map/text.h"
#include "tools/gatemap.h"
#include "util/base64.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

/* Table sources (KEY VALUE) and alias files (NAME: VALUE, VALUE). */

static void add_key(struct buf *key, struct slice s)
{
	if (gatemap_options.fold)
		buf_add_lower(key, s);
	else
		buf_add_slice(key, s);
}

static bool add_file(struct text *t, unsigned line, const char *name, struct buf *content)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? ERR_SYS : fd_read_all(fd, content);
	if (r != 0)
		text_mistake(t, line, "%s %s: %s: skipping this entry", fd < 0 ? "open" : "read",
			name, err_str(r));
	fd_close(&fd);
	return r == 0;
}

/* -F: the value is what the named files hold, a line end between them, in base64. */
static bool add_files(struct text *t, unsigned line, struct slice names, struct buf *value)
{
	struct buf content = BUF_INIT(MAP_VALUE_LIMIT);
	struct slice word;
	bool good = true;
	while (good && slice_token(&names, ", \t\r\n", &word)) {
		char *name = slice_dup(word);
		if (content.len > 0)
			buf_add_char(&content, '\n');
		good = add_file(t, line, name, &content);
		mem_free(name);
	}
	base64_encode(value, buf_slice(&content));
	buf_clear(&content);
	return good;
}

static bool is_unbalanced(struct slice key)
{
	bool quoted = false;
	for (size_t i = 0; i < key.len; i++) {
		if (key.p[i] == '\\')
			i++;
		else if (key.p[i] == '"')
			quoted = !quoted;
	}
	return quoted;
}

static bool table_entry(
	struct text *t, struct slice logical, unsigned line, struct buf *key, struct buf *value)
{
	struct slice k, v;
	if (!keyed_split(logical, &k, &v)) {
		if (is_unbalanced(k))
			text_mistake(t, line, "unbalanced '\"' in '%.*s' -- ignoring this line",
				SLICE_FMT(slice_first(k, 60)));
		else
			text_mistake(t, line, "expected format: key whitespace value");
		return false;
	}
	if (k.p[k.len - 1] == ':')
		text_mistake(t, line, "record is in \"key: value\" format; is this an alias file?");
	add_key(key, k);
	if (gatemap_options.files)
		return add_files(t, line, v, value);
	buf_add_slice(value, v);
	return true;
}

/* The name in front of ':'; quotes are taken off, as a local part is looked up without them. */
static bool take_name(struct slice *rest, struct buf *name)
{
	bool quoted = false;
	size_t n = 0;
	struct slice s = slice_trim(*rest);
	buf_reset(name);
	for (; n < s.len && (quoted || s.p[n] != ':'); n++) {
		if (s.p[n] == '"') {
			quoted = !quoted;
			continue;
		}
		if (s.p[n] == '\\' && quoted && n + 1 < s.len)
			n++;
		buf_add_char(name, s.p[n]);
	}
	*rest = n < s.len ? slice_trim(slice_from(s, n + 1)) : SLICE_NONE;
	return n < s.len && !quoted;
}

/* The next value, up to a comma that is not inside quotes, angle brackets or a comment. */
static bool take_value(struct slice *rest, struct slice *item)
{
	bool quoted = false;
	int depth = 0;
	size_t n = 0;
	if (rest->len == 0)
		return false;
	for (; n < rest->len && (quoted || depth > 0 || rest->p[n] != ','); n++) {
		char c = rest->p[n];
		if (c == '\\' && n + 1 < rest->len)
			n++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted && c == '(')
			depth++;
		else if (!quoted && c == ')' && depth > 0)
			depth--;
	}
	*item = slice_trim(slice_first(*rest, n));
	*rest = slice_from(*rest, n + 1);
	return true;
}

static bool alias_entry(
	struct text *t, struct slice logical, unsigned line, struct buf *key, struct buf *value)
{
	struct buf name = BUF_INIT(MAP_KEY_LIMIT);
	struct slice rest = logical, item;
	bool good = take_name(&rest, &name);
	struct slice n = slice_trim(buf_slice(&name));
	if (!good || n.len == 0) {
		text_mistake(t, line, "need name:value pair");
		good = false;
	} else if (slice_find(n, '@') >= 0) {
		text_mistake(t, line, "name must be local");
		good = false;
	}
	add_key(key, n);
	while (good && take_value(&rest, &item)) {
		if (item.len == 0)
			continue;
		if (value->len > 0)
			buf_add_str(value, ", ");
		buf_add_slice(value, item);
	}
	if (good && value->len == 0) {
		text_mistake(t, line,
			"no value for \"%.*s\"; expected format: name: value, value, ...",
			SLICE_FMT(slice_first(n, 60)));
		good = false;
	}
	buf_clear(&name);
	return good;
}

bool gatemap_entry(
	struct text *t, struct slice logical, unsigned line, struct buf *key, struct buf *value)
{
	buf_reset(key);
	buf_reset(value);
	if (gatemap_options.utf8 && !slice_is_utf8(logical)) {
		text_mistake(t, line, "non-UTF-8 input \"%.*s\" -- ignoring this line",
			SLICE_FMT(slice_first(logical, 60)));
		return false;
	}
	bool good = gatemap_options.aliases ? alias_entry(t, logical, line, key, value)
					    : table_entry(t, logical, line, key, value);
	if (good && (buf_failed(key) || buf_failed(value))) {
		text_mistake(t, line, "key or value too long; at most %d and %d bytes",
			MAP_KEY_LIMIT, MAP_VALUE_LIMIT);
		return false;
	}
	return good;
}

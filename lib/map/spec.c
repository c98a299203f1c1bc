/* SPDX-License-Identifier: ISC */
#include "map/driver.h"
#include "map/spec.h"
#include "util/err.h"

enum { NESTING_LIMIT = 8 };

static bool is_separator(char c)
{
	return c == ',' || c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bool spec_token(struct slice *rest, struct slice *token)
{
	size_t start = 0, depth = 0;
	while (start < rest->len && is_separator(rest->p[start]))
		start++;
	size_t end = start;
	for (; end < rest->len && (depth > 0 || !is_separator(rest->p[end])); end++) {
		if (rest->p[end] == '{')
			depth++;
		else if (rest->p[end] == '}' && depth > 0)
			depth--;
	}
	*token = slice_of(rest->p + start, end - start);
	*rest = slice_from(*rest, end);
	return token->len > 0;
}

int spec_strip_braces(struct slice *text)
{
	struct slice t = slice_trim(*text);
	if (t.len < 2 || t.p[0] != '{' || t.p[t.len - 1] != '}')
		return ERR_SYNTAX;
	size_t depth = 0;
	for (size_t i = 0; i < t.len; i++) {
		if (t.p[i] == '{')
			depth++;
		else if (t.p[i] == '}' && (depth == 0 || --depth == 0) && i + 1 < t.len)
			return ERR_SYNTAX;
	}
	*text = slice_trim(slice_of(t.p + 1, t.len - 2));
	return depth == 0 ? 0 : ERR_SYNTAX;
}

struct slice spec_without_proxy(struct slice spec)
{
	while (slice_starts(spec, "proxy:"))
		spec = slice_from(spec, strlen("proxy:"));
	return spec;
}

/* What the opener is asked for: the wrappers are taken off. */
static struct slice innermost(struct slice spec)
{
	spec = spec_without_proxy(spec);
	while (slice_starts(spec, "later:"))
		spec = spec_without_proxy(slice_from(spec, strlen("later:")));
	return spec;
}

static void walk(
	struct slice text, void (*visit)(struct slice spec, void *arg), void *arg, int level)
{
	struct slice token, name;
	while (spec_token(&text, &token)) {
		while (slice_starts(token, "!"))
			token = slice_from(token, 1);
		if (slice_starts(token, "{")) {
			if (level < NESTING_LIMIT && spec_strip_braces(&token) == 0)
				walk(token, visit, arg, level + 1);
			continue;
		}
		token = innermost(token);
		const struct map_driver *d = map_driver_of(token, &name);
		/* In restriction lists "unix:private/policy" is a socket. */
		if (d == &map_unix && !slice_ends(name, ".byname"))
			continue;
		if (d == &map_union || d == &map_pipe) {
			if (level < NESTING_LIMIT && spec_strip_braces(&name) == 0)
				walk(name, visit, arg, level + 1);
			continue;
		}
		if (d != NULL || slice_starts(token, "/"))
			visit(token, arg);
	}
}

void map_walk_specs(const char *text, void (*visit)(struct slice spec, void *arg), void *arg)
{
	walk(slice_str(text), visit, arg, 0);
}

int map_spec_path(const char *spec, struct buf *path)
{
	struct slice name, inner = innermost(slice_str(spec));
	buf_reset(path);
	if (slice_starts(inner, "/"))
		return buf_add_slice(path, inner);
	const struct map_driver *d = map_driver_of(inner, &name);
	if (d == NULL || d->source == MAP_SOURCE_NONE || name.len == 0 || name.p[0] == '{')
		return ERR_NOT_FOUND;
	buf_add_slice(path, name);
	if (d->source == MAP_SOURCE_INDEX)
		buf_add_str(path, d == &map_lmdb ? ".lmdb" : ".db");
	return buf_failed(path) ? ERR_LIMIT : 0;
}

/* SPDX-License-Identifier: ISC */
#include <regex.h>

#include "map/pattern.h"
#include "util/err.h"
#include "util/mem.h"

/*
 * regexp: POSIX regular expressions of the C library, extended ones unless the flag x is given,
 * without regard to case unless i is. Keys are bounded, since the library has no limit of its own.
 */
enum { KEY_LIMIT = 1 << 20 };

static bool parse_flags(struct slice flags, struct text *t, unsigned line, int *options)
{
	*options = REG_EXTENDED | REG_ICASE;
	for (size_t i = 0; i < flags.len; i++) {
		switch (flags.p[i]) {
		case 'i': *options ^= REG_ICASE; break;
		case 'm': *options ^= REG_NEWLINE; break;
		case 'x': *options ^= REG_EXTENDED; break;
		default:
			text_mistake(t, line, "unknown flag \"%.*s\"; expected i, m or x",
				SLICE_FMT(slice_first(flags, 20)));
			return false;
		}
	}
	return true;
}

static bool posix_compile(struct slice pattern, struct slice flags, struct text *t, unsigned line,
	void **code, unsigned *groups)
{
	int options;
	if (!parse_flags(flags, t, line, &options))
		return false;
	regex_t *re = mem_alloc(sizeof(*re));
	char *text = slice_dup(pattern);
	int error = regcomp(re, text, options);
	mem_free(text);
	if (error != 0) {
		char why[128];
		regerror(error, re, why, sizeof(why));
		text_mistake(t, line, "error in the pattern: %s", why);
		mem_free(re);
		return false;
	}
	*groups = (unsigned)re->re_nsub;
	*code = re;
	return true;
}

static int posix_match(const void *code, struct slice key,
	struct pattern_span spans[PATTERN_GROUP_LIMIT + 1], struct buf *why)
{
	regmatch_t found[PATTERN_GROUP_LIMIT + 1] = {{.rm_so = 0, .rm_eo = (regoff_t)key.len}};
	if (key.len > KEY_LIMIT) {
		buf_add_fmt(why, "a key of more than %d bytes", KEY_LIMIT);
		return ERR_TEMP;
	}
	int r = regexec(
		code, key.len > 0 ? key.p : "", PATTERN_GROUP_LIMIT + 1, found, REG_STARTEND);
	if (r == REG_NOMATCH)
		return 0;
	if (r != 0) {
		char text[128];
		regerror(r, code, text, sizeof(text));
		buf_add_str(why, text);
		return ERR_TEMP;
	}
	for (int i = 0; i <= PATTERN_GROUP_LIMIT; i++)
		spans[i] = (struct pattern_span){found[i].rm_so, found[i].rm_eo};
	return 1;
}

static void posix_free(void *code)
{
	regex_t *re = code;
	if (re != NULL)
		regfree(re);
	mem_free(re);
}

static int regexp_open(const struct map_input *in, void **state)
{
	static const struct pattern_engine engine = {posix_compile, posix_match, posix_free};
	return pattern_open(&engine, in, state);
}

const struct map_driver map_regexp = {
	"regexp", MAP_SOURCE_TEXT, regexp_open, pattern_find, pattern_close, NULL, true};

/* SPDX-License-Identifier: ISC */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "map/pattern.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

/*
 * pcre: patterns of PCRE2. They are interpreted, or compiled to machine code where the program says
 * so; a match has limits: a pattern that needs more is a failed lookup, not "not found".
 */
enum { MATCH_STEPS = 1000000, MATCH_DEPTH = 5000, MATCH_HEAP_KB = 20480 };

/* One match at a time: shared by all tables of the process, never freed. */
static pcre2_match_context *limits;
static pcre2_match_data *found;
static bool makes_code;

void map_set_machine_code(bool on)
{
	makes_code = on;
}

static void set_up(void)
{
	limits = pcre2_match_context_create(NULL);
	found = pcre2_match_data_create(PATTERN_GROUP_LIMIT + 1, NULL);
	if (limits == NULL || found == NULL)
		log_fatal("out of memory");
	pcre2_set_match_limit(limits, MATCH_STEPS);
	pcre2_set_depth_limit(limits, MATCH_DEPTH);
	pcre2_set_heap_limit(limits, MATCH_HEAP_KB);
}

/* Flags switch what stands in Postfix's documentation; all but X change the default. */
static bool parse_flags(struct slice flags, struct text *t, unsigned line, uint32_t *options)
{
	*options = PCRE2_CASELESS | PCRE2_DOTALL | PCRE2_UTF | PCRE2_MATCH_INVALID_UTF |
		   PCRE2_NEVER_BACKSLASH_C;
	for (size_t i = 0; i < flags.len; i++) {
		switch (flags.p[i]) {
		case 'i': *options ^= PCRE2_CASELESS; break;
		case 'm': *options ^= PCRE2_MULTILINE; break;
		case 's': *options ^= PCRE2_DOTALL; break;
		case 'x': *options ^= PCRE2_EXTENDED; break;
		case 'A': *options ^= PCRE2_ANCHORED; break;
		case 'E': *options ^= PCRE2_DOLLAR_ENDONLY; break;
		case 'U': *options ^= PCRE2_UNGREEDY; break;
		case 'X': break;
		default:
			text_mistake(t, line,
				"unknown flag \"%.*s\"; expected i, m, s, x, A, E, U or X",
				SLICE_FMT(slice_first(flags, 20)));
			return false;
		}
	}
	return true;
}

static bool pcre_compile(struct slice pattern, struct slice flags, struct text *t, unsigned line,
	void **code, unsigned *groups)
{
	uint32_t options, count = 0;
	int error;
	PCRE2_SIZE at;
	if (!parse_flags(flags, t, line, &options))
		return false;
	*code = pcre2_compile((PCRE2_SPTR)pattern.p, pattern.len, options, &error, &at, NULL);
	if (*code == NULL) {
		PCRE2_UCHAR text[128] = "";
		pcre2_get_error_message(error, text, sizeof(text));
		text_mistake(t, line, "error in the pattern at offset %zu: %s", (size_t)at,
			(char *)text);
		return false;
	}
	pcre2_pattern_info(*code, PCRE2_INFO_CAPTURECOUNT, &count);
	*groups = count;
	/* Where it cannot be made the pattern is interpreted all the same. */
	if (makes_code)
		(void)pcre2_jit_compile(*code, PCRE2_JIT_COMPLETE);
	return true;
}

static int pcre_match(const void *code, struct slice key,
	struct pattern_span spans[PATTERN_GROUP_LIMIT + 1], struct buf *why)
{
	const char *subject = key.len > 0 ? key.p : "";
	if (found == NULL)
		set_up();
	int n = pcre2_match(code, (PCRE2_SPTR)subject, key.len, 0, 0, found, limits);
	/* Machine code has a small stack; the interpreter takes what its limits give. */
	if (n == PCRE2_ERROR_JIT_STACKLIMIT)
		n = pcre2_match(code, (PCRE2_SPTR)subject, key.len, 0, PCRE2_NO_JIT, found, limits);
	if (n == PCRE2_ERROR_NOMATCH)
		return 0;
	if (n < 0) {
		PCRE2_UCHAR text[128] = "";
		pcre2_get_error_message(n, text, sizeof(text));
		buf_add_str(why, (char *)text);
		return ERR_TEMP;
	}
	const PCRE2_SIZE *ovector = pcre2_get_ovector_pointer(found);
	for (int i = 0; i <= PATTERN_GROUP_LIMIT; i++) {
		bool set = (i < n || n == 0) && ovector[2 * i] != PCRE2_UNSET;
		spans[i] = set ? (struct pattern_span){(ptrdiff_t)ovector[2 * i],
					 (ptrdiff_t)ovector[2 * i + 1]}
			       : (struct pattern_span){0, -1};
	}
	return 1;
}

/* Patterns that are not used any more and cannot be freed. */
static struct kept {
	struct kept *next;
	void *code;
} * kept;

/* The memory of machine code is read-only by now, and to free it is to write to it. */
static void pcre_free(void *code)
{
	size_t size = 0;
	struct kept *k = NULL;

	if (code == NULL)
		return;
	(void)pcre2_pattern_info(code, PCRE2_INFO_JITSIZE, &size);
	if (size == 0) {
		pcre2_code_free(code);
		return;
	}
	k = mem_alloc(sizeof(*k));
	k->code = code;
	k->next = kept;
	kept = k;
}

static int pcre_open(const struct map_input *in, void **state)
{
	static const struct pattern_engine engine = {pcre_compile, pcre_match, pcre_free};
	return pattern_open(&engine, in, state);
}

const struct map_driver map_pcre = {
	"pcre", MAP_SOURCE_TEXT, pcre_open, pattern_find, pattern_close, NULL, true};

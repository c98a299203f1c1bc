/* SPDX-License-Identifier: ISC */
#include "map/driver.h"
#include "map/spec.h"
#include "util/err.h"
#include "util/mem.h"

/* static:VALUE or static:{ VALUE with blanks }: every key has this value. */

static int static_open(const struct map_input *in, void **state)
{
	struct slice value = in->name;
	if (value.len > 0 && value.p[0] == '{') {
		int r = spec_strip_braces(&value);
		if (r != 0) {
			buf_add_fmt(in->why,
				"%s: text behind, or no, closing brace; expected { TEXT }",
				in->spec);
			return r;
		}
	}
	*state = slice_dup(value);
	return 0;
}

static int static_find(void *state, struct slice key, struct later *l, struct buf *value)
{
	(void)key;
	(void)l;
	return buf_add_str(value, state);
}

static void static_close(void *state)
{
	mem_free(state);
}

const struct map_driver map_static = {
	"static", MAP_SOURCE_NONE, static_open, static_find, static_close};

/* fail:NAME: every lookup is an error. For tests of what depends on tables. */

static int fail_open(const struct map_input *in, void **state)
{
	(void)in;
	(void)state;
	return 0;
}

static int fail_find(void *state, struct slice key, struct later *l, struct buf *value)
{
	(void)state;
	(void)key;
	(void)l;
	(void)value;
	return ERR_TEMP;
}

static void fail_close(void *state)
{
	(void)state;
}

const struct map_driver map_fail = {"fail", MAP_SOURCE_NONE, fail_open, fail_find, fail_close};

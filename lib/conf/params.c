/* SPDX-License-Identifier: ISC */
#include <limits.h>
#include <string.h>

#include "config.h"

#include "conf/params.h"

static const struct param_row rows[] = {
#define P(name, type, def, min, max, programs, text) \
	{#name, def, PARAM_##type, min, (max) == 0 ? INT64_MAX : (max), programs, text},
#include "conf/params.def"
#undef P
};

static const char *const unsupported[] = {
#define N(name) #name,
#include "conf/postfix_names.def"
#undef N
};

enum { UNSUPPORTED = sizeof(unsupported) / sizeof(*unsupported), NAME_LIMIT = 63 };

const struct param_row *param_row(enum param p)
{
	return &rows[p];
}

enum param param_find(struct slice name)
{
	for (int i = 0; i < P_COUNT; i++) {
		if (slice_eq_str(name, rows[i].name))
			return (enum param)i;
	}
	return P_COUNT;
}

enum param param_lmtp(enum param smtp)
{
	static const char first[] = "smtp_";
	char name[NAME_LIMIT + 1];
	char *verb;

	if (strncmp(rows[smtp].name, first, strlen(first)) != 0 ||
		strlcpy(name, rows[smtp].name, sizeof(name)) >= sizeof(name))
		return P_COUNT;
	name[0] = 'l';
	verb = strstr(name, "_helo_");
	if (verb == NULL)
		verb = strstr(name, "_ehlo_");
	if (verb != NULL)
		memcpy(verb, "_lhlo_", 6);
	return param_find(slice_str(name));
}

bool param_is_unsupported(struct slice name)
{
	for (size_t i = 0; i < UNSUPPORTED; i++) {
		if (slice_eq_str(name, unsupported[i]))
			return true;
	}
	return false;
}

bool param_is_transport(enum param p)
{
	return strncmp(rows[p].name, "transport_", 10) == 0 && rows[p].def[0] == '$';
}

enum param param_find_transport(struct slice name, size_t *prefix)
{
	*prefix = 0;
	for (int i = 0; i < P_COUNT; i++) {
		const char *suffix = rows[i].name + strlen("transport");

		if (!param_is_transport((enum param)i) || !slice_ends(name, suffix) ||
			name.len <= strlen(suffix))
			continue;
		/* The longest suffix decides: initial_destination_concurrency ends in no other. */
		if (*prefix == 0 || name.len - strlen(suffix) < *prefix)
			*prefix = name.len - strlen(suffix);
	}
	for (int i = 0; i < P_COUNT && *prefix != 0; i++) {
		if (param_is_transport((enum param)i) &&
			slice_eq_str(slice_from(name, *prefix), rows[i].name + strlen("transport")))
			return (enum param)i;
	}
	return P_COUNT;
}

static unsigned smallest(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

/* Optimal string alignment, three rows at a time. */
unsigned param_distance(struct slice a, struct slice b)
{
	unsigned d[3][NAME_LIMIT + 1];

	if (a.len > NAME_LIMIT || b.len > NAME_LIMIT)
		return UINT_MAX;
	for (size_t j = 0; j <= b.len; j++)
		d[0][j] = (unsigned)j;
	for (size_t i = 1; i <= a.len; i++) {
		unsigned *row = d[i % 3], *above = d[(i + 2) % 3], *before = d[(i + 1) % 3];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b.len; j++) {
			row[j] = smallest(above[j] + 1, row[j - 1] + 1,
				above[j - 1] + (a.p[i - 1] != b.p[j - 1]));
			if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] &&
				a.p[i - 2] == b.p[j - 1] && before[j - 2] + 1 < row[j])
				row[j] = before[j - 2] + 1;
		}
	}
	return d[a.len % 3][b.len];
}

bool param_is_near(unsigned distance, size_t length)
{
	return distance <= (length < 6 ? 2 : length / 4 + 1);
}

const char *param_nearest(struct slice name)
{
	const char *nearest = NULL;
	unsigned best = UINT_MAX;

	for (int i = 0; i < P_COUNT; i++) {
		unsigned d = param_distance(name, slice_str(rows[i].name));

		if (d < best) {
			best = d;
			nearest = rows[i].name;
		}
	}
	return nearest != NULL && param_is_near(best, name.len) ? nearest : NULL;
}

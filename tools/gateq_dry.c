/* SPDX-License-Identifier: ISC */
#include "tools/gateq_dry.h"

#include <stdio.h>
#include <string.h>

#include "tools/gateq_filter.h"
#include "util/dict.h"
#include "util/mem.h"

bool gateq_dry_fits(const char *command, const struct gateq_message *m)
{
	if (strcmp(command, "release") == 0)
		return strcmp(m->queue, "hold") == 0;
	return strcmp(command, "flush") != 0 || strcmp(m->queue, "deferred") == 0;
}

static char not_met, met;

struct look {
	const char *command;
	struct dict *named; /* id → a mark: whether it would be changed */
};

static void meet(const struct gateq_message *m, void *arg)
{
	const struct look *l = arg;
	struct slice id = slice_str(m->id);

	if (dict_get(l->named, id) != NULL && gateq_dry_fits(l->command, m))
		dict_set(l->named, id, &met);
}

static void say(const char *command, size_t n)
{
	gateq_error("%s: %zu message%s would be, nothing was done", command, n, n == 1 ? "" : "s");
}

size_t gateq_dry_unique(char **ids, size_t n)
{
	struct dict *named = dict_new(n, NULL);
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (dict_get(named, slice_str(ids[i])) != NULL)
			continue;
		dict_set(named, slice_str(ids[i]), &met);
		ids[kept++] = ids[i];
	}
	dict_free(&named);
	return kept;
}

void gateq_dry_run(const char *command, char *const *ids, size_t n)
{
	for (size_t i = 0; i < n; i++)
		printf("%s\n", ids[i]);
	say(command, n);
}

int gateq_dry_run_named(const struct gateq_backend *b, const char *command, char *const *ids,
	size_t n, void (*missing)(const char *id))
{
	struct look l = {command, dict_new(n, NULL)};
	size_t done = 0;
	int err;

	for (size_t i = 0; i < n; i++)
		dict_set(l.named, slice_str(ids[i]), &not_met);
	err = b->list(false, meet, &l);
	for (size_t i = 0; i < n && err == 0; i++) {
		bool is_met = dict_get(l.named, slice_str(ids[i])) == &met;

		if (is_met)
			printf("%s\n", ids[i]);
		else
			missing(ids[i]);
		done += is_met;
	}
	dict_free(&l.named);
	if (err == 0)
		say(command, done);
	return err;
}

struct flush {
	const char *site; /* NULL: any */
	char **ids;
	size_t count;
};

static bool is_of_site(const struct gateq_message *m, const char *site)
{
	for (size_t i = 0; i < m->count; i++)
		if (strcasecmp(m->rcpts[i].nexthop, site) == 0 ||
			strcasecmp(gateq_domain(m->rcpts[i].address), site) == 0)
			return true;
	return false;
}

static void collect_flush(const struct gateq_message *m, void *arg)
{
	struct flush *f = arg;

	if (gateq_dry_fits("flush", m) && (f->site == NULL || is_of_site(m, f->site)))
		gateq_add_id(&f->ids, &f->count, m->id);
}

int gateq_dry_run_flush(const struct gateq_backend *b, const char *site)
{
	struct flush f = {.site = site};
	int err = b->list(true, collect_flush, &f);

	if (err == 0)
		gateq_dry_run("flush", f.ids, f.count);
	for (size_t i = 0; i < f.count; i++)
		mem_free(f.ids[i]);
	mem_free(f.ids);
	return err;
}

/* SPDX-License-Identifier: ISC */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "conf/check.h"
#include "conf/line.h"
#include "sasl/prep.h"
#include "sasl/record.h"
#include "tools/gatemap.h"
#include "util/mem.h"

/* Tables that smtpd_sasl_password_maps names hold records of lib/sasl, never a clear password. */
struct search {
	char path[PATH_MAX]; /* of the source, links followed */
	const char *queue_directory;
	bool found;
};

/* The file of a spec, or of what it is built from; false when there is none. */
static bool resolve(
	const char *directory, struct slice name, const char *suffix, char real[PATH_MAX])
{
	char *path = name.len > 0 && name.p[0] != '/'
			     ? mem_fmt("%s/%.*s%s", directory, SLICE_FMT(name), suffix)
			     : mem_fmt("%.*s%s", SLICE_FMT(name), suffix);
	bool found = realpath(path, real) != NULL;

	mem_free(path);
	return found;
}

static void compare(struct slice spec, void *arg)
{
	struct search *s = arg;
	struct slice name = slice_from(spec, (size_t)(slice_find(spec, ':') + 1));
	char real[PATH_MAX];

	if (resolve(s->queue_directory, name, "", real) ||
		resolve(s->queue_directory, name, ".db", real) ||
		resolve(s->queue_directory, name, ".lmdb", real))
		s->found = s->found || strcmp(real, s->path) == 0;
}

static void look(struct search *s, const struct conf *c)
{
	s->queue_directory = set_str(c, P_queue_directory);
	map_walk_specs(set_str(c, P_smtpd_sasl_password_maps), compare, s);
}

/* Mistakes in the files are for "gatepost check": they stop no table. */
bool gatemap_is_password_table(const char *dir, const char *path)
{
	struct search s = {.found = false};
	struct services services;
	struct mistakes m;
	struct conf *main = conf_new(dir);

	mistakes_init(&m);
	set_read_main(main, &m);
	(void)set_build(main, &m);
	services_read(&services, main, &m);
	if (resolve(".", slice_str(path), "", s.path) ||
		resolve(".", slice_str(path), ".db", s.path) ||
		resolve(".", slice_str(path), ".lmdb", s.path)) {
		look(&s, main);
		for (size_t i = 0; i < services.count && !s.found; i++) {
			struct conf *c = service_settings(&services, &services.service[i], main);

			(void)set_build(c, &m);
			look(&s, c);
			conf_free(&c);
		}
	}
	services_clear(&services);
	mistakes_clear(&m);
	conf_free(&main);
	return s.found;
}

bool gatemap_is_record(struct slice value)
{
	return sasl_records_are_good(value);
}

void gatemap_prepare_login(struct buf *key)
{
	struct buf prepared = BUF_INIT(MAP_KEY_LIMIT);

	if (sasl_prep(buf_slice(key), SASL_PREP_STORED, &prepared) == 0) {
		buf_reset(key);
		(void)buf_add_slice(key, buf_slice(&prepared));
	}
	buf_clear(&prepared);
}

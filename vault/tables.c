/* SPDX-License-Identifier: ISC */
#include "vault/tables.h"

#include "map/map.h"
#include "sasl/mechanism.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "vault/key.h"

enum { SERVICES_MAX = 1000, TABLES_MAX = 100, SAMPLES = 64, WHY = 8192 };

/* crypt(3) of nothing in particular, for tables in which no record was found. */
static const char no_sample[] =
	"$y$j9T$gatepostgatepostgatep.$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

struct tables {
	char *service, *domain;
	struct map_list *list;
	struct map *maps[TABLES_MAX]; /* those of list, to see how records look */
	size_t maps_n;
	/* Values of some logins. */
	char *sample[SAMPLES];
	size_t samples;
	unsigned version; /* of all maps, when they were taken */
	bool sampled;
};

static struct tables *services[SERVICES_MAX];
static size_t services_n;

static void open_map(struct slice spec, void *arg)
{
	struct tables *t = arg;
	struct buf why = BUF_INIT(WHY);
	char *text = slice_dup(spec);

	if (t->maps_n < TABLES_MAX && map_open(text, &why, &t->maps[t->maps_n]) == 0)
		t->maps_n++;
	mem_free(text);
	buf_clear(&why);
}

struct tables *tables_open(const char *service, struct slice domain, struct slice maps)
{
	struct tables *t = mem_alloc(sizeof(*t));
	struct buf why = BUF_INIT(WHY);
	char *specs = slice_dup(maps);

	if (services_n == SERVICES_MAX)
		log_fatal("more than %d services have password tables", SERVICES_MAX);
	t->service = mem_str(service);
	t->domain = slice_dup(domain);
	if (map_list_open(specs, &why, &t->list) != 0)
		log_fatal("smtpd_sasl_password_maps of %s: %s", t->service, buf_str(&why));
	map_walk_specs(specs, open_map, t);
	mem_free(specs);
	buf_clear(&why);
	services[services_n++] = t;
	return t;
}

struct tables *tables_of(const char *service)
{
	for (size_t i = 0; i < services_n; i++)
		if (strcmp(services[i]->service, service) == 0)
			return services[i];
	return NULL;
}

/* The records of a value that are some. */
static int take_records(struct slice value, const char *login, struct buf *records)
{
	struct slice rest = value, before;
	struct sasl_record r;
	int err;

	buf_reset(records);
	while (before = rest, (err = sasl_record_next(&rest, &r)) != ERR_NOT_FOUND) {
		struct slice record = slice_trim(slice_first(before, before.len - rest.len));

		if (err != 0)
			log_warning("password table: a record of %s is ignored: it is neither a "
				    "hash of crypt(3) nor {SCRAM-SHA-256}; \"gatepost password\" "
				    "makes one",
				log_qs(login));
		else
			(void)buf_add_fmt(
				records, "%s%.*s", records->len > 0 ? " " : "", SLICE_FMT(record));
	}
	if (buf_failed(records)) {
		log_warning("password table: %s has more than %d bytes of records", log_qs(login),
			SASL_RECORDS_MAX);
		return ERR_TEMP;
	}
	return records->len > 0 ? 0 : ERR_NOT_FOUND;
}

int tables_find(
	struct tables *t, struct slice login, struct later *l, struct buf *key, struct buf *records)
{
	struct buf value = BUF_SECRET(MAP_VALUE_LIMIT);

	buf_reset(key);
	(void)buf_add_lower(key, login);
	int r = map_list_find(t->list, buf_slice(key), l, &value);
	if (r == ERR_NOT_FOUND && slice_find(login, '@') < 0 && *t->domain != '\0') {
		(void)buf_add_fmt(key, "@%s", t->domain);
		r = map_list_find(t->list, buf_slice(key), l, &value);
	}
	if (r == 0)
		r = take_records(buf_slice(&value), buf_str(key), records);
	buf_clear(&value);
	return r;
}

/* ---- logins that are not there ---- */

static bool take_sample(struct slice key, struct slice value, void *arg)
{
	struct tables *t = arg;

	if (sasl_records_are_good(value))
		t->sample[t->samples++] = slice_dup(value);
	return t->samples < SAMPLES;
}

static void sample(struct tables *t)
{
	unsigned version = 0;

	for (size_t i = 0; i < t->maps_n; i++)
		version += map_version(t->maps[i]);
	if (t->sampled && version == t->version)
		return;
	while (t->samples > 0) {
		char *s = t->sample[--t->samples];

		mem_wipe_free(s, strlen(s));
	}
	for (size_t i = 0; i < t->maps_n && t->samples < SAMPLES; i++)
		(void)map_walk(t->maps[i], take_sample, t);
	t->version = version;
	t->sampled = true;
}

static size_t choose(struct slice login, size_t n)
{
	uint8_t out[SASL_KEY];
	uint32_t v;

	key_derive("which", login, SLICE_NONE, out);
	memcpy(&v, out, sizeof(v));
	return v % n;
}

void tables_stand_in(struct tables *t, struct slice login, struct buf *records)
{
	sample(t);
	buf_reset(records);
	(void)buf_add_str(
		records, t->samples > 0 ? t->sample[choose(login, t->samples)] : no_sample);
}

void tables_stand_in_scram(struct tables *t, struct slice login, struct sasl_scram *s)
{
	struct slice domain = slice_str(t->domain);
	uint8_t salt[SASL_KEY];
	size_t first;

	sample(t);
	*s = (struct sasl_scram){.iterations = SASL_ITERATIONS, .salt_len = 16};
	first = t->samples > 0 ? choose(login, t->samples) : 0;
	for (size_t i = 0; i < t->samples; i++) {
		struct slice records = slice_str(t->sample[(first + i) % t->samples]);

		if (sasl_records_scram(records, s) == 0)
			break;
	}
	key_derive("salt", login, domain, salt);
	if (s->salt_len > sizeof(salt))
		s->salt_len = sizeof(salt);
	memcpy(s->salt, salt, s->salt_len);
	key_derive("stored key", login, domain, s->stored_key);
	key_derive("server key", login, domain, s->server_key);
}

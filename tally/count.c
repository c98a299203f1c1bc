/* SPDX-License-Identifier: ISC */
#include "tally/count.h"

#include "util/dict.h"
#include "util/err.h"
#include "util/mem.h"

struct row {
	uint64_t connections;
};

struct count {
	struct dict *rows; /* service NUL client → struct row, owned */
	size_t limit;
};

struct count_owner {
	struct count *count;
	struct dict *held; /* the same keys → this owner's struct row, owned */
};

enum { KEY_MAX = 512 };

static bool key_make(
	struct slice service, struct slice client, char key[static KEY_MAX], struct slice *out)
{
	*out = slice_of(key, service.len + 1 + client.len);
	if (out->len > KEY_MAX) {
		return false;
	}
	memcpy(key, service.p, service.len);
	key[service.len] = '\0';
	memcpy(key + service.len + 1, client.p, client.len);
	return true;
}

struct count *count_new(size_t clients)
{
	struct count *c = mem_alloc(sizeof(*c));
	c->rows = dict_new(clients, mem_free);
	c->limit = clients;
	return c;
}

void count_free(struct count **c)
{
	if (*c != NULL) {
		dict_free(&(*c)->rows);
		mem_free(*c);
		*c = NULL;
	}
}

struct count_owner *count_owner_new(struct count *c)
{
	struct count_owner *o = mem_alloc(sizeof(*o));
	o->count = c;
	o->held = dict_new(c->limit, mem_free);
	return o;
}

static void take(struct dict *d, struct slice key, uint64_t n)
{
	struct row *row = dict_get(d, key);
	if (row != NULL) {
		row->connections -= n < row->connections ? n : row->connections;
		if (row->connections == 0) {
			(void)dict_remove(d, key);
		}
	}
}

static bool take_back(struct slice key, void *value, void *arg)
{
	const struct row *held = value;
	const struct count *c = arg;
	take(c->rows, key, held->connections);
	return true;
}

void count_owner_free(struct count_owner **o)
{
	if (*o != NULL) {
		dict_walk((*o)->held, take_back, (*o)->count);
		dict_free(&(*o)->held);
		mem_free(*o);
		*o = NULL;
	}
}

static struct row *add(struct dict *d, struct slice key)
{
	struct row *row = dict_get(d, key);
	if (row == NULL) {
		row = mem_alloc(sizeof(*row));
		if (dict_set(d, key, row) != 0) {
			mem_free(row);
			return NULL;
		}
	}
	row->connections++;
	return row;
}

uint64_t count_enter(struct count_owner *o, struct slice service, struct slice client)
{
	char bytes[KEY_MAX];
	struct slice key;
	if (!key_make(service, client, bytes, &key)) {
		return 0;
	}
	const struct row *row = add(o->count->rows, key);
	if (row == NULL) {
		return 0;
	}
	uint64_t n = row->connections;
	(void)add(o->held, key);
	return n;
}

bool count_leave(struct count_owner *o, struct slice service, struct slice client)
{
	char bytes[KEY_MAX];
	struct slice key;
	if (!key_make(service, client, bytes, &key) || dict_get(o->held, key) == NULL) {
		return false;
	}
	take(o->held, key, 1);
	take(o->count->rows, key, 1);
	return true;
}

size_t count_clients(const struct count *c)
{
	return dict_count(c->rows);
}

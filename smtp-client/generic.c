/* SPDX-License-Identifier: ISC */
#include "smtp-client/generic.h"

#include "conf/conf.h"
#include "mail/address.h"
#include "route/route.h"
#include "server/server.h"
#include "smtp-client/setting.h"
#include "smtp-client/tables.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

enum { WHY_LIMIT = 4096 };

static struct {
	struct route *route;
	struct map_list *tables;
	bool propagate;
	enum param name;
} generic;

struct generic_envelope {
	char *sender; /* owned; NULL: as it is, as the rest */
	char **rcpts; /* owned, n of them */
	size_t n;
};

void generic_init(void)
{
	struct buf why = BUF_INIT(WHY_LIMIT);
	struct slice rest = slice_str(conf_str(P_propagate_unmatched_extensions)), word;
	generic.name = setting_of(P_smtp_generic_maps);
	tables_open(generic.name, &generic.tables);
	if (generic_is_on() && route_open(ROUTE_FOR_MAPPING, &why, &generic.route) != 0) {
		log_fatal("%s", buf_str(&why));
	}
	while (slice_token(&rest, ", \t\r\n", &word)) {
		generic.propagate = generic.propagate || slice_eq_str(word, "generic");
	}
	buf_clear(&why);
}

bool generic_is_on(void)
{
	return !map_list_is_empty(generic.tables);
}

/* 1: to is another address; 0: it stays; ERR_TEMP, ERR_LATER. */
static int map(struct slice address, struct later *l, struct buf *to)
{
	int r = route_map_address(generic.route, generic.tables, address, generic.propagate, l, to);
	if (r == ERR_TEMP || r == ERR_LATER) {
		return r;
	}
	if (r != 0 && r != ERR_NOT_FOUND) {
		log_warning("%s: the result for \"%s\" is no address", conf_name(generic.name),
			log_q(address));
	}
	return r == 0 && !slice_eq(address, buf_slice(to));
}

/* ---- The envelope. ---- */

void generic_envelope_free(struct generic_envelope **ep)
{
	struct generic_envelope *e = *ep;
	*ep = NULL;
	if (e == NULL) {
		return;
	}
	for (size_t i = 0; i < e->n; i++) {
		mem_free(e->rcpts[i]);
	}
	mem_free(e->rcpts);
	mem_free(e->sender);
	mem_free(e);
}

static int map_one(const char *address, struct later *l, char **to)
{
	struct buf out = BUF_INIT(ADDRESS_LIMIT);
	int r = address[0] != '\0' ? map(slice_str(address), l, &out) : 0;
	if (r == 1) {
		*to = slice_dup(buf_slice(&out));
	}
	buf_clear(&out);
	return r < 0 ? r : 0;
}

int generic_envelope(const struct job *j, struct later *l, struct generic_envelope **out)
{
	struct generic_envelope *e = mem_alloc(sizeof(*e));
	e->rcpts = mem_array(j->n, sizeof(char *));
	e->n = j->n;
	int r = map_one(j->sender, l, &e->sender);
	for (size_t i = 0; r == 0 && i < j->n; i++) {
		r = map_one(j->rcpts[i].address, l, &e->rcpts[i]);
	}
	if (r != 0) {
		generic_envelope_free(&e);
	}
	*out = e;
	return r;
}

struct slice generic_sender(const struct generic_envelope *e, const struct job *j)
{
	return slice_str(e != NULL && e->sender != NULL ? e->sender : j->sender);
}

struct slice generic_rcpt(
	const struct generic_envelope *e, const struct job *j, const struct job_rcpt *r)
{
	size_t at = (size_t)(r - j->rcpts);
	return slice_str(e != NULL && e->rcpts[at] != NULL ? e->rcpts[at] : r->address);
}

/* ---- Fields. ---- */

/* As they come in, and what delivery has put on top. */
static bool holds_addresses(struct slice name)
{
	enum header_kind kind = header_kind(name);
	return kind == HEADER_RETURN_PATH || header_holds_addresses(kind, name);
}

struct field_edit {
	struct later *later;
	int err;
};

static bool edit(struct slice address, struct buf *to, void *arg)
{
	struct field_edit *e = arg;
	int r = e->err == 0 ? map(address, e->later, to) : 0;
	if (r < 0) {
		e->err = r;
	}
	return r == 1;
}

int generic_field(struct slice field, struct later *l, struct buf *out)
{
	struct field_edit e = {.later = l};
	struct slice name = slice_first(field, header_name_len(field));
	size_t colon = (size_t)(slice_find(field, ':') + 1);
	buf_reset(out);
	if (name.len == 0 || !holds_addresses(name)) {
		return 0;
	}
	buf_add_slice(out, slice_first(field, colon));
	size_t n = header_edit_addresses(slice_from(field, colon), edit, &e, out);
	if (e.err != 0) {
		return e.err;
	}
	return n == 0 ? 0 : buf_failed(out) ? ERR_LIMIT : 1;
}

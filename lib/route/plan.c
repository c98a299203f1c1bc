/* SPDX-License-Identifier: ISC */
#include "route/route_priv.h"

#include <ctype.h>
#include <string.h>

#include "util/err.h"
#include "util/log.h"

/* "[host]:port" and "host:port" without brackets and port. */
static struct slice host_of(struct slice hop)
{
	ptrdiff_t end;

	if (slice_starts(hop, "[")) {
		end = slice_find(hop, ']');
		return end > 0 ? slice_of(hop.p + 1, (size_t)end - 1) : SLICE_NONE;
	}
	end = slice_find(hop, ':');
	return end >= 0 ? slice_first(hop, (size_t)end) : hop;
}

static int find_parents(
	struct map_list *table, struct slice host, struct later *l, struct buf *value)
{
	int err = ERR_NOT_FOUND;
	ptrdiff_t at;

	while (err == ERR_NOT_FOUND && (at = slice_find(host, '.')) >= 0) {
		host = slice_from(host, (size_t)at);
		err = map_list_find(table, host, l, value);
		host = slice_from(host, 1);
	}
	return err;
}

static bool is_name(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!isalnum((unsigned char)s.p[i]) && strchr(".-_", s.p[i]) == NULL)
			return false;
	return s.len > 0 && s.len <= ROUTE_PLAN;
}

int route_find_plan(struct route *r, struct slice nexthop, struct later *l, struct buf *plan)
{
	struct buf value = BUF_INIT(MAP_VALUE_LIMIT);
	struct slice rest = nexthop, hop = SLICE_NONE, host;
	int err;

	buf_reset(plan);
	if (map_list_is_empty(r->plans) || !slice_token(&rest, ", \t", &hop))
		return 0;
	host = host_of(hop);
	err = map_list_find(r->plans, nexthop, l, &value);
	if (err == ERR_NOT_FOUND && !slice_eq(hop, nexthop))
		err = map_list_find(r->plans, hop, l, &value);
	if (err == ERR_NOT_FOUND && host.len > 0 && !slice_eq(host, hop))
		err = map_list_find(r->plans, host, l, &value);
	if (err == ERR_NOT_FOUND && !slice_starts(hop, "["))
		err = find_parents(r->plans, host, l, &value);
	if (err == 0) {
		struct slice name = slice_trim(buf_slice(&value));

		if (is_name(name))
			buf_add_slice(plan, name);
		else
			log_warning("backoff_plan_maps: %s: \"%s\" is no name of a plan; expected "
				    "at most %d letters, digits, '.', '-' and '_'",
				log_q(nexthop), log_q(name), ROUTE_PLAN);
	}
	buf_clear(&value);
	return err == ERR_NOT_FOUND ? 0 : err;
}

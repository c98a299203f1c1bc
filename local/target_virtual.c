/* SPDX-License-Identifier: ISC */
#include "local/target.h"

#include "conf/conf.h"
#include "mail/address.h"
#include "map/files.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

/* virtual: mailbox, user and group of a recipient come from tables alone, see virtual(8). */

static const enum param params[] = {P_virtual_mailbox_maps, P_virtual_uid_maps, P_virtual_gid_maps};
static struct map_list *lists[3]; /* mailboxes, users, groups */

void target_refresh(void)
{
	map_files_refresh();
	log_flush();
}

int target_open(struct buf *why)
{
	int r = 0;
	map_files_use();
	for (size_t i = 0; r == 0 && i < 3; i++)
		r = map_files_open(conf_str(params[i]), why, &lists[i]);
	return r;
}

/* The whole address, without its extension, then @domain. */
static int find(struct map_list *table, struct slice address, struct buf *value)
{
	struct slice local, domain, user, extension;
	struct buf key = BUF_INIT(ADDRESS_LIMIT + 8);
	int r = map_files_find(table, address, value);
	address_split(address, &local, &domain);
	if (r == ERR_NOT_FOUND && address_split_extension(local, conf_str(P_recipient_delimiter),
					  &user, &extension)) {
		buf_add_fmt(&key, "%.*s@%.*s", SLICE_FMT(user), SLICE_FMT(domain));
		r = map_files_find(table, buf_slice(&key), value);
	}
	if (r == ERR_NOT_FOUND) {
		buf_reset(&key);
		buf_add_fmt(&key, "@%.*s", SLICE_FMT(domain));
		r = map_files_find(table, buf_slice(&key), value);
	}
	buf_clear(&key);
	return r;
}

/* A number of at least min from a table; false: the answer is in o. */
static bool find_id(int table, struct slice address, uint64_t min, uint64_t *id, struct outcome *o)
{
	static const char config[] = "mail system configuration error";
	struct buf value = BUF_INIT(64);
	const char *name = conf_name(params[table]);
	int r = find(lists[table], address, &value);
	if (r == 0 && slice_u64(slice_trim(buf_slice(&value)), min, UINT32_MAX - 1, id) != 0) {
		outcome_set(o, RESULT_DEFERRED, "4.3.5", "%s: bad value in %s", config, name);
		r = ERR_RANGE;
	} else if (r == ERR_NOT_FOUND) {
		outcome_set(o, RESULT_DEFERRED, "4.3.5", "%s: recipient not in %s", config, name);
	} else if (r != 0) {
		outcome_set(o, RESULT_DEFERRED, "4.3.0", "table lookup failed: %s", name);
	}
	buf_clear(&value);
	return r == 0;
}

static bool is_safe(struct slice path)
{
	struct slice rest = path, part;
	while (slice_part(&rest, '/', &part))
		if (slice_eq_str(part, ".."))
			return false;
	return path.len > 0 && slice_is_printable(path);
}

static bool find_box(struct slice address, struct target *t, struct outcome *o)
{
	const char *base = conf_str(P_virtual_mailbox_base);
	struct buf box = BUF_INIT(4096);
	int r = find(lists[0], address, &box);
	struct slice path = slice_trim(buf_slice(&box));
	if (r == ERR_NOT_FOUND)
		outcome_set(
			o, RESULT_FAILED, "5.1.1", "unknown user: \"%.*s\"", SLICE_FMT(address));
	else if (r != 0)
		outcome_set(
			o, RESULT_DEFERRED, "4.3.0", "table lookup failed: virtual_mailbox_maps");
	else if (!is_safe(path) || (base[0] != '/' && path.p[0] != '/'))
		outcome_set(o, RESULT_DEFERRED, "4.3.5",
			"mail system configuration error: bad mailbox in virtual_mailbox_maps");
	else
		t->path = mem_fmt("%s%s%.*s", base, base[0] != '\0' ? "/" : "", SLICE_FMT(path));
	buf_clear(&box);
	return t->path != NULL;
}

bool target_find(const char *address, const char *user, struct target *t, struct outcome *o)
{
	struct buf folded = BUF_INIT(ADDRESS_LIMIT);
	uint64_t uid = 0, gid = 0;
	(void)user;
	address_fold(&folded, slice_str(address));
	bool found = find_box(buf_slice(&folded), t, o) &&
		     find_id(1, buf_slice(&folded), (uint64_t)conf_int(P_virtual_minimum_uid), &uid,
			     o) &&
		     find_id(2, buf_slice(&folded), 1, &gid, o);
	buf_clear(&folded);
	t->id = (struct identity){.uid = (uid_t)uid, .gid = (gid_t)gid};
	t->gid = t->id.gid;
	t->box = (struct mailbox){.path = t->path,
		.user = address,
		.locks = conf_str(P_virtual_mailbox_lock),
		.limit = (uint64_t)conf_int(P_virtual_mailbox_limit),
		.must_own = conf_bool(P_strict_mailbox_ownership),
		.has_delivered_to = true};
	return found;
}

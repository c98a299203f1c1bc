/* SPDX-License-Identifier: ISC */
#include "conf/conf.h"
#include "local/delivery.h"
#include "mail/address.h"
#include "map/map.h"
#include "util/err.h"
#include "util/mem.h"

/* virtual: mailbox, user and group of a recipient come from tables alone, see virtual(8). */

static struct map_list *mailboxes, *uids, *gids;

int plan_open(struct buf *why)
{
	int r = map_list_open(conf_str(P_virtual_mailbox_maps), why, &mailboxes);
	if (r == 0)
		r = map_list_open(conf_str(P_virtual_uid_maps), why, &uids);
	if (r == 0)
		r = map_list_open(conf_str(P_virtual_gid_maps), why, &gids);
	return r;
}

/* The whole address, without its extension, then @domain. */
static int find(struct map_list *table, struct slice address, struct later *l, struct buf *value)
{
	struct slice local, domain, user, extension;
	struct buf key = BUF_INIT(ADDRESS_LIMIT + 8);
	int r = map_list_find(table, address, l, value);
	address_split(address, &local, &domain);
	if (r == ERR_NOT_FOUND && address_split_extension(local, conf_str(P_recipient_delimiter),
					  &user, &extension)) {
		buf_add_fmt(&key, "%.*s@%.*s", SLICE_FMT(user), SLICE_FMT(domain));
		r = map_list_find(table, buf_slice(&key), l, value);
	}
	if (r == ERR_NOT_FOUND) {
		buf_reset(&key);
		buf_add_fmt(&key, "@%.*s", SLICE_FMT(domain));
		r = map_list_find(table, buf_slice(&key), l, value);
	}
	buf_clear(&key);
	return r;
}

/* A number in [min, …] from a table; 0, ERR_LATER, or ERR_TEMP with the answer in the plan. */
static int find_id(struct map_list *table, const char *name, struct slice address, uint64_t min,
	struct later *l, struct plan *p, uint64_t *id)
{
	struct buf value = BUF_INIT(64);
	int r = find(table, address, l, &value);
	if (r == 0 && slice_u64(slice_trim(buf_slice(&value)), min, UINT32_MAX - 1, id) != 0) {
		plan_answer(p, RESULT_DEFERRED, "4.3.5",
			"mail system configuration error: bad value in %s", name);
		r = ERR_TEMP;
	} else if (r != 0 && r != ERR_LATER) {
		plan_answer(p, RESULT_DEFERRED, r == ERR_NOT_FOUND ? "4.3.5" : "4.3.0",
			r == ERR_NOT_FOUND ? "mail system configuration error: recipient not in %s"
					   : "table lookup failed: %s",
			name);
		r = ERR_TEMP;
	}
	buf_clear(&value);
	return r;
}

static bool is_safe(struct slice path)
{
	struct slice rest = path, part;
	while (slice_part(&rest, '/', &part))
		if (slice_eq_str(part, ".."))
			return false;
	return path.len > 0 && slice_is_printable(path);
}

static int plan_box(struct slice address, struct slice box, struct later *l, struct plan *p)
{
	uint64_t uid, gid;
	int r = find_id(uids, "virtual_uid_maps", address,
		(uint64_t)conf_int(P_virtual_minimum_uid), l, p, &uid);
	if (r == 0)
		r = find_id(gids, "virtual_gid_maps", address, 1, l, p, &gid);
	if (r == ERR_LATER)
		return r;
	if (r != 0)
		return 0;
	const char *base = conf_str(P_virtual_mailbox_base);
	if (!is_safe(box) || (base[0] != '/' && box.p[0] != '/')) {
		plan_answer(p, RESULT_DEFERRED, "4.3.5",
			"mail system configuration error: bad mailbox in virtual_mailbox_maps");
		return 0;
	}
	p->kind = PLAN_BOX;
	p->uid = (uid_t)uid;
	p->gid = (gid_t)gid;
	p->path = base[0] != '\0' ? mem_fmt("%s/%.*s", base, SLICE_FMT(box)) : slice_dup(box);
	return 0;
}

int plan_make(const struct job_rcpt *r, struct later *l, struct plan *p)
{
	struct buf key = BUF_INIT(ADDRESS_LIMIT), box = BUF_INIT(4096);
	plan_clear(p);
	address_fold(&key, slice_str(r->address));
	int err = find(mailboxes, buf_slice(&key), l, &box);
	if (err == 0) {
		err = plan_box(buf_slice(&key), slice_trim(buf_slice(&box)), l, p);
	} else if (err == ERR_NOT_FOUND) {
		plan_answer(p, RESULT_FAILED, "5.1.1", "unknown user: \"%s\"", buf_str(&key));
		err = 0;
	} else if (err != ERR_LATER) {
		plan_answer(
			p, RESULT_DEFERRED, "4.3.0", "table lookup failed: virtual_mailbox_maps");
		err = 0;
	}
	buf_clear(&key);
	buf_clear(&box);
	return err;
}

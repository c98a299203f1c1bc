/* SPDX-License-Identifier: ISC */
#include "conf/conf.h"
#include "local/alias.h"
#include "local/delivery.h"
#include "mail/address.h"
#include "util/err.h"
#include "util/mem.h"

/* local: aliases first, then mailbox_transport or the user's mailbox, see local(8). */

int plan_open(struct buf *why)
{
	return alias_open(why);
}

/* "lmtp:unix:/path" */
static void plan_reroute(struct plan *p, const char *value)
{
	struct slice rest = slice_str(value), transport;
	slice_part(&rest, ':', &transport);
	p->kind = PLAN_REROUTE;
	p->transport = slice_dup(transport);
	p->nexthop = slice_dup(rest);
}

int plan_make(const struct job_rcpt *r, struct later *l, struct plan *p)
{
	struct buf folded = BUF_INIT(ADDRESS_LIMIT);
	struct slice local, domain, user, extension;
	plan_clear(p);
	address_fold(&folded, slice_str(r->address));
	address_split(buf_slice(&folded), &local, &domain);
	address_split_extension(local, conf_str(P_recipient_delimiter), &user, &extension);
	int err = alias_find(local, user, l, p);
	if (err == ERR_NOT_FOUND) {
		err = 0;
		if (conf_str(P_mailbox_transport)[0] != '\0') {
			plan_reroute(p, conf_str(P_mailbox_transport));
		} else {
			p->kind = PLAN_DELIVER;
			p->user = slice_dup(user);
		}
	}
	buf_clear(&folded);
	return err;
}

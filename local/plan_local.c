/* SPDX-License-Identifier: ISC */
#include "conf/conf.h"
#include "local/alias.h"
#include "local/delivery.h"
#include "local/work.h"
#include "mail/address.h"
#include "util/err.h"
#include "util/mem.h"

/* local: aliases first, then mailbox_transport or the user's mailbox, see local(8). */

int plan_open(struct buf *why)
{
	work_open_filter(P_local_delivery_status_filter);
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

/* The value of a name in luser_relay: of the recipient as it was given. */
static struct slice value_of(struct slice name, struct slice address)
{
	struct slice local, domain, user, extension;
	address_split(address, &local, &domain);
	address_split_extension(local, conf_str(P_recipient_delimiter), &user, &extension);
	if (slice_eq_str(name, "user"))
		return user;
	if (slice_eq_str(name, "local"))
		return local;
	if (slice_eq_str(name, "extension"))
		return extension;
	if (slice_eq_str(name, "domain"))
		return domain;
	return slice_eq_str(name, "recipient") ? address : SLICE_NONE;
}

/* The name behind a '$': name, {name} or (name). Its length with what stands around it. */
static size_t take_name(struct slice s, struct slice *name)
{
	size_t open = s.len > 0 && (s.p[0] == '{' || s.p[0] == '('), n = open;
	while (n < s.len && s.p[n] >= 'a' && s.p[n] <= 'z')
		n++;
	*name = slice_of(s.p + open, n - open);
	return open > 0 && n < s.len ? n + 1 : n;
}

bool plan_unknown(const struct job_rcpt *r, struct plan *p)
{
	struct slice rest = slice_str(conf_str(P_luser_relay)), name;
	struct buf text = BUF_INIT(ADDRESS_LIMIT), internal = BUF_INIT(ADDRESS_LIMIT);
	while (rest.len > 0) {
		bool is_name = rest.p[0] == '$' && rest.len > 1;
		if (!is_name)
			buf_add_char(&text, rest.p[0]);
		rest = slice_from(rest, 1);
		if (is_name) {
			rest = slice_from(rest, take_name(rest, &name));
			buf_add_slice(&text, value_of(name, slice_str(r->address)));
		}
	}
	bool found = text.len > 0 && !buf_failed(&text) &&
		     address_parse(buf_slice(&text), ADDRESS_UTF8, &internal) == 0;
	if (found) {
		p->kind = PLAN_FORWARD;
		p->addresses = mem_resize(NULL, 1, sizeof(char *));
		p->count = 1;
		p->addresses[0] =
			slice_find(buf_slice(&internal), '@') >= 0
				? mem_str(buf_str(&internal))
				: mem_fmt("%s@%s", buf_str(&internal), conf_str(P_myorigin));
	}
	buf_clear(&text);
	buf_clear(&internal);
	return found;
}

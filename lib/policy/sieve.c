/* SPDX-License-Identifier: ISC */
#include "policy/sieve.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include "conf/conf.h"
#include "map/map.h"
#include "policy/names.h"
#include "util/err.h"

enum { KEY_LIMIT = DNS_ANSWER_MAX + 1024 };

static void add_record(struct buf *key, const struct dns_answer *a, const struct dns_record *r)
{
	char text[NAMES_ADDRESS_TEXT] = "";

	buf_reset(key);
	buf_add_fmt(key, "%.*s. %u IN %s ", SLICE_FMT(a->name), a->ttl, dns_type_str(r->type));
	switch (r->type) {
	case DNS_A:
	case DNS_AAAA:
		(void)inet_ntop(
			r->type == DNS_A ? AF_INET : AF_INET6, r->data.p, text, sizeof(text));
		buf_add_str(key, text);
		break;
	case DNS_MX: buf_add_fmt(key, "%u %.*s.", r->pref, SLICE_FMT(r->data)); break;
	case DNS_NS: buf_add_fmt(key, "%.*s.", SLICE_FMT(r->data)); break;
	default: buf_add_slice(key, r->data); break;
	}
}

/* 0: *goes; ERR_LATER; ERR_SYNTAX, with a note. */
static int look_up(struct policy_eval *e, struct slice key, bool *goes)
{
	struct buf value = BUF_INIT(MAP_VALUE_LIMIT);
	int err = map_list_find(e->policy->dns_filter, key, e->later, &value);

	*goes = err == 0 && slice_case_eq_str(slice_trim(buf_slice(&value)), "IGNORE");
	if (err == 0 && !*goes) {
		policy_note(e, POLICY_WARNING, SLICE_NONE, "%s: unknown DNS filter action: \"%s\"",
			conf_name(P_smtpd_dns_reply_filter), buf_str(&value));
		err = ERR_SYNTAX;
	} else if (err == ERR_NOT_FOUND) {
		err = 0;
	} else if (err != 0 && err != ERR_LATER) {
		policy_note(e, POLICY_WARNING, SLICE_NONE, "%s: lookup error for \"%.*s\"",
			conf_name(P_smtpd_dns_reply_filter), SLICE_FMT(key));
		err = ERR_SYNTAX;
	}
	buf_clear(&value);
	return err;
}

int sieve_answer(struct policy_eval *e, struct dns_answer *a)
{
	struct buf key = BUF_INIT(KEY_LIMIT);
	struct dns_answer walk = *a;
	struct dns_record r;
	bool goes = false;
	unsigned left = 0;
	int err = 0;

	if (a->status != DNS_OK || map_list_is_empty(e->policy->dns_filter))
		return 0;
	for (unsigned i = 0; err == 0 && dns_answer_next(&walk, &r); i++) {
		add_record(&key, a, &r);
		err = look_up(e, buf_slice(&key), &goes);
		if (err == 0 && goes) {
			policy_note(
				e, POLICY_LOG, SLICE_NONE, "ignoring DNS RR: %s", buf_str(&key));
			dns_answer_drop(a, i);
		} else {
			left++;
		}
	}
	if (err == ERR_SYNTAX)
		*a = (struct dns_answer){.status = DNS_TEMP};
	else if (left == 0)
		a->status = DNS_FILTERED;
	buf_clear(&key);
	return err == ERR_LATER ? err : 0;
}

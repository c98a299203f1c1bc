/* SPDX-License-Identifier: ISC */
#include "policy/names.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>

#include "conf/conf.h"
#include "dns/client.h"
#include "policy/sieve.h"
#include "util/err.h"

bool names_is_host(struct slice name)
{
	bool has_letter = false;
	size_t label = 0;

	if (name.len == 0 || name.len > 255)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = (unsigned char)name.p[i];
		bool is_end = i + 1 == name.len || name.p[i + 1] == '.';

		if (c == '.') {
			if (label == 0 || is_end)
				return false;
			label = 0;
			continue;
		}
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			    c == '-' || c == '_' || c >= 128))
			return false;
		if (++label > 63 || (c == '-' && (label == 1 || is_end)))
			return false;
		has_letter |= c < '0' || c > '9';
	}
	return has_letter;
}

static int ask_all(
	struct policy_eval *e, enum dns_type type, struct slice name, struct dns_answer *a)
{
	if (!names_is_host(name)) {
		*a = (struct dns_answer){.status = DNS_NXDOMAIN};
		return 0;
	}
	int err = dns_later(e->later, type, name, NAMES_WAIT, a);

	if (err != 0 && err != ERR_LATER)
		*a = (struct dns_answer){.status = DNS_TEMP};
	return err == ERR_LATER ? err : 0;
}

int names_ask(struct policy_eval *e, enum dns_type type, struct slice name, struct dns_answer *a)
{
	int err = ask_all(e, type, name, a);

	return err == 0 ? sieve_answer(e, a) : err;
}

int names_ask_addresses(struct policy_eval *e, struct slice name, struct dns_answer a[2])
{
	int v4 = names_ask(e, DNS_A, name, &a[0]);
	int v6 = names_ask(e, DNS_AAAA, name, &a[1]);

	return v4 != 0 ? v4 : v6;
}

static bool wants(const char *protocol)
{
	struct slice rest = slice_str(conf_str(P_inet_protocols)), word;

	while (slice_token(&rest, ", \t\r\n", &word))
		if (slice_eq_str(word, "all") || slice_eq_str(word, protocol))
			return true;
	return false;
}

int names_find(struct policy_eval *e, struct slice name, struct names_addresses *found)
{
	static const char *const protocols[2] = {"ipv4", "ipv6"};
	static const enum dns_type types[2] = {DNS_A, DNS_AAAA};
	int err = 0;

	*found = (struct names_addresses){.status = DNS_NODATA};
	for (int i = 0; i < 2; i++)
		if (wants(protocols[i]) &&
			ask_all(e, types[i], name, &found->answer[i]) == ERR_LATER)
			err = ERR_LATER;
	if (err != 0)
		return err;
	for (int i = 0; i < 2; i++) {
		enum dns_status status = found->answer[i].status;

		/* One family is enough; a failure weighs more than "not there". */
		if (found->status != DNS_OK && wants(protocols[i]) && status != DNS_NODATA)
			found->status =
				found->status == DNS_TEMP && status != DNS_OK ? DNS_TEMP : status;
	}
	return 0;
}

bool names_next(struct names_addresses *found, char text[NAMES_ADDRESS_TEXT])
{
	struct dns_record r;

	for (int i = 0; i < 2; i++)
		if (dns_answer_next(&found->answer[i], &r))
			return inet_ntop(i == 0 ? AF_INET : AF_INET6, r.data.p, text,
				       NAMES_ADDRESS_TEXT) != NULL;
	return false;
}

struct slice names_domain(struct slice address)
{
	return slice_from(address, (size_t)(slice_find_last(address, '@') + 1));
}

bool names_is_known(struct slice name)
{
	return name.len > 0 && !slice_case_eq_str(name, "unknown");
}

enum restrict_result names_defer(struct policy_eval *e, const char *action, int code,
	const char *status, const char *fmt, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (slice_case_eq_str(slice_str(action), "defer"))
		return policy_reject(e, code, status, "%s", text);
	return policy_defer_if_permit(e, code, status, "%s", text);
}

void names_forbid_ok(struct policy_eval *e, const struct policy_item *item, struct slice name,
	enum restrict_result *result)
{
	if (*result != RESTRICT_OK)
		return;
	policy_note(e, POLICY_WARNING, SLICE_NONE,
		"restriction %s returns OK for %.*s; this is not allowed for security reasons; use "
		"DUNNO instead of OK if you want to make an exception",
		item->row->name, SLICE_FMT(name));
	*result = policy_reject_server(e);
}

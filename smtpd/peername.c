/* SPDX-License-Identifier: ISC */
#include "smtpd/peername.h"

#include <netinet/in.h>

#include "dns/client.h"
#include "util/log.h"
#include "util/mem.h"

struct peername {
	struct dns_query *query;
	struct net_addr peer;
	char text[NET_ADDR_TEXT];
	struct slice addr; /* of bytes */
	unsigned char bytes[16];
	char name[DNS_NAME_MAX + 1];
	int64_t deadline;
	void (*done)(const struct peername_result *r, void *arg);
	void *arg;
};

static void finish(struct peername *p, const struct peername_result *r)
{
	/* done may free what is asked no more. */
	struct peername mine = *p;
	struct peername_result copy = *r;

	copy.reverse_name = r->reverse_status == POLICY_NAME_OK ? mine.name : "unknown";
	copy.name = r->name_status == POLICY_NAME_OK ? mine.name : "unknown";
	mem_free(p);
	mine.done(&copy, mine.arg);
}

static enum policy_name_status status_of(const struct dns_answer *answer)
{
	if (answer->status == DNS_OK)
		return POLICY_NAME_OK;
	return answer->status == DNS_TEMP ? POLICY_NAME_TEMP : POLICY_NAME_UNKNOWN;
}

/* In libc's words, which log tools know. */
static const char *why_not(enum dns_status status)
{
	switch (status) {
	case DNS_NXDOMAIN: return "Name or service not known";
	case DNS_NODATA: return "No address associated with hostname";
	case DNS_TEMP: return "Temporary failure in name resolution";
	default: return dns_status_str(status);
	}
}

static void forward_done(void *arg, const struct dns_answer *answer)
{
	struct peername *p = arg;
	struct dns_answer walk = *answer;
	struct peername_result result = {.forward_status = status_of(answer)};
	struct dns_record r;

	p->query = NULL;
	while (answer->status == DNS_OK && dns_answer_next(&walk, &r)) {
		if (slice_eq(r.data, p->addr)) {
			finish(p, &result);
			return;
		}
	}
	/* An address of its own that is another's: forged, and no better later. */
	result.name_status = result.forward_status == POLICY_NAME_OK ? POLICY_NAME_UNKNOWN
								     : result.forward_status;
	if (answer->status == DNS_OK)
		log_warning("hostname %s does not resolve to address %s", p->name, p->text);
	else
		log_warning("hostname %s does not resolve to address %s: %s", p->name, p->text,
			why_not(answer->status));
	finish(p, &result);
}

/* What goes into logs and headers must look like a host name, whatever the name server says. */
static bool is_hostname(struct slice name)
{
	for (size_t i = 0; i < name.len; i++) {
		char c = name.p[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			    c == '-' || c == '.' || c == '_'))
			return false;
	}
	return name.len > 0 && name.len <= DNS_NAME_MAX;
}

static void reverse_done(void *arg, const struct dns_answer *answer)
{
	struct peername *p = arg;
	struct dns_answer walk = *answer;
	struct dns_record r;

	p->query = NULL;
	if (answer->status != DNS_OK || !dns_answer_next(&walk, &r) || !is_hostname(r.data)) {
		enum policy_name_status status = status_of(answer);

		if (status == POLICY_NAME_OK)
			status = POLICY_NAME_UNKNOWN;
		finish(p, &(struct peername_result){NULL, NULL, status, status, status});
		return;
	}
	memcpy(p->name, r.data.p, r.data.len);
	p->query = dns_query_client(
		p->addr.len == 4 ? DNS_A : DNS_AAAA, r.data, p->deadline, forward_done, p);
}

struct peername *peername_ask(const struct net_addr *peer,
	void (*done)(const struct peername_result *r, void *arg), void *arg)
{
	struct peername *p = mem_alloc(sizeof(*p));

	p->peer = *peer;
	p->done = done;
	p->arg = arg;
	p->deadline = loop_now() + PEERNAME_SEC * CLOCK_SEC;
	net_addr_text(peer, p->text);
	if (peer->ss.ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)&peer->ss;
		memcpy(p->bytes, &in->sin_addr, 4);
		p->addr = slice_of(p->bytes, 4);
	} else {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&peer->ss;
		bool mapped = net_addr_family(peer) == AF_INET;
		memcpy(p->bytes, in6->sin6_addr.s6_addr + (mapped ? 12 : 0), mapped ? 4 : 16);
		p->addr = slice_of(p->bytes, mapped ? 4 : 16);
	}
	p->query = dns_query_ptr(p->addr, p->deadline, reverse_done, p);
	return p;
}

void peername_cancel(struct peername **pp)
{
	struct peername *p = *pp;

	*pp = NULL;
	if (p == NULL)
		return;
	dns_cancel(&p->query);
	mem_free(p);
}

/* SPDX-License-Identifier: ISC */
#ifndef DNS_CLIENT_H
#define DNS_CLIENT_H

#include "dns/answer.h"
#include "dns/hosts.h"
#include "ipc/ipc.h"
#include "util/later.h"

/*
 * Asking names, as every program but the resolver does it: a question goes to the resolver process
 * and the answer comes by callback, from the event loop, never from inside the call that asked.
 * Every question ends: with an answer, or with DNS_TEMP at its deadline, when no resolver is
 * connected for that long, or when the resolver refuses the name. A resolver that restarts is asked
 * again. There is one client a process. The program calls dns_client_init once, hands it every peer
 * of the role resolver as it comes and goes, and that peer's frames:
 *
 *   peer_new: if (peer->role == ROLE_RESOLVER) dns_client_add(peer->ipc);
 *   peer_msg: if (peer->role == ROLE_RESOLVER) dns_client_msg(peer->ipc, msg);
 *   peer_gone: if (peer->role == ROLE_RESOLVER) dns_client_remove(peer->ipc);
 */
void dns_client_init(size_t limit); /* questions open at once */
void dns_client_add(struct ipc *c);
void dns_client_msg(struct ipc *c, struct ipc_msg *msg);
void dns_client_remove(struct ipc *c);

/* a is valid during the call only. For DNS_TEMP and failures a->name is empty or what was asked. */
typedef void dns_done_fn(void *arg, const struct dns_answer *a);
/* h is valid during the call only. */
typedef void dns_hosts_fn(void *arg, const struct hosts *h);

struct dns_query;

/*
 * Asks for (type, name). deadline is absolute (util/clock.h). done is called once, after this has
 * returned; the query is gone then. A name that is no domain name is answered DNS_NXDOMAIN (it
 * can not exist), over the limit DNS_TEMP.
 */
struct dns_query *dns_query(
	enum dns_type type, struct slice name, int64_t deadline, dns_done_fn *done, void *arg);
/* The same for the address of a client's name: resolver_hosts_file is looked at first. */
struct dns_query *dns_query_client(
	enum dns_type type, struct slice name, int64_t deadline, dns_done_fn *done, void *arg);
/* Asks for the name of an address: 4 or 16 bytes; looks at resolver_hosts_file first. */
struct dns_query *dns_query_ptr(struct slice addr, int64_t deadline, dns_done_fn *done, void *arg);
/* What of the hosts is wanted. */
struct dns_hosts_want {
	bool mx; /* by MX records; without any the name itself is the host (RFC 5321, 5.1) */
	bool ipv4, ipv6; /* families */
	bool tlsa; /* TLSA records for the port, of hosts that DNSSEC vouches for (RFC 7672) */
	bool force_tlsa;       /* smtp_tls_force_insecure_host_tlsa_lookup: of the others, too */
	bool defnames, search; /* smtp_dns_resolver_options */
	bool file, file_last;  /* addresses of resolver_hosts_file, before name servers or behind */
	uint16_t port;
};
/*
 * Asks for the hosts of a next hop, all their addresses, and how they can be authenticated: see
 * hosts.h. In the order of the name servers: see hosts_order.
 */
struct dns_query *dns_query_hosts(struct slice name, const struct dns_hosts_want *want,
	int64_t deadline, dns_hosts_fn *done, void *arg);
/* Withdraws: done is not called. *q may be NULL; it is cleared. */
void dns_cancel(struct dns_query **q);

/*
 * The same for an evaluation that may have to wait (util/later.h). 0: *a is the answer (its slices
 * live as long as l's); ERR_LATER: return it, you are woken; ERR_TEMP: l is NULL or full. Each
 * question of an evaluation has a deadline of time_limit microseconds from when it is first asked.
 */
int dns_later(struct later *l, enum dns_type type, struct slice name, int64_t time_limit,
	struct dns_answer *a);
int dns_later_ptr(struct later *l, struct slice addr, int64_t time_limit, struct dns_answer *a);

#endif

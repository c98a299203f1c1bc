/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_PEERNAME_H
#define SMTPD_PEERNAME_H

#include "net/addr.h"
#include "policy/policy.h"

/*
 * The client's name: the first name of its address (PTR) whose own addresses include that address.
 * A name that does not lead back is logged and not used. Ends within PEERNAME_SEC.
 */
enum { PEERNAME_SEC = 5 };

struct peername;

/* name leads back to the address, or is "unknown"; reverse_name is what the PTR record says. */
struct peername_result {
	const char *name, *reverse_name;
	enum policy_name_status name_status, reverse_status, forward_status;
};

/* done is called once, from the event loop; r is borrowed. */
struct peername *peername_ask(const struct net_addr *peer,
	void (*done)(const struct peername_result *r, void *arg), void *arg);
void peername_cancel(struct peername **p);

#endif

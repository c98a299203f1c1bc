/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_PEERNAME_H
#define SMTPD_PEERNAME_H

#include "net/addr.h"

/*
 * The client's name: the first name of its address (PTR) whose own addresses include that address.
 * A name that does not lead back is logged and not used. Ends within PEERNAME_SEC.
 */
enum { PEERNAME_SEC = 5 };

struct peername;

/* done is called once, from the event loop: name is borrowed, "unknown" when there is none. */
struct peername *peername_ask(
	const struct net_addr *peer, void (*done)(const char *name, void *arg), void *arg);
void peername_cancel(struct peername **p);

#endif

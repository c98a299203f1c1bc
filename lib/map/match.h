/* SPDX-License-Identifier: ISC */
#ifndef MAP_MATCH_H
#define MAP_MATCH_H

#include "map/map.h"

/*
 * Match lists: the text of mynetworks, relay_domains, mydestination, … as in Postfix: items
 * separated by comma or white space; '!' before an item excludes; "/file" stands for the items in a
 * file; "type:table" is looked up; the first match decides. Results: 0 (matches), ERR_NOT_FOUND,
 * ERR_TEMP, ERR_LATER.
 */
enum {
	MATCH_PARENT = 1, /* "example.com" matches its sub-domains too
			     (parent_domain_matches_subdomains); without it ".example.com" does */
};

struct match;

int match_open(const char *text, int flags, struct buf *why, struct match **m);
void match_close(struct match **m);
/*
 * A client or host: name (may be empty or "unknown") and address ("192.0.2.1", "2001:db8::1"; may
 * be empty). Items: host names, domains, addresses, net/mask, [v6]/mask, "127.0.3.*".
 */
int match_host(struct match *m, struct slice name, struct slice address, struct later *l);
/* A domain or a string, case folded. */
int match_domain(struct match *m, struct slice domain, struct later *l);
/* net/mask patterns alone: is the text one? Used by cidr tables and by check. ERR_SYNTAX. */
int match_check_network(struct slice text, struct buf *why);

#endif

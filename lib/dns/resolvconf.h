/* SPDX-License-Identifier: ISC */
#ifndef DNS_RESOLVCONF_H
#define DNS_RESOLVCONF_H

#include <netinet/in.h>

#include "dns/question.h"

/*
 * resolv.conf(5): name servers, "options timeout:N attempts:N rotate use-vc trust-ad", and the
 * domains of "search" or "domain", whichever comes last. Names are asked as they are unless
 * smtp_dns_resolver_options wants those domains tried. A port may be given as OpenBSD
 * does: "nameserver [192.0.2.1]:5353". What is not understood is passed over, as the C library
 * does; without a name server it is 127.0.0.1.
 */
enum { RESOLVCONF_SERVERS = 8, RESOLVCONF_SEARCH = 6, RESOLVCONF_SIZE_MAX = 65536 };

struct resolvconf_server {
	struct sockaddr_storage addr;
	socklen_t len;
	char text[64]; /* for the log */
};

struct resolvconf {
	struct resolvconf_server server[RESOLVCONF_SERVERS];
	unsigned servers;
	unsigned timeout;  /* seconds for one try, 1 to 30; 5 unless set */
	unsigned attempts; /* tries of each server, 1 to 5; 2 unless set */
	bool rotate, tcp;
	bool trust_ad; /* what the name servers say of DNSSEC counts */
	char search[RESOLVCONF_SEARCH][DNS_NAME_MAX + 1];
	unsigned searches;
};

void resolvconf_parse(struct slice text, struct resolvconf *rc);

#endif

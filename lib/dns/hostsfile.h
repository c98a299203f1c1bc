/* SPDX-License-Identifier: ISC */
#ifndef DNS_HOSTSFILE_H
#define DNS_HOSTSFILE_H

#include "dns/answer.h"

/*
 * Names and addresses of a file as /etc/hosts (hosts(5)): what libc's resolver would know without a
 * name server. A line that cannot be read is skipped, as libc does.
 */
enum {
	HOSTSFILE_SIZE_MAX = 4 << 20,
	HOSTSFILE_NAMES_MAX = 200000, /* names and addresses; the rest is left out */
	HOSTSFILE_TTL = 60            /* seconds, for who keeps answers */
};

struct hostsfile;

struct hostsfile *hostsfile_parse(struct slice text); /* owned */
void hostsfile_free(struct hostsfile **h);            /* NULL is none */

/*
 * The encoded answer (dns/answer.h) to a question for DNS_A, DNS_AAAA or DNS_PTR (by the reverse
 * name), borrowed; empty when the file does not have it. An address has the first name of its
 * first line; a name all addresses of all its lines.
 */
struct slice hostsfile_find(const struct hostsfile *h, enum dns_type type, struct slice name);

#endif

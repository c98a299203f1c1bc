/* SPDX-License-Identifier: ISC */
#ifndef CONF_MACHINE_H
#define CONF_MACHINE_H

#include "util/buf.h"

/* What is not in any file. Each appends the text of a value. */
void machine_hostname(struct buf *out);
/* 2,500 sessions a core, or what memory carries, whichever is less. */
void machine_process_limit(struct buf *out);
/* Own networks as mynetworks_style says (host, subnet, class) for inet_interfaces, inet_protocols.
 */
void machine_networks(
	const char *style, const char *interfaces, const char *protocols, struct buf *out);

#endif

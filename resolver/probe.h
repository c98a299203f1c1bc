/* SPDX-License-Identifier: ISC */
#ifndef RESOLVER_PROBE_H
#define RESOLVER_PROBE_H

#include "resolver/engine.h"

/*
 * dnssec_probe: DANE is wanted and nothing that name servers said so far was validated. They are
 * asked once for something that certainly is signed, and the log says when that is not validated
 * either: else mail would silently go without DANE, or not at all.
 */
void probe_init(const char *what); /* "ns:." as the parameter; borrowed */
/* DANE was wanted. Asks, unless an answer was secure already or it has asked these servers before.
 */
void probe_run(struct engine *e);
/* Other servers: it may be asked anew. */
void probe_reset(void);

#endif

/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_PROBE_H
#define SMTPD_PROBE_H

#include "util/slice.h"

/*
 * Sends a probe for an address (policy/verify.h): a message without content. False: no cleanup has
 * room for it, or PROBES_MAX are not durable yet. Nobody is told of its end here.
 */
enum { PROBES_MAX = 1000 };

bool probe_send(struct slice sender, struct slice address);

#endif

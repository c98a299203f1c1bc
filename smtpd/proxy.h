/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_PROXY_H
#define SMTPD_PROXY_H

#include "smtpd/session.h"

/*
 * smtpd_upstream_proxy_protocol: before anything else a load balancer says who the client is and
 * where it has connected to (lib/smtp/proxy.h). Without a proper header in
 * smtpd_upstream_proxy_timeout the connection is closed with a line in the log and without a word:
 * whoever speaks to this port directly is not to be served.
 */
void proxy_begin(struct session *s);
/* In the state PROXY. */
void proxy_input(struct session *s);
void proxy_end(struct session *s, int err);

#endif

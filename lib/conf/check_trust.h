/* SPDX-License-Identifier: ISC */
#ifndef CONF_CHECK_TRUST_H
#define CONF_CHECK_TRUST_H

#include "conf/check.h"

/*
 * Files and directories of certificates that others are trusted by (*_tls_CAfile, *_tls_CApath,
 * *_tls_trust_anchor_file): that they are there. Without them a program would have no TLS. That
 * DANE, where it is the level of a service, gets answers that are validated (a warning).
 */
void check_trust(const struct instance *in, struct mistakes *m);

#endif

/* SPDX-License-Identifier: ISC */
#ifndef CONF_CHECK_TEXT_H
#define CONF_CHECK_TEXT_H

#include "conf/master_cf.h"

/* Values whose type is a text or a list, but not any text: host names, addresses, next hops. */
void check_texts(const struct conf *c, struct mistakes *m);
/* The host of an inet service. */
void check_listener(const struct services *s, const struct service *v, struct mistakes *m);

#endif

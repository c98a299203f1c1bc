/* SPDX-License-Identifier: ISC */
#ifndef POLICY_FACTS_H
#define POLICY_FACTS_H

#include "policy/policy.h"

/*
 * Names that the template of a reply may hold ($client_address, …), as in Postfix. Values are a
 * stranger's: they are shown as printable ASCII, and made so that expand (conf/expand.h) takes
 * nothing in them for a name.
 */

/* The value, in out; NULL: there is no such name. */
const char *facts_lookup(const struct policy_facts *f, struct slice name, struct buf *out);
/* Any other value in that form. out is reset. */
const char *facts_quote(struct slice value, struct buf *out);

#endif

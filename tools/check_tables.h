/* SPDX-License-Identifier: ISC */
#ifndef TOOLS_CHECK_TABLES_H
#define TOOLS_CHECK_TABLES_H

#include "conf/check.h"

/*
 * Opens every table and match list that the services of an instance name, as their programs would,
 * and adds what is wrong inside: a mistake in a text table or a network and, on request, a damaged
 * index (an instance runs with one: its keys are a temporary failure). For commands: master does
 * not look into tables.
 */
void check_tables_inside(const struct instance *in, bool with_indexed, struct mistakes *m);

/* Whether keys and certificates fit together: asks the program vault, which alone reads keys. */
void check_chains_inside(const struct instance *in, struct mistakes *m);

#endif

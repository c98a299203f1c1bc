/* SPDX-License-Identifier: ISC */
#ifndef TOOLS_GATECONF_H
#define TOOLS_GATECONF_H

#include "conf/master_cf.h"

/* What the command line asks for. */
struct gateconf {
	const char *dir;
	bool defaults, only_set, no_name, no_value, expand, fold, json, edit, remove, comment;
	bool master, master_params;
	struct mistakes mistakes;
};

/* What begins each line on standard error: the name it was called by. */
extern const char *gateconf_name;

/* Changes main.cf (-e, -X, -#), keeping every other line. The exit status. */
int gateconf_edit(const struct gateconf *g, char **names);
/* Shows master.cf (-M) or its -o (-P). The exit status. */
int gateconf_master(const struct gateconf *g, char **names);
/* Words of a value, parted by one blank, as "name = value" or JSON; folded on request. */
void gateconf_print(const struct gateconf *g, const char *name, struct slice value);

#endif

/* SPDX-License-Identifier: ISC */
#ifndef TOOLS_GATECONF_H
#define TOOLS_GATECONF_H

#include "conf/master_cf.h"

struct stat;

enum { GATECONF_BUILTIN = 1, GATECONF_SERVICE = 2, GATECONF_USER = 4, GATECONF_ALL = 7 };
enum { GATECONF_COLUMNS = 8 };

/* One service of master.cf: its eight columns and the arguments behind them. Borrowed. */
struct gateconf_row {
	struct slice column[GATECONF_COLUMNS], rest;
};

/* What the command line asks for. */
struct gateconf {
	const char *dir;
	bool defaults, only_set, no_name, no_value, expand, fold, json, edit, remove, comment;
	bool master, master_fields, master_params, quiet;
	bool bounce, bounce_source;   /* -b, -t */
	const char *about;            /* -T */
	const char *const *overrides; /* -o; ends with NULL */
	unsigned classes;             /* -C: GATECONF_* */
	struct mistakes mistakes;
};

/* What begins each line on standard error: the name it was called by. */
extern const char *gateconf_name;

/* Prints the parameters that are named, or all. */
void gateconf_list(const struct gateconf *g, const struct conf *c, char **names);
/* Changes main.cf (-e, -X, -#), keeping every other line. The exit status. */
int gateconf_edit(const struct gateconf *g, char **names);
/* Shows master.cf (-M), its fields (-F) or its -o (-P). The exit status. */
int gateconf_master(const struct gateconf *g, char **names);
/* Calls add with the name of each service that delivers mail (not kept). */
void gateconf_transports(
	const struct gateconf *g, void (*add)(struct slice name, void *arg), void *arg);
/* Names the -o of master.cf that nothing uses. */
void gateconf_warn_master(const struct gateconf *g, const struct conf *main);
/* Changes them. The exit status. */
int gateconf_service(const struct gateconf *g, char **names);
/* A file beside the old one, synced, renamed over it: a reader sees one or the other. ERR_SYS. */
int gateconf_replace(const char *path, const struct buf *text, const struct stat *st);

/* The templates of notices, with (-b) or without (-t) each $name replaced. The exit status. */
int gateconf_bounce(struct gateconf *g, char **names);

extern const char *const gateconf_fields[GATECONF_COLUMNS]; /* as Postfix calls them */
/* False: there are fewer columns. */
bool gateconf_split(struct slice line, struct gateconf_row *row);
/* As Postfix shows it; folded: each option on a line of its own. Without a line end. */
void gateconf_format_row(const struct gateconf_row *row, bool fold, struct buf *out);
/* "{ name = value }" without its braces. */
struct slice gateconf_unbrace(struct slice word);
/* Words of a value, parted by one blank, as "name = value" or JSON; folded on request. */
void gateconf_print(const struct gateconf *g, const char *name, struct slice value);

#endif

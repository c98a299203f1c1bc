/* SPDX-License-Identifier: ISC */
#ifndef CONF_CHECK_H
#define CONF_CHECK_H

#include "conf/master_cf.h"

/*
 * An instance as its directory describes it, read and checked whole: both files, the settings of
 * every service, names that are no parameter, users and groups, and files of tables. The same code
 * runs in gatepost check, before start and before a reload. The inside of a table is not looked at.
 */
struct instance {
	struct conf *main;
	struct services services;
	struct conf **settings; /* one a service, in its order; built */
};

enum {
	CHECK_OWNERS = 1,   /* users and groups exist (not when run without root) */
	CHECK_TABLES = 2,   /* files of tables exist */
	CHECK_PROGRAMS = 4, /* programs of services exist */
};

/* Mistakes go to m; in is usable when there were no errors, and is to be cleared in any case. */
void instance_read(struct instance *in, const char *dir, int checks, struct mistakes *m);
void instance_clear(struct instance *in);
/* The first parameter that has changed and is fixed while an instance runs; NULL: none has. */
const char *instance_needs_restart(const struct conf *before, const struct conf *now);

/*
 * vault (conf/vault.h). Whether service i authenticates by tables that vault reads; an implied
 * vault that none wants is disabled; vault's settings get what services have of secrets, the others
 * lose the parameters, since a table may stand in its name (inline). The last is for master, behind
 * all checks; it says which vault is to be started afresh with `only` (NULL: none is), whose
 * secrets it must know first: its place, or the number of services.
 */
bool check_wants_vault(const struct instance *in, size_t i);
void check_leave_out_vault(struct instance *in);
size_t check_give_vault(struct instance *in, const struct service *only);

/* Programs that a service's command stands for: PROG_… */
unsigned check_program(const char *program);

/*
 * Calls visit for each table ("type:name", without "proxy:") and file of a match list, or that
 * a parameter is the name of ("/name"), in the parameters of these programs, as they stand in a
 * set; s is where, or NULL for a default.
 */
void check_walk_tables(const struct conf *c, unsigned programs,
	void (*visit)(enum param p, struct slice spec, struct place where, void *arg), void *arg);
/* The file of a table: NAME.db, or NAME; ERR_NOT_FOUND for types without. Relative to dir. */
int check_table_path(struct slice spec, const char *dir, struct buf *path);
/* Whether workers are given a new file while they run: hash, btree, lmdb, keys and chains. */
bool check_table_is_indexed(struct slice spec);

#endif

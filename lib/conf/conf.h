/* SPDX-License-Identifier: ISC */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <stdbool.h>
#include <stdint.h>

#include "util/buf.h"

/*
 * Parameters. One row each in params.def makes the enum below, the parser, gateconf's output, the
 * sample file and gatepost.conf(5).
 *
 *   P(name, TYPE, "default", min, max, programs, "one sentence for the manual")
 *
 * TYPE: STR; BOOL; INT; SIZE (bytes, 64 bit); TIME (kept in microseconds; a bare number has the
 * unit of the default); MAPS (list of type:name tables); MATCH (match list: networks, hosts or
 * domains, tables, files, '!'); RESTRICT (restriction list); LIST (comma or blank separated); ENUM
 * (the choices stand in the sentence's row as "a|b|c"); FILE (the path of one that programs read);
 * RATE
 * ("20/1s", see conf/rate.h).
 * min and max bound INT, SIZE and TIME (in units of the default). programs: who reads it,
 * PROG_SMTPD | PROG_CLEANUP …; master hands a program those tables only that stand in a parameter
 * of its own.
 *
 * A transport's own setting (relay_destination_concurrency_limit) belongs to the row named
 * transport_destination_concurrency_limit and is read by conf_transport_*.
 *
 * The parsed set in force is a global of the process; conf_install replaces it whole. All values
 * returned are borrowed until then. Values are expanded ($name, ${name?…}) and checked already, so
 * no getter fails.
 */
enum param {
#define P(name, type, def, min, max, programs, text) P_##name,
#include "conf/params.def"
#undef P
	P_COUNT
};

enum {
	PROG_NONE = 0, /* not supported */
	PROG_MASTER = 1 << 0,
	PROG_SMTPD = 1 << 1,
	PROG_CLEANUP = 1 << 2,
	PROG_QMGR = 1 << 3,
	PROG_CLIENT = 1 << 4, /* smtp-client */
	PROG_LOCAL = 1 << 5,  /* local, virtual, pipe */
	PROG_VAULT = 1 << 6,
	PROG_RESOLVER = 1 << 7,
	PROG_TALLY = 1 << 8,
	PROG_MONITOR = 1 << 9,
	PROG_TOOLS = 1 << 10, /* commands that are no daemon */
	PROG_ALL = (1 << 11) - 1,
};

const char *conf_str(
	enum param p); /* STR, MAPS, MATCH, RESTRICT, LIST, ENUM, FILE, RATE: expanded text */
bool conf_bool(enum param p);
int64_t conf_int(enum param p);  /* INT, SIZE */
int64_t conf_time(enum param p); /* TIME, microseconds */

/* The value for one transport: NAME_destination_… if set, else the row's default. */
int64_t conf_transport_int(const char *transport, enum param p);
int64_t conf_transport_time(const char *transport, enum param p);
const char *conf_transport_str(const char *transport, enum param p);

/* Any name set in main.cf, user-defined ones too (restriction classes); NULL when not set. */
const char *conf_lookup(const char *name);

/* The name, type and programs of a row. */
const char *conf_name(enum param p);

/*
 * What master sends: the settings of one service (main.cf with its -o overrides) as bytes, and
 * back. conf_decode makes and checks a whole set; conf_install takes it over. conf_decode's why
 * names the parameter that is wrong.
 */
struct conf;
int conf_decode(struct slice encoded, struct buf *why, struct conf **c);
void conf_install(struct conf **c); /* takes it over */
/*
 * The settings in force as they would be with one more, which others may refer to ("stress"). NULL:
 * they would be wrong then. Owned.
 */
struct conf *conf_variant(const char *name, const char *value);
/* INT, SIZE, TIME of a variant; of the settings in force for NULL. */
int64_t conf_variant_number(const struct conf *c, enum param p);
void conf_free(struct conf **c);

/* For commands: $MAIL_CONFIG, else the directory that was chosen at build time. */
const char *conf_default_dir(void);
/*
 * For programs and tests that run without master: reads DIR/main.cf and installs it. Mistakes go
 * to why, one a line (PATH:LINE:COLUMN: error: …). overrides may be NULL: NULL-terminated
 * "name=value" strings.
 */
int conf_load(const char *dir, const char *const *overrides, struct buf *why);

#endif

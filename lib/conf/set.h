/* SPDX-License-Identifier: ISC */
#ifndef CONF_SET_H
#define CONF_SET_H

#include "conf/conf.h"
#include "conf/line.h"
#include "conf/params.h"

/*
 * A set of settings: what main.cf (and the -o of a service) says, and the values that come of it.
 * For master, gateconf and check, which handle several sets; a daemon uses conf.h alone.
 *
 *   c = conf_new(dir); set_read_main(c, &m); [set_override(...)]; set_build(c, &m)
 */
struct setting {
	char *value;               /* owned; as written, not expanded */
	char *path;                /* owned; NULL: not from a file */
	struct line_pieces pieces; /* of the value */
	unsigned line, column;     /* of the name */
};

struct conf *conf_new(const char *dir); /* owned; dir becomes config_directory */
/* The settings of c, without what set_build made. */
struct conf *set_copy(const struct conf *c);
/* DIR/main.cf. A file that cannot be read is a mistake too: ERR_*, the set is empty. */
int set_read_main(struct conf *c, struct mistakes *m);
/* The same from memory. */
int set_read_text(struct conf *c, const char *path, struct slice text, struct mistakes *m);
/* pieces (taken over) and path say where value stands; set_named says where the name does. */
void set_override(struct conf *c, struct slice name, struct slice value, const char *path,
	struct line_pieces *pieces);
void set_named(struct conf *c, struct slice name, unsigned line, unsigned column);
/* "name=value" or "{ name = value }" without its braces; ERR_SYNTAX when it is not of that form. */
int set_split(struct slice text, struct slice *name, struct slice *value);

/* Expands and checks every value; fills in what comes from the machine. ERR_SYNTAX on mistakes. */
int set_build(struct conf *c, struct mistakes *m);

const struct setting *set_find(const struct conf *c, struct slice name); /* NULL: not set */
/* In the order of names. */
void set_walk(const struct conf *c,
	bool (*visit)(struct slice name, const struct setting *s, void *arg), void *arg);
/* Where a byte of a setting's value stands. */
struct place set_place(const struct setting *s, size_t offset);

/* Values of a built set. */
/* A name of the user's own, expanded; NULL: not set. */
const char *set_other(const struct conf *c, struct slice name);
const char *set_str(const struct conf *c, enum param p);
bool set_bool(const struct conf *c, enum param p);
int64_t set_int(const struct conf *c, enum param p);
int64_t set_time(const struct conf *c, enum param p);
bool set_is_set(const struct conf *c, enum param p);
/* The text in force, not expanded: the setting, what the machine gives, or the default. */
const char *set_raw(const struct conf *c, enum param p);
/* Expands any text by the set. ERR_SYNTAX with why. */
int set_expand(const struct conf *c, struct slice text, struct buf *why, struct buf *out);
/* The same with names of the caller's beside: those come first. */
struct set_names {
	const char *(*lookup)(void *arg, struct slice name); /* NULL: it is none of them */
	void (*seen)(void *arg, struct slice name); /* each name that is referred to; may be NULL */
	void *arg;
};
int set_expand_names(const struct conf *c, const struct set_names *names, struct slice text,
	struct buf *why, struct buf *out);
/* A parameter, or a name that is set. */
bool set_is_name(const struct conf *c, struct slice name);
/* What conf_install has put in force: for a daemon, where a set is asked for. */
const struct conf *set_in_force(void);
/* Names that the set's values refer to are added (any value). */
void set_add_references(const struct conf *c, struct dict *names);

/* What master sends; see conf_decode. */
void set_encode(const struct conf *c, struct buf *out);

#endif

/* SPDX-License-Identifier: ISC */
#ifndef MAP_DRIVER_H
#define MAP_DRIVER_H

#include "map/map.h"

/*
 * What a table type is made of. A new type is one file with one struct map_driver, and its row
 * in map_drivers (map.c).
 */
enum map_source {
	MAP_SOURCE_NONE,  /* everything stands in the name, or is asked */
	MAP_SOURCE_TEXT,  /* the file NAME, or "{ … }" in place of it; read whole */
	MAP_SOURCE_INDEX, /* the file NAME.db (NAME.lmdb), read through a descriptor */
};

/* What open gets. All borrowed, but fd, which the driver takes over. */
struct map_input {
	const char *spec;  /* "cidr:/etc/x": for texts only */
	struct slice name; /* behind the type */
	const char *file;  /* what mistakes are said to be in */
	struct slice text; /* MAP_SOURCE_TEXT */
	int fd;            /* MAP_SOURCE_INDEX, else -1 */
	struct buf *why;   /* mistakes of the source; reasons why it cannot be read */
};

struct map_driver {
	const char *type;
	enum map_source source;
	/* ERR_SYNTAX: a mistake in spec or source. ERR_CORRUPT: the file cannot be used. */
	int (*open)(const struct map_input *in, void **state);
	/*
	 * As map_find. ERR_CORRUPT, with the reason in value: the table is damaged; it is closed
	 * and answers ERR_TEMP from then on.
	 */
	int (*find)(void *state, struct slice key, struct later *l, struct buf *value);
	void (*close)(void *state);
	/* As map_walk, with find's ERR_CORRUPT (nothing is said why). NULL: cannot be walked. */
	int (*walk)(void *state, map_visitor *visit, void *arg);
	bool is_pattern; /* see map_is_pattern */
};

extern const struct map_driver map_hash, map_btree, map_cidr, map_pcre, map_texthash, map_inline,
	map_static, map_fail, map_unix, map_later, map_regexp, map_union, map_pipe, map_random,
	map_socketmap, map_tcp, map_lmdb;

/* Table number i of a list; NULL behind the last. */
struct map *map_list_at(const struct map_list *list, size_t i);
/* Of unionmap and pipemap: whether a table in it has patterns. */
bool combined_has_pattern(const void *state);

/* The driver of a spec and the name behind its type ("proxy:" dropped); NULL: no such type. */
const struct map_driver *map_driver_of(struct slice spec, struct slice *name);

/* Who answers; defined beside map_unix and map_later, set by map.h's functions. */
extern map_asker *map_ask;
extern void (*map_defer)(void (*run)(void *arg), void *arg);

/* Asks the opener for what is behind a match list's "/file". */
int map_open_file(const char *path, int *fd);
/* Whether keys are looked up as they are (hash, texthash, …), not matched against patterns. */
bool map_is_keyed(const struct map *m);

/* Folded to lower case into out (static of the caller's, MAP_KEY_LIMIT); ERR_NOT_FOUND: no such
 * key can exist (empty, too long, with a NUL). */
int map_fold_key(struct slice key, char out[MAP_KEY_LIMIT], struct slice *folded);

#endif

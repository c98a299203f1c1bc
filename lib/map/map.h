/* SPDX-License-Identifier: ISC */
#ifndef MAP_MAP_H
#define MAP_MAP_H

#include "util/later.h"

/*
 * Tables. A lookup gives 0 (found), ERR_NOT_FOUND, ERR_TEMP (the table failed: always a temporary
 * failure, 451 or defer, never "not found") or ERR_LATER (util/later.h). Keys and values are bytes;
 * folding of keys is done here as the type wants it (hash, btree, texthash, inline: lower case,
 * as postmap builds them). Values in a table have at most MAP_VALUE_LIMIT bytes (ERR_TEMP); what a
 * pattern makes of its key may have more.
 *
 * Types: hash, btree (Berkeley DB, opened read-only from NAME.db), lmdb (from NAME.lmdb), cidr,
 * pcre, texthash (read whole from NAME), regexp, inline, static, fail, unix (passwd.byname,
 * group.byname; asked), unionmap, pipemap, randmap, socketmap, tcp (asked), later (tests:
 * later:type:name answers what type:name answers, but later). "proxy:" before a type is accepted
 * and dropped.
 *
 * Nothing here opens a path: map_set_opener says how a table's file becomes a descriptor (a daemon
 * asks master; a command opens it). A damaged or missing file opens "failed": its lookups give
 * ERR_TEMP until it is replaced, and one log line says so.
 */
enum { MAP_VALUE_LIMIT = 65536, MAP_KEY_LIMIT = 2048 };

struct map;

/*
 * spec is "type:name" as configured; *fd is what to read: NAME.db for hash and btree, NAME for text
 * types; never called for others. For a match list's "/file" spec is that path. "proxy:" and
 * "later:" are taken off. 0, ERR_NOT_FOUND, ERR_DENIED or ERR_SYS. The descriptor is owned by
 * lib/map afterwards.
 */
typedef int map_opener(const char *spec, int *fd);
void map_set_opener(map_opener *open);

/*
 * Who answers the asked types (unix). Returns as map_find does. NULL (the default): ERR_TEMP.
 */
typedef int map_asker(const char *spec, struct slice key, struct later *l, struct buf *value);
void map_set_asker(map_asker *ask);

/* Commands alone: whether keys are folded to lower case where the type wants it (yes). */
void map_set_folding(bool fold);

/* Indexed files are read ahead into the page cache up to this size when opened (64 MB). */
void map_set_warm_limit(size_t bytes);

/*
 * For a program that reads much by patterns, while it has its rights: those of tables that are
 * opened from now on become machine code (no). lib/priv forbids to make more, and to change it;
 * what was made is never freed.
 */
void map_set_machine_code(bool on);

/*
 * What hash and btree tables keep of their files goes to memory that these give and take: for who
 * has secrets in tables. Before the first table is opened.
 */
void map_set_memory(void *(*alloc)(size_t size), void *(*resize)(void *p, size_t size),
	void (*release)(void *p));

/*
 * Lets socketmap and tcp tables be asked, by net/pool.h, whose connector the program sets; without
 * it their lookups are ERR_TEMP. Needs the event loop.
 */
void map_peers_init(void);

/* Where the type "later" gets its event from: calls run(arg) soon, from the event loop. */
void map_set_deferrer(void (*defer)(void (*run)(void *arg), void *arg));

/*
 * ERR_SYNTAX (why says what is wrong with the spec or, for text types, FILE:LINE and the mistake).
 * A file that cannot be read is no error here: see above. One spec is opened once per process:
 * a second map_open gives the same table again (counted).
 */
int map_open(const char *spec, struct buf *why, struct map **m);
void map_close(struct map **m);
const char *map_spec(const struct map *m);
/*
 * value is reset first; what is over its limit is ERR_TEMP, with buf_failed(value). l may be NULL:
 * ERR_LATER becomes ERR_TEMP.
 */
int map_find(struct map *m, struct slice key, struct later *l, struct buf *value);
/*
 * A new version of an indexed table's file (spec without "proxy:" and "later:"); fd is taken over.
 * Unknown specs: fd is closed.
 */
void map_replace(const char *spec, int fd);
/* Changes with each map_replace: who keeps something made from a whole table makes it again then.
 */
unsigned map_version(const struct map *m);
/*
 * Whether entries are patterns (cidr, pcre, regexp; tcp as in Postfix): such a table is asked for a
 * whole name or address alone, never for the parts that tables of keys are tried with.
 */
bool map_is_pattern(const struct map *m);
/* Whether lookups fail because the table could not be opened or is damaged. */
bool map_is_failed(const struct map *m);
/*
 * Calls visit for every entry, in no order, until it returns false. Indexed files, texthash and
 * inline; ERR_STATE for types that have no entries to list. ERR_TEMP as for map_find.
 */
typedef bool map_visitor(struct slice key, struct slice value, void *arg);
int map_walk(struct map *m, map_visitor *visit, void *arg);

/* "hash:/a, cidr:/b": the first that finds; an error ends the search. Empty text: never finds. */
struct map_list;
int map_list_open(const char *text, struct buf *why, struct map_list **list);
void map_list_close(struct map_list **list);
bool map_list_is_empty(const struct map_list *list);
int map_list_find(struct map_list *list, struct slice key, struct later *l, struct buf *value);
/* The same for a part of a name or address: tables of patterns (map_is_pattern) are not asked. */
int map_list_find_part(struct map_list *list, struct slice key, struct later *l, struct buf *value);
/* map_walk over those of them that can be walked, until visit returns false. */
void map_list_walk(const struct map_list *list, map_visitor *visit, void *arg);

/*
 * Calls visit for each "type:name" ("proxy:" and "later:" taken off) and each "/file" in the text
 * of a MAPS, MATCH or RESTRICT parameter.
 */
void map_walk_specs(const char *text, void (*visit)(struct slice spec, void *arg), void *arg);
/* The file that the opener is to open for a spec ("/etc/x.db"); ERR_NOT_FOUND for types without. */
int map_spec_path(const char *spec, struct buf *path);

#endif

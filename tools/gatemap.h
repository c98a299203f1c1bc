/* SPDX-License-Identifier: ISC */
#ifndef TOOLS_GATEMAP_H
#define TOOLS_GATEMAP_H

#include "map/build.h"
#include "map/map.h"

/* gatemap, postmap, postalias, newaliases: one program by several names. */
struct gatemap_options {
	bool aliases;     /* alias syntax */
	bool fold;        /* keys to lower case */
	bool incremental; /* new entries from standard input to what there is */
	bool replace, quiet_duplicates;
	bool as_owner; /* root becomes the owner of the source */
	bool source_mode;
	bool nul;
	bool json;
	bool utf8;                /* input must be UTF-8 */
	bool utf8_message;        /* that of a message, too */
	bool files;               /* values name files whose content is the value, in base64 */
	bool headers, body, mime; /* a message gives the keys */
};

extern struct gatemap_options gatemap_options;

/* "postmap: warning: …" and "postmap: fatal: …" (status 1) on standard error. */
void gatemap_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void gatemap_fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* type and path as in "hash:/etc/aliases". */
void gatemap_build(const char *type, const char *path);
/* Each key in the list, or from standard input for "-"; true when one was there. */
bool gatemap_remove(const char *type, const char *path, const char *key);
bool gatemap_query(const char *const *specs, size_t count, const char *key);
void gatemap_list(const char *spec);

/* Why a table could not be opened, or "". */
extern char gatemap_why[4096];

/* tools/gatemap_message.c: calls use for each header field and body line that is asked for. */
void gatemap_message(void (*use)(struct slice key, void *arg), void *arg);

/* tools/gatemap_peer.c: tables over sockets; a lookup that waits for the answer. */
void gatemap_peers_init(void);
int gatemap_find(struct map *m, struct slice key, struct buf *value);

/* Calls use for each line of standard input without its end. */
void gatemap_each_line(void (*use)(struct slice line, void *arg), void *arg);

/* tools/gatemap_password.c. Whether main.cf or master.cf in dir names the table as one of
 * passwords. */
bool gatemap_is_password_table(const char *dir, const char *path);
bool gatemap_is_record(struct slice value);
/* The login as vault looks it up (sasl/prep.h); one that has no such form stays. */
void gatemap_prepare_login(struct buf *key);
extern const char *gatemap_config_dir;

/* tools/gatemap_source.c: one logical line of a source. False, with a warning, when it is none. */
struct text;
bool gatemap_entry(
	struct text *t, struct slice logical, unsigned line, struct buf *key, struct buf *value);

#endif

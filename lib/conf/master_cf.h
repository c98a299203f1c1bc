/* SPDX-License-Identifier: ISC */
#ifndef CONF_MASTER_CF_H
#define CONF_MASTER_CF_H

#include "conf/set.h"

/*
 * master.cf: the services of an instance. Eight columns, as in Postfix:
 *
 *   name  type  private  unprivileged  chroot  wakeup  maxproc  command argument …
 *
 * What an instance needs and the file does not list is added with defaults (is_implied). Wakeup,
 * chroot and the privilege column are accepted without effect: no program of ours has the choice.
 */
enum service_type { SERVICE_INET, SERVICE_UNIX, SERVICE_FIFO, SERVICE_PASS, SERVICE_DGRAM };
enum command_kind { COMMAND_WORKER, COMMAND_ANSWERED, COMMAND_UNNEEDED, COMMAND_MISSING };
enum { COMMAND_LMTP = 1, COMMAND_SINGLE_SERVICE = 2 };

struct service_option {
	char *name, *value;        /* owned */
	struct line_pieces pieces; /* of the value */
	unsigned line, column;     /* of the name */
};

struct service {
	char *name; /* owned; "smtp", "127.0.0.1:2525", "sendmail" */
	enum service_type type;
	bool is_private;
	int64_t maxproc;     /* -1: '-', 0: no limit */
	char *command;       /* owned; as written */
	const char *program; /* of ours */
	enum command_kind kind;
	bool is_lmtp, is_implied, is_disabled, verbose;
	struct service_option *option; /* owned; -o */
	size_t options;
	char **argument; /* owned; all others */
	size_t arguments;
	unsigned line, column;
};

struct services {
	char *path; /* owned; of the file */
	struct service *service;
	size_t count;
};

/*
 * Reads DIR/master.cf of a built main.cf. Mistakes go to m; the result is sound also with mistakes
 * (wrong lines are left out). A file that cannot be read is a mistake.
 */
void services_read(struct services *s, const struct conf *main, struct mistakes *m);
/* The same from memory. */
void services_read_text(struct services *s, const struct conf *main, const char *path,
	struct slice text, struct mistakes *m);
void services_clear(struct services *s);

/* "inet", "unix", … */
const char *service_type_name(enum service_type type);
/* NAME or NAME/TYPE; without a type the inet service, else another. NULL: none. */
const struct service *services_find(const struct services *s, struct slice name);
/* main with the service's -o, not built. */
struct conf *service_settings(
	const struct services *s, const struct service *v, const struct conf *main);
/* "2525", "smtp", "[::1]:25", "host:25" in parts; ERR_SYNTAX. host may be empty. */
int service_split_address(struct slice name, struct slice *host, uint16_t *port);

#endif

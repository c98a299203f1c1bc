/* SPDX-License-Identifier: ISC */
#ifndef TOOLS_GATEPOST_H
#define TOOLS_GATEPOST_H

#include "conf/set.h"
#include "ipc/ipc.h"

/*
 * gatepost: what master is asked, and what is made of its answers. master begins a command and
 * tells facts; waiting, wording and judging are done here, without its rights.
 */
extern const char *gatepost_dir;   /* of the configuration */
extern struct conf *gatepost_conf; /* of main.cf, mistakes or not */

int gatepost_fail(const char *text); /* "gatepost: text"; 1 */
/* Both files; mistakes to standard error. The number of errors. */
unsigned gatepost_check(bool always_print);

/* ---- gatepost_state.c: the state of an instance ---- */

struct service_state {
	char *key;       /* owned; "smtp/inet" */
	char *addresses; /* owned; a blank before each */
	enum role role;
	bool is_configured, is_stopped, is_paused;
	uint64_t turn, wanted, ready, past, sessions;
	pid_t *pid; /* owned array */
	size_t pids;
};

struct state {
	pid_t pid;
	int64_t since; /* real time */
	uint64_t turn;
	struct service_state *service; /* owned array */
	size_t services;
};

void state_clear(struct state *s);
/*
 * Asks master; a status goes to *s (cleared first; NULL for other commands), reasons to standard
 * error. 0, 1 (not done); ERR_NOT_FOUND: nobody is there; ERR_*.
 */
int state_ask(const char *command, const char *service, struct state *s);
/* NAME or NAME/TYPE; without a type the inet service, else another. NULL: none. */
const struct service_state *state_find(const struct state *s, const char *name);
/* "running", "starting", "stopped", "draining" */
const char *state_word(const struct service_state *v);
void state_print(const struct state *s, bool json);
void state_print_service(const struct service_state *v, bool json);
/* Whether all services run, or are to end; names those that do not on standard error. */
bool state_is_good(const struct state *s);

/*
 * Wait for an end, a limited time. 0, or 1 with the reason on standard error.
 * turn: of a reload that was begun; 0: of the start, which goes on without what is not needed to
 * take and pass on mail.
 */
int state_wait_start(void);
int state_wait_reload(uint64_t turn);
int state_wait_service(const char *key, bool stopped);

/* ---- gatepost_start.c ---- */
int gatepost_start(void);
int gatepost_start_fg(void);
int gatepost_stop(void);
/* Whether somebody holds pid/NAME below the queue directory. */
bool gatepost_is_locked(const char *name);

/* ---- gatepost_ban.c ---- */
struct ban_options {
	bool json;
	const char *time, *reason; /* NULL: not given */
	int64_t seconds;           /* time, or smtpd_ban_time */
};
int gatepost_ban(char **args, struct ban_options *options);

/* ---- gatepost_sandbox.c: what a role's sandbox refuses; list: what it allows. ---- */
int gatepost_sandbox(const char *role, bool list);

/* ---- gatepost_dirs.c: the directories of lib/priv/dirs.def, made as the configuration says. ----
 */
int gatepost_make_dirs(void);
/* Warns when the set-gid helper of sendmail has no right to write into one of them. */
struct mistakes;
struct instance;
void gatepost_check_helper(const struct instance *in, struct mistakes *m);

#endif

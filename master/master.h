/* SPDX-License-Identifier: ISC */
#ifndef MASTER_MASTER_H
#define MASTER_MASTER_H

#include <sys/queue.h>

#include "conf/capacity.h"
#include "conf/check.h"
#include "ipc/ipc.h"
#include "util/backoff.h"

/*
 * master: the one process that stays root. It binds listeners, starts, watches and replaces the
 * workers of every service, and hands them their descriptors. It reads main.cf and master.cf, and
 * neither mail, nor the network, nor the inside of a table.
 *
 * A unit is a service of master.cf while master runs; it outlives reloads. A plan is how a unit's
 * workers are to be: made by start, reload and "service restart", one a generation; workers keep
 * the plan they were started with. A worker is one process.
 *
 *   STARTING ──READY frame──► READY ──newer generation is ready──► DRAINING ──► gone
 *       │ dies: back-off          │ dies: started again at once
 *       └ of a newer generation while an older one serves: the generation is dropped
 */
struct listener {
	TAILQ_ENTRY(listener) next;
	char *address; /* owned; "127.0.0.1:25", "[::1]:25", "public/sendmail" */
	int fd;
	bool is_unix;
	unsigned users;   /* plans */
	uint64_t claimed; /* by a service of this generation */
};
TAILQ_HEAD(listener_list, listener);

struct plan {
	unsigned users;
	uint64_t generation;
	struct conf *settings; /* owned */
	const char *program;
	enum role role;
	unsigned programs; /* PROG_* */
	bool is_lmtp;
	struct capacity capacity;
	struct listener **listener; /* owned array */
	size_t listeners;
};

enum worker_state { WORKER_STARTING, WORKER_READY, WORKER_DRAINING };

struct worker {
	TAILQ_ENTRY(worker) next, all; /* of its unit, of master */
	struct unit *unit;
	struct plan *plan;
	struct ipc *control;
	pid_t pid;
	uint64_t number;
	unsigned slot;
	enum worker_state state;
	bool is_killed;      /* by master: no news */
	bool is_stale;       /* new settings wait until it is ready */
	struct dict *tables; /* specs it has opened */
};
TAILQ_HEAD(worker_list, worker);

struct unit {
	TAILQ_ENTRY(unit) next;
	char *name, *key; /* owned; "smtp", "smtp/inet" */
	enum service_type type;
	struct plan *plan; /* NULL: disabled, or not in master.cf any more */
	struct worker_list workers;
	int page_fd;
	void *page;
	bool slot_used[128];
	bool is_stopped; /* by "service stop" */
	bool has_served; /* the first start waits for its peers */
	bool is_paused;  /* waits to be started again */
	struct backoff backoff;
	struct loop_timer again;
};
TAILQ_HEAD(unit_list, unit);

enum { MASTER_TEXT_LIMIT = 1 << 20, MASTER_BIND_WAIT_MSEC = 5000 };

extern struct master {
	const char *dir;
	struct instance in;
	struct unit_list units;
	struct worker_list workers; /* of all units */
	struct listener_list listeners;
	uint64_t generation, last_worker;
	int64_t started; /* real time */
	bool is_development, is_foreground, is_stopping;
	int alive_fd; /* holds pid/alive.lock */
} master;

/* A setting of the instance in force. */
const char *master_str(enum param p);

/* plan.c: from configuration to units. Nothing is changed when ERR_* is returned; why has lines. */
int plan_read(struct instance *in, struct buf *why);
int plan_load(struct unit *only, struct buf *why); /* NULL: start and reload */
void plan_drop(struct plan **p);
struct unit *unit_find(struct slice key); /* NAME/TYPE */

/* listen.c. wait: keep trying for a taken address until that time (monotonic). */
int listen_for(const struct service *v, const struct conf *settings, int64_t wait,
	struct plan *plan, struct buf *why);
void listen_release(struct plan *plan);

/* worker.c */
void worker_init(struct unit *u);
void worker_fill(struct unit *u);    /* starts what is missing */
void worker_unpause(struct unit *u); /* forgets how it failed before */
void worker_replace(struct unit *u); /* after a new plan */
void worker_stop_unit(struct unit *u, bool now);
void worker_ready(struct worker *w);
void worker_reap(void);
void worker_settings(struct unit *u); /* new settings for qmgr and tally */
bool worker_is_kept(enum role role);  /* never replaced */
/* One of an older plan that serves: what a failed generation falls back to. NULL: none. */
struct worker *worker_older(const struct unit *u);
unsigned worker_count(const struct unit *u, bool ready_only);
void worker_kill(struct worker *w);
void worker_end(struct worker *w); /* asks it to, or kills one that cannot be asked yet */

/* handover.c: what a worker is given at its start, and what it asks for. */
void handover(struct worker *w);
void handover_own(struct worker *w); /* the directory or file of its role */
void handover_log(struct worker *w);
void handover_settings(struct worker *w, bool is_reload);
void handover_peers(struct worker *w); /* w has become ready: connects it */
void handover_msg(struct ipc *c, struct ipc_msg *msg, void *worker);

/* table.c, outside.c: on a worker's request. -1 with errno. */
int table_open(struct worker *w, const char *spec);
void table_watch(void); /* once a second */
int outside_connect(const struct worker *w, const char *name);

/* log_fd.c: a descriptor for the log; -1 when there is none now. */
int log_fd_open(bool *is_file);
void log_fd_use(void);        /* master's own */
bool log_fd_is_missing(void); /* the last time there was none */

/* dirs.c: locks, and what lib/priv/roles.def says */
int dirs_lock(struct buf *why); /* one master; waits for the processes of a dead one; ERR_* */
int dirs_share_lock(void);      /* a worker's own hold on pid/alive.lock; -1 */
const char *dirs_root(enum role role); /* root directory; "" for none */
enum { DIRS_GIVEN = 2 };
/* The n-th directory or file of its own (below DIRS_GIVEN); -1: none. */
int dirs_open_for(enum role role, unsigned n, const char **name);
unsigned dirs_stage(enum role role); /* in which order processes end: 1 to 4 */
int dirs_ids(enum role role, const struct conf *c, uid_t *uid, gid_t gids[3], size_t *n);
/* Whose user its processes are in the end: local's, which begin as root, are of default_privs. */
uid_t dirs_user(enum role role, const struct conf *c);

/* control.c: the socket for gatepost, which asks, and does all waiting and wording. */
int control_listen(struct buf *why);
void control_close(void);

/* main.c */
void master_stop(void);
void master_changed(void); /* a worker became ready or died */
void master_reopen_logs(void);

#endif

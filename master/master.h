/* SPDX-License-Identifier: ISC */
#ifndef MASTER_MASTER_H
#define MASTER_MASTER_H

#include <sys/queue.h>

#include "conf/capacity.h"
#include "conf/check.h"
#include "ipc/ipc.h"

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
	TAILQ_ENTRY(worker) next;
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

enum { DEATHS = 21 }; /* a minute; so many are too many */

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
	int64_t deaths[DEATHS];
	unsigned death;
	int64_t pause;   /* while it is not started: how long, in seconds */
	int64_t backoff; /* the last such time */
	struct loop_timer again;
};
TAILQ_HEAD(unit_list, unit);

enum { MASTER_TEXT_LIMIT = 1 << 20, MASTER_BIND_WAIT_MSEC = 5000 };

extern struct master {
	const char *dir;
	struct instance in;
	struct unit_list units;
	struct listener_list listeners;
	uint64_t generation, workers;
	int64_t started; /* real time */
	bool is_development, is_foreground, is_serving, is_stopping;
	int alive_fd;  /* holds pid/alive.lock */
	int status_fd; /* tells gatepost how the start goes; -1 */
} master;

/* A setting of the instance in force. */
const char *master_str(enum param p);

/* plan.c: from configuration to units. Nothing is changed when ERR_* is returned; why has lines. */
int plan_load(struct buf *why);                      /* start and reload */
int plan_load_unit(struct unit *u, struct buf *why); /* one service alone */
void plan_drop(struct plan **p);
struct unit *unit_find(struct slice name);

/* listen.c. wait: keep trying for a taken address until that time (monotonic). */
int listen_for(const struct service *v, const struct conf *settings, int64_t wait,
	struct plan *plan, struct buf *why);
void listen_release(struct plan *plan);

/* worker.c */
void worker_fill(struct unit *u);    /* starts what is missing */
void worker_replace(struct unit *u); /* after a new plan */
void worker_stop_unit(struct unit *u, bool now);
void worker_ready(struct worker *w);
void worker_reap(void);
void worker_settings(struct unit *u); /* new settings for qmgr and tally */
bool worker_is_kept(enum role role);  /* never replaced */
unsigned worker_count(const struct unit *u, bool ready_only);
void worker_kill(struct worker *w);
void worker_kill_all(void);

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

/* dirs.c. ERR_*; why has a line. */
int dirs_make(struct buf *why);
int dirs_lock(struct buf *why);        /* one master; waits for the processes of a dead one */
int dirs_share_lock(void);             /* a worker's own hold on pid/alive.lock; -1 */
const char *dirs_root(enum role role); /* root directory; "" for none */
int dirs_open_for(enum role role, unsigned n,
	const char **name); /* its n-th own directory or file; -1: none */
int dirs_ids(enum role role, const struct conf *c, uid_t *uid, gid_t gids[3], size_t *n);

/* control.c: the socket for gatepost. */
int control_listen(struct buf *why);
void control_close(void);
void control_changed(void); /* a worker came or went: commands that wait look again */

/* main.c */
void master_stop(void);
void master_changed(void); /* a worker became ready or died */
void master_reopen_logs(void);

#endif

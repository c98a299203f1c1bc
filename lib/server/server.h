/* SPDX-License-Identifier: ISC */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include <sys/queue.h>

#include "conf/conf.h"
#include "ipc/ipc.h"

/*
 * The one start-up of every program that master starts, and its link to master.
 *
 * A program is started as root with nothing but descriptor SERVER_CONTROL_FD. server_main then:
 * takes what master says (HELLO, SETTINGS, LOG_FD, LISTENER, COUNTERS, DATA_DIR, START, in any
 * order before START); installs the settings; calls init, in which the program opens its tables
 * (lib/map asks master for descriptors, waiting) and reads what it needs as root; drops all rights
 * (lib/priv), split before the last of them; calls start; says READY; runs the loop. Peers come and
 * go as master connects them, before and after READY. When master's connection ends, stop is
 * called, the program has a second and then ends. Peers of the role NSS are asked by unix: tables
 * of lib/map and nobody else; no callback is called for them.
 */
enum {
	SERVER_CONTROL_FD = 3,
	SERVER_ALIVE_FD = 4, /* holds the lock by which the next master knows that all are gone */
	SERVER_STOP_MSEC = 1000
};

struct server_peer {
	TAILQ_ENTRY(server_peer) next; /* in server_peers(role) */
	struct ipc *ipc;
	enum role role;
	uint64_t worker;     /* number that master gave it; not used again */
	const char *service; /* name/type as in master.cf */
	uint64_t limit;      /* sessions that it may carry; 0: not said */
	bool asks;           /* this side asks the other for work */
	void *arg;           /* the program's */
	int fd;              /* private */
};

TAILQ_HEAD(server_peer_list, server_peer);

struct server_spec {
	enum role role;
	unsigned program; /* PROG_* */
	bool keep_root;   /* local's parent alone */
	/* Settings are in force, rights are still there. Opens tables. May log_fatal. */
	void (*init)(void);
	/*
	 * Rights are gone but for the filter of system calls. Starts this program's second process,
	 * if it has one, and reads nothing from outside. May be NULL.
	 */
	void (*split)(void);
	/* All rights are gone; the loop exists. */
	void (*start)(void);
	/* A listening socket (owned); before init or, on a changed address, later. May be NULL. */
	void (*listener)(int fd, const char *address, bool is_unix);
	/* A directory or file that master opened for this role (owned), by its parameter's name. */
	void (*data_dir)(const char *name, int fd);
	/*
	 * A new version of a file that server_open_file has given ("pem:/path"), fd owned. May be
	 * NULL.
	 */
	void (*file)(const char *name, int fd);
	/* The log is elsewhere from now on; fd is borrowed. For who has handed it on. May be NULL.
	 */
	void (*log_new)(bool is_file, int fd);
	/* A peer has come (set peer->arg); a frame from it; it has gone (freed behind the call). */
	void (*peer_new)(struct server_peer *peer);
	void (*peer_msg)(struct server_peer *peer, struct ipc_msg *msg);
	void (*peer_gone)(struct server_peer *peer);
	void (*peer_room)(struct server_peer *peer); /* may be NULL */
	/* Every peer that lived when this program became ready has come. May be NULL. */
	void (*peers_all)(void);
	/*
	 * Accept no more; end sessions as they end, or (now) between transactions with 421. The
	 * program calls server_done when nothing is left. NULL: ends at once.
	 */
	void (*drain)(bool now);
	/* Everything must end within a second; the program may call server_done earlier. */
	void (*stop)(void);
	/* New settings for a program that is not replaced (qmgr, tally): all or none. */
	int (*reload)(struct conf **c, struct buf *why);
};

/* Does not return before the end; the exit status. */
int server_main(int argc, char **argv, const struct server_spec *spec);
/* Nothing is left to do: ends the loop and the process in good order. */
void server_done(void);
bool server_is_stopping(void); /* stop or drain was said */

const char *server_service(void); /* "smtp/inet": name/type as in master.cf */
uint64_t server_worker(void);
const char *server_program(void); /* name for the log: "smtpd" */
uint64_t server_limit(void);      /* sessions of this worker */
uint64_t server_sessions(void);   /* of the service, over all its workers; 0: not said */
bool server_is_lmtp(void);
bool server_is_development(void);
const char *server_root(void); /* the root directory to change to; empty: none */
/* Workers of older settings serve: one that cannot start keeps them at it. */
bool server_follows(void);

/*
 * A file by its type and name ("pem:/path"), that one of this program's settings names; before
 * START alone, waiting. 0 and the descriptor (owned), ERR_NOT_FOUND, ERR_DENIED, ERR_SYS.
 */
int server_open_file(const char *name, int *fd);

/*
 * A file that a parameter of this program names (a table as "type:name", else its path), while the
 * program starts: init and before. The descriptor is owned. ERR_NOT_FOUND, ERR_DENIED, ERR_SYS.
 */
int server_open_table(const char *spec, int *fd);

struct server_peer_list *server_peers(enum role role);
/* Ends the connection as if the peer had: peer_gone is called. */
void server_peer_close(struct server_peer *peer);

/*
 * A connection to an outside service: "unix:/path" or "inet:host:port" that one of this service's
 * parameters names, or a next hop (UNIX, below unix_nexthop_directories). done is called from the
 * loop: err 0 and the descriptor (owned, non-blocking, possibly still connecting), or ERR_SYS with
 * errno. Returns a handle for server_connect_cancel, valid until done.
 */
uint64_t server_connect(const char *name, void (*done)(int err, int fd, void *arg), void *arg);
void server_connect_cancel(uint64_t handle);

#endif

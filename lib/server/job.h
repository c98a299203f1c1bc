/* SPDX-License-Identifier: ISC */
#ifndef SERVER_JOB_H
#define SERVER_JOB_H

#include <sys/queue.h>

#include "ipc/ipc.h"
#include "mail/stage.h"
#include "queue/envelope.h"

/*
 * For programs that deliver. A job: what qmgr has handed over, and what became of each of its
 * recipients. It comes in frames (JOB, JOB_RCPT, JOB_DATA, JOB_BODY, JOB_GO), is worked on by a
 * delivery, and is kept until qmgr says that its reports are noted. When qmgr dies the job goes on;
 * a new one is told of all jobs that are at work or not yet noted (Q5), and only after the last
 * frame of the old one was read.
 *
 *   COMING ──GO──► WORKING ──every recipient reported──► ENDED ──noted──► freed
 *     └── connection lost: ENDED, all recipients untried
 */
enum job_state { JOB_COMING, JOB_WORKING, JOB_ENDED };

/* More about an attempt, for plans and notices. Zero: not known. */
enum { JOB_BY_RELAY = 1, JOB_TELLS_SUCCESS = 2, JOB_FINAL = 4, JOB_KEEPS_TIME = 8 };
struct job_facts {
	uint16_t code; /* of the reply that decided */
	uint8_t stage; /* enum stage */
	uint8_t flags; /* JOB_BY_RELAY: relay_attempts_limit counts it; JOB_TELLS_SUCCESS: the next
			  hop has DSN and got the wish (RFC 3461, 5.2.1); JOB_FINAL: it is in its
			  mailbox, or as good as that; JOB_KEEPS_TIME: it was told the deadline
			  (RFC 2852) */
};

/* What became of a recipient, as JOB_REPORT and HELD_REPORT say it. All owned, NULL: not said. */
struct job_report {
	enum proto_result result;
	char status[16];
	char *remote, *diagnostic, *text;
	char *transport, *nexthop; /* RESULT_REROUTE */
	struct job_facts facts;
};

enum rcpt_state {
	RCPT_OPEN, /* to be delivered */
	RCPT_KEEP, /* the program's: open, but to be tried elsewhere */
	RCPT_DONE, /* reported */
};

struct job_rcpt {
	uint64_t index;
	char *address, *orig_to, *orcpt; /* owned; the last two may be NULL */
	unsigned notify, attempts, via;  /* QUEUE_VIA_* */
	enum rcpt_state state;
	struct job_report report;
};

/* What the sender wants of TLS (RFC 8689), in flags: never without; or rather without than not. */
#define JOB_REQUIRETLS QUEUE_FLAG_REQUIRETLS
#define JOB_TLS_OPTIONAL QUEUE_FLAG_TLS_OPTIONAL

struct job {
	TAILQ_ENTRY(job) link;
	enum job_state state;
	struct ipc *qmgr; /* NULL: it is gone, a new one is told by job number */
	uint64_t request, number;
	char *id, *sender, *transport, *nexthop, *envid;
	/* Where it came from, as far as trusted clients said so; NULL: not known. */
	char *client_name, *client_addr, *client_helo, *client_protocol, *origin_ident;
	unsigned client_port; /* 0: not known */
	int64_t arrival, active;
	int64_t deadline; /* its sender's (RFC 2852), real µs; 0: none */
	uint64_t size, header_len;
	unsigned flags, ret, body; /* flags: QUEUE_FLAG_*, JOB_* */
	struct job_rcpt *rcpts;    /* owned */
	size_t n, cap;
	size_t open; /* recipients that are not DONE */
	struct buf content;
	uint64_t granted_at; /* bytes of content when credit was last given */
	int body_fd;
	uint64_t body_size, body_offset;
	struct buf body_sums;   /* CRC-32C of each 64 KB of the body; may be empty */
	bool dot;               /* the next hop may have it */
	bool relay;             /* job_relay */
	struct job_facts facts; /* the program's: of the reports that come next */
	void *work;             /* the program's, while it is at work */
};

enum { JOB_RCPTS_MAX = 100000, JOB_CONTENT_MAX = 16 << 20 };

TAILQ_HEAD(job_list, job);
extern struct job_list jobs; /* all that are not freed */

/* Flags of JOB_END. */
enum { JOB_END_IDLE = 1, JOB_END_UNREACHABLE = 2, JOB_END_UNREADABLE = 4 };

/* How the program works on a job. */
struct job_handler {
	/* All of it has come. The program ends it by job_end. */
	void (*start)(struct job *j);
	/* It is withdrawn: j->work is to be freed; nothing is reported by the program. */
	void (*abandon)(struct job *j);
	/* When the hosts of a next hop fail it goes on to a relay of its own. */
	bool falls_back;
};

/* limit: jobs at once. */
void job_init(const struct job_handler *handler, unsigned limit);
/* qmgr's frames, and its connection's begin and end. */
void job_qmgr_new(struct ipc *c);
void job_qmgr_msg(struct ipc *c, struct ipc_msg *msg);
void job_qmgr_gone(struct ipc *c);

/* The recipient is done: notes it, tells qmgr. Texts are copied and may be NULL. */
void job_report(struct job *j, struct job_rcpt *r, enum proto_result result, const char *status,
	const char *remote, const char *diagnostic, const char *text);
/* Another transport is to deliver it. */
void job_reroute(struct job *j, struct job_rcpt *r, const char *transport, const char *nexthop);
/* Every recipient is reported and the work is gone. */
void job_end(struct job *j, unsigned flags, const char *status, const char *text);
/*
 * From now on the next hop may have it. Gathered: job_flush_dots puts all of them into the kernel,
 * and is true when they are there, so that final dots may leave.
 */
void job_dot(struct job *j);
bool job_flush_dots(void);
/* From now on relays are tried, and hosts that are none were before. */
void job_relay(struct job *j);
/* Jobs at work. */
size_t job_working(void);
/* So many idle sessions to a next hop are open here. */
void job_say_idle(const char *nexthop, unsigned sessions);
/*
 * The program is to end: qmgr is told to send no more jobs; those on their way still may come. When
 * the last one is done the program ends (server_done).
 */
void job_leave(void);
/*
 * No more jobs will be worked on: those without dot, and those that still come, are reported as
 * untried; qmgr is told to send no more. When none is left the program ends.
 */
void job_withdraw_all(void);

#endif

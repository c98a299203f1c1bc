/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_SESSION_H
#define CLIENT_SESSION_H

#include <sys/queue.h>

#include "net/stream.h"
#include "smtp-client/delivery.h"
#include "smtp/ehlo.h"
#include "smtp/reply.h"
#include "tls/tls.h"

/*
 * A connection to a server, from connect to QUIT, with transactions one after the other and idle
 * time between them.
 *
 *   CONNECTING ──220──► EHLO ──250──► BUSY (transaction) ◄──► IDLE
 *        │               │ 5xx: HELO    │                      │ 2 s, or the server ends it
 *        └── failed ─────┴──► gone ◄────┴────────── QUIT ◄─────┘
 *
 * STARTTLS, HANDSHAKE and EHLO again may come behind EHLO (starttls.h), then AUTH (auth.h). What is
 * idle is in kept.h, greeting and EHLO are in hello.h.
 *
 * A table that is asked on the way (later) stops the reading of replies: the reply stays as it is
 * and is taken once more when the answer has come.
 */
enum session_state {
	SESSION_CONNECTING,
	SESSION_EHLO,
	SESSION_HELO,
	SESSION_STARTTLS,
	SESSION_HANDSHAKE,
	SESSION_AUTH,
	SESSION_BUSY,
	SESSION_IDLE,
	SESSION_QUIT /* its reply is awaited, for nobody */
};

struct auth;
struct xact;

struct session {
	TAILQ_ENTRY(session) link; /* of the idle ones, oldest first; of those that quit */
	enum session_state state;
	struct stream *stream;
	struct reply reply;
	struct later later;
	bool has_reply; /* it is whole and not yet taken */
	bool asks;      /* a table is asked: nothing is read */
	struct ehlo ehlo;
	bool lmtp;
	bool connected;         /* something was heard */
	bool closing;           /* the server said 421, or order is lost: no reuse */
	bool stale_transaction; /* RSET before the next MAIL */
	bool no_esmtp;          /* HELO alone */
	bool slow_dot;          /* the final dot is sent by itself, and late */
	unsigned uses;          /* transactions, the present one included */
	int64_t opened;         /* monotonic */
	int64_t connect_until;
	int64_t hello_until; /* the deadline of the handshake */
	char *site;          /* owned: the next hop that led here */
	char *nexthop;       /* owned: qmgr's word for the destination, of which site is a part */
	char *name;          /* owned: the host's name alone */
	char *address;       /* owned: its address, or the path of its socket */
	char *host;          /* owned: "host[address]", for texts */
	char *relay;         /* owned: "host[address]:port", for the log */
	uint16_t port;
	char *way; /* owned: what TLS came to: starttls_add_way; NULL: of a UNIX socket */
	struct policy *policy;        /* counted */
	enum tls_level level;         /* what the policy comes to for this host */
	struct tls *tls;              /* the stream's; NULL: clear text */
	bool plain;                   /* in clear text because TLS has failed: no reuse */
	struct loop_watch *up;        /* owned; with TLS from connect: waits for the connection */
	TAILQ_ENTRY(session) waiting; /* for a certificate of ours */
	bool waits;
	struct auth *auth;         /* owned; NULL: no exchange is under way */
	char *login;               /* owned: whom it is logged in as (auth.h); NULL: as nobody */
	struct delivery *delivery; /* NULL while idle */
	struct xact *xact;         /* owned; NULL outside a transaction */
	struct talk *talk;         /* owned; for a transcript; NULL: nobody wants one */
	bool *gone;                /* tells the reader of input that the session was freed */
};

enum { SESSION_IN_MAX = 16384, SESSION_OUT_MAX = 512 * 1024 };

/* Opens tables, as long as there are rights for it. */
void session_init(void);
/* At most so many sessions may wait for the reply to QUIT. */
void session_start(unsigned limit);
/* Takes fd over, which may still be connecting. The delivery is told of the end of the handshake.
 */
void session_open(struct delivery *d, int fd, const char *host, const char *address, uint16_t port);
/* A connection that could not even begin; errno says why. */
void session_cannot_connect(
	struct delivery *d, const char *host, const char *address, uint16_t port);
/* Closed without a word. */
void session_drop(struct session **s);
/* QUIT, and the reply to it as smtp_skip_quit_response says. */
void session_quit(struct session **s);
bool session_is_up(const struct session *s);
/* It is kept: nothing is written, no reply is remembered. */
void session_rest(struct session *s);

/* A command's deadline, by the row of policy_param. */
int64_t session_deadline(enum param smtp);
/*
 * Fills the delivery's problem: "host H[ip] said: TEXT (in reply to COMMAND)", with the reply's
 * status, code and words.
 */
void session_said(struct session *s, enum stage stage, const char *command);
/* The code and the words (text: taken) of a reply that is why, behind session_problem. */
void session_add_reply(struct session *s, struct buf *text);
/* "host H[ip] refused to talk to me: TEXT". */
void session_refused(struct session *s);
/* "lost connection with H[ip] while DOING", or "conversation with H[ip] timed out while DOING". */
void session_lost(struct session *s, int err, enum stage stage, const char *doing);
/* In other words; no reply says it. */
void session_problem(struct session *s, enum stage stage, const char *status, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* The handshake has failed, the reason is in the delivery; said: with QUIT. */
void session_fail(struct session *s, bool said);
/* Nothing is left to be agreed on: the transaction. */
void session_ready(struct session *s);

#endif

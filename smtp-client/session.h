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
 *   CONNECTING ──220──► HELLO ──250──► BUSY (transaction) ◄──► IDLE
 *        │                │ 5xx to EHLO: HELO                    │ 2 s, or the server ends it
 *        └── failed ──────┴─────────────► gone ◄─────────────────┘
 *
 * STARTTLS, HANDSHAKE and HELLO again may come behind HELLO: see starttls.h.
 */
enum session_state {
	SESSION_CONNECTING,
	SESSION_EHLO,
	SESSION_HELO,
	SESSION_STARTTLS,
	SESSION_HANDSHAKE,
	SESSION_BUSY,
	SESSION_IDLE
};

struct xact;

struct session {
	TAILQ_ENTRY(session) link; /* of the idle ones, oldest first */
	enum session_state state;
	struct stream *stream;
	struct reply reply;
	struct ehlo ehlo;
	bool lmtp;
	bool connected;         /* something was heard */
	bool closing;           /* the server said 421, or order is lost: no reuse */
	bool stale_transaction; /* RSET before the next MAIL */
	unsigned uses;          /* transactions, the present one included */
	int64_t opened;         /* monotonic */
	int64_t connect_until;
	int64_t hello_until; /* the deadline of the handshake */
	char *site;          /* owned: the next hop that led here */
	char *nexthop;       /* owned: qmgr's word for the destination, of which site is a part */
	char *name;          /* owned: the host's name alone */
	char *host;          /* owned: "host[address]", for texts */
	char *relay;         /* owned: "host[address]:port", for the log */
	uint16_t port;
	struct policy *policy;        /* counted */
	enum tls_level level;         /* what the policy comes to for this host */
	struct tls *tls;              /* the stream's; NULL: clear text */
	bool plain;                   /* in clear text because TLS has failed: no reuse */
	struct loop_watch *up;        /* owned; with TLS from connect: waits for the connection */
	TAILQ_ENTRY(session) waiting; /* for a certificate of ours */
	bool waits;
	struct delivery *delivery; /* NULL while idle */
	struct xact *xact;         /* owned; NULL outside a transaction */
	bool *gone;                /* tells the reader of input that the session was freed */
};

enum { SESSION_IN_MAX = 16384, SESSION_OUT_MAX = 512 * 1024 };

/* At most limit sessions are kept idle; the oldest goes first. */
void session_init(unsigned limit);
/* Takes fd over, which may still be connecting. The delivery is told of the end of the handshake.
 */
void session_open(struct delivery *d, int fd, const char *host, const char *address, uint16_t port);
/* A connection that could not even begin; errno says why. */
void session_cannot_connect(
	struct delivery *d, const char *host, const char *address, uint16_t port);
/* An idle session to this next hop, if there is one; it then belongs to the delivery. */
bool session_reuse(struct delivery *d);
/* The transaction is over: kept idle when it may be, else QUIT. True: it is idle. */
bool session_park(struct session *s);
/* Closed without a word. */
void session_drop(struct session **s);
/* QUIT, without waiting for an answer. */
void session_quit(struct session **s);
bool session_is_up(const struct session *s);

/* A command's deadline, by smtp_* or lmtp_* parameter. */
int64_t session_deadline(const struct session *s, int smtp_param, int lmtp_param);
/*
 * Fills the delivery's problem: "host H[ip] said: TEXT (in reply to COMMAND)", with the reply's
 * status and words.
 */
void session_said(struct session *s, const char *command);
/* "host H[ip] refused to talk to me: TEXT". */
void session_refused(struct session *s);
/* "lost connection with H[ip] while DOING", or "conversation with H[ip] timed out while DOING". */
void session_lost(struct session *s, int err, const char *doing);

/* From starttls.c: the handshake has failed, the reason is in the delivery; said: with QUIT. */
void session_fail(struct session *s, bool said);
/* TLS is up: EHLO, or with TLS from connect the greeting, comes now. */
void session_greet(struct session *s);
/* Nothing is left to be agreed on: the transaction. */
void session_ready(struct session *s);

/* A reused session's transaction. */
void session_start(struct session *s);
/* Ends all idle ones. */
void session_quit_idle(void);

#endif

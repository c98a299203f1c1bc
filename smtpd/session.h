/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_SESSION_H
#define SMTPD_SESSION_H

#include "net/addr.h"
#include "net/stream.h"
#include "policy/tally_client.h"
#include "smtp/command.h"
#include "smtpd/evaluation.h"
#include "smtpd/peername.h"
#include "smtpd/settings.h"
#include "smtpd/stress.h"
#include "smtpd/transaction.h"

/*
 * One session: a client from its connection to its end. What belongs to one message is in its
 * transaction (transaction.h), which is made at MAIL and freed whole.
 *
 *   PROXY     the header of a load balancer is awaited; the client is not known yet
 *   GREETING  name and connection count are being asked; nothing is read
 *   COMMAND   the next line is a command
 *   CONTENT   behind DATA, up to CRLF.CRLF
 *   CHUNK     chunk bytes of BDAT
 *   HANDSHAKE of TLS (starttls.h); before it the reply to STARTTLS is on its way
 *   RESPONSE  the next line is the client's part of an AUTH exchange
 *   WAITING   an answer from another process is awaited; input waits too
 *   CLOSED    over; freed at the end of the loop's iteration
 *
 * Replies are gathered while commands are at hand and go out in one write. A session without a
 * command under way holds no buffers.
 */
enum session_state {
	PROXY,
	GREETING,
	COMMAND,
	CONTENT,
	CHUNK,
	HANDSHAKE,
	RESPONSE,
	WAITING,
	CLOSED
};

struct session {
	TAILQ_ENTRY(session) next;
	struct stream *stream; /* owned */
	enum session_state state;
	const char *where;           /* for "lost connection after …" */
	const struct bounds *bounds; /* those of when it began */
	/* The client. */
	char addr[NET_ADDR_TEXT];
	uint16_t port;
	char *name;    /* owned; "unknown"; NULL before it is known */
	char *namaddr; /* owned; NAME[ADDR] or NAME[ADDR]:PORT, for the log */
	char *helo;    /* owned; NULL before HELO */
	/* Names as restrictions see them. */
	char *reverse_name; /* owned; its PTR record, confirmed or not; "unknown" */
	enum policy_name_status name_status, reverse_status, forward_status;
	char server_addr[NET_ADDR_TEXT]; /* where it has connected to; empty unless it is asked for
					  */
	uint16_t server_port;
	char *deferral[3];   /* owned; of CONNECT, HELO and MAIL: policy_facts.deferral */
	enum smtp_verb verb; /* HELO, EHLO, VRFY, EXPN while the policy is asked */
	bool is_denied;      /* refused at CONNECT: no command but QUIT is carried out */
	bool is_pipelining;
	bool esmtp, is_local;
	uint64_t size_limit;                   /* bytes of a message; 0: none */
	bool is_unsure;                        /* ours or a stranger: a table failed */
	uid_t uid;                             /* local submission */
	struct peername *peername;             /* under way */
	struct tally_session *tally;           /* counted */
	uint64_t connections, connection_rate; /* tally's answer */
	bool name_known, counted, is_banned;
	void (*on_counted)(struct session *s);
	char client[NET_RANGE_TEXT]; /* as what it is counted: itself or its network */
	struct limits *limits;       /* owned; a command that waits for its rate */
	bool is_announced;           /* "connect from" is logged */
	bool may_xclient, may_xforward, may_verp;
	bool is_greeted;
	unsigned discarded;       /* EHLO_* that are kept from it, whether inside of TLS or not */
	unsigned hidden, options; /* those and what is not offered now; SMTP_OPT_* */
	struct tls *tls;          /* of the stream; NULL in clear */
	bool has_begun_tls;       /* nothing more is said in clear */
	const char *tls_refusal;  /* no further command is carried out, for this reason */
	void (*on_tls)(struct session *s); /* wrapper mode: what follows */
	TAILQ_ENTRY(session) keyless;      /* of those that wait for a certificate, with on_keys */
	void (*on_keys)(struct session *s, bool is_good);
	int64_t keys_due;
	struct gate *gate;         /* owned; NULL: nothing is found out before the greeting */
	struct xforward *xforward; /* owned; NULL: nothing was said of another client */
	/* The dialogue. */
	struct smtp_lines lines;
	struct transaction *transaction; /* owned; NULL outside */
	struct farewell *farewell;       /* owned; transactions whose queue ID is to come */
	char *last_words;                /* owned; report_lost */
	struct evaluation *evaluation;   /* owned; the policy is being asked */
	struct recipient *recipient;     /* owned; RCPT under way */
	struct auth *auth;               /* owned; an exchange under way */
	char *login, *sasl_method;       /* owned; NULL before AUTH */
	bool auth_tried;                 /* what the client says next may be a password */
	struct inquiry *inquiry;         /* owned; a lookup of its own */
	struct footer *footer;           /* owned; a reply waits for its footer */
	struct talk *talk;               /* owned; for a transcript; NULL: nobody wants one */
	const char *end_reason;          /* why it ends; NULL: it was asked to */
	struct loop_task run, reap;
	struct loop_timer sleep; /* error delay; the reply waits in held */
	struct buf held;
	bool sleeping, client_gone, end_soon, noted_bare_lf;
	int errors, junk, rsets;
	int64_t content_deadline;
	/* BDAT: bytes of the present chunk, and the reply when they are not for a transaction. */
	uint64_t chunk_left, chunk_size;
	bool chunk_last;
	char *chunk_reply; /* owned; NULL: the bytes are content */
	bool bdat_failed;  /* later chunks are dropped too */
	struct {
		uint32_t ok, all;
	} count[SMTP_VERBS];
};

/* A client has connected; takes fd over. */
void session_new(int fd, const struct net_addr *peer, bool is_local);
/*
 * The client is known, or another one than before (PROXY, XCLIENT): its name and its count are
 * asked for, unless name_known, then it is greeted.
 */
void session_identify(struct session *s);
/* What EHLO offers has changed with the client, or with TLS. */
void session_set_offer(struct session *s);
/* name and addresses of the session as the log shows them. */
void session_set_namaddr(struct session *s);
/* The only thing said to a client when the port is full. */
void session_refuse(int fd);

/* smtpd/answer.c. One reply line, without its end. Counts nothing. */
void session_reply(struct session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void session_reply_text(struct session *s, struct slice text);
/* The same for a refusal by policy: it is no error of the protocol, whatever its code. */
void session_reply_refusal(struct session *s, struct slice text);
/* A reply of more lines: the first one, then lines as they are, with their ends. */
void session_reply_lines(struct session *s, const char *lines, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* A reply that has waited for its footer. */
void session_footer_ready(struct session *s, struct slice text);
/* A 421 or 5xx with which the session ends. */
void session_end(struct session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Ends it without a word. */
void session_drop(struct session *s);

/* smtpd/dialogue.c. The answer has come: counts the command, goes on with what the client has sent
 * meanwhile. */
void session_go_on(struct session *s);
/* The client has been given a challenge of AUTH. */
void session_await_response(struct session *s);
/* The command that was carried out last; for counters. */
void session_count(struct session *s, enum smtp_verb verb, bool good);
/* Bytes of a message that this client may send now; 0: any. */
uint64_t session_size_limit(const struct session *s);
/*
 * The reply to a client that is refused for being a stranger: temporary while nobody can tell
 * whether it is one. session_too_large: the same for a message of that size, which may be too large
 * for all.
 */
const char *session_stranger_reply(const struct session *s, const char *reply);
const char *session_too_large(const struct session *s, uint64_t size, const char *reply);

/* All sessions: those between transactions are told 421; the others at their next chance. */
void session_end_idle(const char *reason);
/* Ends every session: idle ones with 421, the others without a word. */
void session_end_all(void);
size_t session_total(void);
/* Clients have been banned: their sessions end with 421, at once but where an answer is awaited. */
void session_cut_banned(void);

/* smtpd/command.c: carries one command out. */
void command_run(struct session *s, struct slice line, const struct smtp_command *c, bool bare);
/* Without what is looked at first. */
void command_carry_out(struct session *s, struct slice line, const struct smtp_command *c);
/* smtpd/content.c: what the client sends behind DATA or BDAT. False: no more of it for now. */
bool content_run(struct session *s);

#endif

/* SPDX-License-Identifier: ISC */
#ifndef POLICY_POLICY_H
#define POLICY_POLICY_H

#include "mail/address.h"
#include "util/later.h"

/*
 * What a client may do: the restriction lists of each stage, relay control, unknown addresses. Pure
 * but for lookups: smtpd and "gatepost explain" run the same code, and nothing is logged here:
 * what is to be logged and done to the message stands in the verdict.
 *
 * An evaluation is policy_check with a struct later (util/later.h): while an answer is missing it
 * returns ERR_LATER, and is called again from its beginning when woken. It never answers "permit"
 * because something failed: a table that fails gives the verdict "451 4.3.0 … Temporary lookup
 * failure", or "451 4.3.5 … Server configuration error" where Postfix says that.
 *
 * One restriction is one row of a table in restrict*.c and one function (restrict.h).
 */
struct policy;

/*
 * When lists are evaluated. With smtpd_delay_reject (the default) the client, HELO and sender lists
 * belong to RCPT, ETRN and VRFY; policy_has says whether there is anything to do at a stage.
 * EXPN is POLICY_VRFY.
 */
enum policy_stage {
	POLICY_CONNECT,
	POLICY_HELO,
	POLICY_MAIL,
	POLICY_RCPT,
	POLICY_DATA,
	POLICY_END_OF_DATA,
	POLICY_ETRN,
	POLICY_VRFY,
	POLICY_HEADER_FROM, /* header_from_login_match, behind END_OF_DATA */
	POLICY_STAGES
};

/* "CONNECT", "RCPT", "END-OF-MESSAGE", …: where, for the log; HELO stands for EHLO too. */
const char *policy_stage_name(enum policy_stage stage);

/* How looking up a name of the client ended. TEMP may be better later. */
enum policy_name_status { POLICY_NAME_OK, POLICY_NAME_UNKNOWN, POLICY_NAME_TEMP };

/*
 * What is known about session and transaction. All borrowed, in internal form. A slice whose p is
 * NULL is not there; an empty sender that is there is the null sender. Kept by the session (smtpd)
 * or read from the command line (explain); XCLIENT replaces what stands in it.
 */
struct policy_facts {
	/* The client. */
	struct slice client_addr, client_name; /* "unknown" when it is not confirmed */
	struct slice reverse_name;             /* its PTR, confirmed or not; "unknown" */
	struct slice namaddr;                  /* NAME[ADDR], as in the log; may be empty */
	enum policy_name_status name_status;   /* of client_name: both ways */
	enum policy_name_status reverse_status, forward_status; /* PTR; the PTR's addresses */
	uint16_t client_port, server_port;
	struct slice server_addr;
	/* The session. */
	struct slice helo, protocol; /* "SMTP", "ESMTP" */
	bool is_ehlo;                /* POLICY_HELO: the command is EHLO */
	struct slice login, sasl_method, sasl_sender;
	struct slice etrn_domain;
	struct slice stress;     /* "yes" or empty */
	bool is_pipelining;      /* the client has talked before its turn in this session */
	bool is_plaintext_local; /* no encryption is wanted: UNIX socket */
	/*
	 * TLS; empty without. Fingerprints (as smtpd_tls_fingerprint_digest wants them) of any
	 * certificate that the client has shown; is_trusted: an authority of ours vouches for it.
	 * subject and issuer: their common names.
	 */
	bool has_tls, ccert_is_trusted;
	struct slice tls_protocol, tls_cipher, tls_sni;
	unsigned tls_keysize;
	struct slice ccert_subject, ccert_issuer, ccert_fingerprint, ccert_pubkey_fingerprint;
	/* The transaction. */
	struct slice sender, recipient;
	struct slice queue_id, instance; /* same instance: same message */
	unsigned recipient_count;        /* accepted so far */
	uint64_t size;                   /* SIZE=, or of the content at END_OF_DATA */
	/* Addresses of From: behind u32 lengths, and how many such fields; 0: not known exactly. */
	struct slice header_from;
	unsigned header_from_count;
	bool is_discarded; /* a verdict before this one had POLICY_DISCARD */
	/*
	 * What POLICY_CONNECT, HELO and MAIL left behind (policy_verdict.deferral), for stages
	 * behind them when lists are not delayed.
	 */
	struct slice deferral[3];
};

enum policy_action { POLICY_PERMIT, POLICY_REJECT };

/*
 * What is to be logged or done besides the answer. An effect holds for the whole message, also
 * when this recipient is refused in the end, as in Postfix.
 */
enum policy_note_kind {
	/* Log lines "QUEUEID: WORD: STAGE from CLIENT: TEXT; from=…". */
	POLICY_REJECT_WARNING,
	POLICY_WARN,
	POLICY_INFO,
	POLICY_PERMIT_LOG,
	/* A warning about the configuration, and what is no warning: the text alone is logged. */
	POLICY_WARNING,
	POLICY_LOG,
	/* Effects; value says what. */
	POLICY_HOLD,
	POLICY_DISCARD,
	POLICY_FILTER,   /* transport:nexthop */
	POLICY_REDIRECT, /* user@domain */
	POLICY_BCC,      /* user@domain */
	POLICY_PREPEND,  /* one header field, without its line end */
};

struct policy_note {
	enum policy_note_kind kind;
	struct slice text;  /* for the log; empty: nothing is logged */
	struct slice value; /* of an effect */
};

/* "hold", "reject_warning", …: how its log line begins. */
const char *policy_note_word(enum policy_note_kind kind);

/* Embedded; policy_verdict_init first. */
struct policy_verdict {
	enum policy_action action;
	int code;            /* POLICY_REJECT: 450, 554, …; soft_bounce is applied */
	char status[16];     /* "5.7.1" */
	struct buf text;     /* "<a@b>: Relay access denied" */
	bool unknown_user;   /* the refusal is that of an unknown recipient */
	bool own;            /* a permitted recipient is in a class of our own */
	int64_t sleep;       /* microseconds to wait before the reply ("sleep") */
	struct buf deferral; /* CONNECT, HELO, MAIL: for policy_facts.deferral; may be empty */
	struct buf notes;    /* policy_note_next */
	/* Why: the parameter and the restriction that decided; constants, empty when none did. */
	const char *parameter, *restriction;
};

void policy_verdict_init(struct policy_verdict *v);
void policy_verdict_clear(struct policy_verdict *v);
/* In the order in which they came; *at begins with 0. Borrowed. False at the end. */
bool policy_note_next(const struct policy_verdict *v, size_t *at, struct policy_note *note);

/*
 * Opens lists and tables from the settings in force (at start-up: tables are opened). Refuses, with
 * the parameter and the mistake in why, lists without any relay decision
 * (reject_unauth_destination, defer_unauth_destination, reject, defer, defer_if_permit): without
 * it this would be an open relay. ERR_SYNTAX.
 */
int policy_open(struct buf *why, struct policy **p);
void policy_close(struct policy **p);

/* Is anything evaluated at this stage? Where not, policy_check would permit. */
bool policy_has(const struct policy *p, enum policy_stage stage);
/* Does this restriction stand in some list or class? */
bool policy_uses(const struct policy *p, const char *restriction);
/* 0 with the verdict, or ERR_LATER. l may be NULL: what would come later is then a lookup failure.
 */
int policy_check(struct policy *p, enum policy_stage stage, const struct policy_facts *f,
	struct later *l, struct policy_verdict *v);

/* Match lists of the listener that ask nothing else: mynetworks and smtpd_safe_clients. */
bool policy_is_trusted(struct policy *p, const struct policy_facts *f);
bool policy_is_safe(struct policy *p, const struct policy_facts *f);
/* Has one of them failed, so that a client that is in neither may be one of ours? */
bool policy_is_unsure(struct policy *p, const struct policy_facts *f);

/*
 * Are headers of what this client sends to be completed (local_header_rewrite_clients)? 0,
 * ERR_NOT_FOUND, ERR_TEMP or ERR_LATER.
 */
int policy_completes_headers(struct policy *p, const struct policy_facts *f, struct later *l);

/* How addresses of the envelope are completed (myorigin, allow_percent_hack, …). */
const struct address_rules *policy_rules(const struct policy *p);

#endif

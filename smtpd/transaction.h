/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_TRANSACTION_H
#define SMTPD_TRANSACTION_H

#include "policy/policy.h"
#include "smtp/command.h"
#include "smtp/content.h"
#include "smtpd/author.h"

/*
 * One transaction: from MAIL to the reply to the final dot (or RSET, a new HELO, the end). It is
 * freed whole; nothing of it outlives it. The message at cleanup is opened by the first recipient
 * that is accepted.
 */
struct session;

struct transaction {
	struct session *session; /* borrowed */
	struct buf sender;       /* internal form */
	char *sasl_sender;       /* owned; AUTH= of MAIL, xtext decoded; NULL */
	uint64_t size;           /* SIZE= */
	bool utf8, requiretls;
	bool verify, trace; /* XVERIFY, XTRACE */
	int64_t deadline;   /* BY=: real microseconds; 0: none */
	unsigned by;        /* QUEUE_FLAG_BY_* */
	char verp[3];       /* delimiters, or "" */
	enum smtp_body body;
	enum smtp_ret ret;
	char envid[SMTP_ENVID_LIMIT + 1];
	int recipients, over; /* accepted; refused for smtpd_recipient_limit */
	char *only_recipient; /* owned; NULL with none or more */
	char instance[48];    /* names this transaction to policy servers */
	/* What the policy has asked for; effects are those that cleanup has not been told yet. */
	struct buf effects;
	bool is_held, is_discarded;
	bool completes;             /* headers: local_header_rewrite_clients */
	struct buf header_from;     /* addresses of From:, as policy_facts has them */
	unsigned header_from_count; /* and such fields */
	struct message *message;
	struct buf log; /* lines that wait until the queue id is known */
	char *failure;  /* owned: the reply that is due instead of 250; NULL while all is well */
	/* Content. */
	struct content_decoder decoder;
	bool has_content, bdat;
	uint64_t came; /* bytes from the client behind DATA */
};

struct transaction *transaction_new(struct session *s); /* owned */
void transaction_free(struct transaction **t);

/* Commands. Each replies, or leaves the session WAITING and replies later. */
void transaction_mail(struct session *s, struct slice args);
void transaction_rcpt(struct session *s, struct slice args);
/* VRFY and EXPN. */
void transaction_verify(struct session *s, enum smtp_verb verb, struct slice args);

/* An accepted recipient. False: no cleanup is connected, or it has no room: author_wait. */
bool transaction_add(
	struct session *s, struct slice recipient, struct slice orcpt, unsigned notify);

/* Done to the message, whatever becomes of it: POLICY_HOLD and what follows it. */
void transaction_effect(struct transaction *t, enum policy_note_kind kind, struct slice value);

/* "ID" or "NOQUEUE", for the log. */
const char *transaction_id(const struct session *s);
/* A line that begins with the id; waits for it while it is on its way. */
void transaction_log(struct session *s, struct slice line);
/* The same of a warning about its message. */
void transaction_warn(struct session *s, const char *text);
/* Content that is refused or failed: the reply that ends the transaction. */
void transaction_fail(struct session *s, const char *reply);

#endif

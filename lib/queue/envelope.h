/* SPDX-License-Identifier: ISC */
#ifndef QUEUE_ENVELOPE_H
#define QUEUE_ENVELOPE_H

#include <stdint.h>

#include "util/buf.h"

/*
 * The envelope as cleanup writes it and qmgr reads it: magic, major and minor version, typed
 * fields of the message (type u8, length u16, bytes), then one run of typed fields a recipient.
 * Empty and zero fields are left out. Decoding validates everything and copies nothing: all
 * slices are borrowed from the encoded bytes.
 *
 * Versions: another major is ERR_RANGE. A type that this code does not know is skipped when the
 * minor is newer than ours, and ERR_CORRUPT otherwise. Strings hold no NUL, CR or LF.
 */
#define QUEUE_ENVELOPE_MAX (64u << 20) /* bytes of an encoded envelope */
#define QUEUE_RECIPIENTS_MAX 1000000
#define QUEUE_ADDRESS_MAX 1024 /* sender, recipient, original recipient */
#define QUEUE_STRING_MAX 1024  /* any other string */
#define QUEUE_PLAN_MAX 64
#define QUEUE_PARENTS_MAX 10000 /* recipients of the parent that a child names */

enum queue_body_type { QUEUE_BODY_NONE, QUEUE_BODY_7BIT, QUEUE_BODY_8BITMIME };
enum queue_ret { QUEUE_RET_NONE, QUEUE_RET_FULL, QUEUE_RET_HDRS }; /* RFC 3461, 4.3 */

/* RFC 3461, 4.1; 0 when the client did not say. */
#define QUEUE_NOTIFY_NEVER 1u
#define QUEUE_NOTIFY_SUCCESS 2u
#define QUEUE_NOTIFY_FAILURE 4u
#define QUEUE_NOTIFY_DELAY 8u

/* Flags of a message. */
#define QUEUE_FLAG_DOT_LINE 0x1u        /* some line begins with a dot: stuff on the way out */
#define QUEUE_FLAG_8BIT 0x2u            /* content has bytes above 127 */
#define QUEUE_FLAG_8BIT_HEADER 0x4u     /* its header section has */
#define QUEUE_FLAG_SMTPUTF8 0x8u        /* asked for by MAIL, or an address needs it */
#define QUEUE_FLAG_REQUIRETLS 0x10u     /* RFC 8689 */
#define QUEUE_FLAG_NOTICE 0x20u         /* made here: bounce, delay or success notice */
#define QUEUE_FLAG_PROBE 0x40u          /* address verification: never delivered */
#define QUEUE_FLAG_HOLD 0x80u           /* goes to hold/ at once */
#define QUEUE_FLAG_LOCAL 0x100u         /* local submission; uid is valid */
#define QUEUE_FLAG_EXPIRED 0x200u       /* the operator said: no further attempt */
#define QUEUE_FLAG_SHOW_LOGIN 0x800u    /* Received: names the login */
#define QUEUE_FLAG_BODY_FILE 0x400u     /* content behind header_len is the file ID.body */
#define QUEUE_FLAG_TLS_OPTIONAL 0x1000u /* TLS-Required: no (RFC 8689, 5), without REQUIRETLS */
#define QUEUE_FLAG_FORWARDED 0x2000u    /* origin_* say where it came from */
#define QUEUE_FLAG_COMPLETE 0x4000u     /* headers are completed: local_header_rewrite_clients */
#define QUEUE_FLAG_TRACE 0x8000u   /* a report of the first attempt; a PROBE's: of what was found */
#define QUEUE_FLAG_PICKUP 0x10000u /* came from a file in maildrop (Q19) */
/* RFC 2852, of a message with a deadline. */
#define QUEUE_FLAG_BY_NOTIFY 0x20000u /* mode N: its sender is told then; else it ends then */
#define QUEUE_FLAG_BY_TOLD 0x40000u   /* and was told before it came here */
#define QUEUE_FLAG_BY_TRACE 0x80000u  /* a report of each relay is wanted */
#define QUEUE_FLAGS_BY (QUEUE_FLAG_BY_NOTIFY | QUEUE_FLAG_BY_TOLD | QUEUE_FLAG_BY_TRACE)

/* Flags of a recipient. */
#define QUEUE_RCPT_DROPPED 0x1u  /* cleanup dropped it after it had been accepted: skip */
#define QUEUE_RCPT_NOADDR 0x2u   /* never show the original address (alias with a secret) */
#define QUEUE_RCPT_EXPANDED 0x4u /* an alias of more than one address: told of, not delivered */

/* What a recipient's next hop is, in its via. */
#define QUEUE_VIA_RELAY 0xffu /* mask: 1 + next hops before the first that is a relay; 0: none */
#define QUEUE_VIA_ONLY 0x100u /* smtp_fallback_relay is not for it */

enum queue_class {
	QUEUE_CLASS_NONE,
	QUEUE_CLASS_LOCAL,
	QUEUE_CLASS_VIRTUAL_ALIAS,
	QUEUE_CLASS_VIRTUAL_MAILBOX,
	QUEUE_CLASS_RELAY,
	QUEUE_CLASS_DEFAULT,
};

/* Why a message was made from another (Q14). */
enum queue_reason {
	QUEUE_REASON_NONE,
	QUEUE_REASON_BOUNCE,  /* failed or expired: the parent's recipients end with it */
	QUEUE_REASON_DELAY,   /* the parent goes on */
	QUEUE_REASON_SUCCESS, /* the parent's recipients end with it */
	QUEUE_REASON_REQUEUE, /* the parent's recipients live on in the child */
	QUEUE_REASON_SPLIT,   /* likewise */
	QUEUE_REASON_FORWARD, /* likewise; made by the delivery worker that has it */
	QUEUE_REASON_TRACE,   /* the report of a QUEUE_FLAG_TRACE message: the parent goes on */
	/* What the postmaster gets beside the sender; the parent goes on. */
	QUEUE_REASON_BOUNCE_COPY,
	QUEUE_REASON_DELAY_COPY,
};

struct queue_envelope {
	struct slice id;
	int64_t arrival;     /* microseconds since 1970 */
	struct slice sender; /* empty: the null sender */
	uint64_t size;       /* bytes of content as on the wire, not dot-stuffed */
	uint32_t header_len; /* bytes of the header section with the empty line */
	uint64_t body_len;   /* bytes of ID.body; 0 without QUEUE_FLAG_BODY_FILE */
	uint32_t flags;      /* QUEUE_FLAG_* */
	uint8_t body;        /* enum queue_body_type */
	uint8_t ret;         /* enum queue_ret */
	struct slice envid;  /* decoded (RFC 3461, 4.4) */
	struct slice client_name, client_addr, helo, protocol;
	uint16_t client_port;
	struct slice login; /* SASL user name; never leaves the queue */
	uint32_t uid;
	struct slice service; /* the listener that took it: "smtp", "submission", "pickup" … */
	struct slice content_filter_next; /* room: transport:nexthop of a filter */
	int64_t deadline; /* real µs; 0: none. It expires then, or its sender is told: BY_NOTIFY */
	int64_t delay_warning; /* 0: by delay_warning_time */
	uint32_t hops;
	/* Made from another message. */
	struct slice parent;
	uint8_t reason;            /* enum queue_reason */
	struct slice parent_rcpts; /* u32 little-endian each, ascending; queue_parent_count/at */
	/* Where the client says that it came from (XFORWARD); with QUEUE_FLAG_FORWARDED, but ident.
	 */
	struct slice origin_name, origin_addr, origin_helo, origin_protocol;
	struct slice origin_ident; /* its id there */
	uint16_t origin_port;
	struct slice verp; /* two delimiters: each recipient has a sender of its own; empty: no */
	/* Set by decode. */
	uint32_t recipients;     /* how many */
	struct slice rcpt_bytes; /* for queue_recipient_next */
	uint8_t minor;           /* that wrote it */
};

struct queue_recipient {
	uint32_t index; /* 0, 1, … in order; set by decode, ignored by encode */
	struct slice address, orig_to;
	struct slice orcpt; /* "rfc822;…", decoded of xtext */
	uint8_t notify;     /* QUEUE_NOTIFY_* */
	uint8_t class;      /* enum queue_class */
	struct slice transport, nexthop;
	struct slice reason; /* for transports that answer at once (error): the text */
	uint32_t flags;      /* QUEUE_RCPT_* */
	struct slice plan;   /* name of a back-off plan, or empty */
	uint16_t via;        /* QUEUE_VIA_* */
};

/* Appends one recipient. ERR_RANGE for a string over its limit or with a forbidden byte, ERR_LIMIT.
 */
int queue_recipient_encode(struct buf *out, const struct queue_recipient *r);
/* The whole: message fields, then recipients as queue_recipient_encode made them. Same errors. */
int queue_envelope_encode(
	struct buf *out, const struct queue_envelope *env, struct slice recipients);

/*
 * Validates all of in and fills env. ERR_CORRUPT, ERR_SHORT, ERR_RANGE (version or bounds).
 * in has no bytes behind the envelope.
 */
int queue_envelope_decode(struct slice in, struct queue_envelope *env);
/* The same of one that was good before, without a look at its recipients, of which there may be
 * many: their number stays 0. */
void queue_envelope_again(struct slice in, struct queue_envelope *env);

/*
 * Walks the recipients of a decoded envelope: start with *offset 0 and *index 0. False at the
 * end. *offset before the call can be kept (4 bytes a recipient) for queue_recipient_at.
 */
bool queue_recipient_next(const struct queue_envelope *env, uint32_t *offset, uint32_t *index,
	struct queue_recipient *r);
void queue_recipient_at(const struct queue_envelope *env, uint32_t offset, uint32_t index,
	struct queue_recipient *r);
/* The same, in the rcpt_bytes of an envelope. */
void queue_recipient_in(
	struct slice rcpt_bytes, uint32_t offset, uint32_t index, struct queue_recipient *r);

/* Whom logs and next hops are told as the client: the origin, or the client itself. */
struct queue_client {
	struct slice name, addr, helo, protocol;
	uint16_t port;
};
struct queue_client queue_envelope_client(const struct queue_envelope *env);

uint32_t queue_parent_count(const struct queue_envelope *env);
uint32_t queue_parent_at(const struct queue_envelope *env, uint32_t i);

#endif

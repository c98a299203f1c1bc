/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_LIMITS_H
#define SMTPD_LIMITS_H

#include "smtpd/session.h"

/*
 * How often a client may do something, by what tally counts over all workers: connections at once
 * and in a time, commands, bytes; bans for failures; the greylist. A tally that is away or slow
 * holds nobody up: only bans that are known here hold then. A client is its address, or its network
 * of smtpd_client_ipv4_prefix_length and ipv6. Not for local submission and smtpd_safe_clients;
 * smtpd_client_event_limit_exceptions are free of rates, smtpd_ban_exempt_clients of bans.
 */
void limits_open(void);
/* Rights are gone. */
void limits_start(void);

/*
 * The client's address is known, or another one than before: it is counted. True: it is banned,
 * and the session over. s->counted tells whether there is an answer yet; when it comes, known is
 * called.
 */
bool limits_enter(struct session *s, void (*known)(struct session *s));
/* The name is known too. True: it has too many connections, or is banned; the session is over. */
bool limits_turn_away(struct session *s);
/*
 * A command that has a rate. True: it waits for tally, and is carried out, or refused, later.
 */
bool limits_hold_up(struct session *s, struct slice line, enum smtp_verb verb);
void limits_cancel(struct session *s);

/*
 * A TLS session is to begin, or (has_begun) has begun and was not resumed. known is called once,
 * from inside or later (WAITING until then); is_good is false when it is one too many.
 */
void limits_tls(struct session *s, bool has_begun, void (*known)(struct session *s, bool is_good));
/* A handshake has cost as much as one that succeeds. */
void limits_tls_failed(struct session *s);

bool limits_is_banned(const struct session *s);
/* Ends the session of a client that was banned meanwhile. */
void limits_cut(struct session *s);

/* A recipient is refused because it is not known here. */
void limits_unknown_recipient(struct session *s);
/* So many bytes of content were taken. */
void limits_bytes(struct session *s, uint64_t bytes);

/* NULL: the recipient need not be asked for. Else answer comes later. */
struct tally_question *limits_greylist(
	struct session *s, struct slice recipient, tally_answer *answer, void *arg);

#endif

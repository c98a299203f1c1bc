/* SPDX-License-Identifier: ISC */
#ifndef POLICY_VERIFY_H
#define POLICY_VERIFY_H

#include "util/buf.h"

/*
 * Address verification (reject_unverified_sender, reject_unverified_recipient): is there somebody
 * who would take mail for an address? What is not known is found out by a probe, a message without
 * content that goes through the queue as any other would, up to the reply to its RCPT; qmgr tells
 * tally what became of it, where all smtpds find it (policy/tally_client.h).
 */

/* How a program sends a probe; false: it cannot now. Without it none is sent (explain). */
void verify_set_prober(bool (*probe)(struct slice sender, struct slice address));

/*
 * The sender of probes now, as address_verify_sender and its ttl say (internal form, not
 * completed); empty: the null sender.
 */
void verify_sender(struct buf *out);
/*
 * Is the address one that our probes come from, now or in the time before? Such a recipient is
 * always taken: others verify us while we verify them.
 */
bool verify_is_sender(struct slice address, struct slice origin);

#endif

/* SPDX-License-Identifier: ISC */
#ifndef MAIL_MAILCLASS_H
#define MAIL_MAILCLASS_H

#include "util/slice.h"

/*
 * The classes of what the postmaster may be told of (notify_classes), as bits. Numbers go between
 * processes. BOUNCE, 2BOUNCE and DELAY are copies of notices; the others, and BOUNCE of smtpd, are
 * transcripts of sessions.
 */
enum mail_class {
	MAIL_CLASS_BOUNCE = 1,
	MAIL_CLASS_2BOUNCE = 2,
	MAIL_CLASS_DATA = 4, /* a table or file was not available */
	MAIL_CLASS_DELAY = 8,
	MAIL_CLASS_POLICY = 16,   /* refused by policy */
	MAIL_CLASS_PROTOCOL = 32, /* by the other side's mistake */
	MAIL_CLASS_RESOURCE = 64, /* for want of space or the like */
	MAIL_CLASS_SOFTWARE = 128 /* by a mistake of ours */
};

/* Those of a list; "bounce" has "2bounce" in it. Other words are nothing. */
unsigned mail_classes(struct slice list);

/* The class of a reply that smtpd gives, or 0. is_refusal: policy has decided it. */
unsigned mail_class_of_reply(struct slice reply, bool is_refusal);

#endif

/* SPDX-License-Identifier: ISC */
#ifndef TOOLS_SENDMAIL_H
#define TOOLS_SENDMAIL_H

#include "smtp/reply.h"
#include "util/buf.h"

/* sendmail(1): options, the message read from standard input, its way to smtpd. */
enum sendmail_mode {
	SENDMAIL_MAIL,
	SENDMAIL_SMTP,
	SENDMAIL_LIST,
	SENDMAIL_ALIASES,
	SENDMAIL_FLUSH,
	SENDMAIL_DAEMON,
	SENDMAIL_NOTHING
};

enum { SENDMAIL_RECIPIENTS = 100000 };

struct sendmail {
	enum sendmail_mode mode;
	const char *config_dir, *sender, *full_name, *envid, *notify, *ret;
	bool from_header, ignore_dots;
	bool verify, trace; /* -bv; -v: a report is mailed to the sender */
	bool has_verp; /* -XV; verp: its delimiters, from send_message on also the default ones */
	const char *verp;
	const char *flush_site, *flush_id;
	const char *aliases; /* -oA */
	char **recipients;   /* external form; owned */
	size_t recipients_n;
	struct buf content; /* with CRLF line ends */
	bool has_from;      /* content has a From: header */
};

extern struct sendmail sendmail;

/* "sendmail: fatal: text" on standard error; ends with a code of sysexits. */
_Noreturn void sendmail_fatal(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sendmail_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Text of an address, as on the command line. A malformed one is fatal (EX_DATAERR). */
void sendmail_add_recipient(const char *text);
void sendmail_parse_sender(struct buf *internal);
bool sendmail_is_null_sender(void);
/* Does an address or the header section hold UTF-8 (smtputf8_autodetect_classes has "sendmail")? */
bool sendmail_needs_utf8(struct slice sender);
/* A From: header with the caller's full name, where the message has none. */
void sendmail_add_from(struct buf *to);
/* Reads the message from standard input into sendmail.content; with -t its recipients too. */
void sendmail_read_message(void);
/* -bv: there is no message, so one that says what it is for. */
void sendmail_make_probe(void);
/* Hands it to smtpd, or, when that cannot be now, to maildrop; the exit status. */
int sendmail_submit(void);
/* Makes it a file of maildrop, by the set-gid helper; the exit status. */
int sendmail_drop(const char *why);
/* -bs: smtpd on standard input and output; the exit status. */
int sendmail_speak(void);

#endif

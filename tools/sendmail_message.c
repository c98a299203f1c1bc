/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <sysexits.h>
#include <unistd.h>

#include "conf/conf.h"
#include "mail/address.h"
#include "mail/header.h"
#include "tools/sendmail.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

/* The message on standard input: lines that end in LF or CR LF become lines that end in CR LF. */

static void add_address(struct slice address, void *arg)
{
	struct buf *out = arg;
	char *text;

	buf_reset(out);
	address_add_external(out, address);
	text = slice_dup(buf_slice(out));
	sendmail_add_recipient(text);
	mem_free(text);
}

static bool is_resent(enum header_kind kind)
{
	return kind == HEADER_RESENT_TO || kind == HEADER_RESENT_CC || kind == HEADER_RESENT_BCC;
}

static bool is_addressed(enum header_kind kind, bool resent)
{
	if (resent)
		return is_resent(kind);
	return kind == HEADER_TO || kind == HEADER_CC || kind == HEADER_BCC;
}

/* Calls visit for each header field of the content. */
static void walk_header(void (*visit)(const struct header_field *f, void *arg), void *arg)
{
	struct header_scan scan;
	struct header_field f;

	header_scan_init(&scan);
	while (header_next(&scan, buf_slice(&sendmail.content), true, &f) == HEADER_FIELD)
		visit(&f, arg);
}

static void note_kinds(const struct header_field *f, void *arg)
{
	bool *resent = arg;

	*resent |= is_resent(f->kind);
	sendmail.has_from |= f->kind == HEADER_FROM;
}

static void take_recipients(const struct header_field *f, void *arg)
{
	const bool *resent = arg;
	struct buf out = BUF_INIT(4096);

	if (is_addressed(f->kind, *resent))
		(void)header_addresses(f->value, SENDMAIL_RECIPIENTS, add_address, &out);
	buf_clear(&out);
}

/* One line without its end. */
static void add_line(struct slice line)
{
	if (line.len > 0 && line.p[line.len - 1] == '\r')
		line.len--;
	(void)buf_add_slice(&sendmail.content, line);
	(void)buf_add_str(&sendmail.content, "\r\n");
}

static void convert(struct slice rest)
{
	struct slice line;

	while (rest.len > 0) {
		ptrdiff_t lf = slice_find(rest, '\n');
		line = slice_first(rest, lf < 0 ? rest.len : (size_t)lf);
		rest = slice_from(rest, line.len + (lf >= 0));
		if (!sendmail.ignore_dots && (slice_eq_str(line, ".") || slice_eq_str(line, ".\r")))
			return;
		add_line(line);
	}
}

void sendmail_make_probe(void)
{
	/* As of any message without one. */
	if (!sendmail_is_null_sender())
		(void)buf_add_fmt(&sendmail.content, "From: %s\r\n", sendmail.sender);
	sendmail.has_from = true;
	(void)buf_add_str(&sendmail.content, "Subject: probe\r\nTo:\t");
	for (size_t i = 0; i < sendmail.recipients_n; i++)
		(void)buf_add_fmt(
			&sendmail.content, "%s%s", i > 0 ? ",\r\n\t" : "", sendmail.recipients[i]);
	(void)buf_add_str(&sendmail.content, "\r\n\r\n");
}

void sendmail_read_message(void)
{
	int64_t limit = conf_int(P_message_size_limit);
	struct buf raw;
	bool resent = false;

	/* smtpd has the last word on the size; this only bounds memory. */
	buf_init(&raw, limit > 0 ? (size_t)limit + 65536 : (size_t)1 << 31);
	int err = fd_read_all(STDIN_FILENO, &raw);
	if (err == ERR_LIMIT)
		sendmail_fatal(EX_UNAVAILABLE, "message file too big");
	if (err != 0)
		sendmail_fatal(EX_IOERR, "reading the message: %s", err_str(err));
	convert(buf_slice(&raw));
	buf_clear(&raw);
	walk_header(note_kinds, &resent);
	if (sendmail.from_header)
		walk_header(take_recipients, &resent);
}

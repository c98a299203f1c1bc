/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "conf/conf.h"
#include "mail/address.h"
#include "net/addr.h"
#include "smtp/dot.h"
#include "tools/sendmail.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

/*
 * The dialogue with smtpd at public/sendmail: EHLO, then the envelope in one go, then the content.
 * Whatever keeps the message from being accepted for good or ill makes it a file of maildrop. But
 * one that smtpd may have taken, without saying so, ends with EX_TEMPFAIL: it may be sent twice
 * only when the caller says so.
 */
enum { IN_SIZE = 16384, BATCH = 50 };

static int fd = -1;
static struct reply reply;
static char in[IN_SIZE];
static struct slice unread;
static struct buf out;
static bool is_speaking; /* -bs */
static bool is_sent;     /* the final dot is */

/* Whoever asked for a report learns where it goes. */
static int taken(int status)
{
	if (status == 0 && (sendmail.verify || sendmail.trace))
		(void)printf(
			"Mail Delivery Status Report will be mailed to <%s>.\n", sendmail.sender);
	return status;
}

/* Not by smtpd, not now. */
_Noreturn static void not_now(const char *why)
{
	if (is_speaking || is_sent)
		sendmail_fatal(EX_TEMPFAIL, "%s", why);
	fd_close(&fd);
	exit(taken(sendmail_drop(why)));
}

static void connect_smtpd(void)
{
	char path[4096];
	struct net_addr to;

	(void)snprintf(path, sizeof(path), "%s/public/sendmail", conf_str(P_queue_directory));
	if (net_addr_unix(path, &to) != 0)
		sendmail_fatal(EX_CONFIG, "%s: the path is too long", path);
	if (net_connect(&to, NULL, &fd) != 0 || fd_set_nonblock(fd, false) != 0)
		not_now(mem_fmt("mail system is down: %s: %s", path, err_str(ERR_SYS)));
}

static void send_all(struct slice s)
{
	if (fd_write_full(fd, s.p, s.len) != 0)
		not_now("lost connection with the mail system");
}

static void send_out(void)
{
	send_all(buf_slice(&out));
	buf_reset(&out);
}

static void next_reply(void)
{
	int err = ERR_AGAIN;

	reply_reset(&reply);
	while (err == ERR_AGAIN) {
		size_t used = 0;

		if (unread.len == 0) {
			ssize_t n = read(fd, in, sizeof(in));
			if (n <= 0)
				not_now("lost connection with the mail system");
			unread = slice_of(in, (size_t)n);
		}
		err = reply_feed(&reply, unread, &used);
		unread = slice_from(unread, used);
	}
	if (err != 0)
		not_now("the mail system gave no proper reply");
}

/* A refusal ends the program. */
_Noreturn static void refusal(void)
{
	struct buf text = BUF_INIT(16384);

	reply_add_text(&text, &reply);
	int code = EX_UNAVAILABLE;

	if (reply_class(&reply) == 4) {
		is_sent = false;
		not_now(buf_str(&text));
	}
	if (reply.code == 501 || reply.code == 553)
		code = EX_DATAERR;
	else if (strcmp(reply.status, "5.7.1") == 0)
		code = EX_NOPERM;
	sendmail_fatal(code, "%s", buf_str(&text));
}

static void want(int class)
{
	next_reply();
	if (reply_class(&reply) != class)
		refusal();
}

bool sendmail_needs_utf8(struct slice sender)
{
	struct slice content = buf_slice(&sendmail.content);
	ptrdiff_t end = slice_find_str(content, "\r\n\r\n");
	struct slice header = slice_first(content, end < 0 ? content.len : (size_t)end);

	if (!conf_bool(P_smtputf8_enable))
		return false;
	for (size_t i = 0; i < sendmail.recipients_n; i++)
		if (!slice_is_ascii(slice_str(sendmail.recipients[i])))
			return true;
	return !slice_is_ascii(sender) || (!slice_is_ascii(header) && slice_is_utf8(header));
}

bool sendmail_is_null_sender(void)
{
	return *sendmail.sender == '\0' || strcmp(sendmail.sender, "<>") == 0;
}

void sendmail_parse_sender(struct buf *internal)
{
	if (address_parse(sendmail_is_null_sender() ? SLICE_NONE : slice_str(sendmail.sender),
		    ADDRESS_NULL, internal) != 0)
		sendmail_fatal(EX_DATAERR, "bad sender address: %s", sendmail.sender);
}

static void add_sender(void)
{
	struct buf internal = BUF_INIT(ADDRESS_LIMIT);

	sendmail_parse_sender(&internal);
	(void)buf_add_str(&out, "MAIL FROM:<");
	address_add_external(&out, buf_slice(&internal));
	(void)buf_add_char(&out, '>');
	if (!slice_is_ascii(buf_slice(&sendmail.content)))
		(void)buf_add_str(&out, " BODY=8BITMIME");
	if (sendmail_needs_utf8(buf_slice(&internal)))
		(void)buf_add_str(&out, " SMTPUTF8");
	if (sendmail.ret != NULL)
		(void)buf_add_fmt(&out, " RET=%s", sendmail.ret);
	if (sendmail.envid != NULL) {
		(void)buf_add_str(&out, " ENVID=");
		address_xtext_encode(&out, slice_str(sendmail.envid));
	}
	if (sendmail.verify)
		(void)buf_add_str(&out, " XVERIFY");
	else if (sendmail.trace)
		(void)buf_add_str(&out, " XTRACE");
	if (sendmail.has_verp)
		(void)buf_add_fmt(&out, " XVERP=%s", sendmail.verp);
	(void)buf_add_str(&out, "\r\n");
	buf_clear(&internal);
}

static void add_recipient(const char *address)
{
	(void)buf_add_fmt(&out, "RCPT TO:<%s>", address);
	if (sendmail.notify != NULL)
		(void)buf_add_fmt(&out, " NOTIFY=%s", sendmail.notify);
	(void)buf_add_str(&out, "\r\n");
}

/* Recipients in batches, so that neither side's buffers can fill up while both write. */
static void send_envelope(void)
{
	add_sender();
	send_out();
	want(2);
	for (size_t i = 0; i < sendmail.recipients_n; i += BATCH) {
		size_t n = sendmail.recipients_n - i < BATCH ? sendmail.recipients_n - i : BATCH;

		for (size_t k = 0; k < n; k++)
			add_recipient(sendmail.recipients[i + k]);
		send_out();
		for (size_t k = 0; k < n; k++)
			want(2);
	}
	send_all(SLICE_LIT("DATA\r\n"));
	want(3);
}

void sendmail_add_from(struct buf *to)
{
	if (sendmail.has_from || sendmail.full_name == NULL || *sendmail.full_name == '\0' ||
		!slice_is_printable(slice_str(sendmail.full_name)) || sendmail_is_null_sender())
		return;
	(void)buf_add_str(to, "From: \"");
	for (const char *p = sendmail.full_name; *p != '\0'; p++) {
		if (*p == '"' || *p == '\\')
			(void)buf_add_char(to, '\\');
		(void)buf_add_char(to, *p);
	}
	(void)buf_add_fmt(to, "\" <%s>\r\n", sendmail.sender);
}

static void send_content(void)
{
	struct slice rest = buf_slice(&sendmail.content), piece;
	struct dot_encoder e;

	dot_encoder_init(&e, 0);
	while (dot_encode(&e, &rest, &piece))
		send_all(piece);
	is_sent = true;
	send_all(dot_encoder_end(&e));
	want(2);
}

int sendmail_submit(void)
{
	buf_init(&out, 1 << 20);
	reply_init(&reply);
	connect_smtpd();
	want(2);
	send_all(SLICE_LIT("EHLO localhost\r\n"));
	want(2);
	send_envelope();
	sendmail_add_from(&out);
	send_out();
	send_content();
	send_all(SLICE_LIT("QUIT\r\n"));
	fd_close(&fd);
	return taken(0);
}

/* From one descriptor to another; false at the end of input or when the other side is gone. */
static bool pass_on(int from, int to)
{
	char bytes[IN_SIZE];
	ssize_t n = read(from, bytes, sizeof(bytes));

	return n > 0 && fd_write_full(to, bytes, (size_t)n) == 0;
}

int sendmail_speak(void)
{
	struct pollfd p[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.events = POLLIN}};

	is_speaking = true;
	connect_smtpd();
	p[1].fd = fd;
	for (;;) {
		if (poll(p, 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			return EX_OSERR;
		}
		if (p[1].revents != 0 && !pass_on(fd, STDOUT_FILENO))
			return 0;
		if (p[0].revents != 0 && !pass_on(STDIN_FILENO, fd)) {
			/* smtpd answers what it has, then sees the end. */
			(void)shutdown(fd, SHUT_WR);
			p[0].fd = -1;
		}
	}
}

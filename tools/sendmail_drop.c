/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "conf/conf.h"
#include "mail/address.h"
#include "queue/drop.h"
#include "tools/sendmail.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/hash.h"
#include "util/mem.h"
#include "util/users.h"
#include "util/wire.h"

/*
 * The message as a file of maildrop (queue/drop.h). The bytes go to the helper by a pipe; it has
 * the right to write there, and knows nothing of mail.
 */
static unsigned notify_bits(void)
{
	static const struct {
		const char *word;
		unsigned bit;
	} words[] = {{"never", QUEUE_NOTIFY_NEVER}, {"success", QUEUE_NOTIFY_SUCCESS},
		{"failure", QUEUE_NOTIFY_FAILURE}, {"delay", QUEUE_NOTIFY_DELAY}};
	struct slice rest = slice_str(sendmail.notify), word;
	unsigned bits = 0;

	while (slice_part(&rest, ',', &word))
		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			if (slice_case_eq_str(word, words[i].word))
				bits |= words[i].bit;
	return bits;
}

static void add_recipients(struct buf *out)
{
	struct buf internal = BUF_INIT(ADDRESS_LIMIT);
	unsigned notify = sendmail.notify != NULL ? notify_bits() : 0;

	for (size_t i = 0; i < sendmail.recipients_n; i++) {
		struct queue_recipient to = {.notify = (uint8_t)notify};

		if (address_parse(slice_str(sendmail.recipients[i]), ADDRESS_UTF8, &internal) != 0)
			sendmail_fatal(
				EX_DATAERR, "bad recipient address: %s", sendmail.recipients[i]);
		to.address = buf_slice(&internal);
		if (queue_recipient_encode(out, &to) != 0)
			sendmail_fatal(EX_TEMPFAIL, "too many recipients for a mail system that is "
						    "down");
	}
	buf_clear(&internal);
}

/* Head and envelope, then From: when it is wanted. */
static void make_head(struct buf *head, size_t from_len)
{
	struct queue_envelope env = {0};
	struct buf sender = BUF_INIT(ADDRESS_LIMIT), to = BUF_INIT(QUEUE_DROP_ENVELOPE_MAX);

	sendmail_parse_sender(&sender);
	env.sender = buf_slice(&sender);
	if (!slice_is_ascii(buf_slice(&sendmail.content)))
		env.body = QUEUE_BODY_8BITMIME;
	env.flags = (sendmail_needs_utf8(env.sender) ? QUEUE_FLAG_SMTPUTF8 : 0) |
		    (sendmail.verify ? QUEUE_FLAG_PROBE : 0) |
		    (sendmail.verify || sendmail.trace ? QUEUE_FLAG_TRACE : 0);
	if (sendmail.has_verp)
		env.verp = slice_str(sendmail.verp);
	if (sendmail.ret != NULL)
		env.ret = slice_case_eq_str(slice_str(sendmail.ret), "full") ? QUEUE_RET_FULL
									     : QUEUE_RET_HDRS;
	env.envid = slice_str(sendmail.envid);
	add_recipients(&to);
	if (queue_drop_encode(head, &env, buf_slice(&to), from_len + sendmail.content.len) != 0)
		sendmail_fatal(EX_TEMPFAIL, "too many recipients for a mail system that is down");
	buf_clear(&sender);
	buf_clear(&to);
}

_Noreturn static void become_helper(const int ends[2], const char *path)
{
	char *argv[] = {mem_str("maildrop"), mem_str(conf_str(P_queue_directory)), NULL};

	if (dup2(ends[0], STDIN_FILENO) >= 0)
		(void)execv(path, argv);
	sendmail_fatal(EX_OSERR, "cannot run %s: %s", path, err_str(ERR_SYS));
}

static int exit_status_of(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return EX_OSERR;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EX_TEMPFAIL;
}

static int run_helper(struct slice head, struct slice from)
{
	struct slice parts[] = {head, from, buf_slice(&sendmail.content), SLICE_NONE};
	char *path = mem_fmt("%s/maildrop", conf_str(P_daemon_directory)), tail[QUEUE_DROP_TAIL];
	uint32_t crc = 0;
	int ends[2];
	pid_t pid;

	for (size_t i = 0; i < 3; i++)
		crc = crc32c(crc, parts[i].p, parts[i].len);
	wire_put_u32(tail, crc);
	parts[3] = slice_of(tail, sizeof(tail));
	(void)fflush(NULL);
	if (pipe2(ends, O_CLOEXEC) != 0 || (pid = fork()) < 0)
		sendmail_fatal(EX_OSERR, "cannot run %s: %s", path, err_str(ERR_SYS));
	if (pid == 0)
		become_helper(ends, path);
	fd_close(&ends[0]);
	/* When it does not read on it says why. */
	for (size_t i = 0; i < 4; i++)
		if (parts[i].len > 0 && fd_write_full(ends[1], parts[i].p, parts[i].len) != 0)
			break;
	fd_close(&ends[1]);
	mem_free(path);
	return exit_status_of(pid);
}

int sendmail_drop(const char *why)
{
	struct buf head = BUF_INIT(QUEUE_DROP_ENVELOPE_MAX + 64), from = BUF_INIT(8192);
	int64_t limit = conf_int(P_message_size_limit);
	struct users *may = NULL;
	int status;

	users_set(&may, conf_str(P_authorized_submit_users));
	if (!users_has(may, getuid()))
		sendmail_fatal(
			EX_NOPERM, "user %u is not allowed to submit mail", (unsigned)getuid());
	sendmail_add_from(&from);
	if (limit > 0 && from.len + sendmail.content.len > (uint64_t)limit)
		sendmail_fatal(EX_UNAVAILABLE, "message file too big");
	make_head(&head, from.len);
	status = run_helper(buf_slice(&head), buf_slice(&from));
	buf_clear(&head);
	buf_clear(&from);
	users_clear(&may);
	if (status == 0)
		return 0;
	sendmail_fatal(status == EX_UNAVAILABLE || status == EX_DATAERR ? status : EX_TEMPFAIL,
		"%s, and the message cannot be left in maildrop", why);
}

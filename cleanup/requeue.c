/* SPDX-License-Identifier: ISC */
#include "cleanup/requeue.h"

#include "mail/address.h"
#include "policy/policy.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

/* What is known of the content and the client; not what the operator or time have done to it. */
#define KEPT_FLAGS                                                                             \
	(QUEUE_FLAG_DOT_LINE | QUEUE_FLAG_8BIT | QUEUE_FLAG_SMTPUTF8 | QUEUE_FLAG_REQUIRETLS | \
		QUEUE_FLAG_TLS_OPTIONAL | QUEUE_FLAG_NOTICE | QUEUE_FLAG_PROBE |               \
		QUEUE_FLAG_LOCAL | QUEUE_FLAG_SHOW_LOGIN | QUEUE_FLAG_FORWARDED |              \
		QUEUE_FLAG_COMPLETE | QUEUE_FLAG_TRACE | QUEUE_FLAGS_BY)

int requeue_fill(struct message *m, struct slice encoded)
{
	struct queue_envelope env;
	char *strings = mem_dup(encoded.p, encoded.len);
	int err = queue_envelope_decode(slice_of(strings, encoded.len), &env);

	if (err != 0) {
		mem_free(strings);
		return err;
	}
	m->strings = strings;
	env.id = slice_str(m->id);
	env.flags &= KEPT_FLAGS;
	env.parent = env.parent_rcpts = env.rcpt_bytes = SLICE_NONE;
	env.size = env.body_len = 0;
	env.header_len = env.recipients = 0;
	m->env = env;
	if (env.content_filter_next.len > 0)
		action_add(m, POLICY_FILTER, env.content_filter_next);
	return 0;
}

void requeue_recipient(
	struct message *m, const struct dsn_recipient *rcpt, unsigned notify, bool is_expanded)
{
	if (message_add_rcpt(m, rcpt->address, rcpt->orig_to, rcpt->orcpt, notify) == 0)
		m->rcpts[m->rcpt_n - 1]->is_expanded = is_expanded;
}

const struct message_failure *requeue_body(struct message *m, int fd, uint64_t size)
{
	const struct message_failure *why = NULL;
	struct queue_body_reader r;
	struct slice chunk;
	int err = 0;

	queue_body_reader_init(&r, &queue_io_posix, fd, size);
	while (why == NULL && (err = queue_body_reader_next(&r, &chunk)) == 0 && chunk.len > 0)
		why = content_add(m, chunk);
	queue_body_reader_clear(&r);
	if (err != 0) {
		log_warning("%s: the body cannot be read: %s", m->id, err_str(err));
		why = &message_write_error;
	}
	return why;
}

const struct message_failure *requeue_end(struct message *m, const char *parent)
{
	struct buf sender = BUF_INIT(QUEUE_ADDRESS_MAX * 4);

	address_add_external(&sender, m->env.sender);
	log_info_as("pickup", "%s: uid=%u from=<%s> orig_id=%s", m->id, (unsigned)m->env.uid,
		buf_str(&sender), parent);
	buf_clear(&sender);
	m->phase = MESSAGE_ENDED;
	return content_end(m);
}

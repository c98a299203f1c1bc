/* SPDX-License-Identifier: ISC */
#include "cleanup/drop.h"

#include <unistd.h>

#include "cleanup/cleanup.h"
#include "cleanup/trace.h"
#include "conf/conf.h"
#include "mail/address.h"
#include "mail/verp.h"
#include "policy/policy.h"
#include "util/users.h"
#include "smtp/content.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/hash.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/wire.h"

enum { PIECE = 65536, ENVID_LIMIT = 100, NOTIFY_ALL = 15 };
/* What its author may say of a message. */
#define DROP_FLAGS \
	(QUEUE_FLAG_SMTPUTF8 | QUEUE_FLAG_REQUIRETLS | QUEUE_FLAG_TRACE | QUEUE_FLAG_PROBE)

static struct users *submitters;
static char bytes[PIECE];

void drop_init(void)
{
	users_set(&submitters, conf_str(P_authorized_submit_users));
}

void drop_free(struct drop **dp)
{
	struct drop *d = *dp;

	*dp = NULL;
	if (d == NULL)
		return;
	message_discard(&d->message);
	fd_close(&d->fd);
	mem_free(d->decoder);
	mem_free(d);
}

/* How its message ends. */

static void done(struct message *m)
{
	struct drop *d = m->owner;

	d->over(d, DROP_DONE, NULL);
}

static void failed(struct message *m, const struct message_failure *why)
{
	struct drop *d = m->owner;

	/* Whoever called this frees the message. */
	d->message = NULL;
	d->over(d, why->code < 500 ? DROP_LATER : DROP_BAD, why->text);
}

static const struct message_calls calls = {done, failed};

/* It ends here. */
static void refuse(struct drop *d, enum drop_result result, const char *why)
{
	message_discard(&d->message);
	d->over(d, result, why);
}

bool drop_begin(struct drop *d)
{
	int err = message_new(&calls, d, &d->message);

	if (err != 0) {
		log_warning("no queue id: %s", err_str(err));
		return false;
	}
	memcpy(d->id, d->message->id, sizeof(d->id));
	return true;
}

/* The head. */

/* As smtpd would take it. */
static bool is_address(struct slice internal, int flags)
{
	struct buf external = BUF_INIT(ADDRESS_PATH_LIMIT), again = BUF_INIT(ADDRESS_LIMIT);
	bool good;

	if (internal.len == 0)
		return (flags & ADDRESS_NULL) != 0;
	address_add_external(&external, internal);
	good = !buf_failed(&external) &&
	       address_parse(buf_slice(&external), flags | ADDRESS_UTF8, &again) == 0 &&
	       slice_eq(buf_slice(&again), internal);
	buf_clear(&external);
	buf_clear(&again);
	return good;
}

static const char *take_recipients(struct message *m, const struct queue_envelope *env)
{
	struct queue_recipient to;
	uint32_t offset = 0, index = 0;

	while (queue_recipient_next(env, &offset, &index, &to)) {
		if (!is_address(to.address, 0))
			return "bad recipient address";
		if (to.notify > NOTIFY_ALL ||
			((to.notify & QUEUE_NOTIFY_NEVER) && to.notify != QUEUE_NOTIFY_NEVER))
			return "bad notify";
		if (message_add_rcpt(m, to.address, SLICE_NONE, SLICE_NONE, to.notify) != 0)
			return "too many recipients";
	}
	return m->rcpt_n > 0 ? NULL : "no recipients";
}

/* As it came. */
static void say_first(const struct drop *d, struct slice sender)
{
	struct buf from = BUF_INIT(QUEUE_ADDRESS_MAX * 4), line = BUF_INIT(QUEUE_ADDRESS_MAX * 8);

	address_add_external(&from, sender);
	log_quote(&line, buf_slice(&from), QUEUE_ADDRESS_MAX * 4);
	log_info_as("pickup", "%s: uid=%u from=<%s>", d->id, (unsigned)d->uid, buf_str(&line));
	buf_clear(&from);
	buf_clear(&line);
}

/* Of all that an envelope can say, what sendmail may. Slices are of the message's strings. */
static const char *take_envelope(struct drop *d, struct slice encoded)
{
	struct message *m = d->message;
	struct queue_envelope env;

	if (queue_envelope_decode(encoded, &env) != 0)
		return "bad envelope";
	if (!is_address(env.sender, ADDRESS_NULL))
		return "bad sender address";
	if (env.envid.len > ENVID_LIMIT || !slice_is_ascii(env.envid) ||
		!slice_is_printable(env.envid) || env.ret > QUEUE_RET_HDRS ||
		env.body > QUEUE_BODY_8BITMIME ||
		(env.flags & (QUEUE_FLAG_PROBE | QUEUE_FLAG_TRACE)) == QUEUE_FLAG_PROBE ||
		(env.verp.len > 0 &&
			(env.sender.len == 0 ||
				!verp_is_good(
					env.verp, slice_str(conf_str(P_verp_delimiter_filter))))))
		return "bad parameters";
	say_first(d, env.sender);
	message_set_sender(m, env.sender);
	m->env.envid = env.envid;
	m->env.verp = env.verp;
	m->env.ret = env.ret;
	m->env.body = env.body;
	m->env.flags = (env.flags & DROP_FLAGS) | QUEUE_FLAG_LOCAL | QUEUE_FLAG_PICKUP;
	m->env.uid = (uint32_t)d->uid;
	m->env.arrival = d->written;
	m->env.service = SLICE_LIT("pickup");
	m->returns = true;
	return take_recipients(m, &env);
}

static int read_at(struct drop *d, void *p, size_t len)
{
	return queue_read_full(&queue_io_posix, d->fd, p, len, d->at, false);
}

void drop_open(struct drop *d)
{
	uint64_t limit = (uint64_t)conf_int(P_message_size_limit), content;
	struct message *m = d->message;
	const char *why = NULL;
	char head[QUEUE_DROP_HEAD];
	uint32_t len = 0;
	int err = read_at(d, head, sizeof(head));

	if (err == 0)
		err = queue_drop_decode(slice_of(head, sizeof(head)), d->size, &len, &content);
	if (err == 0) {
		d->crc = crc32c(0, head, sizeof(head));
		d->at = sizeof(head);
		m->strings = mem_alloc(len);
		err = read_at(d, m->strings, len);
	}
	if (err != 0) {
		refuse(d, err == ERR_SYS ? DROP_LATER : DROP_BAD,
			err == ERR_SYS ? err_str(err) : "not of the form of such files");
		return;
	}
	d->crc = crc32c(d->crc, m->strings, len);
	d->at += len;
	if (!users_has(submitters, d->uid))
		why = "its owner is not among authorized_submit_users";
	else if (limit > 0 && content > limit)
		why = "larger than message_size_limit";
	else
		why = take_envelope(d, slice_of(m->strings, len));
	if (why != NULL) {
		refuse(d, DROP_BAD, why);
		return;
	}
	d->decoder = mem_alloc(sizeof(*d->decoder));
	content_init(d->decoder, conf_bool(P_cleanup_replace_stray_cr_lf) ? 0 : CONTENT_KEEP_CR);
	d->state = DROP_READING;
}

/* The content. */

static const struct message_failure *take_piece(struct drop *d, struct slice in)
{
	const struct message_failure *why = NULL;
	struct slice piece;

	while (why == NULL && content_decode(d->decoder, &in, &piece) == CONTENT_PIECE)
		why = content_add(d->message, piece);
	return why;
}

/* What cannot be told to its author now, who has gone, is returned to him. */
static void return_it(struct message *m, const struct message_failure *why)
{
	struct buf route = BUF_INIT(512);

	(void)buf_add_fmt(&route, "error:%s %s", why->status, why->text);
	action_add(m, POLICY_FILTER, buf_slice(&route));
	buf_clear(&route);
}

static void finish(struct drop *d)
{
	struct message *m = d->message;
	struct slice rest = content_finish(d->decoder);
	const struct message_failure *why = rest.len > 0 ? content_add(m, rest) : NULL;
	char tail[QUEUE_DROP_TAIL];
	int err = read_at(d, tail, sizeof(tail));

	if (err != 0 || wire_get_u32(tail) != d->crc) {
		refuse(d, err == ERR_SYS ? DROP_LATER : DROP_BAD,
			err == ERR_SYS ? err_str(err) : "damaged");
		return;
	}
	if (why == NULL && (why = content_end(m)) != NULL && why->code >= 500) {
		return_it(m, why);
		why = NULL;
	}
	if (why != NULL) {
		message_fail(m, why);
		return;
	}
	m->phase = MESSAGE_ENDED;
	m->env.flags |= (d->decoder->seen & CONTENT_DOT_LINE ? QUEUE_FLAG_DOT_LINE : 0) |
			(d->decoder->seen & CONTENT_8BIT ? QUEUE_FLAG_8BIT : 0);
	m->env.hops = m->content.received;
	d->state = DROP_MESSAGE;
	d->message = NULL;
	trace_received(m);
	message_commit(m);
}

void drop_read(struct drop *d)
{
	uint64_t end = d->size - QUEUE_DROP_TAIL;
	size_t len = end - d->at < PIECE ? (size_t)(end - d->at) : PIECE;
	const struct message_failure *why;
	int err;

	if (len == 0) {
		finish(d);
		return;
	}
	err = read_at(d, bytes, len);
	if (err != 0) {
		refuse(d, err == ERR_SYS ? DROP_LATER : DROP_BAD, err_str(err));
		return;
	}
	d->crc = crc32c(d->crc, bytes, len);
	d->at += len;
	why = take_piece(d, slice_of(bytes, len));
	if (why != NULL)
		message_fail(d->message, why);
}

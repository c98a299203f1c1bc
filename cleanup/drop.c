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

static const struct message_failure too_large = {552, "5.3.4", "message file too big"},
				    too_many = {552, "5.5.3", "too many recipients"},
				    bad_parameters = {501, "5.5.4", "bad parameters"};
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

/* What is none is kept for a notice, with nothing in it that a line of text must not have. */
static int add_rcpt(struct message *m, struct slice address, unsigned notify)
{
	bool is_good = is_address(address, 0), is_text = slice_is_utf8(address);
	struct buf text = BUF_INIT(QUEUE_ADDRESS_MAX);
	int err;

	if (is_good)
		return message_add_rcpt(m, address, SLICE_NONE, SLICE_NONE, notify);
	for (size_t i = 0; i < address.len; i++) {
		unsigned char c = (unsigned char)address.p[i];

		(void)buf_add_char(
			&text, c < ' ' || c == 127 || (c > 127 && !is_text) ? '?' : (char)c);
	}
	err = message_add_rcpt(m, text.len > 0 ? buf_slice(&text) : SLICE_LIT("?"), SLICE_NONE,
		SLICE_NONE, notify);
	if (err == 0)
		m->rcpts[m->rcpt_n - 1]->is_bad = true;
	buf_clear(&text);
	return err;
}

static void take_recipients(struct drop *d, const struct queue_envelope *env)
{
	struct queue_recipient to;
	uint32_t offset = 0, index = 0;

	while (queue_recipient_next(env, &offset, &index, &to)) {
		if (to.notify > NOTIFY_ALL ||
			((to.notify & QUEUE_NOTIFY_NEVER) && to.notify != QUEUE_NOTIFY_NEVER)) {
			d->refusal = &bad_parameters;
			to.notify = 0;
		}
		if (add_rcpt(d->message, to.address, to.notify) != 0) {
			d->refusal = &too_many;
			return;
		}
	}
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

static bool has_good_parameters(const struct queue_envelope *env)
{
	struct slice delimiters = slice_str(conf_str(P_verp_delimiter_filter));

	if (env->verp.len > 0 && (env->sender.len == 0 || !verp_is_good(env->verp, delimiters)))
		return false;
	return env->envid.len <= ENVID_LIMIT && slice_is_ascii(env->envid) &&
	       slice_is_printable(env->envid) && env->ret <= QUEUE_RET_HDRS &&
	       env->body <= QUEUE_BODY_8BITMIME &&
	       (env->flags & (QUEUE_FLAG_PROBE | QUEUE_FLAG_TRACE)) != QUEUE_FLAG_PROBE;
}

/* Of all that an envelope can say, what sendmail may. Slices are of the message's strings. */
static void take_parameters(struct drop *d, const struct queue_envelope *env)
{
	struct message *m = d->message;

	m->env.flags = QUEUE_FLAG_LOCAL | QUEUE_FLAG_PICKUP;
	if (!has_good_parameters(env)) {
		d->refusal = &bad_parameters;
		return;
	}
	m->env.envid = env->envid;
	m->env.verp = env->verp;
	m->env.ret = env->ret;
	m->env.body = env->body;
	m->env.flags |= env->flags & DROP_FLAGS;
}

/* NULL: there is a message, or at least somebody to return it to. */
static const char *take_envelope(struct drop *d, struct slice encoded)
{
	struct message *m = d->message;
	struct queue_envelope env;

	if (queue_envelope_decode(encoded, &env) != 0)
		return "bad envelope";
	if (!is_address(env.sender, ADDRESS_NULL))
		return "bad sender address";
	if (env.recipients == 0)
		return "no recipients";
	say_first(d, env.sender);
	message_set_sender(m, env.sender);
	take_parameters(d, &env);
	m->env.uid = (uint32_t)d->uid;
	m->env.arrival = d->written;
	m->env.service = SLICE_LIT("pickup");
	m->returns = true;
	take_recipients(d, &env);
	return NULL;
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
	/* A notice would go wherever he likes. */
	if (!users_has(submitters, d->uid)) {
		refuse(d, DROP_DENIED, "its owner is not among authorized_submit_users");
		return;
	}
	why = take_envelope(d, slice_of(m->strings, len));
	if (why != NULL) {
		refuse(d, DROP_BAD, why);
		return;
	}
	if (limit > 0 && content > limit)
		d->refusal = &too_large;
	d->decoder = mem_alloc(sizeof(*d->decoder));
	content_init(d->decoder, conf_bool(P_cleanup_replace_stray_cr_lf) ? 0 : CONTENT_KEEP_CR);
	d->state = DROP_READING;
}

/* The content. */

/* What is returned needs its header section alone. */
static const struct message_failure *add_piece(struct drop *d, struct slice piece)
{
	const struct message_failure *why;

	if (d->refusal != NULL && d->message->content.has_header)
		return NULL;
	why = content_add(d->message, piece);
	if (why == NULL || why->code < 500)
		return why;
	d->refusal = why;
	content_cut(d->message);
	return NULL;
}

static const struct message_failure *take_piece(struct drop *d, struct slice in)
{
	const struct message_failure *why = NULL;
	struct slice piece;

	while (why == NULL && content_decode(d->decoder, &in, &piece) == CONTENT_PIECE)
		why = add_piece(d, piece);
	return why;
}

/* All is read: it goes where its recipients are, or back to the sender. */
static const struct message_failure *end_content(struct drop *d)
{
	const struct message_failure *why;
	struct buf route = BUF_INIT(512);

	if (d->refusal != NULL)
		content_cut(d->message);
	why = content_end(d->message);
	if (why != NULL && why->code < 500)
		return why;
	if (d->refusal == NULL)
		d->refusal = why;
	if (d->refusal != NULL) {
		log_warning("%s: maildrop/%s: uid %u: %s; returned to the sender", d->id, d->name,
			(unsigned)d->uid, d->refusal->text);
		(void)buf_add_fmt(&route, "error:%s %s", d->refusal->status, d->refusal->text);
		action_add(d->message, POLICY_FILTER, buf_slice(&route));
	}
	buf_clear(&route);
	return NULL;
}

static void finish(struct drop *d)
{
	struct message *m = d->message;
	struct slice rest = content_finish(d->decoder);
	const struct message_failure *why = rest.len > 0 ? add_piece(d, rest) : NULL;
	char tail[QUEUE_DROP_TAIL];
	int err = read_at(d, tail, sizeof(tail));

	if (err != 0 || wire_get_u32(tail) != d->crc) {
		refuse(d, err == ERR_SYS ? DROP_LATER : DROP_BAD,
			err == ERR_SYS ? err_str(err) : "damaged");
		return;
	}
	if (why == NULL)
		why = end_content(d);
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

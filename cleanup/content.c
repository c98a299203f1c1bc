/* SPDX-License-Identifier: ISC */
#include "cleanup/content.h"

#include "cleanup/cleanup.h"
#include "cleanup/message.h"
#include "conf/conf.h"
#include "util/err.h"
#include "util/log.h"
#include "util/wire.h"

enum {
	SECTION_LIMIT = 8 << 20, /* of a header section: it is held in memory */
	TEXT_LIMIT = 32 << 20,   /* that, and a body below queue_journal_message_limit (16 MB) */
	DROP_LIMIT = 32,         /* names of message_drop_headers */
	FROM_ADDRESSES = 16,
	VALUE_LOGGED = 500
};

static const struct message_failure too_many_hops = {554, "5.4.6", "Error: too many hops"},
				    header_too_large = {
					    552, "5.3.4", "Error: message header section too big"};

static TAILQ_HEAD(, message) held = TAILQ_HEAD_INITIALIZER(held);
static struct slice dropped[DROP_LIMIT];
static size_t dropped_n;

void content_open(void)
{
	struct slice rest = slice_str(conf_str(P_message_drop_headers)), name;

	while (slice_token(&rest, ", \t\r\n", &name)) {
		if (dropped_n == DROP_LIMIT) {
			log_warning("message_drop_headers: only the first %d names are used",
				DROP_LIMIT);
			break;
		}
		dropped[dropped_n++] = name;
	}
}

void content_begin(struct message *m)
{
	struct content *c = &m->content;

	header_scan_init(&c->scan);
	buf_init(&c->text, TEXT_LIMIT);
	buf_init(&c->from, (size_t)FROM_ADDRESSES * 1024);
}

/* What the message holds in memory counts against cleanup_buffer_limit. */
static void count(struct message *m, size_t before)
{
	cleanup.held += m->content.text.len;
	cleanup.held -= before;
	if (!m->content.is_listed && m->content.text.len > 0) {
		TAILQ_INSERT_TAIL(&held, m, next);
		m->content.is_listed = true;
	}
}

void content_clear(struct message *m)
{
	struct content *c = &m->content;

	cleanup.held -= c->text.len;
	if (c->is_listed)
		TAILQ_REMOVE(&held, m, next);
	c->is_listed = false;
	buf_clear(&c->text);
	buf_clear(&c->from);
	if (m->phase == MESSAGE_WRITTEN)
		queue_body_close(&c->body);
	else
		queue_body_discard(&c->body);
}

/* The header section. */

static bool is_dropped(struct slice name)
{
	for (size_t i = 0; i < dropped_n; i++)
		if (slice_case_eq(name, dropped[i]))
			return true;
	return false;
}

static void log_message_id(const struct message *m, struct slice value)
{
	struct buf line = BUF_INIT(VALUE_LOGGED * 4);

	log_quote(&line, slice_trim(value), VALUE_LOGGED);
	log_info("%s: message-id=%s", m->id, buf_str(&line));
	buf_clear(&line);
}

static void keep_from(struct slice address, void *arg)
{
	wire_counted(arg, address);
}

static void note_from(struct content *c, struct slice value)
{
	bool is_odd = false;

	header_addresses_all(value, FROM_ADDRESSES, keep_from, &c->from, &is_odd);
	c->has_odd_from = c->has_odd_from || is_odd || buf_failed(&c->from);
	c->from_fields++;
}

/* Without REQUIRETLS, which overrules it (RFC 8689, 5). */
static bool makes_tls_optional(const struct message *m, struct slice value)
{
	return cleanup.tls_required && (m->env.flags & QUEUE_FLAG_REQUIRETLS) == 0 &&
	       slice_case_eq_str(slice_trim(value), "no");
}

static void note_field(struct message *m, const struct header_field *f)
{
	struct content *c = &m->content;

	c->seen |= 1u << f->kind;
	switch (f->kind) {
	case HEADER_RECEIVED: c->received++; break;
	case HEADER_MESSAGE_ID: log_message_id(m, f->value); break;
	case HEADER_FROM: note_from(c, f->value); break;
	case HEADER_MAILBOX_LINE: c->has_mailbox_line = true; break;
	case HEADER_TLS_REQUIRED:
		if (makes_tls_optional(m, f->value))
			m->env.flags |= QUEUE_FLAG_TLS_OPTIONAL;
		break;
	default: break;
	}
}

/* Bytes of a field over header_size_limit that stay: whole lines, as many as begin below it. */
static size_t cut_field(char *field, size_t len)
{
	size_t keep = cleanup.header_limit;
	char *nl = NULL;

	if (len <= keep)
		return len;
	nl = memrchr(field, '\n', keep);
	if (nl != NULL)
		return (size_t)(nl - field) + 1;
	if (keep < 2)
		return len;
	field[keep - 2] = '\r';
	field[keep - 1] = '\n';
	return keep;
}

/*
 * Goes through the fields that are complete. What is taken out leaves a gap that wanders behind
 * the last kept field; what stands behind it is moved once.
 */
static void scan(struct message *m, bool is_last)
{
	struct content *c = &m->content;
	struct slice all = buf_slice(&c->text);
	char *text = (char *)(uintptr_t)all.p;
	struct header_field f;
	enum header_event event;
	size_t gap = 0, rest;

	while ((event = header_next(&c->scan, all, is_last, &f)) == HEADER_FIELD) {
		size_t keep = 0;

		note_field(m, &f);
		if (!is_dropped(f.name))
			keep = cut_field(text + f.start, f.len);
		if (gap > 0 && keep > 0)
			memmove(text + f.start - gap, text + f.start, keep);
		gap += f.len - keep;
	}
	if (gap > 0) {
		rest = header_pending(&c->scan);
		memmove(text + rest - gap, text + rest, all.len - rest);
		header_shift(&c->scan, gap);
		buf_truncate(&c->text, all.len - gap);
	}
	if (event != HEADER_END)
		return;
	c->has_header = true;
	c->has_blank = c->scan.has_blank;
	c->header_len = c->scan.end;
}

/* The body. */

static int append_body(struct content *c, struct slice bytes)
{
	struct iovec iov = {(void *)(uintptr_t)bytes.p, bytes.len};

	return bytes.len > 0 ? queue_body_append(c->body, &iov, 1) : 0;
}

int content_spill(struct message *m)
{
	struct content *c = &m->content;
	size_t before = c->text.len;
	int err = queue_body_create(&cleanup.root, m->env.id, &c->body);

	if (err == 0)
		err = append_body(c, slice_from(buf_slice(&c->text), c->scan.body));
	if (err != 0)
		return err;
	buf_truncate(&c->text, c->scan.body);
	count(m, before);
	return 0;
}

static const struct message_failure *failure_of(int err)
{
	return err == ERR_FULL ? &message_no_space : &message_write_error;
}

/* The message that holds most gives up its place, be it another's. */
static void relieve(void)
{
	struct message *m = NULL, *largest = NULL;
	int err;

	TAILQ_FOREACH(m, &held, next)
	if (m->phase <= MESSAGE_ENDED &&
		(largest == NULL || m->content.text.len > largest->content.text.len))
		largest = m;
	if (largest == NULL)
		return;
	if (!largest->content.has_header || largest->content.body != NULL) {
		log_warning("%s: refused: cleanup_buffer_limit is reached by header sections",
			largest->id);
		message_fail(largest, &message_no_resources);
		return;
	}
	err = content_spill(largest);
	if (err != 0) {
		log_warning("%s: body file: %s", largest->id, err_str(err));
		message_fail(largest, failure_of(err));
	}
}

const struct message_failure *content_add(struct message *m, struct slice bytes)
{
	struct content *c = &m->content;
	size_t before = c->text.len;
	int err = 0;

	c->size += bytes.len;
	c->ungranted += bytes.len;
	if (c->body != NULL) {
		err = append_body(c, bytes);
	} else {
		err = buf_add_slice(&c->text, bytes);
		if (err == 0 && !c->has_header)
			scan(m, false);
		count(m, before);
		if (!c->has_header && c->text.len > SECTION_LIMIT)
			return &header_too_large;
		if (err == 0 && c->has_header && c->text.len > cleanup.journal_limit &&
			c->text.len > c->scan.body)
			err = content_spill(m);
	}
	if (err == ERR_LIMIT)
		return &header_too_large;
	if (err != 0) {
		log_warning("%s: body file: %s", m->id, err_str(err));
		return failure_of(err);
	}
	return NULL;
}

void content_cut(struct message *m)
{
	struct content *c = &m->content;
	size_t before = c->text.len;

	if (!c->has_header) {
		buf_truncate(&c->text, header_pending(&c->scan));
		header_cut(&c->scan);
		scan(m, true);
	}
	queue_body_discard(&c->body);
	buf_truncate(&c->text, c->scan.body);
	count(m, before);
}

void content_relieve(void)
{
	while (cleanup.held > cleanup.buffer_limit) {
		size_t before = cleanup.held;

		relieve();
		if (cleanup.held >= before)
			break;
	}
}

const struct message_failure *content_end(struct message *m)
{
	struct content *c = &m->content;
	size_t before = c->text.len;

	if (!c->has_header) {
		scan(m, true);
		count(m, before);
	}
	/* smtpd's own field counts too, as in Postfix. */
	if ((int64_t)c->received + 1 >= cleanup.hop_limit) {
		log_warning("%s: message rejected: hopcount exceeded", m->id);
		return &too_many_hops;
	}
	return NULL;
}

int content_replace_header(struct message *m, struct slice fields)
{
	struct content *c = &m->content;
	struct slice rest = slice_from(buf_slice(&c->text), c->header_len);
	size_t before = c->text.len;
	struct buf text;

	buf_init(&text, TEXT_LIMIT);
	(void)buf_add_slice(&text, fields);
	(void)buf_add_slice(&text, rest);
	if (buf_failed(&text)) {
		buf_clear(&text);
		return ERR_LIMIT;
	}
	c->scan.body = c->scan.body - c->header_len + fields.len;
	c->scan.end = c->header_len = fields.len;
	buf_clear(&c->text);
	c->text = text;
	count(m, before);
	return 0;
}

void content_walk_from(
	const struct message *m, void (*add)(struct slice address, void *arg), void *arg)
{
	struct reader r = reader_of(buf_slice(&m->content.from));

	while (r.in.len > 0 && r.err == 0)
		add(reader_counted(&r, r.in.len), arg);
}

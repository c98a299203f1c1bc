/* SPDX-License-Identifier: ISC */
#include "cleanup/commit.h"

#include "cleanup/cleanup.h"
#include "cleanup/link.h"
#include "cleanup/space.h"
#include "server/counters.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

enum {
	RECENT = 4096,      /* ids that are remembered */
	CUTS = 4,           /* failed segments at a time */
	CUT_WAIT = 5,       /* seconds for qmgr to note a cut */
	PREPARE_WAIT = 2,   /* milliseconds between two steps of making a segment */
	PREPARE_AGAIN = 200 /* and behind one that failed */
};

TAILQ_HEAD(batch, message);

/* Messages behind the end of a failed segment. */
struct cut {
	TAILQ_ENTRY(cut) next;
	uint32_t segment;
	struct batch messages;
};

static struct batch ready = TAILQ_HEAD_INITIALIZER(ready);
static struct batch written = TAILQ_HEAD_INITIALIZER(written);
static TAILQ_HEAD(, cut) cuts = TAILQ_HEAD_INITIALIZER(cuts);
static unsigned cuts_n;
static struct loop_task task;
static struct loop_timer cut_timer, prepare_timer;
static struct buf envelope;
static bool is_torn; /* the last append failed: its segment has taken damage */
static char recent[RECENT][QUEUE_ID_MAX + 1];
static unsigned recent_at;

bool commit_knows(struct slice id)
{
	for (size_t i = 0; i < RECENT; i++)
		if (slice_eq_str(id, recent[i]))
			return true;
	return false;
}

bool commit_is_idle(void)
{
	return TAILQ_EMPTY(&ready) && TAILQ_EMPTY(&written) && TAILQ_EMPTY(&cuts);
}

/* Segments are made in idle moments, a step at a time. */

static void plan_prepare(void)
{
	if (queue_journal_wants_prepare(cleanup.journal) && prepare_timer.due == CLOCK_NEVER)
		loop_timer_set(&prepare_timer, loop_now() + PREPARE_WAIT * CLOCK_MSEC);
}

static void prepare(void *arg)
{
	(void)arg;
	/* Meanwhile a message in a hurry may have made it. */
	if (!queue_journal_wants_prepare(cleanup.journal))
		return;
	/* Without room it is tried on: qmgr may have ended a segment. */
	if (queue_journal_prepare(cleanup.journal) == 0)
		plan_prepare();
	else
		loop_timer_set(&prepare_timer, loop_now() + PREPARE_AGAIN * CLOCK_MSEC);
	space_check();
}

/* Failed segments. */

static void ask_next_cut(void)
{
	struct queue_cut cut;

	if (queue_journal_cut(cleanup.journal, &cut))
		link_ask_cut(&cut);
}

void commit_qmgr_new(void)
{
	ask_next_cut();
}

static void cut_too_late(void *arg)
{
	(void)arg;
	/* The segment's lock ends with us; its takeover decides, and the clients ask again (Q6). */
	log_fatal("a failed write of the journal could not be noted within %d s: ending without "
		  "an answer to the messages behind it",
		CUT_WAIT);
}

void commit_noted(bool is_durable)
{
	struct cut *c = TAILQ_FIRST(&cuts);
	struct queue_cut cut;
	struct message *m = NULL;

	if (c == NULL || !queue_journal_cut(cleanup.journal, &cut))
		return;
	if (!is_durable)
		cut_too_late(NULL);
	queue_journal_cut_done(cleanup.journal, c->segment);
	TAILQ_REMOVE(&cuts, c, next);
	while ((m = TAILQ_FIRST(&c->messages)) != NULL) {
		TAILQ_REMOVE(&c->messages, m, batch);
		/* Nobody will ever read this body: its record is behind the cut. */
		m->phase = MESSAGE_ENDED;
		message_fail(m, &message_write_error);
	}
	mem_free(c);
	if (--cuts_n == 0)
		loop_timer_set(&cut_timer, CLOCK_NEVER);
	ask_next_cut();
}

/* The present segment took damage: what is not durable in it waits for qmgr. */
static void cut_off(const char *what)
{
	struct cut *c = mem_alloc(sizeof(*c));

	if (cuts_n++ == CUTS)
		cut_too_late(NULL);
	log_error("journal segment %u: %s: %s", link_segment(), what, err_str(ERR_SYS));
	c->segment = link_segment();
	TAILQ_INIT(&c->messages);
	TAILQ_CONCAT(&c->messages, &written, batch);
	TAILQ_INSERT_TAIL(&cuts, c, next);
	link_segment_failed();
	if (cut_timer.due == CLOCK_NEVER)
		loop_timer_set(&cut_timer, loop_now() + CUT_WAIT * CLOCK_SEC);
	ask_next_cut();
}

/* Appending. */

static void put(struct iovec *iov, int *n, struct slice s)
{
	if (s.len > 0)
		iov[(*n)++] = (struct iovec){(void *)(uintptr_t)s.p, s.len};
}

/* The parts of the content that go into the record, in order; completes the envelope. */
static int lay_out(struct message *m, struct iovec *iov)
{
	struct content *c = &m->content;
	struct slice text = buf_slice(&c->text);
	struct slice blank = slice_of(text.p + c->scan.end, c->scan.body - c->scan.end);
	struct slice body = slice_from(text, c->scan.body);
	size_t sum = 0;
	int n = 0;

	m->env.body_len = c->body != NULL ? queue_body_size(c->body) : 0;
	/* A body needs a line between it and the headers, whatever the client left out. */
	if (!c->has_blank && body.len + m->env.body_len > 0)
		blank = SLICE_LIT("\r\n");
	put(iov, &n, buf_slice(&m->top));
	put(iov, &n, slice_first(text, c->header_len));
	put(iov, &n, buf_slice(&m->bottom));
	put(iov, &n, blank);
	for (int i = 0; i < n; i++)
		sum += iov[i].iov_len;
	m->env.header_len = (uint32_t)sum;
	if (c->body == NULL)
		put(iov, &n, body);
	m->env.size = sum + body.len + m->env.body_len;
	if (c->body != NULL)
		m->env.flags |= QUEUE_FLAG_BODY_FILE;
	return n;
}

/*
 * Delivery asks whether the header section needs SMTPUTF8 (RFC 6531, 3.6). The author has seen
 * whether there is such a byte in what came; what was added here may hold an address.
 */
static void note_8bit(struct message *m)
{
	struct content *c = &m->content;
	bool is_8bit =
		!slice_is_ascii(buf_slice(&m->top)) || !slice_is_ascii(buf_slice(&m->bottom));

	if (!is_8bit && (m->env.flags & QUEUE_FLAG_8BIT))
		is_8bit = !slice_is_ascii(slice_first(buf_slice(&c->text), c->header_len));
	if (is_8bit)
		m->env.flags |= QUEUE_FLAG_8BIT | QUEUE_FLAG_8BIT_HEADER;
}

static int sync_written(void);

/* Another segment; the present one must be durable first. */
static int next_segment(void)
{
	int err = sync_written();

	if (err == 0)
		err = queue_journal_take(cleanup.journal);
	if (err == 0)
		link_new_segment();
	return err;
}

static int put_record(const struct queue_append *a)
{
	struct queue_ref ref;
	int err = queue_journal_append(cleanup.journal, a, &ref);

	is_torn = err == ERR_SYS;
	return err;
}

static int append(const struct queue_append *a)
{
	int err = queue_journal_has_segment(cleanup.journal) ? 0 : next_segment();

	if (err == 0)
		err = put_record(a);
	/* Enough is pending, or the segment is full: the second try tells which. */
	if (err == ERR_LIMIT && (err = sync_written()) == 0)
		err = put_record(a);
	if (err == ERR_LIMIT && (err = next_segment()) == 0)
		err = put_record(a);
	return err;
}

static int write_message(struct message *m)
{
	struct iovec content[8], head;
	struct queue_append a = {.id = m->env.id,
		.envelope = &head,
		.envelope_n = 1,
		.content = content,
		.is_notice = m->env.flags & QUEUE_FLAG_NOTICE};
	int err = 0;

	a.content_n = lay_out(m, content);
	note_8bit(m);
	buf_reset(&envelope);
	err = queue_envelope_encode(&envelope, &m->env, buf_slice(&m->recipients.encoded));
	if (err == 0 && m->content.body != NULL)
		err = queue_body_sync(m->content.body);
	if (err != 0)
		return err;
	head = (struct iovec){(void *)(uintptr_t)buf_str(&envelope), envelope.len};
	return append(&a);
}

static void refuse(struct message *m, int err)
{
	log_warning("%s: journal: %s", m->id, err_str(err));
	message_fail(m, err == ERR_FULL ? &message_no_space : &message_write_error);
	if (err == ERR_FULL)
		space_check();
}

static void write_one(struct message *m)
{
	int err;

	TAILQ_REMOVE(&ready, m, batch);
	/* Takes part in nothing while it is neither here nor there. */
	m->phase = MESSAGE_ENDED;
	is_torn = false;
	err = write_message(m);
	if (err != 0 && !is_torn) {
		refuse(m, err);
		return;
	}
	m->phase = MESSAGE_WRITTEN;
	TAILQ_INSERT_TAIL(&written, m, batch);
	if (is_torn)
		cut_off("write");
}

static void answer_written(void)
{
	struct message *m = NULL;

	while ((m = TAILQ_FIRST(&written)) != NULL) {
		TAILQ_REMOVE(&written, m, batch);
		memcpy(recent[recent_at], m->id, sizeof(m->id));
		recent_at = (recent_at + 1) % RECENT;
		counters_add(COUNTER_MESSAGES, 1);
		message_done(m);
	}
}

static int sync_written(void)
{
	if (queue_journal_sync(cleanup.journal) != 0) {
		cut_off("sync");
		return ERR_SYS;
	}
	answer_written();
	link_durable();
	return 0;
}

static void run(void *arg)
{
	struct message *m = NULL;

	(void)arg;
	while ((m = TAILQ_FIRST(&ready)) != NULL)
		write_one(m);
	if (!TAILQ_EMPTY(&written)) {
		/* Our lines stand before qmgr's, and cost no call more than behind the sync. */
		(void)log_flush();
		(void)sync_written();
	}
	/* A segment that failed leaves none behind: begin one before anybody is told of no space.
	 */
	if (!queue_journal_has_room(cleanup.journal))
		prepare(NULL);
	plan_prepare();
	space_check();
}

void commit_open(void)
{
	buf_init(&envelope, QUEUE_ENVELOPE_MAX);
	loop_task_init(&task, run, NULL);
	loop_timer_init(&cut_timer, cut_too_late, NULL);
	loop_timer_init(&prepare_timer, prepare, NULL);
	/* The first step, so that there is room for the first message. */
	prepare(NULL);
}

void commit_add(struct message *m)
{
	TAILQ_INSERT_TAIL(&ready, m, batch);
	loop_soon(&task);
}

void commit_remove(struct message *m)
{
	TAILQ_REMOVE(&ready, m, batch);
}

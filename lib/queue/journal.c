/* SPDX-License-Identifier: ISC */
#include "queue/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "queue/segment.h"
#include "util/err.h"
#include "util/hash.h"
#include "util/log.h"
#include "util/mem.h"

#define LIMIT (UINT64_C(1) << 30)
#define STEP (1u << 20)       /* of writing a new segment */
#define FAILED_MAX 8          /* segments kept locked for a cut at a time */
#define COMMIT_MAX (4u << 20) /* pending bytes at which a sync is asked for */
#define PAD_MAX QUEUE_BLOCK

struct current {
	struct queue_segment seg; /* fd -1: none */
	uint64_t pos, durable;
	uint32_t seq;
};

struct queue_journal {
	struct queue_journal_setup setup;
	struct current cur;
	struct queue_segment next;   /* locked and ready; fd -1: none */
	struct queue_segment making; /* incoming/N.new, zeros up to made; fd -1: none */
	uint64_t made;
	struct current failed[FAILED_MAX];
	int failed_n;
	char *head; /* for the head of a record; owned */
	size_t head_cap;
	char zeros[PAD_MAX];
};

static const struct queue_io *io_of(const struct queue_journal *j)
{
	return j->setup.root.io;
}

int queue_journal_open(const struct queue_journal_setup *setup, struct queue_journal **out)
{
	struct queue_journal *j = mem_alloc(sizeof(*j));

	*out = NULL;
	j->setup = *setup;
	if (j->setup.segment_size == 0)
		j->setup.segment_size = QUEUE_SEGMENT_SIZE;
	if (j->setup.limit == 0)
		j->setup.limit = LIMIT;
	if (j->setup.reserve == 0)
		j->setup.reserve = j->setup.segment_size / 8;
	j->cur.seg.fd = j->next.fd = j->making.fd = -1;
	if (j->setup.segment_size % QUEUE_BLOCK != 0 ||
		j->setup.segment_size < 16 * (uint64_t)QUEUE_BLOCK) {
		mem_free(j);
		return ERR_RANGE;
	}
	*out = j;
	return 0;
}

static void close_segment(const struct queue_journal *j, struct queue_segment *s)
{
	s->io = io_of(j);
	queue_segment_close(s);
	s->fd = -1;
}

static void new_path(uint32_t number, char path[QUEUE_SEGMENT_PATH])
{
	snprintf(path, QUEUE_SEGMENT_PATH, "incoming/%08X.new", number);
}

static void drop_making(struct queue_journal *j)
{
	char path[QUEUE_SEGMENT_PATH];

	if (j->making.fd == -1)
		return;
	new_path(j->making.number, path);
	io_of(j)->unlinkat(io_of(j), j->setup.root.fd, path);
	close_segment(j, &j->making);
}

/* A ready segment that was never used goes back as free: its head still says so. */
void queue_journal_close(struct queue_journal **jp)
{
	struct queue_journal *j = *jp;

	if (j == NULL)
		return;
	drop_making(j);
	close_segment(j, &j->cur.seg);
	close_segment(j, &j->next);
	for (int i = 0; i < j->failed_n; i++)
		close_segment(j, &j->failed[i].seg);
	mem_free(j->head);
	mem_free(j);
	*jp = NULL;
}

/* What is in incoming/. */
struct listing {
	uint32_t numbers[1024];
	size_t n, others; /* others: segments being made */
};

static bool visit_name(const char *name, void *arg)
{
	struct listing *l = arg;
	uint32_t number = queue_segment_number(name);
	size_t len = strlen(name);

	if (number != 0 && l->n < sizeof(l->numbers) / sizeof(l->numbers[0]))
		l->numbers[l->n++] = number;
	else if (len > 4 && strcmp(name + len - 4, ".new") == 0)
		l->others++;
	return true;
}

static int list_segments(const struct queue_journal *j, struct listing *l)
{
	l->n = l->others = 0;
	return io_of(j)->list(io_of(j), j->setup.root.fd, "incoming", visit_name, l) == -1 ? ERR_SYS
											   : 0;
}

/* Q7: unlocked, and its last generation noted as ended, which the head says. */
static bool try_free(struct queue_journal *j, uint32_t number)
{
	struct queue_segment *s = &j->next;

	if (queue_segment_open(&j->setup.root, number, s) != 0 || s->state != QUEUE_SEGMENT_FREE ||
		io_of(j)->lock(io_of(j), s->fd, false) == -1)
		goto no;
	/* Another worker may have used and left it between our look and our lock. */
	if (queue_segment_reload(s) != 0 || s->state != QUEUE_SEGMENT_FREE)
		goto no;
	return true;
no:
	close_segment(j, s);
	return false;
}

static int find_free(struct queue_journal *j, struct listing *l)
{
	int err = list_segments(j, l);

	if (err != 0)
		return err;
	for (size_t i = 0; i < l->n; i++) {
		if (try_free(j, l->numbers[i]))
			return 0;
	}
	return ERR_NOT_FOUND;
}

static bool number_is_taken(const struct queue_journal *j, uint32_t number)
{
	char path[QUEUE_SEGMENT_PATH];
	struct queue_stat st;

	queue_segment_path(number, path);
	return io_of(j)->statat(io_of(j), j->setup.root.fd, path, &st) == 0;
}

/* Holding N.new, which only one process can make, N.segment cannot come into being elsewhere. */
static int begin_making(struct queue_journal *j)
{
	const struct queue_io *io = io_of(j);
	struct queue_segment *s = &j->making;
	char path[QUEUE_SEGMENT_PATH];

	*s = (struct queue_segment){
		.io = io, .fd = -1, .size = j->setup.segment_size, .state = QUEUE_SEGMENT_FREE};
	j->made = 0;
	for (uint32_t n = 1; n < 100000 && s->fd == -1; n++) {
		if (number_is_taken(j, n))
			continue;
		new_path(n, path);
		s->fd = io->openat(io, j->setup.root.fd, path, O_RDWR | O_CREAT | O_EXCL, 0660);
		if (s->fd == -1 && errno != EEXIST)
			return queue_errno();
		s->number = n;
		if (s->fd != -1 && number_is_taken(j, n))
			drop_making(j);
	}
	if (s->fd == -1)
		return ERR_FULL;
	if (io->lock(io, s->fd, false) == -1 || io->fallocate(io, s->fd, 0, s->size) == -1) {
		int err = queue_errno();

		drop_making(j);
		return err;
	}
	return 0;
}

static int finish_making(struct queue_journal *j)
{
	const struct queue_io *io = io_of(j);
	char from[QUEUE_SEGMENT_PATH], to[QUEUE_SEGMENT_PATH];
	int err = queue_segment_write_head(&j->making);

	if (err != 0)
		return err;
	if (io->fsync(io, j->making.fd) == -1)
		return queue_errno();
	new_path(j->making.number, from);
	queue_segment_path(j->making.number, to);
	if (io->renameat(io, j->setup.root.fd, from, j->setup.root.fd, to) == -1)
		return queue_errno();
	err = queue_sync_dir(&j->setup.root, "incoming");
	if (err != 0) {
		/* It has its name and can be found free by anybody. */
		close_segment(j, &j->making);
		return err;
	}
	j->next = j->making;
	j->making.fd = -1;
	return 0;
}

/* Writes each block once, so that later syncs carry data alone. */
static int make_step(struct queue_journal *j)
{
	uint64_t part = j->making.size - j->made < STEP ? j->making.size - j->made : STEP;
	char *zeros = mem_alloc((size_t)part);
	struct iovec iov = {zeros, (size_t)part};
	int err = queue_write_full(io_of(j), j->making.fd, &iov, 1, j->made);

	mem_free(zeros);
	if (err != 0)
		return err;
	io_of(j)->writeback(io_of(j), j->making.fd, j->made, part);
	j->made += part;
	return j->made == j->making.size ? finish_making(j) : 0;
}

static int prepare(struct queue_journal *j)
{
	struct listing l;
	int err = 0;

	if (j->making.fd == -1) {
		err = find_free(j, &l);
		if (err != ERR_NOT_FOUND)
			return err;
		if ((l.n + l.others + 1) * j->setup.segment_size > j->setup.limit)
			return ERR_FULL;
		if (!queue_has_space(&j->setup.root, j->setup.segment_size * 2, 16))
			return ERR_FULL;
		err = begin_making(j);
	}
	if (err == 0)
		err = make_step(j);
	if (err != 0)
		drop_making(j);
	return err;
}

int queue_journal_prepare(struct queue_journal *j)
{
	return j->next.fd != -1 ? 0 : prepare(j);
}

bool queue_journal_wants_prepare(const struct queue_journal *j)
{
	return j->next.fd == -1 &&
	       (j->cur.seg.fd == -1 || j->cur.pos > queue_segment_end(&j->cur.seg) / 2);
}

/* The head with the new generation is durable before the first record: see Q15. */
static int begin_use(struct queue_journal *j)
{
	const struct queue_io *io = io_of(j);
	struct current c = {.seg = j->next};
	int err;

	j->next.fd = -1;
	j->next.window = NULL;
	c.seg.state = QUEUE_SEGMENT_USED;
	io->random(io, c.seg.generation, QUEUE_GENERATION);
	err = queue_segment_write_head(&c.seg);
	if (err == 0 && io->fdatasync(io, c.seg.fd) == -1)
		err = queue_errno();
	if (err != 0) {
		/* Unlocked and in use without a record: the keeper's takeover frees it. */
		close_segment(j, &c.seg);
		return err;
	}
	c.pos = c.durable = queue_segment_begin(&c.seg);
	close_segment(j, &j->cur.seg);
	j->cur = c;
	return 0;
}

int queue_journal_take(struct queue_journal *j)
{
	int err = 0;

	if (queue_journal_pending(j) > 0)
		return ERR_STATE;
	while (j->next.fd == -1 && err == 0)
		err = prepare(j);
	return err != 0 ? err : begin_use(j);
}

bool queue_journal_has_segment(const struct queue_journal *j)
{
	return j->cur.seg.fd != -1;
}

uint64_t queue_journal_pending(const struct queue_journal *j)
{
	return j->cur.seg.fd != -1 ? j->cur.pos - j->cur.durable : 0;
}

static uint64_t sum(const struct iovec *iov, int n)
{
	uint64_t len = 0;

	for (int i = 0; i < n; i++)
		len += iov[i].iov_len;
	return len;
}

/* CRC-32C over each QUEUE_CHUNK of the bytes of several iovecs in a row. */
struct chunk_crc {
	uint32_t *out;
	size_t n, fill;
	uint32_t crc;
};

static void crc_add(struct chunk_crc *c, const struct iovec *iov, int n)
{
	for (int i = 0; i < n; i++) {
		const char *p = iov[i].iov_base;
		size_t len = iov[i].iov_len;

		while (len > 0) {
			size_t part = QUEUE_CHUNK - c->fill < len ? QUEUE_CHUNK - c->fill : len;

			c->crc = crc32c(c->crc, p, part);
			c->fill += part;
			p += part;
			len -= part;
			if (c->fill == QUEUE_CHUNK) {
				c->out[c->n++] = c->crc;
				c->fill = 0;
				c->crc = 0;
			}
		}
	}
}

static void crc_end(struct chunk_crc *c)
{
	if (c->fill > 0)
		c->out[c->n++] = c->crc;
}

static void build_head(
	struct queue_journal *j, const struct queue_append *a, struct queue_record *r)
{
	size_t len = queue_record_head_len(r->ref.length);
	struct chunk_crc crc = {0};

	/* Room behind the head for the sums before they are in wire order. */
	if (j->head_cap < len * 2) {
		j->head = mem_resize(j->head, len * 2, 1);
		j->head_cap = len * 2;
	}
	crc.out = (uint32_t *)(void *)(j->head + queue_align(len, 8));
	crc_add(&crc, a->envelope, a->envelope_n);
	crc_add(&crc, a->content, a->content_n);
	crc_end(&crc);
	queue_record_head(j->head, j->cur.seg.generation, r, crc.out);
}

static void fail_segment(struct queue_journal *j)
{
	if (j->failed_n == FAILED_MAX) {
		/* The oldest can wait no longer; the caller has closed its sessions or will. */
		queue_journal_cut_abandon(j, j->failed[0].seg.number);
	}
	j->failed[j->failed_n++] = j->cur;
	j->cur = (struct current){.seg.fd = -1};
}

static int write_record(struct queue_journal *j, const struct queue_append *a, size_t head_len,
	const struct queue_record *r)
{
	struct iovec iov[QUEUE_RECORD_IOV_MAX + 2];
	int n = 0;
	uint64_t tail = r->payload + r->ref.length;

	iov[n++] = (struct iovec){j->head, head_len};
	for (int i = 0; i < a->envelope_n; i++)
		iov[n++] = a->envelope[i];
	for (int i = 0; i < a->content_n; i++)
		iov[n++] = a->content[i];
	/* Whole blocks: a part of one that is not in memory would be read from the disk first. */
	iov[n++] = (struct iovec){j->zeros, (size_t)(queue_align(tail, QUEUE_BLOCK) - tail)};
	return queue_write_full(io_of(j), j->cur.seg.fd, iov, n, r->ref.offset);
}

/* 0: fits; ERR_LIMIT: fits another segment; ERR_FULL: there is none for it. */
static int check_room(struct queue_journal *j, const struct queue_append *a, uint64_t start,
	const struct queue_record *r)
{
	uint64_t end = queue_segment_end(&j->cur.seg);
	bool fits = r->end <= end;

	if (fits && queue_journal_pending(j) > 0 && r->end - j->cur.durable > COMMIT_MAX)
		return ERR_LIMIT;
	if (fits && (j->next.fd != -1 || r->end + j->setup.reserve <= end))
		return 0;
	if (r->end - start > end - queue_segment_begin(&j->cur.seg))
		return ERR_RANGE;
	if (j->next.fd == -1 && j->making.fd == -1)
		(void)prepare(j); /* one step: a free one, or a new one begun */
	if (j->next.fd != -1 || j->making.fd != -1)
		return fits ? 0 : ERR_LIMIT;
	return fits && a->is_notice ? 0 : ERR_FULL;
}

int queue_journal_append(
	struct queue_journal *j, const struct queue_append *a, struct queue_ref *ref)
{
	uint64_t envelope_len = sum(a->envelope, a->envelope_n);
	uint64_t content_len = sum(a->content, a->content_n);
	uint64_t total = envelope_len + content_len;
	struct queue_record r = {0};
	int err;

	*ref = (struct queue_ref){0};
	if (j->cur.seg.fd == -1)
		return ERR_STATE;
	if (total > QUEUE_RECORD_MAX || !queue_id_is_valid(a->id) ||
		a->envelope_n + a->content_n > QUEUE_RECORD_IOV_MAX - 2)
		return ERR_RANGE;
	r.ref = (struct queue_ref){.segment = j->cur.seg.number,
		.seq = j->cur.seq,
		.offset = j->cur.pos,
		.length = (uint32_t)total,
		.envelope_len = (uint32_t)envelope_len};
	memcpy(r.id, a->id.p, a->id.len);
	r.durable = j->cur.durable;
	r.content_len = (uint32_t)content_len;
	r.payload = r.ref.offset + queue_record_head_len(total);
	r.end = queue_align(r.payload + total, QUEUE_RECORD_UNIT);
	err = check_room(j, a, r.ref.offset, &r);
	if (err != 0)
		return err;
	build_head(j, a, &r);
	if (write_record(j, a, queue_record_head_len(total), &r) != 0) {
		fail_segment(j);
		return ERR_SYS;
	}
	j->cur.pos = r.end;
	j->cur.seq++;
	*ref = r.ref;
	return 0;
}

bool queue_journal_has_room(const struct queue_journal *j)
{
	if (j->next.fd != -1 || j->making.fd != -1)
		return true;
	return j->cur.seg.fd != -1 &&
	       j->cur.pos + j->setup.reserve < queue_segment_end(&j->cur.seg);
}

int queue_journal_sync(struct queue_journal *j)
{
	if (queue_journal_pending(j) == 0)
		return 0;
	if (io_of(j)->fdatasync(io_of(j), j->cur.seg.fd) == -1) {
		fail_segment(j);
		return ERR_SYS;
	}
	/* The next commit gets blocks of its own. */
	j->cur.pos = queue_align(j->cur.pos, QUEUE_BLOCK);
	j->cur.durable = j->cur.pos;
	return 0;
}

bool queue_journal_position(const struct queue_journal *j, uint32_t *segment, uint64_t *durable)
{
	*segment = j->cur.seg.fd != -1 ? j->cur.seg.number : 0;
	*durable = j->cur.seg.fd != -1 ? j->cur.durable : 0;
	return j->cur.seg.fd != -1;
}

bool queue_journal_cut(const struct queue_journal *j, struct queue_cut *cut)
{
	*cut = (struct queue_cut){0};
	if (j->failed_n == 0)
		return false;
	cut->segment = j->failed[0].seg.number;
	cut->offset = j->failed[0].durable;
	memcpy(cut->generation, j->failed[0].seg.generation, QUEUE_GENERATION);
	return true;
}

void queue_journal_cut_done(struct queue_journal *j, uint32_t segment)
{
	for (int i = 0; i < j->failed_n; i++) {
		if (j->failed[i].seg.number != segment)
			continue;
		close_segment(j, &j->failed[i].seg);
		j->failed_n--;
		memmove(&j->failed[i], &j->failed[i + 1],
			(size_t)(j->failed_n - i) * sizeof(j->failed[0]));
		return;
	}
}

void queue_journal_cut_abandon(struct queue_journal *j, uint32_t segment)
{
	queue_journal_cut_done(j, segment);
}

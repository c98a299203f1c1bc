/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "queue/store_private.h"
#include "util/err.h"
#include "util/mem.h"

static void free_buf(void *value)
{
	struct buf *b = value;

	buf_clear(b);
	mem_free(b);
}

/* ---- The log ---- */

static void past_event(struct queue_store *s, const struct queue_event *ev)
{
	struct buf *b = dict_get(s->past, ev->id);

	if (b == NULL) {
		b = mem_alloc(sizeof(*b));
		*b = BUF_INIT(QUEUE_EVENTS_PLAIN_MAX);
		if (dict_set(s->past, ev->id, b) != 0)
			return free_buf(b);
	}
	queue_event_encode(b, 0, ev);
	/* A parent's event says of the child that it was accepted (store_journal.c). */
	if (store_names_child((enum queue_event_type)ev->type))
		dict_set(s->claims, ev->other, s);
}

static void same_generation(struct sseg *seg, const uint8_t generation[QUEUE_GENERATION])
{
	if (memcmp(seg->past_generation, generation, QUEUE_GENERATION) == 0)
		return;
	memcpy(seg->past_generation, generation, QUEUE_GENERATION);
	seg->floor = 0;
	dict_free(&seg->past_done);
}

static void past_segment(struct queue_store *s, const struct queue_event *ev)
{
	struct sseg *seg = store_segment(s, ev->segment);

	switch (ev->type) {
	case QUEUE_EV_FLOOR:
		same_generation(seg, ev->generation);
		seg->floor = ev->offset;
		break;
	case QUEUE_EV_CUT:
		seg->has_cut = true;
		seg->cut = (struct queue_cut){.segment = ev->segment, .offset = ev->offset};
		memcpy(seg->cut.generation, ev->generation, QUEUE_GENERATION);
		break;
	case QUEUE_EV_SEGMENT_END:
		seg->has_ended = true;
		memcpy(seg->ended, ev->generation, QUEUE_GENERATION);
		break;
	default: /* DONE: sequence numbers */
		same_generation(seg, ev->generation);
		if (seg->past_done == NULL)
			seg->past_done = dict_new(SIZE_MAX, NULL);
		for (size_t i = 0; i + 4 <= ev->data.len; i += 4)
			dict_set(seg->past_done, slice_of(ev->data.p + i, 4), seg);
	}
}

static void past_one(struct queue_store *s, const struct queue_event *ev)
{
	s->was_clean = ev->type == QUEUE_EV_STOP;
	if (ev->type == QUEUE_EV_FLOOR || (ev->type >= QUEUE_EV_CUT && ev->type <= QUEUE_EV_DONE))
		past_segment(s, ev);
	else if (ev->id.len > 0)
		past_event(s, ev);
}

/*
 * Q10, as Q2: what stands behind the last place that is known to be durable is noted again, in a
 * piece of our own, and synced; then it counts. Nothing behind the first bad event does (Q4).
 */
static int continue_log(struct queue_store *s, struct queue_log_image *image)
{
	struct queue_log_place after = image->durable;
	struct queue_event ev, start = {.type = QUEUE_EV_START};
	bool found = image->n == 0;
	int err;

	for (int i = 0; i < image->n; i++)
		found = found || image->pieces[i].number == after.number;
	if (image->n == 0)
		after = (struct queue_log_place){0};
	else if (!found || after.offset < QUEUE_BLOCK)
		after = (struct queue_log_place){.number = image->pieces[0].number,
			.generation = image->pieces[0].generation,
			.offset = QUEUE_BLOCK};
	queue_log_rewind(image);
	err = queue_log_continue(&s->log, image, &after);
	while (err == 0 && queue_log_next(image, &ev)) {
		bool is_behind = image->is_behind_durable || !found;

		if (is_behind && ev.type != QUEUE_EV_SYNCED && ev.type != QUEUE_EV_STOP)
			err = queue_log_note(&s->log, &ev, NULL);
	}
	if (err == 0)
		err = store_note(s, &start, NULL);
	/*
	 * What is noted again may be durable where it stood, behind the last place that is known
	 * to be: the head that cuts it off there must not survive without it.
	 */
	if (err == 0)
		err = queue_log_flush(&s->log);
	if (err == 0 && s->root.io->fdatasync(s->root.io, s->log.slots[s->log.current].fd) == -1)
		err = queue_errno();
	/* What comes now goes to blocks of its own. */
	s->log.pos = queue_align(s->log.pos, QUEUE_BLOCK);
	return err != 0 ? err : queue_log_publish(&s->log);
}

int store_read_log(struct queue_store *s)
{
	struct queue_log_image image;
	struct queue_event ev;
	int err = queue_log_read(&s->root, &image);

	if (err != 0)
		return err;
	s->was_clean = image.n == 0;
	while (queue_log_next(&image, &ev))
		past_one(s, &ev);
	if (image.damaged > 0)
		store_problem(s, true,
			"log of the queue: damaged in %d places; read on behind them",
			image.damaged);
	err = continue_log(s, &image);
	queue_log_image_clear(&image);
	return err;
}

/* ---- Segments and directories ---- */

struct found {
	struct queue_store *s;
	uint32_t numbers[QUEUE_SEGMENTS];
	size_t n;
};

static bool find_segment(const char *name, void *arg)
{
	struct found *f = arg;
	uint32_t number = queue_segment_number(name);

	if (number != 0 && f->n < QUEUE_SEGMENTS)
		f->numbers[f->n++] = number;
	return true;
}

static void order_takeover(struct queue_store *s, struct sseg *seg)
{
	struct sorder *o = store_order_new(s, QUEUE_ORDER_TAKEOVER);

	wire_u32(&o->bytes, seg->seg.number);
	wire_u64(&o->bytes, 0);
	wire_u64(&o->bytes, seg->has_cut ? seg->cut.offset : 0);
	o->seg = seg;
	seg->is_busy = true;
	store_order_put(s, o, false);
}

static void order_free(struct queue_store *s, uint32_t number, const uint8_t *generation)
{
	struct sorder *o = store_order_new(s, QUEUE_ORDER_FREE);

	wire_u32(&o->bytes, number);
	wire_counted(&o->bytes, slice_of(generation, QUEUE_GENERATION));
	store_order_put(s, o, false);
}

/* In use and locked: its worker lives and will speak. In use and free to lock: lost, or left. */
static int start_used(struct queue_store *s, struct sseg *seg, const struct queue_segment *probe)
{
	int err = store_open_segment(s, seg);
	bool is_free;

	if (err != 0)
		return err;
	is_free = s->root.io->lock(s->root.io, probe->fd, false) == 0;
	seg->state = is_free ? SEG_LOST : SEG_LIVING;
	seg->is_silent = !is_free;
	seg->doubt_to = is_free ? UINT64_MAX : 0;
	return 0;
}

/*
 * Whose generation has ended: its head was not told (Q7). ERR_SYS: nobody knows what stands there;
 * without it mail would lie and bodies of it pass for what nobody needs.
 */
static int start_segment(struct queue_store *s, uint32_t number)
{
	struct sseg *seg = store_segment(s, number);
	struct queue_segment probe;
	int saved, err = queue_segment_open(&s->root, number, &probe);

	if (err == 0 && probe.state == QUEUE_SEGMENT_USED) {
		if (seg->has_ended && memcmp(seg->ended, probe.generation, QUEUE_GENERATION) == 0)
			order_free(s, number, probe.generation);
		else
			err = start_used(s, seg, &probe);
	}
	queue_segment_close(&probe);
	if (seg->state == SEG_LOST)
		order_takeover(s, seg);
	if (err == ERR_CORRUPT)
		store_problem(s, true, "journal segment %08X: no good head; left alone", number);
	if (err != ERR_SYS)
		return 0;
	saved = errno;
	store_problem(s, true, "journal segment %08X: cannot be opened: %s", number, err_str(err));
	errno = saved;
	return err;
}

static bool sync_one(const char *name, void *arg)
{
	struct sdir_list *list = arg;
	struct sdir *d;

	if (strlen(name) != 2)
		return true;
	d = mem_alloc(sizeof(*d));
	memcpy(d->dir, name, 3);
	TAILQ_INSERT_TAIL(list, d, entry);
	return true;
}

/* What is unlinked or renamed in memory alone could come back at a power cut (Q10). */
static int sync_directories(struct queue_store *s)
{
	struct sdir_list list = TAILQ_HEAD_INITIALIZER(list);
	struct sdir *d;
	int err = 0;

	for (int place = QUEUE_PLACE_DEFERRED; place < QUEUE_PLACES && err == 0; place++) {
		const char *top = queue_place_name((enum queue_place)place);

		if (s->root.io->list(s->root.io, s->root.fd, top, sync_one, &list) == -1)
			err = ERR_SYS;
		while ((d = TAILQ_FIRST(&list)) != NULL) {
			char path[QUEUE_PATH_MAX];

			snprintf(path, sizeof(path), "%s/%s", top, d->dir);
			if (err == 0)
				err = queue_sync_dir(&s->root, path);
			TAILQ_REMOVE(&list, d, entry);
			mem_free(d);
		}
		if (err == 0)
			err = queue_sync_dir(&s->root, top);
	}
	return err == 0 ? queue_sync_dir(&s->root, "incoming") : err;
}

int queue_store_lock(const struct queue_root *root, int *fd)
{
	const struct queue_io *io = root->io;

	*fd = io->openat(io, root->fd, "log/lock", O_RDWR | O_CREAT, 0660);
	if (*fd == -1)
		return queue_errno();
	if (io->lock(io, *fd, false) == 0)
		return 0;
	queue_close(io, fd);
	return errno == EWOULDBLOCK ? ERR_AGAIN : ERR_SYS;
}

static void set_defaults(struct queue_store *s)
{
	struct queue_store_setup *p = &s->setup;

	if (p->segment_size == 0)
		p->segment_size = QUEUE_SEGMENT_SIZE;
	if (p->journal_limit == 0)
		p->journal_limit = UINT64_C(1) << 30;
	if (p->sync_interval == 0)
		p->sync_interval = INT64_C(1000000);
	if (p->file_delay == 0)
		p->file_delay = INT64_C(30000000);
	if (p->file_delay < 0)
		p->file_delay = 0;
}

void queue_store_set(struct queue_store *s, const struct queue_store_setup *setup)
{
	struct queue_store_private *p;

	s->setup.journal_limit = setup->journal_limit;
	s->setup.sync_interval = setup->sync_interval;
	s->setup.file_delay = setup->file_delay;
	set_defaults(s);
	TAILQ_FOREACH(p, &s->aged, aged)
	{
		if (p->file_at > s->now + s->setup.file_delay)
			p->file_at = s->now + s->setup.file_delay;
	}
}

static struct queue_store *store_new(const struct queue_store_setup *setup, int64_t now)
{
	struct queue_store *s = mem_alloc(sizeof(*s));

	s->setup = *setup;
	s->root = setup->root;
	s->calls = setup->calls;
	s->arg = setup->arg;
	s->now = now;
	s->drop_slot = -1;
	set_defaults(s);
	queue_log_init(&s->log, &s->root, setup->piece_size);
	s->past = dict_new(SIZE_MAX, free_buf);
	s->claims = dict_new(SIZE_MAX, NULL);
	TAILQ_INIT(&s->segs);
	TAILQ_INIT(&s->backlog);
	TAILQ_INIT(&s->aged);
	TAILQ_INIT(&s->orphans);
	TAILQ_INIT(&s->to_unlink);
	TAILQ_INIT(&s->urgent);
	TAILQ_INIT(&s->ready);
	TAILQ_INIT(&s->sent);
	TAILQ_INIT(&s->held);
	TAILQ_INIT(&s->waiters);
	TAILQ_INIT(&s->lost);
	TAILQ_INIT(&s->walk);
	return s;
}

/* Everything at once, in this process: nobody is served yet. */
static int start(struct queue_store *s)
{
	struct queue_keeper *k = queue_keeper_new(&s->root);
	struct found *found = mem_alloc(sizeof(*found));
	int err = store_read_log(s);

	if (err == 0)
		err = store_order_sync(s); /* Q11: the start is durable before anything is sent */
	if (err == 0)
		err = queue_store_run(s, k, s->now);
	if (err == 0 && s->log.durable < s->log.noted)
		err = ERR_SYS;
	if (err == 0 && !s->was_clean)
		err = sync_directories(s);
	found->s = s;
	if (err == 0 &&
		s->root.io->list(s->root.io, s->root.fd, "incoming", find_segment, found) == -1)
		err = ERR_SYS;
	for (size_t i = 0; i < found->n && err == 0; i++)
		err = start_segment(s, found->numbers[i]);
	if (err == 0)
		err = queue_store_run(s, k, s->now);
	mem_free(found);
	queue_keeper_free(&k);
	return err;
}

int queue_store_start(const struct queue_store_setup *setup, int64_t now, struct queue_store **out)
{
	struct queue_store *s;
	int err;

	*out = NULL;
	err = queue_root_make(&setup->root);
	if (err != 0)
		return err;
	s = store_new(setup, now);
	err = start(s);
	if (err != 0) {
		queue_store_free(&s);
		return err;
	}
	*out = s;
	return 0;
}

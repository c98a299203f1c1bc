/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include "qmgr/schedule.h"
#include "t/tap.h"
#include "util/err.h"
#include "util/mem.h"

/*
 * The scheduler against a simulated world with a clock that jumps from event to event: 100,000
 * destinations of which some are dead for hours, slow, or limited in their rate, alone or as a
 * site; senders of newsletters, senders with much mail for a destination of their own, crowds that
 * share a big destination, and notes in between. Nothing may be lost or handed out twice; nobody
 * gets less than half of a fair share; no job goes out over a limit.
 *
 * What is fair is counted here, not taken from the scheduler. Each start of a job in the main
 * transport is worth 1 / (number of those who wait) for each who waits; so it is at a site for its
 * destinations. Slow destinations have theirs of the room, in seconds that their jobs take; one
 * with a rate, and a site, its rate. Who waits is looked at before each of his jobs, and when he
 * waits no more: of what is his since he began to wait, or since the last SHARES jobs' worth, he
 * has half but for ENDS jobs, however small his share is; one with much has half of all, too. A
 * sender waits while a destination of his could take a job.
 *
 * GP_SIMULATION_RECIPIENTS=10000000 makes it a long one.
 */
enum { DESTS = 100000, BIG = 20, CAPACITY = 400, WINDOW = 20, SITE_SIZE = 400 };
enum { CROWD = 2000, OWN = 2500, NEWS = 20, NOTES = 1000, SENDERS = CROWD + OWN + NEWS + NOTES };
enum { TRANSPORTS = 3, SMTP = 0, RATED = 1, SITED = 2 };
enum { SITE_WINDOW = 3, ACTIVE = 1000000, SHARES = 20, PAIRS = 1 << 20, ENDS = 3 };

static const struct schedule_rate rate = {3, 7 * CLOCK_SEC};
static const struct schedule_rate site_rate = {7, 3 * CLOCK_SEC};

struct rcpt {
	struct schedule_rcpt link;
	uint32_t dest;
	bool handed, over;
};

struct mail {
	struct schedule_message *message;
	struct rcpt *rcpts;
	uint32_t count, left, sender;
	int64_t arrival;
	bool deferred, is_note;
};

/* Jobs that started against a bucket, in its own units. */
struct check {
	int64_t level, at;
};

/* What is somebody's, and what he had of it: of the present window, and of all. */
struct fair {
	double share, got, all_share, all_got;
	double mark; /* of the clock of his shares */
	bool is_open;
};

enum kind { PLAIN, SLOW, LIMITED, OF_SITE, CROWDED, OWNER, NEWSLETTER, NOTE, WHOLE_SITE, KINDS };

/* All of a kind: the least part of what is his that somebody had. */
struct verdict {
	uint64_t looks;
	double least;
};

struct dest {
	uint32_t waiting, jobs, window;
	LIST_HEAD(, pair) pairs; /* that wait */
	struct fair fair;
	struct check bucket;
	bool was_dead;
};

struct sender {
	uint32_t waiting; /* at plain destinations */
	uint32_t open;    /* of those, such as could take a job: newsletters, crowds: 1 or 0 */
	struct fair fair; /* of all jobs, or of those of its big destination */
};

/* A sender at a plain destination, of those who have mail for few. */
struct pair {
	uint64_t key; /* 0: no pair */
	uint32_t sender, waiting;
	LIST_ENTRY(pair) link;
};

struct site {
	uint32_t jobs, open;
	double time;
	struct fair fair;
	struct check bucket;
};

struct out {
	int64_t end;
	struct schedule_job *job;
};

static struct world {
	struct schedule *s;
	struct schedule_transport *transports[TRANSPORTS];
	struct dest dests[DESTS];
	struct sender senders[SENDERS];
	struct site sites[DESTS / SITE_SIZE];
	struct mail *mails;
	struct pair *pairs; /* a hash table, PAIRS of them */
	struct out *heap;
	size_t heap_len, heap_cap;
	struct schedule_job *ahead[SCHEDULE_AHEAD_RCPTS];
	unsigned ahead_len;
	int64_t now;
	uint64_t seed, jobs, suspended, decisions, retries, prepared;
	uint64_t wrong_mail, twice, over_window, over_rate, over_site, over_capacity, not_gentle;
	uint64_t notes, note_wait, late_notes;
	double dest_time, sender_time, big_time[BIG], slot_time;
	uint32_t open_dests, open_senders, open_crowd[BIG], busy[TRANSPORTS], smtp_waiting;
	struct verdict verdicts[KINDS];
	uint32_t mail_count, ended;
} w;

static uint64_t draw(uint64_t n)
{
	w.seed ^= w.seed << 13;
	w.seed ^= w.seed >> 7;
	w.seed ^= w.seed << 17;
	return w.seed % n;
}

/* ---- The world. ---- */

static int transport_of(uint32_t dest)
{
	return dest < BIG || dest % 40 >= 2 ? SMTP : dest % 40 == 0 ? RATED : SITED;
}

static bool is_slow(uint32_t dest)
{
	return dest >= BIG && dest % 1000 == 48;
}

static bool is_dying(uint32_t dest)
{
	return dest >= BIG && dest % 1000 == 49;
}

static bool is_plain(uint32_t dest)
{
	return transport_of(dest) == SMTP && !is_slow(dest) && !is_dying(dest);
}

static bool is_dead(uint32_t dest)
{
	return is_dying(dest) && w.now < 7200 * CLOCK_SEC;
}

static int64_t duration(uint32_t dest)
{
	if (is_dead(dest))
		return 30 * CLOCK_SEC;
	return (int64_t)draw(100000) + (is_slow(dest) ? 10 * CLOCK_SEC : 20000);
}

/* ---- Shares. ---- */

static enum kind kind_of(uint32_t dest)
{
	int t = transport_of(dest);

	return t == RATED ? LIMITED : t == SITED ? OF_SITE : is_plain(dest) ? PLAIN : SLOW;
}

static double clock_of(uint32_t dest)
{
	switch (kind_of(dest)) {
	case LIMITED: return (double)w.now * rate.count / (double)rate.per;
	case OF_SITE: return w.sites[dest / SITE_SIZE].time;
	case SLOW: return w.slot_time;
	default: return w.dest_time;
	}
}

/* job: what one of his is worth. */
static void look(struct fair *f, enum kind kind, double job, double now)
{
	struct verdict *v = &w.verdicts[kind];

	if (f->is_open) {
		f->share += now - f->mark;
		f->all_share += now - f->mark;
	}
	f->mark = now;
	if (f->share < 2 * ENDS * job)
		return;
	if (v->looks++ == 0 || (f->got + ENDS * job) / f->share < v->least)
		v->least = (f->got + ENDS * job) / f->share;
	if (f->share >= SHARES * job)
		f->share = f->got = 0;
}

/* no_more: it has no mail; what comes later begins anew. */
static void open_close(
	struct fair *f, enum kind kind, double job, double now, bool is_open, bool no_more)
{
	look(f, kind, job, now);
	f->is_open = is_open;
	if (no_more)
		f->share = f->got = 0;
}

static void give(struct fair *f, enum kind kind, double job, double now, double worth)
{
	look(f, kind, job, now);
	f->got += worth;
	f->all_got += worth;
}

static double job_of(uint32_t dest)
{
	return kind_of(dest) == SLOW ? 10.1 : 1;
}

static enum kind sender_kind(uint32_t sender)
{
	if (sender < CROWD)
		return CROWDED;
	return sender < CROWD + OWN ? OWNER : sender < CROWD + OWN + NEWS ? NEWSLETTER : NOTE;
}

/* Its turn can come where its mail is, and nowhere else. */
static bool has_few(uint32_t sender)
{
	return sender_kind(sender) == OWNER || sender_kind(sender) == NOTE;
}

static struct pair *pair_of(uint32_t sender, uint32_t dest)
{
	uint64_t key = ((uint64_t)sender << 32 | dest) + 1;
	uint64_t at = key * UINT64_C(0x9e3779b97f4a7c15) >> 40;

	for (;; at++) {
		struct pair *p = &w.pairs[at % PAIRS];

		if (p->key == 0) {
			p->key = key;
			p->sender = sender;
		}
		if (p->key == key)
			return p;
	}
}

static double sender_clock(uint32_t sender)
{
	return sender < CROWD ? w.big_time[sender % BIG] : w.sender_time;
}

static void sender_open(uint32_t sender, int change)
{
	struct sender *p = &w.senders[sender];
	bool was = p->open > 0;

	p->open += (uint32_t)change;
	if (was == (p->open > 0))
		return;
	w.open_senders += was ? -1u : 1u;
	if (sender < CROWD)
		w.open_crowd[sender % BIG] += was ? -1u : 1u;
	open_close(&p->fair, sender_kind(sender), 1, sender_clock(sender), !was, p->waiting == 0);
}

static void pair_wait(uint32_t sender, uint32_t dest, int n)
{
	struct dest *d = &w.dests[dest];
	struct pair *p = pair_of(sender, dest);
	bool was = p->waiting > 0;

	p->waiting += (uint32_t)n;
	if (was == (p->waiting > 0))
		return;
	if (was)
		LIST_REMOVE(p, link);
	else
		LIST_INSERT_HEAD(&d->pairs, p, link);
	if (d->fair.is_open)
		sender_open(sender, was ? -1 : 1);
}

static void sender_wait(uint32_t sender, uint32_t dest, int n)
{
	struct sender *p = &w.senders[sender];
	bool was = p->waiting > 0;

	p->waiting += (uint32_t)n;
	if (has_few(sender))
		pair_wait(sender, dest, n);
	else if (was != (p->waiting > 0))
		sender_open(sender, was ? -1 : 1);
}

static double site_clock(void)
{
	return (double)w.now * site_rate.count / (double)site_rate.per;
}

static void site_update(struct site *site, int change)
{
	bool was = site->open > 0;

	site->open += (uint32_t)change;
	if (was != (site->open > 0))
		open_close(&site->fair, WHOLE_SITE, 1, site_clock(), !was, was);
}

static void dest_update(struct dest *d)
{
	uint32_t dest = (uint32_t)(d - w.dests);
	enum kind kind = kind_of(dest);
	bool is_free = d->jobs < d->window || kind == LIMITED || kind == OF_SITE;
	bool is_open = d->waiting > 0 && is_free && !is_dying(dest);

	if (is_open == d->fair.is_open && d->waiting > 0)
		return;
	if (is_open != d->fair.is_open && kind == PLAIN) {
		struct pair *p;

		w.open_dests += is_open ? 1u : -1u;
		LIST_FOREACH(p, &d->pairs, link)
		sender_open(p->sender, is_open ? 1 : -1);
	}
	if (is_open != d->fair.is_open && kind == OF_SITE)
		site_update(&w.sites[dest / SITE_SIZE], is_open ? 1 : -1);
	open_close(&d->fair, kind, job_of(dest), clock_of(dest), is_open, d->waiting == 0);
}

static void dest_wait(uint32_t dest, int n)
{
	struct dest *d = &w.dests[dest];
	bool was = d->waiting > 0;

	d->waiting += (uint32_t)n;
	if (transport_of(dest) == SMTP && was != (d->waiting > 0))
		w.smtp_waiting += was ? -1u : 1u;
	dest_update(d);
}

/* A job has started: it is one of somebody's. */
static void credit(uint32_t dest, uint32_t sender, double seconds)
{
	enum kind kind = kind_of(dest);
	struct site *site = &w.sites[dest / SITE_SIZE];

	if (!is_dying(dest))
		give(&w.dests[dest].fair, kind, job_of(dest), clock_of(dest),
			kind == SLOW ? seconds : 1);
	if (kind == PLAIN)
		give(&w.senders[sender].fair, sender_kind(sender), 1, sender_clock(sender), 1);
	if (kind == OF_SITE) {
		give(&site->fair, WHOLE_SITE, 1, site_clock(), 1);
		site->time += site->open > 0 ? 1.0 / site->open : 0;
	}
	if (transport_of(dest) != SMTP)
		return;
	if (w.open_dests > 0)
		w.dest_time += 1.0 / w.open_dests;
	if (w.open_senders > 0)
		w.sender_time += 1.0 / w.open_senders;
	if (dest < BIG && w.open_crowd[dest] > 0)
		w.big_time[dest] += 1.0 / w.open_crowd[dest];
}

/* Of the room of the main transport. */
static void advance(int64_t to)
{
	if (w.smtp_waiting > 0)
		w.slot_time += (double)(to - w.now) / CLOCK_SEC * CAPACITY / w.smtp_waiting;
	w.now = to;
}

/* ---- Limits. ---- */

/* count in per, and no more than count at once: each job weighs per, count drain in a microsecond.
 */
static bool is_over(struct check *c, const struct schedule_rate *r)
{
	int64_t drained = (w.now - c->at) * r->count;

	c->level = c->level > drained ? c->level - drained : 0;
	c->at = w.now;
	c->level += r->per;
	return c->level > r->per * r->count;
}

static void check_start(uint32_t dest, struct schedule_job *job)
{
	struct dest *d = &w.dests[dest];
	struct site *site = &w.sites[dest / SITE_SIZE];
	int t = transport_of(dest);

	d->window = schedule_dest_window(job->dest);
	d->jobs++;
	w.over_window += d->jobs > WINDOW;
	w.not_gentle += d->was_dead && d->jobs > 1;
	w.over_capacity += ++w.busy[t] > CAPACITY;
	if (t == RATED)
		w.over_rate += is_over(&d->bucket, &rate);
	if (t == SITED) {
		w.over_site += ++site->jobs > SITE_WINDOW;
		w.over_site += is_over(&site->bucket, &site_rate);
	}
}

static void check_end(uint32_t dest)
{
	w.dests[dest].jobs--;
	w.busy[transport_of(dest)]--;
	if (transport_of(dest) == SITED)
		w.sites[dest / SITE_SIZE].jobs--;
}

/* ---- Mail. ---- */

static void add_rcpt(struct mail *mail, struct rcpt *r)
{
	struct schedule_transport *t = w.transports[transport_of(r->dest)];
	char key[24], site[24];

	snprintf(key, sizeof(key), "%u.test", r->dest);
	if (schedule_dest_wants_site(w.s, w.now, t, slice_str(key))) {
		snprintf(site, sizeof(site), "mx%u", r->dest / SITE_SIZE);
		schedule_dest_set_site(
			w.s, w.now, t, slice_str(key), slice_str(site), SCHEDULE_SITE_LIFE);
	}
	schedule_rcpt_add(w.s, mail->message, t, slice_str(key), &r->link);
	if (w.dests[r->dest].window == 0)
		w.dests[r->dest].window = 5;
	dest_wait(r->dest, 1);
	if (is_plain(r->dest))
		sender_wait(mail->sender, r->dest, 1);
}

static void load(struct mail *mail, bool loaded)
{
	mail->deferred = false;
	mail->message = schedule_message_add(w.s, mail, mail->sender, loaded);
	for (uint32_t i = 0; i < mail->count; i++) {
		mail->rcpts[i].handed = false;
		if (!mail->rcpts[i].over)
			add_rcpt(mail, &mail->rcpts[i]);
	}
}

static void defer(struct mail *mail)
{
	bool expired;
	struct schedule_deferred row = {
		.id = (uint64_t)(mail - w.mails), .arrival = (uint32_t)(mail->arrival / CLOCK_SEC)};
	int64_t due = schedule_backoff(w.s, w.now, mail->arrival, NULL, 1, false, &expired);

	row.due = (uint32_t)(due / CLOCK_SEC);
	mail->deferred = true;
	w.retries++;
	schedule_defer(w.s, &row);
}

static void mail_end(struct mail *mail)
{
	if (!schedule_message_is_idle(mail->message))
		return;
	schedule_message_free(w.s, &mail->message);
	if (mail->left > 0) {
		defer(mail);
		return;
	}
	w.wrong_mail += mail->rcpts == NULL;
	mem_free(mail->rcpts);
	mail->rcpts = NULL;
	w.ended++;
}

static uint32_t dest_of(const struct schedule_job *job)
{
	return ((const struct rcpt *)(const void *)STAILQ_FIRST(&job->rcpts))->dest;
}

static void take(struct schedule_job *job)
{
	uint32_t dest = dest_of(job);
	struct schedule_rcpt *r;

	STAILQ_FOREACH(r, &job->rcpts, next)
	{
		struct rcpt *rcpt = (struct rcpt *)(void *)r;

		w.twice += rcpt->handed || rcpt->over || rcpt->dest != dest;
		rcpt->handed = true;
	}
}

/* What it has is in no place of the scheduler any more. */
static void taken(const struct schedule_job *job)
{
	const struct mail *mail = schedule_message_owner(job->message);
	uint32_t dest = dest_of(job);

	dest_wait(dest, -(int)job->count);
	if (is_plain(dest))
		sender_wait(mail->sender, dest, -(int)job->count);
}

static void served(const struct schedule_job *job, int64_t takes)
{
	const struct mail *mail = schedule_message_owner(job->message);
	uint32_t dest = dest_of(job);
	int64_t waited = w.now - mail->arrival;

	w.jobs++;
	credit(dest, mail->sender, (double)takes / CLOCK_SEC);
	if (!mail->is_note)
		return;
	w.notes++;
	w.note_wait += (uint64_t)waited;
	w.late_notes += waited > 5 * CLOCK_SEC;
}

static void finish(struct schedule_job *job)
{
	struct mail *mail = schedule_message_owner(job->message);
	uint32_t dest = dest_of(job);
	struct dest *d = &w.dests[dest];
	bool failed = job->suspended || is_dead(dest);
	const struct schedule_dest *scheduled = job->dest; /* there while it is not plain */
	struct schedule_rcpt *r;

	while ((r = STAILQ_FIRST(&job->rcpts)) != NULL) {
		STAILQ_REMOVE_HEAD(&job->rcpts, next);
		if (failed)
			continue;
		((struct rcpt *)(void *)r)->over = true;
		mail->left--;
	}
	if (!job->suspended) {
		check_end(dest);
		d->was_dead = failed && d->was_dead;
	}
	schedule_job_done(w.s, &job, w.now, failed ? SCHEDULE_FAILED : SCHEDULE_REACHED,
		SLICE_LIT("timed out"));
	d->was_dead |= failed && schedule_dest_window(scheduled) == 0;
	dest_update(d);
	mail_end(mail);
}

/* ---- The run. ---- */

static void start(struct schedule_job *job)
{
	uint32_t dest = dest_of(job);
	size_t i = w.heap_len++;
	int64_t takes = duration(dest), end = w.now + takes;

	served(job, takes);
	taken(job);
	check_start(dest, job);
	dest_update(&w.dests[dest]);
	if (w.heap_len > w.heap_cap) {
		w.heap_cap = w.heap_cap * 2 + 16;
		w.heap = mem_resize(w.heap, w.heap_cap, sizeof(*w.heap));
	}
	for (; i > 0 && w.heap[(i - 1) / 2].end > end; i = (i - 1) / 2)
		w.heap[i] = w.heap[(i - 1) / 2];
	w.heap[i] = (struct out){end, job};
}

static struct schedule_job *heap_pop(void)
{
	struct out top = w.heap[0], last = w.heap[--w.heap_len];
	size_t i = 0;

	while (2 * i + 1 < w.heap_len) {
		size_t c = 2 * i + 1;

		if (c + 1 < w.heap_len && w.heap[c + 1].end < w.heap[c].end)
			c++;
		if (w.heap[c].end >= last.end)
			break;
		w.heap[i] = w.heap[c];
		i = c;
	}
	w.heap[i] = last;
	return top.job;
}

/* What is prepared goes when it may. */
static void start_ahead(void)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < w.ahead_len; i++) {
		struct schedule_job *job = w.ahead[i];
		int err = schedule_job_start(w.s, job, w.now);

		if (err == 0) {
			start(job);
		} else if (err == ERR_STATE) {
			taken(job);
			finish(job);
		} else {
			w.ahead[kept++] = job;
		}
	}
	w.prepared += w.ahead_len - kept;
	w.ahead_len = kept;
}

/* Returns the time of the next event of the scheduler. */
static int64_t decide(void)
{
	struct schedule_decision d;

	for (;;) {
		schedule_next(w.s, w.now, &d);
		w.decisions++;
		if (d.what == SCHEDULE_WAIT)
			return d.until;
		if (d.what == SCHEDULE_LOAD) {
			w.wrong_mail += !w.mails[d.id].deferred;
			load(&w.mails[d.id], true);
			continue;
		}
		take(d.job);
		if (d.job->suspended) {
			w.suspended++;
			taken(d.job);
			finish(d.job);
		} else if (d.job->ahead) {
			w.ahead[w.ahead_len++] = d.job;
		} else {
			start(d.job);
		}
	}
}

static void arrive(uint32_t i)
{
	w.mails[i].arrival = w.now;
	load(&w.mails[i], false);
}

/* All but the notes is there from the beginning, as far as there is room; they come one by one. */
static void run(uint32_t first_note)
{
	const int64_t pause = 20 * CLOCK_MSEC;
	int64_t next_note = 0;
	uint32_t note = first_note, bulk = 0;

	while (w.ended < w.mail_count) {
		int64_t until;

		while (bulk < first_note && schedule_room(w.s, w.now, true) > 0)
			arrive(bulk++);
		until = decide();
		if (w.heap_len > 0 && w.heap[0].end < until)
			until = w.heap[0].end;
		if (note < w.mail_count && next_note < until)
			until = next_note;
		if (until == CLOCK_NEVER)
			break;
		if (until > w.now)
			advance(until);
		while (w.heap_len > 0 && w.heap[0].end <= w.now)
			finish(heap_pop());
		start_ahead();
		for (; note < w.mail_count && next_note <= w.now; next_note += pause)
			arrive(note++);
	}
}

static void compose(struct mail *mail, uint32_t sender, uint32_t count, bool is_note)
{
	mail->sender = sender;
	mail->count = mail->left = count;
	mail->is_note = is_note;
	mail->rcpts = mem_array(count, sizeof(*mail->rcpts));
	for (uint32_t i = 0; i < count; i++) {
		struct rcpt *r = &mail->rcpts[i];

		if (sender < CROWD)
			r->dest = sender % BIG;
		else if (sender < CROWD + OWN)
			r->dest = 100 + (sender - CROWD) * 35 + (uint32_t)draw(2) * 10;
		else if (is_note)
			r->dest = 100 + (uint32_t)draw(OWN) * 35;
		else
			r->dest = BIG + (uint32_t)draw(DESTS - BIG);
		while (r->dest >= BIG && (sender < CROWD + OWN || is_note) && !is_plain(r->dest))
			r->dest++;
	}
}

/* In tenths: crowd 2, own 2.5, newsletters 5, notes 0.5; shuffled but for the notes. */
static uint32_t compose_all(uint32_t rcpts)
{
	uint32_t crowd = rcpts / 5, own = rcpts / 4, news = rcpts / 2 / 1000, notes = rcpts / 20;
	uint32_t n = 0, bulk = crowd + own + news;

	w.mail_count = bulk + notes;
	w.mails = mem_array(w.mail_count, sizeof(*w.mails));
	for (uint32_t i = 0; i < crowd; i++)
		compose(&w.mails[n++], i % CROWD, 1, false);
	for (uint32_t i = 0; i < own; i++)
		compose(&w.mails[n++], CROWD + i % OWN, 1, false);
	for (uint32_t i = 0; i < news; i++)
		compose(&w.mails[n++], CROWD + OWN + i % NEWS, 1000, false);
	for (uint32_t i = 0; i < notes; i++)
		compose(&w.mails[n++], CROWD + OWN + NEWS + i % NOTES, 1, true);
	for (uint32_t i = bulk - 1; i > 0; i--) {
		uint32_t j = (uint32_t)draw(i + 1);
		struct mail swap = w.mails[i];

		w.mails[i] = w.mails[j];
		w.mails[j] = swap;
	}
	return bulk;
}

static void set_up(void)
{
	struct schedule_settings settings = {.message_limit = ACTIVE,
		.recipient_limit = ACTIVE,
		.minimal_backoff = 300 * CLOCK_SEC,
		.maximal_backoff = 4000 * CLOCK_SEC,
		.lifetime = 432000 * CLOCK_SEC,
		.bounce_lifetime = 432000 * CLOCK_SEC,
		.memory_limit = DESTS};
	struct schedule_limits limits = {.recipients = 50,
		.initial_concurrency = 5,
		.concurrency = WINDOW,
		.failed_cohorts = 1,
		.positive = {1, SCHEDULE_CONSTANT},
		.negative = {1, SCHEDULE_CONSTANT}};
	static const char *const names[TRANSPORTS] = {"smtp", "rated", "sited"};

	w.s = schedule_new(&settings);
	for (int i = 0; i < TRANSPORTS; i++) {
		struct schedule_limits l = limits;

		l.rate = i == RATED ? rate : (struct schedule_rate){0};
		l.site_rate = i == SITED ? site_rate : (struct schedule_rate){0};
		l.site_concurrency = i == SITED ? SITE_WINDOW : 0;
		w.transports[i] = schedule_transport_set(w.s, slice_str(names[i]), &l);
		schedule_transport_capacity(w.s, w.transports[i], CAPACITY);
	}
}

/* Of those whose share of all was twenty jobs and more, within three jobs. */
static void add_least(const struct fair *f, double job, double *least, uint32_t *n)
{
	if (f->all_share < 20 * job)
		return;
	++*n;
	if ((f->all_got + 3 * job) / f->all_share < *least)
		*least = (f->all_got + 3 * job) / f->all_share;
}

static void fair_dests(void)
{
	double least = 9;
	uint32_t n = 0;

	for (uint32_t i = 0; i < DESTS; i++)
		add_least(&w.dests[i].fair, job_of(i), &least, &n);
	ok(n > 0 && least >= 0.5, "destinations: none of %u got less than %.2f of its share", n,
		least);
}

static void fair_senders(const char *who, uint32_t from, uint32_t to)
{
	double least = 9;
	uint32_t n = 0;

	for (uint32_t i = from; i < to; i++)
		add_least(&w.senders[i].fair, 1, &least, &n);
	ok(n > 0 && least >= 0.5, "%s: none of %u got less than %.2f of its share", who, n, least);
}

static void fair_always(void)
{
	static const struct {
		const char *who;
		double least;
	} rows[KINDS] = {
		[PLAIN] = {"destinations", 0.5},
		[SLOW] = {"slow destinations", 0.5},
		[LIMITED] = {"destinations with a rate", 0.99},
		[OF_SITE] = {"destinations of a site", 0.5},
		[CROWDED] = {"crowds, each at its destination", 0.5},
		[OWNER] = {"senders with destinations of their own", 0.5},
		[NEWSLETTER] = {"newsletters", 0.5},
		[NOTE] = {"senders of notes", 0.5},
		[WHOLE_SITE] = {"sites", 0.99},
	};

	for (int i = 0; i < KINDS; i++) {
		const struct verdict *v = &w.verdicts[i];

		ok(v->looks > 0 && v->least >= rows[i].least,
			"%s: at none of %llu looks one had less than %.2f of what was its",
			rows[i].who, (unsigned long long)v->looks, v->least);
	}
}

static void simulate(uint32_t rcpts)
{
	struct schedule_counts c;
	uint32_t first_note;

	w.seed = 20261121;
	w.pairs = mem_array(PAIRS, sizeof(*w.pairs));
	set_up();
	first_note = compose_all(rcpts);
	run(first_note);
	schedule_count(w.s, &c);
	diag("%u recipients: %u messages, %llu jobs, %llu given back, %llu retries, %llu decisions",
		rcpts, w.mail_count, (unsigned long long)w.jobs, (unsigned long long)w.suspended,
		(unsigned long long)w.retries, (unsigned long long)w.decisions);
	diag("%lld s of virtual time, %llu prepared", (long long)(w.now / CLOCK_SEC),
		(unsigned long long)w.prepared);
	is_int(w.ended, w.mail_count, "every message ends");
	is_int(w.wrong_mail, 0, "none twice, and none is asked for that was not deferred");
	is_int(w.twice, 0,
		"no recipient is handed out twice, or with those of another destination");
	is_int(c.messages + c.recipients + c.jobs + c.deferred + c.loading, 0, "nothing is left");
	is_int(w.over_window, 0, "no destination has more jobs than its limit");
	is_int(w.over_capacity, 0, "no transport more than its capacity");
	is_int(w.over_rate, 0, "no job is over a rate");
	is_int(w.over_site, 0, "nor over a site's rate or concurrency");
	is_int(w.not_gentle, 0,
		"a dead destination gets one delivery at a time until one succeeds");
	fair_dests();
	fair_senders("crowds, each at its destination", 0, CROWD);
	fair_senders("senders with destinations of their own", CROWD, CROWD + OWN);
	fair_senders("newsletters", CROWD + OWN, CROWD + OWN + NEWS);
	fair_always();
	ok(w.notes > 0 && w.note_wait / w.notes < CLOCK_SEC, "a note waits %llu ms on average",
		(unsigned long long)(w.note_wait / w.notes / 1000));
	ok(w.late_notes * 50 < w.notes, "%llu wait longer than five seconds",
		(unsigned long long)w.late_notes);
	schedule_free(&w.s);
	mem_free(w.mails);
	mem_free(w.pairs);
	mem_free(w.heap);
}

int main(void)
{
	const char *size = getenv("GP_SIMULATION_RECIPIENTS");
	uint64_t rcpts = 1000000;

	if (size != NULL && slice_u64(slice_str(size), 1000000, 100000000, &rcpts) < 0)
		bail_out("GP_SIMULATION_RECIPIENTS=%s: expected a number from 1000000", size);
	simulate((uint32_t)rcpts);
	return done_testing();
}

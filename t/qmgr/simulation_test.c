/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <time.h>

#include "qmgr/schedule.h"
#include "t/tap.h"
#include "util/hash.h"
#include "util/mem.h"

/*
 * The scheduler against a simulated world: destinations that answer slowly, refuse or are dead,
 * newsletters, senders of notes, with a clock that jumps from event to event. Nothing may be
 * lost, handed out twice or starve. GP_SIMULATION_RECIPIENTS=10000000 makes it a long one.
 */
#define MAX_RCPTS 1000

struct rcpt {
	struct schedule_rcpt link;
	uint8_t handed, over;
};

struct mail {
	struct schedule_message *message;
	struct rcpt *rcpts;
	uint32_t count, left;
	uint32_t dest, spread; /* recipient i goes to (dest + i % spread) */
	int64_t arrival;
	uint64_t sender;
	bool deferred;
};

struct out {
	int64_t end;
	struct schedule_job *job;
};

struct world {
	struct schedule *s;
	struct schedule_transport *smtp;
	struct mail *mails;
	struct out *heap;
	size_t heap_len, heap_cap;
	int64_t now;
	uint64_t seed;
	uint32_t mail_count, dest_count, next_mail, ended;
	uint64_t decisions, jobs, lost, twice, note_wait, notes, suspended;
	int64_t worst_note;
};

static uint64_t draw(struct world *w, uint64_t n)
{
	w->seed ^= w->seed << 13;
	w->seed ^= w->seed >> 7;
	w->seed ^= w->seed << 17;
	return w->seed % n;
}

static void heap_push(struct world *w, int64_t end, struct schedule_job *job)
{
	size_t i = w->heap_len++;

	if (w->heap_len > w->heap_cap) {
		w->heap_cap = w->heap_cap * 2 + 16;
		w->heap = mem_resize(w->heap, w->heap_cap, sizeof(*w->heap));
	}
	for (; i > 0 && w->heap[(i - 1) / 2].end > end; i = (i - 1) / 2)
		w->heap[i] = w->heap[(i - 1) / 2];
	w->heap[i] = (struct out){end, job};
}

static struct out heap_pop(struct world *w)
{
	struct out top = w->heap[0], last = w->heap[--w->heap_len];
	size_t i = 0;

	while (2 * i + 1 < w->heap_len) {
		size_t c = 2 * i + 1;

		if (c + 1 < w->heap_len && w->heap[c + 1].end < w->heap[c].end)
			c++;
		if (w->heap[c].end >= last.end)
			break;
		w->heap[i] = w->heap[c];
		i = c;
	}
	w->heap[i] = last;
	return top;
}

/* Every 50th destination is dead for the first hour, every 20th slow. */
static bool is_dead(const struct world *w, uint32_t dest)
{
	return dest % 50 == 49 && w->now < 3600 * CLOCK_SEC;
}

static int64_t duration(struct world *w, uint32_t dest)
{
	return (int64_t)draw(w, 100000) + (dest % 20 == 19 ? 2 * CLOCK_SEC : 20000);
}

static void load(struct world *w, struct mail *mail, bool loaded)
{
	mail->deferred = false;
	mail->message = schedule_message_add(w->s, mail, mail->sender, loaded);
	for (uint32_t i = 0; i < mail->count; i++) {
		char key[24];

		if (mail->rcpts[i].over)
			continue;
		mail->rcpts[i].handed = 0;
		snprintf(key, sizeof(key), "%u", (mail->dest + i % mail->spread) % w->dest_count);
		schedule_rcpt_add(
			w->s, mail->message, w->smtp, slice_str(key), &mail->rcpts[i].link);
	}
}

static void arrive(struct world *w, struct mail *mail, uint32_t number, uint32_t *budget)
{
	bool is_newsletter = number % 500 == 3;

	mail->count = is_newsletter ? MAX_RCPTS : 1;
	if (mail->count > *budget)
		mail->count = *budget;
	*budget -= mail->count;
	mail->left = mail->count;
	mail->rcpts = mem_array(mail->count, sizeof(*mail->rcpts));
	mail->dest = (uint32_t)draw(w, w->dest_count);
	mail->spread = is_newsletter ? 1 + (uint32_t)draw(w, MAX_RCPTS) : 1;
	mail->sender = is_newsletter ? 1 : 2 + draw(w, 100);
	mail->arrival = w->now;
	load(w, mail, false);
}

static void mail_end(struct world *w, struct mail *mail)
{
	if (!schedule_message_is_idle(mail->message))
		return;
	schedule_message_free(w->s, &mail->message);
	if (mail->left > 0) {
		bool expired;
		struct schedule_deferred row = {
			.id = (uint64_t)(mail - w->mails),
			.arrival = (uint32_t)(mail->arrival / CLOCK_SEC),
		};

		row.due = (uint32_t)(schedule_backoff(w->s, w->now, mail->arrival, NULL, 1, false,
					     &expired) /
				     CLOCK_SEC);
		mail->deferred = true;
		schedule_defer(w->s, &row);
		return;
	}
	mem_free(mail->rcpts);
	mail->rcpts = NULL;
	w->ended++;
}

static void take(struct world *w, struct schedule_job *job)
{
	const struct mail *mail = schedule_message_owner(job->message);
	struct schedule_rcpt *r;

	STAILQ_FOREACH(r, &job->rcpts, next)
	{
		struct rcpt *rcpt = (struct rcpt *)(void *)r;

		w->twice += rcpt->handed || rcpt->over;
		rcpt->handed = 1;
	}
	w->jobs++;
	if (job->suspended)
		w->suspended++;
	/* A note for a good destination that has been waiting at the hand-out. */
	if (mail->count == 1 && !job->suspended && mail->dest % 50 != 49 && mail->dest % 20 != 19) {
		int64_t waited = w->now - mail->arrival;

		w->notes++;
		w->note_wait += (uint64_t)waited;
		if (waited > w->worst_note)
			w->worst_note = waited;
	}
}

static void finish(struct world *w, struct schedule_job *job)
{
	struct mail *mail = schedule_message_owner(job->message);
	struct slice key = schedule_dest_key(job->dest);
	uint64_t dest = 0;
	bool failed;
	struct schedule_rcpt *r;

	slice_u64(key, 0, UINT32_MAX, &dest);
	failed = job->suspended || is_dead(w, (uint32_t)dest);
	while ((r = STAILQ_FIRST(&job->rcpts)) != NULL) {
		struct rcpt *rcpt = (struct rcpt *)(void *)r;

		STAILQ_REMOVE_HEAD(&job->rcpts, next);
		if (failed)
			continue;
		rcpt->over = 1;
		mail->left--;
	}
	schedule_job_done(w->s, &job, w->now, failed ? SCHEDULE_FAILED : SCHEDULE_REACHED,
		SLICE_LIT("refused"));
	mail_end(w, mail);
}

/* Returns the time of the next event of the scheduler. */
static int64_t decide(struct world *w)
{
	struct schedule_decision d;

	for (;;) {
		schedule_next(w->s, w->now, &d);
		w->decisions++;
		if (d.what == SCHEDULE_WAIT)
			return d.until;
		if (d.what == SCHEDULE_LOAD) {
			w->lost += !w->mails[d.id].deferred;
			load(w, &w->mails[d.id], true);
		} else if (d.job->suspended) {
			take(w, d.job);
			finish(w, d.job);
		} else {
			uint64_t dest = 0;

			take(w, d.job);
			slice_u64(schedule_dest_key(d.job->dest), 0, UINT32_MAX, &dest);
			heap_push(w, w->now + duration(w, (uint32_t)dest), d.job);
		}
	}
}

static void run(struct world *w, uint32_t rcpts)
{
	int64_t next_arrival = w->now;

	while (w->ended < w->next_mail || rcpts > 0) {
		int64_t until = decide(w);

		if (w->heap_len > 0 && w->heap[0].end < until)
			until = w->heap[0].end;
		if (rcpts > 0 && schedule_room(w->s, w->now, true) > 0 && next_arrival < until)
			until = next_arrival;
		if (until == CLOCK_NEVER)
			break;
		if (until > w->now)
			w->now = until;
		while (w->heap_len > 0 && w->heap[0].end <= w->now)
			finish(w, heap_pop(w).job);
		while (rcpts > 0 && next_arrival <= w->now && schedule_room(w->s, w->now, true)) {
			arrive(w, &w->mails[w->next_mail], w->next_mail, &rcpts);
			w->next_mail++;
			next_arrival = w->now + 3000;
		}
	}
}

static void simulate(uint32_t rcpts, uint32_t dests)
{
	static const struct schedule_settings settings = {20000, 20000, 300 * CLOCK_SEC,
		4000 * CLOCK_SEC, 432000 * CLOCK_SEC, 432000 * CLOCK_SEC, 0};
	static const struct schedule_limits limits = {
		.recipients = 50,
		.initial_concurrency = 5,
		.concurrency = 20,
		.failed_cohorts = 1,
		.positive = {1, SCHEDULE_CONSTANT},
		.negative = {1, SCHEDULE_CONSTANT},
	};
	struct world w = {.seed = 20261121, .dest_count = dests, .mail_count = rcpts};
	struct schedule_counts c;

	w.mails = mem_array(w.mail_count, sizeof(*w.mails));
	w.s = schedule_new(&settings);
	w.smtp = schedule_transport_set(w.s, SLICE_LIT("smtp"), &limits);
	schedule_transport_capacity(w.s, w.smtp, 200);
	run(&w, rcpts);
	schedule_count(w.s, &c);
	diag("%u recipients: %u messages, %llu jobs, %llu given back, %llu decisions", rcpts,
		w.next_mail, (unsigned long long)w.jobs, (unsigned long long)w.suspended,
		(unsigned long long)w.decisions);
	is_int(w.ended, w.next_mail, "every message ends");
	is_int(w.lost, 0, "none is asked for that was not deferred");
	is_int(w.twice, 0, "no recipient is handed out twice at a time");
	is_int(c.messages + c.recipients + c.jobs + c.deferred + c.loading, 0, "nothing is left");
	ok(w.notes > 0 && w.note_wait / w.notes < 2 * CLOCK_SEC, "a note waits %llu ms on average",
		(unsigned long long)(w.note_wait / w.notes / 1000));
	ok(w.worst_note < 20 * CLOCK_SEC, "the unluckiest %lld ms",
		(long long)(w.worst_note / CLOCK_MSEC));
	schedule_free(&w.s);
	mem_free(w.mails);
	mem_free(w.heap);
}

/*
 * Decisions per second of processor time with n recipients active. Not a speed test: the bound is
 * wide, it only tells a logarithm from a scan.
 */
static double cost(uint32_t n)
{
	struct schedule_settings settings = {
		n + 1, n + 1, CLOCK_SEC, CLOCK_SEC, CLOCK_SEC, CLOCK_SEC, 0};
	struct schedule_limits limits = {.recipients = 50, .initial_concurrency = 5};
	struct schedule *s = schedule_new(&settings);
	struct schedule_transport *t = schedule_transport_set(s, SLICE_LIT("smtp"), &limits);
	struct schedule_rcpt *rcpts = mem_array(n, sizeof(*rcpts));
	struct schedule_message **m = mem_array(n, sizeof(struct schedule_message *));
	struct schedule_decision d;
	clock_t start;
	double each;

	for (uint32_t i = 0; i < n; i++) {
		char key[24];

		snprintf(key, sizeof(key), "%u", i % (n / 10));
		m[i] = schedule_message_add(s, NULL, i % 97, false);
		schedule_rcpt_add(s, m[i], t, slice_str(key), &rcpts[i]);
	}
	schedule_transport_capacity(s, t, 1);
	start = clock();
	for (uint32_t i = 0; i < 1000; i++) {
		schedule_next(s, 0, &d);
		schedule_job_done(s, &d.job, 0, SCHEDULE_REACHED, SLICE_NONE);
	}
	each = (double)(clock() - start) / CLOCKS_PER_SEC / 1000;
	schedule_transport_capacity(s, t, n);
	for (schedule_next(s, 0, &d); d.what == SCHEDULE_JOB; schedule_next(s, 0, &d))
		schedule_job_done(s, &d.job, 0, SCHEDULE_REACHED, SLICE_NONE);
	for (uint32_t i = 0; i < n; i++)
		schedule_message_free(s, &m[i]);
	schedule_free(&s);
	mem_free(rcpts);
	mem_free(m);
	return each;
}

int main(void)
{
	const char *size = getenv("GP_SIMULATION_RECIPIENTS");
	uint64_t rcpts = 200000;
	double small, big;

	if (size != NULL && slice_u64(slice_str(size), 1, 100000000, &rcpts) < 0)
		bail_out("GP_SIMULATION_RECIPIENTS=%s: expected a number", size);
	simulate((uint32_t)rcpts, 2000);
	simulate((uint32_t)rcpts / 4, 50);
	small = cost(1000);
	big = cost(300000);
	diag("a decision costs %.2f us with 1000 recipients, %.2f us with 300000", small * 1e6,
		big * 1e6);
	ok(big < small * 10 + 5e-6, "the cost of a decision does not grow with the queue");
	return done_testing();
}

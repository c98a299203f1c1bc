/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include "qmgr/schedule.h"
#include "t/qmgr/rig.h"
#include "t/tap.h"
#include "util/err.h"
#include "util/mem.h"

static void test_jobs(void)
{
	struct rig r = rig_new(&limits, 3);
	struct schedule_job *j[3];

	add(&r, "a", "x.test", 120);
	for (int i = 0; i < 3; i++)
		j[i] = job(&r);
	is_int(j[0]->count, 50, "a job takes the recipient limit");
	is_int(j[1]->count, 50, "so does the next");
	is_int(j[2]->count, 20, "the last takes the rest");
	is_int(((struct rcpt *)(void *)STAILQ_FIRST(&j[1]->rcpts))->number, 50,
		"recipients in order");
	add(&r, "b", "y.test", 1);
	ok(job(&r) == NULL, "no job over the capacity");
	is_int(schedule_transport_busy(r.smtp), 3, "three are out");
	done(&r, j[0], SCHEDULE_REACHED);
	j[0] = job(&r);
	is_str(name_of(j[0]), "b", "a free place goes to the next message");
	for (int i = 0; i < 3; i++)
		done(&r, j[i], SCHEDULE_REACHED);
	is_int(wait_until(&r), CLOCK_NEVER, "nothing to do");
	rig_free(&r);
}

static void test_window(void)
{
	struct rig r = rig_new(&limits, 100);
	struct schedule_job *j[64];
	int n;

	for (n = 0; n < 60; n++)
		add(&r, "a", "x.test", 1);
	for (n = 0; (j[n] = job(&r)) != NULL; n++)
		;
	is_int(n, 5, "the first window");
	for (int i = 0; i < 5; i++)
		done(&r, j[i], SCHEDULE_REACHED);
	for (n = 0; (j[n] = job(&r)) != NULL; n++)
		;
	ok(n > 5 && n <= 10, "it grows with success: %d", n);
	for (int i = 0; i < n; i++)
		done(&r, j[i], SCHEDULE_REACHED);
	for (n = 0; (j[n] = job(&r)) != NULL; n++)
		;
	ok(n > 10 && n <= 20, "and on, to the limit: %d", n);
	done(&r, j[0], SCHEDULE_FAILED);
	is_int(schedule_dest_window(j[1]->dest), n < 20 ? n - 2 : 18,
		"the first failure shrinks it by two");
	for (int i = 1; i < n; i++)
		done(&r, j[i], SCHEDULE_NEUTRAL);
	rig_free(&r);
}

static void test_death(void)
{
	struct rig r = rig_new(&limits, 100);
	struct schedule_job *j[8];
	int n;

	for (n = 0; n < 20; n++)
		add(&r, "a", "x.test", 1);
	add(&r, "b", "y.test", 1);
	for (n = 0; (j[n] = job(&r)) != NULL; n++)
		;
	is_int(n, 6, "five for one destination, one for the other");
	for (int i = 0; i < n; i++)
		done(&r, j[i], SCHEDULE_FAILED);
	for (n = 0; (j[0] = job(&r)) != NULL; n++) {
		if (!j[0]->suspended)
			break;
		if (n == 0)
			is_slice(schedule_dest_reason(j[0]->dest), "connection refused",
				"the reason is that of the failure");
		done(&r, j[0], SCHEDULE_NEUTRAL);
	}
	is_int(n, 15, "a dead destination gives back all its mail");
	add(&r, "c", "x.test", 1);
	j[0] = job(&r);
	ok(j[0] != NULL && j[0]->suspended, "and what comes for it");
	done(&r, j[0], SCHEDULE_NEUTRAL);
	is_int(wait_until(&r), NOW + settings.minimal_backoff, "until its retry");
	r.now += settings.minimal_backoff;
	add(&r, "d", "x.test", 1);
	j[0] = job(&r);
	ok(j[0] != NULL && !j[0]->suspended, "then it is tried again");
	done(&r, j[0], SCHEDULE_REACHED);

	for (n = 0; n < 5; n++)
		add(&r, "a", "x.test", 1);
	n = all_jobs(&r, j, 8);
	is_int(n, 2, "a success of the one that was to try it lets two go");
	for (int i = 0; i < n; i++)
		done(&r, j[i], SCHEDULE_FAILED);
	while ((j[0] = job(&r)) != NULL)
		done(&r, j[0], SCHEDULE_NEUTRAL);
	add(&r, "e", "x.test", 1);
	schedule_revive(r.s, r.now, r.smtp, SLICE_LIT("x.test"));
	j[0] = job(&r);
	ok(j[0] != NULL && !j[0]->suspended, "a flush revives it at once");
	done(&r, j[0], SCHEDULE_REACHED);
	rig_free(&r);
}

static void test_suspend(void)
{
	struct rig r = rig_new(&limits, 0);
	struct schedule_job *j;

	add(&r, "a", "x.test", 1);
	ok(job(&r) == NULL, "without workers it waits");
	schedule_transport_suspend(r.s, r.smtp, r.now, r.now + 60 * CLOCK_SEC,
		SLICE_LIT("mail transport unavailable"));
	j = job(&r);
	ok(j != NULL && j->suspended, "a suspended transport gives its mail back");
	is_slice(schedule_dest_reason(j->dest), "mail transport unavailable", "with the reason");
	done(&r, j, SCHEDULE_NEUTRAL);
	schedule_transport_capacity(r.s, r.smtp, 1);
	r.now += 60 * CLOCK_SEC;
	add(&r, "b", "x.test", 1);
	j = job(&r);
	ok(j != NULL && !j->suspended, "and serves again after its time");
	done(&r, j, SCHEDULE_REACHED);
	rig_free(&r);
}

static void test_rate(void)
{
	struct schedule_limits slow = limits;
	struct rig r;
	struct schedule_job *j;

	slow.rate_delay = 2 * CLOCK_SEC;
	r = rig_new(&slow, 100);
	for (int i = 0; i < 3; i++)
		add(&r, "a", "x.test", 1);
	j = job(&r);
	ok(j != NULL && job(&r) == NULL, "a rate delay means one at a time");
	r.now += CLOCK_SEC;
	done(&r, j, SCHEDULE_REACHED);
	is_int(wait_until(&r), NOW + 3 * CLOCK_SEC, "the next one waits from its end");
	r.now += 2 * CLOCK_SEC;
	j = job(&r);
	ok(j != NULL && job(&r) == NULL, "then goes, alone");
	done(&r, j, SCHEDULE_REACHED);
	r.now += 2 * CLOCK_SEC;
	rig_free(&r);

	slow.rate_delay = 0;
	slow.transport_rate_delay = CLOCK_SEC;
	r = rig_new(&slow, 100);
	add(&r, "a", "x.test", 1);
	add(&r, "a", "y.test", 1);
	j = job(&r);
	is_int(wait_until(&r), NOW + CLOCK_SEC, "a transport's delay holds all destinations");
	done(&r, j, SCHEDULE_REACHED);
	r.now += CLOCK_SEC;
	rig_free(&r);
}

/* How many jobs leave before one of the message called name. */
static int turns(struct rig *r, const char *name)
{
	struct schedule_job *j;
	int n = 0;

	while ((j = job(r)) != NULL) {
		bool found = strcmp(name_of(j), name) == 0;

		done(r, j, SCHEDULE_REACHED);
		if (found)
			return n;
		n++;
	}
	return -1;
}

static void test_fairness(void)
{
	struct rig r = rig_new(&limits, 1);
	struct schedule_message *news = schedule_message_add(r.s, mem_str("news"), 'n', false);
	int n;

	for (int i = 0; i < 50000; i++) {
		struct rcpt *rcpt = mem_alloc(sizeof(*rcpt));
		char dest[32];

		snprintf(dest, sizeof(dest), "d%d.test", i);
		schedule_rcpt_add(r.s, news, r.smtp, slice_str(dest), &rcpt->link);
	}
	for (int i = 0; i < 1000; i++)
		done(&r, job(&r), SCHEDULE_REACHED);
	add(&r, "note", "note.test", 1);
	n = turns(&r, "note");
	ok(n >= 0 && n <= 3, "a note passes a newsletter (its own sender's): %d", n);
	add(&r, "other", "d49999.test", 1);
	n = turns(&r, "other");
	ok(n >= 0 && n <= 3, "also where the newsletter waits for the same destination: %d", n);
	for (int i = 0; i < 20000; i++)
		add(&r, "many", "m.test", 1);
	n = turns(&r, "many");
	ok(n >= 0 && n <= 3, "another sender's mail is not behind it: %d", n);
	add(&r, "single", "s.test", 1);
	n = turns(&r, "single");
	ok(n >= 0 && n <= 5, "nor a single one behind 20000 of one sender: %d", n);
	add(&r, "same", "m.test", 1);
	n = turns(&r, "same");
	ok(n >= 0 && n <= 70, "nor at the same destination: %d", n);
	n = turns(&r, "news");
	ok(n >= 0 && n <= 70, "the newsletter goes on all the while: %d", n);
	rig_free(&r);

	r = rig_new(&limits, 1);
	add(&r, "news", "big.test", 50000);
	done(&r, job(&r), SCHEDULE_REACHED);
	for (int i = 0; i < 100; i++) {
		add(&r, "x", "big.test", 1);
		done(&r, job(&r), SCHEDULE_REACHED);
	}
	add(&r, "y", "big.test", 1);
	n = turns(&r, "y");
	ok(n >= 0 && n <= 6, "one big destination: a note passes: %d", n);
	for (n = 0; n < 500; n++) {
		struct schedule_job *j;
		bool found;

		add(&r, "z", "big.test", 1);
		j = job(&r);
		found = strcmp(name_of(j), "news") == 0;
		done(&r, j, SCHEDULE_REACHED);
		if (found)
			break;
	}
	ok(n < 100, "an endless stream of notes does not starve the newsletter: %d", n);
	rig_free(&r);
}

/* Two messages of a sender for one destination, more than a job of each. */
static void test_message_turns(void)
{
	struct rig r = rig_new(&limits, 1);
	char got[8] = "";

	add(&r, "a1", "x.test", 150);
	add(&r, "a2", "x.test", 150);
	for (int i = 0; i < 6; i++) {
		struct schedule_job *j = job(&r);

		got[i] = name_of(j)[1];
		done(&r, j, SCHEDULE_REACHED);
	}
	is_str(got, "121212", "messages of a sender take turns at a destination");
	rig_free(&r);
}

static void test_backlog(void)
{
	struct rig r = rig_new(&limits, 20);
	struct schedule_job *j[20];
	int n = 0;

	/* A destination was full for long while others went on; its old mail must not take all. */
	for (int i = 0; i < 5000; i++)
		add(&r, "old", "slow.test", 1);
	for (int i = 0; i < 5; i++)
		j[i] = job(&r);
	for (int i = 0; i < 3000; i++) {
		add(&r, "a", "fast.test", 1);
		done(&r, job(&r), SCHEDULE_REACHED);
	}
	for (int i = 0; i < 5; i++)
		done(&r, j[i], SCHEDULE_REACHED);
	for (int i = 0; i < 20; i++)
		add(&r, "b", "fast.test", 1);
	for (int i = 0; i < 14; i++) {
		j[i] = job(&r);
		n += strcmp(name_of(j[i]), "b") == 0;
	}
	ok(n >= 5, "a backlog leaves others their part: %d of 14", n);
	for (int i = 0; i < 14; i++)
		done(&r, j[i], SCHEDULE_REACHED);
	rig_free(&r);
}

static void test_withdraw(void)
{
	struct rig r = rig_new(&limits, 1);
	struct schedule_message *a = add(&r, "a", "x.test", 70);
	struct schedule_rcpts list = STAILQ_HEAD_INITIALIZER(list);
	struct schedule_job *j = job(&r);
	struct schedule_counts c;

	is_int(schedule_withdraw(r.s, a, &list), 20, "what is in no job comes back");
	ok(!schedule_message_is_idle(a), "the job is still out");
	is_int(schedule_message_jobs(a), 1, "one");
	free_rcpts(&list);
	done(&r, j, SCHEDULE_REACHED);
	a = add(&r, "a", "x.test", 3);
	drop(&r, a);
	ok(job(&r) == NULL, "a withdrawn message is not sent");
	schedule_count(r.s, &c);
	is_int(c.messages + c.recipients + c.jobs, 0, "nothing is left");
	rig_free(&r);
}

static void test_backoff(void)
{
	static const struct {
		int age, want;
		bool bounce, expired;
	} rows[] = {
		{0, 300, false, false},
		{299, 300, false, false},
		{600, 600, false, false},
		{1200, 1200, false, false},
		{9000, 4000, false, false},
		{431000, 1000, false, false},
		{432000, 0, false, true},
		{500000, -68000, false, true},
		{86399, 1, true, false},
		{86400, 0, true, true},
	};
	struct schedule *s = schedule_new(&settings);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool expired;
		int64_t due = schedule_backoff(
			s, NOW, NOW - rows[i].age * CLOCK_SEC, NULL, 1, rows[i].bounce, &expired);

		is_int((due - NOW) / CLOCK_SEC, rows[i].want, "after %d s", rows[i].age);
		is_int(expired, rows[i].expired, "after %d s: expired or not", rows[i].age);
	}
	schedule_free(&s);
}

static const char *domain_of(unsigned i)
{
	static char name[32];

	snprintf(name, sizeof(name), "d%u.test", i);
	return name;
}

static void test_index(void)
{
	static const uint32_t sites[] = {3, 7, 1027};
	struct schedule *s = schedule_new(&settings);
	const uint32_t base = (uint32_t)(NOW / CLOCK_SEC);
	const uint32_t n = 200000;
	struct schedule_deferred row = {0};
	struct schedule_decision d;
	struct schedule_counts c;
	uint32_t last = 0, seen = 0, wrong = 0, asked = 0, revived = 0;

	for (uint32_t i = 0; i < n; i++) {
		row.id = (uint64_t)i * 4096 + 7;
		row.arrival = base;
		row.due = base + (uint32_t)((uint64_t)i * 7919 % n);
		row.site[0] = i % 10;
		row.flags = i % 100 == 99 ? SCHEDULE_HELD : 0;
		schedule_defer(s, &row);
	}
	schedule_count(s, &c);
	is_int(c.deferred, n - n / 100, "deferred");
	is_int(c.held, n / 100, "held");
	ok(c.index_bytes <= (size_t)n * 64, "%zu bytes a message", c.index_bytes / n);
	for (uint32_t i = 0; i < n; i += 2)
		wrong += !schedule_deferred_remove(s, (uint64_t)i * 4096 + 7);
	is_int(wrong, 0, "all are found by id");
	ok(!schedule_deferred_remove(s, 7), "a removed one is gone");
	ok(schedule_deferred_find(s, 4096 + 7) != NULL, "another is still there");
	for (;;) {
		schedule_next(s, NOW + (int64_t)n * CLOCK_SEC, &d);
		if (d.what != SCHEDULE_LOAD)
			break;
		if ((uint32_t)((d.id - 7) / 4096 * 7919 % n) < last)
			wrong++;
		last = (uint32_t)((d.id - 7) / 4096 * 7919 % n);
		seen++;
		schedule_load_failed(s);
	}
	is_int(wrong, 0, "they come in the order in which they are due");
	is_int(seen, n / 2 - n / 100, "all but the held ones");
	schedule_free(&s);

	s = schedule_new(&settings);
	for (uint32_t i = 0; i < 100; i++) {
		row.id = i;
		row.due = base + 1000;
		row.site[0] = i % 10;
		row.domain = schedule_domain(slice_str(domain_of(i))) & 0xffffff;
		row.flags = i == 3 ? SCHEDULE_HELD : i == 4 ? SCHEDULE_MANY : 0;
		schedule_defer(s, &row);
	}
	schedule_next(s, NOW, &d);
	is_int(d.until, ((int64_t)base + 1000) * CLOCK_SEC, "nothing before the first is due");
	is_int(schedule_flush_name(s, NOW, sites, 1, schedule_domain(SLICE_LIT("none.test"))), 10,
		"a site's, and one of many sites, not the held");
	ok(schedule_has_asked(s), "that one is only asked for");
	is_int(schedule_flush_name(s, NOW, NULL, 0, schedule_domain(SLICE_LIT("D17.test"))), 2,
		"a domain's, and one of many");
	is_int(schedule_flush_name(
		       s, NOW, sites, COUNT_OF(sites), schedule_domain(SLICE_LIT("d17.test"))),
		20, "of a name that is a next hop of three transports, and a domain: each once");
	ok(!schedule_flush_id(s, NOW, 3), "a held one cannot be flushed");
	ok(schedule_flush_id(s, NOW, 5), "one by id");
	is_int(schedule_flush_all(s, NOW), 99, "all");
	for (seen = 0;; seen++) {
		schedule_next(s, NOW, &d);
		if (d.what != SCHEDULE_LOAD)
			break;
		asked += (d.flags & SCHEDULE_ASKED) != 0;
		revived += (d.flags & SCHEDULE_REVIVE) != 0;
		schedule_load_failed(s);
	}
	is_int(seen, 99, "are due now");
	is_int(asked, 2, "two were asked for");
	is_int(revived, 1, "the one by id is to revive");
	ok(!schedule_has_asked(s), "it has come");
	schedule_free(&s);
}

static void test_limits(void)
{
	struct schedule_settings small = settings;
	struct schedule_deferred row = {.due = 1};
	struct schedule_decision d;
	struct schedule *s;
	struct schedule_message *m[10] = {0};
	int fresh = 0, loaded = 0, n = 0;

	small.message_limit = 10;
	s = schedule_new(&small);
	for (row.id = 1; row.id < 50; row.id++)
		schedule_defer(s, &row);
	while (n < 10) {
		if (schedule_room(s, NOW, true) > 0) {
			m[n++] = schedule_message_add(s, NULL, 1, false);
			fresh++;
		}
		schedule_next(s, NOW, &d);
		if (d.what == SCHEDULE_LOAD && n < 10) {
			m[n++] = schedule_message_add(s, NULL, 1, true);
			loaded++;
		}
	}
	ok(fresh >= 3 && loaded >= 3, "new and due mail share the room: %d and %d", fresh, loaded);
	is_int(schedule_room(s, NOW, true), 0, "full is full");
	schedule_next(s, NOW, &d);
	is_int(d.what, SCHEDULE_WAIT, "for both");
	for (n = 0; n < 10; n++)
		schedule_message_free(s, &m[n]);
	schedule_free(&s);
}

/* Loaded messages of one sender, a recipient each. */
static void load(struct rig *r, int n, const char *dest)
{
	struct schedule_deferred row = {.due = 1};
	struct schedule_decision d;

	for (row.id = 1; row.id <= (uint64_t)n; row.id++)
		schedule_defer(r->s, &row);
	for (int i = 0; i < n; i++) {
		struct rcpt *rcpt = mem_alloc(sizeof(*rcpt));

		do
			schedule_next(r->s, r->now, &d);
		while (d.what != SCHEDULE_LOAD);
		schedule_rcpt_add(r->s, schedule_message_add(r->s, mem_str("a"), 'a', true),
			r->smtp, slice_str(dest), &rcpt->link);
		if (i + 1 < n)
			schedule_transport_capacity(r->s, r->smtp, 0);
	}
	schedule_transport_capacity(r->s, r->smtp, 100);
}

/* All jobs of now, those made ahead from the back of the list. */
static int take(struct rig *r, struct schedule_job **now, int *n, struct schedule_job **ahead)
{
	struct schedule_job *j;
	int made = 0;

	while ((j = job(r)) != NULL) {
		if (j->ahead)
			ahead[made++] = j;
		else
			now[(*n)++] = j;
	}
	return made;
}

static void test_ahead(void)
{
	struct rig r = rig_new(&limits, 100);
	struct schedule_job *now[400], *ahead[400], *late[400];
	int n = 0, made, first = 0, others = 0;

	load(&r, 300, "x.test");
	is_int(take(&r, now, &n, ahead), 0, "nothing ahead of the first window");
	is_int(n, 5, "which is full");
	done(&r, now[0], SCHEDULE_REACHED);
	made = take(&r, now, &n, ahead);
	is_int(n, 7, "its place and one more are taken");
	is_int(made, 6 * SCHEDULE_AHEAD, "windows of retries are prepared once it was reached");
	is_int(schedule_job_start(r.s, ahead[0], r.now), ERR_AGAIN, "none may start yet");
	done(&r, now[1], SCHEDULE_NEUTRAL);
	is_int(schedule_job_start(r.s, ahead[0], r.now), 0,
		"a free place is for the first of them");
	ok(!ahead[0]->ahead, "which is a job like others now");
	is_int(schedule_job_start(r.s, ahead[1], r.now), ERR_AGAIN, "the second waits");
	/* New mail: behind what is prepared, before everything else. */
	add(&r, "b", "x.test", 1);
	made += take(&r, now, &n, ahead + made);
	ok(made <= 6 * SCHEDULE_AHEAD + 1, "no more is prepared while new mail is next");
	done(&r, ahead[0], SCHEDULE_NEUTRAL);
	for (first = 1; first < made && n == 7; first++) {
		is_int(schedule_job_start(r.s, ahead[first], r.now), 0, "prepared job %d", first);
		others += take(&r, now, &n, late);
		done(&r, ahead[first], SCHEDULE_NEUTRAL);
	}
	others += take(&r, now, &n, late);
	is_str(name_of(now[7]), "b", "then it goes");
	/* It dies: what is prepared rests with it. */
	for (int i = 2; i < 7; i++)
		done(&r, now[i], SCHEDULE_FAILED);
	done(&r, now[7], SCHEDULE_FAILED);
	is_int(schedule_dest_window(late[0]->dest), 0, "the destination dies");
	is_int(schedule_job_start(r.s, late[0], r.now), ERR_STATE, "no prepared job may start");
	ok(late[0]->suspended, "it is suspended");
	for (int i = 0; i < others; i++)
		done(&r, late[i], SCHEDULE_NEUTRAL);
	for (n = 8; n < 400 && (now[8] = job(&r)) != NULL; n++) {
		if (!now[8]->suspended)
			break;
		done(&r, now[8], SCHEDULE_NEUTRAL);
	}
	ok(job(&r) == NULL, "and all that waited with it");
	rig_free(&r);
}

/* Retries of many destinations together keep below one limit. */
static void test_ahead_limit(void)
{
	static const struct schedule_limits wide = {
		.recipients = 50, .initial_concurrency = 400, .concurrency = 1000};
	struct rig r = rig_new(&wide, 100);
	static struct schedule_job *now[4000], *ahead[4000];
	int n = 0, made;

	load(&r, 3000, "x.test");
	schedule_transport_capacity(r.s, r.smtp, 3000);
	take(&r, now, &n, ahead);
	done(&r, now[0], SCHEDULE_REACHED);
	made = take(&r, now, &n, ahead);
	is_int(made, SCHEDULE_AHEAD_RCPTS, "recipients ahead in all");
	for (int i = 0; i < made; i++)
		done(&r, ahead[i], SCHEDULE_NEUTRAL);
	for (int i = 1; i < n; i++)
		done(&r, now[i], SCHEDULE_NEUTRAL);
	rig_free(&r);
}

int main(void)
{
	test_jobs();
	test_window();
	test_ahead();
	test_ahead_limit();
	test_death();
	test_suspend();
	test_rate();
	test_fairness();
	test_message_turns();
	test_backlog();
	test_withdraw();
	test_backoff();
	test_index();
	test_limits();
	return done_testing();
}

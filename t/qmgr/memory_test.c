/* SPDX-License-Identifier: ISC */
#include <math.h>
#include <stdio.h>

#include "t/qmgr/rig.h"
#include "t/tap.h"
#include "util/err.h"
#include "util/mem.h"

/* Windows and their feedback, plans, death, and what is kept of all that over a restart. */

static struct schedule_feedback fb(double base, enum schedule_shape shape)
{
	return (struct schedule_feedback){base, shape};
}

/* '+' a success, '-' a failure, each with the window full; the windows after each in digits. */
static void test_feedback(void)
{
	static const struct {
		const char *events, *windows;
		struct schedule_feedback positive, negative;
		unsigned initial, limit;
	} rows[] = {
		{"++++-", "67886", {1, SCHEDULE_CONSTANT}, {1, SCHEDULE_CONSTANT}, 5, 8},
		{"++++++++", "23456777", {1, SCHEDULE_CONSTANT}, {1, SCHEDULE_CONSTANT}, 1, 7},
		{"++++++++", "33344445", {0.25, SCHEDULE_CONSTANT}, {1, SCHEDULE_CONSTANT}, 3, 20},
		{"+++++++++", "334444555", {1, SCHEDULE_INVERSE}, {1, SCHEDULE_CONSTANT}, 3, 20},
		{"++++++", "455666", {1, SCHEDULE_INVERSE_SQRT}, {1, SCHEDULE_CONSTANT}, 4, 20},
		{"-----", "65432", {1, SCHEDULE_CONSTANT}, {1, SCHEDULE_CONSTANT}, 8, 20},
		{"---------", "777666655", {1, SCHEDULE_CONSTANT}, {0.25, SCHEDULE_CONSTANT}, 8,
			20},
		{"---", "888", {1, SCHEDULE_CONSTANT}, {0, SCHEDULE_CONSTANT}, 8, 20},
		{"+++", "555", {0, SCHEDULE_CONSTANT}, {1, SCHEDULE_CONSTANT}, 5, 20},
		{"---+", "1112", {1, SCHEDULE_CONSTANT}, {1, SCHEDULE_CONSTANT}, 3, 20},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct schedule_limits l = limits;
		char got[32] = "";
		struct schedule_job *j[64];
		struct rig r;
		int n = 0;

		l.positive = rows[i].positive;
		l.negative = rows[i].negative;
		l.initial_concurrency = rows[i].initial;
		l.concurrency = rows[i].limit;
		l.failed_cohorts = 0;
		r = rig_new(&l, 100);
		for (int k = 0; k < 100; k++)
			add(&r, "a", "x.test", 1);
		for (size_t k = 0; rows[i].events[k] != '\0'; k++) {
			const struct schedule_dest *d;

			n += all_jobs(&r, j + n, 64 - n);
			d = j[0]->dest;
			done(&r, j[0],
				rows[i].events[k] == '+' ? SCHEDULE_REACHED : SCHEDULE_FAILED);
			memmove(j, j + 1, (size_t)--n * sizeof(j[0]));
			got[k] = (char)('0' + schedule_dest_window(d));
		}
		is_str(got, rows[i].windows, "%s from %u", rows[i].events, rows[i].initial);
		while (n > 0)
			done(&r, j[--n], SCHEDULE_NEUTRAL);
		rig_free(&r);
	}
}

/* How many failures in a row until it is dead. */
static int failures(unsigned cohorts, unsigned initial)
{
	struct schedule_limits l = limits;
	struct schedule_job *j[64];
	struct rig r;
	int n = 0, dead = 0;

	l.failed_cohorts = cohorts;
	l.initial_concurrency = initial;
	l.negative = fb(0, SCHEDULE_CONSTANT);
	r = rig_new(&l, 100);
	for (int k = 0; k < 50; k++)
		add(&r, "a", "x.test", 1);
	while (dead < 40) {
		const struct schedule_dest *d;

		n += all_jobs(&r, j + n, 64 - n);
		d = j[0]->dest;
		done(&r, j[0], SCHEDULE_FAILED);
		memmove(j, j + 1, (size_t)--n * sizeof(j[0]));
		dead++;
		if (schedule_dest_window(d) == 0)
			break;
	}
	while (n > 0)
		done(&r, j[--n], SCHEDULE_NEUTRAL);
	rig_free(&r);
	return dead;
}

static void test_cohorts(void)
{
	is_int(failures(1, 5), 5, "one cohort of five");
	is_int(failures(1, 1), 1, "of one");
	is_int(failures(3, 5), 15, "three cohorts");
	is_int(failures(3, 3), 9, "thirds add up");
	is_int(failures(0, 5), 40, "a destination that never dies");
}

/* One delivery, then the window grows; a failed one is enough to be dead again. */
static void test_probe(void)
{
	struct schedule_limits l = limits;
	struct schedule_job *j[64];
	struct rig r;
	int n;

	l.failed_cohorts = 2;
	r = rig_new(&l, 100);
	for (n = 0; n < 12; n++)
		add(&r, "a", "x.test", 1);
	while ((n = all_jobs(&r, j, 64)) > 0)
		for (int i = 0; i < n; i++)
			done(&r, j[i], j[i]->suspended ? SCHEDULE_NEUTRAL : SCHEDULE_FAILED);
	is_int(wait_until(&r), NOW + settings.minimal_backoff, "dead");
	r.now += settings.minimal_backoff;
	for (n = 0; n < 30; n++)
		add(&r, "a", "x.test", 1);
	is_int(all_jobs(&r, j, 64), 1, "one delivery after that");
	done(&r, j[0], SCHEDULE_FAILED);
	n = all_jobs(&r, j, 64);
	is_int(n, 29, "it fails: all else is given back");
	ok(j[0]->suspended, "as suspended");
	for (int i = 0; i < n; i++)
		done(&r, j[i], SCHEDULE_NEUTRAL);
	r.now += settings.minimal_backoff;
	for (n = 0; n < 30; n++)
		add(&r, "a", "x.test", 1);
	is_int(all_jobs(&r, j, 64), 1, "one again");
	done(&r, j[0], SCHEDULE_NEUTRAL);
	is_int(all_jobs(&r, j, 64), 1, "one that says nothing is followed by one");
	done(&r, j[0], SCHEDULE_REACHED);
	is_int(all_jobs(&r, j, 64), 2, "a success: two");
	done(&r, j[0], SCHEDULE_REACHED);
	done(&r, j[1], SCHEDULE_REACHED);
	is_int(all_jobs(&r, j, 64), 4, "and so on");
	for (int i = 0; i < 4; i++)
		done(&r, j[i], SCHEDULE_REACHED);
	rig_free(&r);
}

/* Destinations that keep their jobs for long take no more than they may. */
static void test_room(void)
{
	struct schedule_limits l = limits;
	struct rig r;
	struct schedule_job *j[100], *live[100];
	char name[32];
	int n, old;

	l.recipients = 1;
	r = rig_new(&l, 80);
	for (int i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "live%d.test", i);
		add(&r, "a", name, 1);
	}
	n = all_jobs(&r, j, 100);
	for (int i = 0; i < 10; i++)
		add(&r, "a", schedule_dest_key(j[i]->dest).p, 500);
	for (int i = 0; i < n; i++)
		done(&r, j[i], SCHEDULE_REACHED);
	for (int i = 0; i < 90; i++) {
		snprintf(name, sizeof(name), "dead%d.test", i);
		for (int k = 0; k < 10; k++)
			add(&r, "b", name, 1);
	}
	n = all_jobs(&r, j, 100);
	is_int(n, 80, "all room is used");
	/* Those of the live ones end, again and again; the others never do. */
	for (int round = 0; round < 30; round++) {
		old = 0;
		for (int i = 0; i < n; i++) {
			if (*name_of(j[i]) == 'a')
				live[old++] = j[i];
			else
				j[i - old] = j[i];
		}
		n -= old;
		for (int i = 0; i < old; i++)
			done(&r, live[i], SCHEDULE_REACHED);
		n += all_jobs(&r, j + n, 100 - n);
	}
	old = 0;
	for (int i = 0; i < n; i++)
		old += *name_of(j[i]) == 'a';
	ok(old >= 4, "%d of 80 places are left for destinations that answer", old);
	for (int i = 0; i < n; i++)
		done(&r, j[i], SCHEDULE_REACHED);
	rig_free(&r);
}

static void test_plan(void)
{
	static const int64_t steps[] = {300 * CLOCK_SEC, 600 * CLOCK_SEC, 3600 * CLOCK_SEC};
	static const struct schedule_plan plan = {steps, 3}, none = {steps, 0};
	static const struct {
		const struct schedule_plan *plan;
		unsigned attempts;
		int age, want;
		bool expired;
	} rows[] = {
		{&plan, 1, 10, 300, false},
		{&plan, 2, 400, 600, false},
		{&plan, 3, 1000, 3600, false},
		{&plan, 4, 5000, 3600, false},
		{&plan, 4000000000u, 5000, 3600, false},
		{&plan, 0, 5000, 300, false},
		{&plan, 3, 431000, 1000, false},
		{&plan, 3, 432000, 0, true},
		{&none, 3, 1000, 1000, false},
		{NULL, 3, 1000, 1000, false},
	};
	struct schedule *s = schedule_new(&settings);

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		bool expired;
		int64_t due = schedule_backoff(s, NOW, NOW - rows[i].age * CLOCK_SEC, rows[i].plan,
			rows[i].attempts, false, &expired);

		is_int((due - NOW) / CLOCK_SEC, rows[i].want, "attempt %u after %d s",
			rows[i].attempts, rows[i].age);
		is_int(expired, rows[i].expired, "expired or not");
	}
	schedule_free(&s);
}

/* ---- Memory. ---- */

struct notes {
	struct schedule_memory m[64];
	char text[64][4][64];
	int n, most;
};

static struct slice keep(struct notes *notes, int i, struct slice text)
{
	char *to = notes->text[notes->n][i];

	snprintf(to, sizeof(notes->text[0][0]), "%.*s", (int)text.len, text.p);
	return slice_str(to);
}

static bool visit(const struct schedule_memory *m, void *arg)
{
	struct notes *notes = arg;
	struct schedule_memory *to = &notes->m[notes->n];

	*to = *m;
	to->transport = keep(notes, 0, m->transport);
	to->key = keep(notes, 1, m->key);
	to->site = keep(notes, 2, m->site);
	to->reason = keep(notes, 3, m->reason);
	return ++notes->n < notes->most;
}

/* The slices in notes are of its own text: it must stay where it is. */
static void walk(struct rig *r, struct notes *notes)
{
	notes->n = 0;
	notes->most = 64;
	schedule_memory_walk(r->s, r->now, visit, notes);
}

static const struct schedule_memory *find(const struct notes *notes, const char *key, bool is_site)
{
	for (int i = 0; i < notes->n; i++)
		if (slice_eq_str(notes->m[i].key, key) && notes->m[i].is_site == is_site)
			return &notes->m[i];
	return NULL;
}

static struct schedule_limits limited(void)
{
	struct schedule_limits l = limits;

	l.rate = (struct schedule_rate){4, 40 * CLOCK_SEC};
	l.site_rate = (struct schedule_rate){100, 1000 * CLOCK_SEC};
	return l;
}

static struct rig restart(const struct notes *notes, int64_t now)
{
	struct schedule_limits l = limited();
	struct rig r = rig_new(&l, 100);

	r.now = now;
	for (int i = 0; i < notes->n; i++)
		is_int(schedule_memory_restore(r.s, now, &notes->m[i]), 0, "%s comes back",
			notes->m[i].key.p);
	return r;
}

static void test_memory(void)
{
	struct schedule_limits l = limited();
	struct rig r = rig_new(&l, 100);
	struct schedule_job *j[16];
	struct notes before, after;
	const struct schedule_memory *m;
	int n, dead = 0;

	schedule_dest_set_site(
		r.s, r.now, r.smtp, SLICE_LIT("a.test"), SLICE_LIT("mx"), SCHEDULE_SITE_LIFE);
	for (int i = 0; i < 4; i++) {
		add(&r, "a", "a.test", 1);
		add(&r, "d", "dead.test", 1);
	}
	n = all_jobs(&r, j, 16);
	is_int(n, 8, "all tokens are used");
	for (int i = 0; i < n; i++)
		done(&r, j[i], *name_of(j[i]) == 'd' ? SCHEDULE_FAILED : SCHEDULE_REACHED);
	r.now += 10 * CLOCK_SEC;
	add(&r, "p", "plain.test", 1);
	j[0] = job(&r);
	done(&r, j[0], SCHEDULE_NEUTRAL);
	r.now += 5 * CLOCK_SEC;
	walk(&r, &before);
	m = find(&before, "a.test", false);
	ok(m != NULL && m->window > 5 && m->proven, "a window that grew is told");
	is_slice(m->site, "mx", "with its site");
	is_int(m->tokens, 1500000, "and a token and a half");
	m = find(&before, "dead.test", false);
	ok(m != NULL && m->window == 0, "a dead one");
	is_slice(m->reason, "connection refused", "with its reason");
	is_int(m->dead_until, NOW + settings.minimal_backoff, "and until when");
	m = find(&before, "mx", true);
	ok(m != NULL && m->tokens < 98000000, "the site's bucket");
	ok(find(&before, "dead.test", true) != NULL, "and that of one that is its own");
	rig_free(&r);

	r = restart(&before, r.now + 5 * CLOCK_SEC);
	walk(&r, &after);
	m = find(&after, "a.test", false);
	is_int(m->window, find(&before, "a.test", false)->window, "the window is the same");
	is_int(m->tokens, 2000000, "tokens are what the time gave, not what the start did");
	for (int i = 0; i < 5; i++)
		add(&r, "a", "a.test", 1);
	n = all_jobs(&r, j, 16);
	is_int(n, 2, "and two go");
	for (int i = 0; i < n; i++)
		done(&r, j[i], SCHEDULE_REACHED);
	add(&r, "d", "dead.test", 1);
	j[0] = job(&r);
	ok(j[0] != NULL && j[0]->suspended, "the dead one is dead");
	is_slice(schedule_dest_reason(j[0]->dest), "connection refused", "for its reason");
	done(&r, j[0], SCHEDULE_NEUTRAL);
	r.now = NOW + settings.minimal_backoff;
	for (int i = 0; i < 4; i++)
		add(&r, "d", "dead.test", 1);
	n = all_jobs(&r, j, 16);
	for (int i = 0; i < n; i++) {
		if (*name_of(j[i]) == 'd')
			j[dead++] = j[i];
		else
			done(&r, j[i], SCHEDULE_REACHED);
	}
	is_int(dead, 1, "and is tried gently at the same time as without a restart");
	done(&r, j[0], SCHEDULE_REACHED);
	r.now += 100 * CLOCK_SEC;
	l.rate.count = l.site_rate.count = 0;
	schedule_transport_set(r.s, SLICE_LIT("smtp"), &l);
	rig_free(&r);
}

static void test_damage(void)
{
	static const struct schedule_memory good = {.transport = {"smtp", 4},
		.key = {"x.test", 6},
		.window = 7,
		.proven = true,
		.tokens = -1,
		.tokens_at = NOW};
	struct rig r = rig_new(&limits, 10);
	struct schedule_memory m = good;
	struct notes notes;

	m.transport = SLICE_LIT("other");
	is_int(schedule_memory_restore(r.s, NOW, &m), ERR_NOT_FOUND, "an unknown transport");
	m = good;
	m.key = SLICE_NONE;
	is_int(schedule_memory_restore(r.s, NOW, &m), ERR_RANGE, "no key");
	m = good;
	m.success = NAN;
	is_int(schedule_memory_restore(r.s, NOW, &m), ERR_RANGE, "not a number");
	m = good;
	m.cohorts = -1;
	is_int(schedule_memory_restore(r.s, NOW, &m), ERR_RANGE, "less than nothing");
	m = good;
	m.window = 4000000000u;
	is_int(schedule_memory_restore(r.s, NOW, &m), ERR_RANGE, "a window that cannot be");
	m = good;
	m.tokens_at = -5;
	is_int(schedule_memory_restore(r.s, NOW, &m), ERR_RANGE, "a time before time");
	m = good;
	m.window = 50;
	is_int(schedule_memory_restore(r.s, NOW, &m), 0, "a window over the limit");
	m = good;
	m.key = SLICE_LIT("y.test");
	m.window = 0;
	m.dead_until = NOW + 1000 * 86400 * CLOCK_SEC;
	is_int(schedule_memory_restore(r.s, NOW, &m), 0, "dead for years");
	walk(&r, &notes);
	is_int(find(&notes, "x.test", false)->window, limits.concurrency, "is held to it");
	is_int(find(&notes, "y.test", false)->dead_until, NOW + settings.minimal_backoff,
		"is held to the back-off");
	notes.n = 0;
	notes.most = 1;
	schedule_memory_walk(r.s, r.now, visit, &notes);
	is_int(notes.n, 1, "a walk ends when it is told to");
	rig_free(&r);
}

/* Two failures of five: something is known of it. */
static void meet(struct rig *r, const char *dest, bool kill)
{
	struct schedule_job *j[8];
	int n;

	for (int i = 0; i < 5; i++)
		add(r, "a", dest, 1);
	n = all_jobs(r, j, 8);
	for (int i = 0; i < n; i++)
		done(r, j[i], kill ? SCHEDULE_FAILED : SCHEDULE_REACHED);
}

static void test_forgetting(void)
{
	struct schedule_settings small = settings;
	struct rig r = rig_new(&limits, 100);
	struct schedule_counts c;
	struct notes notes;
	char name[32];

	small.memory_limit = 40;
	schedule_set(r.s, &small);
	for (int i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "dead%d.test", i);
		meet(&r, name, true);
	}
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "live%d.test", i);
		meet(&r, name, false);
	}
	schedule_count(r.s, &c);
	is_int(c.dests, 40, "as many are remembered as may be");
	walk(&r, &notes);
	ok(find(&notes, "dead0.test", false) != NULL && find(&notes, "dead9.test", false) != NULL,
		"those that are dead longest");
	ok(find(&notes, "live999.test", false) != NULL && find(&notes, "live5.test", false) == NULL,
		"then those that were met last");
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "grave%d.test", i);
		meet(&r, name, true);
	}
	schedule_count(r.s, &c);
	is_int(c.dests, 40, "also when all are dead");
	rig_free(&r);
}

int main(void)
{
	test_feedback();
	test_cohorts();
	test_probe();
	test_room();
	test_plan();
	test_memory();
	test_damage();
	test_forgetting();
	return done_testing();
}

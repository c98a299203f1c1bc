/* SPDX-License-Identifier: ISC */
#include "t/qmgr/rig.h"
#include "t/tap.h"
#include "util/mem.h"

/* Token buckets, sites and clocks. */

/* How many jobs leave for x.test, one after the other, each over at once, in the time. */
static int jobs_in(struct rig *r, int64_t time)
{
	int64_t end = r->now + time;
	struct schedule_decision d;
	int n = 0;

	for (;;) {
		schedule_next(r->s, r->now, &d);
		if (d.what == SCHEDULE_JOB) {
			n++;
			done(r, d.job, SCHEDULE_REACHED);
		} else if (d.until < end) {
			r->now = d.until;
		} else {
			break;
		}
	}
	r->now = end;
	return n;
}

static void test_bucket(void)
{
	static const struct {
		struct schedule_rate rate;
		int64_t time;
		int want;
		const char *name;
	} rows[] = {
		{{20, CLOCK_SEC}, 1, 20, "20/1s at once"},
		{{20, CLOCK_SEC}, CLOCK_SEC, 39, "20/1s in the first second"},
		{{20, CLOCK_SEC}, 60 * CLOCK_SEC, 20 + 1199, "20/1s in a minute"},
		{{1, 10 * CLOCK_SEC}, 1, 1, "1/10s at once"},
		{{1, 10 * CLOCK_SEC}, 10 * CLOCK_SEC, 1, "1/10s before ten seconds"},
		{{1, 10 * CLOCK_SEC}, 10 * CLOCK_SEC + 1, 2, "1/10s at ten"},
		{{1, 10 * CLOCK_SEC}, 86400 * CLOCK_SEC, 8640, "1/10s in a day"},
		{{3, 7 * CLOCK_SEC}, 7000 * CLOCK_SEC, 3 + 2999,
			"3/7s: thirds do not add up to less"},
		{{3, 7 * CLOCK_SEC}, 7000 * CLOCK_SEC + 1, 3 + 3000, "3/7s: nor to more"},
		{{7, 1}, 1000, 7 + 6993, "7/us"},
		{{100, 3600 * CLOCK_SEC}, 3600 * CLOCK_SEC, 199, "100/1h"},
		{{1000, CLOCK_SEC}, 1000003, 1000 + 1000, "1000/1s"},
		{{1, 86400 * CLOCK_SEC}, 30 * 86400 * CLOCK_SEC, 30, "1/1d in a month"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct schedule_limits l = limits;
		struct rig r;

		l.rate = rows[i].rate;
		r = rig_new(&l, 10);
		for (int n = 0; n < rows[i].want + 10; n++)
			add(&r, "a", "x.test", 1);
		is_int(jobs_in(&r, rows[i].time), rows[i].want, "%s", rows[i].name);
		l.rate.count = 0;
		schedule_transport_set(r.s, SLICE_LIT("smtp"), &l);
		rig_free(&r);
	}
}

static void test_one_destination(void)
{
	struct schedule_limits l = limits;
	struct rig r;
	struct schedule_job *j[8];

	l.rate = (struct schedule_rate){1, 10 * CLOCK_SEC};
	r = rig_new(&l, 10);
	for (int i = 0; i < 3; i++)
		add(&r, "a", "x.test", 1);
	add(&r, "b", "y.test", 1);
	is_int(all_jobs(&r, j, 8), 2, "a bucket each");
	is_int(wait_until(&r), NOW + 10 * CLOCK_SEC, "the next token is waited for");
	done(&r, j[0], SCHEDULE_REACHED);
	done(&r, j[1], SCHEDULE_REACHED);
	ok(job(&r) == NULL, "the end of a job gives none");
	r.now += 3 * CLOCK_SEC;
	add(&r, "c", "y.test", 1);
	ok(job(&r) == NULL, "nor does it when a destination had no mail for a while");
	is_int(wait_until(&r), NOW + 10 * CLOCK_SEC, "both at ten seconds");
	r.now = NOW + 10 * CLOCK_SEC;
	is_int(all_jobs(&r, j, 8), 2, "then they go");
	/* Less often from now on: what was taken stays taken. */
	l.rate.per = 20 * CLOCK_SEC;
	schedule_transport_set(r.s, SLICE_LIT("smtp"), &l);
	ok(job(&r) == NULL, "a new rate fills no bucket");
	done(&r, j[0], SCHEDULE_REACHED);
	done(&r, j[1], SCHEDULE_REACHED);
	r.now += 10 * CLOCK_SEC - 1;
	ok(job(&r) == NULL, "nor a microsecond too early");
	r.now += 20 * CLOCK_SEC;
	is_int(all_jobs(&r, j, 8), 1, "and holds");
	done(&r, j[0], SCHEDULE_REACHED);
	rig_free(&r);
}

static void test_clock(void)
{
	struct schedule_limits l = limits;
	struct rig r;
	struct schedule_job *j[8];
	int n;

	l.rate = (struct schedule_rate){2, 10 * CLOCK_SEC};
	r = rig_new(&l, 10);
	for (int i = 0; i < 20; i++)
		add(&r, "a", "x.test", 1);
	n = all_jobs(&r, j, 8);
	is_int(n, 2, "two at once");
	r.now -= 3600 * CLOCK_SEC;
	is_int(all_jobs(&r, j + 2, 6), 0, "a clock that goes back gives none");
	is_int(wait_until(&r), NOW - 3595 * CLOCK_SEC, "and takes none: five seconds are to go");
	r.now += 5 * CLOCK_SEC;
	is_int(all_jobs(&r, j + 2, 6), 1, "which are enough");
	r.now += 86400 * CLOCK_SEC;
	is_int(all_jobs(&r, j + 3, 5), 2, "a jump ahead fills the bucket and no more");
	for (int i = 0; i < 5; i++)
		done(&r, j[i], SCHEDULE_FAILED);
	while ((j[0] = job(&r)) != NULL)
		done(&r, j[0], SCHEDULE_NEUTRAL);
	is_int(wait_until(&r), r.now + settings.minimal_backoff, "it died");
	r.now -= 7200 * CLOCK_SEC;
	is_int(wait_until(&r), r.now + settings.minimal_backoff, "and is no longer dead for that");
	rig_free(&r);
}

static void set_site(struct rig *r, const char *dest, const char *site)
{
	schedule_dest_set_site(
		r->s, r->now, r->smtp, slice_str(dest), slice_str(site), SCHEDULE_SITE_LIFE);
}

static bool wants(struct rig *r, const char *dest)
{
	return schedule_dest_wants_site(r->s, r->now, r->smtp, slice_str(dest));
}

static void test_asking(void)
{
	static const struct {
		int64_t said, holds;
	} lives[] = {{0, SCHEDULE_SITE_LIFE_MIN}, {61 * CLOCK_SEC, 61 * CLOCK_SEC},
		{SCHEDULE_SITE_LIFE - 1, SCHEDULE_SITE_LIFE - 1},
		{86400 * CLOCK_SEC, SCHEDULE_SITE_LIFE}};
	struct schedule_limits l = limits;
	struct rig r = rig_new(&l, 100);

	ok(!wants(&r, "a.test"), "no site is wanted without a limit");
	l.site_concurrency = 2;
	schedule_transport_set(r.s, SLICE_LIT("smtp"), &l);
	ok(wants(&r, "a.test"), "with one it is, also of an unknown destination");
	set_site(&r, "a.test", "mx");
	ok(!wants(&r, "a.test"), "not once it was said");
	set_site(&r, "b.test", "");
	ok(!wants(&r, "b.test"), "nor that there is none");
	r.now += SCHEDULE_NO_SITE_LIFE;
	ok(wants(&r, "b.test"), "which is asked for again soon");
	ok(!wants(&r, "a.test"), "a site later");
	r.now += SCHEDULE_SITE_LIFE;
	ok(wants(&r, "a.test"), "but again");
	for (size_t i = 0; i < COUNT_OF(lives); i++) {
		schedule_dest_set_site(
			r.s, r.now, r.smtp, SLICE_LIT("c.test"), SLICE_LIT("mx"), lives[i].said);
		r.now += lives[i].holds - 1;
		ok(!wants(&r, "c.test"), "%jd s: it holds", (intmax_t)(lives[i].said / CLOCK_SEC));
		r.now++;
		ok(wants(&r, "c.test"), "and no longer");
	}
	rig_free(&r);
}

/* Recipients that are destinations of their own, behind a next hop of which no site is known. */
static void test_own_site(void)
{
	struct schedule_limits l = limits;
	struct rig r;
	struct schedule_job *j[8];
	static const char *const keys[] = {"a@x.test", "b@x.test", "c@x.test"};

	l.site_concurrency = 1;
	r = rig_new(&l, 100);
	for (int i = 0; i < 3; i++) {
		schedule_dest_set_own_site(
			r.s, r.now, r.smtp, slice_str(keys[i]), SLICE_LIT("x.test"));
		add(&r, "a", keys[i], 1);
	}
	ok(!wants(&r, "a@x.test"), "one of its own is said, too");
	is_int(all_jobs(&r, j, 8), 1, "what shares its own site shares its limit");
	done(&r, j[0], SCHEDULE_REACHED);
	for (int i = 0; i < 2; i++)
		done(&r, job(&r), SCHEDULE_REACHED);
	r.now += SCHEDULE_NO_SITE_LIFE;
	ok(wants(&r, "a@x.test"), "and it is asked for again soon");
	rig_free(&r);
}

static void test_site_concurrency(void)
{
	struct schedule_limits l = limits;
	struct rig r;
	struct schedule_job *j[16];
	int n, from_b = 0;

	l.site_concurrency = 3;
	r = rig_new(&l, 100);
	set_site(&r, "a.test", "mx");
	set_site(&r, "b.test", "mx");
	for (int i = 0; i < 10; i++) {
		add(&r, "a", "a.test", 1);
		add(&r, "b", "b.test", 1);
		add(&r, "c", "alone.test", 1);
	}
	n = all_jobs(&r, j, 16);
	is_int(n, 6, "three for the site of two, three for the one that is its own");
	for (int i = 0; i < n; i++)
		from_b += strcmp(name_of(j[i]), "b") == 0;
	ok(from_b == 1 || from_b == 2, "the two take turns: %d", from_b);
	for (int i = 0; i < n; i++)
		done(&r, j[i], SCHEDULE_REACHED);
	is_int(all_jobs(&r, j, 16), 6, "their places are taken again");
	/* One moves: what it has out counts where it began. */
	set_site(&r, "b.test", "other");
	is_int(all_jobs(&r, j + 6, 10), 3, "a destination that moves has its new site's room");
	for (int i = 0; i < 9; i++)
		done(&r, j[i], SCHEDULE_REACHED);
	n = all_jobs(&r, j, 16);
	is_int(n, 9, "and then three sites have three each");
	for (int i = 0; i < n; i++)
		done(&r, j[i], SCHEDULE_REACHED);
	/* A site whose one destination dies serves the other. */
	set_site(&r, "b.test", "mx");
	rig_free(&r);

	r = rig_new(&l, 100);
	set_site(&r, "a.test", "mx");
	set_site(&r, "b.test", "mx");
	for (int i = 0; i < 10; i++)
		add(&r, "a", "a.test", 1);
	for (int round = 0; round < 2; round++) {
		n = all_jobs(&r, j, 3);
		for (int i = 0; i < n; i++)
			done(&r, j[i], SCHEDULE_FAILED);
	}
	while ((j[0] = job(&r)) != NULL && j[0]->suspended)
		done(&r, j[0], SCHEDULE_NEUTRAL);
	add(&r, "b", "b.test", 1);
	j[0] = job(&r);
	is_str(name_of(j[0]), "b", "a dead destination blocks no place of its site");
	done(&r, j[0], SCHEDULE_REACHED);
	rig_free(&r);
}

static void test_site_rate(void)
{
	struct schedule_limits l = limits;
	struct rig r;

	l.site_rate = (struct schedule_rate){2, 10 * CLOCK_SEC};
	r = rig_new(&l, 100);
	set_site(&r, "a.test", "mx");
	set_site(&r, "b.test", "mx");
	for (int i = 0; i < 40; i++) {
		add(&r, "a", "a.test", 1);
		add(&r, "b", "b.test", 1);
	}
	is_int(jobs_in(&r, 100 * CLOCK_SEC), 2 + 19, "one rate for all destinations of a site");
	is_int(jobs_in(&r, 1), 1, "exactly");
	/* Everything of the site is gone for a while, nothing is forgotten. */
	l.site_rate.count = 0;
	schedule_transport_set(r.s, SLICE_LIT("smtp"), &l);
	rig_free(&r);

	l.site_rate = (struct schedule_rate){1, 10 * CLOCK_SEC};
	r = rig_new(&l, 100);
	add(&r, "a", "own.test", 1);
	is_int(jobs_in(&r, CLOCK_SEC), 1, "a site of its own");
	add(&r, "a", "own.test", 1);
	is_int(jobs_in(&r, 9 * CLOCK_SEC), 0, "is remembered without mail");
	is_int(jobs_in(&r, 1), 1, "as long as it matters");
	rig_free(&r);
}

int main(void)
{
	test_bucket();
	test_one_destination();
	test_clock();
	test_asking();
	test_own_site();
	test_site_concurrency();
	test_site_rate();
	return done_testing();
}

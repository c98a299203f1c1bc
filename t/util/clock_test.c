/* SPDX-License-Identifier: ISC */
#include "util/clock.h"

#include <stdlib.h>
#include <time.h>

#include "t/tap.h"

typedef void add_fn(struct buf *out, int64_t real);

static void check(add_fn *add, int64_t real, const char *want)
{
	struct buf b = BUF_INIT(100);

	add(&b, real);
	is_slice(buf_slice(&b), want, "%s", want);
	buf_clear(&b);
}

static void test_rfc5322(void)
{
	static const struct {
		int64_t second;
		const char *want;
	} rows[] = {
		{0, "Thu, 1 Jan 1970 00:00:00 +0000 (UTC)"},
		{-1, "Wed, 31 Dec 1969 23:59:59 +0000 (UTC)"},
		{951782399, "Mon, 28 Feb 2000 23:59:59 +0000 (UTC)"},
		{951782400, "Tue, 29 Feb 2000 00:00:00 +0000 (UTC)"},
		{951868800, "Wed, 1 Mar 2000 00:00:00 +0000 (UTC)"},
		{1709164800, "Thu, 29 Feb 2024 00:00:00 +0000 (UTC)"},
		{1795255200, "Sat, 21 Nov 2026 10:00:00 +0000 (UTC)"},
		{2147483648, "Tue, 19 Jan 2038 03:14:08 +0000 (UTC)"},
		{4107542399, "Sun, 28 Feb 2100 23:59:59 +0000 (UTC)"},
		{4107542400, "Mon, 1 Mar 2100 00:00:00 +0000 (UTC)"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		check(clock_add_rfc5322, rows[i].second * CLOCK_SEC, rows[i].want);
	check(clock_add_rfc5322, 999999, "Thu, 1 Jan 1970 00:00:00 +0000 (UTC)");
	check(clock_add_rfc5322, -1, "Wed, 31 Dec 1969 23:59:59 +0000 (UTC)");
}

/* Both local forms: the shorter one is the longer without its weekday. */
static bool agree(const struct tm *tm, int64_t second)
{
	struct buf b = BUF_INIT(100);
	char want[100];
	bool same = false;

	strftime(want, sizeof(want), "%b %e %H:%M:%S|%a %b %e %H:%M:%S", tm);
	clock_add_syslog(&b, second * CLOCK_SEC);
	buf_add_char(&b, '|');
	clock_add_ctime(&b, second * CLOCK_SEC);
	same = slice_eq_str(buf_slice(&b), want);
	if (!same)
		diag("%lld: got %s, want %s", (long long)second, buf_str(&b), want);
	buf_clear(&b);
	return same;
}

/* Against the C library, a step of some 9 days and some seconds from 1900 to 2400. */
static void test_against_library(void)
{
	bool good = true;

	for (time_t t = -2208988800; t < 13569465600 && good; t += 797111) {
		struct tm tm = {0};

		gmtime_r(&t, &tm);
		good = agree(&tm, t);
	}
	ok(good, "dates from 1900 to 2400 are the library's");
}

/* Rules as text need no zone files. Each half hour of some years to come must agree. */
static void test_zone(const char *zone)
{
	time_t now = time(NULL), start = now - now % 1800;
	bool good = true;

	setenv("TZ", zone, 1);
	clock_load_zone();
	for (time_t t = start - 200 * 86400; t < start + 5 * 366 * 86400 && good; t += 1800) {
		time_t before = t - 1;
		struct tm tm = {0};

		localtime_r(&t, &tm);
		good = agree(&tm, t);
		localtime_r(&before, &tm);
		good &= agree(&tm, before);
	}
	ok(good, "%s", zone);
	check(clock_add_rfc5322, 0, "Thu, 1 Jan 1970 00:00:00 +0000 (UTC)");
}

static void test_now(void)
{
	int64_t a = clock_mono(), b = clock_mono(), real = 0;
	time_t before = time(NULL), after = 0;

	real = clock_real();
	after = time(NULL);

	ok(a > 0 && b >= a, "the monotonic clock does not go back");
	ok(real / CLOCK_SEC >= before && real / CLOCK_SEC <= after + 1, "the time of day");
}

int main(void)
{
	test_rfc5322();
	check(clock_add_syslog, INT64_C(1795255200) * CLOCK_SEC, "Nov 21 10:00:00");
	check(clock_add_syslog, INT64_C(1798707600) * CLOCK_SEC, "Dec 31 09:00:00");
	check(clock_add_ctime, INT64_C(1793523600) * CLOCK_SEC, "Sun Nov  1 09:00:00");
	test_against_library();
	test_zone("UTC0");
	test_zone("CET-1CEST,M3.5.0,M10.5.0/3");
	test_zone("EST5EDT,M3.2.0,M11.1.0");
	test_zone("AEST-10AEDT,M10.1.0,M4.1.0/3");
	test_zone("NPT-5:45");
	test_now();
	return done_testing();
}

/* SPDX-License-Identifier: ISC */
#include "util/clock.h"

#include <time.h>

#define DAY INT64_C(86400)
#define ZONE_YEARS 20
#define ZONE_STEP (7 * DAY) /* no zone changes twice in a week */
#define ZONE_MAX 96

/* From second `from` on, local time is UTC plus offset. */
struct zone_change {
	int64_t from;
	int64_t offset;
};

static struct zone_change zone[ZONE_MAX];
static size_t zone_count;

struct civil {
	int64_t year;
	unsigned month, day; /* from 1 */
	unsigned weekday;    /* 0 is Sunday */
	unsigned hour, minute, second;
};

static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char weekdays[] = "SunMonTueWedThuFriSat";

static int64_t clock_get(clockid_t id)
{
	struct timespec ts = {0};

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * CLOCK_SEC + ts.tv_nsec / 1000;
}

int64_t clock_mono(void)
{
	return clock_get(CLOCK_MONOTONIC);
}

int64_t clock_real(void)
{
	return clock_get(CLOCK_REALTIME);
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/*
 * The date of a day since 1970. Years are counted from 1 March, so that the leap day is the last
 * of its year, in eras of 400 years (146,097 days).
 */
static void civil_date(int64_t days, struct civil *c)
{
	int64_t shifted = days + 719468; /* 0000-03-01 */
	int64_t era = floor_div(shifted, 146097);
	unsigned of_era = (unsigned)(shifted - era * 146097);
	unsigned year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	unsigned of_year = of_era - (365 * year + year / 4 - year / 100);
	unsigned month = (5 * of_year + 2) / 153; /* 0 is March */

	c->day = of_year - (153 * month + 2) / 5 + 1;
	c->month = month < 10 ? month + 3 : month - 9;
	c->year = era * 400 + year + (c->month <= 2);
	c->weekday = (unsigned)(days + 4 - 7 * floor_div(days + 4, 7));
}

static struct civil civil_of(int64_t second)
{
	struct civil c = {0};
	int64_t days = floor_div(second, DAY);
	unsigned rest = (unsigned)(second - days * DAY);

	civil_date(days, &c);
	c.hour = rest / 3600;
	c.minute = rest / 60 % 60;
	c.second = rest % 60;
	return c;
}

static int64_t zone_offset(int64_t second)
{
	size_t i = zone_count;

	while (i > 1 && zone[i - 1].from > second)
		i--;
	return i > 0 ? zone[i - 1].offset : 0;
}

static int64_t probe(int64_t second)
{
	time_t t = (time_t)second;
	struct tm tm = {0};

	return localtime_r(&t, &tm) != NULL ? tm.tm_gmtoff : 0;
}

/* The first second with the offset that holds at `after`; `before` has another one. */
static int64_t zone_bisect(int64_t before, int64_t after)
{
	int64_t offset = probe(after);

	while (after - before > 1) {
		int64_t middle = before + (after - before) / 2;

		if (probe(middle) == offset)
			after = middle;
		else
			before = middle;
	}
	return after;
}

void clock_load_zone(void)
{
	int64_t now = clock_real() / CLOCK_SEC;
	int64_t at = now - 366 * DAY, end = now + ZONE_YEARS * 366 * DAY;
	int64_t offset = 0;

	tzset();
	offset = probe(at);
	zone[0] = (struct zone_change){at, offset};
	zone_count = 1;
	for (; at < end && zone_count < ZONE_MAX; at += ZONE_STEP) {
		if (probe(at + ZONE_STEP) == offset)
			continue;
		offset = probe(at + ZONE_STEP);
		zone[zone_count++] = (struct zone_change){zone_bisect(at, at + ZONE_STEP), offset};
	}
}

void clock_add_rfc5322(struct buf *out, int64_t real)
{
	struct civil c = civil_of(floor_div(real, CLOCK_SEC));

	buf_add_fmt(out, "%.3s, %u %.3s %lld %02u:%02u:%02u +0000 (UTC)", weekdays + 3 * c.weekday,
		c.day, months + 3 * (c.month - 1), (long long)c.year, c.hour, c.minute, c.second);
}

static struct civil civil_local(int64_t real)
{
	int64_t second = floor_div(real, CLOCK_SEC);

	return civil_of(second + zone_offset(second));
}

static void add_day_and_time(struct buf *out, const struct civil *c)
{
	buf_add_fmt(out, "%.3s %2u %02u:%02u:%02u", months + 3 * (c->month - 1), c->day, c->hour,
		c->minute, c->second);
}

void clock_add_syslog(struct buf *out, int64_t real)
{
	struct civil c = civil_local(real);

	add_day_and_time(out, &c);
}

void clock_add_ctime(struct buf *out, int64_t real)
{
	struct civil c = civil_local(real);

	buf_add_fmt(out, "%.3s ", weekdays + 3 * c.weekday);
	add_day_and_time(out, &c);
}

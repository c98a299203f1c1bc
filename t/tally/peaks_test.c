/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include "tally/peaks.h"
#include "util/clock.h"

static struct buf told = BUF_INIT(8192);

static void tell(const char *line)
{
	(void)buf_add_fmt(&told, "%s|", line);
}

static void event(struct peaks *p, enum tally_kind kind, const char *service, const char *client,
	uint64_t rate, int64_t second)
{
	struct tally_event e = {.kind = kind,
		.count = 1,
		.service = slice_str(service),
		.client_addr = slice_str(client)};

	peaks_rate(p, &e, rate, second * CLOCK_SEC);
}

static const char *tell_all(struct peaks *p)
{
	buf_reset(&told);
	peaks_tell(p, 60 * CLOCK_SEC, tell);
	return buf_str(&told);
}

int main(void)
{
	static char longest[2000];
	struct peaks *p = peaks_new();
	struct tally_event e = {
		.service = SLICE_LIT("smtp"), .client_addr = SLICE_LIT("192.0.2.1")};

	is_str(tell_all(p), "", "nothing is told of nothing");
	event(p, TALLY_CONNECTIONS, "smtp", "192.0.2.1", 2, 1);
	event(p, TALLY_CONNECTIONS, "smtp", "192.0.2.2", 7, 2);
	event(p, TALLY_CONNECTIONS, "smtp", "192.0.2.3", 7, 3);
	event(p, TALLY_CONNECTIONS, "smtp", "192.0.2.1", 3, 4);
	is_str(tell_all(p),
		"statistics: max connection rate 7/60s for (smtp:192.0.2.2) at Jan  1 00:00:02|",
		"the first of the highest");
	is_str(tell_all(p), "", "once");
	event(p, TALLY_CONNECTIONS, "smtp", "192.0.2.1", 1, 86400);
	is_str(tell_all(p),
		"statistics: max connection rate 1/60s for (smtp:192.0.2.1) at Jan  2 00:00:00|",
		"then anew");
	event(p, TALLY_AUTHS, "submission", "2001:db8::1", 4, 5);
	event(p, TALLY_TLS_SESSIONS, "smtp", "192.0.2.1", 5, 5);
	event(p, TALLY_RECIPIENTS, "smtp", "192.0.2.1", 6, 5);
	event(p, TALLY_MESSAGES, "smtp", "192.0.2.1", 8, 5);
	event(p, TALLY_BYTES, "smtp", "192.0.2.1", 800, 5);
	event(p, TALLY_MESSAGES, "smtp", "", 900, 5);
	peaks_count(p, &e, 3, 12, 5 * CLOCK_SEC);
	peaks_count(p, &e, 2, 13, 6 * CLOCK_SEC);
	is_str(tell_all(p),
		"statistics: max connection count 3 for (smtp:192.0.2.1) at Jan  1 00:00:05|"
		"statistics: max message rate 8/60s for (smtp:192.0.2.1) at Jan  1 00:00:05|"
		"statistics: max recipient rate 6/60s for (smtp:192.0.2.1) at Jan  1 00:00:05|"
		"statistics: max newtls rate 5/60s for (smtp:192.0.2.1) at Jan  1 00:00:05|"
		"statistics: max auth rate 4/60s for (submission:2001:db8::1) at Jan  1 00:00:05|"
		"statistics: max cache size 13 at Jan  1 00:00:06|",
		"each kind in anvil's order, neither bytes nor logins");
	memset(longest, 'x', sizeof(longest) - 1);
	event(p, TALLY_MESSAGES, longest, "192.0.2.1", 1, 5);
	is_int(strlen(tell_all(p)),
		255 + strlen("statistics: max message rate 1/60s for () at Jan  1 00:00:05|"),
		"a name without end is cut");
	peaks_free(&p);
	ok(p == NULL, "freed");
	buf_clear(&told);
	return done_testing();
}

/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy/known_bans.h"
#include "tally/state.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

#define SEC CLOCK_SEC
#define T0 (INT64_C(1700000000) * SEC)

static const struct state_settings settings = {
	.rate_unit = 60 * SEC,
	.ban_window = 600 * SEC,
	.ban_limit = 3,
	.grey_limit = 1000,
	.grey_retry = 1000,
	.grey_age = 5000,
	.grey_auto = 3,
};

static char dir[] = "/tmp/tally_test.XXXXXX";
static unsigned ended;

static void gone(const struct ban *b)
{
	(void)b;
	ended++;
}

/* A store is left open as after kill -9: that is no leak to LeakSanitizer. */
const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
	return "leak:test_store\nleak:test_full\n";
}

static void open_at(int64_t now)
{
	state_open(&settings, open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), now, gone);
}

/* ---- rates ---- */

static uint64_t rate(const char *client, uint64_t n, uint64_t limit, int64_t at)
{
	struct tally_event e = {
		TALLY_MESSAGES, n, SLICE_LIT("smtp"), slice_str(client), SLICE_NONE};

	return state_rate(&e, limit, T0 + at * SEC);
}

static void test_rates(void)
{
	struct tally_event login = {
		TALLY_MESSAGES, 7, SLICE_LIT("smtp"), SLICE_NONE, SLICE_LIT("192.0.2.1")};

	is_int(rate("192.0.2.1", 1, 0, 0), 1, "first");
	is_int(rate("192.0.2.1", 2, 0, 30), 3, "three");
	is_int(rate("192.0.2.2", 1, 0, 30), 1, "another client");
	is_int(state_rate(&login, 0, T0), 7, "a login of that name is another one");
	is_int(rate("192.0.2.1", 0, 0, 59), 3, "within the window");
	is_int(rate("192.0.2.1", 0, 0, 66), 2, "the first has left it");
	is_int(rate("192.0.2.1", 0, 0, 96), 0, "all have");
	for (int i = 0; i < 5; i++)
		is_int(rate("192.0.2.3", 1, 5, 100), i + 1, "within the limit");
	is_int(rate("192.0.2.3", 1, 5, 101), 6, "over the limit");
	is_int(rate("192.0.2.3", 1, 5, 150), 6, "still, however often it comes");
	is_int(rate("192.0.2.3", 1, 5, 170), 1, "which is not held against it");
	is_int(rate("192.0.2.4", UINT64_MAX / 4, 0, 0), UINT64_MAX / 4, "a huge number");
	ok(rate("192.0.2.4", 1, 0, 0) > 1, "does not turn small");
	is_int(rate("192.0.2.5", 1, 0, 1000000), 1, "a clock ahead");
	is_int(rate("192.0.2.5", 1, 0, 0), 1, "that is set back");
}

/* ---- failures, bans ---- */

static const struct ban *fail_at(
	enum tally_kind kind, const char *client, uint64_t mark, int64_t at)
{
	struct tally_failure f = {
		.kind = kind,
		.client_addr = slice_str(client),
		.limit = 3,
		.ban_seconds = 100,
		.mark = mark,
		.has_mark = mark != 0,
	};

	return state_fail(&f, T0 + at * SEC);
}

static bool is_banned(const char *client, int64_t at)
{
	return state_ban_of(slice_str(client), T0 + at * SEC) != NULL;
}

static void test_failures(void)
{
	const struct ban *b = NULL;

	for (int i = 0; i < 10; i++)
		ok(fail_at(TALLY_BAD_AUTH, "192.0.2.1", 77, i) == NULL, "the same wrong password");
	ok(fail_at(TALLY_BAD_AUTH, "192.0.2.1", 78, 20) == NULL, "a second one");
	ok(fail_at(TALLY_UNKNOWN_RECIPIENT, "192.0.2.1", 0, 20) == NULL, "another kind");
	b = fail_at(TALLY_BAD_AUTH, "192.0.2.1", 79, 30);
	ok(b != NULL && b->origin == BAN_AUTH && b->until == T0 + 130 * SEC, "the third bans");
	ok(is_banned("192.0.2.1", 31) && !is_banned("192.0.2.2", 31), "that client");
	ok(!is_banned("192.0.2.1", 131), "for its time");
	ok(fail_at(TALLY_BAD_AUTH, "192.0.2.1", 80, 140) == NULL, "then it begins anew");
	ok(fail_at(TALLY_ERROR, "192.0.2.9", 0, 0) == NULL, "an error");
	ok(fail_at(TALLY_ERROR, "192.0.2.9", 0, 1) == NULL, "two");
	ok(fail_at(TALLY_ERROR, "192.0.2.9", 0, 700) == NULL, "these are out of the window");
	ok(fail_at(TALLY_ERROR, "host.example", 0, 0) == NULL, "no address");
	ok(fail_at(TALLY_ERROR, "2001:db8::/84", 0, 0) == NULL, "a network as client");
}

static const struct ban *ban(const char *client, int64_t at, int64_t until)
{
	struct net_range r;

	if (net_range_parse(slice_str(client), &r) != 0)
		bail_out("%s", client);
	return state_ban(
		&r, BAN_OPERATOR, T0 + at * SEC, T0 + until * SEC, SLICE_LIT("for a test"));
}

static void test_bans(void)
{
	struct ban_cursor c;
	struct net_range r;
	unsigned n = 0;

	ended = 0;
	ban("10.0.0.0/8", 0, 1000);
	ban("10.1.2.3", 0, 10);
	ban("192.0.2.8", 0, 1000);
	ok(ended > 0, "one over the limit: the oldest ends");
	ok(is_banned("10.9.9.9", 20) && is_banned("10.1.2.3", 20), "by the network");
	ended = 0;
	is_int(bans_expire(state_bans(), T0 + 20 * SEC), T0 + 1000 * SEC, "when the next one ends");
	is_int(ended, 1, "one has ended");
	ban("192.0.2.8", 30, 2000);
	is_int(ended, 1, "renewed, not ended");
	bans_begin(state_bans(), &c);
	ok(net_range_parse(SLICE_LIT("10.0.0.0/8"), &r) == 0 && state_unban(&r), "removed");
	ok(!state_unban(&r), "once");
	while (bans_next(state_bans(), &c) != NULL)
		n++;
	bans_end(&c);
	is_int(n, 1, "a walk does not see the one that went");
}

static void test_known(void)
{
	struct known_bans *k = known_bans_new();
	struct buf b = BUF_INIT(1000);
	struct net_range one, two;

	(void)net_range_parse(SLICE_LIT("192.0.2.1"), &one);
	(void)net_range_parse(SLICE_LIT("10.0.0.0/8"), &two);
	known_bans_put(&b, &one, T0 + SEC);
	known_bans_put(&b, &two, T0 + SEC);
	ok(known_bans_take(k, buf_slice(&b), false, false), "two come");
	ok(known_bans_has(k, &one, T0) && !known_bans_has(k, &one, T0 + SEC), "till their end");
	buf_reset(&b);
	known_bans_put(&b, &two, T0 + 5 * SEC);
	known_bans_take(k, buf_slice(&b), true, false);
	ok(known_bans_has(k, &one, T0), "all of them come anew: known ones hold meanwhile");
	known_bans_take(k, SLICE_NONE, false, true);
	ok(!known_bans_has(k, &one, T0) && known_bans_has(k, &two, T0), "the others are forgotten");
	buf_reset(&b);
	known_bans_put(&b, &two, 0);
	ok(!known_bans_take(k, buf_slice(&b), false, false) && known_bans_count(k) == 0, "ended");
	buf_clear(&b);
	known_bans_free(&k);
}

/* ---- greylist ---- */

static int64_t grey(const char *client, const char *from, const char *to, int64_t at)
{
	return state_greylist(
		slice_str(client), slice_str(from), slice_str(to), 100, T0 + at * SEC);
}

static void test_grey(void)
{
	is_int(grey("192.0.2.1", "a@b", "c@d", 0), 100, "a new one waits");
	is_int(grey("192.0.2.1", "a@b", "c@d", 40), 60, "early");
	is_int(grey("192.0.2.200", "A@b", "c@D", 101), 0, "passes, from the same network too");
	is_int(grey("192.0.3.1", "a@b", "c@d", 101), 100, "another network");
	is_int(grey("192.0.2.1", "a@b", "c@d", 5000), 0, "remembered");
	is_int(grey("192.0.2.1", "a@b", "c@d", 11000), 100, "not for ever");
	is_int(grey("192.0.4.1", "", "c@d", 0), 100, "the null sender");
	is_int(grey("192.0.4.1", "", "c@d", 1001), 100, "came too late");
	is_int(grey("192.0.4.1", "", "c@d", 1102), 0, "then in time");
	grey("192.0.4.1", "x@b", "c@d", 1200);
	grey("192.0.4.1", "y@b", "c@d", 1200);
	is_int(grey("192.0.4.1", "x@b", "c@d", 1300), 0, "two");
	is_int(grey("192.0.4.1", "z@b", "c@d", 1300), 100, "not known yet");
	is_int(grey("192.0.4.1", "y@b", "c@d", 1300), 0, "three");
	is_int(grey("192.0.4.1", "new@b", "new@d", 1301), 0, "a network that is known by now");
	is_int(grey("2001:db8::1", "a@b", "c@d", 0), 100, "IPv6");
	is_int(grey("2001:db8::ffff", "a@b", "c@d", 100), 0, "by /64");
}

/* ---- the store ---- */

static void change(const char *client, int64_t at)
{
	fail_at(TALLY_UNKNOWN_RECIPIENT, client, 0, at);
	fail_at(TALLY_UNKNOWN_RECIPIENT, client, 0, at);
	ban("198.51.100.7", at, at + 500);
	grey("198.51.100.1", "s@b", "r@d", at);
	state_keep(SLICE_LIT("probe:x@y"), SLICE_LIT("good"), T0 + (at + 500) * SEC);
	rate("198.51.100.9", 4, 0, at);
}

static void check(const char *how, int64_t at)
{
	struct slice value;
	int64_t until = 0;

	ok(is_banned("198.51.100.7", at), "%s: a ban", how);
	is_int(grey("198.51.100.1", "s@b", "r@d", at + 110), 0, "%s: the greylist", how);
	ok(state_kept(SLICE_LIT("probe:x@y"), T0 + at * SEC, &value, &until) &&
			slice_eq_str(value, "good"),
		"%s: the cache", how);
}

static void newest(const char *kind, char path[200])
{
	unsigned best = 0;

	for (unsigned n = 1; n < 100; n++) {
		(void)snprintf(path, 200, "%s/%s.%u", dir, kind, n);
		if (access(path, F_OK) == 0)
			best = n;
	}
	(void)snprintf(path, 200, "%s/%s.%u", dir, kind, best);
}

static void test_store(void)
{
	char path[200];
	struct stat st;
	int64_t at = 20000;

	open_at(T0 + at * SEC);
	change("203.0.113.5", at);
	state_flush();
	/* As after kill -9: nothing is closed. */
	open_at(T0 + (at + 1) * SEC);
	check("killed", at + 1);
	ok(fail_at(TALLY_UNKNOWN_RECIPIENT, "203.0.113.5", 0, at + 2) != NULL,
		"killed: failures were kept");
	is_int(rate("198.51.100.9", 0, 0, at + 2), 0, "killed: rates were not");
	rate("198.51.100.9", 4, 0, at);
	state_close(T0 + (at + 3) * SEC);
	open_at(T0 + (at + 4) * SEC);
	is_int(rate("198.51.100.9", 0, 0, at + 5), 4, "a clean end keeps rates too");
	struct net_range r;
	(void)net_range_parse(SLICE_LIT("198.51.100.7"), &r);
	state_unban(&r);
	state_close(T0 + (at + 5) * SEC);
	open_at(T0 + (at + 6) * SEC);
	ok(!is_banned("198.51.100.7", at + 6), "what was removed stays so");

	/* A torn tail: each length of it. */
	change("203.0.113.6", at + 10);
	state_flush();
	newest("log", path);
	if (stat(path, &st) != 0)
		bail_out("%s", path);
	off_t whole = st.st_size;
	unsigned bad = 0;
	for (off_t size = whole; size > whole - 40; size -= 3) {
		if (truncate(path, size) != 0)
			bail_out("truncate");
		open_at(T0 + (at + 11) * SEC);
		bad += !is_banned("198.51.100.7", at + 11);
	}
	is_int(bad, 0, "a torn tail takes nothing else along");

	/* A snapshot, and what comes behind it. */
	open_at(T0 + (at + 11) * SEC);
	ok(state_is_due(), "many logs: a snapshot is due");
	ban("198.51.100.8", at, at + 500);
	int fd = state_compact(T0 + (at + 12) * SEC);
	ok(fd >= 0 && !state_is_due(), "begun");
	ban("198.51.100.9", at, at + 500);
	state_flush();
	struct pollfd p = {fd, POLLIN, 0};
	ok(poll(&p, 1, 100000) == 1, "done");
	state_compacted();
	newest("snapshot", path);
	ok(access(path, F_OK) == 0, "it is there");
	open_at(T0 + (at + 13) * SEC);
	ok(is_banned("198.51.100.7", at + 13) && is_banned("198.51.100.8", at + 13) &&
			is_banned("198.51.100.9", at + 13),
		"with what came behind it");

	/* A byte of it is wrong: what stands before that is used, and what comes behind. */
	int file = open(path, O_WRONLY | O_CLOEXEC);
	if (file < 0 || pwrite(file, "x", 1, 250) != 1)
		bail_out("%s", path);
	close(file);
	open_at(T0 + (at + 14) * SEC);
	ok(is_banned("198.51.100.9", at + 14), "a damaged snapshot is not the end");
	state_close(T0 + (at + 14) * SEC);
}

/* A disk that has no room for a while: what was whole stays, what comes later is kept again. */
static void test_full(void)
{
	struct rlimit old, small;
	struct stat st;
	char path[200];
	int64_t at = 40000;

	open_at(T0 + at * SEC);
	ban("203.0.113.1", at, at + 500);
	state_flush();
	newest("log", path);
	if (stat(path, &st) != 0 || getrlimit(RLIMIT_FSIZE, &old) != 0)
		bail_out("%s", path);
	small = old;
	small.rlim_cur = (rlim_t)st.st_size + 20;
	signal(SIGXFSZ, SIG_IGN);
	if (setrlimit(RLIMIT_FSIZE, &small) != 0)
		bail_out("setrlimit");
	ban("203.0.113.2", at, at + 500);
	state_flush();
	ok(is_banned("203.0.113.2", at), "full: a ban is in force");
	if (setrlimit(RLIMIT_FSIZE, &old) != 0)
		bail_out("setrlimit");
	ban("203.0.113.3", at, at + 500);
	state_flush();
	open_at(T0 + (at + 1) * SEC);
	ok(is_banned("203.0.113.1", at + 1), "what was there before is kept");
	ok(is_banned("203.0.113.3", at + 1), "and what comes behind it");
	state_close(T0 + (at + 1) * SEC);
}

int main(void)
{
	log_set_level(LOG_LEVEL_NONE);
	if (mkdtemp(dir) == NULL)
		bail_out("mkdtemp");
	state_open(&settings, -1, T0, gone);
	test_rates();
	test_failures();
	test_bans();
	test_known();
	test_grey();
	test_store();
	test_full();
	char *command = mem_fmt("rm -r %s", dir);
	is_int(system(command), 0, "removed");
	mem_free(command);
	return done_testing();
}

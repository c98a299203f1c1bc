/* SPDX-License-Identifier: ISC */
#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "t/tap.h"
#include "util/err.h"
#include "util/fd.h"

#define STAMP (sizeof("Nov 21 10:00:00 ") - 1)

static struct buf got = BUF_INIT(16 << 20);

/* Everything that is readable now. */
static struct slice drain(int fd)
{
	char *room = NULL;
	ssize_t n = 0;

	buf_reset(&got);
	fd_set_nonblock(fd, true);
	while (buf_room(&got, 65536, &room) == 0 && (n = read(fd, room, 65536)) > 0)
		buf_added(&got, (size_t)n);
	return buf_slice(&got);
}

/* A pipe as log file; the reading end. */
static int file_sink(void)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		bail_out("pipe");
	log_set_sink(LOG_SINK_FILE, fds[1]);
	return fds[0];
}

static int syslog_sink(void)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds) < 0)
		bail_out("socketpair");
	log_set_sink(LOG_SINK_SYSLOG, fds[1]);
	return fds[0];
}

/* The text with the process ID in place of its PID. */
static const char *pid_line(const char *text)
{
	static char out[200];
	ptrdiff_t at = slice_find_str(slice_str(text), "PID");

	snprintf(out, sizeof(out), "%.*s%d%s", (int)at, text, (int)getpid(), text + at + 3);
	return out;
}

static void is_line(struct slice line, const char *text)
{
	is_slice(slice_from(line, STAMP), pid_line(text), "%s", text);
}

static void log_all(void)
{
	log_debug("five");
	log_info("one %d", 1);
	log_info_as("pickup", "two");
	log_warning("three");
	log_error("four");
}

static void test_levels(void)
{
	static const struct {
		enum log_level level;
		const char *want;
	} rows[] = {
		{LOG_LEVEL_NONE, ""},
		{LOG_LEVEL_ERROR, "smtpd: warning: three\nsmtpd: error: four\n"},
		{LOG_LEVEL_INFO,
			"smtpd: one 1\npickup: two\nsmtpd: warning: three\nsmtpd: error: four\n"},
		{LOG_LEVEL_DEBUG, "smtpd: five\nsmtpd: one 1\npickup: two\n"
				  "smtpd: warning: three\nsmtpd: error: four\n"},
	};
	char text[4096];

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		log_set_level(rows[i].level);
		is_int(log_is_debug(), rows[i].level == LOG_LEVEL_DEBUG, "is_debug");
		tap_child(log_all, text, sizeof(text));
		is_str(text, rows[i].want, "level %zu on standard error", i);
	}
	log_set_level(LOG_LEVEL_INFO);
}

static void test_file(void)
{
	int fd = file_sink();
	struct slice all = SLICE_NONE, line = SLICE_NONE;

	log_all();
	is_int(drain(fd).len, 0, "nothing is written before the flush");
	is_int(log_flush(), 0, "flush");
	all = drain(fd);
	ok(all.p[3] == ' ' && all.p[6] == ' ' && all.p[9] == ':', "a time stamp");
	slice_part(&all, '\n', &line);
	is_line(line, "mx gatepost/smtpd[PID]: one 1");
	slice_part(&all, '\n', &line);
	is_line(line, "mx gatepost/pickup[PID]: two");
	slice_part(&all, '\n', &line);
	is_line(line, "mx gatepost/smtpd[PID]: warning: three");
	slice_part(&all, '\n', &line);
	is_line(line, "mx gatepost/smtpd[PID]: error: four");
	is_slice(all, "", "no more");
	is_int(log_flush(), 0, "nothing to flush");
	fd_close(&fd);
}

static void test_syslog(void)
{
	static const char *const want[] = {
		"<22>Nov 21 10:00:00 gatepost/smtpd[PID]: one 1",
		"<22>Nov 21 10:00:00 gatepost/pickup[PID]: two",
		"<20>Nov 21 10:00:00 gatepost/smtpd[PID]: warning: three",
		"<19>Nov 21 10:00:00 gatepost/smtpd[PID]: error: four",
	};
	int fd = syslog_sink();
	char text[1000];

	log_all();
	is_int(log_flush(), 0, "flush");
	for (size_t i = 0; i < COUNT_OF(want); i++) {
		const char *expect = pid_line(want[i]);
		ssize_t n = recv(fd, text, sizeof(text), MSG_DONTWAIT);
		struct slice line = slice_of(text, n > 0 ? (size_t)n : 0);

		ok(slice_eq(slice_first(line, 4), slice_of(expect, 4)), "severity %zu", i);
		is_slice(slice_from(line, 4 + STAMP), expect + 4 + STAMP, "datagram %zu", i);
	}
	is_int(recv(fd, text, sizeof(text), MSG_DONTWAIT), -1, "no more");
	for (int i = 0; i < 150; i++)
		log_info("many %d", i);
	is_int(log_flush() == 0 || errno == EAGAIN, 1, "more than a batch");
	fd_close(&fd);
}

static void test_control_characters(void)
{
	int fd = file_sink();
	char text[20000];
	struct slice line = SLICE_NONE;

	log_info("a\nfaked\r\tline\x7f\x1b[2J\xc3\xa4");
	log_flush();
	line = slice_trim(drain(fd));
	is_line(line, "mx gatepost/smtpd[PID]: a?faked??line??[2J\xc3\xa4");
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_info("%s", text);
	log_info("next");
	log_flush();
	line = drain(fd);
	ok(slice_find(line, '\n') > 4000 && slice_find(line, '\n') < 8192, "a long line is cut");
	ok(slice_ends(line, ": next\n"), "and the next stands by itself");
	fd_close(&fd);
}

static void test_quote(void)
{
	static const struct {
		struct slice in;
		size_t max;
		const char *want;
	} rows[] = {
		{SLICE_NONE, 10, ""},
		{SLICE_LIT("plain <a@b>"), 100, "plain <a@b>"},
		{SLICE_LIT("a\r\n\t\0\x7f"
			   "b"),
			100, "a?????b"},
		{SLICE_LIT("\xc3\xa4\xe2\x82\xac"), 100, "\xc3\xa4\xe2\x82\xac"},
		{SLICE_LIT("\xc2\x85"
			   "x"),
			100, "??x"},
		{SLICE_LIT("\xc3(\xff\xed\xa0\x80"), 100, "?(????"},
		{SLICE_LIT("abcdef"), 3, "abc"},
		{SLICE_LIT("ab\xc3\xa4"), 3, "ab"},
		{SLICE_LIT("abc"), 0, ""},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct buf b = BUF_INIT(100);

		log_quote(&b, rows[i].in, rows[i].max);
		is_slice(buf_slice(&b), rows[i].want, "quote row %zu", i);
		buf_clear(&b);
	}
}

static void test_quote_static(void)
{
	char text[1000];
	const char *a = log_qs("a\n"), *b = log_q(SLICE_LIT("b"));

	for (int i = 0; i < 6; i++)
		log_qs("x");
	is_str(a, "a?", "eight at once");
	is_str(b, "b", "and each its own");
	memset(text, 'y', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	is_int(strlen(log_qs(text)), 511, "cut at 511 bytes");
	is_str(log_qs(NULL), "", "NULL is empty");
}

static size_t count_lines(struct slice all, const char *with)
{
	struct slice line = SLICE_NONE;
	size_t n = 0;

	while (slice_part(&all, '\n', &line))
		n += slice_find_str(line, with) >= 0;
	return n;
}

/* Reads and flushes in turn until all is out; what came, in order, into all. */
static void drain_all(int fd, struct buf *all)
{
	int r = 0;

	do {
		r = log_flush();
		buf_add_slice(all, drain(fd));
	} while (r == ERR_AGAIN);
	is_int(r, 0, "all is out");
}

/* A reader that has stopped: lines pile up to a bound, are then counted, and the count is told. */
static void test_lost_lines(void)
{
	int fd = file_sink();
	struct buf all = BUF_INIT(4 << 20);
	char want[100];
	const size_t total = 10000;
	uint64_t seq = 0;

	for (size_t i = 0; i < total / 2; i++)
		log_info("line of some hundred bytes, as they are in a mail log: %060zu", i);
	is_int(log_flush(), ERR_AGAIN, "the pipe is full");
	for (size_t i = total / 2; i < total; i++)
		log_info("line of some hundred bytes, as they are in a mail log: %060zu", i);
	seq = log_must("in doubt");
	ok(!log_is_written(seq), "a line that must not be lost waits");
	drain_all(fd, &all);
	ok(log_is_written(seq), "and is written");
	is_int(count_lines(buf_slice(&all), "warning: in doubt"), 1, "once");
	snprintf(want, sizeof(want), "warning: %zu log lines lost",
		total - count_lines(buf_slice(&all), "line of some"));
	ok(count_lines(buf_slice(&all), "line of some") > 2000, "many lines came");
	ok(count_lines(buf_slice(&all), "line of some") < total, "some were lost");
	is_int(count_lines(buf_slice(&all), want), 1, "%s", want);
	log_info("after");
	log_flush();
	is_int(count_lines(drain(fd), "lost"), 0, "the count is told once");
	buf_clear(&all);
	fd_close(&fd);
}

/* A burst without a flush between: the sink takes it all. */
static void test_burst(void)
{
	FILE *file = tmpfile();
	struct buf all = BUF_INIT(1 << 24);
	const size_t total = 10000;

	if (file == NULL)
		bail_out("tmpfile");
	log_set_sink(LOG_SINK_FILE, dup(fileno(file)));
	for (size_t i = 0; i < total; i++)
		log_info("line of a burst, as long as those of mail that is deferred: %080zu", i);
	log_flush();
	if (fseek(file, 0, SEEK_SET) != 0 || fd_read_all(fileno(file), &all) != 0)
		bail_out("file");
	is_int(count_lines(buf_slice(&all), "line of a burst"), (intmax_t)total,
		"none of many lines is lost");
	is_int(count_lines(buf_slice(&all), "lost"), 0, "and nothing is said of that");
	buf_clear(&all);
	fclose(file);
}

static void test_sequence(void)
{
	int fd = file_sink();
	uint64_t a = log_must("a"), b = 0;

	log_flush();
	log_info("between");
	b = log_must("b");
	ok(b > a, "later lines have higher numbers");
	ok(log_is_written(a) && !log_is_written(b), "the first is out, the second not");
	log_flush();
	ok(log_is_written(b), "both are out");
	drain(fd);
	log_set_level(LOG_LEVEL_NONE);
	a = log_must("c");
	log_set_level(LOG_LEVEL_INFO);
	log_flush();
	is_int(count_lines(drain(fd), "warning: c"), 1, "no level leaves it out");
	fd_close(&fd);
}

/* The first line is half in a pipe when the sink changes: the new one gets it whole. */
static void test_change_of_sink(void)
{
	int old = file_sink(), fd = -1;
	struct buf all = BUF_INIT(4 << 20), rest = BUF_INIT(4 << 20);
	struct slice lines = SLICE_NONE, line = SLICE_NONE;
	size_t n = 0, bad = 0;
	int twice = 0;

	for (int i = 0; i < 1000; i++)
		log_info("%0150d", i);
	is_int(log_flush(), ERR_AGAIN, "the pipe is full");
	buf_add_slice(&all, drain(old));
	ok(!slice_ends(buf_slice(&all), "\n"), "it ends within a line");
	/* Where in the line depends on how long the process id is. */
	line = slice_from(buf_slice(&all), (size_t)slice_find_last(buf_slice(&all), '\n') + 1);
	twice = slice_find_str(line, "mx gatepost/smtpd") >= 0;
	fd = file_sink();
	drain_all(fd, &rest);
	is_int(count_lines(buf_slice(&all), "mx gatepost/smtpd") +
			count_lines(buf_slice(&rest), "mx gatepost/smtpd"),
		1000 + twice, "only the line that was cut is there twice");
	lines = buf_slice(&rest);
	while (slice_part(&lines, '\n', &line) && lines.p != NULL) {
		n++;
		bad += slice_find_str(line, "mx gatepost/smtpd[") != (ptrdiff_t)STAMP;
	}
	ok(n > 0 && bad == 0, "each line is whole");
	buf_clear(&all);
	buf_clear(&rest);
	fd_close(&old);
	fd_close(&fd);
}

static void test_conversion(void)
{
	int fd = file_sink(), other = -1;
	char text[1000];
	ssize_t n = 0;

	log_warning("moved");
	other = syslog_sink();
	log_flush();
	n = recv(other, text, sizeof(text), MSG_DONTWAIT);
	ok(n > 4 && memcmp(text, "<20>", 4) == 0, "a file's warning has its severity");
	is_line(slice_of(text + 4, n > 4 ? (size_t)n - 4 : 0),
		"gatepost/smtpd[PID]: warning: moved");
	log_info("back");
	fd_close(&fd);
	fd = file_sink();
	log_flush();
	is_line(slice_trim(drain(fd)), "mx gatepost/smtpd[PID]: back");
	fd_close(&fd);
	fd_close(&other);
}

static void pending_to_stderr(void)
{
	int fd = syslog_sink();

	log_warning("left");
	log_set_sink(LOG_SINK_STDERR, -1);
	fd_close(&fd);
}

static int failures;

static void on_failure(void)
{
	failures++;
}

static void test_failure(void)
{
	int fd = file_sink();
	uint64_t seq = 0;

	log_on_failure(on_failure);
	fd_close(&fd);
	seq = log_must("kept");
	is_int(log_flush(), ERR_SYS, "nobody reads");
	is_int(errno, EPIPE, "errno says so");
	is_int(log_flush(), ERR_SYS, "still");
	is_int(failures, 1, "told once a second at most");
	ok(!log_is_written(seq), "not written");
	fd = file_sink();
	is_int(log_flush(), 0, "a new sink");
	is_int(count_lines(drain(fd), "warning: kept"), 1, "gets the line");
	ok(log_is_written(seq), "written");
	log_on_failure(NULL);
	fd_close(&fd);

	fd = syslog_sink();
	fd_close(&fd);
	log_info("x");
	is_int(log_flush(), ERR_SYS, "no log daemon");
	fd = file_sink();
	is_int(log_flush(), 0, "a file in its place");
	fd_close(&fd);
	log_set_sink(LOG_SINK_STDERR, -1);
}

static void end_fatal(void)
{
	log_fatal("no %s", "way");
}

static void end_panic(void)
{
	log_panic("never");
}

static void fatal_with_lines(void)
{
	log_set_sink(LOG_SINK_FILE, dup(STDERR_FILENO));
	log_info("before");
	log_fatal("the end");
}

static void fatal_without_reader(void)
{
	int fd = file_sink();

	fd_close(&fd);
	log_fatal("unheard");
}

static void test_ends(void)
{
	char text[4096];
	int status = tap_child(pending_to_stderr, text, sizeof(text));

	ok(slice_ends(slice_str(text), "]: warning: left\n") && text[0] != '<',
		"what was gathered goes to standard error: %s", text);
	status = tap_child(end_fatal, text, sizeof(text));
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 1, "fatal ends with 1");
	is_str(text, "smtpd: fatal: no way\n", "its line");
	status = tap_child(end_panic, text, sizeof(text));
	ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "panic aborts");
	ok(slice_starts(slice_str(text), "smtpd: panic: never\n"), "its line");
	tap_child(fatal_with_lines, text, sizeof(text));
	is_int(count_lines(slice_str(text), ": before"), 1, "what was gathered goes first");
	ok(slice_ends(slice_str(text), ": fatal: the end\n"), "then the last words");
	tap_child(fatal_without_reader, text, sizeof(text));
	ok(strstr(text, "fatal: unheard") != NULL, "on standard error when the sink is lost");
}

int main(void)
{
	char text[4096];

	signal(SIGPIPE, SIG_IGN);
	tap_child(log_all, text, sizeof(text));
	ok(strstr(text, "log_test: one 1\n") != NULL, "before log_init: %s", text);
	log_init("gatepost/smtpd", "mx");
	test_levels();
	test_file();
	test_syslog();
	test_control_characters();
	test_quote();
	test_quote_static();
	test_lost_lines();
	test_burst();
	test_sequence();
	test_change_of_sink();
	test_conversion();
	test_failure();
	test_ends();
	buf_clear(&got);
	return done_testing();
}

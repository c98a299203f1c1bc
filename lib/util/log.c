/* SPDX-License-Identifier: ISC */
#include "util/log.h"

#include <errno.h>
#include <pthread.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/err.h"
#include "util/fd.h"

#define LINE_MAX_BYTES 8192
#define GATHER_MAX ((size_t)256 * 1024) /* over it lines are lost and counted */
#define MUST_MAX ((size_t)64 * 1024 * 1024)
#define FLUSH_BATCH 64
#define FATAL_WAIT_MS 1000

#define MAIL_FACILITY (2 << 3)

/* Severities of RFC 5424, 6.2.1. */
enum grade { GRADE_CRIT = 2, GRADE_ERR = 3, GRADE_WARNING = 4, GRADE_INFO = 6, GRADE_DEBUG = 7 };

struct line {
	const char *program; /* NULL: the process's own */
	enum grade grade;
	const char *word; /* "warning: " */
};

static struct {
	char name[64];    /* what is before the slash of the tag */
	char program[64]; /* what is behind it */
	char host[256];
	enum log_level level;
	enum log_sink sink;
	int fd;
	/*
	 * Lines as the sink takes them, each ended by LF. Only whole lines are taken off it: sent
	 * says how much of the first one a file has already, so that another sink gets it whole.
	 */
	struct buf pending;
	size_t sent;
	uint64_t added, written; /* lines */
	uint64_t lost;
	struct buf stamp; /* of second stamp_second */
	int64_t stamp_second;
	void (*failed)(void);
	int64_t failed_at;
} state = {
	.level = LOG_LEVEL_INFO,
	.fd = -1,
	.pending = {.limit = MUST_MAX},
	.stamp = {.limit = 64},
	.failed_at = -CLOCK_SEC,
};

static void copy_text(char *to, size_t size, struct slice from)
{
	snprintf(to, size, "%.*s", SLICE_FMT(from));
}

void log_init(const char *tag, const char *host)
{
	struct slice all = slice_str(tag);
	ptrdiff_t slash = slice_find_last(all, '/');

	copy_text(state.name, sizeof(state.name), slice_first(all, slash > 0 ? (size_t)slash : 0));
	copy_text(state.program, sizeof(state.program), slice_from(all, (size_t)(slash + 1)));
	if (host != NULL)
		copy_text(state.host, sizeof(state.host), slice_str(host));
	else if (gethostname(state.host, sizeof(state.host)) < 0)
		copy_text(state.host, sizeof(state.host), SLICE_LIT("localhost"));
	state.host[sizeof(state.host) - 1] = '\0';
}

void log_set_level(enum log_level level)
{
	state.level = level;
}

bool log_is_debug(void)
{
	return state.level >= LOG_LEVEL_DEBUG;
}

void log_on_failure(void (*lost)(void))
{
	state.failed = lost;
}

static struct slice stamp_now(void)
{
	int64_t now = clock_real();

	if (state.stamp.len == 0 || state.stamp_second != now / CLOCK_SEC) {
		buf_reset(&state.stamp);
		clock_add_syslog(&state.stamp, now);
		state.stamp_second = now / CLOCK_SEC;
	}
	return buf_slice(&state.stamp);
}

static const char *program_name(const struct line *l)
{
	if (l->program != NULL)
		return l->program;
	return state.program[0] != '\0' ? state.program : program_invocation_short_name;
}

/* The process id, asked for once a process and not once a line. */
static pid_t pid;

static void forget_pid(void)
{
	pid = 0;
}

static pid_t own_pid(void)
{
	static bool watching;

	if (!watching)
		watching = pthread_atfork(NULL, NULL, forget_pid) == 0;
	if (pid == 0 || !watching)
		pid = getpid();
	return pid;
}

/* All of a line before its text, as the sink wants it. */
static size_t format_head(char *to, size_t size, const struct line *l)
{
	const char *program = program_name(l), *slash = state.name[0] != '\0' ? "/" : "";
	struct slice stamp = SLICE_NONE;
	int n = 0;

	if (state.sink == LOG_SINK_STDERR)
		return (size_t)snprintf(to, size, "%.64s: %s", program, l->word);
	stamp = stamp_now();
	if (state.sink == LOG_SINK_SYSLOG)
		n = snprintf(to, size, "<%d>%.*s %s%s%.64s[%d]: %s", MAIL_FACILITY | (int)l->grade,
			SLICE_FMT(stamp), state.name, slash, program, (int)own_pid(), l->word);
	else
		n = snprintf(to, size, "%.*s %s %s%s%.64s[%d]: %s", SLICE_FMT(stamp), state.host,
			state.name, slash, program, (int)own_pid(), l->word);
	return (size_t)n;
}

/* The line with its LF, in a static buffer: logging that memory is exhausted must not need any. */
__attribute__((format(printf, 2, 0))) static struct slice format_line(
	const struct line *l, const char *fmt, va_list ap)
{
	static char text[LINE_MAX_BYTES];
	size_t len = format_head(text, sizeof(text), l);
	int n = vsnprintf(text + len, sizeof(text) - len, fmt, ap);

	if (n > 0)
		len += (size_t)n;
	if (len > sizeof(text) - 2)
		len = sizeof(text) - 2;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 127)
			text[i] = '?';
	text[len++] = '\n';
	return slice_of(text, len);
}

static int flush_file(void);
static int flush_syslog(void);

/* Of many lines in one iteration: what the sink takes now is not lost. Once it takes none, no more.
 */
static void make_room(void)
{
	while (state.pending.len > 0 && state.lost == 0) {
		int r = state.sink == LOG_SINK_FILE ? flush_file() : flush_syslog();

		if (r < 0)
			return;
	}
}

static void add_line(struct slice line, size_t limit)
{
	if (state.sink == LOG_SINK_STDERR) {
		fd_write_full(STDERR_FILENO, line.p, line.len);
		return;
	}
	if (state.pending.len + line.len > limit)
		make_room();
	if (state.pending.len + line.len > limit) {
		state.lost++;
		return;
	}
	buf_add_slice(&state.pending, line);
	state.added++;
}

__attribute__((format(printf, 3, 0))) static void add_text(
	const struct line *l, size_t limit, const char *fmt, va_list ap)
{
	add_line(format_line(l, fmt, ap), limit);
}

__attribute__((format(printf, 2, 3))) static void add_own(
	const struct line *l, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_text(l, GATHER_MAX, fmt, ap);
	va_end(ap);
}

#define ADD_TEXT(l, limit)                       \
	do {                                     \
		va_list ap;                      \
		va_start(ap, fmt);               \
		add_text((l), (limit), fmt, ap); \
		va_end(ap);                      \
	} while (0)

void log_info_as(const char *program, const char *fmt, ...)
{
	if (state.level >= LOG_LEVEL_INFO)
		ADD_TEXT((&(struct line){program, GRADE_INFO, ""}), GATHER_MAX);
}

void log_info(const char *fmt, ...)
{
	if (state.level >= LOG_LEVEL_INFO)
		ADD_TEXT((&(struct line){NULL, GRADE_INFO, ""}), GATHER_MAX);
}

void log_warning(const char *fmt, ...)
{
	if (state.level >= LOG_LEVEL_ERROR)
		ADD_TEXT((&(struct line){NULL, GRADE_WARNING, "warning: "}), GATHER_MAX);
}

void log_error(const char *fmt, ...)
{
	if (state.level >= LOG_LEVEL_ERROR)
		ADD_TEXT((&(struct line){NULL, GRADE_ERR, "error: "}), GATHER_MAX);
}

void log_debug(const char *fmt, ...)
{
	if (state.level >= LOG_LEVEL_DEBUG)
		ADD_TEXT((&(struct line){NULL, GRADE_DEBUG, ""}), GATHER_MAX);
}

uint64_t log_must(const char *fmt, ...)
{
	static const struct line must = {NULL, GRADE_WARNING, "warning: "};

	/* Each is waited for by its caller, so they are few; 64 MB of them is a broken program. */
	if (state.pending.len > MUST_MAX - LINE_MAX_BYTES)
		log_fatal("the log takes no lines, and too many that must not be lost wait");
	ADD_TEXT(&must, MUST_MAX);
	return state.added;
}

bool log_is_written(uint64_t seq)
{
	return state.written >= seq;
}

static struct slice first_line(struct slice lines)
{
	return slice_first(lines, (size_t)slice_find(lines, '\n') + 1);
}

/* n bytes more of the pending ones are with the sink. */
static void took(size_t n)
{
	size_t whole = 0;

	state.sent += n;
	if (state.sent == state.pending.len) {
		state.written = state.added;
		whole = state.sent;
	}
	while (whole < state.sent) {
		size_t next = first_line(slice_from(buf_slice(&state.pending), whole)).len;

		if (whole + next > state.sent)
			break;
		whole += next;
		state.written++;
	}
	state.sent -= whole;
	buf_consume(&state.pending, whole);
	if (state.pending.cap > 2 * GATHER_MAX)
		buf_release(&state.pending);
}

static int flush_file(void)
{
	struct slice rest = slice_from(buf_slice(&state.pending), state.sent);
	ssize_t n = write(state.fd, rest.p, rest.len);

	if (n < 0)
		return ERR_SYS;
	took((size_t)n);
	return 0;
}

static int flush_syslog(void)
{
	struct mmsghdr messages[FLUSH_BATCH] = {0};
	struct iovec parts[FLUSH_BATCH];
	struct slice rest = buf_slice(&state.pending);
	unsigned count = 0;
	size_t done = 0;
	int n = 0;

	for (; count < FLUSH_BATCH && rest.len > 0; count++) {
		struct slice line = first_line(rest);

		parts[count].iov_base = state.pending.data + (line.p - state.pending.data);
		parts[count].iov_len = line.len - 1;
		messages[count].msg_hdr.msg_iov = &parts[count];
		messages[count].msg_hdr.msg_iovlen = 1;
		rest = slice_from(rest, line.len);
	}
	n = sendmmsg(state.fd, messages, count, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return ERR_SYS;
	for (int i = 0; i < n; i++)
		done += parts[i].iov_len + 1;
	took(done);
	return 0;
}

static int flush_failed(void)
{
	int saved = errno;
	int64_t now = 0;

	if (saved == EAGAIN || saved == ENOBUFS)
		return ERR_AGAIN;
	now = clock_mono();
	if (state.failed != NULL && now - state.failed_at >= CLOCK_SEC) {
		state.failed_at = now;
		state.failed();
	}
	errno = saved;
	return ERR_SYS;
}

static int flush_pending(void)
{
	while (state.pending.len > 0) {
		int r = state.sink == LOG_SINK_FILE ? flush_file() : flush_syslog();

		if (r < 0 && errno != EINTR)
			return flush_failed();
	}
	return 0;
}

int log_flush(void)
{
	static const struct line warning = {NULL, GRADE_WARNING, "warning: "};
	uint64_t lost = state.lost;
	int r = 0;

	if (state.sink == LOG_SINK_STDERR)
		return 0;
	r = flush_pending();
	if (r < 0 || lost == 0)
		return r;
	state.lost = 0;
	add_own(&warning, "%llu log lines lost", (unsigned long long)lost);
	return flush_pending();
}

/* What a line of a file or of syslog lacks for another sink; grades stand in its first word. */
static enum grade grade_of(struct slice line)
{
	ptrdiff_t text = slice_find_str(line, "]: ");

	line = slice_from(line, (size_t)(text + 3));
	if (slice_starts(line, "warning: "))
		return GRADE_WARNING;
	if (slice_starts(line, "error: "))
		return GRADE_ERR;
	return GRADE_INFO;
}

static void add_converted(struct buf *out, enum log_sink from, struct slice line)
{
	const size_t stamp = sizeof("Nov 21 10:00:00 ") - 1;
	size_t skip = from == LOG_SINK_SYSLOG ? (size_t)slice_find(line, '>') + 1 : 0;
	size_t host = from == LOG_SINK_FILE ? strlen(state.host) + 1 : 0;

	if (state.sink == LOG_SINK_SYSLOG)
		buf_add_fmt(out, "<%d>", MAIL_FACILITY | (int)grade_of(line));
	line = slice_from(line, skip);
	buf_add_slice(out, slice_first(line, stamp));
	if (state.sink == LOG_SINK_FILE)
		buf_add_fmt(out, "%s ", state.host);
	buf_add_slice(out, slice_from(line, stamp + host));
}

static void convert_pending(enum log_sink from)
{
	struct buf out = BUF_INIT(2 * MUST_MAX);
	struct slice rest = buf_slice(&state.pending);

	while (rest.len > 0) {
		struct slice line = first_line(rest);

		add_converted(&out, from, line);
		rest = slice_from(rest, line.len);
	}
	buf_clear(&state.pending);
	state.pending = out;
	state.pending.limit = MUST_MAX;
}

void log_set_sink(enum log_sink sink, int fd)
{
	enum log_sink from = state.sink;

	if (state.fd != fd)
		fd_close(&state.fd);
	state.fd = fd;
	state.sink = sink;
	state.sent = 0;
	if (fd >= 0)
		fd_set_nonblock(fd, true);
	if (state.pending.len == 0 || from == sink)
		return;
	convert_pending(from);
	if (sink != LOG_SINK_STDERR)
		return;
	fd_write_full(STDERR_FILENO, buf_str(&state.pending), state.pending.len);
	took(state.pending.len);
}

/* The last words: what is pending first; a full pipe or log daemon is given a second. */
__attribute__((format(printf, 2, 0))) static void last_line(
	const char *word, const char *fmt, va_list ap)
{
	struct line l = {NULL, GRADE_CRIT, word};
	struct slice line = format_line(&l, fmt, ap);
	struct pollfd pfd = {.fd = state.fd, .events = POLLOUT};

	if (state.sink == LOG_SINK_STDERR) {
		fd_write_full(STDERR_FILENO, line.p, line.len);
		return;
	}
	if (log_flush() == ERR_AGAIN && poll(&pfd, 1, FATAL_WAIT_MS) > 0)
		log_flush();
	/* Not by way of the pending lines: there may be no memory for one more. */
	if (state.sink == LOG_SINK_SYSLOG)
		line.len--;
	if (state.sent > 0 || write(state.fd, line.p, line.len) != (ssize_t)line.len)
		fd_write_full(STDERR_FILENO, line.p, line.len);
}

void log_fatal(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	last_line("fatal: ", fmt, ap);
	va_end(ap);
	exit(1);
}

void log_panic(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	last_line("panic: ", fmt, ap);
	va_end(ap);
	abort();
}

/* C1 controls (U+0080 to U+009F) are well-formed but steer terminals as well. */
static size_t printable_len(struct slice s)
{
	size_t n = slice_utf8_len(s);

	if (n == 1 && ((unsigned char)s.p[0] < ' ' || s.p[0] == 127))
		return 0;
	if (n == 2 && (unsigned char)s.p[0] == 0xc2 && (unsigned char)s.p[1] < 0xa0)
		return 0;
	return n;
}

void log_quote(struct buf *out, struct slice s, size_t max)
{
	while (s.len > 0 && max > 0) {
		size_t n = printable_len(s);

		if (n > max)
			return;
		if (n == 0) {
			n = 1;
			buf_add_char(out, '?');
		} else {
			buf_add_slice(out, slice_first(s, n));
		}
		max -= n;
		s = slice_from(s, n);
	}
}

const char *log_q(struct slice s)
{
	static char text[8][512];
	static unsigned next;
	char *to = text[next++ % 8];
	struct buf out = BUF_INIT(sizeof(text[0]) - 1);

	log_quote(&out, s, sizeof(text[0]) - 1);
	memcpy(to, buf_str(&out), out.len + 1);
	buf_clear(&out);
	return to;
}

const char *log_qs(const char *s)
{
	return log_q(slice_str(s));
}

/* SPDX-License-Identifier: ISC */
#ifndef UTIL_LOG_H
#define UTIL_LOG_H

#include <stdarg.h>

#include "util/buf.h"

/*
 * The log. A line is "Nov 21 10:00:00 HOST TAG[PID]: text" in a file, "<22>Nov 21 10:00:00
 * TAG[PID]: text" to a syslog datagram socket; TAG is syslog_name/program. Lines are gathered and
 * written by log_flush, which lib/net calls before each wait, so a burst of work is one write. A
 * write never blocks: what does not fit is counted and the count is logged when there is room
 * again. Text from outside goes through log_quote, once; callers hand over one line without its
 * end, and any control character left in it becomes '?'.
 *
 * Grades: info is Postfix's ordinary line; warning ("warning: "), error ("error: "); fatal ends
 * the program (status 1) for what cannot go on; panic aborts on a broken invariant. Neither of
 * the last two can be reached by input.
 */
enum log_level { LOG_LEVEL_NONE, LOG_LEVEL_ERROR, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_sink { LOG_SINK_STDERR, LOG_SINK_FILE, LOG_SINK_SYSLOG };

/* tag is "gatepost/smtpd"; copied. host may be NULL: gethostname(2). Before it, stderr is used. */
void log_init(const char *tag, const char *host);
void log_set_level(enum log_level level);
/* Takes fd over (the old one is closed); -1 with LOG_SINK_STDERR. Pending lines go to the new one.
 */
void log_set_sink(enum log_sink sink, int fd);
/* A program that logs under a second name (smtpd as "pickup"): the part behind the slash. */
void log_info_as(const char *program, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void log_fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void log_panic(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
bool log_is_debug(void);

/*
 * Writes what is gathered. 0 when all of it is with the file or the log daemon; ERR_AGAIN when
 * lines remain (a caller whose line must never be dropped, "in doubt", waits for 0: such a line
 * is given with log_must). ERR_SYS: the sink failed, errno says how; ask master for a new one.
 */
int log_flush(void);
/*
 * A warning line that is never dropped: kept until log_flush wrote it. The result identifies it.
 * Callers wait for what they gave (log_is_written); 64 MB of unwritten lines is fatal.
 */
uint64_t log_must(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Whether the line of log_must has left the process. */
bool log_is_written(uint64_t seq);
/* Called when a flush failed with ERR_SYS, at most once a second. NULL: none. */
void log_on_failure(void (*lost)(void));

/* s for a log line: at most max bytes, non-printable and non-UTF-8 bytes as '?'. Appends to out. */
void log_quote(struct buf *out, struct slice s, size_t max);
/* The same into one of eight rotating static buffers of 512 bytes, for a line's arguments. */
const char *log_q(struct slice s);
const char *log_qs(const char *s);

#endif

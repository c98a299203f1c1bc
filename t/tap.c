/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int count, failures;

/* '#' starts a directive and LF ends the line: neither may come from a value in a name. */
__attribute__((format(printf, 1, 0))) static void print_name(const char *fmt, va_list ap)
{
	char name[512];

	vsnprintf(name, sizeof(name), fmt, ap);
	for (char *p = name; *p != '\0'; p++)
		if (*p == '#' || (unsigned char)*p < ' ')
			*p = '?';
	printf(" - %s\n", name);
}

__attribute__((format(printf, 4, 0))) static bool report(
	const char *file, int line, bool good, const char *fmt, va_list ap)
{
	printf("%sok %d", good ? "" : "not ", ++count);
	print_name(fmt, ap);
	if (!good) {
		failures++;
		diag("failed at %s:%d", file, line);
	}
	fflush(stdout);
	return good;
}

bool tap_ok(const char *file, int line, bool cond, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report(file, line, cond, fmt, ap);
	va_end(ap);
	return cond;
}

bool tap_is_int(const char *file, int line, long long got, long long want, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report(file, line, got == want, fmt, ap);
	va_end(ap);
	if (got != want)
		diag("  got %lld, want %lld", got, want);
	return got == want;
}

static void diag_bytes(const char *what, struct slice s)
{
	fprintf(stderr, "#  %s \"", what);
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c < ' ' || c >= 127 || c == '\\' || c == '"')
			fprintf(stderr, "\\x%02x", c);
		else
			fputc(c, stderr);
	}
	fprintf(stderr, "\" (%zu bytes)\n", s.len);
}

bool tap_is_str(const char *file, int line, const char *got, const char *want, const char *fmt, ...)
{
	bool same = got == NULL || want == NULL ? got == want
						: slice_eq(slice_str(got), slice_str(want));
	va_list ap;

	va_start(ap, fmt);
	report(file, line, same, fmt, ap);
	va_end(ap);
	if (!same) {
		diag_bytes(got != NULL ? "got " : "got NULL", slice_str(got));
		diag_bytes(want != NULL ? "want" : "want NULL", slice_str(want));
	}
	return same;
}

bool tap_is_slice(
	const char *file, int line, struct slice got, const char *want, const char *fmt, ...)
{
	bool same = slice_eq(got, slice_str(want));
	va_list ap;

	va_start(ap, fmt);
	report(file, line, same, fmt, ap);
	va_end(ap);
	if (!same) {
		diag_bytes("got ", got);
		diag_bytes("want", slice_str(want));
	}
	return same;
}

int tap_child(void (*run)(void), char *text, size_t size)
{
	int fds[2], status = -1;
	size_t len = 0;
	ssize_t n = 0;
	pid_t pid = 0;

	fflush(stdout);
	if (pipe(fds) < 0 || (pid = fork()) < 0)
		bail_out("no child");
	if (pid == 0) {
		dup2(fds[1], STDERR_FILENO);
		close(fds[0]);
		close(fds[1]);
		run();
		exit(0);
	}
	close(fds[1]);
	while (len + 1 < size && (n = read(fds[0], text + len, size - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(fds[0]);
	waitpid(pid, &status, 0);
	return status;
}

void diag(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("# ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

void bail_out(const char *fmt, ...)
{
	va_list ap;

	fputs("Bail out! ", stdout);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	exit(255);
}

void skip_all(const char *fmt, ...)
{
	va_list ap;

	fputs("1..0 # SKIP ", stdout);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	exit(0);
}

int done_testing(void)
{
	printf("1..%d\n", count);
	if (failures > 0)
		diag("%d of %d checks failed", failures, count);
	return failures == 0 && count > 0 ? 0 : 1;
}

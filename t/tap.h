/* SPDX-License-Identifier: ISC */
#ifndef T_TAP_H
#define T_TAP_H

#include "util/slice.h"

/*
 * Test Anything Protocol for the unit tests in C:
 *
 *   int main(void)
 *   {
 *           is_int(parse("1"), 0, "parse %s", "1");
 *           return done_testing();
 *   }
 *
 * Each check prints its line, and file, line and both values when it failed, and gives its outcome.
 * Names are printf formats and not optional. Checks evaluate their arguments once.
 */
#define ok(cond, ...) tap_ok(__FILE__, __LINE__, (cond), __VA_ARGS__)
#define pass(...) tap_ok(__FILE__, __LINE__, true, __VA_ARGS__)
#define fail(...) tap_ok(__FILE__, __LINE__, false, __VA_ARGS__)
#define is_int(got, want, ...) \
	tap_is_int(__FILE__, __LINE__, (long long)(got), (long long)(want), __VA_ARGS__)
/* NULL is equal to NULL only. */
#define is_str(got, want, ...) tap_is_str(__FILE__, __LINE__, (got), (want), __VA_ARGS__)
#define is_slice(got, want, ...) tap_is_slice(__FILE__, __LINE__, (got), (want), __VA_ARGS__)

bool tap_ok(const char *file, int line, bool cond, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
bool tap_is_int(const char *file, int line, long long got, long long want, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
bool tap_is_str(const char *file, int line, const char *got, const char *want, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
bool tap_is_slice(const char *file, int line, struct slice got, const char *want, const char *fmt,
	...) __attribute__((format(printf, 5, 6)));

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/*
 * Calls run in a child, for what ends the process; gives its wait(2) status. What it wrote to
 * standard error stands in text, cut at size and terminated. A child that returns exits with 0.
 */
int tap_child(void (*run)(void), char *text, size_t size);

void diag(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Ends the test file: nothing after it can be trusted. */
_Noreturn void bail_out(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Ends the test file when it cannot run here. Before the first check only. */
_Noreturn void skip_all(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Prints the plan; the status for main to return: 0 when all passed. */
int done_testing(void);

#endif

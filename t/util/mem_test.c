/* SPDX-License-Identifier: ISC */
#include "util/mem.h"

#include <stdint.h>
#include <sys/wait.h>

#include "t/tap.h"

/* Without it AddressSanitizer ends the process before the allocator can say no. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

static bool all_zero(const void *p, size_t len)
{
	const char *c = p;

	for (size_t i = 0; i < len; i++)
		if (c[i] != 0)
			return false;
	return true;
}

static void array_overflow(void)
{
	mem_array(SIZE_MAX / 2, 3);
}

static void resize_overflow(void)
{
	mem_resize(NULL, SIZE_MAX / 2, 3);
}

static void dup_overflow(void)
{
	mem_dup("x", SIZE_MAX);
}

static void far_too_much(void)
{
	mem_alloc(PTRDIFF_MAX);
}

static void test_fatal(void)
{
	static const struct {
		void (*run)(void);
		const char *name;
	} cases[] = {
		{array_overflow, "mem_array overflow"},
		{resize_overflow, "mem_resize overflow"},
		{dup_overflow, "mem_dup overflow"},
		{far_too_much, "more than there is"},
	};
	char text[4096];

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		int status = tap_child(cases[i].run, text, sizeof(text));

		ok(WIFEXITED(status) && WEXITSTATUS(status) == 1, "%s ends the program",
			cases[i].name);
		ok(strstr(text, "fatal: out of memory (") != NULL, "and says so");
	}
}

int main(void)
{
	char *p = mem_alloc(1000), *s = NULL;

	ok(all_zero(p, 1000), "mem_alloc is zeroed");
	memcpy(p, "abc", 4);
	p = mem_resize(p, 5000, 2);
	is_str(p, "abc", "mem_resize keeps what was there");
	mem_free(p);
	p = mem_array(30, 40);
	ok(all_zero(p, 30 * 40), "mem_array is zeroed");
	mem_free(p);
	p = mem_alloc(0);
	ok(p != NULL, "nothing is something");
	p = mem_resize(p, 0, 10);
	ok(p != NULL, "resized to nothing too");
	mem_wipe_free(p, 0);
	p = mem_resize(NULL, 3, 1);
	mem_wipe_free(p, 3);
	mem_wipe_free(NULL, 10);
	mem_free(NULL);

	s = mem_dup("a\0bc", 3);
	ok(memcmp(s, "a\0b", 4) == 0, "mem_dup ends with NUL");
	mem_free(s);
	s = mem_dup(NULL, 0);
	is_str(s, "", "mem_dup of nothing");
	mem_free(s);
	s = mem_str("word");
	is_str(s, "word", "mem_str");
	mem_free(s);
	is_str(mem_str(NULL), NULL, "mem_str of NULL");
	s = mem_fmt("%d-%s", 12, "x");
	is_str(s, "12-x", "mem_fmt");
	mem_free(s);
	test_fatal();
	return done_testing();
}

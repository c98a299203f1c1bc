/* SPDX-License-Identifier: ISC */
#include "util/buf.h"

#include <sys/wait.h>

#include "t/tap.h"
#include "util/err.h"

static void check_sound(const struct buf *b)
{
	if (b->data == NULL)
		return;
	if (b->len > b->limit || b->start + b->len >= b->cap || b->cap > b->limit + 1)
		bail_out("start %zu len %zu cap %zu limit %zu", b->start, b->len, b->cap, b->limit);
	if (buf_str(b)[b->len] != '\0')
		bail_out("not terminated");
}

static void test_adding(void)
{
	struct buf b = BUF_INIT(1000);

	is_str(buf_str(&b), "", "empty without memory");
	is_slice(buf_slice(&b), "", "empty slice");
	is_int(buf_add(&b, NULL, 0), 0, "adding nothing");
	is_int(buf_add_str(&b, "abc"), 0, "add_str");
	is_int(buf_add_char(&b, '-'), 0, "add_char");
	is_int(buf_add_slice(&b, SLICE_LIT("XyZ")), 0, "add_slice");
	is_int(buf_add_slice(&b, SLICE_NONE), 0, "add_slice of nothing");
	is_int(buf_add_lower(&b, SLICE_LIT("@AZ[\xc4")), 0, "add_lower");
	is_int(buf_add_fmt(&b, "%s%03d", "n", 7), 0, "add_fmt");
	is_str(buf_str(&b), "abc-XyZ@az[\xc4n007", "all of it");
	is_int(buf_add(&b, "a\0b", 3), 0, "add with a NUL");
	is_int(buf_slice(&b).len, 19, "a NUL counts");
	buf_truncate(&b, 3);
	is_str(buf_str(&b), "abc", "truncate");
	buf_truncate(&b, 3);
	buf_reset(&b);
	is_str(buf_str(&b), "", "reset");
	ok(b.data != NULL, "reset keeps the memory");
	buf_release(&b);
	ok(b.data == NULL, "release gives it back when empty");
	buf_add_str(&b, "x");
	buf_release(&b);
	is_str(buf_str(&b), "x", "release leaves what is not empty");
	buf_clear(&b);
	ok(b.data == NULL && b.limit == 1000, "clear keeps the limit");
}

static void test_limit(void)
{
	struct buf b = BUF_INIT(5);
	char *room = NULL;

	is_int(buf_add_str(&b, "12345"), 0, "up to the limit");
	ok(!buf_failed(&b), "not failed");
	is_int(buf_add_char(&b, '6'), ERR_LIMIT, "over it");
	ok(buf_failed(&b), "failed");
	is_str(buf_str(&b), "12345", "nothing was added");
	buf_truncate(&b, 0);
	is_int(buf_add_char(&b, '1'), ERR_LIMIT, "failure sticks, so nothing is left out between");
	buf_release(&b);
	ok(buf_failed(&b), "release does not hide it");
	buf_reset(&b);
	is_int(buf_add_fmt(&b, "%s", "123456"), ERR_LIMIT, "add_fmt over it");
	is_str(buf_str(&b), "", "nothing was added");
	buf_clear(&b);
	is_int(buf_add_lower(&b, SLICE_LIT("123456")), ERR_LIMIT, "add_lower over it");
	buf_clear(&b);
	is_int(buf_room(&b, 6, &room), ERR_LIMIT, "room over it");
	ok(room == NULL, "no room");
	buf_clear(&b);
	is_int(buf_add(&b, "x", SIZE_MAX), ERR_LIMIT, "a length of SIZE_MAX");
	buf_clear(&b);
	is_int(buf_room(&b, 5, &room), 0, "room of the limit");
	memcpy(room, "abcde", 5);
	buf_added(&b, 5);
	is_str(buf_str(&b), "abcde", "used");
	buf_wipe_clear(&b);
	is_str(buf_str(&b), "", "wiped");

	buf_init(&b, 0);
	is_int(buf_add_str(&b, ""), 0, "nothing into nothing");
	is_int(buf_add_str(&b, "a"), ERR_LIMIT, "something into nothing");
	buf_clear(&b);
}

/* A pipe: what is added at the end is what comes off the front, through growth and moves. */
static void test_fifo(size_t limit, size_t in_max, size_t out_max)
{
	struct buf b = BUF_INIT(limit);
	uint8_t next_in = 0, next_out = 0;
	uint32_t random = 1;
	bool same = true;
	size_t most = 0;

	for (int i = 0; i < 20000; i++) {
		size_t n = 0, left = limit - b.len;
		char *room = NULL;

		random = random * 1664525 + 1013904223;
		n = random >> 8;
		n = n % (in_max + 1) < left ? n % (in_max + 1) : left;
		buf_room(&b, n, &room);
		for (size_t k = 0; k < n; k++)
			room[k] = (char)next_in++;
		buf_added(&b, n);
		check_sound(&b);
		random = random * 1664525 + 1013904223;
		n = (random >> 8) % (out_max + 1);
		n = n < b.len ? n : b.len;
		for (size_t k = 0; k < n; k++)
			same &= (uint8_t)buf_slice(&b).p[k] == next_out++;
		buf_consume(&b, n);
		check_sound(&b);
		most = b.cap > most ? b.cap : most;
	}
	ok(same && !buf_failed(&b), "limit %zu, in %zu, out %zu: bytes in order", limit, in_max,
		out_max);
	ok(most <= limit + 1, "never more memory than the limit");
	buf_clear(&b);
}

static void test_memory_is_bounded(void)
{
	struct buf b = BUF_INIT((size_t)1 << 30);

	for (int i = 0; i < 100000; i++) {
		buf_add_str(&b, "0123456789");
		if (i >= 10)
			buf_consume(&b, 10);
	}
	ok(b.cap <= 1024, "a steady 100 bytes do not grow (%zu)", b.cap);
	buf_consume(&b, b.len);
	is_int(b.start, 0, "empty starts at the front");
	buf_clear(&b);
}

static void consume_too_much(void)
{
	struct buf b = BUF_INIT(10);

	buf_add_str(&b, "abc");
	buf_consume(&b, 4);
}

static void truncate_too_much(void)
{
	struct buf b = BUF_INIT(10);

	buf_truncate(&b, 1);
}

static void added_too_much(void)
{
	struct buf b = BUF_INIT(10);
	char *room = NULL;

	buf_room(&b, 4, &room);
	buf_added(&b, 11);
}

static void test_panics(void)
{
	static void (*const runs[])(void) = {consume_too_much, truncate_too_much, added_too_much};
	char text[4096];

	for (size_t i = 0; i < COUNT_OF(runs); i++) {
		int status = tap_child(runs[i], text, sizeof(text));

		ok(WIFSIGNALED(status) && strstr(text, "panic: buf_") != NULL, "panic %zu", i);
	}
}

int main(void)
{
	struct buf b = BUF_INIT(100);

	test_adding();
	test_limit();
	test_fifo(100, 10, 10);
	test_fifo(1, 1, 1);
	test_fifo(64, 64, 64);
	test_fifo(5000, 300, 280);
	test_fifo(100000, 5000, 4900);
	test_memory_is_bounded();
	test_panics();
	buf_consume(&b, 0);
	buf_truncate(&b, 0);
	buf_added(&b, 0);
	ok(b.data == NULL, "nothing done to nothing");
	return done_testing();
}

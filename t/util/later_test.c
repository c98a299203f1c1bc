/* SPDX-License-Identifier: ISC */
#include "util/later.h"

#include <sys/wait.h>

#include "t/tap.h"
#include "util/err.h"
#include "util/mem.h"

/* A source that is asked one question at a time and answers when the test says so. */
static struct later_answer *asked;
static int asks, cancels, wakes;
static int source, other;

static void on_cancel(void *arg)
{
	cancels++;
	*(struct later_answer **)arg = NULL;
}

static void on_wake(void *arg)
{
	wakes++;
}

static int lookup(struct later *l, struct slice key, struct slice *value)
{
	struct later_answer *a = later_find(l, &source, key);

	*value = SLICE_NONE;
	if (a == NULL) {
		a = later_add(l, &source, key, on_cancel, &asked);
		if (a == NULL)
			return ERR_TEMP;
		asks++;
		asked = a;
	}
	return later_is_done(a) ? later_result(a, value) : ERR_LATER;
}

/* As an alias that leads to another: two questions, the second known after the first. */
static int evaluate(struct later *l, struct slice *value)
{
	int r = lookup(l, SLICE_LIT("first"), value);

	return r < 0 ? r : lookup(l, *value, value);
}

static void answer(int result, const char *value)
{
	struct later_answer *a = asked;

	asked = NULL;
	later_done(a, result, slice_str(value));
}

static void test_evaluation(void)
{
	struct later l;
	struct slice value = SLICE_NONE;
	char text[] = "second";

	asks = cancels = wakes = 0;
	later_init(&l, 10, on_wake, NULL);
	is_int(evaluate(&l, &value), ERR_LATER, "the first question is open");
	is_int(l.open, 1, "one open");
	is_int(evaluate(&l, &value), ERR_LATER, "asked again before it is answered");
	is_int(asks, 1, "but not the source");
	answer(0, text);
	text[0] = 'X';
	is_int(wakes, 1, "the answer wakes");
	is_int(evaluate(&l, &value), ERR_LATER, "the second question is open");
	is_int(asks, 2, "asked with a copy of the first value");
	answer(ERR_NOT_FOUND, "");
	is_int(evaluate(&l, &value), ERR_NOT_FOUND, "the result of the second");
	is_int(wakes, 2, "woken twice");
	is_int(l.open, 0, "none open");
	is_int(l.count, 2, "two known");
	ok(later_find(&l, &other, SLICE_LIT("first")) == NULL, "another source was not asked");
	ok(later_find(&l, &source, SLICE_LIT("firs")) == NULL, "nor another key");
	later_clear(&l);
	is_int(cancels, 0, "nothing to withdraw");
}

static void test_withdrawal(void)
{
	struct later l;
	struct slice value = SLICE_NONE;

	asks = cancels = wakes = 0;
	later_init(&l, 10, on_wake, NULL);
	evaluate(&l, &value);
	later_add(&l, &other, SLICE_LIT("x"), NULL, NULL);
	later_clear(&l);
	is_int(cancels, 1, "an open question is withdrawn");
	ok(asked == NULL, "and told to its source");
	is_int(l.count + l.open, 0, "empty");
	is_int(evaluate(&l, &value), ERR_LATER, "usable again");
	answer(0, "");
	later_clear(&l);
	is_int(cancels, 1, "an answered one is not withdrawn");
}

static void test_limits(void)
{
	struct later l;
	struct slice value = SLICE_NONE;

	later_init(&l, 1, on_wake, NULL);
	is_int(evaluate(&l, &value), ERR_LATER, "one is allowed");
	answer(0, "second");
	is_int(evaluate(&l, &value), ERR_TEMP, "two are over the limit");
	later_clear(&l);
	is_int(lookup(NULL, SLICE_LIT("x"), &value), ERR_TEMP, "who cannot wait");
}

/* What a wake does to end an evaluation: everything goes, the answer too. */
struct owner {
	struct later later;
	int done;
};

static struct owner *owner;

static void wake_and_free(void *arg)
{
	struct owner *o = arg;

	later_clear(&o->later);
	mem_free(o);
	owner = NULL;
}

static void test_free_in_wake(void)
{
	struct slice value = SLICE_NONE;

	owner = mem_alloc(sizeof(*owner));
	later_init(&owner->later, 10, wake_and_free, owner);
	evaluate(&owner->later, &value);
	later_add(&owner->later, &other, SLICE_LIT("still open"), NULL, NULL);
	answer(0, "value");
	ok(owner == NULL, "wake may free all");
}

static void answer_twice(void)
{
	struct later l;
	struct later_answer *a = NULL;

	later_init(&l, 1, NULL, NULL);
	a = later_add(&l, &source, SLICE_LIT("x"), NULL, NULL);
	later_done(a, 0, SLICE_NONE);
	later_done(a, 0, SLICE_NONE);
}

int main(void)
{
	char text[4096];

	test_evaluation();
	test_withdrawal();
	test_limits();
	test_free_in_wake();
	ok(WIFSIGNALED(tap_child(answer_twice, text, sizeof(text))), "two answers are a panic");
	ok(strstr(text, "panic: later_done") != NULL, "that says so");
	return done_testing();
}

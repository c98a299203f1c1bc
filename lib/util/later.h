/* SPDX-License-Identifier: ISC */
#ifndef UTIL_LATER_H
#define UTIL_LATER_H

#include "util/buf.h"

/*
 * "The answer comes later", in one form for tables, names, policy servers and tally.
 *
 * An evaluation (of a route, a restriction list, an alias) is an ordinary function without side
 * effects that is given a struct later. Where it needs an answer that is not at hand, the source
 * registers a question there and returns ERR_LATER, and the evaluation returns ERR_LATER at once
 * too. When the answer has come, wake is called (once, from the event loop, never from inside
 * the evaluation) and the caller runs the evaluation again from its beginning: every answer
 * that has come stands in the struct later and is found at once. So code that may wait reads
 * like code that may not, and holds no state between two runs.
 *
 * A question is (source, key): source is the address of the thing asked (a map, a resolver
 * client), key the bytes asked. Bounded by the limit given at creation (questions of one
 * evaluation): over it a source answers ERR_TEMP. later_clear withdraws all open questions.
 *
 * Who asks:                              Who answers (a source):
 *   later_init(&l, 100, wake, arg)         a = later_find(l, source, key)
 *   r = evaluate(..., &l)                  if (a == NULL) a = later_add(l, source, key, cancel)
 *   if (r == ERR_LATER) return;            if (!later_is_done(a)) return ERR_LATER
 *   later_clear(&l)                        result = later_result(a, &value)
 *                                          ... and when it comes: later_done(a, result, value)
 */
struct later_answer;

struct later {
	struct later_answer *first; /* private */
	size_t count, limit, open;
	void (*wake)(void *arg);
	void *arg;
};

void later_init(struct later *l, size_t limit, void (*wake)(void *arg), void *arg);
/* Withdraws what is open (cancel is called for each), frees all. Usable again at once. */
void later_clear(struct later *l);

struct later_answer *later_find(struct later *l, const void *source, struct slice key);
/*
 * Registers a question; NULL when the limit is reached or l is NULL (a caller that cannot wait:
 * the source then answers ERR_TEMP). cancel(arg) is called when the question is withdrawn before
 * it was answered; it may be NULL.
 */
struct later_answer *later_add(struct later *l, const void *source, struct slice key,
	void (*cancel)(void *arg), void *arg);
bool later_is_done(const struct later_answer *a);
/* The result (0 or negative, as the source defines it) and value (borrowed until later_clear). */
int later_result(const struct later_answer *a, struct slice *value);
/* The answer has come: copies value, calls wake. Not to be called from inside an evaluation. */
void later_done(struct later_answer *a, int result, struct slice value);

#endif

/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include "tally/count.h"

int main(void)
{
	struct count *c = count_new(3);
	struct count_owner *a = count_owner_new(c), *b = count_owner_new(c);
	struct slice smtp = SLICE_LIT("smtp"), sub = SLICE_LIT("submission");
	struct slice x = SLICE_LIT("192.0.2.1"), y = SLICE_LIT("2001:db8::1");
	static char longest[600];

	is_int(count_enter(a, smtp, x), 1, "first");
	is_int(count_enter(b, smtp, x), 2, "second, of another worker");
	is_int(count_enter(b, smtp, x), 3, "third");
	is_int(count_enter(a, sub, x), 1, "another service counts apart");
	is_int(count_enter(a, smtp, y), 1, "another client too");
	is_int(count_enter(a, smtp, SLICE_LIT("192.0.2.2")), 0, "over the limit: not counted");
	ok(!count_leave(a, smtp, SLICE_LIT("192.0.2.2")), "so it does not leave");
	ok(count_leave(b, smtp, x), "one leaves");
	is_int(count_enter(a, smtp, x), 3, "so there are three again");
	ok(!count_leave(b, sub, x), "what another worker holds");
	is_int(count_enter(a, sub, x), 2, "stays");
	count_owner_free(&a);
	is_int(count_clients(c), 1, "a lost worker takes all its clients along");
	is_int(count_enter(b, smtp, x), 2, "the other's stay");
	ok(count_leave(b, smtp, x) && count_leave(b, smtp, x), "and leave");
	ok(!count_leave(b, smtp, x), "once each");
	is_int(count_clients(c), 0, "nothing is left");
	for (size_t i = 0; i < sizeof(longest); i++) {
		longest[i] = 'x';
	}
	is_int(count_enter(b, smtp, slice_of(longest, sizeof(longest))), 0, "a name without end");
	count_owner_free(&b);
	count_free(&c);
	ok(c == NULL, "freed");
	return done_testing();
}

/* SPDX-License-Identifier: ISC */
#include "util/err.h"

#include <errno.h>
#include <string.h>

#include "t/tap.h"

int main(void)
{
	for (int a = 0; a >= ERR_FULL; a--) {
		errno = EINVAL;
		ok(strcmp(err_str(a), "unknown error") != 0, "%d has a text", a);
		for (int b = 0; b > a; b--)
			if (strcmp(err_str(a), err_str(b)) == 0)
				fail("%d and %d have the same text", a, b);
	}
	errno = ENOSPC;
	is_str(err_str(ERR_SYS), strerror(ENOSPC), "ERR_SYS is the present errno");
	is_str(err_str(ERR_FULL - 1), "unknown error", "behind the last");
	is_str(err_str(1), "unknown error", "a positive number");
	return done_testing();
}

/* SPDX-License-Identifier: ISC */
#include "util/stamp.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "t/tap.h"
#include "util/fd.h"
#include "util/mem.h"

static void write_to(const char *path, const char *text, int flags)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);

	if (fd < 0 || fd_write_full(fd, text, strlen(text)) != 0)
		bail_out("cannot write %s", path);
	fd_close(&fd);
}

int main(void)
{
	char dir[] = "/tmp/gatepost-stamp-XXXXXX";
	char *path = NULL, *other = NULL;
	struct stamp last = {0};

	if (mkdtemp(dir) == NULL)
		bail_out("mkdtemp");
	path = mem_fmt("%s/a", dir);
	other = mem_fmt("%s/b", dir);
	ok(!stamp_has_changed(&last, path), "a file that is not there has not changed");
	write_to(path, "x", O_TRUNC);
	ok(stamp_has_changed(&last, path), "one that appears has");
	ok(!stamp_has_changed(&last, path), "once");
	write_to(path, "y", O_APPEND);
	ok(stamp_has_changed(&last, path), "it has grown");
	write_to(other, "xy", O_TRUNC);
	ok(rename(other, path) == 0 && stamp_has_changed(&last, path), "it was replaced");
	unlink(path);
	ok(!stamp_has_changed(&last, path), "it is gone: what was taken goes on");
	rmdir(dir);
	mem_free(path);
	mem_free(other);
	return done_testing();
}

/* SPDX-License-Identifier: ISC */
#include <unistd.h>

#include "t/local/stage.h"
#include "t/local/world.h"
#include "t/tap.h"
#include "util/mem.h"

/* nss: users and groups by NSS; "not found" is never kept, what was found is, for a moment. */

int main(void)
{
	struct stage s;
	char *anna, *before;
	world_make();
	loop_init();
	before = mem_str(world_read("/etc/passwd"));
	anna = mem_fmt("0 anna:x:47001:47001::%s:/bin/sh", world_path("home/anna"));
	stage_start(&s, "nss", "myhostname = mx.example\n");
	is_str(stage_look_up(&s, "passwd.byname", "anna"), anna, "a user");
	is_str(stage_look_up(&s, "passwd.byname", "carl"), "1", "no user");
	is_str(stage_look_up(&s, "group.byname", "root"), "0 root:x:0:", "a group");
	is_str(stage_look_up(&s, "group.byname", "anna"), "1", "no group");
	is_str(stage_look_up(&s, "passwd.byname", ""), "1", "nobody has no name");
	is_str(stage_look_up(&s, "shadow.byname", "root"), "2", "no such table");
	char *more = mem_fmt("%scarl:x:47009:47009::/:/bin/sh\n", before);
	world_write(world_path("passwd"), more, 0, 0644);
	is_str(stage_look_up(&s, "passwd.byname", "carl"), "0 carl:x:47009:47009::/:/bin/sh",
		"a new user is there at once");
	world_write(world_path("passwd"), "root:x:0:0:root:/root:/bin/sh\n", 0, 0644);
	is_str(stage_look_up(&s, "passwd.byname", "anna"), anna,
		"who was found is kept for a moment");
	is_str(stage_look_up(&s, "passwd.byname", "bert"), "1", "who was not asked for is not");
	stage_end(&s);
	mem_free(more);
	mem_free(before);
	mem_free(anna);
	world_end();
	return done_testing();
}

/* SPDX-License-Identifier: ISC */
#include "map/files.h"

#include <stdlib.h>
#include <unistd.h>

#include "map/build.h"
#include "t/tap.h"
#include "util/err.h"
#include "util/mem.h"

static void build(const char *path, const char *value)
{
	struct buf why = BUF_INIT(1000);
	struct map_build *b = NULL;

	if (map_build_open("hash", path, 0644, &why, &b) != 0 ||
		map_build_put(b, SLICE_LIT("key"), slice_str(value), MAP_DUP_KEEP) != 0 ||
		map_build_commit(&b, &why) != 0)
		bail_out("cannot build %s: %s", path, buf_str(&why));
	buf_clear(&why);
}

int main(void)
{
	char dir[] = "/tmp/gatepost-files-XXXXXX";
	struct buf why = BUF_INIT(1000), value = BUF_INIT(1000);
	struct map_list *list = NULL;
	char *path = NULL, *text = NULL;

	if (mkdtemp(dir) == NULL)
		bail_out("mkdtemp");
	path = mem_fmt("%s/t.db", dir);
	text = mem_fmt("hash:%s/t, later:inline:{slow=yes}, unix:passwd.byname", dir);
	build(path, "one");
	map_files_use();
	is_int(map_files_open(text, &why, &list), 0, "opens: %s", buf_str(&why));
	is_int(map_files_find(list, SLICE_LIT("key"), &value), 0, "finds in an indexed file");
	is_str(buf_str(&value), "one", "its value");
	is_int(map_files_find(list, SLICE_LIT("slow"), &value), 0, "does not wait for an answer");
	is_str(buf_str(&value), "yes", "its value");
	is_int(map_files_find(list, SLICE_LIT("root"), &value), 0, "asks NSS");
	is_int(map_files_find(list, SLICE_LIT("no such key"), &value), ERR_NOT_FOUND, "not found");
	build(path, "two");
	map_files_find(list, SLICE_LIT("key"), &value);
	is_str(buf_str(&value), "one", "a replaced file is not seen");
	map_files_refresh();
	map_files_find(list, SLICE_LIT("key"), &value);
	is_str(buf_str(&value), "two", "before it is looked for");
	unlink(path);
	map_files_refresh();
	is_int(map_files_find(list, SLICE_LIT("key"), &value), 0, "one that is gone goes on");
	map_list_close(&list);
	is_int(map_files_open("hsah:x", &why, &list), ERR_SYNTAX, "no table");
	rmdir(dir);
	mem_free(path);
	mem_free(text);
	buf_clear(&why);
	buf_clear(&value);
	return done_testing();
}

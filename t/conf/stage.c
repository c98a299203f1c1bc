/* SPDX-License-Identifier: ISC */
#include "t/conf/stage.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "t/tap.h"
#include "util/fd.h"
#include "util/mem.h"

enum { TEXT_LIMIT = 100000 };

char stage_dir[] = "/tmp/gatepost-conf-XXXXXX";

void stage_begin(void)
{
	if (mkdtemp(stage_dir) == NULL)
		bail_out("mkdtemp");
}

void stage_end(void)
{
	static const char *const names[] = {"main.cf", "master.cf"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		char *path = mem_fmt("%s/%s", stage_dir, names[i]);

		unlink(path);
		mem_free(path);
	}
	rmdir(stage_dir);
}

void stage_write(const char *name, const char *text)
{
	char *path = mem_fmt("%s/%s", stage_dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || fd_write_full(fd, text, strlen(text)) != 0)
		bail_out("cannot write %s", path);
	fd_close(&fd);
	mem_free(path);
}

char *stage_mistakes(const struct buf *text)
{
	struct buf out = BUF_INIT(TEXT_LIMIT);
	struct slice rest = buf_slice(text), line;
	char *copy = NULL;

	while (slice_part(&rest, '\n', &line)) {
		if (slice_starts(line, stage_dir))
			line = slice_from(line, strlen(stage_dir) + 1);
		if (line.len != 0)
			buf_add_fmt(&out, "%.*s\n", SLICE_FMT(line));
	}
	copy = mem_str(buf_str(&out));
	buf_clear(&out);
	return copy;
}

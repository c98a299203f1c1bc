/* SPDX-License-Identifier: ISC */
#include "util/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "t/tap.h"
#include "util/err.h"

static int memory_file(const char *text)
{
	int fd = -1;

	if (fd_memory("test", &fd) < 0)
		bail_out("fd_memory: %s", err_str(ERR_SYS));
	is_int(fd_write_full(fd, text, strlen(text)), 0, "write_full");
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static void test_flags(void)
{
	int fds[2];

	if (pipe(fds) < 0)
		bail_out("pipe");
	is_int(fd_set_nonblock(fds[0], true), 0, "nonblock");
	ok((fcntl(fds[0], F_GETFL) & O_NONBLOCK) != 0, "is set");
	is_int(fd_set_nonblock(fds[0], true), 0, "twice");
	is_int(fd_set_nonblock(fds[0], false), 0, "off");
	ok((fcntl(fds[0], F_GETFL) & O_NONBLOCK) == 0, "is off");
	is_int(fd_set_cloexec(fds[0], true), 0, "cloexec");
	is_int(fcntl(fds[0], F_GETFD), FD_CLOEXEC, "is set");
	is_int(fd_set_cloexec(fds[0], false), 0, "off");
	is_int(fcntl(fds[0], F_GETFD), 0, "is off");
	fd_close(&fds[0]);
	is_int(fds[0], -1, "closed");
	fd_close(&fds[0]);
	fd_close(&fds[1]);
	is_int(fd_set_nonblock(-1, true), ERR_SYS, "no descriptor");
	is_int(errno, EBADF, "errno says so");
}

static void test_full(void)
{
	int fd = memory_file("0123456789");
	char text[11] = "";

	is_int(fcntl(fd, F_GETFD), FD_CLOEXEC, "a memory file is close-on-exec");
	is_int(fd_read_full(fd, text, 10), 0, "read_full");
	is_str(text, "0123456789", "all of it");
	is_int(fd_read_full(fd, text, 1), ERR_SHORT, "at the end");
	is_int(fd_read_full(fd, text, 0), 0, "nothing can always be read");
	lseek(fd, 5, SEEK_SET);
	is_int(fd_read_full(fd, text, 6), ERR_SHORT, "less than asked");
	fd_close(&fd);
	is_int(fd_read_full(fd, text, 1), ERR_SYS, "no descriptor to read");
	is_int(fd_write_full(fd, text, 1), ERR_SYS, "no descriptor to write");
}

static void test_read_all(void)
{
	static const struct {
		size_t limit;
		int want;
		const char *text;
	} rows[] = {
		{100, 0, "0123456789"},
		{10, 0, "0123456789"},
		{9, ERR_LIMIT, "012345678"},
		{0, ERR_LIMIT, ""},
	};
	struct buf big = BUF_INIT(1000000);
	int fd = -1;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct buf out = BUF_INIT(rows[i].limit);

		fd = memory_file("0123456789");
		is_int(fd_read_all(fd, &out), rows[i].want, "read_all, limit %zu", rows[i].limit);
		is_slice(buf_slice(&out), rows[i].text, "what came");
		is_int(buf_failed(&out), rows[i].want != 0, "whether it failed");
		buf_clear(&out);
		fd_close(&fd);
	}
	fd = memory_file("");
	is_int(ftruncate(fd, 300000), 0, "a large file");
	is_int(fd_read_all(fd, &big), 0, "is read");
	is_int(big.len, 300000, "whole");
	fd_close(&fd);
	is_int(fd_read_all(fd, &big), ERR_SYS, "no descriptor");
	buf_clear(&big);
}

int main(void)
{
	test_flags();
	test_full();
	test_read_all();
	return done_testing();
}

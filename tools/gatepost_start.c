/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conf/master_cf.h"
#include "tools/gatepost.h"
#include "tools/holder.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

enum { TEXT_LIMIT = 1 << 20, STOP_SECONDS = 40, POLL_USEC = 10000, PIDS = 10000 };

/* ---- locks: see master/dirs.c ---- */

/* Whether somebody holds pid/NAME. */
bool gatepost_is_locked(const char *name)
{
	char *path = mem_fmt("%s/pid/%s", set_str(gatepost_conf, P_queue_directory), name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool locked = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0;

	fd_close(&fd);
	mem_free(path);
	return locked;
}

static pid_t master_pid(void)
{
	char *path = mem_fmt("%s/pid/master.pid", set_str(gatepost_conf, P_queue_directory));
	struct buf text = BUF_INIT(64);
	uint64_t pid = 0;

	if (line_read_file(path, &text) != 0 ||
		slice_u64(slice_trim(buf_slice(&text)), 1, 1 << 30, &pid) != 0)
		pid = 0;
	buf_clear(&text);
	mem_free(path);
	return (pid_t)pid;
}

/* ---- start ---- */

_Noreturn static void become_master(int status_fd)
{
	char *path = mem_fmt("%s/master", set_str(gatepost_conf, P_daemon_directory));
	char *args[8] = {path, (char *)(uintptr_t) "-c", (char *)(uintptr_t)gatepost_dir, NULL};

	if (status_fd >= 0) {
		setsid();
		if (status_fd != 3)
			dup2(status_fd, 3);
		else
			fd_set_cloexec(3, false);
		args[3] = (char *)(uintptr_t) "-s";
	} else {
		args[3] = (char *)(uintptr_t) "-f";
	}
	execv(path, args);
	fprintf(stderr, "gatepost: %s: %s\n", path, err_str(ERR_SYS));
	_exit(1);
}

static void say_development(void)
{
	if (geteuid() != 0)
		fputs("gatepost: without root: for development, users and root directories stay as "
		      "they "
		      "are\n",
			stderr);
}

/* "cannot listen on ADDRESS:PORT: Address already in use": who is it? */
static void name_holder(struct slice why)
{
	struct buf who = BUF_INIT(1000);
	struct slice line, host;
	uint16_t port = 0;

	while (slice_part(&why, '\n', &line)) {
		ptrdiff_t on = slice_find_str(line, "cannot listen on ");
		ptrdiff_t end = slice_find_str(line, ": Address already in use");

		if (on < 0 || end < 0)
			continue;
		line = slice_from(
			slice_first(line, (size_t)end), (size_t)on + strlen("cannot listen on "));
		if (service_split_address(line, &host, &port) == 0 && holder_of_port(port, &who))
			fprintf(stderr, "gatepost: port %u is held by %s\n", port, buf_str(&who));
	}
	buf_clear(&who);
}

/* What comes before master, in the foreground or not. */
static int prepare(void)
{
	if (gatepost_is_locked("master.pid"))
		return gatepost_fail("is running already");
	if (gatepost_check(false) != 0)
		return 1;
	say_development();
	return gatepost_make_dirs() != 0;
}

/* Why master did not come so far that it could be asked; nothing when it did. */
static int read_reason(int fd, pid_t pid)
{
	struct buf text = BUF_INIT(TEXT_LIMIT);
	struct pollfd ended = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
	int r = 0;

	fd_read_all(fd, &text);
	fwrite(buf_str(&text), 1, text.len, stderr);
	name_holder(buf_slice(&text));
	if (text.len != 0)
		r = 1;
	else if (poll(&ended, 1, 0) != 0)
		r = gatepost_fail("master ended before it served; its reason is in the log");
	if (r != 0)
		waitpid(pid, NULL, 0);
	fd_close(&ended.fd);
	buf_clear(&text);
	return r;
}

int gatepost_start(void)
{
	int ends[2] = {-1, -1}, r = prepare();
	pid_t pid = -1;

	if (r != 0)
		return r;
	if (pipe2(ends, O_CLOEXEC) != 0 || (pid = fork()) < 0)
		return gatepost_fail(err_str(ERR_SYS));
	if (pid == 0)
		become_master(ends[1]);
	fd_close(&ends[1]);
	r = read_reason(ends[0], pid);
	fd_close(&ends[0]);
	if (r == 0 && state_wait_start() != 0) {
		gatepost_stop();
		r = 1;
	}
	return r;
}

int gatepost_start_fg(void)
{
	int r = prepare();

	if (r == 0)
		become_master(-1);
	return r;
}

/* ---- stop ---- */

/* A process that has ended counts as gone, whether or not its parent has noticed. */
static void open_pids(const struct state *s, int *fds, size_t *n)
{
	fds[(*n)++] = (int)syscall(SYS_pidfd_open, s->pid, 0);
	for (size_t i = 0; i < s->services; i++) {
		for (size_t j = 0; j < s->service[i].pids && *n < PIDS; j++)
			fds[(*n)++] = (int)syscall(SYS_pidfd_open, s->service[i].pid[j], 0);
	}
}

static bool all_ended(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct pollfd p = {.fd = fds[i], .events = POLLIN};

		/* -1: it had ended before it could be looked at. */
		if (fds[i] >= 0 && poll(&p, 1, 0) == 0)
			return false;
	}
	return true;
}

static int wait_for_end(const int *fds, size_t n)
{
	int64_t deadline = clock_mono() + STOP_SECONDS * CLOCK_SEC;

	while (!all_ended(fds, n) || gatepost_is_locked("master.pid") ||
		gatepost_is_locked("alive.lock")) {
		if (clock_mono() > deadline)
			return gatepost_fail("some processes do not end");
		usleep(POLL_USEC);
	}
	return 0;
}

int gatepost_stop(void)
{
	struct state s = {0};
	int *fds = mem_array(PIDS, sizeof(*fds));
	size_t n = 0;
	int r = state_ask("status", NULL, &s);
	pid_t pid = 0;

	if (r == 0) {
		open_pids(&s, fds, &n);
		r = state_ask("stop", NULL, NULL);
		r = r == ERR_CLOSED || r == ERR_NOT_FOUND ? 0 : r;
	} else if (r == ERR_NOT_FOUND && gatepost_is_locked("master.pid")) {
		pid = master_pid();
		r = pid > 1 && kill(pid, SIGTERM) == 0 ? 0 : ERR_SYS;
	} else if (r == ERR_NOT_FOUND && !gatepost_is_locked("alive.lock")) {
		fputs("gatepost: is stopped already\n", stderr);
	}
	r = r == 0 || r == ERR_NOT_FOUND ? wait_for_end(fds, n) : gatepost_fail(err_str(r));
	for (size_t i = 0; i < n; i++)
		fd_close(&fds[i]);
	mem_free(fds);
	state_clear(&s);
	return r;
}

/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "config.h"
#include "queue/drop.h"

/*
 * maildrop: copies standard input into a new file of QUEUE_DIRECTORY/maildrop, for whoever calls.
 * It runs with the group of that directory (set-gid), which is all that it has above its caller.
 *
 * Whoever calls is an enemy: of descriptors, environment, umask, working directory, signals, timers
 * and limits nothing is taken as it comes; no handler is installed, no configuration read, nothing
 * of libraries but libc's called. The only word it takes is the queue directory, and any will do
 * whose maildrop belongs to the group and is closed to others, which only its owner and root can
 * arrange. The bytes are not looked at: cleanup(8) believes nothing of them. A caller that kills
 * it, or lets a write fail, leaves a file that is not complete, which cleanup removes.
 *
 * Ends with 0 when file and name are on disk, else with a code of sysexits and the reason.
 */
enum { PIECE = 65536, LIMIT_DEFAULT = 10240000 };
#define ENVELOPE_ROOM (QUEUE_DROP_HEAD + QUEUE_DROP_ENVELOPE_MAX + QUEUE_DROP_TAIL)

static const char usage[] = "usage: maildrop QUEUE_DIRECTORY (sendmail(1) runs it)\n";
static char piece[PIECE];

_Noreturn static void fail(int code, const char *what, int err)
{
	(void)dprintf(STDERR_FILENO, "maildrop: fatal: %s%s%s\n", what, err != 0 ? ": " : "",
		err != 0 ? strerror(err) : "");
	_exit(code);
}

/* 0, 1 and 2 are something, and there is nothing else. */
static void clean_descriptors(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
		if (fd < 0)
			_exit(EX_OSERR);
	} while (fd < STDERR_FILENO);
	if (fd > STDERR_FILENO)
		(void)close(fd);
	closefrom(STDERR_FILENO + 1);
}

static void clean_process(void)
{
	sigset_t none;

	(void)clearenv();
	(void)umask(022);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	/* Errors tell instead: of a limit, of cleanup's death. */
	(void)signal(SIGXFSZ, SIG_IGN);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)alarm(0);
}

/* A directory of the group that this program has, where its members can make files and see none. */
static int open_maildrop(const char *queue)
{
	struct stat st;
	int root = open(queue, O_PATH | O_DIRECTORY | O_CLOEXEC), dir;

	if (queue[0] != '/' || root < 0)
		fail(EX_TEMPFAIL, "no queue directory; the mail system was never started", errno);
	if (fchdir(root) != 0)
		fail(EX_TEMPFAIL, "queue directory", errno);
	dir = open("maildrop", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0 || fstat(dir, &st) != 0)
		fail(EX_TEMPFAIL, "no maildrop; the mail system was never started", errno);
	if ((st.st_mode & 06777) != 0730)
		fail(EX_CONFIG, "maildrop: its mode is not 0730", 0);
	if (st.st_gid != getegid() && geteuid() != 0)
		fail(EX_CONFIG, "maildrop is of another group than this program", 0);
	return dir;
}

/* What cleanup says that a message may have, and room for its envelope; 0: no limit. */
static unsigned long long read_limit(void)
{
	int fd = open(QUEUE_DROP_LIMIT, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	unsigned long long limit = LIMIT_DEFAULT;
	char text[32];
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	if (n > 0) {
		limit = 0;
		for (ssize_t i = 0; i < n && text[i] >= '0' && text[i] <= '9' && i < 18; i++)
			limit = limit * 10 + (unsigned)(text[i] - '0');
	}
	return limit == 0 ? 0 : limit + ENVELOPE_ROOM;
}

static int make_file(int dir)
{
	unsigned char noise[QUEUE_DROP_TOKEN / 2];
	char name[QUEUE_DROP_NAME] = "drop.";
	struct stat st;
	int fd = -1;

	for (int tries = 0; fd < 0 && tries < 10; tries++) {
		if (getrandom(noise, sizeof(noise), 0) != (ssize_t)sizeof(noise))
			fail(EX_OSERR, "no random numbers", errno);
		for (size_t i = 0; i < sizeof(noise); i++)
			(void)snprintf(name + 5 + 2 * i, 3, "%02X", noise[i]);
		fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
		if (fd < 0 && errno != EEXIST)
			break;
	}
	if (fd < 0)
		fail(EX_TEMPFAIL, "maildrop", errno);
	/* Its writer lives; a slow one's file may be gone by now. */
	if (flock(fd, LOCK_EX | LOCK_NB) != 0 || fstat(fd, &st) != 0 || st.st_nlink != 1)
		fail(EX_TEMPFAIL, "maildrop", errno);
	return fd;
}

/* Nothing: the end. */
static size_t read_piece(void)
{
	ssize_t n;

	do
		n = read(STDIN_FILENO, piece, sizeof(piece));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		fail(EX_IOERR, "reading the message", errno);
	return (size_t)n;
}

static void write_piece(int fd, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = write(fd, piece + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			fail(errno == EFBIG ? EX_UNAVAILABLE : EX_TEMPFAIL, "maildrop", errno);
		done += (size_t)n;
	}
}

/* Without a listener it is picked up at the next start. */
static void ring(void)
{
	int fd = open(QUEUE_DROP_BELL, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode))
		(void)!write(fd, "W", 1);
}

int main(int argc, char **argv)
{
	unsigned long long limit, size = 0;
	size_t n;
	int dir, fd;

	clean_descriptors();
	clean_process();
	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		return dprintf(STDOUT_FILENO, "%s\n", PACKAGE_STRING) < 0;
	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return dprintf(STDOUT_FILENO, "%s", usage) < 0;
	if (argc != 2)
		fail(EX_USAGE, usage, 0);
	dir = open_maildrop(argv[1]);
	limit = read_limit();
	fd = make_file(dir);
	while ((n = read_piece()) > 0) {
		size += n;
		if (limit > 0 && size > limit)
			fail(EX_UNAVAILABLE, "message file too big", 0);
		write_piece(fd, n);
	}
	if (size == 0)
		fail(EX_DATAERR, "there is no message", 0);
	/* The directory cannot be opened for a sync of its own: with the whole file system. */
	if (fsync(fd) != 0 || fchmod(fd, 0644 | QUEUE_DROP_COMPLETE) != 0 || syncfs(fd) != 0)
		fail(EX_TEMPFAIL, "maildrop", errno);
	(void)close(fd); /* with the lock */
	ring();
	return 0;
}

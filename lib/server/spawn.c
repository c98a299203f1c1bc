/* SPDX-License-Identifier: ISC */
#include "server/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <unistd.h>

#include "server/server.h"

enum { OUT_OF_THE_WAY = 20, CANNOT_RUN = 127 };

_Noreturn void server_exec(
	const char *path, const char *program, int control, int alive, bool keep_stderr)
{
	char *const argv[] = {(char *)(uintptr_t)program, NULL};
	static char *const env[] = {(char *)(uintptr_t) "PATH=/usr/bin:/bin:/usr/sbin:/sbin",
		(char *)(uintptr_t) "LC_ALL=C", NULL};
	int null = open("/dev/null", O_RDWR);
	sigset_t none;

	control = fcntl(control, F_DUPFD, OUT_OF_THE_WAY);
	alive = fcntl(alive, F_DUPFD, OUT_OF_THE_WAY);
	if (null < 0 || control < 0 || alive < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 ||
		(!keep_stderr && dup2(null, 2) < 0) || dup2(control, SERVER_CONTROL_FD) < 0 ||
		dup2(alive, SERVER_ALIVE_FD) < 0)
		_exit(CANNOT_RUN);
	close_range(SERVER_ALIVE_FD + 1, ~0U, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	execve(path, argv, env);
	_exit(CANNOT_RUN);
}

void server_kill(pid_t pid, uid_t uid)
{
	if (kill(pid, SIGKILL) == 0 || errno != EPERM || fork() != 0)
		return;
	if (setresuid(uid, uid, uid) == 0)
		(void)kill(pid, SIGKILL);
	_exit(0);
}

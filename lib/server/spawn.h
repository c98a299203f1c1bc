/* SPDX-License-Identifier: ISC */
#ifndef SERVER_SPAWN_H
#define SERVER_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * The other side of a program's start-up (server.h): for master, in a child that it has forked. The
 * program begins with its control connection, a hold on the lock of the living, standard input and
 * output that lead nowhere, a fixed environment and nothing else of its parent. Both descriptors
 * are used as they are; keep_stderr: for the foreground. Does not return: 127 when it cannot be
 * run.
 */
_Noreturn void server_exec(
	const char *path, const char *program, int control, int alive, bool keep_stderr);

/*
 * Ends a process at once, whose user is uid. Who may change its user but not signal others, as
 * master under its systemd unit, has a child do it as that user.
 */
void server_kill(pid_t pid, uid_t uid);

#endif

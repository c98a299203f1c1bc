/* SPDX-License-Identifier: ISC */
/*
 * usage: inject PID NUMBER
 * Stands in for an exploit: the process, which waits in a system call, makes that one instead, with
 * nothing as its arguments. Exit status 0: it was made to; 1: not.
 */
#include <stdlib.h>
#include <elf.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

static int number(const char *text)
{
	const char *why = NULL;
	long long n = strtonum(text, 0, INT32_MAX, &why);

	return why == NULL ? (int)n : -1;
}

/* One step back lies the instruction that has brought it into the kernel. */
static int repeat_as(pid_t pid, int call)
{
	struct user_regs_struct r;
	struct iovec v = {&r, sizeof(r)};

	if (ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &v) != 0)
		return -1;
#if defined(__x86_64__)
	r.rax = (unsigned long long)call;
	r.orig_rax = (unsigned long long)-1;
	r.rdi = r.rsi = r.rdx = r.r10 = r.r8 = r.r9 = 0;
	r.rip -= 2;
#elif defined(__aarch64__)
	for (int i = 0; i < 6; i++)
		r.regs[i] = 0;
	r.regs[8] = (unsigned long long)call;
	r.pc -= 4;
#else
	errno = ENOSYS;
	return -1;
#endif
	return (int)ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &v);
}

int main(int argc, char **argv)
{
	pid_t pid = argc == 3 ? number(argv[1]) : -1;
	int call = argc == 3 ? number(argv[2]) : -1, status = 0;

	if (pid <= 0 || call < 0) {
		fprintf(stderr, "usage: inject PID NUMBER\n");
		return 1;
	}
	if (ptrace(PTRACE_ATTACH, pid, NULL, NULL) != 0 || waitpid(pid, &status, 0) != pid ||
		!WIFSTOPPED(status) || repeat_as(pid, call) != 0 ||
		ptrace(PTRACE_DETACH, pid, NULL, NULL) != 0) {
		perror("inject");
		return 1;
	}
	return 0;
}

/* SPDX-License-Identifier: ISC */
#ifndef PRIV_PRIV_H
#define PRIV_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Giving rights up. Every step that fails is fatal (log_fatal).
 *
 * priv_drop, in this order: no core dumps, what is writable and executable only executable,
 * supplementary groups, chroot and chdir, group, user, empty capability sets (bounding and ambient
 * ones too), proof that it is final (no way back to uid 0), no_new_privs, undumpable, no memory
 * that can be written and executed, Landlock. priv_confine, for each process that is left then:
 * limits, and the filter of system calls. Between the two a program starts its second process;
 * nothing from outside has been read. What a sandbox allows is in sandbox.def. What the kernel does
 * not have (memory: before 6.3; Landlock: before 5.13) is left out; the filter is not.
 *
 * A forbidden call ends the process: a handler of SIGSYS writes it to *report (PRIV_REPORT_*) and
 * exits; a forbidden call from inside that handler, or with the signal blocked, kills it. Builds
 * with sanitizers have no filter and no limits: what they call is their own affair.
 */
enum sandbox {
	SANDBOX_NONE,
#define ROLE(role, groups, flags) SANDBOX_##role,
#define CHILD(name, groups, flags) SANDBOX_##name,
#include "priv/sandbox.def"
	SANDBOX_COUNT
};

enum { PRIV_GROUPS = 4 };

struct priv {
	uid_t uid;
	gid_t gid;
	gid_t groups[PRIV_GROUPS]; /* supplementary */
	size_t groups_n;
	const char *root;     /* empty: no chroot */
	bool development;     /* no root at hand: users and root directory stay as they are */
	bool keep_root;       /* local's parent: only no core dumps */
	enum sandbox sandbox; /* SANDBOX_NONE: neither Landlock nor what priv_confine does */
	const char *base;     /* what sandbox.def's directories are below, seen behind the chroot */
	bool log_is_file;     /* it writes its log itself: no limit of a file's size */
	/* Where a forbidden call is told, borrowed for good; NULL: as before, or nowhere. */
	_Atomic uint64_t *report;
};

void priv_drop(const struct priv *p);
/* In each process of a program. Nothing, when priv_drop was given SANDBOX_NONE. */
void priv_confine(enum sandbox s);

/* What is in *report: a process and the call that it must not make. 0: nothing. */
#define PRIV_REPORT(pid, call) ((uint64_t)(pid) << 32 | 1U << 31 | ((uint32_t)(call)&0x7fffffff))
#define PRIV_REPORT_PID(report) ((pid_t)((report) >> 32))
#define PRIV_REPORT_CALL(report) ((int)((report)&0x7fffffff))

/* "ptrace", "call" when it has no name; valid until the next call. */
const char *priv_call_name(int call);
const char *priv_sandbox_name(enum sandbox s); /* "SMTPD" */

/* What sandbox.def says of one sandbox, for a reader: calls, names, promises. */
struct buf;
void priv_list(enum sandbox s, struct buf *out);
/* Writes its filter, made for another machine ("x86_64", "aarch64"), to fd. 0 or ERR_*. */
int priv_export(enum sandbox s, const char *machine, int fd);
/* Of the kernel; 0: none. */
int priv_landlock_version(void);

#endif

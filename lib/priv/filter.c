/* SPDX-License-Identifier: ISC */
#include "priv/priv_private.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/buf.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

enum call_group {
#define GROUP(group, pledge, what) GROUP_##group,
#include "priv/sandbox.def"
	GROUP_COUNT
};

enum { CONDITIONS = 2, SOCK_MASK = 0xf };

static const struct group_row {
	const char *name, *pledge, *what;
} groups[GROUP_COUNT] = {
#define GROUP(group, pledge, what) {#group, pledge, what},
#include "priv/sandbox.def"
};

static const struct call_row {
	enum call_group group;
	const char *call;
	struct condition {
		bool is_used;
		struct scmp_arg_cmp cmp;
	} conditions[CONDITIONS];
	int error; /* 0: allowed */
} rows[] = {
#define IS(argument, value)                             \
	{                                               \
		true,                                   \
		{                                       \
			argument, SCMP_CMP_EQ, value, 0 \
		}                                       \
	}
#define HAS(argument, mask, value)                                \
	{                                                         \
		true,                                             \
		{                                                 \
			argument, SCMP_CMP_MASKED_EQ, mask, value \
		}                                                 \
	}
#define ALLOW(group, call, ...) {GROUP_##group, call, {__VA_ARGS__}, 0},
#define PROBE(group, call, error) {GROUP_##group, call, {{false}}, error},
#include "priv/sandbox.def"
#undef IS
#undef HAS
};

/* The names in the rows, as bits. */
enum bits {
#define GROUP(group, pledge, what) group = 1 << GROUP_##group,
#include "priv/sandbox.def"
};
enum {
	FORKS = SANDBOX_FORKS,
	FILES = SANDBOX_FILES,
	DIALS = SANDBOX_DIALS,
	READS = SANDBOX_READS,
	FIXED = SANDBOX_FIXED
};
enum { READ = BELOW_READ, WRITE = BELOW_WRITE, MAKE_DIR = BELOW_MAKE_DIR };

const struct sandbox_row sandbox_rows[SANDBOX_COUNT] = {
#define ROLE(role, groups, flags) [SANDBOX_##role] = {#role, groups, flags},
#define CHILD(name, groups, flags) [SANDBOX_##name] = {#name, groups, flags},
#include "priv/sandbox.def"
};

const struct below_row below_rows[] = {
#define BELOW(name, directory, rights) {SANDBOX_##name, directory, rights},
#include "priv/sandbox.def"
};
const size_t below_rows_n = sizeof(below_rows) / sizeof(*below_rows);

static bool has(enum sandbox s, const struct call_row *r)
{
	return (sandbox_rows[s].groups & 1U << r->group) != 0;
}

static int add_row(scmp_filter_ctx f, const struct call_row *r)
{
	struct scmp_arg_cmp cmp[CONDITIONS];
	uint32_t action = r->error == 0 ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO((uint16_t)r->error);
	int call = seccomp_syscall_resolve_name(r->call), err = 0;
	unsigned n = 0;

	for (; n < CONDITIONS && r->conditions[n].is_used; n++)
		cmp[n] = r->conditions[n].cmp;
	/* A call may be newer than the library that knows calls by name: then nobody makes it. */
	if (call != __NR_SCMP_ERROR)
		err = seccomp_rule_add_array(f, action, call, n, cmp);
	return err == -EEXIST ? 0 : err;
}

/* abort and its kin signal their own process. */
static int add_own_signals(scmp_filter_ctx f)
{
	return seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
		SCMP_A0_64(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
}

/* A debugger that skips a call puts -1 in its place: the kernel's answer is ENOSYS. */
static int add_skipped(scmp_filter_ctx f)
{
	int err = seccomp_attr_set(f, SCMP_FLTATR_API_TSKIP, 1);

	return err == 0 ? seccomp_rule_add(f, SCMP_ACT_ALLOW, -1, 0) : err;
}

static int make(scmp_filter_ctx f, enum sandbox s)
{
	int err = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);

	if (err == 0)
		err = seccomp_attr_set(f, SCMP_FLTATR_CTL_NNP, 0);
	if (err == 0)
		err = seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (size_t i = 0; err == 0 && i < sizeof(rows) / sizeof(*rows); i++)
		if (has(s, &rows[i]))
			err = add_row(f, &rows[i]);
	if (err == 0)
		err = add_own_signals(f);
	return err == 0 ? add_skipped(f) : err;
}

void filter_confine(enum sandbox s)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_TRAP);
	int err = f != NULL ? make(f, s) : -ENOMEM;

	if (err == 0)
		err = seccomp_load(f);
	seccomp_release(f);
	if (err != 0) {
		errno = -err;
		log_fatal("dropping rights: the filter of system calls: %s", err_str(ERR_SYS));
	}
}

int priv_export(enum sandbox s, const char *machine, int fd)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_TRAP);
	uint32_t arch = seccomp_arch_resolve_name(machine);
	int err = f != NULL && arch != 0 ? 0 : -EINVAL;

	if (err == 0 && arch != seccomp_arch_native()) {
		err = seccomp_arch_remove(f, SCMP_ARCH_NATIVE);
		err = err == 0 ? seccomp_arch_add(f, arch) : err;
	}
	if (err == 0)
		err = make(f, s);
	if (err == 0)
		err = seccomp_export_bpf(f, fd);
	seccomp_release(f);
	errno = -err;
	return err == 0 ? 0 : ERR_SYS;
}

const char *priv_sandbox_name(enum sandbox s)
{
	return sandbox_rows[s].name;
}

const char *priv_call_name(int call)
{
	static char name[64];
	char *known = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, call);

	strlcpy(name, known != NULL ? known : "call", sizeof(name));
	mem_free(known);
	return name;
}

/* ---- for a reader ---- */

static void list_names(enum sandbox s, struct buf *out)
{
	(void)buf_add_str(out, "names:");
	for (size_t i = 0; i < below_rows_n; i++)
		if (below_rows[i].sandbox == s)
			(void)buf_add_fmt(out, " %s", below_rows[i].directory);
	(void)buf_add_str(out, "\nunveil:");
	for (size_t i = 0; i < below_rows_n; i++)
		if (below_rows[i].sandbox == s)
			(void)buf_add_fmt(out, " %s %s", below_rows[i].directory,
				below_rows[i].rights & BELOW_WRITE ? "rwc" : "r");
	(void)buf_add_str(out, "\npledge:");
	for (size_t i = 0; i < GROUP_COUNT; i++)
		if ((sandbox_rows[s].groups & 1U << i) != 0 && *groups[i].pledge != '\0')
			(void)buf_add_fmt(out, " %s", groups[i].pledge);
	(void)buf_add_char(out, '\n');
}

void priv_list(enum sandbox s, struct buf *out)
{
	(void)buf_add_fmt(out, "sandbox: %s\n", priv_sandbox_name(s));
	for (size_t g = 0; g < GROUP_COUNT; g++) {
		if ((sandbox_rows[s].groups & 1U << g) == 0)
			continue;
		(void)buf_add_fmt(out, "%s:\n", groups[g].what);
		for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
			if (rows[i].group != g)
				continue;
			(void)buf_add_fmt(out, "  %s%s%s\n", rows[i].call,
				rows[i].conditions[0].is_used ? " (some)" : "",
				rows[i].error != 0 ? " (an error, no more)" : "");
		}
	}
	list_names(s, out);
}

/* SPDX-License-Identifier: ISC */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "priv/priv.h"
#include "t/tap.h"
#include "util/buf.h"
#include "util/fd.h"

static struct priv wanted;
static char root[] = "/tmp/gatepost-priv-XXXXXX";
static int report; /* where the child says what it sees */

static void see(const char *what, bool so)
{
	dprintf(report, "%s=%d\n", what, so);
}

/* What has given its rights up cannot be traced, which the leak check of a sanitizer needs. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

/* In the child: /proc is opened before the root directory changes. */
static void drop(void)
{
	int proc = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	struct buf status = BUF_INIT(65536);

	priv_drop(&wanted);
	if (fd_read_all(proc, &status) != 0)
		_exit(1);
	dprintf(report, "%s", buf_str(&status));
	see("root", setuid(0) == 0);
	see("path", access("/etc/passwd", F_OK) == 0);
	see("write", open("/x", O_WRONLY | O_CREAT, 0600) >= 0);
	see("dumpable", prctl(PR_GET_DUMPABLE) != 0);
}

/* Runs drop in a child; its exit status, and what it said. */
static int run(struct buf *said)
{
	int ends[2], status = 0;
	char text[1000];

	buf_reset(said);
	if (pipe2(ends, O_CLOEXEC) != 0)
		bail_out("pipe");
	report = ends[1];
	status = tap_child(drop, text, sizeof(text));
	fd_close(&ends[1]);
	fd_read_all(ends[0], said);
	fd_close(&ends[0]);
	return status;
}

static bool has_line(const struct buf *said, const char *line)
{
	struct slice rest = buf_slice(said), part;

	while (slice_part(&rest, '\n', &part)) {
		if (slice_eq_str(part, line))
			return true;
	}
	return false;
}

static void check_result(void)
{
	static const char *const lines[] = {"Uid:\t4711\t4711\t4711\t4711",
		"Gid:\t4712\t4712\t4712\t4712", "Groups:\t4713 ", "NoNewPrivs:\t1",
		"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000",
		"CapEff:\t0000000000000000", "CapBnd:\t0000000000000000",
		"CapAmb:\t0000000000000000", "root=0", "path=0", "write=0", "dumpable=0"};
	struct buf said = BUF_INIT(100000);

	wanted = (struct priv){
		.uid = 4711, .gid = 4712, .groups = {4713}, .groups_n = 1, .root = root};
	is_int(run(&said), 0, "rights are dropped");
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		ok(has_line(&said, lines[i]), "%s", lines[i]);
	buf_clear(&said);
}

static void check_refusals(void)
{
	static const struct {
		const char *name;
		struct priv priv;
	} cases[] = {
		{"root as user", {.uid = 0, .gid = 4712, .root = ""}},
		{"root as group", {.uid = 4711, .gid = 0, .root = ""}},
		{"no such root directory", {.uid = 4711, .gid = 4712, .root = "/nonexistent/x"}},
	};
	struct buf said = BUF_INIT(100000);

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		wanted = cases[i].priv;
		ok(run(&said) != 0 && said.len == 0, "%s ends the program", cases[i].name);
	}
	buf_clear(&said);
}

static void check_development(void)
{
	struct buf said = BUF_INIT(100000);

	wanted = (struct priv){.root = "", .development = true};
	is_int(run(&said), 0, "without root for development");
	ok(has_line(&said, "NoNewPrivs:\t1"), "no new privileges all the same");
	ok(has_line(&said, "path=1"), "the root directory stays");
	buf_clear(&said);
}

/* ---- the filter ---- */

#ifndef GP_SANITIZE
struct page {
	_Atomic uint64_t report;
};

static struct page *page;

static void enter(void)
{
	struct priv p = {.uid = 4711,
		.gid = 4712,
		.root = root,
		.base = "",
		.sandbox = SANDBOX_VAULT,
		.report = &page->report};

	priv_drop(&p);
	priv_confine(SANDBOX_VAULT);
}

/* Every file its user may read; none to write or execute. */
static void only_read(void)
{
	static char name[] = "/bin/true";
	char *const argv[] = {name, NULL};
	struct priv p = {.uid = 4711,
		.gid = 4712,
		.root = "",
		.base = "",
		.sandbox = SANDBOX_NSS,
		.report = &page->report};

	priv_drop(&p);
	priv_confine(SANDBOX_NSS);
	if (open("/etc/passwd", O_RDONLY) < 0 || socket(AF_UNIX, SOCK_STREAM, 0) < 0)
		_exit(1);
	if (open("/tmp/gatepost-priv-x", O_WRONLY | O_CREAT, 0600) >= 0)
		_exit(2);
	if (priv_landlock_version() > 0)
		(void)execv(name, argv);
	_exit(errno == EACCES ? 0 : 3);
}

static void do_nothing(void)
{
	enter();
}

static void trace_parent(void)
{
	enter();
	(void)syscall(SYS_ptrace, 0, 0, 0, 0);
	_exit(0);
}

/* As in the handler: with the signal held back. */
static void trace_while_blocked(void)
{
	sigset_t set;

	enter();
	sigemptyset(&set);
	sigaddset(&set, SIGSYS);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	(void)syscall(SYS_ptrace, 0, 0, 0, 0);
	_exit(0);
}

static void probe(void)
{
	enter();
	errno = 0;
	_exit(open("/etc/passwd", O_RDONLY) == -1 && errno == EACCES ? 0 : 1);
}

static void be_killed_by_abort(void)
{
	enter();
	abort();
}

static void be_sent_the_signal(void)
{
	enter();
	(void)raise(SIGSYS);
	_exit(0);
}

static void check_filter(void)
{
	static const struct {
		const char *name;
		void (*run)(void);
		int status, signal, call;
	} cases[] = {
		{"what is allowed", do_nothing, 0, 0, 0},
		{"one that reads", only_read, 0, 0, 0},
		{"a forbidden call", trace_parent, 128 + SIGSYS, 0, SYS_ptrace},
		{"one while another is handled", trace_while_blocked, 0, SIGSYS, 0},
		{"what a library looks for", probe, 0, 0, 0},
		{"an abort", be_killed_by_abort, 0, SIGABRT, 0},
		{"the signal without a call", be_sent_the_signal, 128 + SIGSYS, 0, 0},
	};

	page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		bail_out("mmap");
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		int status = 0;
		pid_t pid = -1;

		page->report = 0;
		pid = fork();
		if (pid == 0) {
			cases[i].run();
			_exit(0);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			bail_out("fork");
		is_int(WIFEXITED(status) ? WEXITSTATUS(status) : 0, cases[i].status,
			"%s: exit status", cases[i].name);
		is_int(WIFSIGNALED(status) ? WTERMSIG(status) : 0, cases[i].signal, "%s: signal",
			cases[i].name);
		is_int(page->report != 0 ? PRIV_REPORT_CALL(page->report) : 0, cases[i].call,
			"%s: what is told", cases[i].name);
		ok(page->report == 0 || PRIV_REPORT_PID(page->report) == pid, "%s: of whom",
			cases[i].name);
	}
	is_str(priv_call_name(SYS_ptrace), "ptrace", "a call's name");
	is_str(priv_call_name(0x7fffffff), "call", "what has no name");
	munmap(page, sizeof(*page));
}
#endif

/* Each filter can be made for either machine, from the one table. */
static void check_machines(void)
{
	static const char *const machines[] = {"x86_64", "aarch64"};

	for (unsigned s = SANDBOX_NONE + 1; s < SANDBOX_COUNT; s++) {
		if (s == SANDBOX_NSS)
			continue;
		for (size_t i = 0; i < 2; i++) {
			int fd = -1;
			off_t size = 0;

			if (fd_memory("filter", &fd) != 0)
				bail_out("memory");
			is_int(priv_export((enum sandbox)s, machines[i], fd), 0, "%s: for %s",
				priv_sandbox_name((enum sandbox)s), machines[i]);
			size = lseek(fd, 0, SEEK_END);
			ok(size > 60 * 8 && size % 8 == 0, "%s: %d bytes of it",
				priv_sandbox_name((enum sandbox)s), (int)size);
			fd_close(&fd);
		}
	}
	ok(priv_export(SANDBOX_VAULT, "abacus", 1) != 0, "not for others");
}

int main(void)
{
	if (geteuid() != 0)
		skip_all("rights are dropped by root alone");
	if (mkdtemp(root) == NULL || chmod(root, 0755) != 0)
		bail_out("mkdtemp");
	check_result();
	check_refusals();
	check_development();
#ifndef GP_SANITIZE
	check_filter();
#endif
	check_machines();
	rmdir(root);
	return done_testing();
}

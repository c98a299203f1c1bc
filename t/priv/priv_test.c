/* SPDX-License-Identifier: ISC */
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
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
		"CapEff:\t0000000000000000", "CapAmb:\t0000000000000000", "root=0", "path=0",
		"write=0", "dumpable=0"};
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

int main(void)
{
	if (geteuid() != 0)
		skip_all("rights are dropped by root alone");
	if (mkdtemp(root) == NULL || chmod(root, 0755) != 0)
		bail_out("mkdtemp");
	check_result();
	check_refusals();
	check_development();
	rmdir(root);
	return done_testing();
}

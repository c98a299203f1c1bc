/* SPDX-License-Identifier: ISC */
#include "config.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdatomic.h>
#include <stdio.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/gatepost.h"
#include "tools/sandbox_acts.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

/*
 * gatepost sandbox-test: each act is tried in a process of its own that has given its rights up by
 * lib/priv as a worker does, and says on a shared page how far it came.
 */
static const struct row {
	const char *name; /* as the user says it */
	enum sandbox sandbox;
	enum role role; /* whose user and root directory it has */
} rows[] = {
	{"smtpd", SANDBOX_SMTPD, ROLE_SMTPD},
	{"cleanup", SANDBOX_CLEANUP, ROLE_CLEANUP},
	{"qmgr", SANDBOX_QMGR, ROLE_QMGR},
	{"keeper", SANDBOX_KEEPER, ROLE_QMGR},
	{"smtp-client", SANDBOX_CLIENT, ROLE_CLIENT},
	{"resolver", SANDBOX_RESOLVER, ROLE_RESOLVER},
	{"vault", SANDBOX_VAULT, ROLE_VAULT},
	{"crew-keeper", SANDBOX_CREW_KEEPER, ROLE_VAULT},
	{"crew", SANDBOX_CREW, ROLE_VAULT},
	{"tally", SANDBOX_TALLY, ROLE_TALLY},
	{"local", SANDBOX_LOCAL, ROLE_LOCAL},
};
enum { ROWS = sizeof(rows) / sizeof(*rows) };

static const struct place_row {
	enum param owner;
	bool shares_queue;
	enum param base;
	const char *below;
} places[ROLE_COUNT] = {
#define R(role, owner, shares_queue, base, below, given, given2, stage) \
	[ROLE_##role] = {P_##owner, shares_queue, P_##base, below},
#include "priv/roles.def"
#undef R
};

enum stage { NOT_IN, INSIDE, REFUSED, DONE };

struct page {
	_Atomic uint64_t report;
	_Atomic int stage, error;
};

static bool find_user(const struct row *r, struct priv *p)
{
	const struct place_row *place = &places[r->role];
	enum param owner = place->owner != P_COUNT ? place->owner : P_default_privs;
	const struct passwd *pw = getpwnam(set_str(gatepost_conf, owner));
	const struct group *gr = getgrnam(set_str(gatepost_conf, P_queue_group));

	if (pw == NULL || (place->shares_queue && gr == NULL))
		return false;
	p->uid = pw->pw_uid;
	p->gid = pw->pw_gid;
	if (place->shares_queue) {
		p->groups[p->groups_n++] = p->gid;
		p->gid = gr->gr_gid;
	}
	return true;
}

/* Enters the sandbox and tries; the page says what came of it. Does not return. */
_Noreturn static void try_inside(
	const struct row *r, const struct sandbox_act *act, struct priv *p, struct page *page)
{
	pid_t outside = getppid();

	p->report = &page->report;
	priv_drop(p);
	priv_confine(r->sandbox);
	page->stage = INSIDE;
	int result = act->run(outside);
	page->error = errno;
	page->stage = result == 0 ? DONE : REFUSED;
	_exit(0);
}

/* 0: refused. */
static int tell(
	const struct row *r, const struct sandbox_act *act, const struct page *page, int status)
{
	bool may = act->may >> r->sandbox & 1,
	     has_ended = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
	char how[200] = "";
	int bad = 0;

	if (page->stage == NOT_IN) {
		snprintf(how, sizeof(how), "ERROR: it could not be tried");
		bad = 1;
	} else if (page->report != 0) {
		snprintf(how, sizeof(how), "refused: ended by %s",
			priv_call_name(PRIV_REPORT_CALL(page->report)));
	} else if (page->stage == REFUSED) {
		errno = page->error;
		snprintf(how, sizeof(how), "refused: %s", err_str(ERR_SYS));
	} else if (page->stage == INSIDE && has_ended && WIFSIGNALED(status)) {
		snprintf(how, sizeof(how), "refused: killed by signal %d", WTERMSIG(status));
	} else {
		bad = may ? 0 : 1;
		snprintf(how, sizeof(how), "%s", may ? "allowed: its work" : "DONE");
	}
	printf("%-12s %-38s %s\n", r->name, act->what, how);
	return bad;
}

static int try_one(const struct row *r, const struct sandbox_act *act, const struct priv *priv,
	struct page *page)
{
	struct priv p = *priv;
	int status = 0;
	pid_t pid = -1;

	page->report = 0;
	page->stage = NOT_IN;
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		try_inside(r, act, &p, page);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return gatepost_fail(err_str(ERR_SYS));
	return tell(r, act, page, status);
}

static int test_row(const struct row *r, struct page *page)
{
	const struct place_row *place = &places[r->role];
	bool is_root = geteuid() == 0;
	const char *base = place->base != P_COUNT ? set_str(gatepost_conf, place->base) : "";
	char *root = mem_fmt("%s%s", base, place->below);
	struct priv p = {.root = is_root ? root : "",
		.base = is_root ? "" : root,
		.development = !is_root,
		.sandbox = r->sandbox};
	int bad = 0;

	if (is_root && !find_user(r, &p)) {
		mem_free(root);
		return gatepost_fail("a user or group of the role is unknown; see gatepost check");
	}
	for (size_t i = 0; i < sandbox_acts_n; i++)
		bad += try_one(r, &sandbox_acts[i], &p, page);
	mem_free(root);
	return bad;
}

static void list_row(const struct row *r)
{
	struct buf text = BUF_INIT(100000);

	priv_list(r->sandbox, &text);
	fwrite(buf_str(&text), 1, text.len, stdout);
	buf_clear(&text);
}

int gatepost_sandbox(const char *role, bool list)
{
	bool all = strcmp(role, "ALL") == 0, known = false;
	struct page *page = mmap(
		NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int bad = 0;

	if (page == MAP_FAILED)
		return gatepost_fail(err_str(ERR_SYS));
	log_set_sink(LOG_SINK_STDERR, -1);
	for (size_t i = 0; i < ROWS; i++) {
		if (!all && strcmp(role, rows[i].name) != 0)
			continue;
		known = true;
		if (list)
			list_row(&rows[i]);
		else
			bad += test_row(&rows[i], page);
	}
	munmap(page, sizeof(*page));
	if (!known)
		return gatepost_fail("no such role; expected ALL, smtpd, cleanup, qmgr, keeper, "
				     "smtp-client, resolver, vault, crew-keeper, crew, tally or "
				     "local");
	if (bad != 0)
		fprintf(stderr, "gatepost: %d acts were not refused\n", bad);
	return bad != 0;
}

/* SPDX-License-Identifier: ISC */
#include "tools/gateq.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/conf.h"
#include "config.h"
#include "queue/id.h"
#include "tools/gateq_dry.h"
#include "tools/gateq_filter.h"
#include "tools/gateq_summary.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

const char *gateq_program = "gateq";

static const char usage[] =
	"usage: gateq [-c DIR] COMMAND [OPTION ...] [ID ... | ALL | -]\n"
	"  list      what is in the queue (--json: one object a line)\n"
	"  summary   how much there is of each --by destination|site|reason|age|sender\n"
	"            (--json; --top N: the first rows)\n"
	"  show ID   envelope, history and next attempt of a message\n"
	"  cat ID    its content\n"
	"  flush     try now: all, or the given messages\n"
	"  hold | release | requeue | delete | expire\n"
	"filters: --sender PATTERN --recipient PATTERN --site NEXTHOP --reason TEXT\n"
	"         --older TIME --queue NAME; --dry-run shows what would be done\n"
	"-c, --config DIR, --help, --version\n";

static struct gateq_filter filter;
static bool dry_run, json;
static int by = -1;
static size_t rows;

/* ---- Words to people. ---- */

__attribute__((format(printf, 1, 0))) static void say(const char *fmt, va_list ap)
{
	struct buf text = BUF_INIT(65536);
	char line[4096];

	vsnprintf(line, sizeof(line), fmt, ap);
	log_quote(&text, slice_str(line), sizeof(line));
	fflush(stdout);
	fprintf(stderr, "%s: %s\n", gateq_program, buf_str(&text));
	buf_clear(&text);
}

void gateq_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

void gateq_fail(int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
	gateq_direct_close();
	exit(status);
}

/* ---- Ids. ---- */

void gateq_add_id(char ***ids, size_t *n, const char *id)
{
	if ((*n & (*n - 1)) == 0)
		*ids = mem_resize(*ids, *n == 0 ? 1 : *n * 2, sizeof(**ids));
	(*ids)[(*n)++] = mem_str(id);
}

void gateq_read_ids(char ***ids, size_t *n)
{
	char line[256];

	while (fgets(line, sizeof(line), stdin) != NULL) {
		struct slice id = slice_trim(slice_str(line));

		line[strcspn(line, " \t\r\n")] = '\0';
		if (id.len == 0)
			continue;
		if (!queue_id_is_valid(slice_str(line)))
			gateq_error("%s: not a queue id", line);
		else
			gateq_add_id(ids, n, line);
	}
}

int gateq_open(const char *dir, const struct gateq_backend **backend)
{
	struct buf why = BUF_INIT(65536);
	int err;

	if (conf_load(dir, NULL, &why) != 0) {
		fputs(buf_str(&why), stderr);
		buf_clear(&why);
		return ERR_SYNTAX;
	}
	buf_clear(&why);
	err = gateq_ask_open(backend);
	return err == ERR_CLOSED ? gateq_direct_open(backend) : err;
}

/* ---- Commands. ---- */

static struct gateq_report report;

static void list_one(const struct gateq_message *m, void *arg)
{
	(void)arg;
	if (!gateq_filter_message(&filter, m))
		return;
	if (json)
		gateq_print_json(m, false);
	else
		gateq_print_mailq(&report, m);
}

static int list(const struct gateq_backend *b)
{
	int err = b->list(true, list_one, NULL);

	if (err == 0 && !json)
		gateq_print_mailq_end(&report);
	return err == 0 ? 0 : 1;
}

static void sum_up(const struct gateq_message *m, void *arg)
{
	gateq_summary_add(arg, m);
}

static int summary(const struct gateq_backend *b)
{
	struct gateq_summary *s;
	int err;

	if (by < 0)
		gateq_fail(1, "summary: expected --by destination, site, reason, age or sender");
	s = gateq_summary_new((enum gateq_by)by, &filter, clock_real());
	err = b->list(true, sum_up, s);
	if (err == 0)
		gateq_summary_print(s, json, rows);
	gateq_summary_free(&s);
	return err == 0 ? 0 : 1;
}

struct ids {
	char **list;
	size_t count, undone;
	const char *command;
	bool chosen; /* by ALL or a filter, not by name */
	bool failed;
};

/* What ALL and filters choose for a command: messages that it would change. */
static bool is_fit(const char *command, const struct gateq_message *m)
{
	return gateq_dry_fits(command, m) &&
	       (strcmp(command, "hold") != 0 || strcmp(m->queue, "hold") != 0);
}

static void collect(const struct gateq_message *m, void *arg)
{
	struct ids *ids = arg;

	if (gateq_filter_message(&filter, m) && is_fit(ids->command, m))
		gateq_add_id(&ids->list, &ids->count, m->id);
}

/* A message that was chosen may have ended since: that is no failure. */
static void acted(const char *id, int result, const char *why, void *arg)
{
	struct ids *ids = arg;

	if (result == 0)
		return;
	ids->undone++;
	if (ids->chosen && result == ERR_NOT_FOUND)
		return;
	gateq_error("%s: %s", id, why);
	ids->failed = true;
}

static size_t missed;

static void miss(const char *id)
{
	gateq_error("%s: no such message, or nothing to do for it", id);
	missed++;
}

static int act_dry(const struct gateq_backend *b, const char *what, const struct ids *ids)
{
	int err = 0;

	if (ids->chosen)
		gateq_dry_run(what, ids->list, ids->count);
	else
		err = gateq_dry_run_named(b, what, ids->list, ids->count, miss);
	return err != 0 || missed > 0;
}

static void say_done(const char *what, uint64_t n)
{
	printf("%s: %llu message%s\n", what, (unsigned long long)n, n == 1 ? "" : "s");
}

static int flush_all(const struct gateq_backend *b)
{
	uint64_t n;

	if (b->flush(NULL, &n) != 0)
		return 1;
	say_done("flush", n);
	return 0;
}

static int act(const struct gateq_backend *b, const char *what, struct ids *ids)
{
	int err;

	if (!ids->chosen)
		ids->count = gateq_dry_unique(ids->list, ids->count);
	if (dry_run)
		return act_dry(b, what, ids);
	err = b->act(what, ids->list, ids->count, acted, ids);
	if (err != 0) {
		if (err == ERR_CLOSED)
			gateq_error("the queue manager has ended the connection");
		return 1;
	}
	say_done(what, ids->count - ids->undone);
	return ids->failed;
}

static void write_text(struct slice piece, void *arg)
{
	(void)arg;
	fwrite(piece.p, 1, piece.len, stdout);
}

static int see(const struct gateq_backend *b, const char *what, const struct ids *ids)
{
	int status = 0;

	for (size_t i = 0; i < ids->count; i++) {
		int err = b->see(what, ids->list[i], write_text, NULL);

		if (err == 0 && strcmp(what, "show") == 0) {
			printf("\nhistory:\n");
			gateq_file_history(ids->list[i], write_text, NULL);
			b->see("history", ids->list[i], write_text, NULL);
		}
		if (err == ERR_NOT_FOUND)
			gateq_error("%s: no such message", ids->list[i]);
		if (err != 0)
			status = 1;
	}
	return status;
}

static int run(const struct gateq_backend *b, const char *command, struct ids *ids, bool all)
{
	static const char *const actions[] = {
		"flush", "hold", "release", "requeue", "delete", "expire"};

	if (strcmp(command, "list") == 0)
		return list(b);
	if (strcmp(command, "summary") == 0)
		return summary(b);
	if (strcmp(command, "show") == 0 || strcmp(command, "cat") == 0)
		return see(b, command, ids);
	if (strcmp(command, "flush") == 0 && ids->count == 0 && !filter.is_set) {
		if (!dry_run)
			return flush_all(b);
		all = true;
	}
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		if (strcmp(command, actions[i]) != 0)
			continue;
		ids->command = command;
		ids->chosen = ids->count == 0 && (all || filter.is_set);
		if (ids->chosen && b->list(true, collect, ids) != 0)
			return 1;
		return act(b, command, ids);
	}
	gateq_fail(1, "%s: no such command", command);
}

static void take_by(const char *text)
{
	by = gateq_summary_by(text);
	if (by < 0)
		gateq_fail(1, "--by %s: expected destination, site, reason, age or sender", text);
}

static size_t take_number(const char *text)
{
	uint64_t n;

	if (slice_u64(slice_str(text), 1, GATEQ_ROWS, &n) != 0)
		gateq_fail(1, "--top %s: expected a number", text);
	return (size_t)n;
}

static bool take_option(int c, const char *name)
{
	if (c == '?')
		return false;
	/* A variable of a script that is not set must not choose everything. */
	if (optarg[0] == '\0')
		gateq_fail(1, "--%s: expected a value, not nothing", name);
	filter.is_set = true;
	switch (c) {
	case 's': filter.sender = optarg; return true;
	case 'r': filter.recipient = optarg; return true;
	case 'S': filter.site = optarg; return true;
	case 'R': filter.reason = optarg; return true;
	case 'q': filter.queue = optarg; return true;
	case 'o':
		if (gateq_filter_older(optarg, clock_real(), &filter.older) != 0)
			gateq_fail(1, "--older %s: expected a time as 90s, 15m, 2h or 3d", optarg);
		return true;
	default: return false;
	}
}

static void take_ids(struct ids *ids, char **argv, bool *all)
{
	for (; *argv != NULL; argv++) {
		if (strcmp(*argv, "ALL") == 0)
			*all = true;
		else if (strcmp(*argv, "-") == 0)
			gateq_read_ids(&ids->list, &ids->count);
		else if (!queue_id_is_valid(slice_str(*argv)))
			gateq_fail(1, "%s: not a queue id", *argv);
		else
			gateq_add_id(&ids->list, &ids->count, *argv);
	}
}

/* A command that destroys wants to be told what, and in one way. */
static void check_target(const char *command, const struct ids *ids, bool all, bool has_words)
{
	if (has_words && !all && filter.is_set)
		gateq_fail(1, "%s: expected ids or filters, not both", command);
	if (ids->count > 0 || all || filter.is_set || has_words)
		return;
	if (strcmp(command, "list") != 0 && strcmp(command, "flush") != 0 &&
		strcmp(command, "summary") != 0)
		gateq_fail(1, "%s: expected queue ids, ALL, - or a filter", command);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{"config", required_argument, NULL, 'c'},
		{"json", no_argument, NULL, 'j'},
		{"dry-run", no_argument, NULL, 'n'},
		{"sender", required_argument, NULL, 's'},
		{"recipient", required_argument, NULL, 'r'},
		{"site", required_argument, NULL, 'S'},
		{"reason", required_argument, NULL, 'R'},
		{"older", required_argument, NULL, 'o'},
		{"queue", required_argument, NULL, 'q'},
		{"by", required_argument, NULL, 'b'},
		{"top", required_argument, NULL, 't'},
		{NULL, 0, NULL, 0},
	};
	const struct gateq_backend *backend;
	const char *dir = conf_default_dir(), *name = strrchr(argv[0], '/'), *command;
	struct ids ids = {0};
	bool all = false, had_ids;
	int c, status, at = 0;

	name = name != NULL ? name + 1 : argv[0];
	status = gateq_postfix(name, argc, argv);
	if (status >= 0)
		return status;
	while ((c = getopt_long(argc, argv, "c:jnh", options, &at)) != -1) {
		switch (c) {
		case 'c': dir = optarg; break;
		case 'j': json = true; break;
		case 'n': dry_run = true; break;
		case 'b': take_by(optarg); break;
		case 't': rows = take_number(optarg); break;
		case 'h': fputs(usage, stdout); return 0;
		case 'V': printf("%s\n", PACKAGE_STRING); return 0;
		default:
			if (!take_option(c, options[at].name)) {
				fputs(usage, stderr);
				return 1;
			}
		}
	}
	if (optind == argc) {
		fputs(usage, stderr);
		return 1;
	}
	command = argv[optind++];
	had_ids = optind < argc;
	take_ids(&ids, argv + optind, &all);
	check_target(command, &ids, all, had_ids);
	c = gateq_open(dir, &backend);
	if (c == ERR_NOT_FOUND)
		gateq_fail(1,
			"the mail system is down, and the user %s or the group %s is missing; "
			"gatepost check names the commands that make them",
			conf_str(P_qmgr_owner), conf_str(P_queue_group));
	if (c == ERR_CLOSED && geteuid() == 0)
		gateq_fail(1, "the mail system is down, and there is no queue in %s",
			conf_str(P_queue_directory));
	if (c == ERR_CLOSED)
		gateq_fail(1, "the mail system is down; only root can work on the queue itself");
	if (c != 0)
		gateq_fail(1, "the queue cannot be opened: %s", err_str(c));
	if (had_ids && ids.count == 0 && !all && strcmp(command, "list") != 0)
		status = 0;
	else
		status = run(backend, command, &ids, all);
	gateq_direct_close();
	return fflush(stdout) == 0 ? status : 1;
}

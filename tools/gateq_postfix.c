/* SPDX-License-Identifier: ISC */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "config.h"
#include "queue/file.h"
#include "conf/conf.h"
#include "tools/gateq_dry.h"
#include "util/err.h"
#include "util/mem.h"

/* postqueue, postsuper and postcat with Postfix's options, output and exit codes, and --dry-run. */

static const char *dir;
static const struct gateq_backend *backend;
static bool dry_run;

static const struct option long_options[] = {
	{"dry-run", no_argument, NULL, 'n'}, {NULL, 0, NULL, 0}};

static void open_queue(const char *what)
{
	int err = gateq_open(dir, &backend);

	if (err == ERR_CLOSED)
		gateq_fail(EX_UNAVAILABLE, "fatal: %s - mail system is down", what);
	if (err != 0)
		gateq_fail(EX_OSERR, "fatal: the queue cannot be opened: %s", err_str(err));
}

_Noreturn static void leave(int status)
{
	gateq_direct_close();
	exit(fflush(stdout) == 0 ? status : EX_IOERR);
}

static const struct usage {
	const char *name, *text;
	int status;
} usages[] = {
	{"postqueue",
		"postqueue -f (flush queue) | postqueue -i queueid | postqueue -j (JSON) | "
		"postqueue -p (print queue) | postqueue -s site; "
		"also [-c config_dir] [-v (no effect)]",
		EX_USAGE},
	{"postsuper",
		"postsuper [-c config_dir] [-d queue_id (delete)] [-e queue_id (force-expire)] "
		"[-f queue_id (force-expire and unhold)] [-h queue_id (hold)] [-H queue_id "
		"(un-hold)] [-p (purge temporary files)] [-r queue_id (requeue)] [-s (structure "
		"check)] [-S (redundant structure check)] [-v (no effect)] [queue...]",
		1},
	{"postcat",
		"postcat [-b (body text)] [-c config_dir] [-d -f -n -o -r -s -v (no effect)] "
		"[-e (envelope records)] [-h (header text)] [-q (access queue)] [file(s)...]",
		1},
	{0},
};

/* NULL for mailq, which is gateq list. */
static const struct usage *find_usage(void)
{
	const struct usage *u = usages;

	while (u->name != NULL && strcmp(u->name, gateq_program) != 0)
		u++;
	return u->name != NULL ? u : NULL;
}

_Noreturn static void wrong_usage(void)
{
	const struct usage *u = find_usage();

	gateq_fail(u->status, "fatal: usage: %s", u->text);
}

/* ---- postqueue, mailq ---- */

static struct gateq_report report;

static void print_mailq(const struct gateq_message *m, void *arg)
{
	(void)arg;
	gateq_print_mailq(&report, m);
}

static void print_json(const struct gateq_message *m, void *arg)
{
	(void)arg;
	gateq_print_json(m, true);
}

/* A refusal was said by the back end. */
static int exit_of(int err)
{
	return err == 0 || err == ERR_NOT_FOUND ? 0
	       : err == ERR_DENIED              ? EX_NOPERM
	       : err == ERR_CLOSED              ? EX_UNAVAILABLE
						: EX_TEMPFAIL;
}

_Noreturn static void show_queue(bool json)
{
	int err;

	open_queue("Queue report unavailable");
	err = backend->list(true, json ? print_json : print_mailq, NULL);
	if (err == 0 && !json)
		gateq_print_mailq_end(&report);
	leave(exit_of(err));
}

static void ignore(const char *id, int result, const char *why, void *arg)
{
	int *worst = arg;

	if (result == 0 || result == ERR_NOT_FOUND)
		return;
	gateq_error("%s: %s", id, why);
	*worst = result;
}

static void ignore_missing(const char *id)
{
	(void)id;
}

_Noreturn static void flush(const char *site, const char *id)
{
	char *ids[1] = {mem_str(id)};
	uint64_t flushed;
	int err, worst = 0;

	open_queue("Cannot flush mail queue");
	if (dry_run && id != NULL)
		err = gateq_dry_run_named(backend, "flush", ids, 1, ignore_missing);
	else if (dry_run)
		err = gateq_dry_run_flush(backend, site);
	else if (id != NULL)
		err = backend->act("flush", ids, 1, ignore, &worst);
	else
		err = backend->flush(site, &flushed);
	mem_free(ids[0]);
	leave(exit_of(err != 0 ? err : worst));
}

_Noreturn static void postqueue(int argc, char **argv)
{
	const char *site = NULL, *id = NULL;
	int c, mode = 0;

	while ((c = getopt_long(argc, argv, "c:fi:jps:v", long_options, NULL)) != -1) {
		switch (c) {
		case 'c': dir = optarg; continue;
		case 'v': continue;
		case 'n': dry_run = true; continue;
		case 'i': id = optarg; break;
		case 's': site = optarg; break;
		case 'f':
		case 'j':
		case 'p': break;
		default: wrong_usage();
		}
		if (mode != 0)
			wrong_usage();
		mode = c;
	}
	if (optind < argc || mode == 0)
		wrong_usage();
	if (id != NULL && !queue_id_is_valid(slice_str(id)))
		gateq_fail(EX_DATAERR, "fatal: invalid mail queue id: %s", id);
	if (mode == 'p' || mode == 'j')
		show_queue(mode == 'j');
	flush(site, id);
}

/* ---- postsuper ---- */

static const struct action {
	char option;
	const char *what, *done;
	const char *queues; /* of ALL when none are named */
} actions[] = {
	{'r', "requeue", "Requeued", "active deferred hold"},
	{'d', "delete", "Deleted", "active deferred hold corrupt"},
	{'e', "expire", "Force-expired", "active deferred"},
	{'f', "expire", "Force-expired", "active deferred hold"},
	{'h', "hold", "Placed on hold", "active deferred"},
	{'H', "release", "Released from hold", "hold"},
};
enum { EXPIRES = 2, EXPIRES_HELD = 3, RELEASES = 5 };
enum { ACTIONS = sizeof(actions) / sizeof(actions[0]) };

static struct {
	char **ids;
	size_t count, done, released; /* released: by -f */
	bool all, is_named;
} wanted[ACTIONS];

static char **queues; /* named on the command line */

struct collect {
	const struct action *action;
	size_t slot;
};

static bool is_in(const char *list, const char *queue)
{
	struct slice rest = slice_str(list), word;

	while (slice_token(&rest, " ", &word))
		if (slice_eq_str(word, queue))
			return true;
	return false;
}

static void collect(const struct gateq_message *m, void *arg)
{
	const struct collect *c = arg;

	if (*queues == NULL && !is_in(c->action->queues, m->queue))
		return;
	for (char **q = queues; *queues != NULL; q++) {
		if (*q == NULL)
			return;
		/* What Postfix keeps in incoming is active or unread here. */
		if (strcmp(*q, m->queue) == 0 ||
			(strcmp(*q, "incoming") == 0 && strcmp(m->queue, "active") == 0))
			break;
	}
	gateq_add_id(&wanted[c->slot].ids, &wanted[c->slot].count, m->id);
}

static void count(const char *id, int result, const char *why, void *arg)
{
	size_t *slot = arg;

	if (result == 0)
		wanted[*slot].done++;
	else if (result != ERR_NOT_FOUND)
		gateq_error("warning: %s: %s", id, why);
}

static void count_released(const char *id, int result, const char *why, void *arg)
{
	(void)id;
	(void)why;
	(void)arg;
	wanted[EXPIRES_HELD].released += result == 0;
}

/* -f is for held mail too: released, then expired. */
static void act(size_t i)
{
	struct collect c = {&actions[i], i};
	size_t slot = i;

	if (wanted[i].all && backend->list(false, collect, &c) != 0)
		gateq_fail(1, "fatal: the queue cannot be listed");
	wanted[i].count = gateq_dry_unique(wanted[i].ids, wanted[i].count);
	if (dry_run && wanted[i].is_named) {
		if (gateq_dry_run_named(backend, actions[i].what, wanted[i].ids, wanted[i].count,
			    ignore_missing) != 0)
			gateq_fail(1, "fatal: the queue cannot be listed");
		return;
	}
	if (wanted[i].count == 0)
		return;
	if (actions[i].option == 'f' &&
		backend->act("release", wanted[i].ids, wanted[i].count, count_released, NULL) != 0)
		gateq_fail(1, "fatal: the queue manager has ended the connection");
	if (backend->act(actions[i].what, wanted[i].ids, wanted[i].count, count, &slot) != 0)
		gateq_fail(1, "fatal: the queue manager has ended the connection");
}

/* What was asked for is said, also when nothing came of it. */
static void say_counts(void)
{
	/* -e and -f are one to Postfix, and -f releases. */
	wanted[EXPIRES].done += wanted[EXPIRES_HELD].done;
	wanted[EXPIRES].is_named |= wanted[EXPIRES_HELD].is_named;
	wanted[RELEASES].done += wanted[EXPIRES_HELD].released;
	wanted[RELEASES].is_named |= wanted[EXPIRES_HELD].is_named;
	for (size_t i = 0; i < ACTIONS; i++)
		if (wanted[i].is_named && i != EXPIRES_HELD)
			gateq_error("%s: %zu message%s", actions[i].done, wanted[i].done,
				wanted[i].done == 1 ? "" : "s");
}

static void want(int option, const char *id)
{
	for (size_t i = 0; i < ACTIONS; i++) {
		if (actions[i].option != option)
			continue;
		wanted[i].is_named = true;
		if (strcmp(id, "ALL") == 0)
			wanted[i].all = true;
		else if (strcmp(id, "-") == 0)
			gateq_read_ids(&wanted[i].ids, &wanted[i].count);
		else if (!queue_id_is_valid(slice_str(id)))
			gateq_error("warning: invalid mail queue id: %s", id);
		else
			gateq_add_id(&wanted[i].ids, &wanted[i].count, id);
	}
}

_Noreturn static void postsuper(int argc, char **argv)
{
	static const char *const names[] = {
		"maildrop", "incoming", "active", "deferred", "hold", "corrupt", NULL};
	int c;

	while ((c = getopt_long(argc, argv, "c:d:e:f:h:H:pr:sSv", long_options, NULL)) != -1) {
		switch (c) {
		case 'c': dir = optarg; break;
		case 'd':
		case 'e':
		case 'f':
		case 'h':
		case 'H':
		case 'r': want(c, optarg); break;
		case 'n': dry_run = true; break;
		/* Structure and left-overs are the queue manager's own care. */
		case 'p':
		case 's':
		case 'S':
		case 'v': break;
		default: wrong_usage();
		}
	}
	queues = argv + optind;
	for (char **q = queues; *q != NULL; q++) {
		size_t i = 0;

		while (names[i] != NULL && strcmp(names[i], *q) != 0)
			i++;
		if (names[i] == NULL)
			gateq_fail(1, "fatal: invalid directory name: %s", *q);
	}
	open_queue("Cannot change the mail queue");
	for (size_t i = 0; i < ACTIONS; i++)
		act(i);
	if (!dry_run)
		say_counts();
	leave(0);
}

/* ---- postcat ---- */

static struct {
	bool envelope, header, body, by_id;
	bool in_body;
	bool at_line_start;
	struct buf show;
} cat;

static void keep(struct slice piece, void *arg)
{
	(void)arg;
	buf_add_slice(&cat.show, piece);
}

/* Lines end in LF here; the empty line between header and body belongs to the body. */
static void put(struct slice piece, void *arg)
{
	(void)arg;
	for (size_t i = 0; i < piece.len; i++) {
		char c = piece.p[i];

		if (c == '\r')
			continue;
		if (!cat.in_body && c == '\n' && cat.at_line_start)
			cat.in_body = true;
		if (cat.in_body ? cat.body : cat.header)
			putchar(c);
		cat.at_line_start = c == '\n';
	}
}

/* The value of a "name: value" line of show, or NULL. */
static char *shown(const char *name)
{
	struct slice rest = buf_slice(&cat.show), line;

	while (slice_part(&rest, '\n', &line))
		if (slice_starts(line, name) && line.len > strlen(name) + 1 &&
			line.p[strlen(name)] == ':')
			return slice_dup(slice_from(line, strlen(name) + 2));
	return NULL;
}

static void print_envelope(void)
{
	struct slice rest = buf_slice(&cat.show), line;

	while (slice_part(&rest, '\n', &line)) {
		if (slice_starts(line, "original_recipient: ")) {
			printf("%.*s\n", SLICE_FMT(line));
		} else if (slice_starts(line, "recipient: ") || slice_starts(line, "sender: ") ||
			   slice_starts(line, "message_size: ")) {
			printf("%.*s\n", SLICE_FMT(line));
		} else if (slice_starts(line, "arrival_time: ")) {
			printf("message_%.*s\n", SLICE_FMT(line));
		} else if (slice_starts(line, "client_") || slice_starts(line, "helo_name: ") ||
			   slice_starts(line, "protocol_name: ") ||
			   slice_starts(line, "sasl_username: ")) {
			ptrdiff_t at = slice_find(line, ':');

			printf("named_attribute: %.*s=%.*s\n", (int)at, line.p,
				SLICE_FMT(slice_from(line, (size_t)at + 2)));
		}
	}
}

static int cat_one(const char *id)
{
	char *queue, hash[3];
	char path[QUEUE_PATH_MAX];
	int err;

	buf_reset(&cat.show);
	cat.in_body = false;
	cat.at_line_start = true;
	err = backend->see("show", id, keep, NULL);
	if (err == ERR_NOT_FOUND)
		gateq_error("fatal: open queue file %s: No such file or directory", id);
	if (err != 0)
		return 1;
	queue = shown("queue_name");
	queue_id_hash(slice_str(id), hash);
	if (strcmp(queue, "active") == 0)
		snprintf(path, sizeof(path), "active/%s", id);
	else
		snprintf(path, sizeof(path), "%s/%s/%s", queue, hash, id);
	mem_free(queue);
	if (cat.envelope) {
		printf("*** ENVELOPE RECORDS %s ***\n", path);
		print_envelope();
	}
	if (cat.header || cat.body) {
		if (cat.envelope)
			printf("*** MESSAGE CONTENTS %s ***\n", path);
		err = backend->see("cat", id, put, NULL);
	}
	if (cat.envelope) {
		printf("*** HEADER EXTRACTED %s ***\n", path);
		printf("*** MESSAGE FILE END %s ***\n", path);
	}
	return err == 0 ? 0 : 1;
}

_Noreturn static void postcat(int argc, char **argv)
{
	int c, status = 0;

	while ((c = getopt(argc, argv, "bc:defhnoqrs:v")) != -1) {
		switch (c) {
		case 'b': cat.body = true; break;
		case 'h': cat.header = true; break;
		case 'e': cat.envelope = true; break;
		case 'q': cat.by_id = true; break;
		case 'c': dir = optarg; break;
		case 'd':
		case 'f':
		case 'n':
		case 'o':
		case 'r':
		case 's':
		case 'v': break;
		default: wrong_usage();
		}
	}
	if (!cat.body && !cat.header && !cat.envelope)
		cat.body = cat.header = cat.envelope = true;
	if (optind == argc)
		gateq_fail(1, "fatal: expected queue ids (-q) or queue files");
	buf_init(&cat.show, 256 << 20);
	open_queue("Cannot read the mail queue");
	for (; optind < argc; optind++) {
		const char *id = strrchr(argv[optind], '/');

		id = id != NULL && !cat.by_id ? id + 1 : argv[optind];
		if (!queue_id_is_valid(slice_str(id)))
			gateq_fail(1, "fatal: bad mail queue ID: %s", id);
		status |= cat_one(id);
	}
	leave(status);
}

int gateq_postfix(const char *program, int argc, char **argv)
{
	if (strcmp(program, "postqueue") != 0 && strcmp(program, "postsuper") != 0 &&
		strcmp(program, "postcat") != 0 && strcmp(program, "mailq") != 0 &&
		strcmp(program, "qshape") != 0)
		return -1;
	gateq_program = program;
	dir = conf_default_dir();
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		printf("%s\n", PACKAGE_STRING);
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "--help") == 0 && strcmp(program, "qshape") == 0) {
		fputs(gateq_qshape_usage(), stdout);
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		if (find_usage() == NULL)
			return -1;
		printf("usage: %s\n", find_usage()->text);
		return 0;
	}
	if (strcmp(program, "qshape") == 0)
		return gateq_qshape(dir, argc, argv);
	if (strcmp(program, "postqueue") == 0)
		postqueue(argc, argv);
	if (strcmp(program, "postsuper") == 0)
		postsuper(argc, argv);
	if (strcmp(program, "postcat") == 0)
		postcat(argc, argv);
	if (argc == 3 && strcmp(argv[1], "-c") == 0)
		dir = argv[2];
	show_queue(false);
}

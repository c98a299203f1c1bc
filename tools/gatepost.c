/* SPDX-License-Identifier: ISC */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "conf/conf.h"
#include "conf/check.h"
#include "tools/check_tables.h"
#include "tools/gatepost.h"
#include "tools/password.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

enum { STOPPED = 3 };

const char *gatepost_dir;
struct conf *gatepost_conf;
static bool json, list;
static struct ban_options ban;
static const char *scheme = "SCRAM-SHA-256";

static const char usage[] =
	"usage: gatepost [-c DIR | --config DIR] COMMAND\n"
	"  start | start-fg | stop | restart | reload | status | logrotate | check |\n"
	"  make-directories\n"
	"  service NAME[/TYPE] stop | start | restart | status\n"
	"  ban list | show CLIENT | add CLIENT [--time TIME] [--reason TEXT] | remove CLIENT\n"
	"  password [--scheme SCRAM-SHA-256 | CRYPT] LOGIN\n"
	"  sandbox-test [--list] ROLE | ALL\n"
	"  --json: status, service status and bans as JSON, one object a line\n"
	"  --help, --version\n";

int gatepost_fail(const char *text)
{
	fprintf(stderr, "gatepost: %s\n", text);
	return 1;
}

/* What main.cf says, mistakes or not: stop and status must work with a broken file. */
static void read_main(void)
{
	struct mistakes m;

	mistakes_init(&m);
	gatepost_conf = conf_new(gatepost_dir);
	set_read_main(gatepost_conf, &m);
	set_build(gatepost_conf, &m);
	mistakes_clear(&m);
}

/* Both files; mistakes to standard error. The number of errors. */
unsigned gatepost_check(bool always_print)
{
	struct instance in;
	struct mistakes m;
	unsigned errors = 0;

	mistakes_init(&m);
	instance_read(&in, gatepost_dir,
		CHECK_TABLES | CHECK_PROGRAMS | (geteuid() == 0 ? CHECK_OWNERS : 0), &m);
	/* What is inside of tables makes no sense before their names do. */
	if (m.errors == 0)
		check_tables_inside(&in, always_print, &m);
	if (m.errors == 0 && always_print)
		check_chains_inside(&in, &m);
	gatepost_check_helper(&in, &m);
	errors = m.errors;
	if (errors != 0 || always_print)
		fwrite(buf_str(&m.text), 1, m.text.len, stderr);
	instance_clear(&in);
	mistakes_clear(&m);
	return errors;
}

/* 0 or an exit status, with the reason when master is not there. */
static int ask(const char *command, const char *service, struct state *state)
{
	int r = state_ask(command, service, state);

	if (r == ERR_NOT_FOUND)
		return gatepost_fail("is not running");
	return r < 0 ? gatepost_fail(err_str(r)) : r;
}

static int command_restart(void)
{
	int r = gatepost_check(false) != 0 ? 1 : gatepost_stop();

	return r != 0 ? r : gatepost_start();
}

static int command_reload(void)
{
	struct state s = {0};
	int r = gatepost_check(false) != 0 ? 1 : ask("reload", NULL, NULL);

	if (r == 0)
		r = ask("status", NULL, &s);
	if (r == 0)
		r = state_wait_reload(s.turn);
	state_clear(&s);
	return r;
}

static int command_status(void)
{
	struct state s = {0};
	int r = state_ask("status", NULL, &s);

	if (r == ERR_NOT_FOUND) {
		puts(json ? "{\"state\": \"stopped\"}" : "gatepost: stopped");
		return STOPPED;
	}
	if (r == 0) {
		state_print(&s, json);
		r = state_is_good(&s) ? 0 : 1;
	}
	state_clear(&s);
	return r >= 0 ? r : gatepost_fail(err_str(r));
}

static int command_check(void)
{
	return gatepost_check(true) != 0;
}

static int compress(const char *command, const char *path)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		execlp(command, command, path, (char *)NULL);
		_exit(127);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 ? 0 : ERR_SYS;
}

/* The conversions of strftime(3) that a file name has use for. */
static void add_time(const char *format, struct buf *out)
{
	time_t now = time(NULL);
	struct tm tm = *localtime(&now);

	for (; *format != '\0'; format++) {
		if (*format != '%' || format[1] == '\0') {
			buf_add_char(out, *format);
			continue;
		}
		switch (*++format) {
		case 'Y': buf_add_fmt(out, "%04d", tm.tm_year + 1900); break;
		case 'm': buf_add_fmt(out, "%02d", tm.tm_mon + 1); break;
		case 'd': buf_add_fmt(out, "%02d", tm.tm_mday); break;
		case 'H': buf_add_fmt(out, "%02d", tm.tm_hour); break;
		case 'M': buf_add_fmt(out, "%02d", tm.tm_min); break;
		case 'S': buf_add_fmt(out, "%02d", tm.tm_sec); break;
		case 's': buf_add_fmt(out, "%lld", (long long)now); break;
		default: buf_add_char(out, *format);
		}
	}
}

static int command_logrotate(void)
{
	const char *path = set_str(gatepost_conf, P_maillog_file);
	struct buf suffix = BUF_INIT(256);
	char *rotated = NULL;
	int r = 0;

	if (*path == '\0' || strncmp(path, "/dev/", 5) == 0)
		return gatepost_fail("maillog_file names no file");
	add_time(set_str(gatepost_conf, P_maillog_file_rotate_suffix), &suffix);
	rotated = mem_fmt("%s.%s", path, buf_str(&suffix));
	buf_clear(&suffix);
	if (rename(path, rotated) != 0) {
		fprintf(stderr, "gatepost: %s: %s\n", path, err_str(ERR_SYS));
		r = 1;
	} else {
		r = state_ask("logrotate", NULL, NULL);
		/* Workers take the new file when they read the frame. */
		if (r == 0)
			sleep(1);
		r = r >= 0 || r == ERR_NOT_FOUND ? 0 : gatepost_fail(err_str(r));
		if (r == 0 &&
			compress(set_str(gatepost_conf, P_maillog_file_compressor), rotated) != 0)
			r = gatepost_fail("maillog_file_compressor failed");
	}
	mem_free(rotated);
	return r;
}

static int service_stop(const struct service_state *v)
{
	int r = ask("service-stop", v->key, NULL);

	return r != 0 ? r : state_wait_service(v->key, true);
}

static int service_start(const struct service_state *v)
{
	int r = gatepost_check(false) != 0 ? 1 : ask("service-start", v->key, NULL);

	return r != 0 ? r : state_wait_service(v->key, false);
}

/* Of qmgr and tally there is one process, ever: it goes before the next one comes. */
static int service_restart(const struct service_state *v)
{
	bool is_single = v->role == ROLE_QMGR || v->role == ROLE_TALLY;
	int r = 0;

	if (is_single && !v->is_stopped)
		r = gatepost_check(false) != 0 ? 1 : service_stop(v);
	return r != 0 ? r : service_start(v);
}

static int service_do(const struct service_state *v, const char *action)
{
	if (strcmp(action, "stop") == 0)
		return service_stop(v);
	if (strcmp(action, "restart") == 0)
		return service_restart(v);
	if (strcmp(action, "start") == 0)
		return v->is_stopped ? service_start(v) : 0;
	state_print_service(v, json);
	return v->is_stopped ? STOPPED : strcmp(state_word(v), "running") != 0;
}

static int command_service(char **args)
{
	static const char *const actions[] = {"stop", "start", "restart", "status"};
	const struct service_state *v = NULL;
	struct state s = {0};
	bool known = false;
	int r = 0;

	for (size_t i = 0; args[0] != NULL && args[1] != NULL && i < 4; i++)
		known = known || strcmp(args[1], actions[i]) == 0;
	if (!known || args[2] != NULL) {
		fputs(usage, stderr);
		return 1;
	}
	if (strcmp(args[1], "status") == 0 && !gatepost_is_locked("master.pid"))
		return STOPPED;
	r = ask("status", NULL, &s);
	v = r == 0 ? state_find(&s, args[0]) : NULL;
	if (v != NULL)
		r = service_do(v, args[1]);
	else if (r == 0)
		r = gatepost_fail("no such service; expected a name of master.cf that is started");
	state_clear(&s);
	return r;
}

static const struct {
	const char *name;
	int (*run)(void);
} commands[] = {{"start", gatepost_start}, {"start-fg", gatepost_start_fg}, {"stop", gatepost_stop},
	{"restart", command_restart}, {"reload", command_reload}, {"status", command_status},
	{"logrotate", command_logrotate}, {"make-directories", gatepost_make_dirs},
	{"check", command_check}};

static int run(char **args)
{
	if (args[0] != NULL && strcmp(args[0], "service") == 0)
		return command_service(args + 1);
	if (args[0] != NULL && strcmp(args[0], "ban") == 0)
		return gatepost_ban(args + 1, &ban);
	if (args[0] != NULL && strcmp(args[0], "sandbox-test") == 0 && args[1] != NULL &&
		args[2] == NULL)
		return gatepost_sandbox(args[1], list);
	for (size_t i = 0; args[0] != NULL && i < sizeof(commands) / sizeof(*commands); i++) {
		if (strcmp(args[0], commands[i].name) == 0 && args[1] == NULL)
			return commands[i].run();
	}
	fputs(usage, stderr);
	return 1;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'}, {"config", required_argument, NULL, 'c'},
		{"json", no_argument, NULL, 'j'}, {"list", no_argument, NULL, 'l'},
		{"scheme", required_argument, NULL, 's'}, {"time", required_argument, NULL, 't'},
		{"reason", required_argument, NULL, 'r'}, {0}};
	int c = 0, r = 0;

	gatepost_dir = conf_default_dir();
	while ((c = getopt_long(argc, argv, "c:", options, NULL)) != -1) {
		switch (c) {
		case 'c': gatepost_dir = optarg; break;
		case 'l': list = true; break;
		case 'j': json = ban.json = true; break;
		case 't': ban.time = optarg; break;
		case 'r': ban.reason = optarg; break;
		case 's': scheme = optarg; break;
		case 'h': fputs(usage, stdout); return 0;
		case 'V': puts(PACKAGE_STRING); return 0;
		default: fputs(usage, stderr); return 1;
		}
	}
	argv += optind;
	if (argv[0] != NULL && strcmp(argv[0], "password") == 0 && argv[1] != NULL &&
		argv[2] == NULL)
		return password_command(scheme, argv[1]);
	/* Commands change their directory, and master does. */
	gatepost_dir = realpath(gatepost_dir, NULL);
	if (gatepost_dir == NULL)
		return gatepost_fail("the configuration directory does not exist");
	loop_init();
	read_main();
	r = run(argv);
	conf_free(&gatepost_conf);
	return r;
}

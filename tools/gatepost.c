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

#include "conf/check.h"
#include "ipc/ipc.h"
#include "net/addr.h"
#include "tools/check_tables.h"
#include "tools/holder.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

enum { STOPPED = 3, TEXT_LIMIT = 1 << 20, STOP_SECONDS = 40, POLL_USEC = 10000, PIDS = 1024 };

static const char *dir = GP_SYSCONFDIR;
static struct conf *conf;

static const char usage[] =
	"usage: gatepost [-c DIR | --config DIR] COMMAND\n"
	"  start | start-fg | stop | restart | reload | status | logrotate | check\n"
	"  service NAME[/TYPE] stop | start | restart | status\n"
	"  --help, --version\n";

static int fail(const char *text)
{
	fprintf(stderr, "gatepost: %s\n", text);
	return 1;
}

/* What main.cf says, mistakes or not: stop and status must work with a broken file. */
static void read_main(void)
{
	struct mistakes m;

	mistakes_init(&m);
	conf = conf_new(dir);
	set_read_main(conf, &m);
	set_build(conf, &m);
	mistakes_clear(&m);
}

/* Both files; mistakes to standard error. The number of errors. */
static unsigned check_files(bool always_print)
{
	struct instance in;
	struct mistakes m;
	unsigned errors = 0;

	mistakes_init(&m);
	instance_read(
		&in, dir, CHECK_TABLES | CHECK_PROGRAMS | (geteuid() == 0 ? CHECK_OWNERS : 0), &m);
	/* What is inside of tables makes no sense before their names do. */
	if (m.errors == 0)
		check_tables_inside(&in, always_print, &m);
	errors = m.errors;
	if (errors != 0 || always_print)
		fwrite(buf_str(&m.text), 1, m.text.len, stderr);
	instance_clear(&in);
	mistakes_clear(&m);
	return errors;
}

/* ---- the connection to master ---- */

struct call {
	struct ipc *ipc;
	bool over, lost;
	int status;
	struct buf *lines; /* instead of standard output; may be NULL */
};

static void on_msg(struct ipc *c, struct ipc_msg *msg, void *arg)
{
	struct call *call = arg;
	struct slice text = ipc_bytes(msg, FIELD_TEXT);

	if (msg->type == PROTO_COMMAND_DONE) {
		call->status = (int)ipc_u64(msg, FIELD_CODE);
		call->over = true;
	} else if (call->lines != NULL) {
		buf_add_fmt(call->lines, "%.*s\n", SLICE_FMT(text));
	} else {
		fprintf(ipc_u64(msg, FIELD_FLAGS) != 0 ? stderr : stdout, "%.*s\n",
			SLICE_FMT(text));
	}
}

static void on_end(struct ipc *c, int err, void *arg)
{
	struct call *call = arg;

	call->lost = true;
}

static const struct ipc_events events = {on_msg, on_end, NULL};

/* 0; ERR_NOT_FOUND: nobody is there; ERR_SYS. */
static int connect_master(int *fd)
{
	struct net_addr a;

	*fd = -1;
	if (chdir(set_str(conf, P_queue_directory)) != 0)
		return errno == ENOENT ? ERR_NOT_FOUND : ERR_SYS;
	if (net_addr_unix("pid/master.sock", &a) != 0)
		return ERR_SYS;
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*fd >= 0 && connect(*fd, (const struct sockaddr *)&a.ss, a.len) == 0)
		return 0;
	fd_close(fd);
	return errno == ENOENT || errno == ECONNREFUSED ? ERR_NOT_FOUND : ERR_SYS;
}

/* The exit status of a command that master carries out, or ERR_*. */
static int ask_master(const char *command, const char *service, struct buf *lines)
{
	struct call call = {.lines = lines};
	int fd = -1, r = connect_master(&fd);

	if (r != 0)
		return r;
	call.ipc = ipc_new(fd, ROLE_TOOL, ROLE_MASTER, &events, &call, 0);
	ipc_begin(call.ipc, PROTO_COMMAND, ipc_ask(call.ipc));
	ipc_put_str(call.ipc, FIELD_NAME, command);
	if (service != NULL)
		ipc_put_str(call.ipc, FIELD_SERVICE, service);
	ipc_end(call.ipc);
	while (!call.over && !call.lost)
		ipc_pump(call.ipc, CLOCK_NEVER);
	ipc_free(&call.ipc);
	return call.over ? call.status : ERR_CLOSED;
}

static int ask_and_say(const char *command, const char *service)
{
	int r = ask_master(command, service, NULL);

	if (r == ERR_NOT_FOUND)
		return fail("is not running");
	if (r < 0)
		return fail(err_str(r));
	return r;
}

/* ---- locks: see master/dirs.c ---- */

/* Whether somebody holds pid/NAME. */
static bool is_locked(const char *name)
{
	char *path = mem_fmt("%s/pid/%s", set_str(conf, P_queue_directory), name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool locked = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0;

	fd_close(&fd);
	mem_free(path);
	return locked;
}

static pid_t master_pid(void)
{
	char *path = mem_fmt("%s/pid/master.pid", set_str(conf, P_queue_directory));
	struct buf text = BUF_INIT(64);
	uint64_t pid = 0;

	if (line_read_file(path, &text) != 0 ||
		slice_u64(slice_trim(buf_slice(&text)), 1, 1 << 30, &pid) != 0)
		pid = 0;
	buf_clear(&text);
	mem_free(path);
	return (pid_t)pid;
}

/* ---- start ---- */

_Noreturn static void become_master(int status_fd)
{
	char *path = mem_fmt("%s/master", set_str(conf, P_daemon_directory));
	char *args[8] = {path, (char *)(uintptr_t) "-c", (char *)(uintptr_t)dir, NULL};

	if (status_fd >= 0) {
		setsid();
		if (status_fd != 3)
			dup2(status_fd, 3);
		else
			fd_set_cloexec(3, false);
		args[3] = (char *)(uintptr_t) "-s";
		args[4] = (char *)(uintptr_t) "3";
	} else {
		args[3] = (char *)(uintptr_t) "-f";
	}
	execv(path, args);
	fprintf(stderr, "gatepost: %s: %s\n", path, err_str(ERR_SYS));
	_exit(1);
}

static void say_development(void)
{
	if (geteuid() != 0)
		fputs("gatepost: without root: for development, users and root directories stay as "
		      "they "
		      "are\n",
			stderr);
}

/* "cannot listen on ADDRESS:PORT: Address already in use": who is it? */
static void name_holder(struct slice why)
{
	struct buf who = BUF_INIT(1000);
	struct slice line, host;
	uint16_t port = 0;

	while (slice_part(&why, '\n', &line)) {
		ptrdiff_t on = slice_find_str(line, "cannot listen on ");
		ptrdiff_t end = slice_find_str(line, ": Address already in use");

		if (on < 0 || end < 0)
			continue;
		line = slice_from(
			slice_first(line, (size_t)end), (size_t)on + strlen("cannot listen on "));
		if (service_split_address(line, &host, &port) == 0 && holder_of_port(port, &who))
			fprintf(stderr, "gatepost: port %u is held by %s\n", port, buf_str(&who));
	}
	buf_clear(&who);
}

static int command_start(void)
{
	int ends[2] = {-1, -1}, status = 0;
	struct buf text = BUF_INIT(TEXT_LIMIT);
	pid_t pid = -1;
	bool serving = false;

	if (is_locked("master.pid"))
		return fail("is running already");
	if (check_files(false) != 0)
		return 1;
	say_development();
	if (pipe2(ends, O_CLOEXEC) != 0 || (pid = fork()) < 0)
		return fail(err_str(ERR_SYS));
	if (pid == 0)
		become_master(ends[1]);
	fd_close(&ends[1]);
	fd_read_all(ends[0], &text);
	fd_close(&ends[0]);
	serving = text.len == 1 && slice_eq_str(buf_slice(&text), ".");
	if (!serving) {
		waitpid(pid, &status, 0);
		if (text.len > 1)
			fwrite(buf_str(&text), 1, text.len - 1, stderr);
		else
			fail("master ended before it served; its reason is in the log");
		name_holder(buf_slice(&text));
	}
	buf_clear(&text);
	return serving ? 0 : 1;
}

static int command_start_fg(void)
{
	if (is_locked("master.pid"))
		return fail("is running already");
	if (check_files(false) != 0)
		return 1;
	say_development();
	become_master(-1);
}

/* ---- stop ---- */

/* A process that has ended counts as gone, whether or not its parent has noticed. */
static size_t open_pids(struct slice lines, int *fds)
{
	struct slice line;
	uint64_t pid = 0;
	size_t n = 0;

	while (n < PIDS && slice_part(&lines, '\n', &line)) {
		ptrdiff_t blank = slice_find(line, ' ');

		if (blank < 0 || slice_u64(slice_first(line, (size_t)blank), 2, 1 << 30, &pid) != 0)
			continue;
		fds[n] = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
		n += fds[n] >= 0;
	}
	return n;
}

static bool all_ended(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct pollfd p = {.fd = fds[i], .events = POLLIN};

		if (poll(&p, 1, 0) == 0)
			return false;
	}
	return true;
}

static int wait_for_end(const int *fds, size_t n)
{
	int64_t deadline = clock_mono() + STOP_SECONDS * CLOCK_SEC;

	while (!all_ended(fds, n) || is_locked("master.pid") || is_locked("alive.lock")) {
		if (clock_mono() > deadline)
			return fail("some processes do not end");
		usleep(POLL_USEC);
	}
	return 0;
}

static int command_stop(void)
{
	struct buf lines = BUF_INIT(TEXT_LIMIT);
	int *fds = mem_array(PIDS, sizeof(*fds));
	size_t n = 0;
	int r = ask_master("processes", NULL, &lines);
	pid_t pid = 0;

	if (r >= 0) {
		n = open_pids(buf_slice(&lines), fds);
		r = ask_master("stop", NULL, NULL);
		r = r >= 0 || r == ERR_CLOSED || r == ERR_NOT_FOUND ? 0 : r;
	} else if (r == ERR_NOT_FOUND && is_locked("master.pid")) {
		pid = master_pid();
		r = pid > 1 && kill(pid, SIGTERM) == 0 ? 0 : ERR_SYS;
	} else if (r == ERR_NOT_FOUND && !is_locked("alive.lock")) {
		fputs("gatepost: is stopped already\n", stderr);
	}
	r = r == 0 || r == ERR_NOT_FOUND ? wait_for_end(fds, n) : fail(err_str(r));
	for (size_t i = 0; i < n; i++)
		fd_close(&fds[i]);
	mem_free(fds);
	buf_clear(&lines);
	return r;
}

static int command_restart(void)
{
	int r = check_files(false) != 0 ? 1 : command_stop();

	return r != 0 ? r : command_start();
}

/* ---- the rest ---- */

static int command_reload(void)
{
	return check_files(false) != 0 ? 1 : ask_and_say("reload", NULL);
}

static int command_status(void)
{
	int r = ask_master("status", NULL, NULL);

	if (r == ERR_NOT_FOUND) {
		puts("gatepost: stopped");
		return STOPPED;
	}
	return r >= 0 ? r : fail(err_str(r));
}

static int command_check(void)
{
	return check_files(true) != 0;
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
	const char *path = set_str(conf, P_maillog_file);
	struct buf suffix = BUF_INIT(256);
	char *rotated = NULL;
	int r = 0;

	if (*path == '\0' || strncmp(path, "/dev/", 5) == 0)
		return fail("maillog_file names no file");
	add_time(set_str(conf, P_maillog_file_rotate_suffix), &suffix);
	rotated = mem_fmt("%s.%s", path, buf_str(&suffix));
	buf_clear(&suffix);
	if (rename(path, rotated) != 0) {
		fprintf(stderr, "gatepost: %s: %s\n", path, err_str(ERR_SYS));
		r = 1;
	} else {
		r = ask_master("logrotate", NULL, NULL);
		/* Workers take the new file when they read the frame. */
		if (r == 0)
			sleep(1);
		r = r >= 0 || r == ERR_NOT_FOUND ? 0 : fail(err_str(r));
		if (r == 0 && compress(set_str(conf, P_maillog_file_compressor), rotated) != 0)
			r = fail("maillog_file_compressor failed");
	}
	mem_free(rotated);
	return r;
}

static int command_service(char **args)
{
	static const char *const actions[] = {"stop", "start", "restart", "status"};
	char *command = NULL;
	int r = -1;

	if (args[0] == NULL || args[1] == NULL || args[2] != NULL) {
		fputs(usage, stderr);
		return 1;
	}
	for (size_t i = 0; i < sizeof(actions) / sizeof(*actions); i++) {
		if (strcmp(args[1], actions[i]) != 0)
			continue;
		if ((i == 1 || i == 2) && check_files(false) != 0)
			return 1;
		command = mem_fmt("service-%s", actions[i]);
		r = i == 3 && !is_locked("master.pid") ? STOPPED : ask_and_say(command, args[0]);
		mem_free(command);
	}
	if (r < 0)
		fputs(usage, stderr);
	return r < 0 ? 1 : r;
}

static const struct {
	const char *name;
	int (*run)(void);
} commands[] = {{"start", command_start}, {"start-fg", command_start_fg}, {"stop", command_stop},
	{"restart", command_restart}, {"reload", command_reload}, {"status", command_status},
	{"logrotate", command_logrotate}, {"check", command_check}};

static int run(char **args)
{
	if (args[0] != NULL && strcmp(args[0], "service") == 0)
		return command_service(args + 1);
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
		{"version", no_argument, NULL, 'V'}, {"config", required_argument, NULL, 'c'}, {0}};
	int c = 0, r = 0;

	while ((c = getopt_long(argc, argv, "+c:", options, NULL)) != -1) {
		switch (c) {
		case 'c': dir = optarg; break;
		case 'h': fputs(usage, stdout); return 0;
		case 'V': puts(PACKAGE_STRING); return 0;
		default: fputs(usage, stderr); return 1;
		}
	}
	/* Commands change their directory, and master does. */
	dir = realpath(dir, NULL);
	if (dir == NULL)
		return fail("the configuration directory does not exist");
	loop_init();
	read_main();
	r = run(argv + optind);
	conf_free(&conf);
	return r;
}

/* SPDX-License-Identifier: ISC */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/master.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"

struct master master = {.dir = GP_SYSCONFDIR,
	.alive_fd = -1,
	.status_fd = -1,
	.units = TAILQ_HEAD_INITIALIZER(master.units),
	.listeners = TAILQ_HEAD_INITIALIZER(master.listeners)};

static struct loop_timer tick, stage_end, start_end;
static unsigned stage;

enum { TICK = 1, STAGE_SECONDS = 3, START_SECONDS = 30 };

const char *master_str(enum param p)
{
	return set_str(master.in.main, p);
}

/* What gatepost start waits for: a text and then "!" (failed) or "." (serving). */
static void tell_status(const char *text, char end)
{
	if (master.status_fd < 0)
		return;
	fd_write_full(master.status_fd, text, strlen(text));
	fd_write_full(master.status_fd, &end, 1);
	fd_close(&master.status_fd);
}

_Noreturn static void give_up(const char *why)
{
	if (master.status_fd >= 0)
		tell_status(why, '!');
	else
		fputs(why, stderr);
	log_flush();
	worker_kill_all();
	control_close();
	_exit(1);
}

/* A terminal's errors end with the start. */
static void leave_terminal(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0 || master.is_foreground)
		return;
	for (int fd = 0; fd <= 2; fd++)
		dup2(null, fd);
	fd_close(&null);
}

static bool is_essential(const struct unit *u)
{
	return u->plan != NULL && (u->plan->role == ROLE_SMTPD || u->plan->role == ROLE_CLEANUP ||
					  u->plan->role == ROLE_QMGR);
}

static bool is_ready(const struct unit *u)
{
	return u->plan == NULL || u->is_stopped ||
	       worker_count(u, true) >= u->plan->capacity.workers;
}

/* Ports begin when what they need is there (worker_fill); the start is over when all serve. */
static void go_on_starting(void)
{
	struct unit *u = NULL;
	bool all = true;
	struct buf why = BUF_INIT(MASTER_TEXT_LIMIT);

	TAILQ_FOREACH(u, &master.units, next)
	{
		bool failed = !is_ready(u) && u->pause != 0;

		if (failed && is_essential(u)) {
			buf_add_fmt(&why, "gatepost: %s does not start; its reason is in the log\n",
				u->key);
			give_up(buf_str(&why));
		}
		worker_fill(u);
		all = all && (is_ready(u) || failed);
	}
	if (all) {
		master.is_serving = true;
		loop_timer_clear(&start_end);
		tell_status("", '.');
		leave_terminal();
	}
}

static void start_too_long(void *arg)
{
	give_up("gatepost: some services do not become ready; their reasons are in the log\n");
}

/* In which order processes end: who brings and takes mail, then cleanup, qmgr, the others. */
static unsigned stage_of(enum role role)
{
	switch (role) {
	case ROLE_SMTPD:
	case ROLE_CLIENT:
	case ROLE_LOCAL: return 1;
	case ROLE_CLEANUP: return 2;
	case ROLE_QMGR: return 3;
	default: return 4;
	}
}

static void stop_stage(void)
{
	struct unit *u = NULL;
	struct worker *w = NULL;
	bool left = false;

	for (; stage <= 4 && !left; stage += !left) {
		TAILQ_FOREACH(u, &master.units, next)
		{
			TAILQ_FOREACH(w, &u->workers, next)
			{
				if (stage_of(w->plan->role) > stage)
					continue;
				left = true;
				if (stage_of(w->plan->role) != stage)
					continue;
				if (w->state == WORKER_STARTING || w->control == NULL)
					worker_kill(w);
				else
					ipc_send(w->control, PROTO_STOP, 0);
			}
		}
		if (left)
			break;
	}
	if (left)
		loop_timer_set(&stage_end, loop_now() + STAGE_SECONDS * CLOCK_SEC);
	else
		loop_stop();
}

static void stage_too_long(void *arg)
{
	struct unit *u = NULL;
	struct worker *w = NULL;

	TAILQ_FOREACH(u, &master.units, next)
	{
		TAILQ_FOREACH(w, &u->workers, next)
		{
			if (stage_of(w->plan->role) > stage)
				continue;
			log_warning("process %s pid %d does not end; killed", w->plan->program,
				(int)w->pid);
			worker_kill(w);
		}
	}
}

void master_stop(void)
{
	if (master.is_stopping)
		return;
	master.is_stopping = true;
	stage = 1;
	stop_stage();
}

static bool stage_is_over(void)
{
	struct unit *u = NULL;
	struct worker *w = NULL;

	TAILQ_FOREACH(u, &master.units, next)
	{
		TAILQ_FOREACH(w, &u->workers, next)
		{
			if (stage_of(w->plan->role) <= stage)
				return false;
		}
	}
	return true;
}

void master_changed(void)
{
	if (master.is_stopping) {
		if (stage_is_over()) {
			stage++;
			stop_stage();
		}
	} else if (!master.is_serving) {
		go_on_starting();
	}
	control_changed();
}

void master_reopen_logs(void)
{
	struct unit *u = NULL;
	struct worker *w = NULL;

	log_fd_use();
	TAILQ_FOREACH(u, &master.units, next)
	{
		TAILQ_FOREACH(w, &u->workers, next)
		handover_log(w);
	}
}

static void reload(void)
{
	struct buf why = BUF_INIT(MASTER_TEXT_LIMIT);
	struct slice rest, line;

	if (!master.is_stopping && plan_load(&why) != 0) {
		rest = buf_slice(&why);
		while (slice_part(&rest, '\n', &line)) {
			if (line.len != 0)
				log_error("reload: %.*s", SLICE_FMT(line));
		}
		log_error("reload: nothing is changed");
	}
	buf_clear(&why);
}

static void caught(int signo, void *arg)
{
	if (signo == SIGCHLD)
		worker_reap();
	else if (signo == SIGHUP)
		reload();
	else if (signo == SIGUSR1)
		master_reopen_logs();
	else {
		log_info("terminating on signal %d", signo);
		master_stop();
	}
}

static void tick_fire(void *arg)
{
	table_watch();
	/* A log daemon that starts after us. */
	if (log_fd_is_missing())
		master_reopen_logs();
	loop_timer_set(&tick, loop_now() + TICK * CLOCK_SEC);
}

static void set_up_loop(void)
{
	static const int signals[] = {SIGCHLD, SIGHUP, SIGTERM, SIGINT, SIGUSR1};

	loop_init();
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		loop_signal(signals[i], caught, NULL);
	signal(SIGPIPE, SIG_IGN);
	loop_timer_init(&tick, tick_fire, NULL);
	loop_timer_init(&stage_end, stage_too_long, NULL);
	loop_timer_init(&start_end, start_too_long, NULL);
	loop_timer_set(&tick, loop_now() + TICK * CLOCK_SEC);
	loop_timer_set(&start_end, loop_now() + START_SECONDS * CLOCK_SEC);
}

static void raise_limits(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		return;
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
}

static void read_arguments(int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {0}};
	int c = 0;

	while ((c = getopt_long(argc, argv, "c:fs:V", options, NULL)) != -1) {
		if (c == 'c')
			master.dir = optarg;
		else if (c == 'f')
			master.is_foreground = true;
		else if (c == 's')
			master.status_fd = *optarg == '3' ? 3 : -1;
		else if (c == 'V') {
			puts(PACKAGE_STRING);
			exit(0);
		} else {
			fputs("usage: master [-f] [-c DIR]; see gatepost(1)\n",
				c == 'h' ? stdout : stderr);
			exit(c != 'h');
		}
	}
	if (master.status_fd >= 0)
		fd_set_cloexec(master.status_fd, true);
	master.is_development = geteuid() != 0;
}

/* Everything up to the first worker; a mistake ends it. */
static void prepare(void)
{
	struct buf why = BUF_INIT(MASTER_TEXT_LIMIT);
	struct mistakes m;

	mistakes_init(&m);
	instance_read(&master.in, master.dir,
		CHECK_TABLES | CHECK_PROGRAMS | (master.is_development ? 0 : CHECK_OWNERS), &m);
	if (m.errors != 0)
		give_up(buf_str(&m.text));
	if (dirs_make(&why) != 0 || dirs_lock(&why) != 0)
		give_up(buf_str(&why));
	if (chdir(master_str(P_queue_directory)) != 0)
		give_up("gatepost: the queue directory cannot be entered\n");
	clock_load_zone();
	buf_add_fmt(&why, "%s/master", master_str(P_syslog_name));
	log_init(buf_str(&why), NULL);
	buf_clear(&why);
	log_fd_use();
	log_on_failure(log_fd_use);
	mistakes_clear(&m);
}

int main(int argc, char **argv)
{
	struct buf why = BUF_INIT(MASTER_TEXT_LIMIT);

	read_arguments(argc, argv);
	umask(077);
	raise_limits();
	prepare();
	set_up_loop();
	master.started = clock_real();
	if (plan_load(&why) != 0 || control_listen(&why) != 0)
		give_up(buf_str(&why));
	log_info("daemon started -- version %s, configuration %s%s", PACKAGE_VERSION, master.dir,
		master.is_development ? ", without root: for development" : "");
	loop_run();
	control_close();
	log_info("stopped");
	log_flush();
	return 0;
}

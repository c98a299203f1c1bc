/* SPDX-License-Identifier: ISC */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/master.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"

struct master master = {.dir = GP_SYSCONFDIR,
	.alive_fd = -1,
	.units = TAILQ_HEAD_INITIALIZER(master.units),
	.workers = TAILQ_HEAD_INITIALIZER(master.workers),
	.listeners = TAILQ_HEAD_INITIALIZER(master.listeners)};

static struct loop_timer tick, stage_end;
static unsigned stage;
static int say_fd = 2; /* why the start failed */

enum { TICK = 1, STAGE_SECONDS = 3, STAGES = 4 };

const char *master_str(enum param p)
{
	return set_str(master.in.main, p);
}

_Noreturn static void give_up(const char *why)
{
	fd_write_full(say_fd, why, strlen(why));
	log_flush();
	control_close();
	_exit(1);
}

/* Whoever waits for the end of the start, and the terminal, see no more of us. */
static void leave(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (say_fd > 2)
		fd_close(&say_fd);
	for (int fd = 0; null >= 0 && !master.is_foreground && fd <= 2; fd++)
		dup2(null, fd);
	fd_close(&null);
}

static bool is_over(void)
{
	const struct worker *w = NULL;

	TAILQ_FOREACH(w, &master.workers, all)
	{
		if (dirs_stage(w->plan->role) <= stage)
			return false;
	}
	return true;
}

/* On to the next stage that has processes. */
static void stop_stage(void)
{
	struct worker *w = NULL;

	while (stage < STAGES && is_over())
		stage++;
	if (is_over()) {
		loop_stop();
		return;
	}
	TAILQ_FOREACH(w, &master.workers, all)
	{
		if (dirs_stage(w->plan->role) == stage)
			worker_end(w);
	}
	loop_timer_set(&stage_end, loop_now() + STAGE_SECONDS * CLOCK_SEC);
}

static void stage_too_long(void *arg)
{
	struct worker *w = NULL;

	TAILQ_FOREACH(w, &master.workers, all)
	{
		if (dirs_stage(w->plan->role) > stage)
			continue;
		log_warning(
			"process %s pid %d does not end; killed", w->plan->program, (int)w->pid);
		worker_kill(w);
	}
}

void master_stop(void)
{
	if (master.is_stopping)
		return;
	master.is_stopping = true;
	stop_stage();
}

/* Ports begin when what they need is there (worker_fill). */
void master_changed(void)
{
	struct unit *u = NULL;

	if (master.is_stopping && is_over())
		stop_stage();
	TAILQ_FOREACH(u, &master.units, next)
	worker_fill(u);
}

void master_reopen_logs(void)
{
	struct worker *w = NULL;

	log_fd_use();
	TAILQ_FOREACH(w, &master.workers, all)
	handover_log(w);
}

static void reload(void)
{
	struct buf why = BUF_INIT(MASTER_TEXT_LIMIT);
	struct slice rest, line;

	if (!master.is_stopping && plan_load(NULL, &why) != 0) {
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
	loop_timer_set(&tick, loop_now() + TICK * CLOCK_SEC);
}

static void read_arguments(int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {0}};
	int c = 0;

	while ((c = getopt_long(argc, argv, "c:fsV", options, NULL)) != -1) {
		if (c == 'c')
			master.dir = optarg;
		else if (c == 'f')
			master.is_foreground = true;
		else if (c == 's')
			say_fd = 3;
		else if (c == 'V') {
			puts(PACKAGE_STRING);
			exit(0);
		} else {
			fputs("usage: master [-f] [-c DIR]; see gatepost(1)\n",
				c == 'h' ? stdout : stderr);
			exit(c != 'h');
		}
	}
	fd_set_cloexec(say_fd, say_fd > 2);
	master.is_development = geteuid() != 0;
}

/* Everything up to the first worker. */
static int prepare(struct buf *why)
{
	struct buf name = BUF_INIT(MASTER_TEXT_LIMIT);
	int r = plan_read(&master.in, why);

	if (r == 0)
		r = dirs_lock(why);
	if (r == 0 && chdir(master_str(P_queue_directory)) != 0) {
		r = ERR_SYS;
		buf_add_fmt(why, "gatepost: %s: %s\n", master_str(P_queue_directory), err_str(r));
	}
	if (r != 0)
		return r;
	clock_load_zone();
	buf_add_fmt(&name, "%s/master", master_str(P_syslog_name));
	log_init(buf_str(&name), NULL);
	buf_clear(&name);
	log_fd_use();
	log_on_failure(log_fd_use);
	set_up_loop();
	return control_listen(why);
}

int main(int argc, char **argv)
{
	static struct buf why = BUF_INIT(MASTER_TEXT_LIMIT);

	read_arguments(argc, argv);
	umask(077);
	fd_raise_limit();
	if (prepare(&why) != 0 || plan_load(NULL, &why) != 0)
		give_up(buf_str(&why));
	leave();
	master.started = clock_real();
	log_info("daemon started -- version %s, configuration %s%s", PACKAGE_VERSION, master.dir,
		master.is_development ? ", without root: for development" : "");
	loop_run();
	control_close();
	log_info("stopped");
	log_flush();
	return 0;
}

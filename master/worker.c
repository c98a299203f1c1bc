/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "master/master.h"
#include "server/counters.h"
#include "server/server.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

enum { PAUSE_LEAST = 1, PAUSE_MOST = 60, DEATHS_WINDOW = 60, STOP_SECONDS = 10 };

bool worker_is_kept(enum role role)
{
	return role == ROLE_QMGR || role == ROLE_TALLY;
}

unsigned worker_count(const struct unit *u, bool ready_only)
{
	const struct worker *w = NULL;
	unsigned n = 0;

	TAILQ_FOREACH(w, &u->workers, next)
	n += w->plan == u->plan && w->state != WORKER_DRAINING &&
	     (!ready_only || w->state == WORKER_READY);
	return n;
}

void worker_kill(struct worker *w)
{
	w->is_killed = true;
	kill(w->pid, SIGKILL);
}

static void control_end(struct ipc *c, int err, void *arg)
{
	struct worker *w = arg;

	/* Whoever breaks the protocol goes; who has died is seen by worker_reap. */
	if (err != ERR_CLOSED)
		kill(w->pid, SIGKILL);
	ipc_free(&w->control);
}

static const struct ipc_events events = {handover_msg, control_end, NULL};

/* Nothing of master's but the control connection and the lock of the living. */
_Noreturn static void become(const char *path, const char *program, int control)
{
	char *const argv[] = {(char *)(uintptr_t)program, NULL};
	static char *const env[] = {(char *)(uintptr_t) "PATH=/usr/bin:/bin:/usr/sbin:/sbin",
		(char *)(uintptr_t) "LC_ALL=C", NULL, NULL};
	int null = open("/dev/null", O_RDWR), alive = dirs_share_lock();
	sigset_t none;

	control = fcntl(control, F_DUPFD, 20);
	alive = fcntl(alive, F_DUPFD, 20);
	if (null < 0 || control < 0 || alive < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 ||
		(!master.is_foreground && dup2(null, 2) < 0) ||
		dup2(control, SERVER_CONTROL_FD) < 0 || dup2(alive, SERVER_ALIVE_FD) < 0)
		_exit(127);
	close_range(SERVER_ALIVE_FD + 1, ~0U, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	execve(path, argv, env);
	_exit(127);
}

static unsigned take_slot(struct unit *u)
{
	for (unsigned i = 0; i < COUNTERS_SLOTS; i++) {
		if (!u->slot_used[i]) {
			u->slot_used[i] = true;
			return i;
		}
	}
	return COUNTERS_SLOTS;
}

static void pause_unit(struct unit *u)
{
	u->backoff = u->backoff == 0 ? PAUSE_LEAST : u->backoff * 2;
	if (u->backoff > PAUSE_MOST)
		u->backoff = PAUSE_MOST;
	u->pause = u->backoff;
	loop_timer_set(&u->again, loop_now() + u->pause * CLOCK_SEC);
}

static void again(void *arg)
{
	worker_fill(arg);
}

static void worker_start(struct unit *u)
{
	char *path = mem_fmt("%s/%s", master_str(P_daemon_directory), u->plan->program);
	int ends[2] = {-1, -1};
	unsigned slot = take_slot(u);
	struct worker *w = NULL;
	pid_t pid = -1;

	if (slot == COUNTERS_SLOTS) {
		log_warning("service %s has too many workers of old generations", u->key);
	} else if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0 ||
		   (pid = fork()) < 0) {
		log_error("service %s cannot be started: %s", u->key, err_str(ERR_SYS));
		fd_close(&ends[0]);
		u->slot_used[slot] = false;
		pause_unit(u);
	} else if (pid == 0) {
		become(path, u->plan->program, ends[1]);
	} else {
		w = mem_alloc(sizeof(*w));
		*w = (struct worker){.unit = u,
			.plan = u->plan,
			.pid = pid,
			.slot = slot,
			.number = ++master.workers};
		w->plan->users++;
		w->control = ipc_new(ends[0], ROLE_MASTER, u->plan->role, &events, w, 0);
		TAILQ_INSERT_TAIL(&u->workers, w, next);
		handover(w);
	}
	fd_close(&ends[1]);
	mem_free(path);
}

/* Whether those whom smtpd asks are ready; only the first start waits for them. */
static bool may_serve(const struct unit *u)
{
	const struct unit *o = NULL;

	if (master.is_serving || u->plan->role != ROLE_SMTPD)
		return true;
	TAILQ_FOREACH(o, &master.units, next)
	{
		if (o->plan != NULL && role_connects(u->plan->role, o->plan->role) &&
			o->pause == 0 && worker_count(o, true) < o->plan->capacity.workers)
			return false;
	}
	return true;
}

void worker_fill(struct unit *u)
{
	if (u->plan == NULL || u->is_stopped || master.is_stopping || !may_serve(u))
		return;
	if (u->again.fire == NULL)
		loop_timer_init(&u->again, again, u);
	if (u->again.due != CLOCK_NEVER && u->again.due > loop_now())
		return;
	for (unsigned n = worker_count(u, false); n < u->plan->capacity.workers; n++)
		worker_start(u);
}

static void drain(struct worker *w, bool now)
{
	if (w->control == NULL)
		return;
	w->state = WORKER_DRAINING;
	ipc_begin(w->control, PROTO_DRAIN, 0);
	ipc_put_u64(w->control, FIELD_FLAGS, now);
	ipc_end(w->control);
}

void worker_stop_unit(struct unit *u, bool now)
{
	struct worker *w = NULL;

	TAILQ_FOREACH(w, &u->workers, next)
	{
		if (w->state == WORKER_STARTING)
			worker_kill(w);
		else
			drain(w, now);
	}
	if (u->again.fire != NULL)
		loop_timer_set(&u->again, CLOCK_NEVER);
}

/* What was still starting for an older plan is not needed any more. */
void worker_replace(struct unit *u)
{
	struct worker *w = NULL;

	TAILQ_FOREACH(w, &u->workers, next)
	{
		if (w->plan != u->plan && w->state == WORKER_STARTING)
			worker_kill(w);
	}
	if (u->again.fire != NULL)
		loop_timer_set(&u->again, CLOCK_NEVER);
	worker_fill(u);
}

/* At most generation_limit old generations live; the oldest end between transactions. */
static void limit_generations(struct unit *u)
{
	uint64_t limit = (uint64_t)set_int(u->plan->settings, P_generation_limit), last = 0;
	struct worker *w = NULL;
	unsigned seen = 0;

	TAILQ_FOREACH_REVERSE(w, &u->workers, worker_list, next)
	{
		if (w->state != WORKER_DRAINING)
			continue;
		if (w->plan->generation != last) {
			last = w->plan->generation;
			seen++;
		}
		if (seen > limit)
			drain(w, true);
	}
}

static void retire_old(struct unit *u)
{
	struct worker *w = NULL;

	if (worker_count(u, true) < u->plan->capacity.workers)
		return;
	TAILQ_FOREACH(w, &u->workers, next)
	{
		if (w->plan == u->plan)
			continue;
		/* A port that is not wanted any more refuses now, not with its last session. */
		listen_release(w->plan);
		if (w->state == WORKER_READY)
			drain(w, false);
	}
	limit_generations(u);
}

/* The oldest that is remembered was less than a minute ago. */
static bool has_many_deaths(const struct unit *u)
{
	return u->deaths[u->death] != 0 &&
	       loop_now() - u->deaths[u->death] < DEATHS_WINDOW * CLOCK_SEC;
}

void worker_ready(struct worker *w)
{
	if (w->state != WORKER_STARTING)
		return;
	w->state = WORKER_READY;
	w->unit->pause = 0;
	if (!has_many_deaths(w->unit))
		w->unit->backoff = 0;
	if (w->is_stale)
		handover_settings(w, true);
	handover_peers(w);
	if (w->plan == w->unit->plan)
		retire_old(w->unit);
	master_changed();
}

/* A worker of an older plan that serves: what a failed generation falls back to. */
static struct worker *older(const struct unit *u)
{
	struct worker *w = NULL;

	TAILQ_FOREACH(w, &u->workers, next)
	{
		if (w->plan != u->plan && w->state == WORKER_READY)
			return w;
	}
	return NULL;
}

static bool drop_generation(struct unit *u)
{
	struct worker *w = older(u);
	struct plan *bad = u->plan;

	if (w == NULL || u->plan == NULL || worker_is_kept(u->plan->role))
		return false;
	log_error("service %s: generation %llu does not start and is dropped; generation %llu goes "
		  "on",
		u->key, (unsigned long long)bad->generation,
		(unsigned long long)w->plan->generation);
	u->plan = w->plan;
	u->plan->users++;
	TAILQ_FOREACH(w, &u->workers, next)
	{
		if (w->plan == bad)
			worker_kill(w);
	}
	plan_drop(&bad);
	return true;
}

static void note_death(struct unit *u)
{
	u->deaths[u->death] = loop_now();
	u->death = (u->death + 1) % DEATHS;
}

static void log_death(const struct worker *w, int status)
{
	const char *when = w->state == WORKER_STARTING ? " before it was ready" : "";

	if (WIFSIGNALED(status))
		log_warning("process %s/%s pid %d killed by signal %d%s",
			master_str(P_daemon_directory), w->plan->program, (int)w->pid,
			WTERMSIG(status), when);
	else if (WEXITSTATUS(status) == 127)
		log_error("process %s/%s pid %d could not be executed",
			master_str(P_daemon_directory), w->plan->program, (int)w->pid);
	else
		log_warning("process %s/%s pid %d exit status %d%s", master_str(P_daemon_directory),
			w->plan->program, (int)w->pid, WEXITSTATUS(status), when);
}

static void start_again(struct unit *u, const struct worker *dead)
{
	bool often = false;

	note_death(u);
	often = has_many_deaths(u);

	if (dead->state == WORKER_STARTING && drop_generation(u))
		return;
	if (dead->state == WORKER_STARTING || often) {
		pause_unit(u);
		log_warning("service %s: %s -- started again in %lld s", u->key,
			often ? "dies too often" : "does not become ready", (long long)u->pause);
	}
	worker_fill(u);
}

static void worker_gone(struct worker *w, int status)
{
	struct unit *u = w->unit;
	bool expected = master.is_stopping || u->is_stopped || w->state == WORKER_DRAINING;
	bool current = w->plan == u->plan;

	TAILQ_REMOVE(&u->workers, w, next);
	ipc_free(&w->control);
	counters_clear(u->page, w->slot);
	u->slot_used[w->slot] = false;
	if (!w->is_killed && (!expected || status != 0))
		log_death(w, status);
	if (!expected && current) {
		if (u->again.fire == NULL)
			loop_timer_init(&u->again, again, u);
		start_again(u, w);
	}
	dict_free(&w->tables);
	plan_drop(&w->plan);
	mem_free(w);
	master_changed();
}

static struct worker *find_pid(pid_t pid)
{
	struct unit *u = NULL;
	struct worker *w = NULL;

	TAILQ_FOREACH(u, &master.units, next)
	{
		TAILQ_FOREACH(w, &u->workers, next)
		{
			if (w->pid == pid)
				return w;
		}
	}
	return NULL;
}

void worker_reap(void)
{
	int status = 0;
	pid_t pid = 0;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct worker *w = find_pid(pid);

		if (w != NULL)
			worker_gone(w, status);
	}
}

void worker_settings(struct unit *u)
{
	struct worker *w = NULL;

	TAILQ_FOREACH(w, &u->workers, next)
	{
		struct plan *before = w->plan;

		w->plan = u->plan;
		w->plan->users++;
		plan_drop(&before);
		if (w->state == WORKER_STARTING)
			w->is_stale = true;
		else if (w->control != NULL)
			handover_settings(w, true);
	}
}

void worker_kill_all(void)
{
	struct unit *u = NULL;
	struct worker *w = NULL;
	int status = 0;

	TAILQ_FOREACH(u, &master.units, next)
	{
		TAILQ_FOREACH(w, &u->workers, next)
		kill(w->pid, SIGKILL);
	}
	TAILQ_FOREACH(u, &master.units, next)
	{
		TAILQ_FOREACH(w, &u->workers, next)
		waitpid(w->pid, &status, 0);
	}
}

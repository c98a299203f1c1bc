/* SPDX-License-Identifier: ISC */
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "master/master.h"
#include "server/counters.h"
#include "server/death.h"
#include "server/spawn.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

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

static void end_now(const struct worker *w)
{
	server_kill(w->pid, dirs_user(w->plan->role, w->plan->settings));
}

void worker_kill(struct worker *w)
{
	w->is_killed = true;
	end_now(w);
}

void worker_end(struct worker *w)
{
	if (w->state == WORKER_STARTING || w->control == NULL)
		worker_kill(w);
	else
		ipc_send(w->control, PROTO_STOP, 0);
}

static void control_end(struct ipc *c, int err, void *arg)
{
	struct worker *w = arg;

	/* Whoever breaks the protocol goes; who has died is seen by worker_reap. */
	if (err != ERR_CLOSED)
		end_now(w);
	ipc_free(&w->control);
}

static const struct ipc_events events = {handover_msg, control_end, NULL};

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

static void pause_unit(struct unit *u, int64_t seconds)
{
	u->is_paused = true;
	loop_timer_set(&u->again, loop_now() + seconds * CLOCK_SEC);
}

static void again(void *arg)
{
	worker_fill(arg);
}

void worker_init(struct unit *u)
{
	loop_timer_init(&u->again, again, u);
}

void worker_unpause(struct unit *u)
{
	u->is_paused = false;
	u->backoff.wait = 0;
	loop_timer_set(&u->again, CLOCK_NEVER);
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
		pause_unit(u, backoff_failed(&u->backoff));
	} else if (pid == 0) {
		server_exec(
			path, u->plan->program, ends[1], dirs_share_lock(), master.is_foreground);
	} else {
		w = mem_alloc(sizeof(*w));
		*w = (struct worker){.unit = u,
			.plan = u->plan,
			.pid = pid,
			.slot = slot,
			.number = ++master.last_worker};
		w->plan->users++;
		w->control = ipc_new(ends[0], ROLE_MASTER, u->plan->role, &events, w, 0);
		TAILQ_INSERT_TAIL(&u->workers, w, next);
		TAILQ_INSERT_TAIL(&master.workers, w, all);
		handover(w);
	}
	fd_close(&ends[1]);
	mem_free(path);
}

/* Whether those whom smtpd asks are ready; only its first start waits for them. */
static bool may_serve(const struct unit *u)
{
	const struct unit *o = NULL;

	if (u->has_served || u->plan->role != ROLE_SMTPD)
		return true;
	TAILQ_FOREACH(o, &master.units, next)
	{
		if (o->plan != NULL && role_connects(u->plan->role, o->plan->role) &&
			!o->is_paused && !o->is_stopped &&
			worker_count(o, true) < o->plan->capacity.workers)
			return false;
	}
	return true;
}

void worker_fill(struct unit *u)
{
	if (u->plan == NULL || u->is_stopped || master.is_stopping || !may_serve(u))
		return;
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

void worker_ready(struct worker *w)
{
	if (w->state != WORKER_STARTING)
		return;
	w->state = WORKER_READY;
	w->unit->has_served = true;
	w->unit->is_paused = false;
	backoff_ready(&w->unit->backoff, loop_now());
	if (w->is_stale)
		handover_settings(w, true);
	handover_peers(w);
	ipc_send(w->control, PROTO_PEERS_ALL, 0);
	if (w->plan == w->unit->plan)
		retire_old(w->unit);
	master_changed();
}

struct worker *worker_older(const struct unit *u)
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
	struct worker *w = worker_older(u);
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

static void log_death(const struct worker *w, int status)
{
	struct death d = {w->unit->key, master_str(P_daemon_directory), w->plan->program, w->pid,
		status, w->state != WORKER_STARTING, w->unit->page, w->slot};

	death_log(&d);
}

static void start_again(struct unit *u, const struct worker *dead)
{
	bool was_ready = dead->state != WORKER_STARTING;
	int64_t wait = backoff_died(&u->backoff, loop_now(), was_ready);

	if (!was_ready && drop_generation(u))
		return;
	if (wait != 0) {
		pause_unit(u, wait);
		log_warning("service %s: %s -- started again in %lld s", u->key,
			backoff_is_often(&u->backoff, loop_now()) ? "dies too often"
								  : "does not become ready",
			(long long)wait);
	}
	worker_fill(u);
}

static void worker_gone(struct worker *w, int status)
{
	struct unit *u = w->unit;
	bool expected = master.is_stopping || u->is_stopped || w->state == WORKER_DRAINING;
	bool current = w->plan == u->plan;

	TAILQ_REMOVE(&u->workers, w, next);
	TAILQ_REMOVE(&master.workers, w, all);
	ipc_free(&w->control);
	if (!w->is_killed && (!expected || status != 0))
		log_death(w, status);
	counters_clear(u->page, w->slot);
	u->slot_used[w->slot] = false;
	if (!expected && current)
		start_again(u, w);
	dict_free(&w->tables);
	plan_drop(&w->plan);
	mem_free(w);
	master_changed();
}

void worker_reap(void)
{
	struct worker *w = NULL;
	int status = 0;
	pid_t pid = 0;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		TAILQ_FOREACH(w, &master.workers, all)
		{
			if (w->pid == pid)
				break;
		}
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

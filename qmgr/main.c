/* SPDX-License-Identifier: ISC */
#include <time.h>

#include "conf/conf.h"
#include "qmgr/ack.h"
#include "qmgr/active.h"
#include "qmgr/active_index.h"
#include "qmgr/ask.h"
#include "qmgr/command.h"
#include "qmgr/handout.h"
#include "qmgr/held.h"
#include "qmgr/intake.h"
#include "qmgr/keeper.h"
#include "qmgr/late.h"
#include "qmgr/memory.h"
#include "qmgr/plan.h"
#include "qmgr/qmgr.h"
#include "qmgr/site.h"
#include "qmgr/worker.h"
#include "server/desk.h"
#include "server/server.h"
#include "util/fd.h"
#include "util/log.h"

#define HAND_OUT_AGAIN (CLOCK_SEC / 10) /* until a log that was full is looked at again */
#define LOCK_WAIT 30                    /* seconds: the old keeper finishes what it is at (Q13) */
/* Workers that live since before this start have this long to name their jobs. */
#define CLAIMS_LIMIT (5 * CLOCK_SEC)
#define CLAIMS_AGAIN (10 * CLOCK_MSEC)
/* gateq waits so long for all of the queue to be known; then it sees what there is. */
#define ANSWER_AFTER (10 * CLOCK_SEC)
#define LINES_AGAIN (50 * CLOCK_MSEC)
#define CLOCK_STEP CLOCK_SEC         /* a smaller difference is none */
#define STOP_TIME (700 * CLOCK_MSEC) /* of the second that a program has at the end */

struct qmgr qmgr;

static struct loop_task work_task;
static struct loop_timer work_timer, claims_timer, stop_timer;
static int64_t clock_base, time_base; /* what is added to monotonic time: qmgr.h */
static int64_t started;
static bool has_order, has_more, is_closing, has_walked, is_answering, has_peers;

int64_t qmgr_now(void)
{
	return clock_base + loop_now();
}

int64_t qmgr_time(void)
{
	return time_base + loop_now();
}

int64_t qmgr_time_of(int64_t real)
{
	return real == CLOCK_NEVER ? CLOCK_NEVER : real - clock_base + time_base;
}

int64_t qmgr_real_of(int64_t time)
{
	return time == CLOCK_NEVER ? CLOCK_NEVER : time - time_base + clock_base;
}

int64_t qmgr_clock_set(void)
{
	return clock_base - time_base;
}

int64_t qmgr_to_mono(int64_t time)
{
	return time == CLOCK_NEVER ? CLOCK_NEVER : time - time_base;
}

/* Somebody may have set the system's clock. */
static void follow_clock(void)
{
	int64_t change = clock_real() - clock_mono() - clock_base;

	if (change < CLOCK_STEP && change > -CLOCK_STEP)
		return;
	clock_base += change;
	active_clock_set(change);
	log_warning("the clock was set %s by %lld s: what waits goes on waiting as long as it "
		    "would have",
		change > 0 ? "forward" : "back",
		(long long)((change > 0 ? change : -change) / CLOCK_SEC));
}

void qmgr_work(void)
{
	loop_soon(&work_task);
}

void qmgr_work_again(void)
{
	has_more = true;
}

void qmgr_dies(const char *what, int err)
{
	log_fatal("%s: %s", what, err_str(err));
}

/* ---- The end of each iteration. ---- */

static int64_t decide(void)
{
	struct schedule_decision d;

	for (;;) {
		/* What is out already needs the log's room; the next sync makes more. */
		if (!queue_store_may_hand_out(qmgr.store))
			return qmgr_time() + HAND_OUT_AGAIN;
		schedule_next(qmgr.schedule, qmgr_time(), &d);
		if (d.what == SCHEDULE_WAIT)
			return d.until;
		if (d.what == SCHEDULE_LOAD)
			active_load(d.id, d.flags, (int64_t)d.cookie);
		else
			handout_job(d.job);
	}
}

bool qmgr_has_walked(void)
{
	return has_walked;
}

bool qmgr_has_read_all(void)
{
	return has_walked && !queue_store_has_unread(qmgr.store);
}

static void begin_answering(void)
{
	if (is_answering)
		return;
	if (!qmgr_has_read_all() && loop_now() - started < ANSWER_AFTER)
		return;
	is_answering = true;
	desk_open();
}

static void close_queue(void)
{
	if (is_closing || !qmgr.is_stopping || job_sent() > 0 || late_waits())
		return;
	is_closing = true;
	memory_save();
	if (queue_store_stop(qmgr.store, qmgr_now()) != 0)
		server_done();
}

static void work(void *arg)
{
	int64_t until = CLOCK_NEVER, next = CLOCK_NEVER;

	(void)arg;
	if (qmgr.store == NULL)
		return;
	/* Behind the mark of a clean stop nothing is noted (Q11). */
	if (!is_closing)
		follow_clock();
	if (qmgr.is_running && !qmgr.is_stopping) {
		intake_run();
		until = qmgr_to_mono(decide());
		queue_store_flush(qmgr.store);
		handout_run();
		held_tick();
		active_sweep();
		memory_tick();
		begin_answering();
	}
	close_queue();
	if (!is_closing)
		queue_store_tick(qmgr.store, qmgr_now(), loop_now(), &next);
	else if (queue_store_is_stopped(qmgr.store))
		server_done();
	if (has_order || is_closing) {
		has_order = false;
		keeper_order();
	}
	if (handout_has_lines() && next > loop_now() + LINES_AGAIN)
		next = loop_now() + LINES_AGAIN;
	if (has_more)
		next = loop_now();
	has_more = false;
	loop_timer_set(&work_timer, next < until ? next : until);
}

/* ---- What the store says. ---- */

static void on_message(void *arg, struct queue_message *m)
{
	(void)arg;
	active_begin(m);
}

static void on_loaded(void *arg, const char *id, int result, struct queue_message *m)
{
	(void)arg;
	active_loaded(id, result, m);
	command_loaded(id, result, m);
	qmgr_work();
}

static void on_waiting(void *arg, const char *id, enum queue_place place, int64_t due)
{
	(void)arg;
	active_waiting(id, place, due);
	qmgr_work();
}

static void on_walk_done(void *arg)
{
	struct schedule_counts c;

	(void)arg;
	has_walked = true;
	qmgr_work();
	schedule_count(qmgr.schedule, &c);
	log_debug("all directories are read: %zu deferred, %zu on hold", c.deferred, c.held);
}

static void on_content(void *arg, struct queue_message *m, int result, struct slice content)
{
	(void)arg;
	handout_content(m, result, content);
	ask_content(m, result, content);
	command_content(m, result, content);
}

static void on_child(
	void *arg, struct queue_message *m, const char *child, enum queue_reason reason, int result)
{
	(void)arg;
	(void)child;
	active_child(m, reason, result);
}

static void on_moved(void *arg, struct queue_message *m)
{
	const struct schedule_deferred *row =
		schedule_deferred_find(qmgr.schedule, active_key(slice_str(m->id)));

	(void)arg;
	if (m->user == NULL && row != NULL && !command_uses(m))
		queue_store_unload(m, qmgr_real_of((int64_t)row->due * CLOCK_SEC));
}

static void on_ended(void *arg, struct queue_message *m)
{
	(void)arg;
	command_ended(m);
	active_ended(m);
}

static void on_durable(void *arg, uint64_t ticket)
{
	(void)arg;
	ack_durable(ticket);
	late_run();
	qmgr_work();
}

static void on_worker_done(void *arg, uint64_t worker)
{
	(void)arg;
	intake_answer();
	ask_worker_done(worker);
	qmgr_work();
}

static void on_problem(void *arg, bool is_error, const char *line)
{
	(void)arg;
	if (is_error)
		log_error("%s", log_qs(line));
	else
		log_warning("%s", log_qs(line));
}

static void on_order(void *arg)
{
	(void)arg;
	has_order = true;
	qmgr_work();
}

static const struct queue_store_calls calls = {
	.message = on_message,
	.loaded = on_loaded,
	.waiting = on_waiting,
	.walk_done = on_walk_done,
	.content = on_content,
	.child = on_child,
	.moved = on_moved,
	.ended = on_ended,
	.durable = on_durable,
	.worker_done = on_worker_done,
	.problem = on_problem,
	.order = on_order,
};

/* ---- Start. ---- */

static void take_settings(void)
{
	struct schedule_settings settings = {
		.message_limit = (size_t)conf_int(P_qmgr_message_active_limit),
		.recipient_limit = (size_t)conf_int(P_qmgr_message_recipient_limit),
		.minimal_backoff = conf_time(P_minimal_backoff_time),
		.maximal_backoff = conf_time(P_maximal_backoff_time),
		.lifetime = conf_time(P_maximal_queue_lifetime),
		.bounce_lifetime = conf_time(P_bounce_queue_lifetime),
	};

	plan_set();
	if (qmgr.schedule == NULL)
		qmgr.schedule = schedule_new(&settings);
	else
		schedule_set(qmgr.schedule, &settings);
}

static void init(void)
{
	if (queue_root_open(conf_str(P_queue_directory), &qmgr.root) != 0)
		log_fatal("%s: %s", conf_str(P_queue_directory), err_str(ERR_SYS));
	command_init();
	take_settings();
}

static int take_lock(void)
{
	const struct timespec pause = {.tv_nsec = 20000000};
	int64_t end = clock_mono() + LOCK_WAIT * CLOCK_SEC;
	int fd = -1, err;

	while ((err = queue_store_lock(&qmgr.root, &fd)) == ERR_AGAIN && clock_mono() < end)
		nanosleep(&pause, NULL);
	if (err != 0)
		log_fatal("the queue's lock: %s",
			err == ERR_AGAIN ? "another process holds it" : err_str(err));
	return fd;
}

static void check_claims(void *arg)
{
	bool all_named = has_peers && worker_all_named();
	int err;

	(void)arg;
	if (!queue_store_was_clean(qmgr.store) && !all_named &&
		loop_now() - started < CLAIMS_LIMIT) {
		loop_timer_set(&claims_timer, loop_now() + CLAIMS_AGAIN);
		return;
	}
	err = queue_store_claims_done(qmgr.store, qmgr_now());
	if (err != 0)
		qmgr_dies("recovery", err);
	qmgr.is_running = true;
	qmgr_work();
}

static struct queue_store_setup store_setup(void)
{
	return (struct queue_store_setup){
		.root = qmgr.root,
		.journal_limit = (uint64_t)conf_int(P_queue_journal_limit),
		.sync_interval = conf_time(P_queue_sync_interval),
		.file_delay = conf_time(P_queue_file_delay),
		.calls = &calls,
	};
}

static void split(void)
{
	keeper_start(take_lock());
}

static void start(void)
{
	struct queue_store_setup setup = store_setup();
	int err;

	loop_task_init(&work_task, work, NULL);
	loop_timer_init(&work_timer, work, NULL);
	loop_timer_init(&claims_timer, check_claims, NULL);
	transport_init();
	site_init();
	clock_base = time_base = clock_real() - clock_mono();
	err = queue_store_start(&setup, clock_real(), &qmgr.store);
	if (err != 0)
		qmgr_dies("the queue cannot be opened", err);
	keeper_attach();
	memory_start();
	started = clock_mono();
	loop_timer_set(&claims_timer, started);
	if (!queue_store_was_clean(qmgr.store))
		log_info("the last stop was not a clean one: checking what was under way");
}

static int reload(struct conf **c, struct buf *why)
{
	(void)why;
	conf_install(c);
	struct queue_store_setup setup = store_setup();

	take_settings();
	if (qmgr.store != NULL)
		queue_store_set(qmgr.store, &setup);
	transport_reload();
	ask_settings_changed();
	command_reload();
	handout_withdraw_ahead();
	active_reroute();
	qmgr_work();
	return 0;
}

/* ---- The end. ---- */

static void stop_late(void *arg)
{
	(void)arg;
	/* Workers that are still at it keep their reports for the next start (Q5). */
	queue_store_flush(qmgr.store);
	server_done();
}

static void stop(void)
{
	if (qmgr.store == NULL || !qmgr.is_running) {
		server_done();
		return;
	}
	qmgr.is_stopping = true;
	loop_timer_init(&stop_timer, stop_late, NULL);
	loop_timer_set(&stop_timer, loop_now() + STOP_TIME);
	desk_close();
	handout_cancel_all();
	qmgr_work();
}

static void drain(bool now)
{
	(void)now;
	stop();
}

/* Only now is it known whose jobs are to be named. */
static void peers_all(void)
{
	has_peers = true;
}

static bool is_deliverer(const struct server_peer *peer)
{
	return peer->role == ROLE_CLIENT || peer->role == ROLE_LOCAL;
}

static void peer_new(struct server_peer *peer)
{
	if (peer->role == ROLE_CLEANUP)
		intake_new(peer);
	else if (is_deliverer(peer))
		worker_new(peer);
	else if (peer->role == ROLE_RESOLVER)
		site_peer_new();
}

static void peer_msg(struct server_peer *peer, struct ipc_msg *msg)
{
	if (peer->role == ROLE_CLEANUP)
		intake_msg(peer, msg);
	else if (is_deliverer(peer))
		worker_msg(peer, msg);
	else if (peer->role == ROLE_RESOLVER)
		site_msg(msg);
}

static void peer_gone(struct server_peer *peer)
{
	if (peer->role == ROLE_CLEANUP)
		intake_gone(peer);
	else if (is_deliverer(peer))
		worker_gone(peer);
	else if (peer->role == ROLE_RESOLVER)
		site_peer_gone(peer);
}

static void peer_room(struct server_peer *peer)
{
	if (peer->role == ROLE_CLEANUP)
		ask_peer_room(peer);
	else if (is_deliverer(peer))
		worker_room(peer);
}

int main(int argc, char **argv)
{
	static const struct server_spec spec = {
		.role = ROLE_QMGR,
		.program = PROG_QMGR,
		.init = init,
		.split = split,
		.start = start,
		.listener = command_listener,
		.peer_new = peer_new,
		.peer_msg = peer_msg,
		.peer_gone = peer_gone,
		.peer_room = peer_room,
		.peers_all = peers_all,
		.drain = drain,
		.stop = stop,
		.reload = reload,
	};

	return server_main(argc, argv, &spec);
}

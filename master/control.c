/* SPDX-License-Identifier: ISC */
#include <unistd.h>

#include "master/master.h"
#include "net/listen.h"
#include "server/counters.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"

/* A command is begun and answered at once. Whoever wants to see its end asks for the status. */
enum { CLIENTS = 16, FLAG_CONFIGURED = 1, FLAG_STOPPED = 2, FLAG_PAUSED = 4 };

#define SOCKET "pid/master.sock"

static unsigned count;
static int listener = -1;
static struct loop_watch *watch;

static void refuse(struct ipc *c, uint64_t id, struct slice why)
{
	struct slice line;

	while (slice_part(&why, '\n', &line)) {
		if (line.len == 0)
			continue;
		ipc_begin(c, PROTO_COMMAND_TEXT, id);
		ipc_put_text(c, FIELD_TEXT, line);
		ipc_end(c);
	}
}

static void done(struct ipc *c, uint64_t id, int status)
{
	ipc_begin(c, PROTO_COMMAND_DONE, id);
	ipc_put_u64(c, FIELD_CODE, (uint64_t)status);
	ipc_end(c);
}

static void send_unit(struct ipc *c, uint64_t id, const struct unit *u)
{
	const struct plan *p = u->plan;
	const struct worker *w = NULL;
	uint64_t sessions = 0, past = 0;

	TAILQ_FOREACH(w, &u->workers, next)
	{
		sessions += counters_read(u->page, w->slot, COUNTER_SESSIONS);
		past += w->plan != p && w->state != WORKER_STARTING &&
			counters_read(u->page, w->slot, COUNTER_LEAVING) == 0;
	}
	ipc_begin(c, PROTO_STATUS_SERVICE, id);
	ipc_put_str(c, FIELD_SERVICE, u->key);
	ipc_put_u64(c, FIELD_ROLE, p != NULL ? p->role : ROLE_MASTER);
	ipc_put_u64(c, FIELD_FLAGS,
		(p != NULL ? FLAG_CONFIGURED : 0U) | (u->is_stopped ? FLAG_STOPPED : 0U) |
			(u->is_paused ? FLAG_PAUSED : 0U));
	ipc_put_u64(c, FIELD_TURN, p != NULL ? p->generation : 0);
	ipc_put_u64(c, FIELD_LIMIT, p != NULL ? p->capacity.workers : 0);
	ipc_put_u64(c, FIELD_READY, p != NULL ? worker_count(u, true) : 0);
	ipc_put_u64(c, FIELD_PAST, past);
	ipc_put_u64(c, FIELD_COUNT, sessions);
	TAILQ_FOREACH(w, &u->workers, next)
	ipc_put_u64(c, FIELD_PID, (uint64_t)w->pid);
	for (size_t i = 0; p != NULL && i < p->listeners; i++)
		ipc_put_str(c, FIELD_ADDRESS, p->listener[i]->address);
	ipc_end(c);
}

static void send_status(struct ipc *c, uint64_t id)
{
	const struct unit *u = NULL;

	ipc_begin(c, PROTO_STATUS_MASTER, id);
	ipc_put_u64(c, FIELD_PID, (uint64_t)getpid());
	ipc_put_u64(c, FIELD_TIME, (uint64_t)master.started);
	ipc_put_u64(c, FIELD_TURN, master.generation);
	ipc_end(c);
	TAILQ_FOREACH(u, &master.units, next)
	{
		if (u->plan != NULL || !TAILQ_EMPTY(&u->workers))
			send_unit(c, id, u);
	}
}

static int service_start(struct unit *u, struct buf *why)
{
	bool was_stopped = u->is_stopped;
	int r = 0;

	u->is_stopped = false;
	r = plan_load(u, why);
	if (r != 0)
		u->is_stopped = was_stopped;
	else
		worker_fill(u);
	return r;
}

static int service_stop(struct unit *u)
{
	u->is_stopped = true;
	worker_stop_unit(u, true);
	if (u->plan != NULL)
		listen_release(u->plan);
	return 0;
}

static int command(struct slice name, struct slice service, struct buf *why)
{
	struct unit *u = unit_find(service);

	if (slice_eq_str(name, "reload"))
		return plan_load(NULL, why);
	if (slice_eq_str(name, "service-start") && u != NULL)
		return service_start(u, why);
	if (slice_eq_str(name, "service-stop") && u != NULL)
		return service_stop(u);
	buf_add_str(why, "gatepost: unknown command or service");
	return ERR_NOT_FOUND;
}

static void on_msg(struct ipc *c, struct ipc_msg *msg, void *arg)
{
	struct slice name = ipc_bytes(msg, FIELD_NAME);
	struct buf why = BUF_INIT(MASTER_TEXT_LIMIT);
	int r = 0;

	if (msg->type != PROTO_COMMAND)
		return;
	if (slice_eq_str(name, "status")) {
		send_status(c, msg->id);
	} else if (slice_eq_str(name, "stop")) {
		log_info("stop -- asked by gatepost");
		master_stop();
	} else if (slice_eq_str(name, "logrotate")) {
		master_reopen_logs();
	} else if (master.is_stopping) {
		buf_add_str(&why, "gatepost: is stopping");
		r = ERR_STATE;
	} else {
		r = command(name, ipc_bytes(msg, FIELD_SERVICE), &why);
	}
	if (r != 0)
		refuse(c, msg->id, buf_slice(&why));
	done(c, msg->id, r != 0);
	/* The loop may have been told to end. */
	ipc_flush(c);
	buf_clear(&why);
}

static void on_end(struct ipc *c, int err, void *arg)
{
	ipc_free(&c);
	count--;
}

static const struct ipc_events events = {on_msg, on_end, NULL};

static void on_connect(int what, void *arg)
{
	struct net_addr peer;
	uid_t uid = 0;
	int fd = -1;

	while (net_accept(listener, &fd, &peer) == 0) {
		if (count >= CLIENTS || net_peer_uid(fd, &uid) != 0 ||
			(uid != 0 && uid != geteuid())) {
			fd_close(&fd);
			continue;
		}
		count++;
		ipc_new(fd, ROLE_MASTER, ROLE_TOOL, &events, NULL, 0);
	}
}

int control_listen(struct buf *why)
{
	int r = net_listen_unix(SOCKET, 0600, &listener);

	if (r != 0) {
		buf_add_fmt(why, "gatepost: %s: %s\n", SOCKET, err_str(r));
		return r;
	}
	watch = loop_watch_new(listener, on_connect, NULL);
	loop_watch_set(watch, LOOP_READ);
	return 0;
}

void control_close(void)
{
	if (listener < 0)
		return;
	unlink(SOCKET);
	loop_watch_free(&watch);
	fd_close(&listener);
}

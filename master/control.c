/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "master/master.h"
#include "net/addr.h"
#include "server/counters.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

/* Commands of gatepost, one a connection. Those that wait for workers are looked at again by
 * control_changed. */
enum { CLIENTS = 16, WAIT_SECONDS = 20, EXIT_STOPPED = 3, NOW_SECONDS = 10 };

#define SOCKET "pid/master.sock"

struct client {
	TAILQ_ENTRY(client) next;
	struct ipc *ipc;
	uint64_t id;
	struct unit *unit; /* waited for */
	bool wants_stopped, starts_then;
	uint64_t generation; /* reload: wait until all workers are of it */
	bool waits;
	struct loop_timer limit;
};

static TAILQ_HEAD(, client) clients = TAILQ_HEAD_INITIALIZER(clients);
static unsigned count;
static int listener = -1;
static struct loop_watch *watch;

static void client_free(struct client *c)
{
	TAILQ_REMOVE(&clients, c, next);
	loop_timer_clear(&c->limit);
	ipc_free(&c->ipc);
	mem_free(c);
	count--;
}

static void text(struct client *c, bool is_reason, const char *line)
{
	ipc_begin(c->ipc, PROTO_COMMAND_TEXT, c->id);
	ipc_put_u64(c->ipc, FIELD_FLAGS, is_reason);
	ipc_put_str(c->ipc, FIELD_TEXT, line);
	ipc_end(c->ipc);
}

static void lines(struct client *c, bool is_reason, struct slice rest)
{
	struct slice line;

	while (slice_part(&rest, '\n', &line)) {
		char *copy = slice_dup(line);

		if (line.len != 0)
			text(c, is_reason, copy);
		mem_free(copy);
	}
}

static void done(struct client *c, int status)
{
	c->waits = false;
	loop_timer_set(&c->limit, CLOCK_NEVER);
	ipc_begin(c->ipc, PROTO_COMMAND_DONE, c->id);
	ipc_put_u64(c->ipc, FIELD_CODE, (uint64_t)status);
	ipc_end(c->ipc);
}

static const char *state_of(const struct unit *u)
{
	if (u->plan == NULL)
		return TAILQ_EMPTY(&u->workers) ? NULL : "draining";
	if (u->is_stopped)
		return "stopped";
	return worker_count(u, true) >= u->plan->capacity.workers ? "running" : "starting";
}

static void unit_row(struct client *c, const struct unit *u)
{
	struct buf row = BUF_INIT(8000);
	const struct worker *w = NULL;
	unsigned workers = 0;
	uint64_t sessions = 0;

	TAILQ_FOREACH(w, &u->workers, next)
	{
		workers++;
		sessions += counters_read(u->page, w->slot, COUNTER_SESSIONS);
	}
	buf_add_fmt(&row, "%-20s %-5s %-8s %7u %8llu ", u->name, service_type_name(u->type),
		state_of(u), workers, (unsigned long long)sessions);
	for (size_t i = 0; u->plan != NULL && i < u->plan->listeners; i++)
		buf_add_fmt(&row, " %s", u->plan->listener[i]->address);
	text(c, false, buf_str(&row));
	buf_clear(&row);
}

static void command_status(struct client *c)
{
	char since[64] = "";
	time_t t = (time_t)(master.started / CLOCK_SEC);
	struct tm tm;
	struct buf line = BUF_INIT(1000);
	const struct unit *u = NULL;
	int status = 0;

	strftime(since, sizeof(since), "%Y-%m-%d %H:%M:%S", localtime_r(&t, &tm));
	buf_add_fmt(&line, "gatepost: running, pid %d, since %s, generation %llu", (int)getpid(),
		since, (unsigned long long)master.generation);
	text(c, false, buf_str(&line));
	text(c, false, "name                 type  state    workers sessions  addresses");
	TAILQ_FOREACH(u, &master.units, next)
	{
		const char *state = state_of(u);

		if (state == NULL)
			continue;
		unit_row(c, u);
		if (strcmp(state, "running") != 0 && strcmp(state, "draining") != 0) {
			buf_reset(&line);
			buf_add_fmt(&line, "gatepost: service %s is %s", u->key,
				u->is_stopped ? "stopped" : "not running");
			text(c, true, buf_str(&line));
			status = 1;
		}
	}
	buf_clear(&line);
	done(c, status);
}

static void too_long(void *arg)
{
	struct client *c = arg;

	if (c->unit != NULL && c->wants_stopped) {
		worker_stop_unit(c->unit, true);
		text(c, true, "gatepost: its sessions do not end; expected another try");
	} else {
		text(c, true, "gatepost: not all workers are ready; their reasons are in the log");
	}
	done(c, 1);
}

static void wait_for(struct client *c, struct unit *u, bool stopped)
{
	c->waits = true;
	c->unit = u;
	c->wants_stopped = stopped;
	loop_timer_set(&c->limit, loop_now() + WAIT_SECONDS * CLOCK_SEC);
	control_changed();
}

static void unit_start(struct client *c, struct unit *u)
{
	struct buf why = BUF_INIT(MASTER_TEXT_LIMIT);

	u->is_stopped = false;
	c->starts_then = false;
	if (plan_load_unit(u, &why) != 0) {
		lines(c, true, buf_slice(&why));
		u->is_stopped = TAILQ_EMPTY(&u->workers);
		done(c, 1);
	} else {
		worker_fill(u);
		wait_for(c, u, false);
	}
	buf_clear(&why);
}

static void unit_stop(struct client *c, struct unit *u)
{
	u->is_stopped = true;
	worker_stop_unit(u, true);
	if (u->plan != NULL)
		listen_release(u->plan);
	wait_for(c, u, true);
}

static void command_service(struct client *c, struct slice action, struct slice name)
{
	struct unit *u = unit_find(name);

	if (u == NULL || (u->plan == NULL && TAILQ_EMPTY(&u->workers))) {
		text(c, true,
			"gatepost: no such service; expected a name of master.cf that is started");
		done(c, 1);
	} else if (slice_eq_str(action, "status")) {
		unit_row(c, u);
		done(c, u->is_stopped ? EXIT_STOPPED : strcmp(state_of(u), "running") != 0);
	} else if (slice_eq_str(action, "stop")) {
		unit_stop(c, u);
	} else if (slice_eq_str(action, "start")) {
		if (u->is_stopped)
			unit_start(c, u);
		else
			done(c, 0);
	} else if (slice_eq_str(action, "restart") && u->plan != NULL &&
		   worker_is_kept(u->plan->role) && !u->is_stopped) {
		c->starts_then = true;
		unit_stop(c, u);
	} else {
		unit_start(c, u);
	}
}

static void command_processes(struct client *c)
{
	const struct unit *u = NULL;
	const struct worker *w = NULL;
	char line[64];

	snprintf(line, sizeof(line), "%d master", (int)getpid());
	text(c, false, line);
	TAILQ_FOREACH(u, &master.units, next)
	{
		TAILQ_FOREACH(w, &u->workers, next)
		{
			snprintf(line, sizeof(line), "%d %s", (int)w->pid, w->plan->program);
			text(c, false, line);
		}
	}
	done(c, 0);
}

static void command_reload(struct client *c)
{
	struct buf why = BUF_INIT(MASTER_TEXT_LIMIT);

	if (plan_load(&why) != 0) {
		lines(c, true, buf_slice(&why));
		done(c, 1);
	} else {
		c->generation = master.generation;
		wait_for(c, NULL, false);
	}
	buf_clear(&why);
}

static void on_msg(struct ipc *ipc, struct ipc_msg *msg, void *arg)
{
	struct client *c = arg;
	struct slice name = ipc_bytes(msg, FIELD_NAME), service = ipc_bytes(msg, FIELD_SERVICE);

	if (c->waits || msg->type != PROTO_COMMAND)
		return;
	c->id = msg->id;
	if (master.is_stopping && !slice_eq_str(name, "processes")) {
		text(c, true, "gatepost: is stopping");
		done(c, 1);
	} else if (slice_eq_str(name, "status")) {
		command_status(c);
	} else if (slice_eq_str(name, "processes")) {
		command_processes(c);
	} else if (slice_eq_str(name, "reload")) {
		command_reload(c);
	} else if (slice_eq_str(name, "logrotate")) {
		master_reopen_logs();
		done(c, 0);
	} else if (slice_eq_str(name, "stop")) {
		log_info("stop -- asked by gatepost");
		done(c, 0);
		ipc_flush(c->ipc);
		master_stop();
	} else if (slice_starts(name, "service-")) {
		command_service(c, slice_from(name, strlen("service-")), service);
	} else {
		text(c, true, "gatepost: unknown command");
		done(c, 1);
	}
}

static void on_end(struct ipc *ipc, int err, void *arg)
{
	client_free(arg);
}

static const struct ipc_events events = {on_msg, on_end, NULL};

/* Whether what a command waits for has come: 1 yes, -1 it will not. */
static int outcome(const struct client *c)
{
	const struct unit *u = NULL;
	const struct worker *w = NULL;

	if (c->unit != NULL && c->wants_stopped)
		return TAILQ_EMPTY(&c->unit->workers) ? 1 : 0;
	TAILQ_FOREACH(u, &master.units, next)
	{
		if ((c->unit != NULL && u != c->unit) || u->plan == NULL || u->is_stopped)
			continue;
		if (u->pause != 0 || (c->generation != 0 && u->plan->generation < c->generation))
			return -1;
		if (worker_count(u, true) < u->plan->capacity.workers)
			return 0;
		TAILQ_FOREACH(w, &u->workers, next)
		{
			if (w->plan != u->plan && w->state == WORKER_READY)
				return 0;
		}
	}
	return 1;
}

void control_changed(void)
{
	struct client *c = NULL, *after = NULL;

	TAILQ_FOREACH_SAFE(c, &clients, next, after)
	{
		int r = c->waits ? outcome(c) : 0;

		if (r > 0 && c->starts_then) {
			unit_start(c, c->unit);
		} else if (r > 0) {
			done(c, 0);
		} else if (r < 0) {
			text(c, true,
				"gatepost: not all workers become ready; their reasons are in the "
				"log");
			done(c, 1);
		}
	}
}

static bool may_command(int fd)
{
	struct ucred peer = {.uid = (uid_t)-1};
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       (peer.uid == 0 || peer.uid == geteuid());
}

static void on_connect(int what, void *arg)
{
	struct net_addr peer;
	int fd = -1;

	while (net_accept(listener, &fd, &peer) == 0) {
		struct client *c = NULL;

		if (count >= CLIENTS || !may_command(fd)) {
			fd_close(&fd);
			continue;
		}
		c = mem_alloc(sizeof(*c));
		count++;
		TAILQ_INSERT_TAIL(&clients, c, next);
		loop_timer_init(&c->limit, too_long, c);
		c->ipc = ipc_new(fd, ROLE_MASTER, ROLE_TOOL, &events, c, 0);
	}
}

int control_listen(struct buf *why)
{
	struct net_addr a;
	int r = net_addr_unix(SOCKET, &a);

	unlink(SOCKET);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (r == 0 && (listener < 0 || bind(listener, (const struct sockaddr *)&a.ss, a.len) != 0 ||
			      chmod(SOCKET, 0600) != 0 || listen(listener, CLIENTS) != 0))
		r = ERR_SYS;
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

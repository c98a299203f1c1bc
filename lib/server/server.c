/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "map/map.h"
#include "priv/priv.h"
#include "server/counters.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

enum {
	SETTINGS_LIMIT = 4 << 20,
	FLAG_LAST = 1,
	FLAG_RELOAD = 2,
	FLAG_DEVELOPMENT = 1,
	FLAG_LMTP = 2
};

/* A TABLE_OPEN or CONNECT that waits for master's answer. */
struct asked {
	uint64_t id;
	void (*done)(int err, int fd, void *arg);
	void *arg;
};

static struct {
	const struct server_spec *spec;
	struct ipc *control;
	struct server_peer_list peers[ROLE_COUNT], early;
	struct buf settings;
	struct priv priv;
	struct loop_timer last_moment;
	char *service, *program, *root;
	uint64_t worker, limit;
	unsigned slot, flags;
	bool hello, configured, started, ready, stopping;
	int status;
} self;

static void finish(int status)
{
	self.status = status;
	loop_stop();
}

/* Peers. */

static void peer_free(struct server_peer *peer)
{
	TAILQ_REMOVE(&self.peers[peer->role], peer, next);
	if (self.spec->peer_gone != NULL)
		self.spec->peer_gone(peer);
	ipc_free(&peer->ipc);
	mem_free((void *)(uintptr_t)peer->service);
	mem_free(peer);
}

static void peer_msg(struct ipc *c, struct ipc_msg *msg, void *arg)
{
	(void)c;
	self.spec->peer_msg(arg, msg);
}

static void peer_end(struct ipc *c, int err, void *arg)
{
	(void)c;
	(void)err;
	peer_free(arg);
}

static void peer_room(struct ipc *c, void *arg)
{
	(void)c;
	if (self.spec->peer_room != NULL)
		self.spec->peer_room(arg);
}

static const struct ipc_events peer_events = {peer_msg, peer_end, peer_room};

static void admit_peer(struct server_peer *peer)
{
	peer->ipc = ipc_new(peer->fd, self.spec->role, peer->role, &peer_events, peer, 0);
	TAILQ_INSERT_TAIL(&self.peers[peer->role], peer, next);
	if (self.spec->peer_new != NULL)
		self.spec->peer_new(peer);
}

/* Peers that came before the program was ready for them. */
static void admit_early_peers(void)
{
	struct server_peer *peer;

	while ((peer = TAILQ_FIRST(&self.early)) != NULL) {
		TAILQ_REMOVE(&self.early, peer, next);
		admit_peer(peer);
	}
}

static void take_peer(struct ipc_msg *m)
{
	struct server_peer *peer = mem_alloc(sizeof(*peer));

	peer->role = (enum role)ipc_u64(m, FIELD_ROLE);
	peer->worker = ipc_u64(m, FIELD_WORKER);
	peer->service = slice_dup(ipc_bytes(m, FIELD_SERVICE));
	peer->asks = ipc_u64(m, FIELD_FLAGS) & 1;
	peer->limit = ipc_u64(m, FIELD_LIMIT);
	if (peer->role >= ROLE_COUNT || m->fd < 0)
		log_fatal("master sent a peer without role or descriptor");
	peer->fd = ipc_take_fd(m);
	if (self.ready)
		admit_peer(peer);
	else
		TAILQ_INSERT_TAIL(&self.early, peer, next);
}

struct server_peer_list *server_peers(enum role role)
{
	return &self.peers[role];
}

/* The log. */

static void log_lost(void)
{
	if (self.control != NULL)
		ipc_send(self.control, PROTO_LOG_LOST, 0);
}

static void take_log(struct ipc_msg *m)
{
	log_set_sink(ipc_u64(m, FIELD_FLAGS) & 1 ? LOG_SINK_FILE : LOG_SINK_SYSLOG, ipc_take_fd(m));
}

/* Settings. */

static void use_settings(void)
{
	static const char *const levels[] = {"none", "error", "info", "debug"};
	const char *level = conf_str(P_log_level);
	struct buf tag = BUF_INIT(256);

	buf_add_fmt(&tag, "%s/%s", conf_str(P_syslog_name), self.program);
	log_init(buf_str(&tag), NULL);
	buf_clear(&tag);
	for (unsigned i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
		if (strcmp(level, levels[i]) == 0)
			log_set_level((enum log_level)i);
}

static void reload_settings(struct slice bytes)
{
	struct buf why = BUF_INIT(1024);
	struct conf *c = NULL;
	int err = conf_decode(bytes, &why, &c);

	if (err == 0)
		err = self.spec->reload != NULL ? self.spec->reload(&c, &why) : ERR_STATE;
	if (err == 0)
		use_settings();
	conf_free(&c);
	ipc_begin(self.control, PROTO_SETTINGS_TAKEN, 0);
	ipc_put_u64(self.control, FIELD_CODE, (uint64_t)-err);
	if (why.len > 0)
		ipc_put_text(self.control, FIELD_TEXT, buf_slice(&why));
	ipc_end(self.control);
	buf_clear(&why);
}

static void take_settings(struct ipc_msg *m)
{
	uint64_t flags = ipc_u64(m, FIELD_FLAGS);
	struct buf why = BUF_INIT(1024);
	struct conf *c = NULL;

	if (buf_add_slice(&self.settings, ipc_bytes(m, FIELD_VALUE)) != 0)
		log_fatal("the settings are over %d bytes", SETTINGS_LIMIT);
	if (!(flags & FLAG_LAST))
		return;
	if (flags & FLAG_RELOAD)
		reload_settings(buf_slice(&self.settings));
	else if (conf_decode(buf_slice(&self.settings), &why, &c) != 0)
		log_fatal("settings: %s", buf_str(&why));
	else {
		conf_install(&c);
		use_settings();
		self.configured = true;
	}
	buf_clear(&self.settings);
}

static void take_hello(struct ipc_msg *m)
{
	struct slice build = ipc_bytes(m, FIELD_BUILD);
	size_t at = 0;
	uint64_t gid;

	if (!slice_eq_str(build, PACKAGE_STRING))
		log_fatal("master is of the build \"%.*s\", this program of \"%s\"",
			SLICE_FMT(build), PACKAGE_STRING);
	if (ipc_u64(m, FIELD_ROLE) != (uint64_t)self.spec->role)
		log_fatal("master wants a %s, this program is %s",
			role_name((enum role)ipc_u64(m, FIELD_ROLE)), role_name(self.spec->role));
	self.worker = ipc_u64(m, FIELD_WORKER);
	self.service = slice_dup(ipc_bytes(m, FIELD_SERVICE));
	self.program = slice_dup(ipc_bytes(m, FIELD_NAME));
	self.root = slice_dup(ipc_bytes(m, FIELD_PATH));
	self.flags = (unsigned)ipc_u64(m, FIELD_FLAGS);
	self.slot = (unsigned)ipc_u64(m, FIELD_SLOT);
	self.limit = ipc_u64(m, FIELD_LIMIT);
	self.priv.uid = (uid_t)ipc_u64(m, FIELD_USER);
	for (size_t i = 0; ipc_next_u64(m, FIELD_GROUP, &at, &gid); i++) {
		if (i == 0)
			self.priv.gid = (gid_t)gid;
		else if (self.priv.groups_n < PRIV_GROUPS)
			self.priv.groups[self.priv.groups_n++] = (gid_t)gid;
	}
	self.hello = true;
}

/* The end. */

static void last_moment(void *arg)
{
	(void)arg;
	finish(0);
}

static void stop(void)
{
	self.stopping = true;
	loop_timer_set(&self.last_moment, loop_now() + SERVER_STOP_MSEC * CLOCK_MSEC);
	if (self.spec->stop != NULL)
		self.spec->stop();
	else
		finish(0);
}

static void drain(bool now)
{
	self.stopping = true;
	if (self.spec->drain != NULL)
		self.spec->drain(now);
	else
		finish(0);
}

static void master_gone(struct ipc *c, int err, void *arg)
{
	(void)arg;
	(void)err;
	if (c == self.control)
		ipc_free(&self.control);
	if (!self.started)
		_exit(1);
	stop();
}

void server_done(void)
{
	finish(0);
}

bool server_is_stopping(void)
{
	return self.stopping;
}

/* What was asked of master. */

static void answered(struct ipc_msg *m)
{
	struct asked *a = m->arg;
	int code = (int)ipc_u64(m, FIELD_CODE);
	int fd = ipc_take_fd(m);

	if (a == NULL) {
		fd_close(&fd);
		return;
	}
	errno = code;
	if (a->done != NULL)
		a->done(fd >= 0 ? 0 : ERR_SYS, fd, a->arg);
	else
		fd_close(&fd);
	mem_free(a);
}

static uint64_t ask_master(
	enum proto_msg type, const char *name, void (*done)(int err, int fd, void *arg), void *arg)
{
	struct asked *a = mem_alloc(sizeof(*a));
	uint64_t id = ipc_ask(self.control);

	*a = (struct asked){id, done, arg};
	ipc_begin(self.control, type, id);
	ipc_put_str(self.control, FIELD_NAME, name);
	if (ipc_end(self.control) != 0)
		log_fatal("master cannot be asked for %s", name);
	ipc_set_arg(self.control, id, true, a);
	return id;
}

uint64_t server_connect(const char *name, void (*done)(int err, int fd, void *arg), void *arg)
{
	return ask_master(PROTO_CONNECT, name, done, arg);
}

static bool cancel_one(uint64_t id, void *request, void *arg)
{
	struct asked *a = request;

	if (id != *(const uint64_t *)arg)
		return true;
	if (a != NULL)
		a->done = NULL;
	return false;
}

void server_connect_cancel(uint64_t handle)
{
	if (self.control != NULL)
		ipc_walk(self.control, true, cancel_one, &handle);
}

struct opened {
	int err, fd, saved;
	bool done;
};

static void table_opened(int err, int fd, void *arg)
{
	struct opened *o = arg;

	*o = (struct opened){err, fd, errno, true};
}

/* Tables are opened while the program starts, so this may wait. */
static int open_table(const char *spec, int *fd)
{
	struct opened o = {.fd = -1};

	*fd = -1;
	if (self.started || self.control == NULL)
		return ERR_DENIED;
	ask_master(PROTO_TABLE_OPEN, spec, table_opened, &o);
	while (!o.done)
		if (ipc_pump(self.control, CLOCK_NEVER) != 0)
			_exit(1);
	errno = o.saved;
	*fd = o.fd;
	if (o.err == 0)
		return 0;
	return errno == ENOENT ? ERR_NOT_FOUND : errno == EACCES ? ERR_DENIED : ERR_SYS;
}

/* Frames from master. */

static void take_table(struct ipc_msg *m)
{
	char *spec = slice_dup(ipc_bytes(m, FIELD_NAME));

	map_replace(spec, ipc_take_fd(m));
	mem_free(spec);
}

static void take_listener(struct ipc_msg *m)
{
	char *address = slice_dup(ipc_bytes(m, FIELD_ADDRESS));

	if (self.spec->listener != NULL && m->fd >= 0)
		self.spec->listener(ipc_take_fd(m), address, ipc_u64(m, FIELD_FLAGS) & 1);
	mem_free(address);
}

static void take_data_dir(struct ipc_msg *m)
{
	char *name = slice_dup(ipc_bytes(m, FIELD_NAME));

	if (self.spec->data_dir != NULL && m->fd >= 0)
		self.spec->data_dir(name, ipc_take_fd(m));
	mem_free(name);
}

static void master_msg(struct ipc *c, struct ipc_msg *m, void *arg)
{
	(void)c;
	(void)arg;
	switch (m->type) {
	case PROTO_HELLO: take_hello(m); break;
	case PROTO_SETTINGS: take_settings(m); break;
	case PROTO_LISTENER: take_listener(m); break;
	case PROTO_LOG_FD: take_log(m); break;
	case PROTO_COUNTERS:
		if (counters_map(m->fd, self.slot) != 0)
			log_fatal("the shared page of counters cannot be mapped");
		break;
	case PROTO_DATA_DIR: take_data_dir(m); break;
	case PROTO_START: self.started = true; break;
	case PROTO_PEER: take_peer(m); break;
	case PROTO_TABLE: take_table(m); break;
	case PROTO_TABLE_FD:
	case PROTO_CONNECTED: answered(m); break;
	case PROTO_DRAIN: drain(ipc_u64(m, FIELD_FLAGS) & 1); break;
	case PROTO_STOP: stop(); break;
	default: break;
	}
}

static const struct ipc_events master_events = {master_msg, master_gone, NULL};

/* Start. */

static void ignore_signals(void)
{
	/* A terminal's signals are for master; it tells its children in its own way. */
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
}

static void listen_to_master(void)
{
	while (!self.started)
		if (ipc_pump(self.control, CLOCK_NEVER) != 0)
			_exit(1);
	if (!self.hello || !self.configured)
		log_fatal("master said START before HELLO and SETTINGS");
}

static void set_up(const struct server_spec *spec)
{
	self.spec = spec;
	buf_init(&self.settings, SETTINGS_LIMIT);
	for (int i = 0; i < ROLE_COUNT; i++)
		TAILQ_INIT(&self.peers[i]);
	TAILQ_INIT(&self.early);
	fd_set_cloexec(SERVER_CONTROL_FD, true);
	loop_init();
	loop_timer_init(&self.last_moment, last_moment, NULL);
	log_on_failure(log_lost);
	map_set_opener(open_table);
	map_set_deferrer(loop_defer);
	self.control = ipc_new(SERVER_CONTROL_FD, spec->role, ROLE_MASTER, &master_events, NULL, 0);
}

static void drop_rights(void)
{
	self.priv.root = self.root;
	self.priv.development = self.flags & FLAG_DEVELOPMENT;
	self.priv.keep_root = self.spec->keep_root;
	clock_load_zone();
	priv_drop(&self.priv);
}

int server_main(int argc, char **argv, const struct server_spec *spec)
{
	if (argc > 1 && strcmp(argv[1], "--version") == 0) {
		printf("%s\n", PACKAGE_STRING);
		return 0;
	}
	if (fcntl(SERVER_CONTROL_FD, F_GETFD) < 0) {
		fprintf(stderr, "%s is started by master, see gatepost(8)\n", argv[0]);
		return 1;
	}
	ignore_signals();
	set_up(spec);
	listen_to_master();
	/* Tables are opened from inside init: START has been said, but rights are still there. */
	self.started = false;
	if (spec->init != NULL)
		spec->init();
	self.started = true;
	drop_rights();
	if (spec->start != NULL)
		spec->start();
	ipc_send(self.control, PROTO_READY, 0);
	self.ready = true;
	admit_early_peers();
	loop_run();
	log_flush();
	return self.status;
}

const char *server_service(void)
{
	return self.service;
}

uint64_t server_worker(void)
{
	return self.worker;
}

const char *server_program(void)
{
	return self.program;
}

uint64_t server_limit(void)
{
	return self.limit;
}

bool server_is_lmtp(void)
{
	return self.flags & FLAG_LMTP;
}

bool server_is_development(void)
{
	return self.flags & FLAG_DEVELOPMENT;
}

/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "server/server_priv.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/vault.h"
#include "map/map.h"
#include "net/pool.h"
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
	FLAG_LMTP = 2,
	FLAG_FOLLOWS = 4
};

struct server_self server_self;

static void finish(int status)
{
	server_self.status = status;
	loop_stop();
}

/* The log. */

static void log_lost(void)
{
	if (server_self.control != NULL)
		ipc_send(server_self.control, PROTO_LOG_LOST, 0);
}

static void take_log(struct ipc_msg *m)
{
	bool is_file = ipc_u64(m, FIELD_FLAGS) & 1;

	server_self.log_is_file = is_file;
	if (server_self.spec->log_new != NULL && m->fd >= 0)
		server_self.spec->log_new(is_file, m->fd);
	log_set_sink(is_file ? LOG_SINK_FILE : LOG_SINK_SYSLOG, ipc_take_fd(m));
}

/* Settings. */

static void use_settings(void)
{
	static const char *const levels[] = {"none", "error", "info", "debug"};
	const char *level = conf_str(P_log_level);
	struct buf tag = BUF_INIT(256);

	buf_add_fmt(&tag, "%s/%s", conf_str(P_syslog_name), server_self.program);
	log_init(buf_str(&tag), NULL);
	buf_clear(&tag);
	map_set_warm_limit((size_t)conf_int(P_table_warm_limit));
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
		err = server_self.spec->reload != NULL ? server_self.spec->reload(&c, &why)
						       : ERR_STATE;
	if (err == 0)
		use_settings();
	conf_free(&c);
	ipc_begin(server_self.control, PROTO_SETTINGS_TAKEN, 0);
	ipc_put_u64(server_self.control, FIELD_CODE, (uint64_t)-err);
	if (why.len > 0)
		ipc_put_text(server_self.control, FIELD_TEXT, buf_slice(&why));
	ipc_end(server_self.control);
	buf_clear(&why);
}

static void take_settings(struct ipc_msg *m)
{
	uint64_t flags = ipc_u64(m, FIELD_FLAGS);
	struct buf why = BUF_INIT(1024);
	struct conf *c = NULL;

	if (buf_add_slice(&server_self.settings, ipc_bytes(m, FIELD_VALUE)) != 0)
		log_fatal("the settings are over %d bytes", SETTINGS_LIMIT);
	if (!(flags & FLAG_LAST))
		return;
	if (flags & FLAG_RELOAD)
		reload_settings(buf_slice(&server_self.settings));
	else if (conf_decode(buf_slice(&server_self.settings), &why, &c) != 0)
		log_fatal("settings: %s", buf_str(&why));
	else {
		conf_install(&c);
		use_settings();
		server_self.configured = true;
	}
	buf_clear(&server_self.settings);
}

static void take_hello(struct ipc_msg *m)
{
	struct slice build = ipc_bytes(m, FIELD_BUILD);
	size_t at = 0;
	uint64_t gid;

	if (!slice_eq_str(build, PACKAGE_STRING))
		log_fatal("master is of the build \"%.*s\", this program of \"%s\"",
			SLICE_FMT(build), PACKAGE_STRING);
	if (ipc_u64(m, FIELD_ROLE) != (uint64_t)server_self.spec->role)
		log_fatal("master wants a %s, this program is %s",
			role_name((enum role)ipc_u64(m, FIELD_ROLE)),
			role_name(server_self.spec->role));
	server_self.worker = ipc_u64(m, FIELD_WORKER);
	server_self.service = slice_dup(ipc_bytes(m, FIELD_SERVICE));
	server_self.program = slice_dup(ipc_bytes(m, FIELD_NAME));
	server_self.root = slice_dup(ipc_bytes(m, FIELD_PATH));
	server_self.flags = (unsigned)ipc_u64(m, FIELD_FLAGS);
	server_self.slot = (unsigned)ipc_u64(m, FIELD_SLOT);
	server_self.limit = ipc_u64(m, FIELD_LIMIT);
	server_self.sessions = ipc_u64(m, FIELD_COUNT);
	server_self.priv.uid = (uid_t)ipc_u64(m, FIELD_USER);
	for (size_t i = 0; ipc_next_u64(m, FIELD_GROUP, &at, &gid); i++) {
		if (i == 0)
			server_self.priv.gid = (gid_t)gid;
		else if (server_self.priv.groups_n < PRIV_GROUPS)
			server_self.priv.groups[server_self.priv.groups_n++] = (gid_t)gid;
	}
	server_self.hello = true;
}

/* The end. */

static void last_moment(void *arg)
{
	(void)arg;
	finish(0);
}

static void stop(void)
{
	server_self.stopping = true;
	loop_timer_set(&server_self.last_moment, loop_now() + SERVER_STOP_MSEC * CLOCK_MSEC);
	if (server_self.spec->stop != NULL)
		server_self.spec->stop();
	else
		finish(0);
}

static void drain(bool now)
{
	_Atomic uint64_t *leaving = counters_at(COUNTER_LEAVING);

	server_self.stopping = true;
	if (server_self.spec->drain != NULL)
		server_self.spec->drain(now);
	else
		finish(0);
	if (leaving != NULL)
		*leaving = 1;
}

static void master_gone(struct ipc *c, int err, void *arg)
{
	(void)arg;
	(void)err;
	if (c == server_self.control)
		ipc_free(&server_self.control);
	if (!server_self.started)
		_exit(1);
	stop();
}

void server_done(void)
{
	finish(0);
}

bool server_is_stopping(void)
{
	return server_self.stopping;
}

/* Frames from master. */

static void take_table(struct ipc_msg *m)
{
	char *spec = slice_dup(ipc_bytes(m, FIELD_NAME));

	if (server_self.spec->file != NULL && m->fd >= 0 &&
		slice_starts(slice_str(spec), VAULT_FILE))
		server_self.spec->file(spec, ipc_take_fd(m));
	else
		map_replace(spec, ipc_take_fd(m));
	mem_free(spec);
}

static void take_listener(struct ipc_msg *m)
{
	char *address = slice_dup(ipc_bytes(m, FIELD_ADDRESS));

	if (server_self.spec->listener != NULL && m->fd >= 0)
		server_self.spec->listener(ipc_take_fd(m), address, ipc_u64(m, FIELD_FLAGS) & 1);
	mem_free(address);
}

static void take_data_dir(struct ipc_msg *m)
{
	char *name = slice_dup(ipc_bytes(m, FIELD_NAME));

	if (server_self.spec->data_dir != NULL && m->fd >= 0)
		server_self.spec->data_dir(name, ipc_take_fd(m));
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
		if (counters_map(m->fd, server_self.slot) != 0)
			log_fatal("the shared page of counters cannot be mapped");
		break;
	case PROTO_DATA_DIR: take_data_dir(m); break;
	case PROTO_START: server_self.started = true; break;
	case PROTO_PEER: server_take_peer(m); break;
	case PROTO_PEERS_ALL:
		if (server_self.spec->peers_all != NULL)
			server_self.spec->peers_all();
		break;
	case PROTO_TABLE: take_table(m); break;
	case PROTO_TABLE_FD:
	case PROTO_CONNECTED: server_answered(m); break;
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
	while (!server_self.started)
		if (ipc_pump(server_self.control, CLOCK_NEVER) != 0)
			_exit(1);
	if (!server_self.hello || !server_self.configured)
		log_fatal("master said START before HELLO and SETTINGS");
}

static void set_up(const struct server_spec *spec)
{
	server_self.spec = spec;
	buf_init(&server_self.settings, SETTINGS_LIMIT);
	for (int i = 0; i < ROLE_COUNT; i++)
		TAILQ_INIT(&server_self.peers[i]);
	TAILQ_INIT(&server_self.early);
	fd_set_cloexec(SERVER_CONTROL_FD, true);
	fd_set_cloexec(SERVER_ALIVE_FD, true);
	loop_init();
	loop_timer_init(&server_self.last_moment, last_moment, NULL);
	log_on_failure(log_lost);
	map_set_opener(server_open_table);
	map_set_deferrer(loop_defer);
	map_set_asker(server_ask_nss);
	pool_set_connector(server_connect, server_connect_cancel);
	map_peers_init();
	server_self.control =
		ipc_new(SERVER_CONTROL_FD, spec->role, ROLE_MASTER, &master_events, NULL, 0);
}

static enum sandbox sandbox(void)
{
	static const enum sandbox of[ROLE_COUNT] = {
#define ROLE(role, groups, flags) [ROLE_##role] = SANDBOX_##role,
#include "priv/sandbox.def"
	};

	return conf_bool(P_sandbox) ? of[server_self.spec->role] : SANDBOX_NONE;
}

/* The directory of its own that sandbox.def's names are below, where the root directory stays. */
static char *own_directory(void)
{
	if (!(server_self.flags & FLAG_DEVELOPMENT))
		return mem_str("");
	return server_self.spec->role == ROLE_TALLY
		       ? mem_fmt("%s/tally", conf_str(P_data_directory))
		       : mem_str(conf_str(P_queue_directory));
}

static void drop_rights(void)
{
	char *base = own_directory();

	server_self.priv.root = server_self.root;
	server_self.priv.development = server_self.flags & FLAG_DEVELOPMENT;
	server_self.priv.keep_root = server_self.spec->keep_root;
	server_self.priv.sandbox = sandbox();
	server_self.priv.base = base;
	server_self.priv.log_is_file = server_self.log_is_file;
	server_self.priv.report = counters_at(COUNTER_FORBIDDEN);
	if (server_self.priv.sandbox == SANDBOX_NONE && !conf_bool(P_sandbox))
		log_warning(
			"sandbox = no: this process is not confined; use it for debugging alone");
	clock_load_zone();
	/* Queue files belong to cleanup and qmgr alike, by their group. */
	umask(0007);
	priv_drop(&server_self.priv);
	mem_free(base);
}

int server_main(int argc, char **argv, const struct server_spec *spec)
{
	if (argc > 1 && strcmp(argv[1], "--version") == 0) {
		printf("%s\n", PACKAGE_STRING);
		return 0;
	}
	if (argc > 1 && strcmp(argv[1], "--help") == 0) {
		printf("%s is started by master, see gatepost(1)\n", argv[0]);
		return 0;
	}
	if (fcntl(SERVER_CONTROL_FD, F_GETFD) < 0) {
		fprintf(stderr, "%s is started by master, see gatepost(1)\n", argv[0]);
		return 1;
	}
	ignore_signals();
	set_up(spec);
	listen_to_master();
	/* Tables are opened from inside init: START has been said, but rights are still there. */
	server_self.started = false;
	if (spec->init != NULL)
		spec->init();
	server_self.started = true;
	drop_rights();
	if (spec->split != NULL)
		spec->split();
	priv_confine(sandbox());
	if (spec->start != NULL)
		spec->start();
	ipc_send(server_self.control, PROTO_READY, 0);
	server_self.ready = true;
	server_admit_early_peers();
	loop_run();
	log_flush();
	return server_self.status;
}

const char *server_service(void)
{
	return server_self.service;
}

uint64_t server_worker(void)
{
	return server_self.worker;
}

const char *server_program(void)
{
	return server_self.program;
}

uint64_t server_sessions(void)
{
	return server_self.sessions;
}

uint64_t server_limit(void)
{
	return server_self.limit;
}

bool server_is_lmtp(void)
{
	return server_self.flags & FLAG_LMTP;
}

bool server_follows(void)
{
	return server_self.flags & FLAG_FOLLOWS;
}

bool server_is_development(void)
{
	return server_self.flags & FLAG_DEVELOPMENT;
}

const char *server_root(void)
{
	return server_self.root;
}

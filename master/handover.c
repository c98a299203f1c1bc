/* SPDX-License-Identifier: ISC */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "master/master.h"
#include "server/counters.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

/* The two sides of proto.def's start-up frames are here and in lib/server. */
enum {
	FLAG_DEVELOPMENT = 1,
	FLAG_LMTP = 2,
	FLAG_FOLLOWS = 4,
	FLAG_LAST = 1,
	FLAG_RELOAD = 2,
	FLAG_UNIX = 1
};
enum { SETTINGS_LIMIT = 4 << 20, PIECE = 50000, TABLES_LIMIT = 1000 };

static void send_fd(struct ipc *c, int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (copy < 0)
		log_fatal("no descriptor is left: %s", err_str(ERR_SYS));
	ipc_end_fd(c, &copy);
}

/* Log lines of smtp-client carry Postfix's names. */
static const char *log_name(const struct plan *p)
{
	if (p->role == ROLE_CLIENT)
		return p->is_lmtp ? "lmtp" : "smtp";
	return p->program;
}

static void send_hello(struct worker *w)
{
	const struct plan *p = w->plan;
	uid_t uid = 0;
	gid_t gids[3];
	size_t n = 0;

	if (dirs_ids(p->role, p->settings, &uid, gids, &n) != 0)
		log_fatal("service %s: its user or group is gone", w->unit->key);
	ipc_begin(w->control, PROTO_HELLO, 0);
	ipc_put_str(w->control, FIELD_BUILD, PACKAGE_STRING);
	ipc_put_u64(w->control, FIELD_ROLE, p->role);
	ipc_put_u64(w->control, FIELD_WORKER, w->number);
	ipc_put_str(w->control, FIELD_SERVICE, w->unit->key);
	ipc_put_str(w->control, FIELD_NAME, log_name(p));
	ipc_put_u64(w->control, FIELD_FLAGS,
		(master.is_development ? FLAG_DEVELOPMENT : 0U) | (p->is_lmtp ? FLAG_LMTP : 0U) |
			(worker_older(w->unit) != NULL ? FLAG_FOLLOWS : 0U));
	ipc_put_u64(w->control, FIELD_USER, uid);
	for (size_t i = 0; i < n; i++)
		ipc_put_u64(w->control, FIELD_GROUP, gids[i]);
	ipc_put_str(w->control, FIELD_PATH, master.is_development ? "" : dirs_root(p->role));
	ipc_put_u64(w->control, FIELD_SLOT, w->slot);
	ipc_put_u64(w->control, FIELD_LIMIT, p->capacity.limit);
	ipc_put_u64(w->control, FIELD_COUNT, p->capacity.sessions);
	ipc_end(w->control);
}

void handover_log(struct worker *w)
{
	bool is_file = false;
	int fd = log_fd_open(&is_file);

	if (fd < 0 || w->control == NULL) {
		fd_close(&fd);
		return;
	}
	ipc_begin(w->control, PROTO_LOG_FD, 0);
	ipc_put_u64(w->control, FIELD_FLAGS, is_file);
	ipc_end_fd(w->control, &fd);
}

void handover_settings(struct worker *w, bool is_reload)
{
	struct buf bytes = BUF_INIT(SETTINGS_LIMIT);
	struct slice rest;

	set_encode(w->plan->settings, &bytes);
	rest = buf_slice(&bytes);
	do {
		struct slice piece = slice_first(rest, PIECE);

		rest = slice_from(rest, piece.len);
		ipc_begin(w->control, PROTO_SETTINGS, 0);
		ipc_put_bytes(w->control, FIELD_VALUE, piece);
		ipc_put_u64(w->control, FIELD_FLAGS,
			(rest.len == 0 ? FLAG_LAST : 0U) | (is_reload ? FLAG_RELOAD : 0U));
		ipc_end(w->control);
	} while (rest.len != 0);
	buf_clear(&bytes);
}

static void send_listeners(struct worker *w)
{
	for (size_t i = 0; i < w->plan->listeners; i++) {
		const struct listener *l = w->plan->listener[i];

		ipc_begin(w->control, PROTO_LISTENER, 0);
		ipc_put_str(w->control, FIELD_ADDRESS, l->address);
		ipc_put_u64(w->control, FIELD_FLAGS, l->is_unix ? FLAG_UNIX : 0);
		send_fd(w->control, l->fd);
	}
}

void handover_own(struct worker *w)
{
	for (unsigned n = 0; n < DIRS_GIVEN; n++) {
		const char *name = NULL;
		int fd = dirs_open_for(w->plan->role, n, &name);

		if (fd < 0)
			continue;
		ipc_begin(w->control, PROTO_DATA_DIR, 0);
		ipc_put_str(w->control, FIELD_NAME, name);
		ipc_end_fd(w->control, &fd);
	}
}

void handover(struct worker *w)
{
	w->tables = dict_new(TABLES_LIMIT, NULL);
	send_hello(w);
	handover_log(w);
	handover_settings(w, false);
	ipc_begin(w->control, PROTO_COUNTERS, 0);
	ipc_put_u64(w->control, FIELD_SIZE, COUNTERS_SIZE);
	send_fd(w->control, w->unit->page_fd);
	send_listeners(w);
	handover_own(w);
	ipc_send(w->control, PROTO_START, 0);
}

static void send_peer(struct worker *to, const struct worker *peer, bool asks, int *fd)
{
	ipc_begin(to->control, PROTO_PEER, 0);
	ipc_put_u64(to->control, FIELD_ROLE, peer->plan->role);
	ipc_put_u64(to->control, FIELD_WORKER, peer->number);
	ipc_put_str(to->control, FIELD_SERVICE, peer->unit->key);
	ipc_put_u64(to->control, FIELD_FLAGS, asks);
	ipc_put_u64(to->control, FIELD_LIMIT, peer->plan->capacity.limit);
	ipc_end_fd(to->control, fd);
}

static void join(struct worker *asker, struct worker *answerer)
{
	int ends[2] = {-1, -1};

	if (asker->control == NULL || answerer->control == NULL)
		return;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
		log_error("%s and %s cannot be connected: %s", asker->unit->key,
			answerer->unit->key, err_str(ERR_SYS));
		return;
	}
	send_peer(asker, answerer, true, &ends[0]);
	send_peer(answerer, asker, false, &ends[1]);
}

/* Who drains goes on asking, but is asked nothing new. */
void handover_peers(struct worker *w)
{
	struct worker *o = NULL;

	TAILQ_FOREACH(o, &master.workers, all)
	{
		if (o == w || o->state == WORKER_STARTING)
			continue;
		if (o->state == WORKER_READY && role_connects(w->plan->role, o->plan->role))
			join(w, o);
		if (role_connects(o->plan->role, w->plan->role))
			join(o, w);
	}
}

static void answer(struct worker *w, enum proto_msg type, uint64_t id, int fd)
{
	int code = fd >= 0 ? 0 : errno;

	ipc_begin(w->control, type, id);
	ipc_put_u64(w->control, FIELD_CODE, (uint64_t)code);
	if (fd >= 0)
		ipc_end_fd(w->control, &fd);
	else
		ipc_end(w->control);
}

static void settings_taken(struct worker *w, const struct ipc_msg *msg)
{
	struct slice text = ipc_bytes(msg, FIELD_TEXT);

	if (ipc_u64(msg, FIELD_CODE) != 0)
		log_error("service %s does not take the new settings and goes on with the old "
			  "ones: %.*s",
			w->unit->key, SLICE_FMT(text));
}

void handover_msg(struct ipc *c, struct ipc_msg *msg, void *arg)
{
	struct worker *w = arg;
	char *name = NULL;

	switch (msg->type) {
	case PROTO_READY: worker_ready(w); break;
	case PROTO_LOG_LOST: handover_log(w); break;
	case PROTO_SETTINGS_TAKEN: settings_taken(w, msg); break;
	case PROTO_TABLE_OPEN:
	case PROTO_CONNECT:
		name = slice_dup(ipc_bytes(msg, FIELD_NAME));
		if (msg->type == PROTO_TABLE_OPEN)
			answer(w, PROTO_TABLE_FD, msg->id, table_open(w, name));
		else
			answer(w, PROTO_CONNECTED, msg->id, outside_connect(w, name));
		mem_free(name);
		break;
	default: break;
	}
}

/* SPDX-License-Identifier: ISC */
#include "tally/command.h"

#include <unistd.h>

#include "ipc/ipc.h"
#include "net/addr.h"
#include "tally/state.h"
#include "tally/tell.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

enum { CLIENTS = 64, ROOM = 2 << 20 };

/* One connection carries one list at a time, or other requests. */
struct client {
	struct ipc *ipc;
	uid_t uid;
	uint64_t list; /* request that goes through the bans; 0: none */
	struct ban_cursor cursor;
};

static int listener = -1;
static struct loop_watch *watch;
static bool started;
static size_t clients;

/* ---- answers ---- */

static void done(struct client *c, uint64_t id, enum proto_result result, const char *why)
{
	ipc_begin(c->ipc, PROTO_BAN_DONE, id);
	ipc_put_u64(c->ipc, FIELD_RESULT, result);
	if (why != NULL)
		ipc_put_str(c->ipc, FIELD_TEXT, why);
	(void)ipc_end(c->ipc);
}

static void row(struct client *c, uint64_t id, const struct ban *ban)
{
	char text[NET_RANGE_TEXT];

	net_range_text(&ban->client, text);
	ipc_begin(c->ipc, PROTO_BAN_ROW, id);
	ipc_put_str(c->ipc, FIELD_CLIENT, text);
	ipc_put_u64(c->ipc, FIELD_SINCE, (uint64_t)ban->since * CLOCK_SEC);
	ipc_put_u64(c->ipc, FIELD_UNTIL, (uint64_t)ban->until);
	ipc_put_str(c->ipc, FIELD_ORIGIN, ban_origin_name((enum ban_origin)ban->origin));
	ipc_put_text(c->ipc, FIELD_TEXT, slice_of(ban->reason, ban->reason_len));
	(void)ipc_end(c->ipc);
}

static void list_go_on(struct client *c)
{
	const struct ban *ban = NULL;
	int64_t now = clock_real();

	while (c->list != 0 && ipc_room(c->ipc) >= ROOM) {
		ban = bans_next(state_bans(), &c->cursor);
		if (ban == NULL) {
			bans_end(&c->cursor);
			done(c, c->list, RESULT_OK, NULL);
			c->list = 0;
		} else if (ban->until > now) {
			row(c, c->list, ban);
		}
	}
}

/* ---- what is asked ---- */

static void list(struct client *c, struct ipc_msg *msg)
{
	if (c->list != 0) {
		done(c, msg->id, RESULT_FAILED, "one list at a time");
		return;
	}
	c->list = msg->id;
	bans_begin(state_bans(), &c->cursor);
	list_go_on(c);
}

static void show(struct client *c, struct ipc_msg *msg, const struct net_range *client)
{
	const struct ban *ban = NULL;
	int64_t now = clock_real();
	int bits = 128;
	bool any = false;

	while ((ban = bans_find(state_bans(), client, now, &bits)) != NULL) {
		row(c, msg->id, ban);
		any = true;
	}
	done(c, msg->id, any ? RESULT_OK : RESULT_NOT_FOUND, NULL);
}

static void add(struct client *c, struct ipc_msg *msg, const struct net_range *client)
{
	int64_t now = clock_real(), seconds = (int64_t)(ipc_u64(msg, FIELD_SECONDS) & UINT32_MAX);
	const struct ban *ban = state_ban(
		client, BAN_OPERATOR, now, now + seconds * CLOCK_SEC, ipc_bytes(msg, FIELD_TEXT));

	if (ban != NULL)
		tell_ban(ban);
	done(c, msg->id, ban != NULL ? RESULT_OK : RESULT_FAILED,
		ban != NULL ? NULL : "smtpd_ban_limit is 0");
}

static void remove_ban(struct client *c, struct ipc_msg *msg, const struct net_range *client)
{
	bool known = state_unban(client);

	tell_store();
	done(c, msg->id, known ? RESULT_OK : RESULT_NOT_FOUND, NULL);
}

static const struct {
	const char *name;
	void (*run)(struct client *c, struct ipc_msg *msg, const struct net_range *client);
} commands[] = {{"show", show}, {"add", add}, {"remove", remove_ban}};

static void on_msg(struct ipc *ipc, struct ipc_msg *msg, void *arg)
{
	struct client *c = arg;
	struct slice name = ipc_bytes(msg, FIELD_NAME);
	struct net_range client;

	(void)ipc;
	if (msg->type != PROTO_BAN_DO)
		return;
	if (c->uid != 0 && c->uid != geteuid()) {
		done(c, msg->id, RESULT_FAILED, "only root may do this");
		return;
	}
	if (slice_eq_str(name, "list")) {
		list(c, msg);
		return;
	}
	if (net_range_parse(ipc_bytes(msg, FIELD_CLIENT), &client) != 0) {
		done(c, msg->id, RESULT_FAILED, "no address or network");
		return;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (slice_eq_str(name, commands[i].name)) {
			commands[i].run(c, msg, &client);
			return;
		}
	done(c, msg->id, RESULT_FAILED, "no such command");
}

/* ---- connections ---- */

static void on_end(struct ipc *ipc, int err, void *arg)
{
	struct client *c = arg;

	(void)ipc;
	(void)err;
	if (c->list != 0)
		bans_end(&c->cursor);
	ipc_free(&c->ipc);
	mem_free(c);
	clients--;
}

static void on_room(struct ipc *ipc, void *arg)
{
	(void)ipc;
	list_go_on(arg);
}

static const struct ipc_events events = {on_msg, on_end, on_room};

static void ready(int what, void *arg)
{
	struct net_addr peer;
	struct client *c = NULL;
	uid_t uid = 0;
	int fd = -1;

	(void)what;
	(void)arg;
	if (net_accept(listener, &fd, &peer) != 0)
		return;
	if (clients >= CLIENTS || net_peer_uid(fd, &uid) != 0) {
		fd_close(&fd);
		return;
	}
	c = mem_alloc(sizeof(*c));
	c->uid = uid;
	c->ipc = ipc_new(fd, ROLE_TALLY, ROLE_TOOL, &events, c, 0);
	clients++;
}

static void watch_listener(void)
{
	watch = loop_watch_new(listener, ready, NULL);
	loop_watch_set(watch, LOOP_READ);
}

void command_listener(int fd, const char *address, bool is_unix)
{
	(void)address;
	if (!is_unix) {
		fd_close(&fd);
		return;
	}
	loop_watch_free(&watch);
	fd_close(&listener);
	listener = fd;
	(void)fd_set_nonblock(listener, true);
	if (started)
		watch_listener();
}

void command_start(void)
{
	started = true;
	if (listener >= 0)
		watch_listener();
}

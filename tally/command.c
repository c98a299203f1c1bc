/* SPDX-License-Identifier: ISC */
#include "tally/command.h"

#include "server/desk.h"
#include "tally/state.h"
#include "tally/tell.h"
#include "util/err.h"

enum { ROOM = 2 << 20 };

/* One connection carries one list at a time, or other requests. */
struct client {
	struct desk_client desk;
	uint64_t list; /* request that goes through the bans; 0: none */
	struct ban_cursor cursor;
};

/* ---- answers ---- */

static void done(struct client *c, uint64_t id, enum proto_result result, const char *why)
{
	ipc_begin(c->desk.ipc, PROTO_BAN_DONE, id);
	ipc_put_u64(c->desk.ipc, FIELD_RESULT, result);
	if (why != NULL)
		ipc_put_str(c->desk.ipc, FIELD_TEXT, why);
	(void)ipc_end(c->desk.ipc);
}

static void row(struct client *c, uint64_t id, const struct ban *ban)
{
	char text[NET_RANGE_TEXT];

	net_range_text(&ban->client, text);
	ipc_begin(c->desk.ipc, PROTO_BAN_ROW, id);
	ipc_put_str(c->desk.ipc, FIELD_CLIENT, text);
	ipc_put_u64(c->desk.ipc, FIELD_SINCE, (uint64_t)ban->since * CLOCK_SEC);
	ipc_put_u64(c->desk.ipc, FIELD_UNTIL, (uint64_t)ban->until);
	ipc_put_str(c->desk.ipc, FIELD_ORIGIN, ban_origin_name((enum ban_origin)ban->origin));
	ipc_put_text(c->desk.ipc, FIELD_TEXT, slice_of(ban->reason, ban->reason_len));
	(void)ipc_end(c->desk.ipc);
}

static void list_go_on(struct client *c)
{
	const struct ban *ban = NULL;
	int64_t now = clock_real();

	while (c->list != 0 && ipc_room(c->desk.ipc) >= ROOM) {
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

static void on_msg(struct desk_client *d, struct ipc_msg *msg)
{
	struct client *c = (struct client *)d;
	struct slice name = ipc_bytes(msg, FIELD_NAME);
	struct net_range client;

	if (msg->type != PROTO_BAN_DO)
		return;
	if (!desk_is_operator(d)) {
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

static void on_room(struct desk_client *c)
{
	list_go_on((struct client *)c);
}

static void on_gone(struct desk_client *d)
{
	struct client *c = (struct client *)d;

	if (c->list != 0)
		bans_end(&c->cursor);
}

void command_listener(int fd, const char *address, bool is_unix)
{
	static const struct desk_spec spec = {.role = ROLE_TALLY,
		.size = sizeof(struct client),
		.msg = on_msg,
		.room = on_room,
		.gone = on_gone};

	(void)address;
	desk_listener(&spec, fd, is_unix);
}

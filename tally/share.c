/* SPDX-License-Identifier: ISC */
#include "tally/share.h"

#include "policy/known_bans.h"
#include "tally/state.h"
#include "util/mem.h"

enum { PIECE = 2000 * KNOWN_BAN_ENTRY, ROOM = 2 << 20, FIRST = 1, LAST = 2 };

struct sharer {
	LIST_ENTRY(sharer) link;
	struct server_peer *peer;
	struct ban_cursor cursor;
	bool begun, done;
};

static LIST_HEAD(, sharer) sharers = LIST_HEAD_INITIALIZER(sharers);

static void send_entries(struct server_peer *peer, struct slice entries, uint64_t flags)
{
	ipc_begin(peer->ipc, PROTO_TALLY_BANS, 0);
	ipc_put_bytes(peer->ipc, FIELD_VALUE, entries);
	ipc_put_u64(peer->ipc, FIELD_FLAGS, flags);
	(void)ipc_end(peer->ipc);
}

static void send_piece(struct sharer *s)
{
	struct buf piece = BUF_INIT(PIECE);
	uint64_t flags = s->begun ? 0 : FIRST;
	const struct ban *ban = NULL;

	s->begun = true;
	while (piece.len + KNOWN_BAN_ENTRY <= PIECE &&
		(ban = bans_next(state_bans(), &s->cursor)) != NULL)
		known_bans_put(&piece, &ban->client, ban->until);
	if (s->cursor.next == NULL) {
		flags |= LAST;
		s->done = true;
		bans_end(&s->cursor);
	}
	send_entries(s->peer, buf_slice(&piece), flags);
	buf_clear(&piece);
}

void share_go_on(struct sharer *s)
{
	while (!s->done && ipc_room(s->peer->ipc) >= ROOM)
		send_piece(s);
}

struct sharer *share_new(struct server_peer *peer)
{
	struct sharer *s = mem_alloc(sizeof(*s));

	s->peer = peer;
	LIST_INSERT_HEAD(&sharers, s, link);
	bans_begin(state_bans(), &s->cursor);
	share_go_on(s);
	return s;
}

void share_free(struct sharer **sp)
{
	struct sharer *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	if (!s->done)
		bans_end(&s->cursor);
	LIST_REMOVE(s, link);
	mem_free(s);
}

void share_ban(const struct net_range *client, int64_t until)
{
	struct buf entry = BUF_INIT(KNOWN_BAN_ENTRY);
	struct sharer *s;

	known_bans_put(&entry, client, until);
	LIST_FOREACH(s, &sharers, link)
	send_entries(s->peer, buf_slice(&entry), 0);
	buf_clear(&entry);
}

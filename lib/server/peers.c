/* SPDX-License-Identifier: ISC */
#include "server/server_priv.h"

#include "util/log.h"
#include "util/mem.h"

static void peer_free(struct server_peer *peer)
{
	TAILQ_REMOVE(&server_self.peers[peer->role], peer, next);
	if (peer->role == ROLE_NSS)
		server_nss_gone(peer);
	else if (server_self.spec->peer_gone != NULL)
		server_self.spec->peer_gone(peer);
	ipc_free(&peer->ipc);
	mem_free((void *)(uintptr_t)peer->service);
	mem_free(peer);
}

static void peer_msg(struct ipc *c, struct ipc_msg *msg, void *arg)
{
	if (ipc_peer(c) == ROLE_NSS)
		server_nss_msg(msg);
	else
		server_self.spec->peer_msg(arg, msg);
}

static void peer_end(struct ipc *c, int err, void *arg)
{
	(void)c;
	(void)err;
	peer_free(arg);
}

static void peer_room(struct ipc *c, void *arg)
{
	if (server_self.spec->peer_room != NULL && ipc_peer(c) != ROLE_NSS)
		server_self.spec->peer_room(arg);
}

static const struct ipc_events peer_events = {peer_msg, peer_end, peer_room};

static void admit_peer(struct server_peer *peer)
{
	peer->ipc = ipc_new(peer->fd, server_self.spec->role, peer->role, &peer_events, peer, 0);
	TAILQ_INSERT_TAIL(&server_self.peers[peer->role], peer, next);
	if (peer->role == ROLE_NSS)
		server_nss_new(peer);
	else if (server_self.spec->peer_new != NULL)
		server_self.spec->peer_new(peer);
}

/* Peers that came before the program was ready for them. */
void server_admit_early_peers(void)
{
	struct server_peer *peer;

	while ((peer = TAILQ_FIRST(&server_self.early)) != NULL) {
		TAILQ_REMOVE(&server_self.early, peer, next);
		admit_peer(peer);
	}
}

void server_take_peer(struct ipc_msg *m)
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
	if (server_self.ready)
		admit_peer(peer);
	else
		TAILQ_INSERT_TAIL(&server_self.early, peer, next);
}

void server_peer_close(struct server_peer *peer)
{
	peer_free(peer);
}

struct server_peer_list *server_peers(enum role role)
{
	return &server_self.peers[role];
}

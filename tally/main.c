/* SPDX-License-Identifier: ISC */
#include "server/server.h"
#include "tally/count.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"

/* tally: counts for all workers of smtpd, see tally(8). */

enum { CLIENTS_MAX = 1000000 };

static struct count *count;

static void start(void)
{
	count = count_new(CLIENTS_MAX);
}

static void peer_new(struct server_peer *peer)
{
	peer->arg = count_owner_new(count);
}

static void peer_gone(struct server_peer *peer)
{
	struct count_owner *o = peer->arg;
	count_owner_free(&o);
}

static void peer_msg(struct server_peer *peer, struct ipc_msg *msg)
{
	struct slice service = ipc_bytes(msg, FIELD_SERVICE);
	struct slice client = ipc_bytes(msg, FIELD_CLIENT_ADDR);
	if (msg->type == PROTO_TALLY_CONNECT) {
		uint64_t n = count_enter(peer->arg, service, client);
		ipc_begin(peer->ipc, PROTO_TALLY_COUNT, msg->id);
		ipc_put_u64(peer->ipc, FIELD_COUNT, n);
		(void)ipc_end(peer->ipc);
	} else if (!count_leave(peer->arg, service, client)) {
		log_warning("smtpd worker %llu ended a session of %s that it had not begun",
			(unsigned long long)peer->worker, log_q(client));
	}
}

static int reload(struct conf **c, struct buf *why)
{
	conf_install(c);
	return 0;
}

/* Counts of living connections need no disk. */
static void data_dir(const char *name, int fd)
{
	fd_close(&fd);
}

int main(int argc, char **argv)
{
	static const struct server_spec spec = {
		.role = ROLE_TALLY,
		.program = PROG_TALLY,
		.start = start,
		.data_dir = data_dir,
		.peer_new = peer_new,
		.peer_msg = peer_msg,
		.peer_gone = peer_gone,
		.reload = reload,
	};
	return server_main(argc, argv, &spec);
}

/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "server/server.h"
#include "util/err.h"
#include "util/log.h"
#include "vault/crew.h"
#include "vault/key.h"
#include "vault/login.h"
#include "vault/tables.h"

/* vault: holds the secrets, see vault(8). */

static bool draining;

/*
 * Memory that is never written to a swap device. Where the limit cannot be raised, later memory is
 * not locked: running into the limit would end the program.
 */
static void lock_memory(void)
{
	struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
	int later = setrlimit(RLIMIT_MEMLOCK, &all) == 0 ? MCL_FUTURE : 0;

	if (mlockall(MCL_CURRENT | later) != 0 || later == 0)
		log_info("not all memory can be locked: %s; secrets may be swapped out",
			err_str(ERR_SYS));
}

static void init(void)
{
	lock_memory();
	key_open();
	tables_open();
}

static void peer_new(struct server_peer *peer)
{
	ipc_set_secret(peer->ipc);
}

static void leave_when_idle(void)
{
	if (draining && login_count() == 0)
		server_done();
}

static void peer_msg(struct server_peer *peer, struct ipc_msg *msg)
{
	if (msg->type == PROTO_AUTH_BEGIN)
		login_begin(peer->ipc, msg, peer->service);
	else
		login_msg(peer->ipc, msg);
	leave_when_idle();
}

static void peer_gone(struct server_peer *peer)
{
	login_forget(peer->ipc);
	leave_when_idle();
}

/* Exchanges under way are brought to their end. */
static void drain(bool now)
{
	draining = true;
	if (now || login_count() == 0)
		server_done();
}

int main(int argc, char **argv)
{
	static const struct server_spec spec = {
		.role = ROLE_VAULT,
		.program = PROG_VAULT,
		.init = init,
		.start = crew_start,
		.peer_new = peer_new,
		.peer_msg = peer_msg,
		.peer_gone = peer_gone,
		.drain = drain,
	};
	return server_main(argc, argv, &spec);
}

/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "server/server.h"
#include "util/err.h"
#include "util/log.h"
#include "vault/arena.h"
#include "vault/crew.h"
#include "vault/key.h"
#include "vault/login.h"
#include "vault/service.h"
#include "vault/sign.h"
#include "vault/ticket.h"

/* vault: holds the secrets, see vault(8). */

static bool draining;

/*
 * Memory that is never written to a swap device. Where the limit cannot be raised, later memory is
 * not locked: running into the limit would end the program.
 */
static void lock_memory(void)
{
	struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
	int later = setrlimit(RLIMIT_MEMLOCK, &all) == 0 ? MCL_FUTURE | MCL_ONFAULT : 0;

	if (mlockall(MCL_CURRENT | MCL_ONFAULT | later) != 0 || later == 0)
		log_info("not all memory can be locked: %s; secrets may be swapped out",
			err_str(ERR_SYS));
}

static void init(void)
{
	if (!arena_open())
		log_info("the kernel has no secret memory: keys are locked in memory, but root can "
			 "read them there");
	lock_memory();
	key_open();
	service_open();
}

/* What must not be in the crew's memory: the crew is there already. */
static void start(void)
{
	chain_start(sign_changed);
	ticket_start();
}

static void peer_new(struct server_peer *peer)
{
	ipc_set_secret(peer->ipc);
	sign_peer_new(peer);
	ticket_peer_new(peer);
}

static bool is_idle(void)
{
	return login_count() == 0 && relay_count() == 0;
}

static void leave_when_idle(void)
{
	if (draining && is_idle())
		server_done();
}

static void peer_msg(struct server_peer *peer, struct ipc_msg *msg)
{
	const struct service *v = NULL;

	switch (msg->type) {
	case PROTO_AUTH_BEGIN: login_begin(peer->ipc, msg, peer->service); break;
	case PROTO_AUTH_RESPONSE:
	case PROTO_AUTH_END: login_msg(peer->ipc, msg); break;
	case PROTO_RELAY_AUTH:
	case PROTO_RELAY_CHALLENGE:
	case PROTO_RELAY_END:
		v = service_of(peer->service);
		relay_msg(peer, msg, v != NULL ? v->relay : NULL);
		break;
	default: sign_msg(peer, msg); break;
	}
	leave_when_idle();
}

static void peer_gone(struct server_peer *peer)
{
	login_forget(peer->ipc);
	relay_peer_gone(peer);
	sign_peer_gone(peer);
	leave_when_idle();
}

/* Exchanges under way are brought to their end. */
static void drain(bool now)
{
	draining = true;
	if (now || is_idle())
		server_done();
}

int main(int argc, char **argv)
{
	arena_use();
	static const struct server_spec spec = {
		.role = ROLE_VAULT,
		.program = PROG_VAULT,
		.init = init,
		.split = crew_start,
		.start = start,
		.file = chain_file,
		.peer_new = peer_new,
		.peer_msg = peer_msg,
		.peer_gone = peer_gone,
		.drain = drain,
	};
	return server_main(argc, argv, &spec);
}

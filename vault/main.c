/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "map/map.h"
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
#include "vault/token.h"

/* vault: holds the secrets, see vault(8). */

enum { LEAVE_MSEC = 1000, WHY = 1024 };

static bool leaving;
static struct loop_timer leave;
static struct loop_task look_around;

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

static void close_idle(enum role role)
{
	struct server_peer *peer = NULL, *next = NULL;

	TAILQ_FOREACH_SAFE(peer, server_peers(role), next, next)
	if (!login_is_of(peer->ipc) && !relay_is_of(peer->ipc))
		server_peer_close(peer);
}

/*
 * Whoever has no exchange here is sent away, so that nothing new is begun: what it has asked in the
 * meantime it asks another.
 */
static void leave_when_idle(void *arg)
{
	(void)arg;
	if (!leaving)
		return;
	close_idle(ROLE_SMTPD);
	close_idle(ROLE_CLIENT);
	if (login_count() == 0 && relay_count() == 0)
		server_done();
}

static void begin_to_leave(void *arg)
{
	leaving = true;
	leave_when_idle(arg);
}

static void init(void)
{
	if (!arena_open())
		log_info("the kernel has no secret memory: keys are locked in memory, but root can "
			 "read them there");
	map_set_memory(arena_alloc, arena_resize, arena_free);
	lock_memory();
	key_open();
	service_open();
}

/* What must not be in the crew's memory: the crew is there already. */
static void start(void)
{
	loop_timer_init(&leave, begin_to_leave, NULL);
	loop_task_init(&look_around, leave_when_idle, NULL);
	chain_start(sign_changed);
	ticket_start();
}

static void peer_new(struct server_peer *peer)
{
	ipc_set_secret(peer->ipc);
	sign_peer_new(peer);
	ticket_peer_new(peer);
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
	/* Not here: peers may be freed. */
	if (leaving)
		loop_soon(&look_around);
}

static void peer_gone(struct server_peer *peer)
{
	login_forget(peer->ipc);
	relay_peer_gone(peer);
	sign_peer_gone(peer);
	if (leaving)
		loop_soon(&look_around);
}

/*
 * Exchanges under way are brought to their end. Peers know of this one's successors in a moment, if
 * they do not already.
 */
static void drain(bool now)
{
	if (now)
		server_done();
	else
		loop_timer_set(&leave, loop_now() + LEAVE_MSEC * CLOCK_MSEC);
}

static void file(const char *name, int fd)
{
	if (!token_file(name, fd))
		chain_file(name, fd);
}

/* vault --check DIRECTORY GROUP…: what is wrong with each group of chains, a line for each. */
static int check_chains(int argc, char **argv)
{
	struct buf why = BUF_INIT(WHY);
	int status = 0;

	/* Names that do not begin there do not need it. */
	if (argc < 3 || (chdir(argv[2]) != 0 && errno != ENOENT))
		return 2;
	for (int i = 3; i < argc; i++) {
		buf_reset(&why);
		if (*argv[i] != '{' || chain_check(slice_trim(slice_str(argv[i])), &why) != 0)
			status = 1;
		(void)printf("%s\n", buf_str(&why));
	}
	buf_clear(&why);
	return status;
}

int main(int argc, char **argv)
{
	arena_use();
	if (argc > 1 && strcmp(argv[1], "--check") == 0)
		return check_chains(argc, argv);
	static const struct server_spec spec = {
		.role = ROLE_VAULT,
		.program = PROG_VAULT,
		.init = init,
		.split = crew_start,
		.start = start,
		.file = file,
		.peer_new = peer_new,
		.peer_msg = peer_msg,
		.peer_gone = peer_gone,
		.drain = drain,
	};
	return server_main(argc, argv, &spec);
}

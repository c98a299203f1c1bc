/* SPDX-License-Identifier: ISC */
#include "dns/client.h"
#include "server/server.h"
#include "smtp-client/client.h"
#include "smtp-client/delivery.h"
#include "smtp-client/self.h"
#include "smtp-client/session.h"

/* smtp-client: delivers by SMTP and LMTP, see smtp-client(8). */

/* For jobs that were sent before qmgr knew that this worker leaves. */
enum { LEAVE_TIME = 100 * 1000 };

static unsigned session_limit(void)
{
	uint64_t limit = server_limit();
	return (unsigned)(limit > 0 ? limit : (uint64_t)conf_int(P_session_limit));
}

static void init(void)
{
	self_init();
}

static void start(void)
{
	dns_client_init((size_t)session_limit() * 2);
	job_init(session_limit());
	session_init(session_limit());
}

static void peer_new(struct server_peer *peer)
{
	if (peer->role == ROLE_RESOLVER) {
		dns_client_add(peer->ipc);
	} else if (peer->role == ROLE_QMGR) {
		job_qmgr_new(peer->ipc);
	}
}

static void peer_msg(struct server_peer *peer, struct ipc_msg *msg)
{
	if (peer->role == ROLE_RESOLVER) {
		dns_client_msg(peer->ipc, msg);
	} else if (peer->role == ROLE_QMGR) {
		job_qmgr_msg(peer->ipc, msg);
	}
}

static void peer_gone(struct server_peer *peer)
{
	if (peer->role == ROLE_RESOLVER) {
		dns_client_remove(peer->ipc);
	} else if (peer->role == ROLE_QMGR) {
		job_qmgr_gone(peer->ipc);
	}
}

static void leave(void *arg)
{
	if (job_working() == 0) {
		(void)job_flush_dots();
		server_done();
	}
}

void client_idle(void)
{
	static struct loop_timer timer;
	if (timer.fire == NULL) {
		loop_timer_init(&timer, leave, NULL);
	}
	loop_timer_set(&timer, loop_now() + LEAVE_TIME);
}

/* What is at work goes on; the last job's end ends the program. */
static void drain(bool now)
{
	session_quit_idle();
	job_say_leaving();
	if (job_working() == 0) {
		client_idle();
	}
}

static void stop(void)
{
	session_quit_idle();
	job_withdraw_all();
	if (job_working() == 0) {
		leave(NULL);
	}
}

int main(int argc, char **argv)
{
	static const struct server_spec spec = {
		.role = ROLE_CLIENT,
		.program = PROG_CLIENT,
		.init = init,
		.start = start,
		.peer_new = peer_new,
		.peer_msg = peer_msg,
		.peer_gone = peer_gone,
		.drain = drain,
		.stop = stop,
	};
	return server_main(argc, argv, &spec);
}

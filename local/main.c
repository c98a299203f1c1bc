/* SPDX-License-Identifier: ISC */
#include "local/forward.h"
#include "local/work.h"
#include "map/nss.h"
#include "util/log.h"

/* local and virtual: delivery to mailboxes of this machine, see local(8) and virtual(8). */

static int ask_nss(const char *spec, struct slice key, struct later *l, struct buf *value)
{
	(void)l;
	return map_nss_find(slice_from(slice_str(spec), strlen("unix:")), key, value);
}

static void init(void)
{
	struct buf why = BUF_INIT(4096);
	map_set_asker(ask_nss);
	if (plan_open(&why) != 0)
		log_fatal("%s", buf_str(&why));
	buf_clear(&why);
}

static void start(void)
{
	work_init(server_limit() > 0 ? (unsigned)server_limit() : 1);
}

static void peer_new(struct server_peer *peer)
{
	if (peer->role == ROLE_QMGR)
		job_qmgr_new(peer->ipc);
}

static void peer_msg(struct server_peer *peer, struct ipc_msg *msg)
{
	if (peer->role == ROLE_QMGR)
		job_qmgr_msg(peer->ipc, msg);
	else if (peer->role == ROLE_CLEANUP)
		forward_msg(peer, msg);
}

static void peer_gone(struct server_peer *peer)
{
	if (peer->role == ROLE_QMGR)
		job_qmgr_gone(peer->ipc);
	else if (peer->role == ROLE_CLEANUP)
		forward_gone(peer);
}

static void peer_room(struct server_peer *peer)
{
	if (peer->role == ROLE_CLEANUP)
		forward_room(peer);
}

/* What is at work goes on; the last job's end ends the program. */
static void drain(bool now)
{
	if (job_working() == 0)
		server_done();
}

static void stop(void)
{
	job_withdraw_all();
	if (job_working() == 0)
		server_done();
}

int main(int argc, char **argv)
{
	static const struct server_spec spec = {
		.role = ROLE_LOCAL,
		.program = PROG_LOCAL,
		.keep_root = true,
		.init = init,
		.start = start,
		.peer_new = peer_new,
		.peer_msg = peer_msg,
		.peer_gone = peer_gone,
		.peer_room = peer_room,
		.drain = drain,
		.stop = stop,
	};
	return server_main(argc, argv, &spec);
}

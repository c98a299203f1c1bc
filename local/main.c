/* SPDX-License-Identifier: ISC */
#include "conf/conf.h"
#include "local/become.h"
#include "local/forward.h"
#include "local/spawner.h"
#include "local/work.h"
#include "priv/priv.h"
#include "util/log.h"

/* local and virtual: delivery to mailboxes of this machine, see local(8) and virtual(8). */

static int spawner;
static struct priv priv;

/* As root: what is to be known of users and tables, and the spawner, which stays root. */
static void init(void)
{
	struct buf why = BUF_INIT(4096);
	struct identity nobody;
	const char *user = conf_str(P_default_privs);
	if (plan_open(&why) != 0)
		log_fatal("%s", buf_str(&why));
	if (become_find(user, &nobody) != 0)
		log_fatal("default_privs: user \"%s\" is unknown", user);
	priv = (struct priv){.uid = nobody.uid,
		.gid = nobody.gid,
		.root = "",
		.development = server_is_development()};
	spawner = spawner_start();
	buf_clear(&why);
}

static void start(void)
{
	priv_drop(&priv);
	work_init(spawner, server_limit() > 0 ? (unsigned)server_limit() : 1);
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
	(void)now;
	job_leave();
}

static void stop(void)
{
	job_withdraw_all();
}

int main(int argc, char **argv)
{
	static const struct server_spec spec = {
		.role = ROLE_LOCAL,
		.program = PROG_LOCAL,
		.keep_root = true, /* for init; start gives it up, the spawner keeps it */
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

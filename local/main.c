/* SPDX-License-Identifier: ISC */
#include "conf/conf.h"
#include "local/become.h"
#include "local/front.h"
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
		.root = server_root(),
		.development = server_is_development(),
		.sandbox = conf_bool(P_sandbox) ? SANDBOX_LOCAL : SANDBOX_NONE,
		.base = ""};
	spawner = spawner_start();
	buf_clear(&why);
}

static void give_up(void)
{
	priv_drop(&priv);
}

static void start(void)
{
	work_init(spawner, server_limit() > 0 ? (unsigned)server_limit() : 1);
}

int main(int argc, char **argv)
{
	static const struct server_spec spec = {
		.role = ROLE_LOCAL,
		.program = PROG_LOCAL,
		.keep_root = true, /* for init; split gives it up, the spawner keeps it */
		.init = init,
		.split = give_up,
		.start = start,
		.log_new = work_log_new,
		.peer_new = front_peer_new,
		.peer_msg = front_peer_msg,
		.peer_gone = front_peer_gone,
		.peer_room = front_peer_room,
		.drain = front_drain,
		.stop = front_stop,
	};
	return server_main(argc, argv, &spec);
}

/* SPDX-License-Identifier: ISC */
#include <sys/stat.h>

#include "cleanup/author.h"
#include "cleanup/cleanup.h"
#include "cleanup/commit.h"
#include "cleanup/content.h"
#include "cleanup/link.h"
#include "cleanup/notice.h"
#include "cleanup/pickup.h"
#include "cleanup/resolve.h"
#include "cleanup/space.h"
#include "cleanup/transcript.h"
#include "cleanup/trace.h"
#include "conf/conf.h"
#include "map/map.h"
#include "server/server.h"
#include "util/err.h"
#include "util/log.h"

enum {
	SWEEP_AGE = 60,   /* seconds since anything was written to an unfinished body */
	IDLE_WAIT = 20,   /* milliseconds between two looks while the program ends */
	LEAVE_WAIT = 1000 /* without a new message, when authors were told to go elsewhere */
};

struct cleanup cleanup;
static struct loop_timer end_timer;
static int64_t quiet; /* what counts as idle: microseconds without a new message */

static void init(void)
{
	struct buf why = BUF_INIT(1024);
	const char *queue = conf_str(P_queue_directory);
	int err;

	/* Each line of a header goes through these tables. */
	map_set_machine_code(true);
	err = route_open(
		ROUTE_FOR_CLASS | ROUTE_FOR_ROUTES | ROUTE_FOR_PLANS, &why, &cleanup.route);

	if (err == 0)
		err = route_open(ROUTE_FOR_CLASS | ROUTE_FOR_ROUTES | ROUTE_FOR_PROBES, &why,
			&cleanup.probe_route);
	if (err != 0)
		log_fatal("%s", buf_str(&why));
	buf_clear(&why);
	/* Behind the change of root this is /. */
	if (queue_root_open(queue, &cleanup.root) != 0)
		log_fatal("queue_directory %s: %s", queue, err_str(ERR_SYS));
	content_open();
	notice_open();
	transcript_open();
	pickup_init();
	cleanup.buffer_limit = (size_t)conf_int(P_cleanup_buffer_limit);
	cleanup.journal_limit = (size_t)conf_int(P_queue_journal_message_limit);
	cleanup.header_limit = (size_t)conf_int(P_header_size_limit);
	cleanup.hop_limit = conf_int(P_hopcount_limit);
	cleanup.outgoing_limit = (uint64_t)conf_int(P_outgoing_message_size_limit);
	cleanup.long_ids = conf_bool(P_enable_long_queue_ids);
	cleanup.keep_original = conf_bool(P_enable_original_recipient);
	cleanup.tls_required = conf_bool(P_tls_required_enable);
}

static void look_for_end(void *arg)
{
	(void)arg;
	if (author_is_idle(loop_now() - quiet) && notice_is_idle() && commit_is_idle() &&
		pickup_is_idle())
		server_done();
	else
		loop_timer_set(&end_timer, loop_now() + IDLE_WAIT * CLOCK_MSEC);
}

/* What was coming in when a worker was killed is nobody's mail. */
static void sweep(void)
{
	int n = queue_body_sweep(&cleanup.root, clock_real() - SWEEP_AGE * CLOCK_SEC);

	if (n < 0)
		log_warning("unfinished bodies: %s", err_str(n));
	else if (n > 0)
		log_info("removed %d unfinished bodies of large messages", n);
}

static void start(void)
{
	struct queue_journal_setup setup = {
		.root = cleanup.root, .limit = (uint64_t)conf_int(P_queue_journal_limit)};
	int err;

	/* Rights are gone. */
	map_set_machine_code(false);
	/* qmgr, another user of the same group, writes to segments too. */
	umask(S_IRWXO);
	err = queue_ids_open(&cleanup.root, clock_real(), &cleanup.ids);

	if (err != 0)
		log_fatal("queue ids: %s", err_str(err));
	err = queue_journal_open(&setup, &cleanup.journal);
	if (err != 0)
		log_fatal("journal: %s", err_str(err));
	loop_timer_init(&end_timer, look_for_end, NULL);
	sweep();
	space_open();
	commit_open();
	pickup_start();
}

static void peer_new(struct server_peer *peer)
{
	if (peer->role == ROLE_QMGR)
		link_peer_new(peer);
	else if (!peer->asks)
		author_peer_new(peer);
}

static void peer_gone(struct server_peer *peer)
{
	if (peer->role == ROLE_QMGR)
		link_peer_gone(peer);
	else if (!peer->asks)
		author_peer_gone(peer);
}

static void peer_room(struct server_peer *peer)
{
	if (peer->role == ROLE_QMGR)
		link_peer_room(peer);
}

static void peer_msg(struct server_peer *peer, struct ipc_msg *msg)
{
	if (peer->role == ROLE_QMGR)
		link_peer_msg(peer, msg);
	else if (!peer->asks)
		author_peer_msg(peer, msg);
}

/*
 * Replaced by a new generation: authors begin no more messages here, and what they had on its way
 * to us when they heard of it is finished too.
 */
static void drain(bool now)
{
	(void)now;
	quiet = LEAVE_WAIT * CLOCK_MSEC;
	pickup_stop();
	space_leave();
	loop_timer_set(&end_timer, loop_now() + quiet);
}

static void stop(void)
{
	quiet = 0;
	pickup_stop();
	loop_timer_set(&end_timer, loop_now());
}

static const struct server_spec spec = {
	.role = ROLE_CLEANUP,
	.program = PROG_CLEANUP,
	.init = init,
	.start = start,
	.peer_new = peer_new,
	.peer_msg = peer_msg,
	.peer_gone = peer_gone,
	.peer_room = peer_room,
	.drain = drain,
	.stop = stop,
};

int main(int argc, char **argv)
{
	int status = server_main(argc, argv, &spec);

	queue_journal_close(&cleanup.journal);
	queue_ids_close(&cleanup.ids);
	return status;
}

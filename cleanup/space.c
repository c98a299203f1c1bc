/* SPDX-License-Identifier: ISC */
#include "cleanup/space.h"

#include "cleanup/cleanup.h"
#include "conf/conf.h"
#include "util/log.h"

enum { FLAG_FULL = 1, FLAG_LEAVING = 2 };

static struct loop_timer again;
static struct queue_space space = {UINT64_MAX, UINT64_MAX};
static int64_t asked; /* when the file system was */
static bool is_full, qmgr_is_full, is_leaving;

void space_tell(struct server_peer *author)
{
	ipc_begin(author->ipc, PROTO_QUEUE_STATE, 0);
	ipc_put_u64(author->ipc, FIELD_FLAGS,
		(is_full ? FLAG_FULL : 0) | (is_leaving ? FLAG_LEAVING : 0));
	ipc_put_u64(author->ipc, FIELD_SIZE, space.free_bytes);
	(void)ipc_end(author->ipc);
}

static void tell_all(void)
{
	struct server_peer *peer = NULL;

	TAILQ_FOREACH(peer, server_peers(ROLE_SMTPD), next)
	space_tell(peer);
	TAILQ_FOREACH(peer, server_peers(ROLE_LOCAL), next)
	space_tell(peer);
}

static void ask(void)
{
	if (asked != 0 && loop_now() - asked < CLOCK_SEC)
		return;
	asked = loop_now();
	if (cleanup.root.io->space(cleanup.root.io, cleanup.root.fd, &space) != 0)
		space = (struct queue_space){UINT64_MAX, UINT64_MAX};
}

void space_check(void)
{
	uint64_t wanted = (uint64_t)conf_int(P_queue_minfree);
	bool now;

	ask();
	now = qmgr_is_full || !queue_journal_has_room(cleanup.journal) || space.free_bytes < wanted;
	if (now && again.due == CLOCK_NEVER)
		loop_timer_set(&again, loop_now() + CLOCK_SEC);
	if (now == is_full)
		return;
	is_full = now;
	if (now)
		log_warning("no space for more mail: %s",
			qmgr_is_full                ? "the queue manager's log is full"
			: space.free_bytes < wanted ? "queue_minfree is reached"
						    : "the journal is full");
	else
		log_info("there is space for mail again");
	tell_all();
}

static void look_again(void *arg)
{
	(void)arg;
	space_check();
}

void space_leave(void)
{
	is_leaving = true;
	tell_all();
}

bool space_is_full(void)
{
	return is_full;
}

void space_qmgr(bool full)
{
	qmgr_is_full = full;
	space_check();
}

void space_open(void)
{
	loop_timer_init(&again, look_again, NULL);
}

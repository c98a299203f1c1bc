/* SPDX-License-Identifier: ISC */
#include "local/front.h"

#include "local/forward.h"

void front_peer_new(struct server_peer *peer)
{
	if (peer->role == ROLE_QMGR)
		job_qmgr_new(peer->ipc);
	else if (peer->role == ROLE_CLEANUP)
		forward_peer_new(peer);
}

void front_peer_msg(struct server_peer *peer, struct ipc_msg *msg)
{
	if (peer->role == ROLE_QMGR)
		job_qmgr_msg(peer->ipc, msg);
	else if (peer->role == ROLE_CLEANUP)
		forward_msg(peer, msg);
}

void front_peer_gone(struct server_peer *peer)
{
	if (peer->role == ROLE_QMGR)
		job_qmgr_gone(peer->ipc);
	else if (peer->role == ROLE_CLEANUP)
		forward_gone(peer);
}

void front_peer_room(struct server_peer *peer)
{
	if (peer->role == ROLE_CLEANUP)
		forward_room(peer);
}

/* What is at work goes on; the last job's end ends the program. */
void front_drain(bool now)
{
	(void)now;
	job_leave();
}

void front_stop(void)
{
	job_withdraw_all();
}

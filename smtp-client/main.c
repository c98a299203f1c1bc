/* SPDX-License-Identifier: ISC */
#include "dns/client.h"
#include "server/server.h"
#include "smtp-client/auth.h"
#include "smtp-client/checks.h"
#include "smtp-client/delivery.h"
#include "smtp-client/generic.h"
#include "smtp-client/kept.h"
#include "smtp-client/outcome.h"
#include "smtp-client/self.h"
#include "smtp-client/servers.h"
#include "smtp-client/session.h"
#include "smtp-client/source.h"
#include "smtp-client/policy.h"
#include "smtp-client/starttls.h"
#include "smtp-client/transcript.h"
#include "tls/keys.h"

/* smtp-client: delivers by SMTP and LMTP, see smtp-client(8). */

static unsigned session_limit(void)
{
	uint64_t limit = server_limit();
	return (unsigned)(limit > 0 ? limit : (uint64_t)conf_int(P_session_limit));
}

static void init(void)
{
	self_init();
	policy_init();
	checks_init();
	generic_init();
	starttls_init();
	servers_init();
	source_init();
	outcome_init();
	session_init();
	transcript_init();
}

static void abandon(struct job *j)
{
	delivery_abandon(j->work);
}

static struct job_handler handler = {delivery_start, abandon, false};

static void start(void)
{
	dns_client_init((size_t)session_limit() * 2);
	handler.falls_back = delivery_falls_back();
	job_init(&handler, session_limit());
	session_start(session_limit());
}

static void peer_new(struct server_peer *peer)
{
	if (peer->role == ROLE_RESOLVER) {
		dns_client_add(peer->ipc);
	} else if (peer->role == ROLE_QMGR) {
		job_qmgr_new(peer->ipc);
	} else if (peer->role == ROLE_VAULT) {
		ipc_set_secret(peer->ipc);
		tls_keys_peer_new(peer->ipc);
		auth_peer_new();
	}
}

static void peer_msg(struct server_peer *peer, struct ipc_msg *msg)
{
	if (peer->role == ROLE_RESOLVER) {
		dns_client_msg(peer->ipc, msg);
	} else if (peer->role == ROLE_QMGR) {
		job_qmgr_msg(peer->ipc, msg);
	} else if (peer->role == ROLE_VAULT) {
		if (!auth_peer_msg(msg)) {
			tls_keys_peer_msg(peer->ipc, msg);
			starttls_keys();
		}
	}
}

static void peer_gone(struct server_peer *peer)
{
	if (peer->role == ROLE_RESOLVER) {
		dns_client_remove(peer->ipc);
	} else if (peer->role == ROLE_QMGR) {
		job_qmgr_gone(peer->ipc);
	} else if (peer->role == ROLE_VAULT) {
		tls_keys_peer_gone(peer->ipc);
		auth_peer_gone(peer->ipc);
	}
}

/* What is at work goes on; the last job's end ends the program. */
static void drain(bool now)
{
	kept_quit_all();
	job_leave();
}

static void stop(void)
{
	kept_quit_all();
	job_withdraw_all();
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

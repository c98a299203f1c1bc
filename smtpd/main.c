/* SPDX-License-Identifier: ISC */
#include <errno.h>

#include "dns/client.h"
#include "policy/verify.h"
#include "server/counters.h"
#include "smtpd/auth.h"
#include "smtpd/auth_vault.h"
#include "smtpd/farewell.h"
#include "smtpd/limits.h"
#include "smtpd/probe.h"
#include "smtpd/session.h"
#include "tls/keys.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

/*
 * smtpd: the SMTP server. One worker of a service; see session.h for a session, transaction.h for a
 * message in one, author.h for its way to cleanup.
 */
enum {
	LISTENERS_MAX = 64,
	SESSIONS_DEFAULT = 1000,
	FULL_MSEC = 20, /* how often a full worker looks whether it has room again */
	QUESTIONS = 20000
};

struct listener {
	int fd;
	bool is_unix;
	struct loop_watch *watch;
};

static struct listener listeners[LISTENERS_MAX];
static unsigned listeners_n;
static struct loop_timer full_timer;
static bool started;

static size_t session_limit(void)
{
	return server_limit() > 0 ? server_limit() : SESSIONS_DEFAULT;
}

static void watch_all(bool on)
{
	for (unsigned i = 0; i < listeners_n; i++)
		if (listeners[i].watch != NULL)
			loop_watch_set(listeners[i].watch, on ? LOOP_READ : 0);
}

/* One more client than the port has room for is taken, to be told so. */
static void refuse_one(struct listener *l)
{
	struct net_addr peer;
	int fd = -1;

	if (net_accept(l->fd, &fd, &peer) == 0)
		session_refuse(fd);
}

/* This worker is full, the port is not: the others have had their chance. */
static void look_again(void *arg)
{
	(void)arg;
	if (session_total() >= session_limit())
		loop_timer_set(&full_timer, loop_now() + FULL_MSEC * CLOCK_MSEC);
	else
		watch_all(true);
}

/* One client at a time: the rest is shared with the other workers of the port. */
static void ready(int what, void *arg)
{
	struct listener *l = arg;
	struct net_addr peer;
	int fd = -1;

	(void)what;
	if (server_sessions() > 0 && counters_sum(COUNTER_SESSIONS) >= server_sessions()) {
		refuse_one(l);
		return;
	}
	if (session_total() >= session_limit()) {
		watch_all(false);
		loop_timer_set(&full_timer, loop_now() + FULL_MSEC * CLOCK_MSEC);
		return;
	}
	int err = net_accept(l->fd, &fd, &peer);
	if (err == 0)
		session_new(fd, &peer, l->is_unix);
	else if (err == ERR_SYS && (errno == EMFILE || errno == ENFILE)) {
		log_warning("accept: %s", err_str(err));
		watch_all(false);
		loop_timer_set(&full_timer, loop_now() + CLOCK_SEC);
	}
}

static void watch_listener(struct listener *l)
{
	(void)fd_set_nonblock(l->fd, true);
	l->watch = loop_watch_new(l->fd, ready, l);
	loop_watch_set(l->watch, LOOP_READ);
}

static void listener(int fd, const char *address, bool is_unix)
{
	(void)address;
	if (listeners_n == LISTENERS_MAX) {
		log_error("more than %d listeners", LISTENERS_MAX);
		fd_close(&fd);
		return;
	}
	listeners[listeners_n] = (struct listener){.fd = fd, .is_unix = is_unix};
	if (started)
		watch_listener(&listeners[listeners_n]);
	listeners_n++;
}

static void start(void)
{
	loop_timer_init(&full_timer, look_again, NULL);
	dns_client_init(QUESTIONS);
	auth_start();
	verify_set_prober(probe_send);
	limits_start();
	started = true;
	for (unsigned i = 0; i < listeners_n; i++)
		watch_listener(&listeners[i]);
}

static void close_listeners(void)
{
	for (unsigned i = 0; i < listeners_n; i++) {
		loop_watch_free(&listeners[i].watch);
		fd_close(&listeners[i].fd);
	}
	listeners_n = 0;
	loop_timer_set(&full_timer, CLOCK_NEVER);
}

static void end_without_sessions(void)
{
	if (session_total() > 0)
		return;
	farewell_end_all();
	server_done();
}

static void drain(bool now)
{
	close_listeners();
	if (now)
		session_end_idle("Service is being restarted");
	end_without_sessions();
}

static void stop(void)
{
	close_listeners();
	session_end_all();
	end_without_sessions();
}

static void peer_new(struct server_peer *peer)
{
	switch (peer->role) {
	case ROLE_CLEANUP: author_peer_new(peer); break;
	case ROLE_RESOLVER: dns_client_add(peer->ipc); break;
	case ROLE_TALLY: tally_client_add(peer->ipc); break;
	case ROLE_VAULT:
		auth_vault_new(peer);
		tls_keys_peer_new(peer->ipc);
		break;
	default: break;
	}
}

static void peer_gone(struct server_peer *peer)
{
	switch (peer->role) {
	case ROLE_CLEANUP: author_peer_gone(peer); break;
	case ROLE_RESOLVER: dns_client_remove(peer->ipc); break;
	case ROLE_TALLY: tally_client_remove(peer->ipc); break;
	case ROLE_VAULT:
		tls_keys_peer_gone(peer->ipc);
		auth_vault_gone(peer);
		break;
	default: break;
	}
}

static void vault_msg(struct server_peer *peer, struct ipc_msg *msg)
{
	switch (msg->type) {
	case PROTO_AUTH_CHALLENGE:
	case PROTO_AUTH_DONE: auth_vault_msg(msg); break;
	default: tls_keys_peer_msg(peer->ipc, msg); break;
	}
}

static void peer_msg(struct server_peer *peer, struct ipc_msg *msg)
{
	switch (peer->role) {
	case ROLE_CLEANUP: author_peer_msg(peer, msg); break;
	case ROLE_RESOLVER: dns_client_msg(peer->ipc, msg); break;
	case ROLE_TALLY: tally_client_msg(peer->ipc, msg); break;
	case ROLE_VAULT: vault_msg(peer, msg); break;
	default: break;
	}
}

static void peer_room(struct server_peer *peer)
{
	if (peer->role == ROLE_CLEANUP)
		author_peer_room(peer);
}

static const struct server_spec spec = {
	.role = ROLE_SMTPD,
	.program = PROG_SMTPD,
	.init = settings_open,
	.start = start,
	.listener = listener,
	.peer_new = peer_new,
	.peer_gone = peer_gone,
	.peer_msg = peer_msg,
	.peer_room = peer_room,
	.drain = drain,
	.stop = stop,
};

int main(int argc, char **argv)
{
	return server_main(argc, argv, &spec);
}

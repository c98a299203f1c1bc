/* SPDX-License-Identifier: ISC */
/*
 * A worker of any role that does nothing but what every worker does, for the tests of master. Its
 * name says its role. A file fake.conf in queue_directory tells it to misbehave, one word a line:
 * "die" ends it before it is ready, "hang" makes it deaf to drain; "nosy" asks for what is not its
 * own, "garbage" breaks the protocol.
 *
 * As smtpd it greets each client with its generation's smtpd_banner, its pid and what a table
 * gives, and hangs up on a second line of input; "work" files are written by nobody: peers are
 * logged.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "map/map.h"
#include "net/addr.h"
#include "net/stream.h"
#include "server/counters.h"
#include "server/server.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

enum { LISTENERS = 8, LINE_LIMIT = 4096 };

static struct loop_watch *watches[LISTENERS];
static int fds[LISTENERS];
static size_t listeners, sessions;
static struct map_list *table;
static bool hangs, draining, nosy, garbage;

static void end_if_idle(void)
{
	if (draining && sessions == 0 && !hangs)
		server_done();
}

static void session_end(struct stream *s, int err, void *arg)
{
	stream_free(&s);
	sessions--;
	counters_add(COUNTER_SESSIONS, -1);
	end_if_idle();
}

/* Each line is answered with what the table has under it; QUIT ends. */
static void session_input(struct stream *s, void *arg)
{
	struct slice in = stream_input(s);
	ptrdiff_t end = slice_find(in, '\n');
	struct buf value = BUF_INIT(LINE_LIMIT);
	struct slice line = slice_trim(slice_first(in, end < 0 ? 0 : (size_t)end));

	if (end < 0)
		return;
	if (slice_eq_str(line, "QUIT")) {
		session_end(s, 0, NULL);
		return;
	}
	if (map_list_find(table, line, NULL, &value) == 0)
		stream_printf(s, "found %.*s\r\n", SLICE_FMT(buf_slice(&value)));
	else
		stream_printf(s, "none\r\n");
	buf_clear(&value);
	stream_consume(s, (size_t)end + 1);
	stream_again(s);
}

static const struct stream_events session_events = {session_input, NULL, session_end};

static void accept_clients(int what, void *arg)
{
	struct net_addr peer;
	int fd = -1;

	while (net_accept(*(const int *)arg, &fd, &peer) == 0) {
		struct stream *s = stream_new(fd, &session_events, NULL, LINE_LIMIT, LINE_LIMIT);

		sessions++;
		counters_add(COUNTER_SESSIONS, 1);
		stream_read(s, true);
		stream_printf(s, "220 %s pid %d uid %d worker %llu\r\n", conf_str(P_smtpd_banner),
			(int)getpid(), (int)getuid(), (unsigned long long)server_worker());
	}
}

static void listener(int fd, const char *address, bool is_unix)
{
	if (listeners == LISTENERS)
		log_fatal("too many listeners");
	fds[listeners++] = fd;
	log_info("listener %s", address);
}

static void init(void)
{
	char *path = mem_fmt("%s/fake.conf", conf_str(P_queue_directory));
	struct buf text = BUF_INIT(LINE_LIMIT), why = BUF_INIT(LINE_LIMIT);
	FILE *f = fopen(path, "r");
	char line[128];

	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		char *wanted = mem_fmt("%s die\n", server_program());

		if (strcmp(line, wanted) == 0)
			log_fatal("told to die");
		hangs = hangs || strstr(line, "hang") != NULL;
		mem_free(wanted);
		wanted = mem_fmt("%s nosy\n", server_program());
		nosy = nosy || strcmp(line, wanted) == 0;
		mem_free(wanted);
		wanted = mem_fmt("%s garbage\n", server_program());
		garbage = garbage || strcmp(line, wanted) == 0;
		mem_free(wanted);
	}
	if (f != NULL)
		fclose(f);
	if (map_list_open(conf_str(P_transport_maps), &why, &table) != 0)
		log_fatal("%s", buf_str(&why));
	mem_free(path);
	buf_clear(&text);
	buf_clear(&why);
}

static void connected(int err, int fd, void *arg)
{
	log_info("connection to %s: %s", (const char *)arg, err == 0 ? "made" : err_str(err));
	if (fd >= 0)
		close(fd);
}

static void ask_for(const char *name)
{
	server_connect(name, connected, (void *)(uintptr_t)name);
}

static void misbehave(void)
{
	static const char bytes[] = "these are no frames, and there are many of them";

	if (nosy) {
		ask_for("unix:pid/master.sock");
		ask_for("unix:public/../pid/master.sock");
		ask_for("unix:public/qmgr");
		ask_for("inet:127.0.0.1:25");
		ask_for("unix:/run/gatepost-test-of-master");
		ask_for("/etc/shadow");
	}
	if (garbage && write(SERVER_CONTROL_FD, bytes, sizeof(bytes)) < 0)
		log_fatal("control connection: %s", err_str(ERR_SYS));
}

static void start(void)
{
	for (size_t i = 0; i < listeners; i++) {
		watches[i] = loop_watch_new(fds[i], accept_clients, &fds[i]);
		loop_watch_set(watches[i], LOOP_READ);
	}
	log_info("start %s", server_service());
	misbehave();
}

static void data_dir(const char *name, int fd)
{
	log_info("directory %s", name);
	close(fd);
}

static void peer_new(struct server_peer *peer)
{
	log_info("peer %s %s %s", peer->asks ? "ask" : "answer", role_name(peer->role),
		peer->service);
}

static void peer_msg(struct server_peer *peer, struct ipc_msg *msg)
{
}

static void peer_gone(struct server_peer *peer)
{
	log_info("peer gone %s", role_name(peer->role));
}

static void drain(bool now)
{
	draining = true;
	log_info("drain %d", now);
	for (size_t i = 0; i < listeners; i++) {
		loop_watch_free(&watches[i]);
		close(fds[i]);
	}
	listeners = 0;
	if (now && !hangs)
		server_done();
	end_if_idle();
}

static void stop(void)
{
	log_info("stop");
	server_done();
}

static int reload(struct conf **c, struct buf *why)
{
	conf_install(c);
	log_info("reload %s", conf_str(P_smtpd_banner));
	return 0;
}

int main(int argc, char **argv)
{
	struct server_spec spec = {.program = PROG_ALL,
		.init = init,
		.start = start,
		.listener = listener,
		.data_dir = data_dir,
		.peer_new = peer_new,
		.peer_msg = peer_msg,
		.peer_gone = peer_gone,
		.drain = drain,
		.stop = stop,
		.reload = reload};
	const char *name = strrchr(argv[0], '/');
	int role = 0;

	name = name != NULL ? name + 1 : argv[0];
	role = strcmp(name, "nss") == 0 ? ROLE_NSS : role_of_program(name);
	if (role < 0)
		return 2;
	spec.role = (enum role)role;
	spec.keep_root = role == ROLE_LOCAL;
	return server_main(argc, argv, &spec);
}

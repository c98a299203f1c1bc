/* SPDX-License-Identifier: ISC */

/*
 * A stage for vault alone: plays master and its peers, so that each frame can be seen and each
 * wrong one sent.
 *
 *   stage VAULT DIR [follows]
 *
 * Takes DIR/main.cf, which names vault's own settings (vault_services …), starts VAULT, opens files
 * and tables for it as master does, prints "ready" or "ended STATUS". Orders on standard input, one
 * a line; P is a name for a peer, hexadecimal stands for bytes:
 *
 *   peer P ROLE SERVICE       connects one (smtpd or smtp-client)
 *   gone P
 *   sign P KEY SCHEME INPUT   prints "P signed RESULT [SIGNATURE] [TEXT]"
 *   name P NAME               prints "P name-chain KEY CERTS" …, "P name-end RESULT"
 *   relay P HOST NEXTHOP SENDER MECHANISM…   ("-": none) prints "P say MECHANISM SECRET"
 *   challenge P SECRET        in the exchange begun last
 *   file NAME                 a new version of pem:NAME
 *   table TYPE:NAME           of a table
 *   drain | stop
 *
 * Unasked come "P chain FLAGS KEY CERTS", "P ticket KEY UNTIL", "P relay-done RESULT TEXT", "P
 * end".
 */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conf/mistake.h"
#include "conf/set.h"
#include "conf/vault.h"
#include "ipc/ipc.h"
#include "map/map.h"
#include "server/counters.h"
#include "server/server.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

enum { PEERS = 32, LINE = 300000 };

static struct peer {
	char *name;
	struct ipc *ipc;
	uint64_t talk;
} peers[PEERS];

static struct ipc *control;
static const char *dir;
static pid_t child;
static unsigned next_worker = 100;
static bool follows;

static void say_hex(struct slice s)
{
	(void)putchar(' ');
	for (size_t i = 0; i < s.len; i++)
		(void)printf("%02x", (unsigned char)s.p[i]);
	if (s.len == 0)
		(void)putchar('-');
}

static struct slice from_hex(struct slice text, char *out)
{
	size_t n = 0;
	unsigned byte = 0;

	for (n = 0; 2 * n + 1 < text.len; n++) {
		if (sscanf(text.p + 2 * n, "%2x", &byte) != 1)
			break;
		out[n] = (char)byte;
	}
	return slice_of(out, n);
}

/* ---- peers ---- */

static struct peer *peer_of(struct slice name)
{
	for (size_t i = 0; i < PEERS; i++)
		if (peers[i].name != NULL && slice_eq_str(name, peers[i].name))
			return &peers[i];
	log_fatal("no peer %.*s", SLICE_FMT(name));
}

static void peer_msg(struct ipc *c, struct ipc_msg *msg, void *arg)
{
	struct peer *p = arg;

	(void)c;
	switch (msg->type) {
	case PROTO_TLS_CHAIN:
		(void)printf("%s chain %u", p->name, (unsigned)ipc_u64(msg, FIELD_FLAGS));
		say_hex(ipc_bytes(msg, FIELD_KEY_ID));
		say_hex(ipc_bytes(msg, FIELD_CERTS));
		break;
	case PROTO_TLS_TICKETS:
		(void)printf("%s ticket", p->name);
		say_hex(ipc_bytes(msg, FIELD_TICKET_KEY));
		(void)printf(" %llu", (unsigned long long)ipc_u64(msg, FIELD_UNTIL));
		break;
	case PROTO_TLS_SIGNED:
		(void)printf("%s signed %u", p->name, (unsigned)ipc_u64(msg, FIELD_RESULT));
		say_hex(ipc_bytes(msg, FIELD_SIGNATURE));
		(void)printf(" %.*s", SLICE_FMT(ipc_bytes(msg, FIELD_TEXT)));
		break;
	case PROTO_TLS_NAME_CHAIN:
		(void)printf("%s name-chain", p->name);
		say_hex(ipc_bytes(msg, FIELD_KEY_ID));
		say_hex(ipc_bytes(msg, FIELD_CERTS));
		break;
	case PROTO_TLS_NAME_END:
		(void)printf("%s name-end %u", p->name, (unsigned)ipc_u64(msg, FIELD_RESULT));
		break;
	case PROTO_RELAY_SAY:
		(void)printf("%s say %.*s", p->name, SLICE_FMT(ipc_bytes(msg, FIELD_MECHANISM)));
		say_hex(ipc_bytes(msg, FIELD_SECRET));
		break;
	case PROTO_RELAY_DONE:
		(void)printf("%s relay-done %u %.*s", p->name, (unsigned)ipc_u64(msg, FIELD_RESULT),
			SLICE_FMT(ipc_bytes(msg, FIELD_TEXT)));
		(void)ipc_send(p->ipc, PROTO_RELAY_END, p->talk);
		break;
	default: (void)printf("%s ? %s", p->name, proto_name(msg->type)); break;
	}
	(void)printf("\n");
	(void)fflush(stdout);
}

static void peer_end(struct ipc *c, int err, void *arg)
{
	struct peer *p = arg;

	(void)c;
	(void)err;
	(void)printf("%s end\n", p->name);
	(void)fflush(stdout);
	ipc_free(&p->ipc);
}

static const struct ipc_events peer_events = {peer_msg, peer_end, NULL};

static void connect_peer(struct slice name, struct slice role_text, struct slice service)
{
	enum role role = slice_eq_str(role_text, "smtpd") ? ROLE_SMTPD : ROLE_CLIENT;
	struct peer *p = NULL;
	int pair[2];

	for (size_t i = 0; i < PEERS && p == NULL; i++)
		if (peers[i].name == NULL)
			p = &peers[i];
	if (p == NULL ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
		log_fatal("no more peers");
	p->name = slice_dup(name);
	p->ipc = ipc_new(pair[0], role, ROLE_VAULT, &peer_events, p, 0);
	ipc_begin(control, PROTO_PEER, 0);
	ipc_put_u64(control, FIELD_ROLE, role);
	ipc_put_u64(control, FIELD_WORKER, next_worker++);
	ipc_put_text(control, FIELD_SERVICE, service);
	ipc_put_u64(control, FIELD_FLAGS, 0);
	(void)ipc_end_fd(control, &pair[1]);
}

static void ask_sign(struct peer *p, struct slice key, struct slice scheme, struct slice input)
{
	static char room[2][LINE];
	uint64_t number = 0;

	(void)slice_u64(scheme, 0, UINT32_MAX, &number);
	ipc_begin(p->ipc, PROTO_TLS_SIGN, ipc_ask(p->ipc));
	ipc_put_bytes(p->ipc, FIELD_KEY_ID, from_hex(key, room[0]));
	ipc_put_u64(p->ipc, FIELD_SCHEME, number);
	ipc_put_bytes(p->ipc, FIELD_HANDSHAKE, from_hex(input, room[1]));
	(void)ipc_end(p->ipc);
}

static struct slice word(struct slice *rest)
{
	struct slice w = SLICE_NONE;

	(void)slice_token(rest, " ", &w);
	return slice_eq_str(w, "-") ? SLICE_NONE : w;
}

static void ask_relay(struct peer *p, struct slice rest)
{
	struct slice mechanism;

	p->talk = ipc_ask(p->ipc);
	ipc_begin(p->ipc, PROTO_RELAY_AUTH, p->talk);
	ipc_put_text(p->ipc, FIELD_NAME, word(&rest));
	ipc_put_text(p->ipc, FIELD_NEXTHOP, word(&rest));
	ipc_put_text(p->ipc, FIELD_SENDER, word(&rest));
	while (slice_token(&rest, " ", &mechanism))
		ipc_put_text(p->ipc, FIELD_MECHANISM, mechanism);
	(void)ipc_end(p->ipc);
}

static void ask(
	enum proto_msg type, struct peer *p, uint64_t id, enum proto_field f, struct slice s)
{
	ipc_begin(p->ipc, type, id);
	if (f == FIELD_NAME)
		ipc_put_text(p->ipc, f, s);
	else
		ipc_put_bytes(p->ipc, f, s);
	(void)ipc_end(p->ipc);
}

/* ---- master ---- */

static void send_hello(void)
{
	ipc_begin(control, PROTO_HELLO, 0);
	ipc_put_str(control, FIELD_BUILD, PACKAGE_STRING);
	ipc_put_u64(control, FIELD_ROLE, ROLE_VAULT);
	ipc_put_u64(control, FIELD_WORKER, 1);
	ipc_put_str(control, FIELD_SERVICE, "vault/unix");
	ipc_put_str(control, FIELD_NAME, "vault");
	ipc_put_u64(control, FIELD_FLAGS, 1U | (follows ? 4U : 0U));
	ipc_put_u64(control, FIELD_USER, getuid());
	ipc_put_u64(control, FIELD_GROUP, getgid());
	ipc_put_str(control, FIELD_PATH, "");
	ipc_put_u64(control, FIELD_SLOT, 0);
	(void)ipc_end(control);
}

static void send_settings(void)
{
	struct conf *c = conf_new(dir);
	struct mistakes m;
	struct buf out = BUF_INIT(4 << 20);

	mistakes_init(&m);
	(void)set_read_main(c, &m);
	if (set_build(c, &m) != 0)
		log_fatal("%s", buf_str(&m.text));
	set_encode(c, &out);
	for (struct slice rest = buf_slice(&out); rest.len > 0;) {
		struct slice part = slice_first(rest, 50000);

		rest = slice_from(rest, part.len);
		ipc_begin(control, PROTO_SETTINGS, 0);
		ipc_put_bytes(control, FIELD_VALUE, part);
		ipc_put_u64(control, FIELD_FLAGS, rest.len == 0);
		(void)ipc_end(control);
	}
	buf_clear(&out);
	conf_free(&c);
	mistakes_clear(&m);
}

static void say_start(void)
{
	char *path = mem_fmt("%s/log", dir);
	int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644), page = -1;

	send_hello();
	send_settings();
	ipc_begin(control, PROTO_LOG_FD, 0);
	ipc_put_u64(control, FIELD_FLAGS, 1);
	(void)ipc_end_fd(control, &log);
	if (fd_memory("counters", &page) != 0 || ftruncate(page, COUNTERS_SIZE) != 0)
		log_fatal("counters: %s", err_str(ERR_SYS));
	ipc_begin(control, PROTO_COUNTERS, 0);
	ipc_put_u64(control, FIELD_SIZE, COUNTERS_SIZE);
	(void)ipc_end_fd(control, &page);
	(void)ipc_send(control, PROTO_START, 0);
	mem_free(path);
}

static int open_named(const char *spec)
{
	struct buf path = BUF_INIT(4096);
	int fd = -1;

	if (slice_starts(slice_str(spec), VAULT_FILE))
		fd = open(spec + strlen(VAULT_FILE), O_RDONLY | O_CLOEXEC);
	else if (map_spec_path(spec, &path) == 0)
		fd = open(buf_str(&path), O_RDONLY | O_CLOEXEC);
	buf_clear(&path);
	return fd;
}

static void control_msg(struct ipc *c, struct ipc_msg *msg, void *arg)
{
	(void)arg;
	if (msg->type == PROTO_READY) {
		(void)printf("ready\n");
		(void)fflush(stdout);
	} else if (msg->type == PROTO_TABLE_OPEN) {
		char *spec = slice_dup(ipc_bytes(msg, FIELD_NAME));
		int fd = open_named(spec);

		ipc_begin(c, PROTO_TABLE_FD, msg->id);
		ipc_put_u64(c, FIELD_CODE, fd >= 0 ? 0 : 2);
		if (fd >= 0)
			(void)ipc_end_fd(c, &fd);
		else
			(void)ipc_end(c);
		mem_free(spec);
	}
}

static void control_end(struct ipc *c, int err, void *arg)
{
	int status = 0;

	(void)c;
	(void)err;
	(void)arg;
	(void)waitpid(child, &status, 0);
	(void)printf("ended %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 256);
	(void)fflush(stdout);
	_exit(0);
}

static const struct ipc_events control_events = {control_msg, control_end, NULL};

static void send_new(const char *prefix, struct slice name)
{
	char *spec = mem_fmt("%s%.*s", prefix, SLICE_FMT(name));
	int fd = open_named(spec);

	if (fd >= 0) {
		ipc_begin(control, PROTO_TABLE, 0);
		ipc_put_str(control, FIELD_NAME, spec);
		(void)ipc_end_fd(control, &fd);
	}
	mem_free(spec);
}

static void drain(void)
{
	ipc_begin(control, PROTO_DRAIN, 0);
	ipc_put_u64(control, FIELD_FLAGS, 0);
	(void)ipc_end(control);
}

static void obey(struct slice rest)
{
	static char room[LINE];
	struct slice order = word(&rest), name = word(&rest);

	if (slice_eq_str(order, "drain"))
		drain();
	else if (slice_eq_str(order, "stop"))
		(void)ipc_send(control, PROTO_STOP, 0);
	else if (slice_eq_str(order, "file"))
		send_new(VAULT_FILE, name);
	else if (slice_eq_str(order, "table"))
		send_new("", name);
	else if (slice_eq_str(order, "peer")) {
		struct slice role = word(&rest);

		connect_peer(name, role, word(&rest));
	} else if (slice_eq_str(order, "gone"))
		ipc_free(&peer_of(name)->ipc);
	else if (slice_eq_str(order, "sign")) {
		struct slice key = word(&rest), scheme = word(&rest);

		ask_sign(peer_of(name), key, scheme, word(&rest));
	} else if (slice_eq_str(order, "name"))
		ask(PROTO_TLS_NAME, peer_of(name), ipc_ask(peer_of(name)->ipc), FIELD_NAME,
			word(&rest));
	else if (slice_eq_str(order, "relay"))
		ask_relay(peer_of(name), rest);
	else if (slice_eq_str(order, "challenge"))
		ask(PROTO_RELAY_CHALLENGE, peer_of(name), peer_of(name)->talk, FIELD_SECRET,
			from_hex(word(&rest), room));
	else
		log_fatal("no order %.*s", SLICE_FMT(order));
}

static void on_orders(int what, void *arg)
{
	static char text[LINE];
	static size_t have;
	ssize_t n = read(0, text + have, sizeof(text) - have);
	struct slice rest, line;
	ptrdiff_t end;

	(void)what;
	(void)arg;
	if (n <= 0) {
		(void)kill(child, SIGKILL);
		_exit(0);
	}
	have += (size_t)n;
	rest = slice_of(text, have);
	while ((end = slice_find(rest, '\n')) >= 0) {
		line = slice_first(rest, (size_t)end);
		rest = slice_from(rest, (size_t)end + 1);
		obey(line);
	}
	have = rest.len;
	memmove(text, rest.p, have);
}

static int start_child(const char *program)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		log_fatal("socketpair: %s", err_str(ERR_SYS));
	child = fork();
	if (child == 0) {
		char *argv[] = {(char *)(uintptr_t)program, NULL};

		if (dup2(pair[1], SERVER_CONTROL_FD) == SERVER_CONTROL_FD)
			(void)fd_set_cloexec(SERVER_CONTROL_FD, false);
		(void)execv(program, argv);
		_exit(127);
	}
	(void)close(pair[1]);
	return pair[0];
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	(void)signal(SIGPIPE, SIG_IGN);
	dir = argv[2];
	follows = argc > 3;
	int fd = start_child(argv[1]);
	loop_init();
	control = ipc_new(fd, ROLE_MASTER, ROLE_VAULT, &control_events, NULL, 0);
	say_start();
	struct loop_watch *orders = loop_watch_new(0, on_orders, NULL);
	loop_watch_set(orders, LOOP_READ);
	loop_run();
	return 0;
}

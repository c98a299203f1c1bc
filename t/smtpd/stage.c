/* SPDX-License-Identifier: ISC */

/*
 * A stage for smtpd alone: plays master, and cleanup behind it, so that its tests need nothing
 * else.
 *
 *   stage SMTPD DIR [LIMIT]
 *
 * Takes DIR/main.cf, starts SMTPD with a TCP listener (prints "port N") and the UNIX listener
 * DIR/sendmail, and writes each committed message to DIR/mail/ID: lines name=value, an empty line,
 * the content. Reads orders on standard input: full, room, drain, drain now, stop, away (no
 * cleanup; prints "away"), back, go (smtpd is continued), id (sends what NO_ID has kept); ends at
 * its end. What cleanup does with a message is told by the sender's local part: see the table of
 * scripts.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config.h"

#include "conf/mistake.h"
#include "conf/set.h"
#include "ipc/ipc.h"
#include "map/map.h"
#include "server/counters.h"
#include "server/server.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

enum script {
	NORMAL,
	REFUSE_AT_ONCE, /* MSG_FAILED 451 to MSG_OPEN */
	REFUSE_AT_END,  /* MSG_FAILED 554 to MSG_COMMIT */
	DIE_EARLY,      /* at the first content */
	DIE_DURABLE,    /* at the commit; the next cleanup knows the id */
	DIE_SILENT,     /* at the commit; nobody knows */
	SLOW,           /* credit and commit after a while */
	LATE_ID,        /* MSG_OPENED after a while */
	NO_ID,          /* MSG_OPENED by the order */
	STOPPED,        /* smtpd is stopped before the commit is answered; prints "stopped" */
};

static const struct {
	const char *prefix;
	enum script script;
} scripts[] = {
	{"refuse-open@", REFUSE_AT_ONCE},
	{"refuse-end@", REFUSE_AT_END},
	{"die-early@", DIE_EARLY},
	{"die-durable@", DIE_DURABLE},
	{"die-silent@", DIE_SILENT},
	{"slow@", SLOW},
	{"late-id@", LATE_ID},
	{"no-id@", NO_ID},
	{"stopped@", STOPPED},
};

struct letter {
	uint64_t id;
	char queue_id[16];
	enum script script;
	struct buf envelope, content;
	unsigned life; /* of the cleanup that has it */
	uint64_t owed; /* credit that SLOW has not granted yet */
	bool committed;
	struct loop_timer timer;
};

static struct ipc *control, *cleanup;
static struct letter *nameless; /* NO_ID */
static const char *dir;
static unsigned next_id = 0xA1;
static char durable_id[16];
static bool away;
static unsigned life;
static pid_t child;

static void new_cleanup(void *arg);

static struct letter *letter_new(struct ipc_msg *msg)
{
	struct letter *l = mem_alloc(sizeof(*l));
	struct slice sender = ipc_bytes(msg, FIELD_SENDER);

	l->id = msg->id;
	l->life = life;
	(void)snprintf(l->queue_id, sizeof(l->queue_id), "4F%05X", next_id++);
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++)
		if (slice_starts(sender, scripts[i].prefix))
			l->script = scripts[i].script;
	buf_init(&l->envelope, 1 << 20);
	buf_init(&l->content, 256 << 20);
	return l;
}

static void letter_free(struct letter *l)
{
	buf_clear(&l->envelope);
	buf_clear(&l->content);
	loop_timer_clear(&l->timer);
	mem_free(l);
}

static void note(struct letter *l, struct ipc_msg *msg, const char *name, enum proto_field field)
{
	if (ipc_has(msg, field))
		buf_add_fmt(&l->envelope, "%s=%.*s\n", name, SLICE_FMT(ipc_bytes(msg, field)));
}

static void note_number(
	struct letter *l, struct ipc_msg *msg, const char *name, enum proto_field field)
{
	if (ipc_has(msg, field))
		buf_add_fmt(
			&l->envelope, "%s=%llu\n", name, (unsigned long long)ipc_u64(msg, field));
}

static void write_letter(struct letter *l)
{
	char path[4096], temp[4200];

	(void)snprintf(path, sizeof(path), "%s/mail/%s", dir, l->queue_id);
	(void)snprintf(temp, sizeof(temp), "%s/mail/.%s", dir, l->queue_id);
	int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	buf_add_char(&l->envelope, '\n');
	if (fd < 0 || fd_write_full(fd, buf_str(&l->envelope), l->envelope.len) != 0 ||
		fd_write_full(fd, buf_str(&l->content), l->content.len) != 0 ||
		rename(temp, path) != 0)
		log_fatal("%s: %s", path, err_str(ERR_SYS));
	fd_close(&fd);
}

static void send_id(struct letter *l, enum proto_msg type)
{
	ipc_begin(cleanup, type, l->id);
	ipc_put_str(cleanup, FIELD_QUEUE_ID, l->queue_id);
	if (type == PROTO_MSG_DONE)
		ipc_put_u64(cleanup, FIELD_SIZE, l->content.len);
	ipc_end(cleanup);
}

static void refuse(struct letter *l, int code, const char *status, const char *text)
{
	ipc_begin(cleanup, PROTO_MSG_FAILED, l->id);
	ipc_put_u64(cleanup, FIELD_CODE, (uint64_t)code);
	ipc_put_str(cleanup, FIELD_STATUS, status);
	ipc_put_str(cleanup, FIELD_TEXT, text);
	ipc_end(cleanup);
}

static void done(struct letter *l)
{
	write_letter(l);
	send_id(l, PROTO_MSG_DONE);
	letter_free(l);
}

static void grant(struct letter *l, uint64_t bytes)
{
	ipc_begin(cleanup, PROTO_MSG_GRANT, l->id);
	ipc_put_u64(cleanup, FIELD_SIZE, bytes);
	ipc_end(cleanup);
}

static void slowly(void *arg)
{
	struct letter *l = arg;

	/* Its cleanup has died with all it had. */
	if (l->life != life || cleanup == NULL) {
		letter_free(l);
		return;
	}
	if (l->script == LATE_ID)
		send_id(l, PROTO_MSG_OPENED);
	if (l->owed > 0)
		grant(l, l->owed);
	l->owed = 0;
	if (l->committed)
		done(l);
}

static void die(struct letter *l)
{
	if (l->script == DIE_DURABLE)
		memcpy(durable_id, l->queue_id, sizeof(durable_id));
	if (l->script == DIE_DURABLE)
		write_letter(l);
	letter_free(l);
	ipc_free(&cleanup);
	life++;
	if (!away)
		loop_defer(new_cleanup, NULL);
}

/* What smtpd sees next, it sees at once. */
static void stop_child(void)
{
	int status = 0;

	if (kill(child, SIGSTOP) != 0 || waitpid(child, &status, WUNTRACED) != child)
		log_fatal("stop: %s", err_str(ERR_SYS));
}

static void commit(struct letter *l, struct ipc_msg *msg)
{
	(void)msg;
	if (l->script == REFUSE_AT_END)
		refuse(l, 554, "5.4.6", "Error: too many hops");
	else if (l->script == DIE_DURABLE || l->script == DIE_SILENT)
		die(l);
	else if (l->script == SLOW) {
		l->committed = true;
		loop_timer_set(&l->timer, loop_now() + 100 * CLOCK_MSEC);
	} else if (l->script == STOPPED) {
		stop_child();
		done(l);
		(void)ipc_flush(cleanup);
		(void)printf("stopped\n");
		(void)fflush(stdout);
	} else
		done(l);
}

static void open_letter(struct ipc_msg *msg)
{
	struct letter *l = letter_new(msg);

	loop_timer_init(&l->timer, slowly, l);
	ipc_set_arg(cleanup, msg->id, false, l);
	note(l, msg, "sender", FIELD_SENDER);
	note(l, msg, "service", FIELD_SERVICE);
	note(l, msg, "client_name", FIELD_CLIENT_NAME);
	note(l, msg, "client_addr", FIELD_CLIENT_ADDR);
	note(l, msg, "helo", FIELD_HELO);
	note(l, msg, "protocol", FIELD_PROTOCOL);
	note(l, msg, "envid", FIELD_ENVID);
	note(l, msg, "origin_name", FIELD_ORIGIN_NAME);
	note(l, msg, "origin_addr", FIELD_ORIGIN_ADDR);
	note_number(l, msg, "origin_port", FIELD_ORIGIN_PORT);
	note(l, msg, "origin_helo", FIELD_ORIGIN_HELO);
	note(l, msg, "origin_protocol", FIELD_ORIGIN_PROTOCOL);
	note(l, msg, "origin_ident", FIELD_ORIGIN_IDENT);
	note_number(l, msg, "flags", FIELD_FLAGS);
	note_number(l, msg, "uid", FIELD_UID);
	note_number(l, msg, "ret", FIELD_RET);
	note_number(l, msg, "body", FIELD_BODY);
	note_number(l, msg, "size", FIELD_SIZE);
	if (l->script == REFUSE_AT_ONCE)
		refuse(l, 451, "4.3.0", "Error: refused by script");
	else if (l->script == LATE_ID)
		loop_timer_set(&l->timer, loop_now() + 100 * CLOCK_MSEC);
	else if (l->script == NO_ID)
		nameless = l;
	else
		send_id(l, PROTO_MSG_OPENED);
}

static void content(struct letter *l, struct ipc_msg *msg)
{
	struct slice bytes = ipc_bytes(msg, FIELD_BYTES);

	buf_add_slice(&l->content, bytes);
	if (l->script == DIE_EARLY)
		die(l);
	else if (l->script == SLOW) {
		l->owed += bytes.len;
		loop_timer_set(&l->timer, loop_now() + 20 * CLOCK_MSEC);
	} else
		grant(l, bytes.len);
}

static void answer_query(struct ipc_msg *msg)
{
	if (!slice_eq_str(ipc_bytes(msg, FIELD_QUEUE_ID), durable_id))
		return;
	ipc_begin(cleanup, PROTO_ID_DURABLE, 0);
	ipc_put_str(cleanup, FIELD_QUEUE_ID, durable_id);
	ipc_end(cleanup);
}

static void cleanup_msg(struct ipc *c, struct ipc_msg *msg, void *arg)
{
	struct letter *l = msg->arg;

	(void)c;
	(void)arg;
	if (l == NULL && msg->type != PROTO_MSG_OPEN && msg->type != PROTO_ID_QUERY)
		return;
	switch (msg->type) {
	case PROTO_MSG_OPEN: open_letter(msg); break;
	case PROTO_MSG_RCPT:
		note(l, msg, "rcpt", FIELD_RECIPIENT);
		note(l, msg, "orcpt", FIELD_ORCPT);
		note_number(l, msg, "notify", FIELD_NOTIFY);
		break;
	case PROTO_MSG_DATA: content(l, msg); break;
	case PROTO_MSG_END: note_number(l, msg, "observed", FIELD_FLAGS); break;
	case PROTO_MSG_COMMIT: commit(l, msg); break;
	case PROTO_MSG_DISCARD: letter_free(l); break;
	case PROTO_ID_QUERY: answer_query(msg); break;
	default: break;
	}
}

static void cleanup_end(struct ipc *c, int err, void *arg)
{
	(void)arg;
	if (err == ERR_SYNTAX)
		log_error("smtpd broke the protocol");
	if (c == cleanup) {
		life++;
		ipc_free(&cleanup);
	}
}

static const struct ipc_events cleanup_events = {cleanup_msg, cleanup_end, NULL};

/* What master says. */

static void peer_message(int fd, enum role role)
{
	ipc_begin(control, PROTO_PEER, 0);
	ipc_put_u64(control, FIELD_ROLE, role);
	ipc_put_u64(control, FIELD_WORKER, next_id++);
	ipc_put_str(control, FIELD_SERVICE, "cleanup/unix");
	ipc_put_u64(control, FIELD_FLAGS, 1);
	ipc_end_fd(control, &fd);
}

static void new_cleanup(void *arg)
{
	int pair[2];

	(void)arg;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
		log_fatal("socketpair: %s", err_str(ERR_SYS));
	cleanup = ipc_new(pair[0], ROLE_CLEANUP, ROLE_SMTPD, &cleanup_events, NULL, 64 << 20);
	peer_message(pair[1], ROLE_CLEANUP);
}

static void send_hello(const char *limit)
{
	uint64_t n = 0;

	ipc_begin(control, PROTO_HELLO, 0);
	ipc_put_str(control, FIELD_BUILD, PACKAGE_STRING);
	ipc_put_u64(control, FIELD_ROLE, ROLE_SMTPD);
	ipc_put_u64(control, FIELD_WORKER, 1);
	ipc_put_str(control, FIELD_SERVICE, "smtp/inet");
	ipc_put_str(control, FIELD_NAME, "smtpd");
	ipc_put_u64(control, FIELD_FLAGS, 1);
	ipc_put_u64(control, FIELD_USER, getuid());
	ipc_put_u64(control, FIELD_GROUP, getgid());
	ipc_put_str(control, FIELD_PATH, "");
	ipc_put_u64(control, FIELD_SLOT, 0);
	if (limit != NULL && slice_u64(slice_str(limit), 1, 100000, &n) == 0)
		ipc_put_u64(control, FIELD_LIMIT, n);
	ipc_put_u64(control, FIELD_COUNT, n > 0 ? n : 100000);
	ipc_end(control);
}

static void send_settings(void)
{
	struct conf *c = conf_new(dir);
	struct mistakes m;
	struct buf out = BUF_INIT(4 << 20);

	mistakes_init(&m);
	set_read_main(c, &m);
	if (set_build(c, &m) != 0)
		log_fatal("%s", buf_str(&m.text));
	set_encode(c, &out);
	for (struct slice rest = buf_slice(&out); rest.len > 0;) {
		struct slice part = slice_first(rest, 50000);
		rest = slice_from(rest, part.len);
		ipc_begin(control, PROTO_SETTINGS, 0);
		ipc_put_bytes(control, FIELD_VALUE, part);
		ipc_put_u64(control, FIELD_FLAGS, rest.len == 0);
		ipc_end(control);
	}
	buf_clear(&out);
	conf_free(&c);
	mistakes_clear(&m);
}

static void send_fd(enum proto_msg type, int fd, enum proto_field field, uint64_t value)
{
	ipc_begin(control, type, 0);
	ipc_put_u64(control, field, value);
	ipc_end_fd(control, &fd);
}

static void send_listener(int fd, const char *address, bool is_unix)
{
	ipc_begin(control, PROTO_LISTENER, 0);
	ipc_put_str(control, FIELD_ADDRESS, address);
	ipc_put_u64(control, FIELD_FLAGS, is_unix);
	ipc_end_fd(control, &fd);
}

static void listen_tcp(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&in, sizeof(in)) != 0 || listen(fd, 4096) != 0 ||
		getsockname(fd, (struct sockaddr *)&in, &len) != 0)
		log_fatal("listen: %s", err_str(ERR_SYS));
	(void)printf("port %d\n", ntohs(in.sin_port));
	(void)fflush(stdout);
	send_listener(fd, "127.0.0.1", false);
}

static void listen_unix(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(un.sun_path, sizeof(un.sun_path), "%s/public/sendmail", dir);
	(void)unlink(un.sun_path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&un, sizeof(un)) != 0 || listen(fd, 100) != 0 ||
		chmod(un.sun_path, 0666) != 0)
		log_fatal("%s: %s", un.sun_path, err_str(ERR_SYS));
	send_listener(fd, un.sun_path, true);
}

static void say_start(const char *limit)
{
	char path[4096];

	(void)snprintf(path, sizeof(path), "%s/log", dir);
	send_hello(limit);
	send_settings();
	send_fd(PROTO_LOG_FD, open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644),
		FIELD_FLAGS, 1);
	int page = -1;
	if (fd_memory("counters", &page) != 0 || ftruncate(page, COUNTERS_SIZE) != 0)
		log_fatal("counters: %s", err_str(ERR_SYS));
	send_fd(PROTO_COUNTERS, page, FIELD_SIZE, COUNTERS_SIZE);
	listen_tcp();
	listen_unix();
	ipc_send(control, PROTO_START, 0);
	new_cleanup(NULL);
}

static void open_table(struct ipc_msg *msg)
{
	char *spec = slice_dup(ipc_bytes(msg, FIELD_NAME));
	struct buf path = BUF_INIT(4096);
	int fd = -1, code = 0;

	if (map_spec_path(spec, &path) == 0)
		fd = open(buf_str(&path), O_RDONLY | O_CLOEXEC);
	code = fd >= 0 ? 0 : ENOENT;
	ipc_begin(control, PROTO_TABLE_FD, msg->id);
	ipc_put_u64(control, FIELD_CODE, (uint64_t)code);
	if (fd >= 0)
		ipc_end_fd(control, &fd);
	else
		ipc_end(control);
	buf_clear(&path);
	mem_free(spec);
}

static void control_msg(struct ipc *c, struct ipc_msg *msg, void *arg)
{
	(void)c;
	(void)arg;
	if (msg->type == PROTO_TABLE_OPEN)
		open_table(msg);
	else if (msg->type == PROTO_READY) {
		(void)printf("ready\n");
		(void)fflush(stdout);
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

static void queue_state(bool is_full)
{
	if (cleanup == NULL)
		return;
	ipc_begin(cleanup, PROTO_QUEUE_STATE, 0);
	ipc_put_u64(cleanup, FIELD_FLAGS, is_full);
	ipc_put_u64(cleanup, FIELD_SIZE, 1 << 30);
	ipc_end(cleanup);
}

static void drain(bool now)
{
	ipc_begin(control, PROTO_DRAIN, 0);
	ipc_put_u64(control, FIELD_FLAGS, now);
	ipc_end(control);
}

static void obey(struct slice order)
{
	if (slice_eq_str(order, "full") || slice_eq_str(order, "room"))
		queue_state(slice_eq_str(order, "full"));
	else if (slice_starts(order, "drain"))
		drain(slice_eq_str(order, "drain now"));
	else if (slice_eq_str(order, "stop"))
		ipc_send(control, PROTO_STOP, 0);
	else if (slice_eq_str(order, "go"))
		(void)kill(child, SIGCONT);
	else if (slice_eq_str(order, "id") && nameless != NULL) {
		send_id(nameless, PROTO_MSG_OPENED);
		nameless = NULL;
	} else if (slice_eq_str(order, "away")) {
		away = true;
		life++;
		ipc_free(&cleanup);
		(void)printf("away\n");
		(void)fflush(stdout);
	} else if (slice_eq_str(order, "back") && away) {
		away = false;
		new_cleanup(NULL);
	}
}

static void on_orders(int what, void *arg)
{
	char text[1024];
	ssize_t n = read(0, text, sizeof(text));
	struct slice rest = slice_of(text, n > 0 ? (size_t)n : 0), order;

	(void)what;
	(void)arg;
	if (n <= 0) {
		(void)kill(child, SIGKILL);
		_exit(0);
	}
	while (slice_token(&rest, "\n", &order))
		obey(order);
}

static int start_child(const char *program)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
		log_fatal("socketpair: %s", err_str(ERR_SYS));
	child = fork();
	if (child == 0) {
		char *argv[] = {(char *)(uintptr_t)program, NULL};
		(void)dup2(pair[1], SERVER_CONTROL_FD);
		if (pair[0] != SERVER_CONTROL_FD)
			(void)close(pair[0]);
		if (pair[1] != SERVER_CONTROL_FD)
			(void)close(pair[1]);
		(void)execv(program, argv);
		_exit(127);
	}
	(void)close(pair[1]);
	(void)fd_set_cloexec(pair[0], true);
	return pair[0];
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	(void)signal(SIGPIPE, SIG_IGN);
	dir = argv[2];
	int fd = start_child(argv[1]);
	loop_init();
	control = ipc_new(fd, ROLE_MASTER, ROLE_SMTPD, &control_events, NULL, 0);
	say_start(argc > 3 ? argv[3] : NULL);
	struct loop_watch *orders = loop_watch_new(0, on_orders, NULL);
	loop_watch_set(orders, LOOP_READ);
	loop_run();
	return 0;
}

/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "t/local/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conf/mistake.h"
#include "conf/set.h"
#include "map/map.h"
#include "t/tap.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/hash.h"
#include "util/mem.h"
#include "util/wire.h"

enum { WAIT_SECONDS = 60 };

static void put_report(struct stage *s, const struct ipc_msg *m, const char *kind)
{
	static const char letters[] = "ODFRNEUP";
	uint64_t result = ipc_u64(m, FIELD_RESULT);
	buf_add_fmt(&s->events, "%s%llu=%c%.*s ", kind, (unsigned long long)ipc_u64(m, FIELD_INDEX),
		result < sizeof(letters) - 1 ? letters[result] : '?',
		SLICE_FMT(ipc_bytes(m, FIELD_STATUS)));
	buf_reset(&s->text);
	if (ipc_has(m, FIELD_TRANSPORT))
		buf_add_fmt(&s->text, "%.*s:%.*s", SLICE_FMT(ipc_bytes(m, FIELD_TRANSPORT)),
			SLICE_FMT(ipc_bytes(m, FIELD_NEXTHOP)));
	else
		buf_add_slice(&s->text, ipc_bytes(m, FIELD_TEXT));
}

static void qmgr_msg(struct ipc *c, struct ipc_msg *m, void *arg)
{
	struct stage *s = arg;
	switch (m->type) {
	case PROTO_JOB_DOT: buf_add_str(&s->events, "DOT "); break;
	case PROTO_JOB_REPORT: put_report(s, m, "R"); break;
	case PROTO_WORKER_ROOM: s->room += (unsigned)ipc_u64(m, FIELD_COUNT); break;
	case PROTO_JOB_END:
		buf_add_fmt(&s->events, "END%llu ", (unsigned long long)ipc_u64(m, FIELD_FLAGS));
		s->ended++;
		(void)ipc_send(c, PROTO_JOB_NOTED, m->id);
		break;
	case PROTO_HELD_JOB: buf_add_str(&s->events, "HELD "); break;
	case PROTO_HELD_REPORT: put_report(s, m, "HR"); break;
	case PROTO_HELD_END: buf_add_str(&s->events, "HEND "); break;
	case PROTO_HELD_ALL: buf_add_str(&s->events, "HALL "); break;
	case PROTO_NSS_ANSWER:
		buf_add_fmt(&s->text, "%llu", (unsigned long long)ipc_u64(m, FIELD_RESULT));
		if (ipc_has(m, FIELD_VALUE))
			buf_add_fmt(&s->text, " %.*s", SLICE_FMT(ipc_bytes(m, FIELD_VALUE)));
		s->ended++;
		break;
	default: break;
	}
}

static void put_word(struct stage *s, const struct ipc_msg *m, const char *name, enum proto_field f)
{
	if (ipc_has(m, f))
		buf_add_fmt(&s->message, "%s=%.*s\n", name, SLICE_FMT(ipc_bytes(m, f)));
}

static void answer_commit(struct stage *s, struct ipc *c, const struct ipc_msg *m)
{
	put_word(s, m, "header", FIELD_HEADER);
	if (s->refuse > 0) {
		ipc_begin(c, PROTO_MSG_FAILED, m->id);
		ipc_put_u64(c, FIELD_CODE, s->refuse);
		ipc_put_str(c, FIELD_STATUS, s->refuse < 500 ? "4.3.0" : "5.6.0");
		ipc_put_str(c, FIELD_TEXT, "no");
	} else {
		ipc_begin(c, PROTO_MSG_DONE, m->id);
		ipc_put_str(c, FIELD_QUEUE_ID, "CHILD");
		ipc_put_u64(c, FIELD_SIZE, 1);
	}
	(void)ipc_end(c);
}

static void cleanup_msg(struct ipc *c, struct ipc_msg *m, void *arg)
{
	struct stage *s = arg;
	switch (m->type) {
	case PROTO_MSG_OPEN:
		buf_reset(&s->message);
		put_word(s, m, "sender", FIELD_SENDER);
		put_word(s, m, "parent", FIELD_PARENT);
		buf_add_fmt(&s->message, "reason=%llu index=%llu\n",
			(unsigned long long)ipc_u64(m, FIELD_REASON),
			(unsigned long long)ipc_u64(m, FIELD_PARENT_INDEX));
		break;
	case PROTO_MSG_RCPT:
		put_word(s, m, "to", FIELD_RECIPIENT);
		put_word(s, m, "orig", FIELD_ORIG_TO);
		break;
	case PROTO_MSG_DATA:
		buf_add_slice(&s->message, ipc_bytes(m, FIELD_BYTES));
		ipc_begin(c, PROTO_MSG_GRANT, m->id);
		ipc_put_u64(c, FIELD_SIZE, ipc_bytes(m, FIELD_BYTES).len);
		(void)ipc_end(c);
		break;
	case PROTO_MSG_COMMIT: answer_commit(s, c, m); break;
	default: break;
	}
}

static void open_table(struct ipc *c, const struct ipc_msg *m)
{
	char *spec = slice_dup(ipc_bytes(m, FIELD_NAME));
	struct buf path = BUF_INIT(1000);
	int fd = map_spec_path(spec, &path) == 0 ? open(buf_str(&path), O_RDONLY | O_CLOEXEC) : -1;
	ipc_begin(c, PROTO_TABLE_FD, m->id);
	ipc_put_u64(c, FIELD_CODE, fd < 0 ? ENOENT : 0);
	(void)(fd < 0 ? ipc_end(c) : ipc_end_fd(c, &fd));
	buf_clear(&path);
	mem_free(spec);
}

static void master_msg(struct ipc *c, struct ipc_msg *m, void *arg)
{
	struct stage *s = arg;
	if (m->type == PROTO_READY)
		s->is_ready = true;
	else if (m->type == PROTO_TABLE_OPEN)
		open_table(c, m);
}

static void ended(struct ipc *c, int err, void *arg)
{
	struct stage *s = arg;
	if (c == s->master)
		s->is_gone = true;
	if (err != ERR_CLOSED)
		diag("a connection ended: %s", err_str(err));
}

static const struct ipc_events master_events = {master_msg, ended, NULL};
static const struct ipc_events qmgr_events = {qmgr_msg, ended, NULL};
static const struct ipc_events cleanup_events = {cleanup_msg, ended, NULL};

static struct ipc *add_peer(struct stage *s, enum role role, const struct ipc_events *events)
{
	static uint64_t number = 100;
	int fds[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		bail_out("socketpair failed");
	ipc_begin(s->master, PROTO_PEER, 0);
	ipc_put_u64(s->master, FIELD_ROLE, role);
	ipc_put_u64(s->master, FIELD_WORKER, number++);
	ipc_put_str(s->master, FIELD_SERVICE, role_name(role));
	ipc_put_u64(s->master, FIELD_FLAGS, role == ROLE_CLEANUP);
	(void)ipc_end_fd(s->master, &fds[1]);
	return ipc_new(fds[0], role, s->role, events, s, 0);
}

static void send_settings(struct stage *s, const char *settings)
{
	struct slice rest = slice_str(settings), line, name, value;
	struct conf *c = conf_new("/nonexistent");
	struct buf b = BUF_INIT(1 << 20);
	struct mistakes m;
	mistakes_init(&m);
	while (slice_token(&rest, "\n", &line))
		if (set_split(slice_trim(line), &name, &value) == 0)
			set_override(c, name, value, NULL, NULL);
	if (set_build(c, &m) != 0)
		bail_out("settings: %s", buf_str(&m.text));
	set_encode(c, &b);
	while (b.len > 0) {
		struct slice piece = slice_first(buf_slice(&b), 60000);
		ipc_begin(s->master, PROTO_SETTINGS, 0);
		ipc_put_bytes(s->master, FIELD_VALUE, piece);
		ipc_put_u64(s->master, FIELD_FLAGS, piece.len == b.len);
		(void)ipc_end(s->master);
		buf_consume(&b, piece.len);
	}
	buf_clear(&b);
	mistakes_clear(&m);
	conf_free(&c);
}

static void send_hello(struct stage *s, const char *program)
{
	char *service = mem_fmt("%s/unix", program);
	ipc_begin(s->master, PROTO_HELLO, 0);
	ipc_put_str(s->master, FIELD_BUILD, PACKAGE_STRING);
	ipc_put_u64(s->master, FIELD_ROLE, s->role);
	ipc_put_u64(s->master, FIELD_WORKER, 7);
	ipc_put_str(s->master, FIELD_SERVICE, service);
	ipc_put_str(s->master, FIELD_NAME, program);
	ipc_put_u64(s->master, FIELD_FLAGS, geteuid() == 0 ? 0 : 1);
	ipc_put_u64(s->master, FIELD_USER, s->role == ROLE_NSS ? 65534 : 0);
	ipc_put_u64(s->master, FIELD_GROUP, s->role == ROLE_NSS ? 65534 : 0);
	ipc_put_str(s->master, FIELD_PATH, "");
	ipc_put_u64(s->master, FIELD_LIMIT, 10);
	(void)ipc_end(s->master);
	mem_free(service);
}

static void run_program(const char *program, int fd)
{
	const char *build = getenv("GP_BUILD");
	char *path = mem_fmt("%s/local/%s", build != NULL ? build : ".", program);
	/* A sanitizer's leak check traces the process, which nobody may. */
	(void)setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
	if (dup2(fd, 3) == 3)
		execl(path, path, (char *)NULL);
	_exit(127);
}

static bool is_late(int64_t deadline)
{
	loop_once(clock_mono() + 50 * CLOCK_MSEC);
	return clock_mono() > deadline;
}

void stage_turn(void)
{
	loop_once(clock_mono() + 50 * CLOCK_MSEC);
}

void stage_start(struct stage *s, const char *program, const char *settings)
{
	int fds[2];
	*s = (struct stage){.role = strcmp(program, "nss") == 0 ? ROLE_NSS : ROLE_LOCAL,
		.events = BUF_INIT(1 << 20),
		.text = BUF_INIT(4096),
		.message = BUF_INIT(4 << 20)};
	(void)snprintf(s->log_path, sizeof(s->log_path), "/tmp/gp-local-XXXXXX");
	int log = mkostemp(s->log_path, O_APPEND | O_CLOEXEC);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0 || log < 0)
		bail_out("no socket pair, no log");
	s->pid = fork();
	if (s->pid == 0)
		run_program(program, fds[1]);
	fd_close(&fds[1]);
	s->master = ipc_new(fds[0], ROLE_MASTER, s->role, &master_events, s, 0);
	send_hello(s, program);
	send_settings(s, settings);
	ipc_begin(s->master, PROTO_LOG_FD, 0);
	ipc_put_u64(s->master, FIELD_FLAGS, 1);
	(void)ipc_end_fd(s->master, &log);
	(void)ipc_send(s->master, PROTO_START, 0);
	s->qmgr = add_peer(s, s->role == ROLE_NSS ? ROLE_SMTPD : ROLE_QMGR, &qmgr_events);
	if (s->role == ROLE_NSS)
		s->room = 10;
	else
		s->cleanup = add_peer(s, ROLE_CLEANUP, &cleanup_events);
	int64_t deadline = clock_mono() + WAIT_SECONDS * CLOCK_SEC;
	while ((!s->is_ready || s->room == 0) && !s->is_gone && !is_late(deadline))
		;
	ok(s->is_ready && s->room == 10, "%s is ready, with room for 10", program);
}

void stage_end(struct stage *s)
{
	int64_t deadline = clock_mono() + WAIT_SECONDS * CLOCK_SEC;
	(void)ipc_send(s->master, PROTO_STOP, 0);
	while (!s->is_gone && !is_late(deadline))
		;
	if (!ok(s->is_gone, "it stops"))
		kill(s->pid, SIGKILL);
	int status = -1;
	waitpid(s->pid, &status, 0);
	is_int(status, 0, "in good order");
	ipc_free(&s->master);
	ipc_free(&s->qmgr);
	ipc_free(&s->cleanup);
	buf_clear(&s->events);
	buf_clear(&s->text);
	buf_clear(&s->message);
	unlink(s->log_path);
}

const char *stage_look_up(struct stage *s, const char *name, const char *key)
{
	int64_t deadline = clock_mono() + WAIT_SECONDS * CLOCK_SEC;
	unsigned before = s->ended;
	uint64_t id = ipc_ask(s->qmgr);
	buf_reset(&s->text);
	ipc_begin(s->qmgr, PROTO_NSS_LOOKUP, id);
	ipc_put_str(s->qmgr, FIELD_NAME, name);
	ipc_put_bytes(s->qmgr, FIELD_KEY, slice_str(key));
	(void)ipc_end(s->qmgr);
	while (s->ended == before && !s->is_gone && !is_late(deadline))
		;
	return buf_str(&s->text);
}

void stage_wait_event(struct stage *s, const char *word)
{
	int64_t deadline = clock_mono() + WAIT_SECONDS * CLOCK_SEC;
	while (strstr(buf_str(&s->events), word) == NULL && !s->is_gone && !is_late(deadline))
		;
}

static void send_rcpts(struct stage *s, uint64_t id, const struct stage_job *j)
{
	struct slice rest = slice_str(j->rcpts), word, address;
	for (uint64_t i = 0; slice_token(&rest, " ", &word); i++) {
		slice_part(&word, '=', &address);
		ipc_begin(s->qmgr, PROTO_JOB_RCPT, id);
		ipc_put_u64(s->qmgr, FIELD_INDEX, i);
		ipc_put_text(s->qmgr, FIELD_RECIPIENT, address);
		if (word.len > 0)
			ipc_put_text(s->qmgr, FIELD_ORIG_TO, word);
		ipc_put_u64(s->qmgr, FIELD_ATTEMPTS, j->attempts);
		(void)ipc_end(s->qmgr);
	}
}

static void send_body(struct stage *s, uint64_t id, const struct stage_job *j)
{
	struct slice rest = slice_str(j->body), block;
	struct buf sums = BUF_INIT(4096);
	int fd = -1;
	if (fd_memory("body", &fd) != 0 || fd_write_full(fd, j->body, strlen(j->body)) != 0)
		bail_out("no body");
	while (rest.len > 0) {
		block = slice_first(rest, 65536);
		rest = slice_from(rest, block.len);
		wire_u32(&sums, crc32c(0, block.p, block.len) ^ (j->has_bad_sum && rest.len == 0));
	}
	ipc_begin(s->qmgr, PROTO_JOB_BODY, id);
	ipc_put_u64(s->qmgr, FIELD_SIZE, strlen(j->body));
	ipc_put_bytes(s->qmgr, FIELD_BYTES, buf_slice(&sums));
	(void)ipc_end_fd(s->qmgr, &fd);
	buf_clear(&sums);
}

void stage_give(struct stage *s, const struct stage_job *j)
{
	static uint64_t number = 1000;
	const uint64_t arrival = UINT64_C(1795255200) * CLOCK_SEC + 4711;
	size_t size = strlen(j->content) + (j->body != NULL ? strlen(j->body) : 0);
	const char *end = strstr(j->content, "\r\n\r\n");
	uint64_t id = ipc_ask(s->qmgr);
	s->request = id;
	buf_reset(&s->events);
	buf_reset(&s->text);
	ipc_begin(s->qmgr, PROTO_JOB, id);
	ipc_put_u64(s->qmgr, FIELD_JOB, number++);
	ipc_put_str(s->qmgr, FIELD_QUEUE_ID, "ABCDEF12345");
	ipc_put_str(s->qmgr, FIELD_SENDER, j->sender != NULL ? j->sender : "s@client.test");
	ipc_put_str(s->qmgr, FIELD_TRANSPORT, "local");
	ipc_put_str(s->qmgr, FIELD_NEXTHOP, "");
	ipc_put_u64(s->qmgr, FIELD_TIME, arrival);
	ipc_put_u64(s->qmgr, FIELD_ACTIVE, arrival);
	ipc_put_u64(s->qmgr, FIELD_SIZE, size);
	ipc_put_u64(s->qmgr, FIELD_HEADER_LEN,
		end != NULL ? (uint64_t)(end - j->content) + 4 : strlen(j->content));
	ipc_put_u64(s->qmgr, FIELD_FLAGS, 0);
	(void)ipc_end(s->qmgr);
	send_rcpts(s, id, j);
	ipc_begin(s->qmgr, PROTO_JOB_DATA, id);
	ipc_put_bytes(s->qmgr, FIELD_BYTES, slice_str(j->content));
	(void)ipc_end(s->qmgr);
	if (j->body != NULL)
		send_body(s, id, j);
	(void)ipc_send(s->qmgr, PROTO_JOB_GO, id);
}

void stage_run(struct stage *s, const struct stage_job *j)
{
	unsigned before = s->ended;
	int64_t deadline = clock_mono() + WAIT_SECONDS * CLOCK_SEC;
	stage_give(s, j);
	while (s->ended == before && !s->is_gone && !is_late(deadline))
		;
	if (s->ended == before)
		diag("no end of the job: %s", buf_str(&s->events));
}

void stage_new_qmgr(struct stage *s)
{
	struct ipc *old = s->qmgr;
	buf_reset(&s->events);
	s->qmgr = add_peer(s, ROLE_QMGR, &qmgr_events);
	(void)ipc_flush(s->master);
	ipc_free(&old);
}

static bool is_in_log(const struct stage *s, const char *text)
{
	struct buf all = BUF_INIT(4 << 20);
	int fd = open(s->log_path, O_RDONLY | O_CLOEXEC);
	bool found = fd >= 0 && fd_read_all(fd, &all) == 0 && strstr(buf_str(&all), text) != NULL;
	fd_close(&fd);
	buf_clear(&all);
	return found;
}

bool stage_has_logged(const struct stage *s, const char *text)
{
	int64_t deadline = clock_mono() + WAIT_SECONDS * CLOCK_SEC;
	while (!is_in_log(s, text))
		if (is_late(deadline))
			return false;
	return true;
}

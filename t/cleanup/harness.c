/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "t/cleanup/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conf/set.h"
#include "map/map.h"
#include "net/loop.h"
#include "queue/segment.h"
#include "server/server.h"
#include "t/tap.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

enum { PATIENCE = 20, PIECE = 50000 };

const char *harness_path(const struct harness *h, const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", h->dir, name);
	return path;
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0)
		bail_out("cannot write %s", path);
}

/* A table is opened for the program by its name. */
static void open_table(struct ipc *c, const struct ipc_msg *m)
{
	char *spec = slice_dup(ipc_bytes(m, FIELD_NAME));
	struct buf path = BUF_INIT(256);
	int fd = -1;

	if (map_spec_path(spec, &path) == 0)
		fd = open(buf_str(&path), O_RDONLY | O_CLOEXEC);
	ipc_begin(c, PROTO_TABLE_FD, m->id);
	ipc_put_u64(c, FIELD_CODE, fd >= 0 ? 0 : ENOENT);
	if (fd >= 0)
		ipc_end_fd(c, &fd);
	else
		ipc_end(c);
	buf_clear(&path);
	mem_free(spec);
}

static void master_msg(struct ipc *c, struct ipc_msg *m, void *arg)
{
	struct harness *h = arg;

	if (m->type == PROTO_READY)
		h->is_ready = true;
	else if (m->type == PROTO_TABLE_OPEN)
		open_table(c, m);
}

static void master_end(struct ipc *c, int err, void *arg)
{
	struct harness *h = arg;

	(void)c;
	(void)err;
	h->has_ended = true;
	ipc_free(&h->master);
}

static const struct ipc_events master_events = {master_msg, master_end, NULL};

static void say_hello(struct harness *h, enum role role)
{
	ipc_begin(h->master, PROTO_HELLO, 0);
	ipc_put_str(h->master, FIELD_BUILD, PACKAGE_STRING);
	ipc_put_u64(h->master, FIELD_ROLE, role);
	ipc_put_u64(h->master, FIELD_WORKER, ++h->workers);
	ipc_put_str(h->master, FIELD_SERVICE, "test/unix");
	ipc_put_str(h->master, FIELD_NAME, role_name(role));
	ipc_put_u64(h->master, FIELD_FLAGS, 1);
	ipc_put_u64(h->master, FIELD_USER, getuid());
	ipc_put_u64(h->master, FIELD_GROUP, getgid());
	ipc_put_str(h->master, FIELD_PATH, "");
	ipc_end(h->master);
}

static void say_settings(struct harness *h)
{
	struct conf *c = conf_new(h->dir);
	struct mistakes m;
	struct buf encoded = BUF_INIT(4 << 20);
	struct slice rest;

	mistakes_init(&m);
	set_read_main(c, &m);
	if (set_build(c, &m) != 0)
		bail_out("settings: %s", buf_str(&m.text));
	set_encode(c, &encoded);
	rest = buf_slice(&encoded);
	do {
		struct slice piece = slice_first(rest, PIECE);

		rest = slice_from(rest, piece.len);
		ipc_begin(h->master, PROTO_SETTINGS, 0);
		ipc_put_bytes(h->master, FIELD_VALUE, piece);
		ipc_put_u64(h->master, FIELD_FLAGS, rest.len == 0 ? 1 : 0);
		ipc_end(h->master);
	} while (rest.len > 0);
	buf_clear(&encoded);
	mistakes_clear(&m);
	conf_free(&c);
}

static void say_log(struct harness *h)
{
	int fd = open(harness_path(h, "log"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	ipc_begin(h->master, PROTO_LOG_FD, 0);
	ipc_put_u64(h->master, FIELD_FLAGS, 1);
	ipc_end_fd(h->master, &fd);
}

static void run(struct harness *h, const char *program, enum role role)
{
	const char *build = getenv("GP_BUILD");
	char path[512];
	int pair[2];

	snprintf(path, sizeof(path), "%s/%s", build != NULL ? build : ".", program);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		bail_out("socketpair");
	h->is_ready = h->has_ended = false;
	h->pid = fork();
	if (h->pid == 0) {
		/* The descriptor may be the wanted one already, with close-on-exec. */
		int fd = fcntl(pair[1], F_DUPFD, SERVER_CONTROL_FD + 1);

		dup2(fd, SERVER_CONTROL_FD);
		close(fd);
		/* The leak check does not work under strace. */
		if (h->inject != NULL && setenv("ASAN_OPTIONS", "detect_leaks=0", 1) == 0)
			execlp("strace", "strace", "-f", "-qq", "-o", "/dev/null", "-e", h->inject,
				h->inject_path != NULL ? "-P" : path,
				h->inject_path != NULL ? harness_path(h, h->inject_path) : NULL,
				path, (char *)NULL);
		execl(path, path, (char *)NULL);
		_exit(127);
	}
	close(pair[1]);
	h->master = ipc_new(pair[0], ROLE_MASTER, role, &master_events, h, 0);
	say_hello(h, role);
	say_settings(h);
	say_log(h);
	ipc_send(h->master, PROTO_START, 0);
	while (!h->is_ready && !h->has_ended)
		loop_once(loop_now() + PATIENCE * CLOCK_SEC);
	if (!h->is_ready)
		bail_out("%s did not start: %s", program, harness_log(h));
}

void harness_start(struct harness *h, const char *program, enum role role, const char *settings)
{
	struct buf cf = BUF_INIT(65536);
	const char *tmp = getenv("TMPDIR");
	char queue[256];

	*h = (struct harness){.pid = -1, .inject = h->inject, .inject_path = h->inject_path};
	signal(SIGPIPE, SIG_IGN);
	snprintf(h->dir, sizeof(h->dir), "%s/gp-XXXXXX", tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(h->dir) == NULL)
		bail_out("mkdtemp %s", h->dir);
	snprintf(queue, sizeof(queue), "%s", harness_path(h, "queue"));
	mkdir(queue, 0700);
	if (queue_root_open(queue, &h->root) != 0 || queue_root_make(&h->root) != 0)
		bail_out("queue in %s", queue);
	if (mkdir(harness_path(h, "queue/maildrop"), 0730) != 0 ||
		mkdir(harness_path(h, "queue/public"), 0755) != 0)
		bail_out("queue in %s", queue);
	buf_add_fmt(&cf,
		"queue_directory = %s\nmyhostname = mx.example\nmydomain = example\n"
		"mynetworks = 127.0.0.0/8\ninet_interfaces = 127.0.0.1\n%s",
		queue, settings);
	write_file(harness_path(h, "main.cf"), buf_str(&cf));
	buf_clear(&cf);
	run(h, program, role);
}

static void reap(struct harness *h, int *status)
{
	waitpid(h->pid, status, 0);
	h->pid = -1;
	ipc_free(&h->master);
}

void harness_restart(struct harness *h, const char *program, enum role role)
{
	int status = 0;

	kill(h->pid, SIGKILL);
	reap(h, &status);
	run(h, program, role);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int harness_stop(struct harness *h)
{
	int status = 0;

	if (h->master != NULL) {
		ipc_send(h->master, PROTO_STOP, 0);
		while (!h->has_ended)
			loop_once(loop_now() + PATIENCE * CLOCK_SEC);
	}
	reap(h, &status);
	queue_root_close(&h->root);
	mem_free(h->log);
	h->log = NULL;
	nftw(h->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return status;
}

int harness_peer_fd(struct harness *h, enum role role, bool asks)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		bail_out("socketpair");
	ipc_begin(h->master, PROTO_PEER, 0);
	ipc_put_u64(h->master, FIELD_ROLE, role);
	ipc_put_u64(h->master, FIELD_WORKER, ++h->workers);
	ipc_put_str(h->master, FIELD_SERVICE, "peer/unix");
	ipc_put_u64(h->master, FIELD_FLAGS, asks ? 1 : 0);
	ipc_end_fd(h->master, &pair[1]);
	ipc_flush(h->master);
	return pair[0];
}

struct ipc *harness_peer(
	struct harness *h, enum role role, bool asks, const struct ipc_events *events, void *arg)
{
	return ipc_new(harness_peer_fd(h, role, asks), role, ROLE_CLEANUP, events, arg, 0);
}

void harness_wait(const bool *condition)
{
	int64_t until = clock_mono() + PATIENCE * CLOCK_SEC;

	while (!*condition) {
		if (clock_mono() > until)
			bail_out("what is waited for does not come");
		loop_once(until);
	}
}

void harness_idle(void)
{
	int64_t until = clock_mono() + 50 * CLOCK_MSEC;

	while (clock_mono() < until)
		loop_once(until);
}

const char *harness_log(struct harness *h)
{
	struct buf text = BUF_INIT(16 << 20);
	int fd = open(harness_path(h, "log"), O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		fd_read_all(fd, &text);
	fd_close(&fd);
	mem_free(h->log);
	h->log = slice_dup(buf_slice(&text));
	buf_clear(&text);
	return h->log;
}

const char *harness_wait_log(struct harness *h, const char *text)
{
	int64_t until = clock_mono() + PATIENCE * CLOCK_SEC;
	const char *at = NULL;

	while ((at = strstr(harness_log(h), text)) == NULL && clock_mono() < until)
		loop_once(loop_now() + CLOCK_MSEC);
	return at;
}

/* Records. */

static bool find_in(struct queue_segment *s, const char *id, struct harness_record *r)
{
	uint64_t offset = queue_segment_begin(s), gap;
	struct queue_record record;
	struct slice payload;

	while (queue_record_next(s, &offset, queue_segment_end(s), false, &record, &gap) == 0) {
		if (strcmp(record.id, id) != 0)
			continue;
		if (queue_record_payload(s, &record, record.ref.length, false, &payload) != 0)
			return false;
		buf_init(&r->bytes, 64 << 20);
		buf_add_slice(&r->bytes, payload);
		payload = buf_slice(&r->bytes);
		r->content = slice_from(payload, record.ref.envelope_len);
		return queue_envelope_decode(
			       slice_first(payload, record.ref.envelope_len), &r->env) == 0;
	}
	return false;
}

bool harness_record(struct harness *h, const char *id, struct harness_record *r)
{
	bool found = false;

	*r = (struct harness_record){0};
	for (uint32_t n = 1; n < 10 && !found; n++) {
		struct queue_segment s;

		if (queue_segment_open(&h->root, n, &s) != 0)
			continue;
		found = find_in(&s, id, r);
		queue_segment_close(&s);
	}
	return found;
}

void harness_record_clear(struct harness_record *r)
{
	buf_clear(&r->bytes);
}

/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "t/client/worker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conf/set.h"
#include "conf/mistake.h"
#include "dns/hosts.h"
#include "mail/stage.h"
#include "t/tap.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

/*
 * Events: DOT · R<index>=<result letter><status> (O delivered, D deferred, F failed, U untried) ·
 * END<flags> · HELD<job>/<n> · HR<index>=… · HEND · HALL · IDLE<n>
 */
static char result_letter(uint64_t result)
{
	static const char letters[] = "ODFRNEU";
	return result < sizeof(letters) - 1 ? letters[result] : '?';
}

static void add_report(struct worker *w, const char *kind, const struct ipc_msg *m)
{
	buf_add_fmt(&w->events, "%s%llu=%c%.*s ", kind, (unsigned long long)ipc_u64(m, FIELD_INDEX),
		result_letter(ipc_u64(m, FIELD_RESULT)), SLICE_FMT(ipc_bytes(m, FIELD_STATUS)));
	buf_add_fmt(&w->facts, "%s/%llu/%llu ", stage_str((enum stage)ipc_u64(m, FIELD_STAGE)),
		(unsigned long long)ipc_u64(m, FIELD_CODE),
		(unsigned long long)ipc_u64(m, FIELD_FLAGS));
	if (ipc_has(m, FIELD_TRANSPORT)) {
		buf_add_fmt(&w->events, "%.*s:%.*s ", SLICE_FMT(ipc_bytes(m, FIELD_TRANSPORT)),
			SLICE_FMT(ipc_bytes(m, FIELD_NEXTHOP)));
	}
}

static void job_ended(struct worker *w, struct ipc *c, const struct ipc_msg *m)
{
	buf_add_fmt(&w->events, "END%llu ", (unsigned long long)ipc_u64(m, FIELD_FLAGS));
	w->ended++;
	(void)ipc_send(c, PROTO_JOB_NOTED, m->id);
}

static unsigned count_fields(const struct ipc_msg *m, enum proto_field f)
{
	size_t at = 0;
	uint64_t v = 0;
	unsigned n = 0;
	while (ipc_next_u64(m, f, &at, &v)) {
		n++;
	}
	return n;
}

static void qmgr_msg(struct ipc *c, struct ipc_msg *m, void *arg)
{
	struct worker *w = arg;
	switch (m->type) {
	case PROTO_JOB_DOT: buf_add_str(&w->events, "DOT "); break;
	case PROTO_JOB_REPORT: add_report(w, "R", m); break;
	case PROTO_JOB_END: job_ended(w, c, m); break;
	case PROTO_WORKER_ROOM:
		w->room += (unsigned)ipc_u64(m, FIELD_COUNT);
		buf_add_str(&w->events, ipc_u64(m, FIELD_COUNT) == 0 ? "LEAVING " : "");
		break;
	case PROTO_SESSION_IDLE:
		buf_add_fmt(&w->events, "IDLE%llu ", (unsigned long long)ipc_u64(m, FIELD_COUNT));
		break;
	case PROTO_HELD_JOB:
		buf_add_fmt(&w->events, "HELD%llu/%u ", (unsigned long long)ipc_u64(m, FIELD_JOB),
			count_fields(m, FIELD_INDEX));
		break;
	case PROTO_HELD_REPORT: add_report(w, "HR", m); break;
	case PROTO_HELD_END:
		buf_add_str(&w->events, "HEND ");
		ipc_begin(c, PROTO_HELD_NOTED, 0);
		ipc_put_u64(c, FIELD_JOB, ipc_u64(m, FIELD_JOB));
		(void)ipc_end(c);
		break;
	case PROTO_HELD_ALL: buf_add_str(&w->events, "HALL "); break;
	default: break;
	}
}

static void add_addr(struct hosts *h, unsigned pref, const char *addr, const char *host)
{
	struct in_addr in = {0};
	(void)inet_pton(AF_INET, addr, &in);
	hosts_add_addr(h, hosts_add_host(h, slice_str(host), (uint16_t)pref), AF_INET, &in);
	h->mx = true;
	h->best = h->addr[0].pref;
}

static void resolver_msg(struct ipc *c, struct ipc_msg *m, void *arg)
{
	struct worker *w = arg;
	struct hosts *h = mem_alloc(sizeof(*h));
	struct buf b = BUF_INIT(65536);
	struct slice name = ipc_bytes(m, FIELD_KEY);
	w->asked++;
	h->name = name;
	h->type = DNS_MX;
	if (slice_eq_str(name, "two.test")) {
		add_addr(h, 10, "127.0.0.1", "a.two.test");
		add_addr(h, 20, "127.0.0.2", "b.two.test");
	} else if (slice_eq_str(name, "down.test")) {
		add_addr(h, 10, "127.0.0.3", "a.down.test");
		add_addr(h, 20, "127.0.0.1", "b.down.test");
	} else if (slice_eq_str(name, "self.test")) {
		add_addr(h, 10, "192.0.2.99", "mx.self.test");
	} else if (slice_eq_str(name, "nohost.test")) {
		h->mx = true;
		h->status = DNS_NXDOMAIN;
		h->type = DNS_A;
	} else if (slice_eq_str(name, "one.test") || slice_eq_str(name, "also.test")) {
		add_addr(h, 10, "127.0.0.1", "mx.one.test");
	} else {
		h->status = slice_eq_str(name, "nx.test")     ? DNS_NXDOMAIN
			    : slice_eq_str(name, "null.test") ? DNS_NULLMX
							      : DNS_TEMP;
		h->type = h->status == DNS_NXDOMAIN ? DNS_A : DNS_MX;
	}
	hosts_encode(&b, h);
	ipc_begin(c, PROTO_DNS_HOSTS_ANSWER, m->id);
	ipc_put_bytes(c, FIELD_VALUE, buf_slice(&b));
	(void)ipc_end(c);
	buf_clear(&b);
	mem_free(h);
}

/* The test's side of master: it connects UNIX sockets and hears that the program is ready. */
static void master_msg(struct ipc *c, struct ipc_msg *m, void *arg)
{
	struct worker *w = arg;
	if (m->type == PROTO_READY) {
		w->ready = true;
	} else if (m->type == PROTO_CONNECT) {
		ipc_begin(c, PROTO_CONNECTED, m->id);
		ipc_put_u64(c, FIELD_CODE, ENOENT);
		(void)ipc_end(c);
	}
}

static void ended(struct ipc *c, int err, void *arg)
{
	struct worker *w = arg;
	w->gone = w->gone || c == w->master;
}

static const struct ipc_events master_events = {master_msg, ended, NULL};
static const struct ipc_events qmgr_events = {qmgr_msg, ended, NULL};
static const struct ipc_events resolver_events = {resolver_msg, ended, NULL};

static void pair(int fds[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
		bail_out("socketpair failed");
	}
}

static struct ipc *add_peer(struct worker *w, enum role role, const struct ipc_events *events)
{
	static uint64_t number = 100;
	int fds[2];
	pair(fds);
	ipc_begin(w->master, PROTO_PEER, 0);
	ipc_put_u64(w->master, FIELD_ROLE, role);
	ipc_put_u64(w->master, FIELD_WORKER, number++);
	ipc_put_str(w->master, FIELD_SERVICE, role == ROLE_QMGR ? "qmgr/unix" : "resolver/unix");
	ipc_put_u64(w->master, FIELD_FLAGS, role == ROLE_RESOLVER);
	(void)ipc_end_fd(w->master, &fds[1]);
	return ipc_new(fds[0], role, ROLE_CLIENT, events, w, 0);
}

static void send_settings(struct worker *w, const char *settings)
{
	struct slice rest = slice_str(settings), line, name, value;
	struct conf *c = conf_new("/nonexistent");
	struct mistakes m;
	struct buf b = BUF_INIT(1 << 20);
	mistakes_init(&m);
	while (slice_token(&rest, ";", &line)) {
		if (set_split(slice_trim(line), &name, &value) == 0) {
			set_override(c, name, value, NULL, NULL);
		}
	}
	if (set_build(c, &m) != 0) {
		bail_out("settings: %s", buf_str(&m.text));
	}
	set_encode(c, &b);
	while (b.len > 0) {
		struct slice piece = slice_first(buf_slice(&b), 60000);
		ipc_begin(w->master, PROTO_SETTINGS, 0);
		ipc_put_bytes(w->master, FIELD_VALUE, piece);
		ipc_put_u64(w->master, FIELD_FLAGS, piece.len == b.len);
		(void)ipc_end(w->master);
		buf_consume(&b, piece.len);
	}
	buf_clear(&b);
	mistakes_clear(&m);
	conf_free(&c);
}

static void send_start(struct worker *w, bool lmtp, const char *settings)
{
	int fd = open(w->log_path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	ipc_begin(w->master, PROTO_HELLO, 0);
	ipc_put_str(w->master, FIELD_BUILD, PACKAGE_STRING);
	ipc_put_u64(w->master, FIELD_ROLE, ROLE_CLIENT);
	ipc_put_u64(w->master, FIELD_WORKER, 7);
	ipc_put_str(w->master, FIELD_SERVICE, lmtp ? "lmtp/unix" : "smtp/unix");
	ipc_put_str(w->master, FIELD_NAME, lmtp ? "lmtp" : "smtp");
	ipc_put_u64(w->master, FIELD_FLAGS, lmtp ? 3 : 1);
	ipc_put_u64(w->master, FIELD_USER, getuid());
	ipc_put_u64(w->master, FIELD_GROUP, getgid());
	ipc_put_str(w->master, FIELD_PATH, "/");
	ipc_put_u64(w->master, FIELD_LIMIT, 50);
	(void)ipc_end(w->master);
	send_settings(w, settings);
	ipc_begin(w->master, PROTO_LOG_FD, 0);
	ipc_put_u64(w->master, FIELD_FLAGS, 1);
	(void)ipc_end_fd(w->master, &fd);
	(void)ipc_send(w->master, PROTO_START, 0);
}

static void run_program(int fd)
{
	const char *build = getenv("GP_BUILD");
	char *path = mem_fmt("%s/smtp-client/smtp-client", build != NULL ? build : ".");
	/* A sanitizer's leak check traces the process, which nobody may. */
	(void)setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
	if (dup2(fd, 3) == 3) {
		execl(path, path, (char *)NULL);
	}
	_exit(127);
}

void worker_start(struct worker *w, bool lmtp, const char *settings)
{
	int fds[2];
	*w = (struct worker){
		.log = BUF_INIT(1 << 20), .events = BUF_INIT(1 << 20), .facts = BUF_INIT(1 << 20)};
	(void)snprintf(w->log_path, sizeof(w->log_path), "/tmp/gp-client-XXXXXX");
	int fd = mkstemp(w->log_path);
	fd_close(&fd);
	pair(fds);
	w->pid = fork();
	if (w->pid == 0) {
		run_program(fds[1]);
	}
	fd_close(&fds[1]);
	w->master = ipc_new(fds[0], ROLE_MASTER, ROLE_CLIENT, &master_events, w, 0);
	send_start(w, lmtp, settings);
	w->qmgr = add_peer(w, ROLE_QMGR, &qmgr_events);
	w->resolver = add_peer(w, ROLE_RESOLVER, &resolver_events);
	worker_wait_true(&w->ready);
	worker_wait(&w->room, 50);
}

static bool is_over(int64_t deadline)
{
	loop_once(clock_mono() + 50 * CLOCK_MSEC);
	return clock_mono() > deadline;
}

void worker_wait(const unsigned *n, unsigned want)
{
	int64_t deadline = clock_mono() + 20 * CLOCK_SEC;
	while (*n < want && !is_over(deadline)) {
	}
}

void worker_wait_true(const bool *flag)
{
	int64_t deadline = clock_mono() + 20 * CLOCK_SEC;
	while (!*flag && !is_over(deadline)) {
	}
}

void worker_wait_event(const struct worker *w, const char *text)
{
	int64_t deadline = clock_mono() + 20 * CLOCK_SEC;
	while (strstr(buf_str(&w->events), text) == NULL && !is_over(deadline)) {
	}
}

void worker_new_qmgr(struct worker *w)
{
	struct ipc *old = w->qmgr;
	w->qmgr = add_peer(w, ROLE_QMGR, &qmgr_events);
	(void)ipc_flush(w->master);
	ipc_free(&old);
}

static void send_rcpts(struct worker *w, uint64_t id, const struct job_spec *spec)
{
	struct slice rest = slice_str(spec->rcpts), word;
	for (uint64_t i = 0; slice_token(&rest, " ", &word); i++) {
		char *address = mem_fmt("%.*s@example.test", SLICE_FMT(word));
		ipc_begin(w->qmgr, PROTO_JOB_RCPT, id);
		ipc_put_u64(w->qmgr, FIELD_INDEX, i);
		ipc_put_str(w->qmgr, FIELD_RECIPIENT, address);
		if (spec->orcpt != NULL) {
			ipc_put_str(w->qmgr, FIELD_ORCPT, spec->orcpt);
		}
		if (spec->notify != 0) {
			ipc_put_u64(w->qmgr, FIELD_NOTIFY, spec->notify);
		}
		(void)ipc_end(w->qmgr);
		mem_free(address);
	}
}

void worker_job(struct worker *w, const struct job_spec *spec)
{
	static uint64_t number = 1000;
	uint64_t id = ipc_ask(w->qmgr), now = (uint64_t)clock_real();
	size_t len = spec->content_len > 0 ? spec->content_len : strlen(spec->content);
	struct slice content = slice_of(spec->content, len);
	w->last_id = id;
	ipc_begin(w->qmgr, PROTO_JOB, id);
	ipc_put_u64(w->qmgr, FIELD_JOB, number++);
	ipc_put_str(w->qmgr, FIELD_QUEUE_ID, "ABCDEF12345");
	ipc_put_str(
		w->qmgr, FIELD_SENDER, spec->sender != NULL ? spec->sender : "from@example.test");
	ipc_put_str(w->qmgr, FIELD_TRANSPORT, "smtp");
	ipc_put_str(w->qmgr, FIELD_NEXTHOP, spec->nexthop);
	ipc_put_u64(w->qmgr, FIELD_TIME, now);
	ipc_put_u64(w->qmgr, FIELD_ACTIVE, now);
	ipc_put_u64(w->qmgr, FIELD_SIZE, len + spec->body_size);
	ipc_put_u64(w->qmgr, FIELD_HEADER_LEN, len);
	ipc_put_u64(w->qmgr, FIELD_FLAGS, spec->flags);
	if (spec->envid != NULL) {
		ipc_put_str(w->qmgr, FIELD_ENVID, spec->envid);
	}
	if (spec->ret != 0) {
		ipc_put_u64(w->qmgr, FIELD_RET, spec->ret);
	}
	(void)ipc_end(w->qmgr);
	send_rcpts(w, id, spec);
	while (content.len > 0) {
		struct slice piece = slice_first(content, 60000);
		ipc_begin(w->qmgr, PROTO_JOB_DATA, id);
		ipc_put_bytes(w->qmgr, FIELD_BYTES, piece);
		(void)ipc_end(w->qmgr);
		content = slice_from(content, piece.len);
	}
	if (spec->body_fd > 0) {
		int fd = dup(spec->body_fd);
		ipc_begin(w->qmgr, PROTO_JOB_BODY, id);
		ipc_put_u64(w->qmgr, FIELD_SIZE, spec->body_size);
		(void)ipc_end_fd(w->qmgr, &fd);
	}
	(void)ipc_send(w->qmgr, PROTO_JOB_GO, id);
}

const char *worker_read_log(struct worker *w)
{
	int fd = open(w->log_path, O_RDONLY | O_CLOEXEC);
	buf_reset(&w->log);
	if (fd >= 0) {
		(void)fd_read_all(fd, &w->log);
	}
	fd_close(&fd);
	return buf_str(&w->log);
}

void worker_stop(struct worker *w)
{
	int status = 0;
	ipc_free(&w->master);
	int64_t deadline = clock_mono() + 20 * CLOCK_SEC;
	while (waitpid(w->pid, &status, WNOHANG) == 0) {
		if (clock_mono() > deadline) {
			(void)kill(w->pid, SIGKILL);
			fail("smtp-client did not end by itself");
			(void)waitpid(w->pid, &status, 0);
			break;
		}
		loop_once(clock_mono() + 20 * CLOCK_MSEC);
	}
	is_int(status, 0, "smtp-client ended in good order");
	ipc_free(&w->qmgr);
	ipc_free(&w->resolver);
	(void)unlink(w->log_path);
	buf_clear(&w->log);
	buf_clear(&w->events);
	buf_clear(&w->facts);
}

/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conf/conf.h"
#include "ipc/ipc.h"
#include "net/addr.h"
#include "queue/file.h"
#include "tools/gateq.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

/* qmgr at public/qmgr. Requests wait for their answers here, many under way at a time. */

#define IN_FLIGHT 500
#define ANSWER_TIME (600 * CLOCK_SEC)

static struct ipc *ipc;
static bool has_ended;

/* What is under way; requests carry the id they are about as their pointer. */
static struct {
	size_t open;
	int result;
	char why[512];
	struct gateq_message message; /* of a list: the one that is not complete yet */
	bool has_message;
	void (*each)(const struct gateq_message *m, void *arg);
	gateq_done *done;
	void (*text)(struct slice piece, void *arg);
	void *arg;
	uint64_t header, count;
} now;

static int result_of(uint64_t result)
{
	switch (result) {
	case RESULT_OK: return 0;
	case RESULT_NOT_FOUND: return ERR_NOT_FOUND;
	case RESULT_DEFERRED: return ERR_AGAIN;
	default: return ERR_DENIED;
	}
}

static void give_message(void)
{
	if (now.has_message && now.each != NULL)
		now.each(&now.message, now.arg);
	gateq_message_clear(&now.message);
	now.has_message = false;
}

static void take_message(struct ipc_msg *msg)
{
	struct gateq_message *m = &now.message;

	give_message();
	now.has_message = true;
	snprintf(m->id, sizeof(m->id), "%.*s", SLICE_FMT(ipc_bytes(msg, FIELD_QUEUE_ID)));
	snprintf(m->queue, sizeof(m->queue), "%.*s", SLICE_FMT(ipc_bytes(msg, FIELD_NAME)));
	m->arrival = (int64_t)ipc_u64(msg, FIELD_TIME);
	m->next = (int64_t)ipc_u64(msg, FIELD_DEADLINE);
	m->size = ipc_u64(msg, FIELD_SIZE);
	m->is_forced = ipc_u64(msg, FIELD_FLAGS) & 1;
	m->sender = slice_dup(ipc_bytes(msg, FIELD_SENDER));
}

static void take_rcpt(struct ipc_msg *msg)
{
	struct gateq_rcpt_parts p = {
		.address = ipc_bytes(msg, FIELD_RECIPIENT),
		.orig_to = ipc_bytes(msg, FIELD_ORIG_TO),
		.transport = ipc_bytes(msg, FIELD_TRANSPORT),
		.nexthop = ipc_bytes(msg, FIELD_NEXTHOP),
		.site = ipc_bytes(msg, FIELD_SITE),
		.status = ipc_bytes(msg, FIELD_STATUS),
		.host = ipc_bytes(msg, FIELD_REMOTE),
		.reason = ipc_bytes(msg, FIELD_TEXT),
		.attempts = ipc_u64(msg, FIELD_ATTEMPTS),
		.last = (int64_t)ipc_u64(msg, FIELD_TIME),
		.next = (int64_t)ipc_u64(msg, FIELD_DEADLINE),
	};

	if (now.has_message)
		gateq_message_add(&now.message, &p);
}

/* The bytes of a large body, verified as a delivery worker would. */
static void take_body(struct ipc_msg *msg)
{
	struct queue_body_reader r;
	struct slice piece;
	int fd = ipc_take_fd(msg), err;

	if (fd < 0)
		return;
	queue_body_reader_init(&r, &queue_io_posix, fd, ipc_u64(msg, FIELD_SIZE));
	while ((err = queue_body_reader_next(&r, &piece)) == 0 && piece.len > 0)
		now.text(piece, now.arg);
	queue_body_reader_clear(&r);
	fd_close(&fd);
	if (err != 0)
		gateq_error("the body is damaged: %s", err_str(err));
}

static void take_done(struct ipc_msg *msg)
{
	char *id = msg->arg;
	int result = result_of(ipc_u64(msg, FIELD_RESULT));

	give_message();
	snprintf(now.why, sizeof(now.why), "%.*s", SLICE_FMT(ipc_bytes(msg, FIELD_TEXT)));
	if (result != 0 && now.why[0] == '\0')
		snprintf(now.why, sizeof(now.why), "%s", err_str(result));
	now.result = result;
	now.count = ipc_u64(msg, FIELD_COUNT);
	now.open--;
	if (now.done != NULL && id != NULL)
		now.done(id, result, now.why, now.arg);
	mem_free(id);
}

static void on_msg(struct ipc *c, struct ipc_msg *msg, void *arg)
{
	(void)c;
	(void)arg;
	switch (msg->type) {
	case PROTO_QUEUE_MESSAGE: take_message(msg); break;
	case PROTO_QUEUE_RCPT: take_rcpt(msg); break;
	case PROTO_QUEUE_TEXT:
		if (now.text != NULL)
			now.text(ipc_bytes(msg, FIELD_BYTES), now.arg);
		break;
	case PROTO_QUEUE_BODY:
		if (now.text != NULL)
			take_body(msg);
		break;
	case PROTO_QUEUE_DONE: take_done(msg); break;
	default: break;
	}
}

static void on_end(struct ipc *c, int err, void *arg)
{
	(void)c;
	(void)err;
	(void)arg;
	has_ended = true;
}

static const struct ipc_events events = {on_msg, on_end, NULL};

static int wait_below(size_t open)
{
	while (now.open > open) {
		if (has_ended || ipc_pump(ipc, clock_mono() + ANSWER_TIME) != 0)
			return ERR_CLOSED;
	}
	return 0;
}

static void begin(void *arg)
{
	now.open = 0;
	now.result = 0;
	now.each = NULL;
	now.done = NULL;
	now.text = NULL;
	now.arg = arg;
}

/* The result of the only request; a refusal is said. */
static int finish(void)
{
	int err = wait_below(0);

	if (err != 0) {
		gateq_error("the queue manager has ended the connection");
		return err;
	}
	if (now.result != 0 && now.result != ERR_NOT_FOUND)
		gateq_error("%s", now.why);
	return now.result;
}

static void ask(const char *what, const char *id, const char *site)
{
	uint64_t request = ipc_ask(ipc);

	ipc_begin(ipc, PROTO_QUEUE_DO, request);
	ipc_put_str(ipc, FIELD_NAME, what);
	if (id != NULL)
		ipc_put_str(ipc, FIELD_QUEUE_ID, id);
	if (site != NULL)
		ipc_put_str(ipc, FIELD_NEXTHOP, site);
	if (ipc_end(ipc) != 0)
		return;
	ipc_set_arg(ipc, request, true, mem_str(id));
	now.open++;
}

static int ask_list(
	bool with_rcpts, void (*each)(const struct gateq_message *m, void *arg), void *arg)
{
	uint64_t request = ipc_ask(ipc);

	begin(arg);
	now.each = each;
	ipc_begin(ipc, PROTO_QUEUE_LIST, request);
	ipc_put_u64(ipc, FIELD_FLAGS, with_rcpts ? 1 : 0);
	if (ipc_end(ipc) == 0)
		now.open++;
	return finish();
}

static int ask_act(const char *what, char *const *ids, size_t n, gateq_done *done, void *arg)
{
	begin(arg);
	now.done = done;
	for (size_t i = 0; i < n; i++) {
		if (wait_below(IN_FLIGHT) != 0)
			return ERR_CLOSED;
		ask(what, ids[i], NULL);
	}
	return wait_below(0);
}

static int ask_flush(const char *site, uint64_t *count)
{
	int err;

	begin(NULL);
	ask("flush", NULL, site);
	err = finish();
	*count = err == 0 ? now.count : 0;
	return err;
}

static int ask_see(
	const char *what, const char *id, void (*text)(struct slice piece, void *arg), void *arg)
{
	begin(arg);
	now.text = text;
	ask(what, id, NULL);
	return finish();
}

static const struct gateq_backend backend = {ask_list, ask_act, ask_flush, ask_see};

int gateq_ask_open(const struct gateq_backend **out)
{
	struct net_addr addr;
	char path[512];
	int fd, err;

	*out = NULL;
	snprintf(path, sizeof(path), "%s/public/qmgr", conf_str(P_queue_directory));
	err = net_addr_unix(path, &addr);
	if (err != 0)
		return err;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return ERR_SYS;
	if (connect(fd, (struct sockaddr *)&addr.ss, addr.len) < 0) {
		fd_close(&fd);
		return ERR_CLOSED;
	}
	loop_init();
	ipc = ipc_new(fd, ROLE_TOOL, ROLE_QMGR, &events, NULL, 0);
	*out = &backend;
	return 0;
}

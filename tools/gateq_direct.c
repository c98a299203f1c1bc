/* SPDX-License-Identifier: ISC */
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

#include "conf/conf.h"
#include "queue/keeper.h"
#include "queue/show.h"
#include "queue/store.h"
#include "tools/gateq.h"
#include "util/dict.h"
#include "util/err.h"
#include "util/mem.h"

/*
 * The queue itself, while qmgr is down: the store with its keeper in this process, under qmgr's
 * lock, as qmgr's user. Opening it is a start like any other: it recovers, and notes what is in
 * doubt; the end is a clean stop.
 */
enum { AT_ONCE = 200 };

static struct {
	struct queue_root root;
	int lock;
	struct queue_store *store;
	struct queue_keeper *keeper;
	char **ids; /* all messages */
	size_t count;
	struct dict *seen;            /* the same */
	struct queue_message *loaded; /* by the last load */
	int result;
	struct buf content;
	bool has_content;
} direct = {.lock = -1, .content = {.limit = QUEUE_RECORD_MAX}};

static void run(void)
{
	if (queue_store_run(direct.store, direct.keeper, clock_real()) != 0)
		gateq_fail(1, "fatal: the queue cannot be written");
}

/* ---- What the store says. ---- */

static void add_id(const char *id)
{
	static char mark;

	if (direct.seen == NULL)
		direct.seen = dict_new(SIZE_MAX, NULL);
	if (dict_get(direct.seen, slice_str(id)) != NULL)
		return;
	(void)dict_set(direct.seen, slice_str(id), &mark);
	gateq_add_id(&direct.ids, &direct.count, id);
}

static void on_message(void *arg, struct queue_message *m)
{
	(void)arg;
	add_id(m->id);
}

static void on_loaded(void *arg, const char *id, int result, struct queue_message *m)
{
	(void)arg;
	(void)id;
	direct.result = result;
	direct.loaded = m;
}

static void on_waiting(void *arg, const char *id, enum queue_place place, int64_t due)
{
	(void)arg;
	(void)place;
	(void)due;
	add_id(id);
}

static void on_content(void *arg, struct queue_message *m, int result, struct slice content)
{
	(void)arg;
	(void)m;
	direct.result = result;
	direct.has_content = true;
	buf_add_slice(&direct.content, content);
}

static void on_problem(void *arg, bool is_error, const char *line)
{
	(void)arg;
	gateq_error("%s: %s", is_error ? "error" : "warning", line);
}

static void nothing(void *arg)
{
	(void)arg;
}

static void nothing_of_message(void *arg, struct queue_message *m)
{
	(void)arg;
	(void)m;
}

static void nothing_of_child(
	void *arg, struct queue_message *m, const char *child, enum queue_reason reason, int result)
{
	(void)arg;
	(void)m;
	(void)child;
	(void)reason;
	(void)result;
}

static void nothing_of_number(void *arg, uint64_t number)
{
	(void)arg;
	(void)number;
}

static const struct queue_store_calls calls = {
	.message = on_message,
	.loaded = on_loaded,
	.waiting = on_waiting,
	.walk_done = nothing,
	.content = on_content,
	.child = nothing_of_child,
	.moved = nothing_of_message,
	.ended = nothing_of_message,
	.durable = nothing_of_number,
	.worker_done = nothing_of_number,
	.problem = on_problem,
	.order = nothing,
};

/* ---- Operations. ---- */

static int load(const char *id)
{
	direct.loaded = queue_store_get(direct.store, slice_str(id));
	direct.result = 0;
	for (int place = QUEUE_PLACE_DEFERRED; direct.loaded == NULL && place < QUEUE_PLACES;
		place++) {
		direct.result =
			queue_store_load(direct.store, slice_str(id), (enum queue_place)place);
		if (direct.result == 0)
			run();
		if (direct.result != ERR_NOT_FOUND)
			break;
	}
	return direct.result;
}

static const char *queue_of(const struct queue_message *m)
{
	if (m->place == QUEUE_PLACE_CORRUPT)
		return "corrupt";
	return m->state == QUEUE_M_HELD ? "hold" : "deferred";
}

static void fill(struct gateq_message *out, const struct queue_message *m)
{
	struct queue_recipient to;

	snprintf(out->id, sizeof(out->id), "%s", m->id);
	snprintf(out->queue, sizeof(out->queue), "%s", queue_of(m));
	out->arrival = m->env.arrival;
	out->size = m->env.size;
	out->is_forced = m->expire_now;
	out->sender = slice_dup(m->env.sender);
	for (uint32_t i = 0; i < m->env.recipients; i++) {
		struct queue_event ev = {0};
		const struct queue_rstatus *r = &m->r[i];

		if (r->state == QUEUE_R_DELIVERED || queue_rstate_is_final(r->state))
			continue;
		queue_store_recipient(m, i, &to);
		(void)queue_store_last(m, to.index, &ev);
		gateq_message_add(out, &(struct gateq_rcpt_parts){.address = to.address,
					       .orig_to = to.orig_to,
					       .transport = to.transport,
					       .nexthop = to.nexthop,
					       .status = ev.dsn,
					       .host = ev.host,
					       .reason = ev.text,
					       .attempts = r->attempts,
					       .last = ev.time,
					       .next = r->state == QUEUE_R_WAIT ? r->due : 0});
		if (r->state == QUEUE_R_WAIT && r->due > 0 &&
			(out->next == 0 || r->due < out->next))
			out->next = r->due;
	}
}

/* It stands at the file as its time, so it must not change by being looked at. */
static int64_t next_attempt(const struct queue_message *m)
{
	int64_t due = 0;

	for (uint32_t i = 0; i < m->env.recipients; i++)
		if (m->r[i].state == QUEUE_R_WAIT && (due == 0 || m->r[i].due < due))
			due = m->r[i].due;
	return due != 0 ? due : m->env.arrival;
}

static int direct_list(
	bool with_rcpts, void (*each)(const struct gateq_message *m, void *arg), void *arg)
{
	(void)with_rcpts;
	for (size_t i = 0; i < direct.count; i++) {
		struct gateq_message out = {.id = ""};

		if (load(direct.ids[i]) != 0 || direct.loaded->state == QUEUE_M_ENDED)
			continue;
		fill(&out, direct.loaded);
		each(&out, arg);
		gateq_message_clear(&out);
		queue_store_unload(direct.loaded, next_attempt(direct.loaded));
		if (i % AT_ONCE == 0)
			run();
	}
	return 0;
}

static int act_on(const char *what, struct queue_message *m)
{
	uint64_t ticket;
	int64_t now = clock_real();
	bool is_held = m->state == QUEUE_M_HELD;

	if (strcmp(what, "hold") == 0)
		return is_held ? 0 : queue_store_hold(m, now, &ticket);
	if (strcmp(what, "release") == 0)
		return is_held ? queue_store_release(m, now, &ticket) : ERR_NOT_FOUND;
	if (strcmp(what, "requeue") == 0)
		return is_held ? queue_store_release(m, now, &ticket) : 0;
	if (strcmp(what, "delete") == 0)
		return queue_store_delete(m, now, &ticket);
	if (strcmp(what, "expire") == 0)
		return queue_store_expire(m, now, &ticket);
	return ERR_STATE;
}

/* Out of memory again. What is to be tried now is due when the system starts. */
static void put_back(const char *what, const char *id)
{
	struct queue_message *m = queue_store_get(direct.store, slice_str(id));
	bool is_due = strcmp(what, "release") == 0 || strcmp(what, "requeue") == 0 ||
		      strcmp(what, "expire") == 0;

	if (m != NULL && m->state != QUEUE_M_ENDED)
		(void)queue_store_unload(m, is_due ? clock_real() : next_attempt(m));
}

/* Many share their syncs, and few are in memory. */
static void act_on_some(const char *what, char *const *ids, size_t n, gateq_done *done, void *arg)
{
	int results[AT_ONCE];

	for (size_t i = 0; i < n; i++) {
		results[i] = load(ids[i]);
		if (results[i] == 0 && direct.loaded->state == QUEUE_M_ENDED)
			results[i] = ERR_NOT_FOUND;
		if (results[i] == 0)
			results[i] = act_on(what, direct.loaded);
	}
	run();
	for (size_t i = 0; i < n; i++) {
		put_back(what, ids[i]);
		done(ids[i], results[i], err_str(results[i]), arg);
	}
	run();
}

static int direct_flush(const char *site, uint64_t *count)
{
	(void)site;
	*count = 0;
	gateq_error("the mail system is down: nothing can be sent now");
	return ERR_AGAIN;
}

static int direct_act(const char *what, char *const *ids, size_t n, gateq_done *done, void *arg)
{
	uint64_t count;

	if (strcmp(what, "flush") == 0)
		return direct_flush(NULL, &count);
	for (size_t i = 0; i < n; i += AT_ONCE)
		act_on_some(what, ids + i, n - i < AT_ONCE ? n - i : AT_ONCE, done, arg);
	return 0;
}

static int direct_cat(
	struct queue_message *m, void (*text)(struct slice piece, void *arg), void *arg)
{
	struct queue_body_reader r;
	struct slice piece;
	int fd, err;

	buf_reset(&direct.content);
	err = queue_store_content(m, &direct.content);
	if (err == ERR_LATER) {
		run();
		err = direct.result;
	}
	if (err != 0)
		return err;
	text(buf_slice(&direct.content), arg);
	if (!(m->env.flags & QUEUE_FLAG_BODY_FILE))
		return 0;
	err = queue_store_body(m, &fd);
	if (err != 0)
		return err;
	queue_body_reader_init(&r, direct.root.io, fd, m->env.body_len);
	while ((err = queue_body_reader_next(&r, &piece)) == 0 && piece.len > 0)
		text(piece, arg);
	queue_body_reader_clear(&r);
	queue_close(direct.root.io, &fd);
	return err;
}

static void add_event(const struct queue_event *ev, void *arg)
{
	queue_show_event(arg, ev);
}

static int direct_see(
	const char *what, const char *id, void (*text)(struct slice piece, void *arg), void *arg)
{
	struct buf out = BUF_INIT(QUEUE_RECORD_MAX);
	int err = load(id);

	if (err != 0)
		return err;
	if (strcmp(what, "cat") == 0)
		return direct_cat(direct.loaded, text, arg);
	if (strcmp(what, "history") == 0)
		queue_store_history(direct.loaded, add_event, &out);
	else
		queue_show(&out, direct.loaded, queue_of(direct.loaded));
	text(buf_slice(&out), arg);
	buf_clear(&out);
	return 0;
}

static const struct gateq_backend backend = {direct_list, direct_act, direct_flush, direct_see};

void gateq_file_history(const char *id, void (*text)(struct slice piece, void *arg), void *arg)
{
	struct queue_root root;
	enum queue_place place;
	struct queue_file file;
	struct queue_event ev;
	struct buf out = BUF_INIT(64 << 20);
	uint32_t no = 0;

	if (queue_root_open(conf_str(P_queue_directory), &root) != 0)
		return;
	if (queue_file_find(&root, slice_str(id), &place) == 0 &&
		queue_file_read(&root, place, slice_str(id), false, &file) == 0) {
		while (queue_file_event_next(&file, &no, &ev))
			queue_show_event(&out, &ev);
		text(buf_slice(&out), arg);
		queue_file_clear(&file);
	}
	queue_root_close(&root);
	buf_clear(&out);
}

/* ---- Opening and closing. ---- */

#define LOCK_TIME (5 * CLOCK_SEC)

/* What it writes must belong to qmgr. */
static int become_qmgr(void)
{
	const struct passwd *pw = getpwnam(conf_str(P_qmgr_owner));
	const struct group *gr = getgrnam(conf_str(P_queue_group));

	if (geteuid() != 0)
		return 0;
	if (pw == NULL || gr == NULL)
		return ERR_NOT_FOUND;
	if (setgroups(1, &gr->gr_gid) < 0 || setgid(pw->pw_gid) < 0 || setuid(pw->pw_uid) < 0)
		return ERR_SYS;
	return 0;
}

int gateq_direct_open(const struct gateq_backend **out)
{
	struct queue_store_setup setup = {.calls = &calls, .file_delay = -1};
	int64_t deadline = clock_mono() + LOCK_TIME;
	int err;

	*out = NULL;
	if (queue_root_open(conf_str(P_queue_directory), &direct.root) != 0)
		return ERR_CLOSED;
	/* Who is not root may own an instance for development. */
	if (geteuid() != 0 && access(conf_str(P_queue_directory), W_OK) != 0)
		return ERR_CLOSED;
	err = become_qmgr();
	if (err != 0)
		return err;
	/* The keeper of a qmgr that has just ended may have something to do still. */
	while ((err = queue_store_lock(&direct.root, &direct.lock)) == ERR_AGAIN &&
		clock_mono() < deadline)
		(void)poll(NULL, 0, 20);
	if (err != 0)
		return err == ERR_AGAIN ? ERR_AGAIN : ERR_CLOSED;
	setup.root = direct.root;
	setup.journal_limit = (uint64_t)conf_int(P_queue_journal_limit);
	direct.keeper = queue_keeper_new(&direct.root);
	err = queue_store_start(&setup, clock_real(), &direct.store);
	if (err == 0)
		err = queue_store_claims_done(direct.store, clock_real());
	if (err != 0)
		return err;
	run();
	while (queue_store_has_unread(direct.store)) {
		err = queue_store_read(direct.store, 1000, clock_real());
		if (err < 0 && err != ERR_AGAIN)
			return err;
		run();
	}
	*out = &backend;
	return 0;
}

void gateq_direct_close(void)
{
	if (direct.store == NULL)
		return;
	run();
	if (queue_store_stop(direct.store, clock_real()) == 0)
		run();
	queue_store_free(&direct.store);
	queue_keeper_free(&direct.keeper);
	queue_root_close(&direct.root);
}

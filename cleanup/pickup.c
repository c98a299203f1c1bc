/* SPDX-License-Identifier: ISC */
#include "cleanup/pickup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup/cleanup.h"
#include "cleanup/drop.h"
#include "cleanup/space.h"
#include "cleanup/transcript.h"
#include "conf/conf.h"
#include "util/dict.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

enum {
	TAKEN = 16,      /* files at a time */
	BADS = 100,      /* set aside; more are removed */
	AGAIN = 60,      /* seconds until what could not be taken is looked at again */
	WAITING = 10000, /* of those; with more nothing is looked at till then */
	DEAD = 2,        /* seconds after which an incomplete file without writer has none */
	REST = 100,      /* milliseconds between two looks, however often the bell rings */
	LEFT = 100000,   /* names that qmgr's question is about */
	LEFT_LOOK = 200  /* milliseconds between two looks at them */
};

/* Of no file that anybody looks at. */
#define FRESH ".sync"

TAILQ_HEAD(drops, drop);
static struct drops drops = TAILQ_HEAD_INITIALIZER(drops);
static size_t drops_n;
static int dir = -1, bell = -1;
static struct loop_watch *watch;
static struct loop_task work_task;
static struct loop_timer look_timer, again_timer, left_timer;
static bool wants_look, is_stopped;
static bool is_unsynced; /* something was unlinked */
static bool is_unnamed;  /* an id was given */
static bool has_failed;  /* the last sync */
static int64_t last_look;
static struct dict *waiting; /* token → mark */
static char mark;
static size_t bads;
static struct server_peer *qmgr;
/* qmgr's question: files with an id that were there and are somebody's. */
static struct dict *left;
static uint64_t left_request;
static bool left_looked, left_more;

static void work(void *arg);

static void plan(void)
{
	loop_soon(&work_task);
}

/* ---- Names. ---- */

static bool rename_to(const char *from, const char *to)
{
	if (renameat(dir, from, dir, to) == 0)
		return true;
	log_warning("maildrop/%s: cannot be renamed: %s", from, err_str(ERR_SYS));
	return false;
}

static void remove_name(const char *name)
{
	if (unlinkat(dir, name, 0) == 0)
		is_unsynced = true;
	else if (errno != ENOENT)
		log_warning("maildrop/%s: cannot be removed: %s", log_qs(name), err_str(ERR_SYS));
}

/* What a failed sync did not write may count as written from then on: there must be something new.
 */
static bool change_dir(void)
{
	int fd = openat(dir, FRESH, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	bool is_changed = fd >= 0;

	fd_close(&fd);
	(void)unlinkat(dir, FRESH, 0);
	return is_changed;
}

static bool sync_dir(void)
{
	if ((!has_failed || change_dir()) && fsync(dir) == 0) {
		is_unsynced = is_unnamed = has_failed = false;
		return true;
	}
	if (!has_failed)
		log_error("maildrop: sync: %s", err_str(ERR_SYS));
	has_failed = true;
	return false;
}

bool pickup_sync(void)
{
	return !is_unsynced || dir < 0 || sync_dir() || sync_dir();
}

/* Never to be looked at again: nobody but the postmaster can be told. */
static void set_aside(
	const char *name, struct slice token, unsigned uid, const char *why, enum mail_class class)
{
	char bad[QUEUE_DROP_NAME];

	if (bads >= BADS) {
		log_warning("maildrop/%s: uid %u: %s; removed, since %d files were set aside", name,
			uid, why, BADS);
		remove_name(name);
		return;
	}
	queue_drop_format_name(bad, NULL, token, QUEUE_DROP_BAD);
	log_warning("maildrop/%s: uid %u: %s; set aside as maildrop/%s", name, uid, why, bad);
	if (!rename_to(name, bad))
		return;
	bads++;
	transcript_set_aside(bad, uid, why, class);
}

/* ---- How a file ends. ---- */

static void wait_for_another_look(void)
{
	if (again_timer.due == CLOCK_NEVER)
		loop_timer_set(&again_timer, loop_now() + AGAIN * CLOCK_SEC);
}

/* From the start, by whoever comes first. */
static void give_back(struct drop *d)
{
	char name[QUEUE_DROP_NAME];

	queue_drop_format_name(name, NULL, slice_str(d->token), QUEUE_DROP_NEW);
	if (strcmp(name, d->name) != 0)
		(void)rename_to(d->name, name);
}

static void later(struct drop *d, const char *why)
{
	log_warning("maildrop/%s: uid %u: not taken now: %s", d->name, (unsigned)d->uid, why);
	give_back(d);
	if (waiting == NULL)
		waiting = dict_new(WAITING, NULL);
	(void)dict_set(waiting, slice_str(d->token), &mark);
	wait_for_another_look();
}

static void over(struct drop *d, enum drop_result result, const char *why)
{
	switch (result) {
	case DROP_GONE:
		log_info("%s: maildrop/%s was picked up before", d->id, d->name);
		remove_name(d->name);
		break;
	case DROP_DONE: remove_name(d->name); break;
	case DROP_AGAIN:
		give_back(d);
		wants_look = true;
		break;
	case DROP_LATER: later(d, why); break;
	case DROP_DENIED:
	case DROP_BAD:
		set_aside(d->name, slice_str(d->token), (unsigned)d->uid, why,
			result == DROP_DENIED ? MAIL_CLASS_POLICY : MAIL_CLASS_SOFTWARE);
		break;
	default: break;
	}
	TAILQ_REMOVE(&drops, d, next);
	drops_n--;
	drop_free(&d);
	plan();
}

/* ---- Looking. ---- */

static void ask_for(struct drop *d)
{
	uint64_t request;

	if (qmgr == NULL)
		return;
	request = ipc_ask(qmgr->ipc);
	ipc_begin(qmgr->ipc, PROTO_PICKUP_QUERY, request);
	ipc_put_str(qmgr->ipc, FIELD_QUEUE_ID, d->id);
	if (ipc_end(qmgr->ipc) == 0)
		ipc_set_arg(qmgr->ipc, request, true, d);
}

/* Its writer may not have locked it yet: a lock in its way would be an error to its caller. */
static bool is_begun_just_now(const struct stat *st)
{
	if ((st->st_mode & QUEUE_DROP_COMPLETE) ||
		clock_real() >= ((int64_t)st->st_ctime + DEAD) * CLOCK_SEC)
		return false;
	loop_timer_set(&look_timer, loop_now() + DEAD * CLOCK_SEC);
	return true;
}

/* The writer of a file that is not complete has ended, without its last words. */
static void look_at_rest(const char *name, const struct stat *st)
{
	if (is_begun_just_now(st))
		return;
	log_warning("maildrop/%s: uid %u: not complete, and its writer has ended; removed", name,
		(unsigned)st->st_uid);
	remove_name(name);
}

/* Opened and locked: it is still the file of that name, and this worker's. */
static int open_file(const char *name, struct stat *st)
{
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat now;

	if (fd < 0) {
		if (errno != ENOENT)
			log_warning("maildrop/%s: %s", name, err_str(ERR_SYS));
		return -1;
	}
	if (fstat(fd, st) != 0 || flock(fd, LOCK_EX | LOCK_NB) != 0) {
		/* Another worker's, or its writer is about to ring. */
		if (st->st_mode & QUEUE_DROP_COMPLETE)
			loop_timer_set(&look_timer, loop_now() + CLOCK_SEC);
		fd_close(&fd);
	} else if (fstat(fd, st) != 0 || fstatat(dir, name, &now, AT_SYMLINK_NOFOLLOW) != 0 ||
		   now.st_ino != st->st_ino || now.st_dev != st->st_dev || !S_ISREG(st->st_mode))
		fd_close(&fd);
	return fd;
}

static struct drop *drop_of(
	const char *name, struct slice id, struct slice token, int fd, const struct stat *st)
{
	struct drop *d = mem_alloc(sizeof(*d));
	int64_t now = clock_real();

	(void)strlcpy(d->name, name, sizeof(d->name));
	memcpy(d->token, token.p, QUEUE_DROP_TOKEN);
	if (id.len > 0)
		memcpy(d->id, id.p, id.len);
	d->fd = fd;
	d->uid = st->st_uid;
	d->size = (uint64_t)st->st_size;
	d->written = (int64_t)st->st_mtim.tv_sec * CLOCK_SEC + st->st_mtim.tv_nsec / 1000;
	if (d->written > now || d->written < 0)
		d->written = now;
	d->over = over;
	TAILQ_INSERT_TAIL(&drops, d, next);
	drops_n++;
	return d;
}

/* Gives it an id. */
static bool take(struct drop *d)
{
	char name[QUEUE_DROP_NAME];

	if (!drop_begin(d)) {
		over(d, DROP_LATER, "no queue id");
		return false;
	}
	queue_drop_format_name(name, d->id, slice_str(d->token), QUEUE_DROP_TAKEN);
	if (!rename_to(d->name, name)) {
		over(d, DROP_LATER, "its name cannot be changed");
		return false;
	}
	(void)strlcpy(d->name, name, sizeof(d->name));
	d->state = DROP_TAKEN;
	is_unnamed = true;
	return true;
}

static void look_at_file(
	const char *name, enum queue_drop_kind kind, struct slice id, struct slice token)
{
	struct stat st;
	struct drop *d;
	int fd = open_file(name, &st);

	if (fd < 0)
		return;
	if (st.st_nlink != 1) {
		log_warning("maildrop/%s: uid %u: has %u names; removed", name, (unsigned)st.st_uid,
			(unsigned)st.st_nlink);
		remove_name(name);
		fd_close(&fd);
		return;
	}
	if (!(st.st_mode & QUEUE_DROP_COMPLETE)) {
		look_at_rest(name, &st);
		fd_close(&fd);
		return;
	}
	d = drop_of(name, id, token, fd, &st);
	if (kind == QUEUE_DROP_TAKEN) {
		d->state = DROP_ASKING;
		ask_for(d);
	} else {
		(void)take(d);
	}
}

static bool is_mine(const char *name)
{
	const struct drop *d;

	TAILQ_FOREACH(d, &drops, next)
	if (strcmp(d->name, name) == 0)
		return true;
	return false;
}

/* Nothing that the helper makes. */
static void look_at_stranger(const char *name, const struct stat *st)
{
	static bool is_told;

	if (!S_ISDIR(st->st_mode)) {
		log_warning("maildrop/%s: uid %u: %s; removed", log_qs(name), (unsigned)st->st_uid,
			S_ISREG(st->st_mode) ? "not a name of the helper's" : "not a regular file");
		remove_name(name);
	} else if (!is_told) {
		log_warning("maildrop/%s: uid %u: not a regular file", log_qs(name),
			(unsigned)st->st_uid);
		is_told = true;
	}
}

/* A name for qmgr's question; what this worker has begun itself is in its own segment. */
static void note_left(const char *name)
{
	const struct drop *d;

	if (left == NULL || left_looked)
		return;
	TAILQ_FOREACH(d, &drops, next)
	if (strcmp(d->name, name) == 0 && d->state != DROP_ASKING)
		return;
	left_more |= dict_set(left, slice_str(name), &mark) != 0;
}

/* In a question's first pass every name is seen, else it ends when enough is taken. */
static bool look_at_name(const char *name, void *arg)
{
	struct slice id, token;
	enum queue_drop_kind kind = queue_drop_parse_name(name, &id, &token);
	struct stat st;

	(void)arg;
	if (kind == QUEUE_DROP_BAD)
		bads++;
	else if (kind == QUEUE_DROP_TAKEN)
		note_left(name);
	if (kind == QUEUE_DROP_BAD || name[0] == '.' || is_mine(name) ||
		(waiting != NULL && dict_get(waiting, token) != NULL))
		return true;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return true;
	if (kind == QUEUE_DROP_NONE || !S_ISREG(st.st_mode))
		look_at_stranger(name, &st);
	else if (is_begun_just_now(&st))
		return true;
	else if (drops_n < TAKEN)
		look_at_file(name, kind, id, token);
	else
		wants_look = true;
	return drops_n < TAKEN || (left != NULL && !left_looked);
}

static void look(void)
{
	const struct queue_io *io = cleanup.root.io;

	wants_look = false;
	last_look = loop_now();
	bads = 0;
	if (io->list(io, cleanup.root.fd, "maildrop", look_at_name, NULL) != 0)
		log_warning("maildrop: %s", err_str(ERR_SYS));
	else if (drops_n == TAKEN)
		wants_look = true;
	if (left != NULL && !left_looked) {
		left_looked = true;
		loop_timer_set(&left_timer, loop_now());
	}
}

/* Names are durable before anything is committed under their ids. */
static bool sync_names(void)
{
	struct drop *d, *next;

	if (!is_unnamed || sync_dir())
		return true;
	for (d = TAILQ_FIRST(&drops); d != NULL; d = next) {
		next = TAILQ_NEXT(d, next);
		if (d->state == DROP_TAKEN)
			over(d, DROP_LATER, err_str(ERR_SYS));
	}
	return false;
}

/* A piece of the one that is being read; else the next one begins. False: nothing to read. */
static bool read_one(void)
{
	struct drop *d, *taken = NULL;

	TAILQ_FOREACH(d, &drops, next)
	{
		if (d->state == DROP_READING) {
			drop_read(d);
			return true;
		}
		if (d->state == DROP_TAKEN && taken == NULL)
			taken = d;
	}
	if (taken == NULL || !sync_names())
		return false;
	drop_open(taken);
	return true;
}

static void look_again(void *arg)
{
	(void)arg;
	wants_look = true;
	plan();
}

static void work_on(void *arg)
{
	(void)arg;
	plan();
}

/* A step an iteration: sessions do not wait for a large file. */
static void work(void *arg)
{
	static struct loop_timer next;

	(void)arg;
	if (next.fire == NULL)
		loop_timer_init(&next, work_on, NULL);
	if (read_one()) {
		content_relieve();
		loop_timer_set(&next, loop_now());
		return;
	}
	if (!wants_look || is_stopped || drops_n >= TAKEN ||
		(waiting != NULL && dict_count(waiting) >= WAITING))
		return;
	if (loop_now() - last_look < REST * CLOCK_MSEC && drops_n > 0) {
		loop_timer_set(&look_timer, last_look + REST * CLOCK_MSEC);
		return;
	}
	space_check();
	if (space_is_full()) {
		loop_timer_set(&look_timer, loop_now() + CLOCK_SEC);
		return;
	}
	look();
	loop_timer_set(&next, loop_now());
}

static void again(void *arg)
{
	dict_free(&waiting);
	look_again(arg);
}

static void rung(int what, void *arg)
{
	char junk[512];

	(void)what;
	(void)arg;
	if (read(bell, junk, sizeof(junk)) > 0) {
		wants_look = true;
		plan();
	}
}

/* ---- qmgr's question. ---- */

static bool is_gone(struct slice name, void *value, void *arg)
{
	struct stat st;
	char *text = slice_dup(name);

	(void)value;
	(void)arg;
	if (fstatat(dir, text, &st, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT)
		(void)dict_remove(left, name);
	mem_free(text);
	return true;
}

static void answer(void)
{
	dict_free(&left);
	if (qmgr == NULL)
		return;
	ipc_begin(qmgr->ipc, PROTO_PICKUP_SETTLED, left_request);
	(void)ipc_end(qmgr->ipc);
}

static void look_at_left(void *arg)
{
	(void)arg;
	if (left == NULL || !left_looked)
		return;
	dict_walk(left, is_gone, NULL);
	if (dict_count(left) > 0) {
		/* Whose worker dies meanwhile is taken by the next look. */
		wants_look = true;
		plan();
		loop_timer_set(&left_timer, loop_now() + LEFT_LOOK * CLOCK_MSEC);
		return;
	}
	/* Also what another worker, or one that died, has unlinked: by a sync that failed there. */
	is_unsynced = true;
	if (left_more) {
		left_more = left_looked = false;
		look();
	} else if (dir >= 0 && (!change_dir() || !pickup_sync()))
		loop_timer_set(&left_timer, loop_now() + CLOCK_SEC);
	else
		answer();
}

static void settle(uint64_t request)
{
	left_request = request;
	if (is_stopped)
		return;
	if (dir < 0) {
		answer();
		return;
	}
	dict_free(&left);
	left = dict_new(LEFT, NULL);
	left_looked = left_more = false;
	look();
	plan();
}

static void take_answer(struct drop *d, uint64_t result)
{
	if (d == NULL || d->state != DROP_ASKING)
		return;
	if (result == RESULT_OK)
		over(d, DROP_GONE, NULL);
	else
		over(d, DROP_AGAIN, NULL);
}

void pickup_peer_msg(struct server_peer *peer, struct ipc_msg *msg)
{
	(void)peer;
	if (msg->type == PROTO_PICKUP_ANSWER)
		take_answer(msg->arg, ipc_u64(msg, FIELD_RESULT));
	else if (msg->type == PROTO_PICKUP_SETTLE)
		settle(msg->id);
}

void pickup_peer_new(struct server_peer *peer)
{
	struct drop *d;

	qmgr = peer;
	TAILQ_FOREACH(d, &drops, next)
	if (d->state == DROP_ASKING)
		ask_for(d);
}

void pickup_peer_gone(struct server_peer *peer)
{
	if (qmgr != peer)
		return;
	qmgr = NULL;
	dict_free(&left);
}

/* ---- Begin and end. ---- */

/* Only who has the group may ring. */
static void make_bell(const char *path)
{
	const struct group *gr = getgrnam(conf_str(P_setgid_group));
	struct stat st;

	if (lstat(path, &st) == 0 && !S_ISFIFO(st.st_mode))
		(void)unlink(path);
	if (mkfifo(path, 0600) != 0 && errno != EEXIST)
		return;
	bell = open(path, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	if (bell < 0 || fstat(bell, &st) != 0 || !S_ISFIFO(st.st_mode)) {
		fd_close(&bell);
		return;
	}
	if (geteuid() == 0 && gr != NULL && fchown(bell, 0, gr->gr_gid) != 0)
		log_warning("%s: %s", path, err_str(ERR_SYS));
	(void)fchmod(bell, 0620);
}

static void write_limit(const char *path)
{
	char *new = mem_fmt("%s.%ld", path, (long)getpid());
	int fd = open(new, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);

	if (fd < 0 || fchmod(fd, 0644) != 0 ||
		dprintf(fd, "%lld\n", (long long)conf_int(P_message_size_limit)) < 0 ||
		rename(new, path) != 0) {
		log_warning("%s: %s", path, err_str(ERR_SYS));
		(void)unlink(new);
	}
	fd_close(&fd);
	mem_free(new);
}

void pickup_init(void)
{
	const char *queue = conf_str(P_queue_directory);
	char *path = mem_fmt("%s/%s", queue, QUEUE_DROP_BELL);

	make_bell(path);
	if (bell < 0)
		log_warning("%s: %s", path, err_str(ERR_SYS));
	mem_free(path);
	path = mem_fmt("%s/%s", queue, QUEUE_DROP_LIMIT);
	write_limit(path);
	mem_free(path);
	drop_init();
}

void pickup_start(void)
{
	loop_task_init(&work_task, work, NULL);
	loop_timer_init(&look_timer, look_again, NULL);
	loop_timer_init(&again_timer, again, NULL);
	loop_timer_init(&left_timer, look_at_left, NULL);
	dir = openat(cleanup.root.fd, "maildrop", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0) {
		log_warning("maildrop: %s", err_str(ERR_SYS));
		return;
	}
	if (bell >= 0) {
		watch = loop_watch_new(bell, rung, NULL);
		loop_watch_set(watch, LOOP_READ);
	}
	look_again(NULL);
}

void pickup_stop(void)
{
	is_stopped = true;
	loop_watch_free(&watch);
}

bool pickup_is_idle(void)
{
	const struct drop *d;

	TAILQ_FOREACH(d, &drops, next)
	if (d->state != DROP_ASKING)
		return false;
	return true;
}

/* SPDX-License-Identifier: ISC */
#include <signal.h>
#include <unistd.h>

#include "local/deliver.h"
#include "local/spawner.h"
#include "local/target.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

/* A delivery that takes longer is given up. */
enum { CHILD_SECONDS = 1000 };

/* What was inherited, tables among it, is closed; the request's descriptors stay. */
static void close_others(const int fds[REQUEST_FDS])
{
	for (unsigned from = 3;;) {
		unsigned next = ~0U;
		for (int i = 0; i < REQUEST_FDS; i++)
			if (fds[i] >= (int)from && (unsigned)fds[i] < next)
				next = (unsigned)fds[i];
		if (next > from)
			(void)close_range(from, next == ~0U ? next : next - 1, 0);
		if (next == ~0U)
			return;
		from = next + 1;
	}
}

static void refused(struct outcome *o, int err, const struct identity *id)
{
	if (err == ERR_DENIED && id->uid == 0)
		outcome_set(o, RESULT_DEFERRED, "4.3.5",
			"no delivery as root: make an alias for this user");
	else if (err == ERR_DENIED)
		outcome_set(o, RESULT_DEFERRED, "4.3.5",
			"not running as root: cannot become user %lu", (unsigned long)id->uid);
	else
		outcome_set(o, RESULT_DEFERRED, "4.3.0", "cannot become user %lu: %s",
			(unsigned long)id->uid, err_str(err));
}

static void carry_out(const struct request *q, struct slice sums, const int fds[REQUEST_FDS],
	pid_t parent, struct outcome *o)
{
	struct target t = {0};
	struct job_rcpt r = {.index = q->index,
		.attempts = (unsigned)q->attempts,
		.address = mem_str(q->address),
		.orig_to = q->orig_to[0] != '\0' ? mem_str(q->orig_to) : NULL};
	struct job j = {.id = mem_str(q->id),
		.sender = mem_str(q->sender),
		.arrival = q->arrival,
		.flags = q->flags,
		.size = q->size,
		.header_len = q->header_len,
		.body_fd = fds[REQUEST_BODY],
		.body_size = q->body_size,
		.body_offset = q->body_offset,
		.content = BUF_INIT(JOB_CONTENT_MAX),
		.body_sums = BUF_INIT(IPC_FRAME_LIMIT)};
	(void)buf_add_slice(&j.body_sums, sums);
	if (!target_find(q->address, q->user, &t, o))
		return;
	close_others(fds);
	int err = become(&t.id, t.gid, parent);
	if (err != 0)
		refused(o, err, &t.id);
	else
		deliver(&j, &r, &t, q->loops, fds[REQUEST_CONTENT], o);
}

_Noreturn void child_run(
	const struct request *q, struct slice sums, const int fds[REQUEST_FDS], pid_t parent)
{
	struct outcome o;
	signal(SIGCHLD, SIG_DFL);
	signal(SIGXFSZ, SIG_IGN);
	umask(077);
	alarm(CHILD_SECONDS);
	outcome_set(&o, RESULT_DEFERRED, "4.3.0", "nothing was done");
	carry_out(q, sums, fds, parent, &o);
	_exit(fd_write_full(fds[REQUEST_PIPE], &o, sizeof(o)) == 0 ? 0 : 1);
}

/* SPDX-License-Identifier: ISC */
#include "vault/crew.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/addr.h"
#include "net/loop.h"
#include "priv/priv.h"
#include "sasl/record.h"
#include "server/death.h"
#include "server/server.h"
#include "util/dict.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"
#include "vault/arena.h"

enum { NICE = 10, SLICE_NSEC = 100000, PAUSE_USEC = 100000, KEY_MAX = 64 };

/* What a member is told, in one packet: this, the records, the password. */
struct order {
	uint64_t number;
	uint16_t records, password;
};
/* What it answers; from its parent with number 0: it has died. */
struct answer {
	uint64_t number;
	uint8_t match;
};
enum { PACKET = sizeof(struct order) + SASL_RECORDS_MAX + SASL_PASSWORD_MAX };

struct client {
	TAILQ_ENTRY(client) next; /* in turns */
	TAILQ_HEAD(crew_line, crew_check) line;
	size_t waiting;
	size_t key_len;
	char key[KEY_MAX];
};

struct crew_check {
	TAILQ_ENTRY(crew_check) next;
	struct client *client; /* NULL: it is being checked, or over */
	void (*done)(int err, bool match, void *arg);
	void *arg;
	struct loop_task refused;
	char *packet; /* owned */
	size_t len;
	uint64_t number;
	struct member *member; /* that has it */
};

struct member {
	int fd;
	struct loop_watch *watch;
	struct loop_timer limit;
	struct crew_check *check;
	bool busy; /* also with one that was withdrawn */
};

static struct member members[CREW_MOST];
static size_t members_n;
static TAILQ_HEAD(, client) turns = TAILQ_HEAD_INITIALIZER(turns);
static struct dict *clients;
static size_t waiting;
static uint64_t numbers;

/* ---- in the children ---- */

static int compare_fds(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Closes all but these. */
static void keep_only(const int *fds, size_t n)
{
	int sorted[CREW_MOST];
	unsigned from = 0;

	memcpy(sorted, fds, n * sizeof(*fds));
	qsort(sorted, n, sizeof(*sorted), compare_fds);
	for (size_t i = 0; i < n; i++) {
		unsigned fd = (unsigned)sorted[i];

		if (fd > from)
			close_range(from, fd - 1, 0);
		from = fd + 1;
	}
	close_range(from, ~0U, 0);
}

static bool check_packet(const char *packet, size_t len, struct answer *a)
{
	struct order o;

	if (len < sizeof(o))
		return false;
	memcpy(&o, packet, sizeof(o));
	if (len != sizeof(o) + o.records + o.password)
		return false;
	a->number = o.number;
	a->match = sasl_records_verify(slice_of(packet + sizeof(o), o.records),
		slice_of(packet + sizeof(o) + o.records, o.password));
	return true;
}

_Noreturn static void serve(int fd, pid_t parent)
{
	static char packet[PACKET];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	keep_only(&fd, 1);
	priv_confine(SANDBOX_CREW);
	for (;;) {
		struct answer a = {0};
		ssize_t n = recv(fd, packet, sizeof(packet), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			_exit(0);
		bool good = check_packet(packet, (size_t)n, &a);
		explicit_bzero(packet, (size_t)n);
		if (!good || send(fd, &a, sizeof(a), MSG_NOSIGNAL) != sizeof(a))
			_exit(1);
	}
}

static pid_t start_member(const int *ends, size_t i)
{
	pid_t self = getpid(), pid = fork();

	if (pid == 0)
		serve(ends[i], self);
	return pid;
}

/*
 * Behind all else of the machine, and at once off the processor for what wakes up: a hash computes
 * for long, and a scheduler lets such a process run for milliseconds before it looks again. So it
 * asks for the shortest slice there is, where the kernel (Linux 6.12) lets it. Not SCHED_IDLE: on a
 * machine that is busy for seconds no password would be checked at all. A courtesy: where it may
 * not, the rest of the machine waits a little more.
 */
static void stand_back(void)
{
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} wish = {.size = sizeof(wish), .nice = NICE, .runtime = SLICE_NSEC};

	(void)setpriority(PRIO_PROCESS, 0, NICE);
	(void)syscall(SYS_sched_setattr, 0, &wish, 0);
}

/* Replaces members that die, until vault is gone. */
_Noreturn static void supervise(const int *ends, size_t n, pid_t parent)
{
	pid_t pids[CREW_MOST];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	keep_only(ends, n);
	stand_back();
	signal(SIGPIPE, SIG_IGN);
	priv_confine(SANDBOX_CREW_KEEPER);
	for (size_t i = 0; i < n; i++)
		pids[i] = start_member(ends, i);
	for (;;) {
		int status = 0;
		struct answer died = {0};
		pid_t pid = waitpid(-1, &status, 0);

		if ((pid < 0 && errno != EINTR) || (pid > 0 && status == 0))
			_exit(0);
		for (size_t i = 0; pid > 0 && i < n; i++) {
			if (pids[i] != pid)
				continue;
			usleep(PAUSE_USEC);
			(void)!send(ends[i], &died, sizeof(died), MSG_NOSIGNAL | MSG_DONTWAIT);
			pids[i] = start_member(ends, i);
		}
	}
}

/* ---- in vault ---- */

static void check_free(struct crew_check *c)
{
	loop_task_cancel(&c->refused);
	mem_wipe_free(c->packet, c->len);
	mem_free(c);
}

static void leave_line(struct crew_check *c)
{
	struct client *k = c->client;

	if (k == NULL)
		return;
	c->client = NULL;
	TAILQ_REMOVE(&k->line, c, next);
	waiting--;
	if (--k->waiting == 0) {
		TAILQ_REMOVE(&turns, k, next);
		(void)dict_remove(clients, slice_of(k->key, k->key_len));
	}
}

static void finish(struct crew_check *c, int err, bool match)
{
	void (*done)(int err, bool is_match, void *arg) = c->done;
	void *arg = c->arg;

	leave_line(c);
	check_free(c);
	done(err, match, arg);
}

static void give_work(void);

static void send_order(struct member *m, struct crew_check *c)
{
	leave_line(c);
	m->busy = true;
	m->check = c;
	c->member = m;
	if (send(m->fd, c->packet, c->len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)c->len)
		log_fatal("a password check cannot be sent: %s", err_str(ERR_SYS));
	loop_timer_set(&m->limit, loop_now() + CREW_SECONDS * CLOCK_SEC);
}

static void give_work(void)
{
	for (size_t i = 0; i < members_n; i++) {
		struct client *k = TAILQ_FIRST(&turns);

		if (k == NULL)
			return;
		if (members[i].busy)
			continue;
		TAILQ_REMOVE(&turns, k, next);
		TAILQ_INSERT_TAIL(&turns, k, next);
		send_order(&members[i], TAILQ_FIRST(&k->line));
	}
}

static void member_free(struct member *m, int err, bool match)
{
	struct crew_check *c = m->check;

	m->check = NULL;
	m->busy = false;
	loop_timer_set(&m->limit, CLOCK_NEVER);
	if (c != NULL)
		finish(c, err, match);
	give_work();
}

static void answered(int what, void *arg)
{
	struct member *m = arg;
	struct answer a;
	ssize_t n = recv(m->fd, &a, sizeof(a), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != sizeof(a))
		log_fatal("the processes that check passwords are gone");
	if (a.number == 0) {
		death_of_child(server_service());
		log_warning("a process that checks passwords has died and is replaced");
		member_free(m, ERR_TEMP, false);
	} else if (m->busy && (m->check == NULL || m->check->number == a.number)) {
		member_free(m, 0, a.match == 1);
	}
}

/* It still computes; until it answers it gets nothing new. */
static void too_slow(void *arg)
{
	struct member *m = arg;
	struct crew_check *c = m->check;

	m->check = NULL;
	if (c != NULL)
		finish(c, ERR_TEMP, false);
}

/* The cores are shared with the other vaults. */
static size_t size_of_crew(void)
{
	long vaults = server_sessions() > 1 ? (long)server_sessions() : 1;
	long n = (sysconf(_SC_NPROCESSORS_ONLN) + vaults - 1) / vaults;

	return n < 2 && vaults == 1 ? 2 : n > CREW_MOST ? CREW_MOST : (size_t)n;
}

void crew_start(void)
{
	int ends[CREW_MOST];
	pid_t self = getpid();

	members_n = size_of_crew();
	clients = dict_new(CREW_WAITING_MAX, mem_free);
	for (size_t i = 0; i < members_n; i++) {
		int pair[2];

		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
			log_fatal("socketpair: %s", err_str(ERR_SYS));
		members[i].fd = pair[0];
		ends[i] = pair[1];
	}
	log_flush();
	pid_t pid = fork();
	if (pid < 0)
		log_fatal("fork: %s", err_str(ERR_SYS));
	if (pid == 0) {
		arena_leave();
		for (size_t i = 0; i < members_n; i++)
			fd_close(&members[i].fd);
		supervise(ends, members_n, self);
	}
	for (size_t i = 0; i < members_n; i++) {
		struct member *m = &members[i];

		fd_close(&ends[i]);
		m->watch = loop_watch_new(m->fd, answered, m);
		loop_watch_set(m->watch, LOOP_READ);
		loop_timer_init(&m->limit, too_slow, m);
	}
}

/* Whose line it is: a client of IPv6 has many addresses. */
static size_t line_key(struct slice client, char key[KEY_MAX])
{
	struct net_addr a;
	size_t len = client.len < KEY_MAX ? client.len : KEY_MAX;

	if (slice_find(client, ':') >= 0 && net_addr_parse(client, 0, &a) == 0 &&
		a.ss.ss_family == AF_INET6) {
		memcpy(key, &((const struct sockaddr_in6 *)(const void *)&a.ss)->sin6_addr, 8);
		return 8;
	}
	memcpy(key, client.p, len);
	return len;
}

static void be_refused(void *arg)
{
	finish(arg, ERR_TEMP, false);
}

/* Room for one more of a client that has so many. */
static bool make_room(size_t has)
{
	struct client *k = NULL, *longest = NULL;

	if (waiting < CREW_WAITING_MAX)
		return true;
	TAILQ_FOREACH(k, &turns, next)
	if (longest == NULL || k->waiting > longest->waiting)
		longest = k;
	if (longest == NULL || longest->waiting <= has + 1)
		return false;
	struct crew_check *last = TAILQ_LAST(&longest->line, crew_line);
	leave_line(last);
	loop_soon(&last->refused);
	return true;
}

static struct client *client_of(const char *key, size_t len)
{
	struct client *k = mem_alloc(sizeof(*k));

	TAILQ_INIT(&k->line);
	memcpy(k->key, key, len);
	k->key_len = len;
	if (dict_set(clients, slice_of(key, len), k) != 0) {
		mem_free(k);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&turns, k, next);
	return k;
}

struct crew_check *crew_check(struct slice client, struct slice records, struct slice password,
	void (*done)(int err, bool match, void *arg), void *arg)
{
	char key[KEY_MAX];
	size_t len = line_key(client, key);
	struct client *k = dict_get(clients, slice_of(key, len));
	struct order o = {++numbers, (uint16_t)records.len, (uint16_t)password.len};

	if (records.len > SASL_RECORDS_MAX || password.len > SASL_PASSWORD_MAX ||
		!make_room(k != NULL ? k->waiting : 0))
		return NULL;
	/* Making room may have ended the line. */
	k = dict_get(clients, slice_of(key, len));
	if (k == NULL && (k = client_of(key, len)) == NULL)
		return NULL;
	struct crew_check *c = mem_alloc(sizeof(*c));
	*c = (struct crew_check){.client = k, .done = done, .arg = arg, .number = o.number};
	loop_task_init(&c->refused, be_refused, c);
	c->len = sizeof(o) + records.len + password.len;
	c->packet = mem_alloc(c->len);
	memcpy(c->packet, &o, sizeof(o));
	memcpy(c->packet + sizeof(o), records.p, records.len);
	memcpy(c->packet + sizeof(o) + records.len, password.p, password.len);
	TAILQ_INSERT_TAIL(&k->line, c, next);
	k->waiting++;
	waiting++;
	give_work();
	return c;
}

void crew_cancel(struct crew_check **cp)
{
	struct crew_check *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	if (c->member != NULL)
		c->member->check = NULL;
	leave_line(c);
	check_free(c);
}

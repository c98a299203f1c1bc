/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "net/addr.h"
#include "tools/gatepost.h"
#include "tools/json.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

enum { FLAG_CONFIGURED = 1, FLAG_STOPPED = 2, FLAG_PAUSED = 4 };
enum { ADDRESSES_LIMIT = 65536 };
enum { LOOK_USEC = 10000, START_SECONDS = 30, WAIT_SECONDS = 20 };

/* ---- asking ---- */

struct call {
	struct state *state;
	bool over, lost;
	int status;
};

void state_clear(struct state *s)
{
	for (size_t i = 0; i < s->services; i++) {
		mem_free(s->service[i].key);
		mem_free(s->service[i].addresses);
		mem_free(s->service[i].pid);
	}
	mem_free(s->service);
	*s = (struct state){0};
}

static void add_service(struct state *s, const struct ipc_msg *msg)
{
	uint64_t flags = ipc_u64(msg, FIELD_FLAGS), pid = 0;
	struct service_state v = {.key = slice_dup(ipc_bytes(msg, FIELD_SERVICE)),
		.role = (enum role)ipc_u64(msg, FIELD_ROLE),
		.is_configured = (flags & FLAG_CONFIGURED) != 0,
		.is_stopped = (flags & FLAG_STOPPED) != 0,
		.is_paused = (flags & FLAG_PAUSED) != 0,
		.turn = ipc_u64(msg, FIELD_TURN),
		.wanted = ipc_u64(msg, FIELD_LIMIT),
		.ready = ipc_u64(msg, FIELD_READY),
		.past = ipc_u64(msg, FIELD_PAST),
		.sessions = ipc_u64(msg, FIELD_COUNT)};
	struct buf text = BUF_INIT(ADDRESSES_LIMIT);
	struct slice address;
	size_t at = 0;

	while (ipc_next_u64(msg, FIELD_PID, &at, &pid)) {
		v.pid = mem_resize(v.pid, v.pids + 1, sizeof(*v.pid));
		v.pid[v.pids++] = (pid_t)pid;
	}
	at = 0;
	while (ipc_next(msg, FIELD_ADDRESS, &at, &address))
		buf_add_fmt(&text, " %.*s", SLICE_FMT(address));
	v.addresses = mem_str(buf_str(&text));
	buf_clear(&text);
	s->service = mem_resize(s->service, s->services + 1, sizeof(v));
	s->service[s->services++] = v;
}

static void on_msg(struct ipc *c, struct ipc_msg *msg, void *arg)
{
	struct call *call = arg;
	struct slice text = ipc_bytes(msg, FIELD_TEXT);

	switch (msg->type) {
	case PROTO_COMMAND_TEXT: fprintf(stderr, "%.*s\n", SLICE_FMT(text)); break;
	case PROTO_COMMAND_DONE:
		call->status = (int)ipc_u64(msg, FIELD_CODE);
		call->over = true;
		break;
	case PROTO_STATUS_MASTER:
		if (call->state == NULL)
			break;
		call->state->pid = (pid_t)ipc_u64(msg, FIELD_PID);
		call->state->since = (int64_t)ipc_u64(msg, FIELD_TIME);
		call->state->turn = ipc_u64(msg, FIELD_TURN);
		break;
	case PROTO_STATUS_SERVICE:
		if (call->state != NULL)
			add_service(call->state, msg);
		break;
	default: break;
	}
}

static void on_end(struct ipc *c, int err, void *arg)
{
	struct call *call = arg;

	call->lost = true;
}

static const struct ipc_events events = {on_msg, on_end, NULL};

/* 0; ERR_NOT_FOUND: nobody is there; ERR_SYS. */
static int connect_master(int *fd)
{
	struct net_addr a;

	*fd = -1;
	if (chdir(set_str(gatepost_conf, P_queue_directory)) != 0)
		return errno == ENOENT ? ERR_NOT_FOUND : ERR_SYS;
	if (net_addr_unix("pid/master.sock", &a) != 0)
		return ERR_SYS;
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*fd >= 0 && connect(*fd, (const struct sockaddr *)&a.ss, a.len) == 0)
		return 0;
	fd_close(fd);
	return errno == ENOENT || errno == ECONNREFUSED ? ERR_NOT_FOUND : ERR_SYS;
}

int state_ask(const char *command, const char *service, struct state *s)
{
	struct call call = {.state = s};
	struct ipc *c = NULL;
	int fd = -1, r = connect_master(&fd);

	if (s != NULL)
		state_clear(s);
	if (r != 0)
		return r;
	c = ipc_new(fd, ROLE_TOOL, ROLE_MASTER, &events, &call, 0);
	ipc_begin(c, PROTO_COMMAND, ipc_ask(c));
	ipc_put_str(c, FIELD_NAME, command);
	if (service != NULL)
		ipc_put_str(c, FIELD_SERVICE, service);
	ipc_end(c);
	while (!call.over && !call.lost)
		ipc_pump(c, CLOCK_NEVER);
	ipc_free(&c);
	return call.over ? call.status : ERR_CLOSED;
}

/* ---- looking ---- */

static struct slice name_of(const struct service_state *v)
{
	return slice_first(slice_str(v->key), (size_t)(strrchr(v->key, '/') - v->key));
}

static const char *type_of(const struct service_state *v)
{
	return strrchr(v->key, '/') + 1;
}

const struct service_state *state_find(const struct state *s, const char *name)
{
	const struct service_state *found = NULL;

	for (size_t i = 0; i < s->services; i++) {
		const struct service_state *v = &s->service[i];

		if (strcmp(v->key, name) == 0)
			return v;
		if (slice_eq_str(name_of(v), name) &&
			(found == NULL || strcmp(type_of(v), "inet") == 0))
			found = v;
	}
	return found;
}

const char *state_word(const struct service_state *v)
{
	if (!v->is_configured)
		return "draining";
	if (v->is_stopped)
		return "stopped";
	return v->ready >= v->wanted ? "running" : "starting";
}

void state_print_service(const struct service_state *v, bool json)
{
	struct slice rest = slice_str(v->addresses), address;

	if (!json) {
		printf("%-20.*s %-5s %-8s %7zu %8llu %s\n", SLICE_FMT(name_of(v)), type_of(v),
			state_word(v), v->pids, (unsigned long long)v->sessions, v->addresses);
		return;
	}
	putchar('{');
	json_member("service", name_of(v), true);
	json_member("type", slice_str(type_of(v)), false);
	json_member("state", slice_str(state_word(v)), false);
	json_number("workers", v->pids, false);
	json_number("sessions", v->sessions, false);
	fputs(", \"addresses\": [", stdout);
	for (bool first = true; slice_token(&rest, " ", &address); first = false) {
		fputs(first ? "" : ", ", stdout);
		json_string(address);
	}
	puts("]}");
}

static void print_head(const struct state *s, bool json)
{
	char since[64] = "";
	time_t t = (time_t)(s->since / CLOCK_SEC);
	struct tm tm;

	if (json) {
		putchar('{');
		json_member("state", SLICE_LIT("running"), true);
		json_number("pid", (uint64_t)s->pid, false);
		json_number("since", (uint64_t)t, false);
		json_number("generation", s->turn, false);
		puts("}");
		return;
	}
	strftime(since, sizeof(since), "%Y-%m-%d %H:%M:%S", localtime_r(&t, &tm));
	printf("gatepost: running, pid %d, since %s, generation %llu\n", (int)s->pid, since,
		(unsigned long long)s->turn);
	puts("name                 type  state    workers sessions  addresses");
}

void state_print(const struct state *s, bool json)
{
	print_head(s, json);
	for (size_t i = 0; i < s->services; i++)
		state_print_service(&s->service[i], json);
}

bool state_is_good(const struct state *s)
{
	bool good = true;

	for (size_t i = 0; i < s->services; i++) {
		const struct service_state *v = &s->service[i];

		if (!v->is_configured || (!v->is_stopped && v->ready >= v->wanted))
			continue;
		fprintf(stderr, "gatepost: service %s is %s\n", v->key,
			v->is_stopped ? "stopped" : "not running");
		good = false;
	}
	return good;
}

/* ---- waiting ---- */

/* What is waited for. */
struct goal {
	bool is_start;
	uint64_t turn;   /* a reload: all services are to have these settings */
	const char *key; /* this service alone */
	bool stopped;    /* it is to have no process */
};

enum outcome { NOT_YET, REACHED, FAILED };

static bool is_essential(const struct service_state *v)
{
	return v->role == ROLE_SMTPD || v->role == ROLE_CLEANUP || v->role == ROLE_QMGR;
}

static enum outcome judge_service(const struct goal *g, const struct service_state *v)
{
	bool is_ready = v->ready >= v->wanted;

	if (g->stopped)
		return v->pids == 0 ? REACHED : NOT_YET;
	if (!v->is_configured || v->is_stopped)
		return g->is_start || v->past == 0 ? REACHED : NOT_YET;
	if (g->is_start && v->is_paused)
		return is_essential(v) ? FAILED : REACHED;
	if (v->is_paused || v->turn < g->turn)
		return FAILED;
	return is_ready && (g->is_start || v->past == 0) ? REACHED : NOT_YET;
}

static enum outcome judge(const struct goal *g, const struct state *s)
{
	enum outcome all = REACHED;

	for (size_t i = 0; i < s->services; i++) {
		const struct service_state *v = &s->service[i];
		enum outcome one = g->key == NULL || strcmp(g->key, v->key) == 0
					   ? judge_service(g, v)
					   : REACHED;

		if (one == FAILED) {
			fprintf(stderr, "gatepost: %s does not start; its reason is in the log\n",
				v->key);
			return FAILED;
		}
		if (one == NOT_YET)
			all = NOT_YET;
	}
	return all;
}

/* It grows with each worker that comes, or goes, as it is to. */
static int64_t progress(const struct goal *g, const struct state *s)
{
	int64_t n = 0;

	for (size_t i = 0; i < s->services; i++) {
		const struct service_state *v = &s->service[i];

		n += g->stopped ? -(int64_t)v->pids : (int64_t)v->ready - (int64_t)v->past;
	}
	return n;
}

/* Whom it was waited for in vain. */
static void name_late(const struct goal *g, const struct state *s)
{
	enum { MOST = 5 };
	unsigned n = 0;

	for (size_t i = 0; i < s->services && n < MOST; i++) {
		const struct service_state *v = &s->service[i];

		if ((g->key != NULL && strcmp(g->key, v->key) != 0) ||
			judge_service(g, v) != NOT_YET)
			continue;
		n++;
		if (!g->stopped && v->ready < v->wanted)
			fprintf(stderr, "gatepost: %s: %llu of %llu workers are ready\n", v->key,
				(unsigned long long)v->ready, (unsigned long long)v->wanted);
		else if (!g->stopped)
			fprintf(stderr,
				"gatepost: %s: %llu workers with the settings of before accept "
				"still\n",
				v->key, (unsigned long long)v->past);
	}
}

/* So many seconds without any progress: many ports, or a slow machine, take as long as they take.
 */
static int wait_for(const struct goal *g, int64_t seconds)
{
	int64_t deadline = clock_mono() + seconds * CLOCK_SEC, best = INT64_MIN;
	struct state s = {0};
	enum outcome now = NOT_YET;
	int r = 0;

	while (now == NOT_YET && r == 0 && clock_mono() < deadline) {
		r = state_ask("status", NULL, &s);
		if (r == 0)
			now = judge(g, &s);
		if (r == 0 && progress(g, &s) > best) {
			best = progress(g, &s);
			deadline = clock_mono() + seconds * CLOCK_SEC;
		}
		if (now == NOT_YET && r == 0)
			usleep(LOOK_USEC);
	}
	if (r == 0 && now == NOT_YET)
		name_late(g, &s);
	state_clear(&s);
	if (r < 0)
		return gatepost_fail("master is gone; its reason is in the log");
	if (now == NOT_YET)
		return gatepost_fail(g->stopped ? "its sessions do not end; expected another try"
						: "the log may have the reasons");
	return now == REACHED ? 0 : 1;
}

int state_wait_start(void)
{
	struct goal g = {.is_start = true};

	return wait_for(&g, START_SECONDS);
}

int state_wait_reload(uint64_t turn)
{
	struct goal g = {.turn = turn};

	return wait_for(&g, WAIT_SECONDS);
}

int state_wait_service(const char *key, bool stopped)
{
	struct goal g = {.key = key, .stopped = stopped};

	return wait_for(&g, WAIT_SECONDS);
}

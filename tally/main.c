/* SPDX-License-Identifier: ISC */
#include "server/desk.h"
#include "server/server.h"
#include "tally/command.h"
#include "tally/count.h"
#include "tally/peaks.h"
#include "tally/share.h"
#include "tally/state.h"
#include "tally/tell.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/wire.h"

/*
 * tally: counts for all workers of smtpd, see tally(8). What it knows is in state.h; this is its
 * side of the protocol and its clock.
 */
enum { CLIENTS_MAX = 1000000 };

struct worker {
	struct count_owner *count;
	struct sharer *sharer;
};

static struct count *count;
static struct peaks *peaks;
static int data_fd = -1;
static struct loop_task flush_task;
static struct loop_timer expire_timer, peaks_timer;
static struct loop_watch *snapshot_watch;

/* ---- the clock, the disk ---- */

static void look_for_expired(void *arg)
{
	int64_t now = clock_real(), next = bans_expire(state_bans(), now);

	(void)arg;
	if (next == INT64_MAX)
		return;
	next = next - now > CLOCK_SEC ? next - now : CLOCK_SEC;
	loop_timer_set(&expire_timer, loop_now() + next);
}

static void compacted(int what, void *arg)
{
	(void)what;
	(void)arg;
	loop_watch_free(&snapshot_watch);
	state_compacted();
}

/* What an iteration has changed goes out in one write. */
static void flush(void *arg)
{
	int fd = -1;

	(void)arg;
	state_flush();
	if (!state_is_due())
		return;
	fd = state_compact(clock_real());
	if (fd >= 0) {
		snapshot_watch = loop_watch_new(fd, compacted, NULL);
		loop_watch_set(snapshot_watch, LOOP_READ);
	}
}

void tell_store(void)
{
	loop_soon(&flush_task);
}

void tell_ban(const struct ban *b)
{
	char text[NET_RANGE_TEXT];
	int64_t seconds = b->until / CLOCK_SEC - b->since;
	int64_t due = loop_now() + seconds * CLOCK_SEC;

	net_range_text(&b->client, text);
	log_info("ban: %s for %lld s: %.*s (%s)", text, (long long)seconds, (int)b->reason_len,
		b->reason_len > 0 ? b->reason : "", ban_origin_name((enum ban_origin)b->origin));
	share_ban(&b->client, b->until);
	if (due < expire_timer.due)
		loop_timer_set(&expire_timer, due);
	loop_soon(&flush_task);
}

/* Removed, expired, or one of too many. */
static void ban_gone(const struct ban *b)
{
	char text[NET_RANGE_TEXT];

	net_range_text(&b->client, text);
	log_info("ban: %s has ended (%s)", text, ban_origin_name((enum ban_origin)b->origin));
	share_ban(&b->client, 0);
}

/* ---- statistics ---- */

static void log_peak(const char *line)
{
	log_info_as("anvil", "%s", line);
}

static void log_peaks(void *arg)
{
	(void)arg;
	peaks_tell(peaks, conf_time(P_anvil_rate_time_unit), log_peak);
	loop_timer_set(&peaks_timer, loop_now() + conf_time(P_anvil_status_update_time));
}

/* Counts an event; the client's rate with it. */
static uint64_t rate_of(const struct tally_event *e, uint64_t limit, int64_t now)
{
	uint64_t rate = state_rate(e, limit, now);

	if (e->count > 0)
		peaks_rate(peaks, e, rate, now);
	return rate;
}

static struct state_settings read_settings(void)
{
	return (struct state_settings){
		.rate_unit = conf_time(P_anvil_rate_time_unit),
		.ban_window = conf_time(P_smtpd_ban_window),
		.ban_limit = (size_t)conf_int(P_smtpd_ban_limit),
		.grey_limit = (size_t)conf_int(P_smtpd_greylist_limit),
		.grey_retry = conf_time(P_smtpd_greylist_retry_window) / CLOCK_SEC,
		.grey_age = conf_time(P_smtpd_greylist_max_age) / CLOCK_SEC,
		.grey_auto = (uint64_t)conf_int(P_smtpd_greylist_auto_allow),
	};
}

static void start(void)
{
	struct state_settings s = read_settings();

	count = count_new(CLIENTS_MAX);
	peaks = peaks_new();
	loop_timer_init(&peaks_timer, log_peaks, NULL);
	log_peaks(NULL);
	loop_task_init(&flush_task, flush, NULL);
	loop_timer_init(&expire_timer, look_for_expired, NULL);
	state_open(&s, data_fd, clock_real(), ban_gone);
	loop_timer_set(&expire_timer, loop_now());
	loop_soon(&flush_task);
	desk_open();
}

static void stop(void)
{
	log_peaks(NULL);
	state_close(clock_real());
	server_done();
}

/* ---- peers ---- */

static void peer_new(struct server_peer *peer)
{
	struct worker *w = NULL;

	if (peer->role == ROLE_SMTPD) {
		w = mem_alloc(sizeof(*w));
		w->count = count_owner_new(count);
		w->sharer = share_new(peer);
	}
	peer->arg = w;
}

static void peer_gone(struct server_peer *peer)
{
	struct worker *w = peer->arg;

	if (w == NULL)
		return;
	count_owner_free(&w->count);
	share_free(&w->sharer);
	mem_free(w);
}

static void peer_room(struct server_peer *peer)
{
	struct worker *w = peer->arg;

	if (w != NULL)
		share_go_on(w->sharer);
}

/* ---- connections, events ---- */

static struct tally_event event_of(struct ipc_msg *msg)
{
	return (struct tally_event){
		.kind = (enum tally_kind)ipc_u64(msg, FIELD_KIND),
		.count = ipc_u64(msg, FIELD_COUNT),
		.service = ipc_bytes(msg, FIELD_SERVICE),
		.client_addr = ipc_bytes(msg, FIELD_CLIENT_ADDR),
		.login = ipc_bytes(msg, FIELD_LOGIN),
	};
}

static void on_connect(struct server_peer *peer, struct ipc_msg *msg)
{
	struct worker *w = peer->arg;
	struct tally_event e = event_of(msg);
	int64_t now = clock_real();
	bool again = (ipc_u64(msg, FIELD_FLAGS) & 1) != 0;
	uint64_t n = count_enter(w->count, e.service, e.client_addr);

	e.kind = TALLY_CONNECTIONS;
	e.count = again ? 0 : 1;
	uint64_t rate = rate_of(&e, ipc_u64(msg, FIELD_LIMIT), now);
	peaks_count(peaks, &e, n, count_clients(count), now);
	bool banned = state_ban_of(e.client_addr, now) != NULL;

	ipc_begin(peer->ipc, PROTO_TALLY_COUNT, msg->id);
	ipc_put_u64(peer->ipc, FIELD_COUNT, n);
	ipc_put_u64(peer->ipc, FIELD_RATE, rate);
	ipc_put_u64(peer->ipc, FIELD_FLAGS, banned ? 1 : 0);
	(void)ipc_end(peer->ipc);
}

static void on_disconnect(struct server_peer *peer, struct ipc_msg *msg)
{
	struct worker *w = peer->arg;
	struct slice client = ipc_bytes(msg, FIELD_CLIENT_ADDR);

	if (!count_leave(w->count, ipc_bytes(msg, FIELD_SERVICE), client))
		log_warning("smtpd worker %llu ended a session of %s that it had not begun",
			(unsigned long long)peer->worker, log_q(client));
}

static void on_event(struct ipc_msg *msg)
{
	struct tally_event e = event_of(msg);

	if (e.kind < TALLY_EVENTS)
		(void)rate_of(&e, 0, clock_real());
}

static void on_add(struct server_peer *peer, struct ipc_msg *msg)
{
	struct tally_event e = event_of(msg);
	uint64_t rate = 0;

	if (e.kind < TALLY_EVENTS)
		rate = rate_of(&e, ipc_u64(msg, FIELD_LIMIT), clock_real());
	ipc_begin(peer->ipc, PROTO_TALLY_RATE, msg->id);
	ipc_put_u64(peer->ipc, FIELD_RATE, rate);
	(void)ipc_end(peer->ipc);
}

static void on_failure(struct ipc_msg *msg)
{
	struct tally_failure f = {
		.kind = (enum tally_kind)ipc_u64(msg, FIELD_KIND),
		.client_addr = ipc_bytes(msg, FIELD_CLIENT_ADDR),
		.login = ipc_bytes(msg, FIELD_LOGIN),
		.limit = ipc_u64(msg, FIELD_LIMIT),
		.ban_seconds = ipc_u64(msg, FIELD_SECONDS),
		.has_mark = ipc_has(msg, FIELD_MARK),
		.mark = ipc_u64(msg, FIELD_MARK),
	};
	const struct ban *ban = NULL;

	if (f.kind < TALLY_EVENTS || f.kind >= TALLY_KINDS || f.ban_seconds > UINT32_MAX)
		return;
	ban = state_fail(&f, clock_real());
	if (ban != NULL)
		tell_ban(ban);
	loop_soon(&flush_task);
}

/* ---- greylist, cache ---- */

static void on_greylist(struct server_peer *peer, struct ipc_msg *msg)
{
	int64_t wait = state_greylist(ipc_bytes(msg, FIELD_CLIENT_ADDR),
		ipc_bytes(msg, FIELD_SENDER), ipc_bytes(msg, FIELD_RECIPIENT),
		(int64_t)(ipc_u64(msg, FIELD_SECONDS) & UINT32_MAX), clock_real());

	ipc_begin(peer->ipc, PROTO_TALLY_VALUE, msg->id);
	ipc_put_u64(peer->ipc, FIELD_RESULT, wait == 0 ? RESULT_OK : RESULT_DEFERRED);
	ipc_put_u64(peer->ipc, FIELD_SECONDS, (uint64_t)wait);
	(void)ipc_end(peer->ipc);
	loop_soon(&flush_task);
}

static void on_cache_get(struct server_peer *peer, struct ipc_msg *msg)
{
	struct slice value;
	int64_t until = 0;
	bool found = state_kept(ipc_bytes(msg, FIELD_KEY), clock_real(), &value, &until);

	ipc_begin(peer->ipc, PROTO_TALLY_VALUE, msg->id);
	ipc_put_u64(peer->ipc, FIELD_RESULT, found ? RESULT_OK : RESULT_NOT_FOUND);
	if (found) {
		ipc_put_bytes(peer->ipc, FIELD_VALUE, value);
		ipc_put_u64(peer->ipc, FIELD_UNTIL, (uint64_t)until);
	}
	(void)ipc_end(peer->ipc);
}

static void on_cache_put(struct ipc_msg *msg)
{
	state_keep(ipc_bytes(msg, FIELD_KEY), ipc_bytes(msg, FIELD_VALUE),
		(int64_t)ipc_u64(msg, FIELD_UNTIL));
	loop_soon(&flush_task);
}

static void on_probe(struct ipc_msg *msg)
{
	struct buf name = BUF_INIT(TALLY_KEY_MAX), value = BUF_INIT(TALLY_VALUE_MAX);

	(void)buf_add_str(&name, TALLY_PROBE_KEY);
	(void)buf_add_lower(&name, ipc_bytes(msg, FIELD_RECIPIENT));
	wire_u8(&value, (uint8_t)ipc_u64(msg, FIELD_RESULT));
	wire_u64(&value, (uint64_t)clock_real());
	(void)buf_add_slice(&value,
		slice_first(ipc_bytes(msg, FIELD_TEXT), TALLY_VALUE_MAX - TALLY_PROBE_HEAD));
	state_keep(buf_slice(&name), buf_slice(&value), (int64_t)ipc_u64(msg, FIELD_UNTIL));
	buf_clear(&name);
	buf_clear(&value);
	loop_soon(&flush_task);
}

static void peer_msg(struct server_peer *peer, struct ipc_msg *msg)
{
	switch (msg->type) {
	case PROTO_TALLY_CONNECT: on_connect(peer, msg); break;
	case PROTO_TALLY_DISCONNECT: on_disconnect(peer, msg); break;
	case PROTO_TALLY_EVENT: on_event(msg); break;
	case PROTO_TALLY_ADD: on_add(peer, msg); break;
	case PROTO_TALLY_FAILURE: on_failure(msg); break;
	case PROTO_TALLY_GREYLIST: on_greylist(peer, msg); break;
	case PROTO_TALLY_CACHE_GET: on_cache_get(peer, msg); break;
	case PROTO_TALLY_CACHE_PUT: on_cache_put(msg); break;
	case PROTO_PROBE_RESULT: on_probe(msg); break;
	default: break;
	}
}

/* ---- settings ---- */

static int reload(struct conf **c, struct buf *why)
{
	struct state_settings s;

	(void)why;
	/* In the unit that they were counted in. */
	log_peaks(NULL);
	conf_install(c);
	s = read_settings();
	state_set(&s);
	loop_timer_set(&peaks_timer, loop_now() + conf_time(P_anvil_status_update_time));
	return 0;
}

static void data_dir(const char *name, int fd)
{
	(void)name;
	fd_close(&data_fd);
	data_fd = fd;
}

int main(int argc, char **argv)
{
	static const struct server_spec spec = {
		.role = ROLE_TALLY,
		.program = PROG_TALLY,
		.start = start,
		.stop = stop,
		.listener = command_listener,
		.data_dir = data_dir,
		.peer_new = peer_new,
		.peer_msg = peer_msg,
		.peer_gone = peer_gone,
		.peer_room = peer_room,
		.reload = reload,
	};

	return server_main(argc, argv, &spec);
}

/* SPDX-License-Identifier: ISC */
#include "smtpd/auth_dovecot.h"

#include <sys/queue.h>
#include <unistd.h>

#include "net/stream.h"
#include "sasl/mechanism.h"
#include "server/server.h"
#include "smtpd/auth_backend.h"
#include "util/base64.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

/*
 *   DOWN ──► CONNECTING ──connected──► GREETING ──DONE──► UP
 *     ▲ after a while └────────── lost ──┴─────────────────┘
 */
enum state { DOWN, CONNECTING, GREETING, UP };
enum { LINE_MAX_BYTES = 32768, OUT_MAX = 1 << 20, MECHANISMS = 32, MINOR_CANCEL = 1 };

struct asked {
	LIST_ENTRY(asked) next;
	struct auth_exchange *x;
	uint32_t id; /* 0: not sent yet */
	/* Its initial response is empty, which Dovecot takes for none, and asks for. */
	bool is_empty;
	struct buf line;
};

static struct {
	enum state state;
	char *name;          /* owned; for server_connect */
	const char *service; /* what Dovecot is told */
	struct stream *stream;
	struct loop_timer timer; /* DOWN: the next try; CONNECTING, GREETING: the last moment */
	LIST_HEAD(, asked) all;
	uint32_t last_id;
	uint64_t minor, handle;
	bool has_version, warned;
	struct {
		char name[SASL_NAME_MAX + 1];
		unsigned properties;
	} mechanism[MECHANISMS];
	size_t mechanisms, offered; /* while they come; of the last complete greeting */
} dovecot;

static const char lost[] = "Connection lost to authentication server";

static void connect_now(void);

/* ---- exchanges ---- */

static void asked_free(struct asked *a)
{
	a->x->state = NULL;
	LIST_REMOVE(a, next);
	buf_clear(&a->line);
	mem_free(a);
}

static void finish(struct asked *a, const struct auth_outcome *o)
{
	struct auth_exchange *x = a->x;

	asked_free(a);
	x->events->done(x, o);
}

static void finish_all(void)
{
	struct auth_outcome o = {.result = AUTH_LATER, .why = slice_str(lost)};

	while (!LIST_EMPTY(&dovecot.all))
		finish(LIST_FIRST(&dovecot.all), &o);
}

static struct asked *find(uint64_t id)
{
	struct asked *a;

	LIST_FOREACH(a, &dovecot.all, next)
	if (a->id == id)
		return a;
	return NULL;
}

/* ---- the connection ---- */

static void drop(const char *why)
{
	if (!dovecot.warned)
		log_warning("SASL: Dovecot's auth socket %s: %s", dovecot.name, why);
	dovecot.warned = true;
	if (dovecot.handle != 0)
		server_connect_cancel(dovecot.handle);
	dovecot.handle = 0;
	stream_free(&dovecot.stream);
	dovecot.state = DOWN;
	loop_timer_set(&dovecot.timer, loop_now() + DOVECOT_AGAIN_MSEC * CLOCK_MSEC);
	finish_all();
}

static void on_timer(void *arg)
{
	if (dovecot.state == DOWN)
		connect_now();
	else
		drop("no greeting in time");
}

static void send_line(struct asked *a)
{
	if (stream_write_slice(dovecot.stream, buf_slice(&a->line)) != 0)
		drop("it does not read what it is sent");
	else
		buf_clear(&a->line);
}

/* All that was asked meanwhile. */
static void come_up(void)
{
	struct asked *next;

	if (dovecot.warned)
		log_info("SASL: Dovecot's auth socket %s: is there again", dovecot.name);
	dovecot.warned = false;
	dovecot.state = UP;
	dovecot.offered = dovecot.mechanisms;
	loop_timer_set(&dovecot.timer, CLOCK_NEVER);
	/* A connection that is lost meanwhile takes all of them with it. */
	for (struct asked *a = LIST_FIRST(&dovecot.all); dovecot.state == UP && a != NULL;
		a = next) {
		next = LIST_NEXT(a, next);
		send_line(a);
	}
}

static bool take_version(struct slice rest)
{
	struct slice major, minor;

	dovecot.has_version = slice_part(&rest, '\t', &major) && slice_eq_str(major, "1") &&
			      slice_part(&rest, '\t', &minor) &&
			      slice_u64(minor, 0, 1000, &dovecot.minor) == 0;
	return dovecot.has_version;
}

static bool take_mechanism(struct slice rest)
{
	struct slice name, word;
	unsigned properties = 0;

	if (!slice_part(&rest, '\t', &name) || !sasl_is_mechanism(name))
		return false;
	if (dovecot.mechanisms == MECHANISMS)
		return true;
	while (slice_part(&rest, '\t', &word))
		properties |= sasl_property(word);
	memcpy(dovecot.mechanism[dovecot.mechanisms].name, name.p, name.len);
	dovecot.mechanism[dovecot.mechanisms].name[name.len] = '\0';
	dovecot.mechanism[dovecot.mechanisms++].properties = properties;
	return true;
}

/* A line of the greeting; what is not known is passed over. */
static bool take_greeting(struct slice command, struct slice rest)
{
	if (slice_eq_str(command, "VERSION"))
		return take_version(rest);
	if (!dovecot.has_version)
		return false;
	if (slice_eq_str(command, "MECH"))
		return take_mechanism(rest);
	if (slice_eq_str(command, "DONE"))
		come_up();
	return true;
}

/* ---- answers ---- */

/* \001 and a character stand for NUL, \001, tab, CR and LF. */
static void unescape(struct slice s, struct buf *out)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (c == '\001' && i + 1 < s.len) {
			c = s.p[++i];
			c = c == 't'   ? '\t'
			    : c == 'n' ? '\n'
			    : c == 'r' ? '\r'
			    : c == '1' ? '\001'
				       : '?';
		}
		(void)buf_add_char(out, c);
	}
}

static bool take_value(struct slice word, const char *key, struct buf *out)
{
	if (!slice_starts(word, key))
		return false;
	buf_reset(out);
	unescape(slice_from(word, strlen(key)), out);
	return true;
}

/* OK and FAIL. */
static void take_outcome(struct asked *a, bool good, struct slice rest)
{
	struct buf user = BUF_INIT(2048), reason = BUF_INIT(4096);
	struct auth_outcome o = {.result = good ? AUTH_OK : AUTH_WRONG};
	struct slice word;

	while (slice_part(&rest, '\t', &word)) {
		if (take_value(word, "user=", &user) || take_value(word, "reason=", &reason))
			continue;
		if (!good && (slice_eq_str(word, "temp") || slice_eq_str(word, "code=temp_fail")))
			o.result = AUTH_LATER;
	}
	o.login = buf_slice(&user);
	o.why = buf_slice(&reason);
	if (o.result == AUTH_LATER && o.why.len == 0)
		o.why = SLICE_LIT("Temporary internal failure");
	if (good && (!sasl_is_text(o.login) || o.login.len > 2 * SASL_LOGIN_MAX)) {
		o.result = AUTH_LATER;
		o.why = SLICE_LIT("no user name from the authentication server");
	}
	finish(a, &o);
	buf_clear(&user);
	buf_clear(&reason);
}

static void respond(struct auth_exchange *x, struct slice message);

static bool take_challenge(struct asked *a, struct slice rest)
{
	struct buf message = BUF_INIT(LINE_MAX_BYTES);
	struct slice text;
	bool good = slice_part(&rest, '\t', &text) && base64_decode(&message, text) == 0;
	bool is_said = a->is_empty && message.len == 0;

	a->is_empty = false;
	if (good && is_said)
		respond(a->x, SLICE_NONE);
	else if (good)
		a->x->events->challenge(a->x, buf_slice(&message));
	buf_clear(&message);
	return good;
}

/* False: it is not the protocol. Answers to exchanges that are over are passed over. */
static bool take_answer(struct slice command, struct slice rest)
{
	bool is_ok = slice_eq_str(command, "OK"), is_fail = slice_eq_str(command, "FAIL");
	struct slice number;
	uint64_t id = 0;

	if (!is_ok && !is_fail && !slice_eq_str(command, "CONT"))
		return slice_is_printable(command);
	if (!slice_part(&rest, '\t', &number) || slice_u64(number, 1, UINT32_MAX, &id) != 0)
		return false;
	struct asked *a = find(id);
	if (a == NULL)
		return true;
	if (!is_ok && !is_fail)
		return take_challenge(a, rest);
	take_outcome(a, is_ok, rest);
	return true;
}

static void on_input(struct stream *s, void *arg)
{
	ptrdiff_t end;

	while (dovecot.stream == s && (end = slice_find(stream_input(s), '\n')) >= 0) {
		char *line = slice_dup(slice_first(stream_input(s), (size_t)end));
		struct slice rest = slice_of(line, (size_t)end), command;

		stream_consume(s, (size_t)end + 1);
		bool good = slice_part(&rest, '\t', &command) &&
			    (dovecot.state == UP ? take_answer(command, rest)
						 : take_greeting(command, rest));
		mem_free(line);
		if (!good && dovecot.stream == s)
			drop("it does not speak Dovecot's auth protocol");
	}
	if (dovecot.stream == s && stream_input(s).len >= LINE_MAX_BYTES)
		drop("a line is too long");
}

static void on_end(struct stream *s, int err, void *arg)
{
	drop(err == ERR_CLOSED ? "the connection was closed" : err_str(err));
}

static const struct stream_events events = {on_input, NULL, on_end};

static void connected(int err, int fd, void *arg)
{
	dovecot.handle = 0;
	if (err != 0) {
		drop(err_str(err));
		return;
	}
	dovecot.state = GREETING;
	dovecot.has_version = false;
	dovecot.mechanisms = 0;
	dovecot.stream = stream_new(fd, &events, NULL, LINE_MAX_BYTES, OUT_MAX);
	stream_set_secret(dovecot.stream);
	(void)stream_printf(dovecot.stream, "VERSION\t1\t1\nCPID\t%d\n", (int)getpid());
	stream_read(dovecot.stream, true);
}

static void connect_now(void)
{
	dovecot.state = CONNECTING;
	loop_timer_set(&dovecot.timer, loop_now() + DOVECOT_SEC * CLOCK_SEC);
	dovecot.handle = server_connect(dovecot.name, connected, NULL);
}

void auth_dovecot_start(const char *path, const char *service)
{
	struct slice p = slice_str(path);

	LIST_INIT(&dovecot.all);
	dovecot.service = service;
	dovecot.name = slice_starts(p, "unix:") || slice_starts(p, "inet:")
			       ? mem_str(path)
			       : mem_fmt("unix:%s", path);
	loop_timer_init(&dovecot.timer, on_timer, NULL);
	connect_now();
}

/* ---- for auth.c ---- */

static void begin(struct auth_exchange *x, struct slice message)
{
	static const struct auth_outcome away = {
		.result = AUTH_LATER, .why = {lost, sizeof(lost) - 1}};
	struct asked *a;

	if (dovecot.state == DOWN) {
		x->events->done(x, &away);
		return;
	}
	a = mem_alloc(sizeof(*a));
	a->x = x;
	a->line = BUF_SECRET(2 * LINE_MAX_BYTES);
	/* 0 is no number. */
	a->id = dovecot.last_id = dovecot.last_id == UINT32_MAX ? 1 : dovecot.last_id + 1;
	(void)buf_add_fmt(&a->line, "AUTH\t%u\t%s\tservice=%s\tnologin", a->id, x->mechanism,
		dovecot.service);
	if (*x->server != '\0')
		(void)buf_add_fmt(&a->line, "\tlip=%s\tlport=%u", x->server, x->server_port);
	(void)buf_add_fmt(&a->line, "\trip=%s\trport=%u", x->client, x->client_port);
	if (x->is_secured)
		(void)buf_add_str(&a->line, "\tsecured");
	if (x->names_n > 0)
		(void)buf_add_fmt(&a->line, "\tvalid-client-cert\tcert_username=%s", x->names[0]);
	a->is_empty = message.p != NULL && message.len == 0;
	if (message.p != NULL) {
		(void)buf_add_str(&a->line, "\tresp=");
		base64_encode(&a->line, message);
	}
	(void)buf_add_char(&a->line, '\n');
	x->state = a;
	LIST_INSERT_HEAD(&dovecot.all, a, next);
	if (dovecot.state == UP)
		send_line(a);
}

static void respond(struct auth_exchange *x, struct slice message)
{
	struct asked *a = x->state;

	buf_reset(&a->line);
	(void)buf_add_fmt(&a->line, "CONT\t%u\t", a->id);
	base64_encode(&a->line, message);
	(void)buf_add_char(&a->line, '\n');
	send_line(a);
}

static void cancel(struct auth_exchange *x)
{
	struct asked *a = x->state;

	if (a == NULL)
		return;
	if (dovecot.state == UP && dovecot.minor >= MINOR_CANCEL)
		(void)stream_printf(dovecot.stream, "CANCEL\t%u\n", a->id);
	asked_free(a);
}

/* Before the first greeting: what nearly every Dovecot has; who tries it is put off. */
static void walk(void (*visit)(const char *name, unsigned properties, void *arg), void *arg)
{
	if (dovecot.offered == 0) {
		visit("PLAIN", SASL_PLAINTEXT, arg);
		visit("LOGIN", SASL_PLAINTEXT, arg);
	}
	for (size_t i = 0; i < dovecot.offered; i++)
		visit(dovecot.mechanism[i].name, dovecot.mechanism[i].properties, arg);
}

const struct auth_backend auth_dovecot = {begin, respond, cancel, walk, 10, false};

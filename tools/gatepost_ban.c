/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "conf/value.h"
#include "net/addr.h"
#include "net/range.h"
#include "tools/gatepost.h"
#include "tools/json.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

/* gatepost ban: tally is asked at public/tally. */

enum { INPUT_LIMIT = 64 << 20 };

static const char usage[] = "usage: gatepost [-c DIR] ban list | show CLIENT | add CLIENT | remove "
			    "CLIENT\n"
			    "  CLIENT: an address, a network (192.0.2.0/24), or - for those on "
			    "standard input\n"
			    "  --time TIME, --reason TEXT: of add; TIME as 90s, 10m, 2h, 7d, 1w\n"
			    "  --json: list and show as JSON, one object a line\n";

struct call {
	const struct ban_options *options;
	bool over, lost;
	uint64_t result;
	char *why; /* owned */
};

static void print_time(uint64_t usec)
{
	time_t t = (time_t)(usec / CLOCK_SEC);
	char text[32] = "";
	struct tm tm;

	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", localtime_r(&t, &tm));
	printf("\t%s", text);
}

/* Reasons come from people and clients: a tab would begin another column. */
static void print_text(struct slice s)
{
	putchar('\t');
	for (size_t i = 0; i < s.len; i++)
		putchar(s.p[i] == '\t' ? ' ' : s.p[i]);
}

static void print_row(const struct ipc_msg *msg, bool json)
{
	struct slice client = ipc_bytes(msg, FIELD_CLIENT), origin = ipc_bytes(msg, FIELD_ORIGIN);
	struct slice reason = ipc_bytes(msg, FIELD_TEXT);
	uint64_t since = ipc_u64(msg, FIELD_SINCE), until = ipc_u64(msg, FIELD_UNTIL);

	if (json) {
		putchar('{');
		json_member("client", client, true);
		json_number("since", since / CLOCK_SEC, false);
		json_number("until", until / CLOCK_SEC, false);
		json_member("origin", origin, false);
		json_member("reason", reason, false);
		puts("}");
		return;
	}
	printf("%.*s", SLICE_FMT(client));
	print_time(since);
	print_time(until);
	print_text(origin);
	print_text(reason);
	putchar('\n');
}

static void on_msg(struct ipc *c, struct ipc_msg *msg, void *arg)
{
	struct call *call = arg;

	(void)c;
	if (msg->type == PROTO_BAN_ROW) {
		print_row(msg, call->options->json);
	} else if (msg->type == PROTO_BAN_DONE) {
		call->over = true;
		call->result = ipc_u64(msg, FIELD_RESULT);
		call->why = slice_dup(ipc_bytes(msg, FIELD_TEXT));
	}
}

static void on_end(struct ipc *c, int err, void *arg)
{
	struct call *call = arg;

	(void)c;
	(void)err;
	call->lost = true;
}

static const struct ipc_events events = {on_msg, on_end, NULL};

/* NULL, with the reason on standard error. */
static struct ipc *connect_tally(struct call *call)
{
	struct net_addr a;
	int fd = -1;

	if (chdir(set_str(gatepost_conf, P_queue_directory)) != 0 ||
		net_addr_unix("public/tally", &a) != 0)
		fd = -1;
	else
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&a.ss, a.len) == 0)
		return ipc_new(fd, ROLE_TOOL, ROLE_TALLY, &events, call, 0);
	(void)gatepost_fail(errno == ENOENT || errno == ECONNREFUSED
				    ? "is not running, or its service tally is not"
				    : err_str(ERR_SYS));
	fd_close(&fd);
	return NULL;
}

static int say_done(const struct call *call, const char *command, struct slice client)
{
	if (!call->over)
		return gatepost_fail("tally is gone; its reason is in the log");
	if (call->result == RESULT_OK)
		return 0;
	if (call->result == RESULT_NOT_FOUND)
		fprintf(stderr, "gatepost: %.*s is not banned\n", SLICE_FMT(client));
	else
		fprintf(stderr, "gatepost: ban %s %.*s: %s\n", command, SLICE_FMT(client),
			call->why);
	return 1;
}

static int ask(struct ipc *c, struct call *call, const char *command, struct slice client)
{
	int r = 0;

	call->over = false;
	ipc_begin(c, PROTO_BAN_DO, ipc_ask(c));
	ipc_put_str(c, FIELD_NAME, command);
	if (client.len > 0)
		ipc_put_text(c, FIELD_CLIENT, client);
	if (strcmp(command, "add") == 0) {
		ipc_put_u64(c, FIELD_SECONDS, (uint64_t)call->options->seconds);
		if (call->options->reason != NULL)
			ipc_put_str(c, FIELD_TEXT, call->options->reason);
	}
	(void)ipc_end(c);
	while (!call->over && !call->lost)
		(void)ipc_pump(c, CLOCK_NEVER);
	r = say_done(call, command, client);
	mem_free(call->why);
	call->why = NULL;
	return r;
}

static int ask_checked(struct ipc *c, struct call *call, const char *command, struct slice client)
{
	struct net_range range;

	if (net_range_parse(client, &range) != 0) {
		fprintf(stderr,
			"gatepost: %.*s: expected an address or a network, such as 192.0.2.0/24\n",
			SLICE_FMT(client));
		return 1;
	}
	return ask(c, call, command, client);
}

/* One a line; what is behind the first blank is not read, so that list's output can be given. */
static int ask_each(struct ipc *c, struct call *call, const char *command)
{
	struct buf input = BUF_INIT(INPUT_LIMIT);
	struct slice rest, line, client;
	int r = fd_read_all(0, &input) != 0 ? gatepost_fail(err_str(ERR_SYS)) : 0;

	rest = buf_slice(&input);
	while (!call->lost && slice_token(&rest, "\r\n", &line))
		if (slice_token(&line, " \t", &client))
			r |= ask_checked(c, call, command, client);
	buf_clear(&input);
	return r;
}

static int read_time(const char *text, int64_t *seconds)
{
	struct buf why = BUF_INIT(512);
	size_t where = 0;
	int64_t usec = 0;
	int r = 0;

	*seconds = set_time(gatepost_conf, P_smtpd_ban_time) / CLOCK_SEC;
	if (text == NULL)
		return 0;
	r = value_parse(P_smtpd_ban_time, slice_str(text), NULL, &why, &where, &usec);
	if (r != 0)
		fprintf(stderr, "gatepost: --time %s: %s\n", text, buf_str(&why));
	*seconds = usec / CLOCK_SEC;
	buf_clear(&why);
	return r != 0;
}

int gatepost_ban(char **args, struct ban_options *options)
{
	struct call call = {.options = options};
	bool is_list = args[0] != NULL && strcmp(args[0], "list") == 0 && args[1] == NULL;
	bool is_one = args[0] != NULL && args[1] != NULL && args[2] == NULL &&
		      (strcmp(args[0], "show") == 0 || strcmp(args[0], "add") == 0 ||
			      strcmp(args[0], "remove") == 0);
	struct ipc *c = NULL;
	int r = 0;

	if (!is_list && !is_one) {
		fputs(usage, stderr);
		return 1;
	}
	if (read_time(options->time, &options->seconds) != 0)
		return 1;
	c = connect_tally(&call);
	if (c == NULL)
		return 1;
	if (is_list)
		r = ask(c, &call, "list", SLICE_NONE);
	else if (strcmp(args[1], "-") == 0)
		r = ask_each(c, &call, args[0]);
	else
		r = ask_checked(c, &call, args[0], slice_str(args[1]));
	ipc_free(&c);
	return r;
}

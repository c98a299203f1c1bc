/* SPDX-License-Identifier: ISC */
#include "ipc/ipc.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "t/tap.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/wire.h"

/* One end of a connection under test, and what it was told. */
struct side {
	struct ipc *ipc;
	unsigned last, count;
	uint64_t id;
	void *request;
	int ended;
	bool free_in_handler, had_room;
	char text[64];
	int fd;
};

static void on_msg(struct ipc *c, struct ipc_msg *m, void *arg)
{
	struct side *s = arg;
	struct slice name = ipc_bytes(m, FIELD_QUEUE_ID);

	(void)c;
	s->last = m->type;
	s->id = m->id;
	s->request = m->arg;
	s->count++;
	snprintf(s->text, sizeof(s->text), "%.*s", SLICE_FMT(name));
	if (m->fd >= 0)
		s->fd = ipc_take_fd(m);
	if (s->free_in_handler)
		ipc_free(&s->ipc);
}

static void on_end(struct ipc *c, int err, void *arg)
{
	struct side *s = arg;

	(void)c;
	s->ended = err;
}

static void on_room(struct ipc *c, void *arg)
{
	(void)c;
	((struct side *)arg)->had_room = true;
}

static const struct ipc_events events = {on_msg, on_end, on_room};

static void pair(struct side *a, enum role ra, struct side *b, enum role rb)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		bail_out("socketpair");
	*a = (struct side){.fd = -1};
	*b = (struct side){.fd = -1};
	a->ipc = ipc_new(fds[0], ra, rb, &events, a, 0);
	b->ipc = ipc_new(fds[1], rb, ra, &events, b, 0);
}

static void unpair(struct side *a, struct side *b)
{
	ipc_free(&a->ipc);
	ipc_free(&b->ipc);
	fd_close(&a->fd);
	fd_close(&b->fd);
}

/* Lets everything that is on its way arrive. */
static void settle(void)
{
	for (int i = 0; i < 6; i++)
		loop_once(clock_mono() + 2 * CLOCK_MSEC);
}

static uint64_t open_message(struct side *a)
{
	uint64_t id = ipc_ask(a->ipc);

	ipc_begin(a->ipc, PROTO_MSG_OPEN, id);
	ipc_put_str(a->ipc, FIELD_SENDER, "a@example.com");
	ipc_put_u64(a->ipc, FIELD_TIME, 1);
	ipc_put_str(a->ipc, FIELD_SERVICE, "smtp");
	ipc_put_u64(a->ipc, FIELD_FLAGS, 0);
	ipc_end(a->ipc);
	return id;
}

static int send_data(struct side *a, uint64_t id, const char *bytes, size_t len)
{
	ipc_begin(a->ipc, PROTO_MSG_DATA, id);
	ipc_put_bytes(a->ipc, FIELD_BYTES, slice_of(bytes, len));
	return ipc_end(a->ipc);
}

static void send_failed(struct side *b, uint64_t id)
{
	ipc_begin(b->ipc, PROTO_MSG_FAILED, id);
	ipc_put_u64(b->ipc, FIELD_CODE, 451);
	ipc_put_str(b->ipc, FIELD_STATUS, "4.3.0");
	ipc_put_str(b->ipc, FIELD_TEXT, "no\r\nway");
	ipc_end(b->ipc);
}

static void test_a_request(void)
{
	struct side a, b;
	uint64_t id;
	int mark = 0;

	pair(&a, ROLE_SMTPD, &b, ROLE_CLEANUP);
	id = open_message(&a);
	ipc_set_arg(a.ipc, id, true, &mark);
	settle();
	is_int(b.last, PROTO_MSG_OPEN, "a request arrives");
	is_int(b.id, id, "with its id");
	ipc_set_arg(b.ipc, id, false, &b);
	ipc_begin(b.ipc, PROTO_MSG_OPENED, id);
	ipc_put_str(b.ipc, FIELD_QUEUE_ID, "ABC");
	is_int(ipc_end(b.ipc), 0, "it is answered");
	settle();
	is_str(a.text, "ABC", "the answer arrives with its field");
	ok(a.request == &mark, "and the asker's pointer");
	is_int(send_data(&a, id, "x", 1), 0, "data");
	settle();
	ok(b.request == &b, "each side has a pointer of its own");
	ipc_send(a.ipc, PROTO_MSG_DISCARD, id);
	is_int(send_data(&a, id, "x", 1), ERR_STATE, "after its end a request takes no more");
	settle();
	is_int(b.last, PROTO_MSG_DISCARD, "the end arrives");
	is_int(a.ended | b.ended, 0, "nobody is cut off");
	unpair(&a, &b);
}

static void test_crossing(void)
{
	struct side a, b;
	uint64_t id;
	unsigned before;

	pair(&a, ROLE_SMTPD, &b, ROLE_CLEANUP);
	id = open_message(&a);
	settle();
	send_failed(&b, id);
	before = b.count;
	is_int(send_data(&a, id, "x", 1), 0, "data leaves while a refusal is on its way");
	settle();
	is_int(a.last, PROTO_MSG_FAILED, "the refusal arrives");
	is_int(b.count, before, "the data is dropped unseen");
	is_int(send_data(&a, id, "x", 1), ERR_STATE, "then the asker may not send more");
	is_int(ipc_send(a.ipc, PROTO_MSG_DISCARD, id), 0, "but its last frame");
	settle();
	id = open_message(&a);
	settle();
	ipc_send(a.ipc, PROTO_MSG_DISCARD, id);
	before = a.count;
	send_failed(&b, id);
	settle();
	is_int(a.count, before, "an answer to a request that its asker has ended is dropped");
	is_int(a.ended | b.ended, 0, "nobody is cut off");
	unpair(&a, &b);
}

static void test_credit(void)
{
	static char block[60000];
	struct side a, b;
	uint64_t id;
	size_t sent = 0;

	pair(&a, ROLE_SMTPD, &b, ROLE_CLEANUP);
	id = open_message(&a);
	is_int(ipc_credit(a.ipc, id), IPC_CREDIT, "a request begins with credit");
	while (send_data(&a, id, block, sizeof(block)) == 0)
		sent += sizeof(block);
	is_int(sent, IPC_CREDIT / sizeof(block) * sizeof(block), "over it nothing is sent");
	settle();
	ipc_begin(b.ipc, PROTO_MSG_GRANT, id);
	ipc_put_u64(b.ipc, FIELD_SIZE, 100000);
	ipc_end(b.ipc);
	settle();
	is_int(ipc_credit(a.ipc, id), IPC_CREDIT - sent + 100000, "a grant adds to it");
	is_int(a.ended | b.ended, 0, "nobody is cut off");
	unpair(&a, &b);
}

static void test_descriptors(void)
{
	struct side a, b;
	struct stat x, y;
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), zero = open("/dev/zero", O_RDONLY);

	pair(&a, ROLE_MASTER, &b, ROLE_SMTPD);
	fstat(zero, &x);
	for (int i = 0; i < 3; i++) {
		int fd = dup(i == 1 ? zero : null);

		ipc_begin(a.ipc, PROTO_TABLE, 0);
		ipc_put_str(a.ipc, FIELD_NAME, "hash:/x");
		ipc_end_fd(a.ipc, &fd);
		is_int(fd, -1, "a descriptor is taken over");
		ipc_send(a.ipc, PROTO_STOP, 0);
		if (i == 1) {
			settle();
			fd_close(&b.fd);
		}
	}
	b.fd = -1;
	settle();
	ok(b.fd >= 0 && b.count == 6, "frames with and without descriptors keep their order");
	fd_close(&b.fd);
	ipc_begin(a.ipc, PROTO_TABLE, 0);
	ipc_put_str(a.ipc, FIELD_NAME, "hash:/x");
	ipc_end_fd(a.ipc, &zero);
	settle();
	ok(fstat(b.fd, &y) == 0 && x.st_rdev == y.st_rdev, "each comes with its own");
	fd_close(&null);
	unpair(&a, &b);
}

static void test_free_in_handler(void)
{
	struct side a, b;

	pair(&a, ROLE_SMTPD, &b, ROLE_CLEANUP);
	b.free_in_handler = true;
	open_message(&a);
	open_message(&a);
	settle();
	ok(b.ipc == NULL && b.count == 1, "a handler may free its connection");
	is_int(a.ended, ERR_CLOSED, "the other side learns it");
	unpair(&a, &b);
}

static void test_bounded_output(void)
{
	static char block[60000];
	struct side a, b;
	int err = 0;

	pair(&a, ROLE_SMTPD, &b, ROLE_CLEANUP);
	ipc_read(b.ipc, false);
	for (int i = 0; i < 200 && err == 0; i++)
		err = send_data(&a, open_message(&a), block, sizeof(block));
	is_int(err, ERR_CLOSED, "output to a peer that does not read is bounded");
	is_int(a.ended, 0, "the owner is not told in the middle of its work");
	settle();
	is_int(a.ended, ERR_LIMIT, "but soon");
	unpair(&a, &b);

	pair(&a, ROLE_SMTPD, &b, ROLE_CLEANUP);
	ipc_read(b.ipc, false);
	for (int i = 0; i < 50; i++)
		send_data(&a, open_message(&a), block, sizeof(block));
	settle();
	ok(!a.had_room && ipc_unsent(a.ipc) > 0, "a full connection waits");
	ipc_read(b.ipc, true);
	for (int i = 0; i < 20; i++)
		settle();
	ok(a.had_room && ipc_unsent(a.ipc) == 0, "and says when there is room again");
	is_int(b.count, 100, "nothing is lost");
	unpair(&a, &b);
}

/* Frames made by hand, against the rules. */

static void frame(struct buf *out, unsigned type, unsigned flags, uint64_t id, struct slice body)
{
	wire_u32(out, (uint32_t)body.len);
	wire_u16(out, (uint16_t)type);
	wire_u16(out, (uint16_t)flags);
	wire_u64(out, id);
	buf_add_slice(out, body);
}

static void field(struct buf *out, unsigned number, unsigned type, struct slice value)
{
	wire_u8(out, (uint8_t)number);
	wire_u8(out, (uint8_t)type);
	wire_u16(out, (uint16_t)value.len);
	buf_add_slice(out, value);
}

static void open_fields(struct buf *out)
{
	field(out, FIELD_SENDER, PROTO_TYPE_TEXT, SLICE_LIT("a@b"));
	field(out, FIELD_TIME, PROTO_TYPE_U64, SLICE_LIT("\1\0\0\0\0\0\0\0"));
	field(out, FIELD_SERVICE, PROTO_TYPE_TEXT, SLICE_LIT("smtp"));
	field(out, FIELD_FLAGS, PROTO_TYPE_U64, SLICE_LIT("\0\0\0\0\0\0\0\0"));
}

enum breach {
	NO_BREACH,
	UNKNOWN_MESSAGE,
	WRONG_ROLE,
	TOO_LONG,
	UNKNOWN_FLAG,
	NO_DESCRIPTOR,
	FIELD_MISSING,
	FIELD_TWICE,
	FIELD_FOREIGN,
	TYPE_WRONG,
	FIELD_LONG,
	FIELD_CONTROL,
	FIELD_CUT,
	OUT_OF_TURN,
	OLD_ID,
	EVENT_WITH_ID,
	NOBODY_ASKED,
	OVER_CREDIT,
	GARBAGE,
	BREACHES
};

static const char *const breach_names[BREACHES] = {"a frame in order", "an unknown message",
	"a message of another pair", "a frame too long", "an unknown flag", "a missing descriptor",
	"a missing field", "a field twice", "a foreign field", "a field of another type",
	"a field too long", "a control character", "a field cut short", "data before its message",
	"an id used before", "an event with an id", "an answer that nobody asked for",
	"more than the credit", "garbage"};

static void bad_body(struct buf *body, enum breach what)
{
	static char big[2000];

	open_fields(body);
	switch (what) {
	case FIELD_MISSING: buf_consume(body, PROTO_FIELD_HEAD + 3); break;
	case FIELD_TWICE: field(body, FIELD_SENDER, PROTO_TYPE_TEXT, SLICE_LIT("c")); break;
	case FIELD_FOREIGN:
		field(body, FIELD_SEGMENT, PROTO_TYPE_U64, SLICE_LIT("12345678"));
		break;
	case TYPE_WRONG: field(body, FIELD_HELO, PROTO_TYPE_BYTES, SLICE_LIT("h")); break;
	case FIELD_LONG: field(body, FIELD_HELO, PROTO_TYPE_TEXT, slice_of(big, 2000)); break;
	case FIELD_CONTROL: field(body, FIELD_HELO, PROTO_TYPE_TEXT, SLICE_LIT("h\n")); break;
	case FIELD_CUT: buf_truncate(body, body->len - 3); break;
	default: break;
	}
}

static void bad_frames(struct buf *out, enum breach what)
{
	static char big[60000];
	struct buf body = BUF_INIT(100000);

	bad_body(&body, what);
	switch (what) {
	case UNKNOWN_MESSAGE: frame(out, 9999, 0, 1, SLICE_NONE); break;
	case WRONG_ROLE: frame(out, PROTO_JOB_GO, 0, 1, SLICE_NONE); break;
	case TOO_LONG:
		wire_u32(out, 1 << 20);
		wire_u32(out, PROTO_MSG_OPEN);
		wire_u64(out, 1);
		break;
	case UNKNOWN_FLAG: frame(out, PROTO_MSG_OPEN, 2, 1, buf_slice(&body)); break;
	case NO_DESCRIPTOR: frame(out, PROTO_MSG_OPEN, 1, 1, buf_slice(&body)); break;
	case OUT_OF_TURN: frame(out, PROTO_MSG_DISCARD, 0, 1, SLICE_NONE); break;
	case OLD_ID:
		frame(out, PROTO_MSG_OPEN, 0, 5, buf_slice(&body));
		frame(out, PROTO_MSG_OPEN, 0, 5, buf_slice(&body));
		break;
	case EVENT_WITH_ID:
		buf_reset(&body);
		field(&body, FIELD_QUEUE_ID, PROTO_TYPE_TEXT, SLICE_LIT("A"));
		frame(out, PROTO_ID_QUERY, 0, 3, buf_slice(&body));
		break;
	case OVER_CREDIT:
		frame(out, PROTO_MSG_OPEN, 0, 1, buf_slice(&body));
		buf_reset(&body);
		field(&body, FIELD_BYTES, PROTO_TYPE_BYTES, slice_of(big, sizeof(big)));
		for (int i = 0; i < 5; i++)
			frame(out, PROTO_MSG_DATA, 0, 1, buf_slice(&body));
		break;
	case GARBAGE: buf_add(out, "EHLO example.com\r\nMAIL FROM:<>\r\n", 32); break;
	default: frame(out, PROTO_MSG_OPEN, 0, 1, buf_slice(&body)); break;
	}
	buf_clear(&body);
}

static void test_breaches(void)
{
	for (int what = 0; what < BREACHES; what++) {
		struct buf bytes = BUF_INIT(1 << 20);
		struct side b = {.fd = -1};
		int fds[2];

		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
			bail_out("socketpair");
		if (what == NOBODY_ASKED) {
			struct buf body = BUF_INIT(100);

			b.ipc = ipc_new(fds[1], ROLE_SMTPD, ROLE_CLEANUP, &events, &b, 0);
			field(&body, FIELD_QUEUE_ID, PROTO_TYPE_TEXT, SLICE_LIT("A"));
			frame(&bytes, PROTO_MSG_OPENED, 0, 9, buf_slice(&body));
			buf_clear(&body);
		} else {
			b.ipc = ipc_new(fds[1], ROLE_CLEANUP, ROLE_SMTPD, &events, &b, 0);
			bad_frames(&bytes, (enum breach)what);
		}
		fd_set_nonblock(fds[0], true);
		for (size_t at = 0; at < bytes.len;) {
			ssize_t n = write(fds[0], buf_str(&bytes) + at, bytes.len - at);

			if (n > 0)
				at += (size_t)n;
			loop_once(clock_mono() + CLOCK_MSEC);
			if (b.ended)
				break;
		}
		settle();
		is_int(b.ended, what == NO_BREACH ? 0 : ERR_SYNTAX, "%s", breach_names[what]);
		ipc_free(&b.ipc);
		close(fds[0]);
		buf_clear(&bytes);
	}
}

static void test_text_is_made_fit(void)
{
	struct side a, b;
	uint64_t id;

	pair(&a, ROLE_SMTPD, &b, ROLE_CLEANUP);
	id = open_message(&a);
	settle();
	ipc_begin(b.ipc, PROTO_MSG_OPENED, id);
	ipc_put_str(b.ipc, FIELD_QUEUE_ID, "A\r\nB and very much more text than an id may hold");
	ipc_end(b.ipc);
	settle();
	is_str(a.text, "A??B and very much more text tha",
		"texts are cut and cleaned on their way");
	unpair(&a, &b);
}

/* The message that a file of the fuzz target's corpus is a good one of; 0: of none. */
static unsigned seeded(int dir, const char *name)
{
	struct buf in = BUF_INIT(65536), why = BUF_INIT(512);
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	unsigned type = 0;

	if (fd >= 0 && fd_read_all(fd, &in) >= 0 && in.len > 0)
		type = (unsigned char)buf_str(&in)[0];
	if (proto_check(type, slice_from(buf_slice(&in), 1), &why) != 0)
		type = 0;
	fd_close(&fd);
	buf_clear(&in);
	buf_clear(&why);
	return type;
}

static void test_seeds(void)
{
	const char *top = getenv("GP_SRC");
	char *path = mem_fmt("%s/t/fuzz/corpus/ipc", top != NULL ? top : "..");
	DIR *dir = opendir(path);
	struct buf without = BUF_INIT(4096);
	bool has_seed[256] = {false};
	const struct dirent *e;

	while (dir != NULL && (e = readdir(dir)) != NULL)
		has_seed[seeded(dirfd(dir), e->d_name)] = true;
	for (unsigned type = 0; type < 256; type++)
		if (proto_row(type) != NULL && !has_seed[type])
			buf_add_fmt(&without, " %s", proto_name(type));
	is_str(buf_str(&without), "", "every message has a seed in %s", path);
	if (dir != NULL)
		closedir(dir);
	mem_free(path);
	buf_clear(&without);
}

int main(void)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	log_set_sink(LOG_SINK_FILE, null);
	loop_init();
	test_a_request();
	test_crossing();
	test_credit();
	test_descriptors();
	test_free_in_handler();
	test_bounded_output();
	test_breaches();
	test_text_is_made_fit();
	test_seeds();
	return done_testing();
}

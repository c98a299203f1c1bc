/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include "smtp/command.h"
#include "util/err.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum {
	ALL = SMTP_OPT_UTF8 | SMTP_OPT_DSN | SMTP_OPT_SIZE | SMTP_OPT_8BITMIME,
};

static const struct {
	const char *line;
	enum smtp_verb verb;
	const char *args;
} lines[] = {
	{"EHLO x", SMTP_EHLO, "x"},
	{"ehlo  x y ", SMTP_EHLO, "x y"},
	{"  noop", SMTP_NOOP, ""},
	{"", SMTP_UNKNOWN, ""},
	{"  ", SMTP_UNKNOWN, ""},
	{"MAILFROM:<a>", SMTP_UNKNOWN, ""},
	{"Mail From:<a b>", SMTP_MAIL, "From:<a b>"},
	{"QUIT\t", SMTP_QUIT, ""},
	{"UNKNOWN", SMTP_UNKNOWN, ""},
	{"EXPN l", SMTP_EXPN, "l"},
};

static void test_lines(void)
{
	for (size_t i = 0; i < COUNT(lines); i++) {
		struct smtp_command c;

		smtp_command_parse(slice_str(lines[i].line), &c);
		is_int(c.verb, lines[i].verb, "'%s'", lines[i].line);
		is_slice(c.args, lines[i].args, "arguments");
	}
	is_str(smtp_verb_lower(SMTP_UNKNOWN), "unknown", "the counter of all others");
	is_str(smtp_verb_name(SMTP_MAIL), "MAIL", "a name");
}

static void test_splitter(void)
{
	struct smtp_lines l = {0};
	struct slice line;
	bool bare;
	size_t used;

	is_int(smtp_line_next(&l, SLICE_LIT("NOOP\r\nQUIT\r\n"), 100, &line, &bare, &used), 0,
		"a line");
	is_slice(line, "NOOP", "without its end");
	is_int(used, 6, "with it");
	ok(!bare, "which is CRLF");
	is_int(smtp_line_next(&l, SLICE_LIT("NOOP\n"), 100, &line, &bare, &used), 0, "a bare LF");
	is_slice(line, "NOOP", "ends a line too");
	ok(bare, "and is told");
	is_int(smtp_line_next(&l, SLICE_LIT("NO"), 100, &line, &bare, &used), ERR_AGAIN,
		"half a line");
	is_int(used, 0, "is left");
	is_int(smtp_line_next(&l, SLICE_LIT("12345\r\n"), 5, &line, &bare, &used), 0,
		"at the limit");
	is_int(smtp_line_next(&l, SLICE_LIT("123456\r\nX"), 5, &line, &bare, &used), ERR_LIMIT,
		"over it");
	is_int(used, 8, "is dropped");
	is_int(smtp_line_next(&l, SLICE_LIT("123456"), 5, &line, &bare, &used), ERR_AGAIN,
		"without end");
	is_int(used, 6, "is dropped at once");
	is_int(smtp_line_next(&l, SLICE_LIT("789\r\nNOOP\r\n"), 5, &line, &bare, &used), ERR_LIMIT,
		"told at its end");
	is_int(used, 5, "where the next begins");
	is_int(smtp_line_next(&l, SLICE_LIT("NOOP\r\n"), 5, &line, &bare, &used), 0,
		"which is good");

	static char many[4096];
	int r = ERR_AGAIN, n = 0;
	memset(many, 'x', sizeof(many));
	for (; r == ERR_AGAIN && n < 1000; n++)
		r = smtp_line_next(&l, slice_of(many, sizeof(many)), 2048, &line, &bare, &used);
	is_int(r, ERR_RANGE, "an endless line ends");
	ok(n <= SMTP_SKIP_LIMIT / 4096 + 1, "soon");
}

static const struct {
	const char *args;
	unsigned options;
	const char *reply, *sender;
	uint64_t size;
	int body, ret;
	const char *envid;
} mails[] = {
	{"FROM:<a@b>", ALL, NULL, "a@b", 0, 0, 0, ""},
	{"from: <a@b>", ALL, NULL, "a@b", 0, 0, 0, ""},
	{"FROM:<>", ALL, NULL, "", 0, 0, 0, ""},
	{"FROM:a@b SIZE=5", ALL, NULL, "a@b", 5, 0, 0, ""},
	{"FROM:<a@b> SIZE=1 size=2 BODY=8bitmime", ALL, NULL, "a@b", 2, SMTP_BODY_8BITMIME, 0, ""},
	{"FROM:<a@b> body=7BIT RET=full ENVID=x+2By", ALL, NULL, "a@b", 0, SMTP_BODY_7BIT,
		SMTP_RET_FULL, "x+2By"},
	{"FROM:<a@b> RET=HDRS SMTPUTF8", ALL, NULL, "a@b", 0, 0, SMTP_RET_HDRS, ""},
	{"FROM:<a@b> SIZE=99999999999999999999", ALL, NULL, "a@b", INT64_MAX, 0, 0, ""},
	{"FROM:<a@b> AUTH=<>", ALL | SMTP_OPT_AUTH, NULL, "a@b", 0, 0, 0, ""},
	{"", ALL, "501 5.5.4 Syntax: MAIL FROM:<address>", NULL, 0, 0, 0, NULL},
	{"FROM:", ALL, "501 5.5.4 Syntax: MAIL FROM:<address>", NULL, 0, 0, 0, NULL},
	{"FROM <a@b>", ALL, "501 5.5.4 Syntax: MAIL FROM:<address>", NULL, 0, 0, 0, NULL},
	{"TO:<a@b>", ALL, "501 5.5.4 Syntax: MAIL FROM:<address>", NULL, 0, 0, 0, NULL},
	{"FROM:<a@b", ALL, "501 5.1.7 Bad sender address syntax", NULL, 0, 0, 0, NULL},
	{"FROM:a@b", SMTP_OPT_STRICT, "501 5.1.7 Bad sender address syntax", NULL, 0, 0, 0, NULL},
	{"FROM:<a@b> SIZE=", ALL, "501 5.5.4 Bad message size syntax", NULL, 0, 0, 0, NULL},
	{"FROM:<a@b> SIZE=-1", ALL, "501 5.5.4 Bad message size syntax", NULL, 0, 0, 0, NULL},
	{"FROM:<a@b> SIZE", ALL, "555 5.5.4 Unsupported option: SIZE", NULL, 0, 0, 0, NULL},
	{"FROM:<a@b> SIZE=1", 0, "555 5.5.4 Unsupported option: SIZE=1", NULL, 0, 0, 0, NULL},
	{"FROM:<a@b> BODY=BINARYMIME", ALL, "555 5.5.4 Unsupported option: BODY=BINARYMIME", NULL,
		0, 0, 0, NULL},
	{"FROM:<a@b> SMTPUTF8=1", ALL, "555 5.5.4 Unsupported option: SMTPUTF8=1", NULL, 0, 0, 0,
		NULL},
	{"FROM:<a@b> AUTH=<>", ALL, "503 5.5.4 Error: authentication disabled", NULL, 0, 0, 0,
		NULL},
	{"FROM:<a@b> X\001Y", ALL, "555 5.5.4 Unsupported option: X?Y", NULL, 0, 0, 0, NULL},
	{"FROM:<a@b> RET=x", ALL, "501 5.5.4 Bad RET parameter syntax", NULL, 0, 0, 0, NULL},
	{"FROM:<a@b> RET=FULL RET=FULL", ALL, "501 5.5.4 Bad RET parameter syntax", NULL, 0, 0, 0,
		NULL},
	{"FROM:<a@b> ENVID=", ALL, "501 5.5.4 Bad ENVID parameter syntax", NULL, 0, 0, 0, NULL},
	{"FROM:<a@b> ENVID=a+0Ab", ALL, "501 5.5.4 Bad ENVID parameter syntax", NULL, 0, 0, 0,
		NULL},
	{"FROM:<a@b> ENVID=a ENVID=a", ALL, "501 5.5.4 Bad ENVID parameter syntax", NULL, 0, 0, 0,
		NULL},
	{"FROM:<\303\244@b>", ALL | SMTP_OPT_UTF8_STRICT,
		"553 5.6.7 Must declare SMTPUTF8 to send unicode address", NULL, 0, 0, 0, NULL},
	{"FROM:<\303\244@b> SMTPUTF8", ALL | SMTP_OPT_UTF8_STRICT, NULL, "\303\244@b", 0, 0, 0, ""},
};

static void test_mail(void)
{
	struct buf sender = BUF_INIT(1000), reply = BUF_INIT(1000);

	for (size_t i = 0; i < COUNT(mails); i++) {
		struct smtp_mail m = {.sender = &sender};
		bool bad;

		buf_reset(&reply);
		int r = smtp_mail_parse(
			slice_str(mails[i].args), mails[i].options, &m, &bad, &reply);
		is_int(r, mails[i].reply == NULL ? 0 : ERR_SYNTAX, "MAIL %s", mails[i].args);
		is_slice(buf_slice(&reply), mails[i].reply == NULL ? "" : mails[i].reply, "reply");
		if (mails[i].reply != NULL)
			continue;
		is_slice(buf_slice(&sender), mails[i].sender, "sender");
		is_int(m.size, mails[i].size, "size");
		is_int(m.body, mails[i].body, "body");
		is_int(m.ret, mails[i].ret, "ret");
		is_slice(m.envid, mails[i].envid, "envid");
	}
	buf_clear(&sender);
	buf_clear(&reply);
}

#define BAD_BY "501 5.5.4 Error: Bad BY parameter syntax"
#define NO_TIME "501 5.5.4 Error: BY with mode R needs a time above 0"

/* BY= (RFC 2852, 4); reply NULL: good. */
static const struct {
	const char *value, *reply;
	enum smtp_by by;
	int64_t time;
	bool trace;
} bys[] = {
	{"BY=1;R", NULL, SMTP_BY_RETURN, 1, false},
	{"by=+120;rt", NULL, SMTP_BY_RETURN, 120, true},
	{"BY=999999999;R", NULL, SMTP_BY_RETURN, 999999999, false},
	{"BY=000000001;R", NULL, SMTP_BY_RETURN, 1, false},
	{"BY=60;n", NULL, SMTP_BY_NOTIFY, 60, false},
	{"BY=0;N", NULL, SMTP_BY_NOTIFY, 0, false},
	{"BY=-999999999;NT", NULL, SMTP_BY_NOTIFY, -999999999, true},
	{"BY=0;R", NO_TIME, 0, 0, false},
	{"BY=-0;R", NO_TIME, 0, 0, false},
	{"BY=-1;R", NO_TIME, 0, 0, false},
	{"BY=+0;RT", NO_TIME, 0, 0, false},
	{"BY=1000000000;R", BAD_BY, 0, 0, false},
	{"BY=0000000001;R", BAD_BY, 0, 0, false},
	{"BY=-1000000000;N", BAD_BY, 0, 0, false},
	{"BY=", BAD_BY, 0, 0, false},
	{"BY=;", BAD_BY, 0, 0, false},
	{"BY=;R", BAD_BY, 0, 0, false},
	{"BY=+;N", BAD_BY, 0, 0, false},
	{"BY=5", BAD_BY, 0, 0, false},
	{"BY=5;", BAD_BY, 0, 0, false},
	{"BY=5R", BAD_BY, 0, 0, false},
	{"BY=5;T", BAD_BY, 0, 0, false},
	{"BY=5;TR", BAD_BY, 0, 0, false},
	{"BY=5;X", BAD_BY, 0, 0, false},
	{"BY=5;RX", BAD_BY, 0, 0, false},
	{"BY=5;RTT", BAD_BY, 0, 0, false},
	{"BY=5;R;T", BAD_BY, 0, 0, false},
	{"BY=5;N,T", BAD_BY, 0, 0, false},
	{"BY=5x;N", BAD_BY, 0, 0, false},
	{"BY=--5;N", BAD_BY, 0, 0, false},
	{"BY=+-5;N", BAD_BY, 0, 0, false},
	{"BY=1.5;N", BAD_BY, 0, 0, false},
	{"BY=5;N BY=5;N", BAD_BY, 0, 0, false},
	{"BY", "555 5.5.4 Unsupported option: BY", 0, 0, false},
};

static void test_by(void)
{
	struct buf sender = BUF_INIT(1000), reply = BUF_INIT(1000), line = BUF_INIT(1000);
	struct smtp_mail m = {.sender = &sender};
	bool bad;

	for (size_t i = 0; i < COUNT(bys); i++) {
		buf_reset(&line);
		(void)buf_add_fmt(&line, "FROM:<a@b> %s", bys[i].value);
		m = (struct smtp_mail){.sender = &sender};
		buf_reset(&reply);
		int r = smtp_mail_parse(buf_slice(&line), SMTP_OPT_DELIVERBY, &m, &bad, &reply);
		is_int(r, bys[i].reply == NULL ? 0 : ERR_SYNTAX, "%s", bys[i].value);
		is_slice(buf_slice(&reply), bys[i].reply == NULL ? "" : bys[i].reply, "reply");
		if (bys[i].reply != NULL)
			continue;
		is_int(m.by, bys[i].by, "mode");
		is_int(m.by_time, bys[i].time, "time");
		is_int(m.by_trace, bys[i].trace, "trace");
	}
	buf_reset(&reply);
	is_int(smtp_mail_parse(SLICE_LIT("FROM:<a@b> BY=5;R"), ALL, &m, &bad, &reply), ERR_SYNTAX,
		"BY where it is not offered");
	is_slice(buf_slice(&reply), "555 5.5.4 Unsupported option: BY=5;R", "reply");
	buf_clear(&sender);
	buf_clear(&reply);
	buf_clear(&line);
}

static const struct {
	const char *args;
	const char *reply, *recipient;
	unsigned notify;
	const char *orcpt;
} rcpts[] = {
	{"TO:<a@b>", NULL, "a@b", 0, ""},
	{"to: a@b", NULL, "a@b", 0, ""},
	{"TO:<a@b> NOTIFY=NEVER", NULL, "a@b", SMTP_NOTIFY_NEVER, ""},
	{"TO:<a@b> notify=success,Failure,delay ORCPT=rfc822;x@y", NULL, "a@b",
		SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_FAILURE | SMTP_NOTIFY_DELAY, "rfc822;x@y"},
	{"TO:<>", "501 5.1.3 Bad recipient address syntax", NULL, 0, NULL},
	{"TO:<a@b> x", "555 5.5.4 Unsupported option: x", NULL, 0, NULL},
	{"FROM:<a@b>", "501 5.5.4 Syntax: RCPT TO:<address>", NULL, 0, NULL},
	{"TO:", "501 5.5.4 Syntax: RCPT TO:<address>", NULL, 0, NULL},
	{"TO:<a@b> NOTIFY=", "501 5.5.4 Error: Bad NOTIFY parameter syntax", NULL, 0, NULL},
	{"TO:<a@b> NOTIFY=NEVER,SUCCESS", "501 5.5.4 Error: Bad NOTIFY parameter syntax", NULL, 0,
		NULL},
	{"TO:<a@b> NOTIFY=SUCCESS,", "501 5.5.4 Error: Bad NOTIFY parameter syntax", NULL, 0, NULL},
	{"TO:<a@b> NOTIFY=NEVER NOTIFY=NEVER", "501 5.5.4 Error: Bad NOTIFY parameter syntax", NULL,
		0, NULL},
	{"TO:<a@b> ORCPT=x", "501 5.5.4 Error: Bad ORCPT parameter syntax", NULL, 0, NULL},
	{"TO:<a@b> ORCPT=rfc822;a+00", "501 5.5.4 Error: Bad ORCPT parameter syntax", NULL, 0,
		NULL},
	{"TO:<a@b> ORCPT=rfc822;a ORCPT=rfc822;a", "501 5.5.4 Error: Bad ORCPT parameter syntax",
		NULL, 0, NULL},
};

static void test_rcpt(void)
{
	struct buf recipient = BUF_INIT(1000), reply = BUF_INIT(1000);

	for (size_t i = 0; i < COUNT(rcpts); i++) {
		struct smtp_rcpt c = {.recipient = &recipient};
		bool bad;

		buf_reset(&reply);
		int r = smtp_rcpt_parse(slice_str(rcpts[i].args), ALL, false, &c, &bad, &reply);
		is_int(r, rcpts[i].reply == NULL ? 0 : ERR_SYNTAX, "RCPT %s", rcpts[i].args);
		is_slice(buf_slice(&reply), rcpts[i].reply == NULL ? "" : rcpts[i].reply, "reply");
		if (rcpts[i].reply != NULL)
			continue;
		is_slice(buf_slice(&recipient), rcpts[i].recipient, "recipient");
		is_int(c.notify, rcpts[i].notify, "notify");
		is_slice(c.orcpt, rcpts[i].orcpt, "orcpt");
	}
	buf_clear(&recipient);
	buf_clear(&reply);
}

static void test_others(void)
{
	static const struct {
		const char *args;
		int result;
		uint64_t size;
		bool last;
	} bdat[] = {
		{"5", 0, 5, false},
		{"0 last", 0, 0, true},
		{"5  LAST", 0, 5, true},
		{"", ERR_SYNTAX, 0, false},
		{"-1", ERR_SYNTAX, 0, false},
		{"5x", ERR_SYNTAX, 0, false},
		{"5 LASTX", ERR_SYNTAX, 0, false},
		{"5 LAST x", ERR_SYNTAX, 0, false},
		{"99999999999999999999", ERR_SYNTAX, 0, false},
	};
	struct buf out = BUF_INIT(1000), reply = BUF_INIT(1000);
	bool bad, last;
	uint64_t size;

	for (size_t i = 0; i < COUNT(bdat); i++) {
		is_int(smtp_bdat_parse(slice_str(bdat[i].args), &size, &last, &reply),
			bdat[i].result, "BDAT %s", bdat[i].args);
		if (bdat[i].result == 0) {
			is_int(size, bdat[i].size, "size");
			is_int(last, bdat[i].last, "last");
		}
	}
	is_int(smtp_vrfy_parse(SLICE_LIT("root"), ALL, &out, &bad, &reply), 0, "VRFY root");
	is_slice(buf_slice(&out), "root", "address");
	is_int(smtp_vrfy_parse(SLICE_LIT("<a@b> SMTPUTF8"), ALL, &out, &bad, &reply), 0,
		"VRFY SMTPUTF8");
	is_slice(buf_slice(&out), "a@b", "address");
	is_int(smtp_vrfy_parse(SLICE_LIT("a b"), ALL, &out, &bad, &reply), ERR_SYNTAX, "VRFY a b");
	is_slice(buf_slice(&reply), "501 5.1.3 Bad recipient address syntax", "reply");
	is_int(smtp_vrfy_parse(SLICE_LIT(""), ALL, &out, &bad, &reply), ERR_SYNTAX, "VRFY");
	is_slice(buf_slice(&reply), "501 5.5.4 Syntax: VRFY address [SMTPUTF8]", "reply");

	is_int(smtp_helo_parse(SMTP_EHLO, SLICE_LIT("a\001\303 b"), &out, &reply), 0, "EHLO");
	is_slice(buf_slice(&out), "a???b", "name");
	is_int(smtp_helo_parse(SMTP_HELO, SLICE_LIT(""), &out, &reply), ERR_SYNTAX, "HELO");
	is_slice(buf_slice(&reply), "501 Syntax: HELO hostname", "reply");
	buf_clear(&out);
	buf_clear(&reply);
}

int main(void)
{
	test_lines();
	test_splitter();
	test_mail();
	test_by();
	test_rcpt();
	test_others();
	return done_testing();
}

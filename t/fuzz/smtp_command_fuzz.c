/* SPDX-License-Identifier: ISC */
#include "t/fuzz/fuzz.h"

#include "smtp/command.h"
#include "util/err.h"

static void check_reply(struct buf *reply, int err)
{
	FUZZ_ASSERT((err == 0) == (reply->len == 0));
	FUZZ_ASSERT(slice_is_printable(buf_slice(reply)));
	buf_clear(reply);
}

static void run_line(struct slice line, unsigned options)
{
	struct buf address = BUF_INIT(1000), reply = BUF_INIT(1000);
	struct smtp_mail m = {.sender = &address};
	struct smtp_rcpt r = {.recipient = &address};
	struct smtp_command c;
	bool bad = false, last = false;
	uint64_t n = 0;

	smtp_command_parse(line, &c);
	FUZZ_ASSERT(c.verb <= SMTP_UNKNOWN);
	check_reply(&reply, smtp_mail_parse(c.args, options, &m, &bad, &reply));
	check_reply(&reply, smtp_rcpt_parse(c.args, options, false, &r, &bad, &reply));
	check_reply(&reply, smtp_rcpt_parse(c.args, options, true, &r, &bad, &reply));
	check_reply(&reply, smtp_vrfy_parse(c.args, options, &address, &bad, &reply));
	check_reply(&reply, smtp_bdat_parse(c.args, &n, &last, &reply));
	check_reply(&reply, smtp_helo_parse(SMTP_EHLO, c.args, &address, &reply));
	buf_clear(&address);
	buf_clear(&reply);
}

/* The first byte is the options; the rest is a stream of lines. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_lines l = {0};
	struct slice in = slice_from(slice_of(data, size), 1), line;
	unsigned options = size > 0 ? data[0] & 127 : 0;
	int err = 0;

	if (size > 0 && (data[0] & 128))
		options |= SMTP_OPT_REQUIRETLS | SMTP_OPT_XVERP | SMTP_OPT_REPORTS |
			   SMTP_OPT_DELIVERBY;

	while (err != ERR_AGAIN && err != ERR_RANGE) {
		size_t used = 0;
		bool bare = false;

		err = smtp_line_next(&l, in, 200, &line, &bare, &used);
		FUZZ_ASSERT(used <= in.len && line.len <= 200);
		FUZZ_ASSERT(used > 0 || err == ERR_AGAIN);
		in = slice_from(in, used);
		if (err == 0)
			run_line(line, options);
	}
	return 0;
}

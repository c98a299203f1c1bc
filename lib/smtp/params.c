/* SPDX-License-Identifier: ISC */
#include "util/err.h"

#include "mail/address.h"
#include "smtp/command.h"

static int refuse(struct buf *reply, const char *text)
{
	buf_reset(reply);
	(void)buf_add_str(reply, text);
	return ERR_SYNTAX;
}

static int unsupported(struct buf *reply, struct slice word)
{
	(void)refuse(reply, "555 5.5.4 Unsupported option: ");
	for (size_t i = 0; i < word.len && i < 100; i++)
		(void)buf_add_char(reply, word.p[i] < 33 || word.p[i] > 126 ? '?' : word.p[i]);
	return ERR_SYNTAX;
}

/* Takes "KEY=" off word and gives the rest; false when it does not begin so. */
static bool value_of(struct slice word, const char *key, struct slice *value)
{
	*value = SLICE_NONE;
	if (!slice_case_starts(word, key))
		return false;
	*value = slice_from(word, strlen(key));
	return true;
}

/* "FROM:" or "TO:" with blanks as people write them; then a path. */
static bool take_keyword(struct slice *args, const char *key)
{
	if (!slice_case_starts(*args, key))
		return false;
	*args = slice_from(*args, strlen(key));
	return slice_trim(*args).len > 0;
}

static int take_path(struct slice *args, unsigned options, int flags, bool utf8, struct buf *out,
	struct slice *shown)
{
	struct slice start = slice_trim(*args);

	if ((options & SMTP_OPT_STRICT) != 0)
		flags |= ADDRESS_STRICT;
	if ((options & SMTP_OPT_UTF8_STRICT) != 0)
		flags |= ADDRESS_ASCII_ONLY;
	if (utf8)
		flags |= ADDRESS_UTF8;
	*shown = start;
	int err = address_parse_path(args, flags, out);
	if (err == 0)
		*shown = slice_first(start, start.len - slice_trim(*args).len);
	return err;
}

static int bad_path(int err, const char *syntax, struct buf *reply)
{
	if (err == ERR_DENIED)
		return refuse(reply, "553 5.6.7 Must declare SMTPUTF8 to send unicode address");
	return refuse(reply, syntax);
}

/* Whether the word SMTPUTF8 stands among the parameters: the path before them needs to know. */
static bool says_utf8(struct slice args, unsigned options)
{
	struct slice word;

	if ((options & SMTP_OPT_UTF8) == 0)
		return false;
	while (slice_token(&args, " \t", &word))
		if (slice_case_eq_str(word, "SMTPUTF8"))
			return true;
	return false;
}

static int take_size(struct slice value, struct smtp_mail *m, struct buf *reply)
{
	/* A size that does not fit 64 bits is over every limit, not a mistake. */
	int err = slice_u64(value, 0, INT64_MAX, &m->size);
	if (err == ERR_RANGE)
		m->size = INT64_MAX;
	return err == 0 || err == ERR_RANGE ? 0
					    : refuse(reply, "501 5.5.4 Bad message size syntax");
}

static int take_envid(struct slice value, struct smtp_mail *m, struct buf *reply)
{
	struct buf text = BUF_INIT(SMTP_ENVID_LIMIT);
	int err = value.len == 0 || value.len > SMTP_ENVID_LIMIT || m->envid.len > 0
			  ? ERR_SYNTAX
			  : address_xtext_decode(&text, value);

	buf_clear(&text);
	if (err != 0)
		return refuse(reply, "501 5.5.4 Bad ENVID parameter syntax");
	m->envid = value;
	return 0;
}

static int take_ret(struct slice value, struct smtp_mail *m, struct buf *reply)
{
	bool full = slice_case_eq_str(value, "FULL");

	if (m->ret != SMTP_RET_NONE || (!full && !slice_case_eq_str(value, "HDRS")))
		return refuse(reply, "501 5.5.4 Bad RET parameter syntax");
	m->ret = full ? SMTP_RET_FULL : SMTP_RET_HDRS;
	return 0;
}

/* by-time ";" by-mode [by-trace] (RFC 2852, 4) */
static int take_by(struct slice value, struct smtp_mail *m, struct buf *reply)
{
	struct slice mode = value, digits = SLICE_NONE;
	bool negative = slice_starts(value, "-"), is_return;
	uint64_t seconds = 0;

	(void)slice_part(&mode, ';', &digits);
	if (negative || slice_starts(digits, "+"))
		digits = slice_from(digits, 1);
	is_return = slice_case_starts(mode, "R");
	if (m->by != SMTP_BY_NONE || digits.len > 9 ||
		slice_u64(digits, 0, SMTP_BY_LIMIT, &seconds) != 0 ||
		!(is_return || slice_case_starts(mode, "N")) ||
		!(mode.len == 1 || slice_case_eq_str(slice_from(mode, 1), "T")))
		return refuse(reply, "501 5.5.4 Error: Bad BY parameter syntax");
	if (is_return && (negative || seconds == 0))
		return refuse(reply, "501 5.5.4 Error: BY with mode R needs a time above 0");
	m->by = is_return ? SMTP_BY_RETURN : SMTP_BY_NOTIFY;
	m->by_time = negative ? -(int64_t)seconds : (int64_t)seconds;
	m->by_trace = mode.len > 1;
	return 0;
}

static int take_verp(struct slice value, struct smtp_mail *m, struct buf *reply)
{
	if (value.len != 2)
		return refuse(reply, "501 5.5.4 Error: XVERP needs two characters");
	m->has_verp = true;
	m->verp = value;
	return 0;
}

/* Whoever is not authenticated here may say it; it means nothing then (RFC 4954, 5). */
static int take_auth(struct slice value, struct smtp_mail *m, struct buf *reply)
{
	struct buf text = BUF_INIT(ADDRESS_LIMIT);
	bool is_null = slice_eq_str(value, "<>");
	int err = 0;

	if (m->has_auth)
		return refuse(reply, "503 5.5.4 Error: multiple AUTH= options");
	if (!is_null)
		err = value.len == 0 ? ERR_SYNTAX : address_xtext_decode(&text, value);
	buf_clear(&text);
	if (err != 0)
		return refuse(reply, "501 5.5.4 Error: syntax error in AUTH parameter");
	m->has_auth = true;
	m->auth = is_null ? SLICE_NONE : value;
	return 0;
}

static int mail_param(struct slice word, unsigned options, struct smtp_mail *m, struct buf *reply)
{
	struct slice value;
	bool dsn = (options & SMTP_OPT_DSN) != 0;

	if ((options & SMTP_OPT_SIZE) != 0 && value_of(word, "SIZE=", &value))
		return take_size(value, m, reply);
	if (dsn && value_of(word, "RET=", &value))
		return take_ret(value, m, reply);
	if (dsn && value_of(word, "ENVID=", &value))
		return take_envid(value, m, reply);
	if ((options & SMTP_OPT_DELIVERBY) != 0 && value_of(word, "BY=", &value))
		return take_by(value, m, reply);
	if ((options & SMTP_OPT_XVERP) != 0 && value_of(word, "XVERP=", &value))
		return take_verp(value, m, reply);
	if (value_of(word, "AUTH=", &value))
		return (options & SMTP_OPT_AUTH) != 0
			       ? take_auth(value, m, reply)
			       : refuse(reply, "503 5.5.4 Error: authentication disabled");
	if ((options & SMTP_OPT_8BITMIME) != 0 && slice_case_eq_str(word, "BODY=8BITMIME"))
		m->body = SMTP_BODY_8BITMIME;
	else if ((options & SMTP_OPT_8BITMIME) != 0 && slice_case_eq_str(word, "BODY=7BIT"))
		m->body = SMTP_BODY_7BIT;
	else if ((options & SMTP_OPT_UTF8) != 0 && slice_case_eq_str(word, "SMTPUTF8"))
		m->utf8 = true;
	else if ((options & SMTP_OPT_REQUIRETLS) != 0 && slice_case_eq_str(word, "REQUIRETLS"))
		m->requiretls = true;
	else if ((options & SMTP_OPT_XVERP) != 0 && slice_case_eq_str(word, "XVERP"))
		m->has_verp = true;
	else if ((options & SMTP_OPT_REPORTS) != 0 && slice_case_eq_str(word, "XVERIFY"))
		m->verify = true;
	else if ((options & SMTP_OPT_REPORTS) != 0 && slice_case_eq_str(word, "XTRACE"))
		m->trace = true;
	else
		return unsupported(reply, word);
	return 0;
}

int smtp_mail_parse(struct slice args, unsigned options, struct smtp_mail *m, bool *bad_address,
	struct buf *reply)
{
	struct slice word;

	*m = (struct smtp_mail){.sender = m->sender};
	*bad_address = false;
	if (!take_keyword(&args, "FROM:"))
		return refuse(reply, "501 5.5.4 Syntax: MAIL FROM:<address>");
	int err = take_path(
		&args, options, ADDRESS_NULL, says_utf8(args, options), m->sender, &m->shown);
	if (err != 0) {
		*bad_address = true;
		return bad_path(err, "501 5.1.7 Bad sender address syntax", reply);
	}
	while (err == 0 && slice_token(&args, " \t", &word))
		err = mail_param(word, options, m, reply);
	return err;
}

static int take_notify(struct slice value, struct smtp_rcpt *r, struct buf *reply)
{
	struct slice rest = value, word;
	unsigned bits = 0;
	bool good = r->notify == 0 && value.len > 0;

	while (good && slice_part(&rest, ',', &word)) {
		unsigned bit = slice_case_eq_str(word, "NEVER")     ? SMTP_NOTIFY_NEVER
			       : slice_case_eq_str(word, "SUCCESS") ? SMTP_NOTIFY_SUCCESS
			       : slice_case_eq_str(word, "FAILURE") ? SMTP_NOTIFY_FAILURE
			       : slice_case_eq_str(word, "DELAY")   ? SMTP_NOTIFY_DELAY
								    : 0;
		good = bit != 0 && (bits & bit) == 0;
		bits |= bit;
	}
	if (!good || ((bits & SMTP_NOTIFY_NEVER) != 0 && bits != SMTP_NOTIFY_NEVER))
		return refuse(reply, "501 5.5.4 Error: Bad NOTIFY parameter syntax");
	r->notify = bits;
	return 0;
}

static int take_orcpt(struct slice value, bool utf8, struct smtp_rcpt *r, struct buf *reply)
{
	struct buf text = BUF_INIT(SMTP_ORCPT_LIMIT * 2);
	struct slice type;
	int err = r->orcpt.len > 0 || value.len > SMTP_ORCPT_LIMIT
			  ? ERR_SYNTAX
			  : address_orcpt_decode(value, utf8 ? ADDRESS_UTF8 : 0, &type, &text);

	buf_clear(&text);
	if (err != 0)
		return refuse(reply, "501 5.5.4 Error: Bad ORCPT parameter syntax");
	r->orcpt = value;
	return 0;
}

int smtp_rcpt_parse(struct slice args, unsigned options, bool utf8, struct smtp_rcpt *r,
	bool *bad_address, struct buf *reply)
{
	struct slice word, value;

	*r = (struct smtp_rcpt){.recipient = r->recipient};
	*bad_address = false;
	if (!take_keyword(&args, "TO:"))
		return refuse(reply, "501 5.5.4 Syntax: RCPT TO:<address>");
	int err = take_path(&args, options, 0, utf8, r->recipient, &r->shown);
	if (err != 0) {
		*bad_address = true;
		return bad_path(err, "501 5.1.3 Bad recipient address syntax", reply);
	}
	while (err == 0 && slice_token(&args, " \t", &word)) {
		if ((options & SMTP_OPT_DSN) != 0 && value_of(word, "NOTIFY=", &value))
			err = take_notify(value, r, reply);
		else if ((options & SMTP_OPT_DSN) != 0 && value_of(word, "ORCPT=", &value))
			err = take_orcpt(value, utf8, r, reply);
		else
			err = unsupported(reply, word);
	}
	return err;
}

int smtp_vrfy_parse(struct slice args, unsigned options, struct buf *address, bool *bad_address,
	struct buf *reply)
{
	bool utf8 = false;
	struct slice shown;

	*bad_address = false;
	if ((options & SMTP_OPT_UTF8) != 0 && slice_case_ends(args, " SMTPUTF8")) {
		utf8 = true;
		args = slice_trim(slice_first(args, args.len - strlen(" SMTPUTF8")));
	}
	if (args.len == 0)
		return refuse(reply, "501 5.5.4 Syntax: VRFY address [SMTPUTF8]");
	int err = take_path(&args, options & ~(unsigned)SMTP_OPT_STRICT, 0, utf8, address, &shown);
	if (err == 0 && args.len > 0)
		err = ERR_SYNTAX;
	*bad_address = err != 0;
	return err == 0 ? 0 : bad_path(err, "501 5.1.3 Bad recipient address syntax", reply);
}

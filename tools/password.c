/* SPDX-License-Identifier: ISC */
#include "tools/password.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "sasl/mechanism.h"
#include "sasl/prep.h"
#include "sasl/record.h"
#include "tools/gatepost.h"
#include "util/err.h"

enum { SALT = 16 };

/* One line of standard input, without its end. */
static int read_line(struct buf *line)
{
	char c;
	ssize_t n;

	while ((n = read(STDIN_FILENO, &c, 1)) == 1 && c != '\n')
		if (buf_add_char(line, c) != 0)
			return ERR_LIMIT;
	if (line->len > 0 && buf_str(line)[line->len - 1] == '\r')
		buf_truncate(line, line->len - 1);
	return n < 0 ? ERR_SYS : 0;
}

/* From the terminal, which does not show it. */
static int ask(const char *prompt, struct buf *line)
{
	struct termios before, quiet;
	bool hidden = tcgetattr(STDIN_FILENO, &before) == 0;

	fputs(prompt, stderr);
	quiet = before;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	hidden = hidden && tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) == 0;
	int r = read_line(line);
	if (hidden)
		(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
	fputc('\n', stderr);
	return r;
}

static int get_password(struct buf *password)
{
	struct buf again = BUF_SECRET(SASL_PASSWORD_MAX);
	int r;

	if (!isatty(STDIN_FILENO))
		return read_line(password);
	r = ask("Password: ", password);
	if (r == 0)
		r = ask("Once more: ", &again);
	if (r == 0 && !slice_eq(buf_slice(password), buf_slice(&again)))
		r = ERR_STATE;
	buf_clear(&again);
	return r;
}

static int make_record(const char *scheme, struct slice password, struct buf *out)
{
	struct sasl_scram s;
	uint8_t salt[SALT];

	if (strcasecmp(scheme, "CRYPT") == 0)
		return sasl_crypt_make(password, out);
	arc4random_buf(salt, sizeof(salt));
	sasl_scram_make(password, slice_of(salt, sizeof(salt)), SASL_ITERATIONS, &s);
	sasl_scram_format(&s, out);
	return 0;
}

/* What a source line can begin with. */
static bool is_login(struct slice s)
{
	return s.len <= SASL_LOGIN_MAX && slice_find(s, ' ') < 0 && s.p[0] != '#' &&
	       s.p[0] != '"' && s.p[s.len - 1] != ':';
}

static int print_line(const char *scheme, const char *login, struct slice password)
{
	struct buf record = BUF_INIT(SASL_RECORDS_MAX);
	int r = make_record(scheme, password, &record);

	if (r == 0)
		printf("%s %s\n", login, buf_str(&record));
	buf_clear(&record);
	return r == 0 ? 0 : gatepost_fail("the system's crypt(3) can make no hash");
}

static int print_for(const char *scheme, const char *login)
{
	struct buf password = BUF_SECRET(SASL_PASSWORD_MAX);
	struct buf prepared = BUF_SECRET(SASL_PREP_MAX(SASL_PASSWORD_MAX));
	int r = get_password(&password);

	if (r == ERR_STATE)
		r = gatepost_fail("the passwords differ");
	else if (r != 0)
		r = gatepost_fail("no password; expected one line of at most 1024 bytes");
	else if (sasl_prep(buf_slice(&password), SASL_PREP_STORED, &prepared) != 0)
		r = gatepost_fail("bad password; expected UTF-8 of characters that RFC 4013 "
				  "allows, not empty");
	else
		r = print_line(scheme, login, buf_slice(&prepared));
	buf_clear(&prepared);
	buf_clear(&password);
	return r;
}

int password_command(const char *scheme, const char *login)
{
	struct buf prepared = BUF_INIT(SASL_LOGIN_MAX);
	int r;

	if (strcasecmp(scheme, "SCRAM-SHA-256") != 0 && strcasecmp(scheme, "CRYPT") != 0)
		return gatepost_fail("no such scheme; expected SCRAM-SHA-256 or CRYPT");
	r = sasl_prep(slice_str(login), SASL_PREP_STORED, &prepared);
	if (r == 0 && is_login(buf_slice(&prepared)))
		r = print_for(scheme, buf_str(&prepared));
	else
		r = gatepost_fail("bad login; expected UTF-8 of characters that RFC 4013 allows, "
				  "without blanks, at most 255 bytes, not beginning with # or \" "
				  "and not ending in :");
	buf_clear(&prepared);
	return r;
}

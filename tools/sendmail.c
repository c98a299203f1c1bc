/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "tools/sendmail.h"

#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "conf/conf.h"
#include "mail/address.h"
#include "mail/verp.h"
#include "util/log.h"
#include "util/mem.h"

enum { ENVID_LIMIT = 100 };

struct sendmail sendmail;
static const char *program = "sendmail";

static void say(const char *grade, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));

static void say(const char *grade, const char *fmt, va_list ap)
{
	struct buf text = BUF_INIT(8192);
	char line[4096];

	(void)vsnprintf(line, sizeof(line), fmt, ap);
	log_quote(&text, slice_str(line), sizeof(line));
	(void)fprintf(stderr, "%s: %s: %s\n", program, grade, buf_str(&text));
	buf_clear(&text);
}

void sendmail_fatal(int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("fatal", fmt, ap);
	va_end(ap);
	exit(code);
}

void sendmail_warning(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("warning", fmt, ap);
	va_end(ap);
}

static const char help_text[] =
	"usage: %s [-bmode] [-C config_dir] [-F full_name] [-f sender] [-it] [-N dsn] [-R ret]\n"
	"                [-V envid] [-XV[xy]] [-v] [recipient ...]\n"
	"  (no option)      read a message from standard input and send it to the recipients\n"
	"  -bv              deliver nothing: mail the sender a report of each recipient\n"
	"  -bs              speak SMTP on standard input and output\n"
	"  -bp              list the queue (mailq)\n"
	"  -bi, -I          build the alias tables (newaliases); those of -oATABLE, if given\n"
	"  -bd, -bl         start the mail system\n"
	"  -q, -qIqueueid, -qRsite  try to deliver what waits: all, a message, a site's\n"
	"  -B 7BIT | 8BITMIME  accepted; the message itself shows what it is\n"
	"  -C DIR           the instance whose main.cf is in DIR\n"
	"  -F NAME          full name for a From: header, where there is none\n"
	"  -f, -r SENDER    envelope sender\n"
	"  -i, -oi          a line with one dot does not end the message\n"
	"  -N never | success,failure,delay  when the sender wants a notice\n"
	"  -R full | hdrs   how much of the message a notice returns\n"
	"  -t               take recipients from the message's To:, Cc: and Bcc:\n"
	"  -V ENVID         envelope id for notices\n"
	"  -v               mail the sender a report of the first attempt of delivery\n"
	"  -XV, -XVxy       each recipient gets a sender of its own: sender+user=domain, or with "
	"x, y\n"
	"  -A -bh -bH -c -e -G -h -L -m -n -O -o -p -qTIME -U -x  accepted without effect\n"
	"  --help, --version\n";

void sendmail_add_recipient(const char *text)
{
	struct buf internal = BUF_INIT(ADDRESS_LIMIT), out = BUF_INIT(4096);

	if (sendmail.recipients_n == SENDMAIL_RECIPIENTS)
		sendmail_fatal(EX_USAGE, "more than %d recipients", SENDMAIL_RECIPIENTS);
	if (address_parse(slice_str(text), 0, &internal) != 0)
		sendmail_fatal(EX_DATAERR, "bad recipient address: %s", text);
	address_add_external(&out, buf_slice(&internal));
	sendmail.recipients = mem_resize(
		sendmail.recipients, sendmail.recipients_n + 1, sizeof(*sendmail.recipients));
	sendmail.recipients[sendmail.recipients_n++] = slice_dup(buf_slice(&out));
	buf_clear(&internal);
	buf_clear(&out);
}

/* -b as in sendmail: what the rest of the command line means. */
static void set_mode(const char *arg)
{
	switch (*arg) {
	case 'm':
	case 'a': sendmail.mode = SENDMAIL_MAIL; break;
	case 'v': sendmail.verify = true; break;
	case 's': sendmail.mode = SENDMAIL_SMTP; break;
	case 'p': sendmail.mode = SENDMAIL_LIST; break;
	case 'i': sendmail.mode = SENDMAIL_ALIASES; break;
	case 'd':
	case 'l': sendmail.mode = SENDMAIL_DAEMON; break;
	case 'h':
	case 'H': sendmail.mode = SENDMAIL_NOTHING; break; /* there is no host status to purge */
	default: sendmail_fatal(EX_USAGE, "unsupported: -b%s", arg);
	}
}

static void set_flush(const char *arg)
{
	if (arg != NULL && *arg >= '0' && *arg <= '9') {
		/* -q30m asks for a daemon that runs the queue, which master is. */
		if (sendmail.mode == SENDMAIL_MAIL)
			sendmail.mode = SENDMAIL_NOTHING;
		return;
	}
	sendmail.mode = SENDMAIL_FLUSH;
	if (arg == NULL)
		return;
	if (*arg == 'R' && arg[1] != '\0')
		sendmail.flush_site = arg + 1;
	else if (*arg == 'I' && arg[1] != '\0')
		sendmail.flush_id = arg + 1;
	else
		sendmail_fatal(
			EX_USAGE, "-q%s is not supported; expected -q, -qIqueueid or -qRsite", arg);
}

static void version(void)
{
	(void)printf("%s\n", PACKAGE_STRING);
	exit(0);
}

static void help(void)
{
	(void)printf(help_text, program);
	exit(0);
}

static bool one_of(const char *text, const char *const *words)
{
	for (; *words != NULL; words++)
		if (slice_case_eq_str(slice_str(text), *words))
			return true;
	return false;
}

static void set_notify(const char *arg)
{
	static const char *const words[] = {"never", "success", "failure", "delay", NULL};
	struct slice rest = slice_str(arg), word;
	bool good = true, never = false;
	int n = 0;

	while (slice_part(&rest, ',', &word)) {
		char text[16] = "";
		if (word.len < sizeof(text))
			memcpy(text, word.p, word.len);
		good = good && one_of(text, words);
		never = never || slice_case_eq_str(word, "never");
		n++;
	}
	if (good && (!never || n == 1))
		sendmail.notify = arg;
	else
		sendmail_warning("bad -N option value \"%s\" -- ignored", arg);
}

/* RFC 3461, 4.4: printable ASCII. */
static void set_envid(const char *arg)
{
	bool good = slice_is_ascii(slice_str(arg)) && slice_is_printable(slice_str(arg));

	if (good && strlen(arg) <= ENVID_LIMIT)
		sendmail.envid = arg;
	else
		sendmail_warning("bad syntax in -V option value -- ignored");
}

/* -XV as in Postfix; without V it is sendmail's name for a file of the dialogue. */
static void set_verp(const char *arg)
{
	if (*arg != 'V')
		return;
	sendmail.has_verp = true;
	sendmail.verp = arg[1] != '\0' ? arg + 1 : NULL;
}

static void set_option(int c)
{
	static const char *const rets[] = {"full", "hdrs", NULL};
	static const char *const bodies[] = {"7bit", "8bitmime", NULL};

	switch (c) {
	case 'b': set_mode(optarg); break;
	case 'B':
		if (!one_of(optarg, bodies))
			sendmail_fatal(EX_USAGE, "-B option needs 8BITMIME or 7BIT");
		break;
	case 'C': sendmail.config_dir = optarg; break;
	case 'F': sendmail.full_name = optarg; break;
	case 'f':
	case 'r': sendmail.sender = optarg; break;
	case 'I': sendmail.mode = SENDMAIL_ALIASES; break;
	case 'i': sendmail.ignore_dots = true; break;
	case 'N': set_notify(optarg); break;
	case 'o':
		if (strcmp(optarg, "i") == 0)
			sendmail.ignore_dots = true;
		else if (*optarg == 'A' && optarg[1] != '\0')
			sendmail.aliases = optarg + 1;
		break;
	case 'q': set_flush(optarg); break;
	case 'R':
		if (one_of(optarg, rets))
			sendmail.ret = optarg;
		else
			sendmail_warning("bad -R option value \"%s\" -- ignored", optarg);
		break;
	case 't': sendmail.from_header = true; break;
	case 'V': set_envid(optarg); break;
	case 'v': sendmail.trace = true; break;
	case 'X': set_verp(optarg); break;
	case 1000: help(); break;
	case 1001: version(); break;
	case '?': sendmail_fatal(EX_USAGE, "unknown option; see %s --help", program);
	default: break; /* of sendmail, and without a meaning here */
	}
}

static void read_options(int argc, char **argv)
{
	static const struct option longs[] = {
		{"help", no_argument, NULL, 1000}, {"version", no_argument, NULL, 1001}, {0}};
	int c;

	/* As sendmail's own: options end at the first recipient. */
	while ((c = getopt_long(argc, argv, "+A:B:C:F:GIL:N:O:R:UV:X:b:ce:f:h:imno:p:r:q::tvx",
			longs, NULL)) != -1)
		set_option(c);
	if (sendmail.from_header && (sendmail.mode != SENDMAIL_MAIL || sendmail.verify))
		sendmail_fatal(EX_USAGE, "-t can be used only in delivery mode");
	if (optind < argc && sendmail.mode == SENDMAIL_SMTP)
		sendmail_fatal(EX_USAGE, "stand-alone mode requires no recipient");
	for (int i = optind; i < argc; i++)
		if (sendmail.mode == SENDMAIL_MAIL)
			sendmail_add_recipient(argv[i]);
}

/* A directory, or a file in it as sendmail's -C has it. */
static void read_settings(void)
{
	struct buf why = BUF_INIT(65536);
	struct stat st;
	char path[PATH_MAX] = "";

	if (sendmail.config_dir != NULL && *sendmail.config_dir != '\0') {
		(void)snprintf(path, sizeof(path), "%s", sendmail.config_dir);
		if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
			sendmail.config_dir = mem_str(dirname(path));
	} else {
		sendmail.config_dir = conf_default_dir();
	}
	if (conf_load(sendmail.config_dir, NULL, &why) != 0) {
		(void)fputs(buf_str(&why), stderr);
		sendmail_fatal(
			EX_TEMPFAIL, "the configuration in %s has mistakes", sendmail.config_dir);
	}
	buf_clear(&why);
}

/* Another of our commands does it. */
/* argv[0]: the name that it goes by, or NULL for its own. */
_Noreturn static void become(const char *command, char **argv)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%s", conf_str(P_command_directory), command);
	if (argv[0] == NULL)
		argv[0] = path;
	(void)execv(path, argv);
	sendmail_fatal(EX_OSERR, "cannot run %s", path);
}

static char *arg(const char *text)
{
	return mem_str(text);
}

_Noreturn static void list_queue(void)
{
	char *argv[] = {NULL, arg("-c"), arg(sendmail.config_dir), arg("list"), NULL};

	become("gateq", argv);
}

_Noreturn static void flush_queue(void)
{
	char *argv[] = {NULL, arg("-c"), arg(sendmail.config_dir), arg("flush"), arg("ALL"), NULL};

	if (sendmail.flush_id != NULL)
		argv[4] = arg(sendmail.flush_id);
	if (sendmail.flush_site != NULL) {
		/* The link of that name need not be there. */
		argv[0] = arg("postqueue");
		argv[3] = arg("-s");
		argv[4] = arg(sendmail.flush_site);
	}
	become("gateq", argv);
}

_Noreturn static void build_aliases(void)
{
	enum { TABLES = 100 };
	char *argv[TABLES + 5] = {NULL, arg("-A"), arg("-c"), arg(sendmail.config_dir)};
	struct slice rest =
		slice_str(sendmail.aliases != NULL ? sendmail.aliases : conf_str(P_alias_database));
	struct slice word;
	int n = 4;

	while (n < TABLES + 4 && slice_token(&rest, ", \t\r\n", &word))
		argv[n++] = slice_dup(word);
	if (n == 4)
		exit(0);
	become("gatemap", argv);
}

_Noreturn static void start_system(void)
{
	char *argv[] = {NULL, arg("-c"), arg(sendmail.config_dir), arg("start"), NULL};

	become("gatepost", argv);
}

/* Who calls: the envelope sender, and the name for a From: header. */
static void identify_caller(void)
{
	struct passwd *pw = getpwuid(getuid());

	if (sendmail.sender == NULL)
		sendmail.sender = mem_str(pw != NULL ? pw->pw_name : "nobody");
	if (sendmail.full_name == NULL)
		sendmail.full_name = getenv("NAME");
	if (sendmail.full_name == NULL && pw != NULL) {
		char *name = mem_str(pw->pw_gecos != NULL ? pw->pw_gecos : "");
		name[strcspn(name, ",")] = '\0';
		sendmail.full_name = name;
	}
}

/* As smtpd and cleanup will look at it; the latter could tell nobody. */
static void check_verp(void)
{
	struct slice filter = slice_str(conf_str(P_verp_delimiter_filter));

	if (!sendmail.has_verp)
		return;
	if (sendmail.verp == NULL)
		sendmail.verp = conf_str(P_default_verp_delimiters);
	if (!verp_is_good(slice_str(sendmail.verp), filter))
		sendmail_fatal(EX_USAGE, "-XV needs two characters from %.*s", SLICE_FMT(filter));
	if (sendmail_is_null_sender())
		sendmail_fatal(EX_USAGE, "-XV needs a sender that is not null");
}

static int send_message(void)
{
	if (sendmail.recipients_n == 0 && !sendmail.from_header)
		sendmail_fatal(EX_USAGE, "Recipient addresses must be specified on the command "
					 "line or via the -t option");
	identify_caller();
	check_verp();
	if (sendmail.verify)
		sendmail_make_probe();
	else
		sendmail_read_message();
	if (sendmail.recipients_n == 0)
		sendmail_fatal(EX_USAGE, "No recipient addresses found in message header");
	return sendmail_submit();
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');

	program = slash != NULL ? slash + 1 : argv[0];
	(void)signal(SIGPIPE, SIG_IGN);
	if (strcmp(program, "mailq") == 0)
		sendmail.mode = SENDMAIL_LIST;
	else if (strcmp(program, "newaliases") == 0)
		sendmail.mode = SENDMAIL_ALIASES;
	buf_init(&sendmail.content, (size_t)1 << 32);
	read_options(argc, argv);
	read_settings();
	switch (sendmail.mode) {
	case SENDMAIL_LIST: list_queue();
	case SENDMAIL_ALIASES: build_aliases();
	case SENDMAIL_FLUSH: flush_queue();
	case SENDMAIL_DAEMON: start_system();
	case SENDMAIL_NOTHING: return 0;
	case SENDMAIL_SMTP: return sendmail_speak();
	default: return send_message();
	}
}

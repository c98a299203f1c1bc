/* SPDX-License-Identifier: ISC */
#include "conf/capacity.h"
#include "conf/check.h"
#include "t/conf/stage.h"
#include "t/tap.h"
#include "util/err.h"
#include "util/mem.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof(*(a)))

/* Reads an instance; the mistakes without the directory's name. */
static char *read_instance(const char *main_cf, const char *master_cf, struct instance *in)
{
	struct mistakes m;
	char *copy = NULL;

	stage_write("main.cf", main_cf);
	stage_write("master.cf", master_cf);
	mistakes_init(&m);
	instance_read(in, stage_dir, 0, &m);
	copy = stage_mistakes(&m.text);
	mistakes_clear(&m);
	return copy;
}

/* Both files, and what is said of them. */
static const struct {
	const char *main_cf, *master_cf, *mistakes;
} mistakes[] = {
	{"", "smtp inet n - n - - smtpd\n", ""},
	{"", "smtp inet n - n - -\n",
		"master.cf:1:1: error: too few columns; expected name, type, private, "
		"unprivileged, chroot, wakeup, maxproc and command\n"},
	{"", "smtp inte n - n - - smtpd\n",
		"master.cf:1:6: error: service type \"inte\"; expected inet, unix, fifo, pass or "
		"unix-dgram\n"},
	{"", "smtp inet x - n - - smtpd\n",
		"master.cf:1:11: error: private is \"x\"; expected y, n or -\n"},
	{"", "smtp inet n - n - lots smtpd\n",
		"master.cf:1:19: error: process limit is \"lots\"; expected a number or -\n"},
	{"", "smtp inet n - n - - smptd\n",
		"master.cf:1:21: error: unknown command \"smptd\"; expected \"smtpd\"\n"},
	{"", "smpt inet n - n - - smtpd\n",
		"master.cf:1:1: error: \"smpt\" is no address; expected a port or host:port\n"},
	{"", "25 inet n - n - - smtpd\n25 inet n - n - - smtpd\n",
		"master.cf:2:1: error: service 25/inet is listed again; expected it once, it "
		"stands in line 1\n"},
	{"", "25 inet n - n - - smtpd\n  -o smtpd_timeout=x\n",
		"master.cf:2:20: error: smtpd_timeout: \"x\" is no time; expected a number and s, "
		"m, h, d or w, 1s or more\n"},
	{"", "25 inet n - n - - smtpd -o\n",
		"master.cf:1:25: error: -o at the end; expected name=value behind it\n"},
	{"", "25 inet n - n - - smtpd -o smtpd_timeot=5\n",
		"master.cf:1:28: error: unknown parameter \"smtpd_timeot\"; expected "
		"\"smtpd_timeout\"\n"},
	{"", "25 inet n - n - - smtpd -q\n",
		"master.cf:1:25: error: option \"-q\"; expected -o name=value or -v\n"},
	{"mua_list = permit_mynetworks, reject\n",
		"25 inet n - n - - smtpd\n -o smtpd_recipient_restrictions=$mua_list\n", ""},
	{"mua_lits = permit_mynetworks, reject\n", "25 inet n - n - - smtpd\n",
		"main.cf:1:1: error: unknown parameter \"mua_lits\"; expected one of "
		"gatepost.conf(5)\n"},
	{"smtp_tls_per_site = static:may\n", "25 inet n - n - - smtpd\n",
		"main.cf:1:1: warning: smtp_tls_per_site is not supported; expected another, "
		"it has no effect\n"},
	{"slow_destination_rate_delay = 1s\n",
		"25 inet n - n - - smtpd\nslow unix - - n - - smtp\n", ""},
	{"slwo_destination_rate_delay = 1s\n",
		"25 inet n - n - - smtpd\nslow unix - - n - - smtp\n",
		"main.cf:1:1: error: slwo_destination_rate_delay is for a service \"slwo\"; "
		"expected one that master.cf lists\n"},
	{"default_transport = smpt:[x]\nmailbox_transport = dovecot\nrelay_transport = slow\n",
		"25 inet n - n - - smtpd\nslow unix - - n - - smtp\n",
		"main.cf:1:21: error: default_transport: no service \"smpt\"; expected "
		"\"smtp\"\nmain.cf:2:21: error: mailbox_transport: no service \"dovecot\"; "
		"expected one that master.cf lists\n"},
	{"maillog_file = /etc/passwd\n", "25 inet n - n - - smtpd\n",
		"main.cf:1:16: error: maillog_file: \"/etc/passwd\" is not below "
		"maillog_file_prefixes; expected one of /var, /dev/stdout\n"},
	{"maillog_file = /variable/log\n", "25 inet n - n - - smtpd\n",
		"main.cf:1:16: error: maillog_file: \"/variable/log\" is not below "
		"maillog_file_prefixes; expected one of /var, /dev/stdout\n"},
	{"maillog_file = /var/log/mail\n", "25 inet n - n - - smtpd\n", ""},
	{"maillog_file = /dev/stdout\n", "25 inet n - n - - smtpd\n", ""},
	{"maillog_file = $config_directory/log\n", "25 inet n - n - - smtpd\n", ""},
	{"maillog_file = /x/y\nmaillog_file_prefixes = /x/\n", "25 inet n - n - - smtpd\n", ""},
	{"maillog_file = /x/y\nmaillog_file_prefixes = /\n", "25 inet n - n - - smtpd\n", ""},
	{"smtpd_relay_restrictions = permit\n", "25 inet n - n - - smtpd\n",
		"main.cf:1:28: error: smtpd_relay_restrictions and smtpd_recipient_restrictions "
		"let anybody relay; expected reject_unauth_destination, defer_unauth_destination, "
		"reject, defer or defer_if_permit in one of them\n"},
	{"", "x unix - n n - - pipe flags=R user=x argv=/bin/false\n",
		"master.cf:1:18: warning: command \"pipe\" is not supported; expected another, the "
		"service is not started\n"},
};

static void check_mistakes(void)
{
	for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
		struct instance in;
		char *got = read_instance(mistakes[i].main_cf, mistakes[i].master_cf, &in);

		is_str(got, mistakes[i].mistakes, "%s%s", mistakes[i].main_cf,
			mistakes[i].master_cf);
		mem_free(got);
		instance_clear(&in);
	}
}

/* What no program reads is what check warns of, row by row; its default is worth no warning. */
static void check_unread(void)
{
	for (int with_default = 0; with_default < 2; with_default++) {
		struct buf text = BUF_INIT(1 << 20);
		struct instance in;
		char *got = NULL;
		unsigned wrong = 0;

		for (int i = 0; i < P_COUNT; i++) {
			const struct param_row *row = param_row((enum param)i);

			if (i != P_config_directory)
				buf_add_fmt(&text, "%s = %s\n", row->name,
					with_default ? row->def : "no default");
		}
		got = read_instance(buf_str(&text), "25 inet n - n - - smtpd\n", &in);
		for (int i = 0; i < P_COUNT; i++) {
			const struct param_row *row = param_row((enum param)i);
			char *line = mem_fmt(" warning: %s is not supported;", row->name);
			bool warns = strstr(got, line) != NULL;

			if (warns != (row->programs == PROG_NONE && !with_default) && ++wrong)
				fail("%s: read by no program: %d, warned of: %d", row->name,
					row->programs == PROG_NONE, warns);
			mem_free(line);
		}
		is_int(wrong, 0, "rows that no program reads%s", with_default ? ", defaults" : "");
		mem_free(got);
		instance_clear(&in);
		buf_clear(&text);
	}
}

static void check_services(void)
{
	struct instance in;
	const struct service *v = NULL;
	char *got = read_instance("master_service_disable = 2525/inet\nmyhostname = a.test\n",
		"# stock\n"
		"smtp      inet  n       -       y       -       5       smtpd -v\n"
		"  -o smtpd_banner=x -o { mail_name = b c }\n"
		"\n# comment\n"
		"\t-o syslog_name=gatepost/$service_name\n"
		"[::1]:2525 inet n - n - 0 smtpd\n"
		"2525 inet n - n - - smtpd\n"
		"pickup    unix  n       -       y       60      1       pickup\n"
		"tlsmgr    unix  -       -       y       1000?   1       tlsmgr\n"
		"smtp      unix  -       -       y       -       -       smtp\n"
		"lmtp      unix  -       -       y       -       -       lmtp\n"
		"down      unix  -       -       y       -       -       discard\n"
		"dovecot   unix  -       -       n       -       -       smtp-client -l\n",
		&in);

	is_str(got, "", "no mistakes");
	mem_free(got);
	v = services_find(&in.services, SLICE_LIT("smtp"));
	ok(v != NULL && v->type == SERVICE_INET && v->maxproc == 5 && v->verbose, "smtp is inet");
	is_int(v->options, 3, "three options");
	is_str(v->option[1].value, "b c", "with a blank");
	is_str(set_str(in.settings[v - in.services.service], P_syslog_name), "gatepost/smtp",
		"$service_name");
	is_str(set_str(in.settings[v - in.services.service], P_log_level), "debug", "-v");
	v = services_find(&in.services, SLICE_LIT("smtp/unix"));
	ok(v != NULL && strcmp(v->program, "smtp-client") == 0 && !v->is_lmtp, "Postfix's smtp");
	v = services_find(&in.services, SLICE_LIT("lmtp"));
	ok(v != NULL && v->is_lmtp && !v->is_implied, "Postfix's lmtp");
	v = services_find(&in.services, SLICE_LIT("dovecot"));
	ok(v != NULL && v->is_lmtp, "-l");
	v = services_find(&in.services, SLICE_LIT("2525"));
	ok(v != NULL && v->is_disabled, "disabled");
	v = services_find(&in.services, SLICE_LIT("sendmail"));
	ok(v != NULL && v->is_implied && !v->is_private && strcmp(v->program, "smtpd") == 0,
		"sendmail's listener is added");
	v = services_find(&in.services, SLICE_LIT("qmgr"));
	ok(v != NULL && v->is_implied, "qmgr is added");
	ok(services_find(&in.services, SLICE_LIT("pickup")) == NULL, "pickup is not needed");
	instance_clear(&in);
}

static void check_addresses(void)
{
	static const struct {
		const char *text, *host;
		int port;
	} cases[] = {{"25", "", 25}, {"smtp", "", 25}, {"submission", "", 587},
		{"[::1]:smtps", "::1", 465}, {"127.0.0.2:2525", "127.0.0.2", 2525},
		{"mx.test:smtp", "mx.test", 25}, {"0", "", -1}, {"x:y:z", "", -1},
		{"65536", "", -1}};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct slice host;
		uint16_t port = 0;
		int r = service_split_address(slice_str(cases[i].text), &host, &port);

		is_int(r == 0 ? port : -1, cases[i].port, "port of %s", cases[i].text);
		if (r == 0)
			is_slice(host, cases[i].host, "host of %s", cases[i].text);
	}
}

static int add_address(struct slice host, uint16_t port, int family, bool is_optional, void *arg)
{
	buf_add_fmt(arg, "%.*s:%u%s ", SLICE_FMT(host), port, is_optional ? "?" : "");
	return 0;
}

static void check_capacity(void)
{
	static const struct {
		const char *main_cf, *service, *addresses;
		int64_t sessions, limit;
		int workers; /* 0: depends on the machine */
	} cases[] = {
		{"", "25 inet n - n - 1 smtpd", "0.0.0.0:25? :::25? ", 1, 1, 1},
		{"inet_protocols = ipv4\n", "25 inet n - n - 1 smtpd", "0.0.0.0:25 ", 1, 1, 1},
		{"inet_protocols = ipv6\n", "25 inet n - n - 1 smtpd", ":::25 ", 1, 1, 1},
		{"inet_interfaces = loopback-only\n", "25 inet n - n - 1 smtpd",
			"127.0.0.1:25? ::1:25? ", 1, 1, 1},
		{"inet_protocols = ipv4\ninet_interfaces = 10.0.0.1 [::1], mx.test\n",
			"25 inet n - n - 1 smtpd", "10.0.0.1:25 mx.test:25 ", 1, 1, 1},
		{"", "[::1]:2525 inet n - n - 1 smtpd", "::1:2525 ", 1, 1, 1},
		{"inet_protocols = ipv4\n", "[::1]:2525 inet n - n - 1 smtpd", "", 1, 1, 1},
		{"session_limit = 100\n", "::1:2525 inet n - n - 2500 smtpd", "::1:2525 ", 2500,
			100, 25},
		{"session_limit = 1\n", "::1:2525 inet n - n - 7 smtpd", "::1:2525 ", 7, 1, 7},
		{"session_limit = 1\n", "::1:2525 inet n - n - 700 smtpd", "::1:2525 ", 700, 1,
			100},
		{"", "::1:2525 inet n - n - 0 smtpd", "::1:2525 ", 100000, 1000, 0},
		{"default_process_limit = 5000\n", "x unix - - n - - smtp", NULL, 5000, 1000, 5},
		{"default_process_limit = 5000\n", "x unix - - n - - local", NULL, 5000, 1000, 1},
		{"", "x unix - - n - 3 local", NULL, 3, 3, 1},
		{"default_process_limit = 5000\n", "x unix n - n - - smtpd", NULL, 1000, 1000, 1},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct instance in;
		struct buf addresses = BUF_INIT(1000);
		struct capacity c;
		int r = 0;

		mem_free(read_instance(cases[i].main_cf, cases[i].service, &in));
		c = capacity_of(&in.services.service[0], in.settings[0]);
		is_int(c.sessions, cases[i].sessions, "sessions of %s", cases[i].service);
		is_int(c.limit, cases[i].limit, "of one worker");
		if (cases[i].workers != 0)
			is_int(c.workers, cases[i].workers, "workers");
		if (cases[i].addresses != NULL) {
			r = capacity_walk_addresses(
				&in.services.service[0], in.settings[0], add_address, &addresses);
			is_str(buf_str(&addresses), cases[i].addresses, "addresses");
			is_int(r, cases[i].addresses[0] != '\0' ? 0 : ERR_NOT_FOUND, "result");
		}
		buf_clear(&addresses);
		instance_clear(&in);
	}
}

static void check_table_paths(void)
{
	static const struct {
		const char *spec, *path;
	} cases[] = {{"hash:/etc/aliases", "/etc/aliases.db"}, {"cidr:/etc/x", "/etc/x"},
		{"later:btree:x", "/q/x.db"}, {"cidr:{{1.2.3.4 x}}", ""}, {"inline:{a=b}", ""},
		{"unix:passwd.byname", ""}, {"static:x", ""}, {"/etc/list", "/etc/list"}};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf path = BUF_INIT(4096);

		check_table_path(slice_str(cases[i].spec), "/q", &path);
		is_str(buf_str(&path), cases[i].path, "file of %s", cases[i].spec);
		buf_clear(&path);
	}
}

int main(void)
{
	stage_begin();
	check_mistakes();
	check_unread();
	check_services();
	check_addresses();
	check_capacity();
	check_table_paths();
	stage_end();
	return done_testing();
}

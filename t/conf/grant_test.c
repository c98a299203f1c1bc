/* SPDX-License-Identifier: ISC */
#include "conf/grant.h"

#include <stdlib.h>
#include <unistd.h>

#include "t/tap.h"
#include "util/mem.h"

/* A set of main.cf's text, built. */
static struct conf *settings(const char *text)
{
	struct conf *c = conf_new("/nonexistent");
	struct mistakes m;

	mistakes_init(&m);
	set_read_text(c, "main.cf", slice_str(text), &m);
	set_build(c, &m);
	is_str(buf_str(&m.text), "", "no mistakes");
	mistakes_clear(&m);
	return c;
}

static void check_tables(void)
{
	static const struct {
		unsigned programs;
		const char *spec;
		bool may;
	} cases[] = {
		{PROG_CLEANUP, "hash:/etc/a", true},
		{PROG_CLEANUP, "hash:/etc/b", true},
		{PROG_CLEANUP, "later:hash:/etc/b", true},
		{PROG_CLEANUP, "later:hash:/etc/a", true},
		{PROG_CLEANUP, "hash:/etc/ab", false},
		{PROG_CLEANUP, "hash:/etc", false},
		{PROG_CLEANUP, "texthash:/etc/a", false},
		{PROG_CLEANUP, "/etc/shadow", false},
		{PROG_CLEANUP, "", false},
		{PROG_QMGR, "hash:/etc/a", false},
		{PROG_SMTPD, "/etc/nets", true},
		{PROG_SMTPD, "cidr:/etc/nets", true},
	};
	struct conf *c = settings("virtual_alias_maps = proxy:hash:/etc/a, later:hash:/etc/b\n"
				  "mynetworks = 10.0.0.0/8 !/etc/nets cidr:/etc/nets\n");

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		is_int(grant_table(c, cases[i].programs, slice_str(cases[i].spec)), cases[i].may,
			"table %s for %x", cases[i].spec, cases[i].programs);
	conf_free(&c);
}

static void check_sockets(void)
{
	static const struct {
		unsigned programs;
		const char *name;
		bool may;
	} cases[] = {
		{PROG_QMGR | PROG_CLIENT | PROG_CLEANUP | PROG_LOCAL, "/run/dovecot/lmtp", true},
		{PROG_QMGR | PROG_CLIENT | PROG_CLEANUP | PROG_LOCAL, "/run/dovecot", false},
		{PROG_QMGR | PROG_CLIENT | PROG_CLEANUP | PROG_LOCAL, "dovecot/lmtp", false},
		{PROG_QMGR | PROG_CLIENT | PROG_CLEANUP | PROG_LOCAL, "/run/dovecot/lmtp2", false},
		{PROG_ALL, "", false},
		{PROG_TALLY, "/run/dovecot/lmtp", false},
		{PROG_SMTPD, "inet:127.0.0.1:10023", true},
		{PROG_SMTPD, "unix:private/policy", true},
		{PROG_SMTPD, "unix:private/other", false},
		{PROG_CLEANUP, "unix:private/policy", false},
	};
	struct conf *c =
		settings("virtual_transport = lmtp:unix:/run/dovecot/lmtp\n"
			 "smtpd_restriction_classes = ours\n"
			 "ours = check_policy_service { unix:private/policy, timeout=1s }\n"
			 "smtpd_data_restrictions = check_policy_service inet:127.0.0.1:10023\n");

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		is_int(grant_socket(c, cases[i].programs, cases[i].name), cases[i].may,
			"socket %s for %x", cases[i].name, cases[i].programs);
	conf_free(&c);
}

static void check_nexthops(void)
{
	char dir[] = "/tmp/gatepost-grant-XXXXXX", real[4096];
	char *text = NULL, *inside = NULL, *beside = NULL;
	struct conf *c = NULL;

	if (mkdtemp(dir) == NULL || realpath(dir, real) == NULL)
		bail_out("mkdtemp");
	text = mem_fmt("unix_nexthop_directories = /nonexistent, %s\n", dir);
	inside = mem_fmt("%s/lmtp", real);
	beside = mem_fmt("%s2/lmtp", real);
	c = settings(text);
	ok(grant_nexthop(c, inside), "a socket below the directory");
	ok(!grant_nexthop(c, beside), "not one whose name begins like it");
	ok(!grant_nexthop(c, real), "not the directory itself");
	ok(!grant_nexthop(c, "/etc/passwd"), "not elsewhere");
	rmdir(dir);
	conf_free(&c);
	mem_free(text);
	mem_free(inside);
	mem_free(beside);
}

int main(void)
{
	check_tables();
	check_sockets();
	check_nexthops();
	return done_testing();
}

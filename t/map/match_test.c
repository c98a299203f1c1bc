/* SPDX-License-Identifier: ISC */
#include <unistd.h>

#include "map/match.h"
#include "t/tap.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"

static const char list_file[] = "# networks\n192.0.2.0/24\n  192.0.2.66/8  # no comment\n";

static int opener(const char *spec, int *fd)
{
	const char *text = strcmp(spec, "/list") == 0
				   ? "10.1.0.0/16\n# other\nhost.example, !bad.example\n"
			   : strcmp(spec, "/loop") == 0    ? "/loop\n"
			   : strcmp(spec, "/wrong") == 0   ? "example.org\n10.0.0.1/8\n"
			   : strcmp(spec, "/comment") == 0 ? list_file
							   : NULL;
	if (text == NULL)
		return ERR_NOT_FOUND;
	int r = fd_memory("list", fd);
	if (r == 0)
		r = fd_write_full(*fd, text, strlen(text));
	if (r == 0)
		lseek(*fd, 0, SEEK_SET);
	return r;
}

static const char *word(int r)
{
	return r == 0 ? "yes" : r == ERR_NOT_FOUND ? "no" : r == ERR_TEMP ? "temp" : "other";
}

static const struct {
	const char *text, *name, *address, *want;
} hosts[] = {
	{"", "a.example", "192.0.2.1", "no"},
	{"127.0.0.0/8", "localhost", "127.1.2.3", "yes"},
	{"127.0.0.0/8 [::1]/128", "", "::1", "yes"},
	{"127.0.0.0/8, [::1]", "", "::1", "yes"},
	{"[2001:db8::]/32", "", "2001:db8::5", "yes"},
	{"[2001:db8::]/32", "", "2001:db9::5", "no"},
	{"127.0.3.*", "", "127.0.3.9", "yes"},
	{"127.0.3.*", "", "127.0.4.9", "no"},
	{"!192.0.2.66, 192.0.2.0/24", "", "192.0.2.66", "no"},
	{"!192.0.2.66, 192.0.2.0/24", "", "192.0.2.67", "yes"},
	{"example.com", "EXAMPLE.com", "192.0.2.1", "yes"},
	{"example.com", "a.example.com", "192.0.2.1", "no"},
	{".example.com", "a.example.com", "192.0.2.1", "yes"},
	{".example.com", "example.com", "192.0.2.1", "no"},
	{"example.com", "badexample.com", "192.0.2.1", "no"},
	{"unknown", "unknown", "192.0.2.1", "yes"},
	{"/list", "", "10.1.2.3", "yes"},
	{"/list", "host.example", "192.0.2.1", "yes"},
	{"/list .example", "bad.example", "192.0.2.1", "no"},
	{"!/list 0.0.0.0/0", "", "10.1.2.3", "no"},
	{"!/list 0.0.0.0/0", "", "10.2.2.3", "yes"},
	{"/missing", "", "10.2.2.3", "temp"},
	{"10.2.0.0/16 /missing", "", "10.2.2.3", "yes"},
	{"cidr:{ {10.0.0.0/8 x} }", "a.example", "10.2.2.3", "yes"},
	{"inline:{10.2.2.3=x}", "a.example", "10.2.2.3", "yes"},
	{"inline:{.example=x}", "a.b.example", "10.2.2.3", "yes"},
	{"inline:{example=x}", "a.b.example", "10.2.2.3", "no"},
	{"pcre:{ {/^b/ x} }", "a.b.example", "10.2.2.3", "no"},
	{"!inline:{10.2.2.3=x} static:all", "", "10.2.2.3", "no"},
	{"fail:x 10.0.0.0/8", "", "10.2.2.3", "temp"},
	{"!fail:x 10.0.0.0/8", "", "10.2.2.3", "temp"},
	{"10.0.0.0/8 fail:x", "", "10.2.2.3", "yes"},
	{"0.0.0.0/0", "", "", "no"},
	{"0.0.0.0/0", "", "nonsense", "no"},
};

static const struct {
	const char *text;
	int flags;
	const char *domain, *want;
} domains[] = {
	{"example.com", 0, "Example.COM", "yes"},
	{"EXAMPLE.com", 0, "example.com", "yes"},
	{"example.com", 0, "a.example.com", "no"},
	{"example.com", MATCH_PARENT, "a.b.example.com", "yes"},
	{"example.com", MATCH_PARENT, "xexample.com", "no"},
	{".example.com", MATCH_PARENT, "a.example.com", "yes"},
	{"!a.example.com example.com", MATCH_PARENT, "x.a.example.com", "no"},
	{"inline:{example.com=x}", MATCH_PARENT, "a.b.example.com", "yes"},
	{"inline:{.example.com=x}", MATCH_PARENT, "a.example.com", "no"},
	{"inline:{.example.com=x}", 0, "a.example.com", "yes"},
	{"static:all", 0, "anything", "yes"},
	{"example.com", 0, "", "no"},
	{"[192.0.2.1]", 0, "[192.0.2.1]", "yes"},
	{"bad.de", 0, "bad.de", "yes"},
	{"localhost", 0, "localhost", "yes"},
	{"fail:x", MATCH_PARENT, "a", "temp"},
};

static const struct {
	const char *text, *want;
} mistakes[] = {
	{"10.0.0.1/8", "non-null host address bits in \"10.0.0.1/8\"; expected 10.0.0.0/8"},
	{"10.0.0.0/33", "bad network length"},
	{"300.1.2.3", "bad address \"300.1.2.3\""},
	{"127.0", "bad address"},
	{"127.*.0.1", "bad address pattern"},
	{"*.example.com", "bad address pattern"},
	{"[2001:db8::1", "bad address"},
	{"2001:db8::1", "expected [2001:db8::1]"},
	{"hsah:/x", "unknown table type"},
	{"a ! b", "nothing behind \"!\""},
	{"/wrong", "/wrong:2: non-null host address bits"},
	{"/loop", "nested too deep"},
	{"/comment", "/comment:2: "},
};

int main(void)
{
	struct buf why = BUF_INIT(10000);
	struct match *m;
	log_set_level(LOG_LEVEL_NONE);
	map_set_opener(opener);
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		is_int(match_open(hosts[i].text, 0, &why, &m), 0, "host list \"%s\"",
			hosts[i].text);
		int r = match_host(m, slice_str(hosts[i].name), slice_str(hosts[i].address), NULL);
		is_str(word(r), hosts[i].want, "%s[%s]", hosts[i].name, hosts[i].address);
		match_close(&m);
	}
	for (size_t i = 0; i < sizeof(domains) / sizeof(domains[0]); i++) {
		is_int(match_open(domains[i].text, domains[i].flags, &why, &m), 0,
			"domain list \"%s\"", domains[i].text);
		is_str(word(match_domain(m, slice_str(domains[i].domain), NULL)), domains[i].want,
			"%s", domains[i].domain);
		match_close(&m);
	}
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
		buf_reset(&why);
		is_int(match_open(mistakes[i].text, 0, &why, &m), ERR_SYNTAX, "mistake %s",
			mistakes[i].text);
		if (!ok(strstr(buf_str(&why), mistakes[i].want) != NULL, "it says %s",
			    mistakes[i].want))
			diag("said: %s", buf_str(&why));
		ok(m == NULL, "and opens nothing");
	}
	buf_reset(&why);
	is_int(match_check_network(SLICE_LIT("10.0.0.0/8"), &why), 0, "a network");
	is_int(match_check_network(SLICE_LIT("10.0.0.0/9x"), &why), ERR_SYNTAX, "no network");
	buf_clear(&why);
	return done_testing();
}

/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <unistd.h>

#include "map/map.h"
#include "map/spec.h"
#include "t/tap.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

/* Files that the opener gives. */
static const char *source_path, *source_text;
static unsigned opened;

static int opener(const char *spec, int *fd)
{
	struct buf path = BUF_INIT(1000);
	int r = map_spec_path(spec, &path);
	if (r == 0 && (source_path == NULL || strcmp(buf_str(&path), source_path) != 0))
		r = ERR_NOT_FOUND;
	if (r == 0)
		r = fd_memory("source", fd);
	if (r == 0) {
		fd_write_full(*fd, source_text, strlen(source_text));
		lseek(*fd, 0, SEEK_SET);
		opened++;
	}
	buf_clear(&path);
	return r;
}

static void give(const char *path, const char *text)
{
	source_path = path;
	source_text = text;
}

/* "value", or what came instead in angle brackets. */
static const char *find(struct map *m, const char *key, struct later *l)
{
	static struct buf value = {.limit = MAP_VALUE_LIMIT};
	int r = map_find(m, slice_str(key), l, &value);
	return r == 0               ? buf_str(&value)
	       : r == ERR_NOT_FOUND ? "<none>"
	       : r == ERR_TEMP      ? "<temp>"
	       : r == ERR_LATER     ? "<later>"
				    : "<other>";
}

struct lookup {
	const char *spec, *source, *key, *want;
};

static const struct lookup lookups[] = {
	{"cidr:/t", "10.0.0.0/8 ten\n192.0.2.1 one\n", "10.1.2.3", "ten"},
	{"cidr:/t", "10.0.0.0/8 ten\n192.0.2.1 one\n", "192.0.2.1", "one"},
	{"cidr:/t", "10.0.0.0/8 ten\n192.0.2.1 one\n", "192.0.2.2", "<none>"},
	{"cidr:/t", "10.0.0.0/8 ten\n10.1.0.0/16 never\n", "10.1.0.1", "ten"},
	{"cidr:/t", "0.0.0.0/0 all\n", "255.1.2.3", "all"},
	{"cidr:/t", "0.0.0.0/0 all\n", "::1", "<none>"},
	{"cidr:/t", "::/0 all\n", "::1", "all"},
	{"cidr:/t", "2001:db8::/33 low\n", "2001:db8:7fff::1", "low"},
	{"cidr:/t", "2001:db8::/33 low\n", "2001:db8:8000::1", "<none>"},
	{"cidr:/t", "[2001:db8::]/32 br\n", "2001:db8::1", "br"},
	{"cidr:/t", "127.0.3.* star\n", "127.0.3.9", "star"},
	{"cidr:/t", "127.0.3.* star\n", "127.0.4.9", "<none>"},
	{"cidr:/t", "!10.0.0.0/8 other\n", "192.0.2.1", "other"},
	{"cidr:/t", "!10.0.0.0/8 other\n", "10.0.0.1", "<none>"},
	{"cidr:/t", "if 10.0.0.0/8\n10.1.0.0/16 a\nendif\n0.0.0.0/0 b\n", "10.1.0.1", "a"},
	{"cidr:/t", "if 10.0.0.0/8\n10.1.0.0/16 a\nendif\n0.0.0.0/0 b\n", "10.2.0.1", "b"},
	{"cidr:/t", "if !10.0.0.0/8\n0.0.0.0/0 a\nendif\n0.0.0.0/0 b\n", "10.2.0.1", "b"},
	{"cidr:/t", "if !10.0.0.0/8\n0.0.0.0/0 a\nendif\n0.0.0.0/0 b\n", "11.2.0.1", "a"},
	{"cidr:/t", "IF 10.0.0.0/8\nif 10.1.0.0/16\n10.1.1.1 x\nendif\n10.1.1.1 y\nENDIF\n",
		"10.1.1.1", "x"},
	{"cidr:/t", "IF 10.0.0.0/8\nif 10.2.0.0/16\n10.1.1.1 x\nendif\n10.1.1.1 y\nENDIF\n",
		"10.1.1.1", "y"},
	{"cidr:/t", "10.0.0.0/8 ten\n", "example.com", "<none>"},
	{"cidr:/t", "10.0.0.0/8 ten\n", "", "<none>"},
	{"cidr:/t", "# c\n\n10.0.0.0/8\n\n  # inside\n   REJECT  no  way  \n", "10.0.0.1",
		"REJECT  no  way"},
	{"cidr:{ {10.0.0.0/8 ten}, {192.0.2.1 one two} }", NULL, "192.0.2.1", "one two"},
	{"proxy:cidr:/t", "10.0.0.0/8 ten\n", "10.1.2.3", "ten"},

	{"pcre:/t", "/^a(.*)b$/ got $1\n", "A-x-B", "got -x-"},
	{"pcre:/t", "/^a(.*)b$/i got $1\n", "A-x-B", "<none>"},
	{"pcre:/t", "/(a)(b)?/ ${1}$(2)$$x\n", "a", "a$x"},
	{"pcre:/t", "!/^a/ other\n/a/ a\n", "b", "other"},
	{"pcre:/t", "!/^a/ other\n/a/ a\n", "a", "a"},
	{"pcre:/t", "if /^a/\n/b$/ ab\nendif\n/b$/ b\n", "a b", "ab"},
	{"pcre:/t", "if /^a/\n/b$/ ab\nendif\n/b$/ b\n", "c b", "b"},
	{"pcre:/t", "if !/^a/\n/b$/ b\nendif\n", "c b", "b"},
	{"pcre:/t", "if !/^a/\n/b$/ b\nendif\n", "a b", "<none>"},
	{"pcre:/t", "m|/etc/(x)| $1\n", "/etc/x", "<error>"},
	{"pcre:/t", "|/etc/(x)| $1\n", "/etc/x", "x"},
	{"pcre:/t", "/\\/etc\\/(x)/ $1\n", "/etc/x", "x"},
	{"pcre:/t", "/^(.)$/ [$1]\n", "\xc3\xa4", "[\xc3\xa4]"},
	{"pcre:/t", "/^\xc3\x84$/ umlaut\n", "\xc3\xa4", "umlaut"},
	{"pcre:/t", "/a.c/ dot\n", "a\nc", "dot"},
	{"pcre:/t", "/a.c/s dot\n", "a\nc", "<none>"},
	{"pcre:/t", "/^c/m multi\n", "a\nc", "multi"},
	{"pcre:/t", "/a c/x ext\n", "ac", "ext"},
	{"pcre:/t", "/c/A anchored\n", "ac", "<none>"},
	{"pcre:/t", "/^(a+)+$/ evil\n", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
		"<temp>"},
	{"pcre:/t", "/x/ y\n", "", "<none>"},
	{"pcre:/t", "/^$/ empty\n", "", "empty"},
	{"pcre:{ { /^a{2}$/ two }, { /b/ bee } }", NULL, "aa", "two"},

	{"regexp:/t", "/^a(.*)b$/ got $1\n", "A-x-B", "got -x-"},
	{"regexp:/t", "/^a(.*)b$/i got $1\n", "A-x-B", "<none>"},
	{"regexp:/t", "/^(a+)(b)?$/ ${1}$(2)$$x\n", "aa", "aa$x"},
	{"regexp:/t", "/(ab|a)(bc)?/ $1-$2\n", "abc", "a-bc"},
	{"regexp:/t", "/^[[:digit:]]+$/ number\n", "12a", "<none>"},
	{"regexp:/t", "/^[[:digit:]]+$/ number\n", "12", "number"},
	{"regexp:/t", "/a+/x basic\n", "aa", "<none>"},
	{"regexp:/t", "/a+/x basic\n", "a+", "basic"},
	{"regexp:/t", "/^c/ one\n/^c/m multi\n", "a\nc", "multi"},
	{"regexp:/t", "if /^a/\n!/b$/ a\nendif\n/b$/ b\n", "a c", "a"},
	{"regexp:/t", "if /^a/\n!/b$/ a\nendif\n/b$/ b\n", "a b", "b"},
	{"regexp:/t", "/^$/ empty\n", "", "empty"},
	{"regexp:{ { /^a{2}$/ two } }", NULL, "aa", "two"},
	{"unionmap:{inline:{a=1}, inline:{a=2 b=3}}", NULL, "a", "1,2"},
	{"unionmap:{inline:{a=1}, inline:{a=2 b=3}}", NULL, "b", "3"},
	{"unionmap:{inline:{a=1}, inline:{a=2 b=3}}", NULL, "c", "<none>"},
	{"unionmap:{inline:{a=1}, fail:x}", NULL, "a", "<temp>"},
	{"unionmap:{texthash:/t, static:x}", "a 1\n", "a", "1,x"},
	{"pipemap:{inline:{a=b}, inline:{b=c}}", NULL, "a", "c"},
	{"pipemap:{inline:{a=b}, inline:{b=c}}", NULL, "b", "<none>"},
	{"pipemap:{inline:{a=b}, fail:x}", NULL, "a", "<temp>"},
	{"pipemap:{inline:{a=b}, fail:x}", NULL, "b", "<none>"},
	{"pipemap:{unionmap:{inline:{a=b}, inline:{a=c}}, inline:{ {b,c = d} }}", NULL, "a", "d"},
	{"randmap:{x}", NULL, "a", "x"},
	{"randmap:{ { two words } }", NULL, "a", "two words"},
	{"socketmap:inet:127.0.0.1:1:n", NULL, "a", "<temp>"},
	{"tcp:127.0.0.1:1", NULL, "a", "<temp>"},

	{"texthash:/t", "Key  Some Value \nb\tc\n", "kEY", "Some Value"},
	{"texthash:/t", "a 1\na 1\n", "a", "1"},
	{"texthash:/t", "a 1\n 2\n", "a", "1 2"},
	{"texthash:/t", "\"x y\"@example.com z\n", "\"x y\"@example.com", "z"},
	{"texthash:/t", "a 1\n", "b", "<none>"},
	{"texthash:/t", "a 1", "a", "1"},
	{"texthash:/t", "a 1\r\nb 2\r\n", "a", "1"},
	{"texthash:/t", "", "a", "<none>"},
	{"inline:{a=b, C = d}", NULL, "a", "<error>"},
	{"inline:{a=b, C=d}", NULL, "c", "d"},
	{"inline:{ { a = b, c } {e=f} }", NULL, "a", "b, c"},
	{"inline:{ { a = b, c } {e=f} }", NULL, "e", "f"},
	{"inline:{ {a = x=y} }", NULL, "a", "x=y"},
	{"static:value", NULL, "anything", "value"},
	{"static:{ two words }", NULL, "anything", "two words"},
	{"fail:x", NULL, "a", "<temp>"},
	{"unix:passwd.byname", NULL, "root", "<temp>"},
	{"hash:/missing", NULL, "a", "<temp>"},
	{"texthash:/missing", NULL, "a", "<temp>"},
	{"hash:/t",
		"this is no database, but long enough to be taken for one at a glance: no, it is "
		"not",
		"a", "<temp>"},
	{"btree:/t", "", "a", "<temp>"},
};

static void test_lookups(void)
{
	for (size_t i = 0; i < sizeof(lookups) / sizeof(lookups[0]); i++) {
		const struct lookup *t = &lookups[i];
		bool is_index =
			strncmp(t->spec, "hash", 4) == 0 || strncmp(t->spec, "btree", 5) == 0;
		struct buf why = BUF_INIT(10000);
		struct map *m = NULL;
		give(t->source == NULL ? NULL : is_index ? "/t.db" : "/t", t->source);
		const char *got =
			map_open(t->spec, &why, &m) == 0 ? find(m, t->key, NULL) : "<error>";
		is_str(got, t->want, "%s: \"%s\" (rule %zu)", t->spec, t->key, i);
		map_close(&m);
		buf_clear(&why);
	}
}

struct mistake {
	const char *spec, *source, *want; /* want: part of what is said */
};

static const struct mistake mistakes[] = {
	{"cidr:/t", "10.0.0.1/8 x\n",
		"/t:1: non-null host address bits in \"10.0.0.1/8\"; expected 10.0.0.0/8"},
	{"cidr:/t", "\n# c\n10.0.0.0/33 x\n",
		"/t:3: bad network length in \"10.0.0.0/33\"; expected a number from 0 to 32"},
	{"cidr:/t", "::/129 x\n", "expected a number from 0 to 128"},
	{"cidr:/t", "10.0.0/8 x\n", "/t:1: bad address \"10.0.0/8\""},
	{"cidr:/t", "10.0.0.0/ x\n", "bad network length"},
	{"cidr:/t", "10.0.0.0/-1 x\n", "bad network length"},
	{"cidr:/t", "010.0.0.1 x\n", "bad address"},
	{"cidr:/t", "127.*.3.1 x\n", "bad address pattern"},
	{"cidr:/t", "* x\n", "bad address pattern"},
	{"cidr:/t", "10.0.0.0/8\n", "/t:1: no result"},
	{"cidr:/t", "example.com x\n", "bad address \"example.com\""},
	{"cidr:/t", "! x\n", "bad address"},
	{"cidr:/t", "endif\n", "/t:1: endif without if"},
	{"cidr:/t", "if 10.0.0.0/8\n10.0.0.1 x\n", "/t:1: if without endif"},
	{"cidr:/t", "if\nendif\n", "bad address \"\""},
	{"cidr:/t", "if 10.0.0.0/8\nendif 10.0.0.0/8\n", "/t:2: text behind endif"},
	{"cidr:/t", " 10.0.0.0/8 x\n", "/t:1: line begins with a blank"},
	{"cidr:/t", "10.0.0.0/8 x\n1 y\n10.0.0.1/24 z\n",
		"/t:2: bad address \"1\"; expected an IPv4 or IPv6 address or network\n/t:3: "},
	{"cidr:{ 10.0.0.0/8 x }", NULL, "expected cidr:{ { RULE }, … }"},
	{"pcre:/t", "/a\n", "/t:1: pattern \"/a\" does not end; expected another '/'"},
	{"pcre:/t", "a b\n", "/t:1: no pattern in \"a b\""},
	{"pcre:/t", "/(/ x\n",
		"/t:1: error in the pattern at offset 1: missing closing parenthesis"},
	{"pcre:/t", "/a/ $1\n", "/t:1: no group $1 in the pattern; it has 0"},
	{"pcre:/t", "/a/ $x\n", "/t:1: bad \"$x\" in the result"},
	{"pcre:/t", "/(a)/ ${1\n", "bad \"${1\""},
	{"pcre:/t", "!/(a)/ $1\n", "/t:1: $1 behind a negated pattern"},
	{"pcre:/t", "/a/q x\n", "/t:1: unknown flag \"q\""},
	{"pcre:/t", "/a/\n", "/t:1: no result"},
	{"pcre:/t", "if /a/ b\nendif\n", "/t:1: text behind the pattern of an if"},
	{"pcre:/t", "if /a/\n", "/t:1: if without endif"},
	{"regexp:/t", "/(/ x\n", "/t:1: error in the pattern: "},
	{"regexp:/t", "/a/s x\n", "/t:1: unknown flag \"s\"; expected i, m or x"},
	{"regexp:/t", "/(a)/ $2\n", "/t:1: no group $2 in the pattern; it has 1"},
	{"unionmap:{}", NULL, "expected unionmap:{ TYPE:NAME, … }"},
	{"unionmap:hash:/a", NULL, "expected unionmap:{ TYPE:NAME, … }"},
	{"unionmap:{hsah:/a}", NULL, "unknown table type in \"hsah:/a\""},
	{"pipemap:{inline:{a=b}", NULL, "expected pipemap:{ TYPE:NAME, … }"},
	{"pipemap:{pipemap:{pipemap:{pipemap:{pipemap:{pipemap:{pipemap:{pipemap:{pipemap:{"
	 "static:x}}}}}}}}}",
		NULL, "tables within tables; expected at most 8 levels"},
	{"randmap:{}", NULL, "expected randmap:{ RESULT, … }"},
	{"socketmap:inet:127.0.0.1:x:n", NULL, "expected socketmap:inet:HOST:PORT:NAME"},
	{"socketmap:inet:127.0.0.1:10", NULL, "expected socketmap:inet:HOST:PORT:NAME"},
	{"socketmap:unix:/run/x", NULL, "expected socketmap:inet:HOST:PORT:NAME"},
	{"socketmap:/run/x", NULL, "expected socketmap:inet:HOST:PORT:NAME"},
	{"tcp:127.0.0.1", NULL, "expected tcp:HOST:PORT"},
	{"tcp:127.0.0.1:70000", NULL, "expected tcp:HOST:PORT"},
	{"tcp:127.0.0.1:7:x", NULL, "expected tcp:HOST:PORT"},
	{"texthash:/t", "a 1\nb\n", "/t:2: no value for \"b\"; expected \"KEY VALUE\""},
	{"texthash:/t", "a: 1\n", "/t:1: \"a:\" has the form of an alias"},
	{"texthash:/t", "a 1\nA 2\n", "/t:2: \"A\": key was given before, with another value"},
	{"inline:{a}", NULL, "\"a\": no \"=\" behind a key"},
	{"inline:{}", NULL, "empty inline table"},
	{"inline:a=b", NULL, "bad inline table"},
	{"inline:{a=b", NULL, "bad inline table"},
	{"inline:{=b}", NULL, "key too long or empty"},
	{"inline:{a=b, a=c}", NULL, "key was given before"},
	{"static:{a", NULL, "brace"},
	{"unix:shadow.byname", NULL, "expected unix:passwd.byname"},
	{"hsah:/etc/x", NULL, "unknown table type in \"hsah:/etc/x\"; expected TYPE:NAME"},
	{"/etc/x", NULL, "unknown table type"},
	{"hash:", NULL, "no name in \"hash:\""},
	{"later:hsah:/x", NULL, "unknown table type in \"hsah:/x\""},
};

static void test_mistakes(void)
{
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
		const struct mistake *t = &mistakes[i];
		struct buf why = BUF_INIT(10000);
		struct map *m = NULL;
		give("/t", t->source);
		is_int(map_open(t->spec, &why, &m), ERR_SYNTAX, "%s, mistake %zu: refused", t->spec,
			i);
		if (!ok(strstr(buf_str(&why), t->want) != NULL, "it says %s", t->want))
			diag("said: %s", buf_str(&why));
		ok(m == NULL, "and opens nothing");
		buf_clear(&why);
	}
}

static void test_many_mistakes(void)
{
	struct buf source = BUF_INIT(10000), why = BUF_INIT(10000);
	struct map *m = NULL;
	for (int i = 0; i < 30; i++)
		buf_add_str(&source, "x\n");
	give("/t", buf_str(&source));
	is_int(map_open("texthash:/t", &why, &m), ERR_SYNTAX, "30 mistakes");
	ok(strstr(buf_str(&why), "/t:20: ") != NULL, "20 are named");
	ok(strstr(buf_str(&why), "/t:21: ") == NULL, "the rest is not");
	ok(strstr(buf_str(&why), "/t: 10 more mistakes") != NULL, "but counted");
	buf_clear(&source);
	buf_clear(&why);
}

static void test_hostile(void)
{
	struct buf why = BUF_INIT(10000), source = BUF_INIT(1000000);
	struct map *m = NULL;
	for (int i = 0; i < 101; i++)
		buf_add_str(&source, "if 10.0.0.0/8\n");
	for (int i = 0; i < 101; i++)
		buf_add_str(&source, "endif\n");
	give("/t", buf_str(&source));
	is_int(map_open("cidr:/t", &why, &m), ERR_SYNTAX, "101 levels of if");
	ok(strstr(buf_str(&why), "/t:101: if nested too deep") != NULL, "say which line");
	buf_reset(&source);
	buf_reset(&why);
	buf_add_str(&source, "a ");
	for (int i = 0; i < 80000; i++)
		buf_add_char(&source, 'x');
	give("/t", buf_str(&source));
	is_int(map_open("texthash:/t", &why, &m), ERR_SYNTAX, "a line of 80,000 bytes");
	ok(strstr(buf_str(&why), "/t:1: line too long") != NULL, "says so");
	buf_clear(&source);
	buf_reset(&why);
	give("/t", "/^(.*)$/ $1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1\n");
	is_int(map_open("pcre:/t", &why, &m), 0, "a result that multiplies");
	char key[4001];
	memset(key, 'k', 4000);
	key[4000] = '\0';
	is_str(find(m, key, NULL), "<temp>", "over the limit of a value: an error");
	is_int(strlen(find(m, "key", NULL)), 60, "below it: found");
	map_close(&m);
	buf_clear(&why);
}

static void test_sharing(void)
{
	struct buf why = BUF_INIT(1000);
	struct map *a, *b;
	give("/t", "a 1\n");
	opened = 0;
	map_open("texthash:/t", &why, &a);
	map_open("proxy:texthash:/t", &why, &b);
	ok(a == b, "one spec is one table, proxy: or not");
	is_int(opened, 1, "opened once");
	map_close(&a);
	is_str(find(b, "a", NULL), "1", "still there for the other");
	int fd;
	unsigned version = map_version(b);
	give("/t", "a 2\n");
	opener("texthash:/t", &fd);
	map_replace("texthash:/t", fd);
	is_str(find(b, "a", NULL), "2", "replaced");
	ok(map_version(b) != version, "another version");
	give("/t", "a\n");
	opener("texthash:/t", &fd);
	map_replace("texthash:/t", fd);
	is_str(find(b, "a", NULL), "2", "a text with a mistake does not replace");
	fd_memory("unknown", &fd);
	map_replace("texthash:/unknown", fd);
	ok(write(fd, "x", 1) < 0, "the descriptor of an unknown table is closed");
	map_close(&b);
	give(NULL, NULL);
	map_open("texthash:/t", &why, &a);
	ok(map_is_failed(a), "missing: failed");
	give("/t", "a 3\n");
	opener("texthash:/t", &fd);
	map_replace("texthash:/t", fd);
	is_str(find(a, "a", NULL), "3", "till it comes");
	map_close(&a);
	buf_clear(&why);
}

static void (*deferred)(void *arg);
static void *deferred_arg;
static unsigned woken;

static void defer(void (*run)(void *arg), void *arg)
{
	deferred = run;
	deferred_arg = arg;
}

static void wake(void *arg)
{
	(void)arg;
	woken++;
}

static void test_later(void)
{
	struct buf why = BUF_INIT(1000);
	struct map *m;
	struct later l;
	give("/t", "a 1\n");
	map_set_deferrer(defer);
	is_int(map_open("later:later:texthash:/t", &why, &m), 0, "twice later");
	later_init(&l, 10, wake, NULL);
	is_str(find(m, "a", NULL), "<temp>", "who cannot wait gets an error");
	is_str(find(m, "a", &l), "<later>", "the answer comes later");
	is_str(find(m, "a", &l), "<later>", "still");
	deferred(deferred_arg);
	is_int(woken, 1, "woken");
	is_str(find(m, "a", &l), "<later>", "now the inner one");
	deferred(deferred_arg);
	is_str(find(m, "a", &l), "1", "the answer");
	is_str(find(m, "a", &l), "1", "and again at once");
	is_str(find(m, "b", &l), "<later>", "another key is another question");
	later_clear(&l);
	deferred(deferred_arg);
	is_int(woken, 2, "nobody is woken for a question that was withdrawn");
	struct later full;
	later_init(&full, 0, wake, NULL);
	is_str(find(m, "a", &full), "<temp>", "no room for a question: an error");
	later_clear(&full);
	map_close(&m);
	map_set_deferrer(NULL);
	buf_clear(&why);
}

static int asker(const char *spec, struct slice key, struct later *l, struct buf *value)
{
	(void)l;
	if (slice_eq_str(key, "wait"))
		return ERR_LATER;
	return slice_eq_str(key, "root") ? buf_add_fmt(value, "%s:x:0:0", spec) : ERR_NOT_FOUND;
}

static void test_asked(void)
{
	struct buf why = BUF_INIT(1000);
	struct map *m;
	struct later l;
	later_init(&l, 10, wake, NULL);
	map_set_asker(asker);
	map_open("proxy:unix:passwd.byname", &why, &m);
	is_str(find(m, "ROOT", NULL), "unix:passwd.byname:x:0:0", "asked, folded");
	is_str(find(m, "nobody", NULL), "<none>", "not found");
	is_str(find(m, "wait", NULL), "<temp>", "later, but nobody can wait");
	is_str(find(m, "wait", &l), "<later>", "later");
	later_clear(&l);
	map_close(&m);
	map_set_asker(NULL);
	buf_clear(&why);
}

static void test_random(void)
{
	struct buf why = BUF_INIT(1000);
	struct map *m;
	unsigned seen = 0;
	map_open("randmap:{a, b, c}", &why, &m);
	for (int i = 0; i < 1000; i++) {
		const char *got = find(m, "x", NULL);
		if (strlen(got) == 1 && got[0] >= 'a' && got[0] <= 'c')
			seen |= 1U << (got[0] - 'a');
		else
			seen |= 8;
	}
	is_int(seen, 7, "randmap: each of its results comes, and nothing else");
	map_close(&m);
	buf_clear(&why);
}

static void test_list(void)
{
	static const struct {
		const char *text, *key, *want;
	} rows[] = {
		{"", "a", "<none>"},
		{"inline:{a=1}, inline:{ {a = 2} b=3 }", "a", "1"},
		{"inline:{a=1}, inline:{ {a = 2} b=3 }", "b", "3"},
		{"inline:{a=1}, fail:x, inline:{b=2}", "a", "1"},
		{"inline:{a=1} fail:x inline:{b=2}", "b", "<temp>"},
		{"inline:{a=1},\n\tstatic:{x y}", "b", "x y"},
	};
	struct buf why = BUF_INIT(1000), value = BUF_INIT(MAP_VALUE_LIMIT);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct map_list *list;
		is_int(map_list_open(rows[i].text, &why, &list), 0, "list \"%s\"", rows[i].text);
		int r = map_list_find(list, slice_str(rows[i].key), NULL, &value);
		const char *got = r == 0               ? buf_str(&value)
				  : r == ERR_NOT_FOUND ? "<none>"
						       : "<temp>";
		is_str(got, rows[i].want, "key %s", rows[i].key);
		is_int(map_list_is_empty(list), i == 0, "empty or not");
		map_list_close(&list);
	}
	struct map_list *list;
	is_int(map_list_open("inline:{a=1}, x:y", &why, &list), ERR_SYNTAX, "a mistake in a list");
	ok(list == NULL, "opens none");
	buf_clear(&why);
	buf_clear(&value);
}

static void collect(struct slice spec, void *arg)
{
	buf_add_fmt(arg, "%.*s;", SLICE_FMT(spec));
}

static void test_walk_specs(void)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{"hash:/a, proxy:btree:/b\n  later:cidr:/c", "hash:/a;btree:/b;cidr:/c;"},
		{"127.0.0.0/8 [::1]/128 !hash:/x /etc/list example.com", "hash:/x;/etc/list;"},
		{"permit_mynetworks, check_client_access cidr:/c, check_policy_service "
		 "unix:private/p, reject",
			"cidr:/c;"},
		{"check_policy_service { inet:127.0.0.1:10, default_action=DUNNO } "
		 "check_helo_access hash:/h",
			"hash:/h;"},
		{"check_client_access inline:{a=b hash:/no} pcre:{ {/x/ y} }",
			"inline:{a=b hash:/no};pcre:{ {/x/ y} };"},
		{"proxy:unix:passwd.byname $alias_maps", "unix:passwd.byname;"},
		{"unionmap:{hash:/a, proxy:pipemap:{cidr:/b btree:/c}} randmap:{hash:/no}",
			"hash:/a;cidr:/b;btree:/c;randmap:{hash:/no};"},
		{"", ""},
		{"{{{{{{{{{{{{{{ hash:/deep }}}}}}}}}}}}}}", ""},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf got = BUF_INIT(1000);
		map_walk_specs(rows[i].text, collect, &got);
		is_str(buf_str(&got), rows[i].want, "walk \"%s\"", rows[i].text);
		buf_clear(&got);
	}
	static const struct {
		const char *spec, *want;
	} paths[] = {{"hash:/a", "/a.db"}, {"proxy:btree:b", "b.db"}, {"later:cidr:/c", "/c"},
		{"pcre:{ {/a/ b} }", "<none>"}, {"static:x", "<none>"},
		{"unix:passwd.byname", "<none>"}, {"/list", "/list"}, {"nothing", "<none>"}};
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct buf path = BUF_INIT(1000);
		int r = map_spec_path(paths[i].spec, &path);
		is_str(r == 0 ? buf_str(&path) : "<none>", paths[i].want, "path of %s",
			paths[i].spec);
		buf_clear(&path);
	}
}

static bool count(struct slice key, struct slice value, void *arg)
{
	unsigned *n = arg;
	return key.len == 1 && value.len == 1 && ++*n < 2;
}

static void test_walk(void)
{
	struct buf why = BUF_INIT(1000);
	struct map *m;
	unsigned n = 0;
	map_open("inline:{a=1, b=2, c=3}", &why, &m);
	is_int(map_walk(m, count, &n), 0, "walked");
	is_int(n, 2, "until the visitor had enough");
	map_close(&m);
	map_open("static:x", &why, &m);
	is_int(map_walk(m, count, &n), ERR_STATE, "static has no entries to list");
	map_close(&m);
	buf_clear(&why);
}

int main(void)
{
	log_set_level(LOG_LEVEL_NONE);
	map_set_opener(opener);
	test_lookups();
	/* The same by machine code. */
	map_set_machine_code(true);
	test_lookups();
	map_set_machine_code(false);
	test_mistakes();
	test_many_mistakes();
	test_hostile();
	test_sharing();
	test_later();
	test_asked();
	test_random();
	test_list();
	test_walk_specs();
	test_walk();
	return done_testing();
}

/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "t/local/stage.h"
#include "t/local/world.h"
#include "t/tap.h"
#include "util/mem.h"

/* Maildirs of users and of virtual mailboxes: repeats, crashes, tricks, limits, identities. */

static const char letter[] = "From: s@client.test\r\n\r\nFrom here\r\n";
static const char name[] = "1795255200.M004711QABCDEF12345R0.mx.example";

static void expect(struct stage *s, const struct stage_job *j, const char *events, const char *text,
	const char *what)
{
	stage_run(s, j);
	is_str(buf_str(&s->events), events, "%s", what);
	if (!ok(strstr(buf_str(&s->text), text) != NULL, "%s: it says %s", what, text))
		diag("text: %s", buf_str(&s->text));
}

static void test_user(void)
{
	static const char done[] = "DOT R0=O2.0.0 END0 ", box[] = "home/anna/Maildir";
	struct stage s;
	struct stat st;
	char found[64] = "";
	struct stage_job j = {.rcpts = "anna@mx.example", .content = letter, .attempts = 1};
	stage_start(
		&s, "local", "myhostname = mx.example\nhome_mailbox = Maildir/\nalias_maps =\n");
	expect(&s, &j, done, "delivered to maildir", "delivery");
	is_int(world_count(world_path("%s/new", box), found), 1, "one file");
	is_str(found, name, "named by time, id and index");
	is_str(world_read(world_path("%s/new/%s", box, name)),
		"Return-Path: <s@client.test>\nX-Original-To: anna@mx.example\nDelivered-To: "
		"anna@mx.example\n"
		"From: s@client.test\n\nFrom here\n",
		"the content");
	ok(stat(world_path("%s/new/%s", box, name), &st) == 0 && st.st_uid == ANNA &&
			(st.st_mode & 0777) == 0600 && st.st_nlink == 1,
		"hers alone");
	ok(stat(world_path("%s", box), &st) == 0 && (st.st_mode & 0777) == 0700,
		"so is the Maildir");
	is_int(world_count(world_path("%s/tmp", box), NULL), 0, "nothing in tmp");

	expect(&s, &j, done, "delivered to maildir", "the same again");
	is_int(world_count(world_path("%s/new", box), NULL), 1, "is done already");
	world_write(world_path("%s/tmp/%s", box, name), "half a mess", ANNA, 0600);
	expect(&s, &j, done, "delivered to maildir", "after a crash between tmp and new");
	is_int(world_count(world_path("%s/new", box), NULL), 1, "is done already");
	is_int(world_count(world_path("%s/tmp", box), NULL), 0, "what was left in tmp is gone");

	world_run("mv %s %s", world_path("%s/new/%s", box, name),
		world_path("%s/cur/%s:2,S", box, name));
	j.attempts = 2;
	expect(&s, &j, done, "delivered to maildir", "read meanwhile");
	is_int(world_count(world_path("%s/new", box), NULL), 0, "is done already");

	world_write(world_path("%s/new/%s", box, name), "another message\n", ANNA, 0600);
	world_run("rm %s", world_path("%s/cur/%s:2,S", box, name));
	expect(&s, &j, done, "delivered to maildir", "another content under that name");
	is_int(world_count(world_path("%s/new", box), NULL), 2, "is another message");
	is_str(world_read(world_path("%s/new/%s", box, name)), "another message\n", "and stays");
	expect(&s, &j, done, "delivered to maildir", "again");
	is_int(world_count(world_path("%s/new", box), NULL), 2, "found under its second name");

	world_run("rm -f %s/*", world_path("%s/new", box));
	world_write(world_path("precious"), "precious\n", ANNA, 0600);
	world_run("ln -s %s %s", world_path("precious"), world_path("%s/new/%s", box, name));
	world_run("ln -s %s %s", world_path("precious"), world_path("%s/tmp/%s", box, name));
	expect(&s, &j, done, "delivered to maildir", "symbolic links in its way");
	is_str(world_read(world_path("precious")), "precious\n", "are not followed");
	is_int(world_count(world_path("%s/new", box), NULL), 2, "it has another name");

	world_run("rm -rf %s && mkdir -m 500 %s && chown %d %s", world_path("home/bert/Maildir"),
		world_path("home/bert/Maildir"), BERT, world_path("home/bert/Maildir"));
	j.rcpts = "bert@mx.example";
	expect(&s, &j, "DOT R0=D4.2.0 END0 ", "Permission denied",
		"a directory that cannot be written");
	world_run("chmod 700 %s", world_path("home/bert/Maildir"));
	expect(&s, &j, done, "delivered to maildir", "and can");
	world_run("rm -rf %s && ln -s %s %s", world_path("home/bert/Maildir"),
		world_path("home/anna/Maildir"), world_path("home/bert/Maildir"));
	expect(&s, &j, "DOT R0=D4.2.0 END0 ", "Permission denied", "a link to another's Maildir");
	is_int(world_count(world_path("%s/new", box), NULL), 2, "gives nothing to write there");
	stage_end(&s);
}

static void test_virtual(void)
{
	static const char done[] = "DOT R0=O2.0.0 END0 ", wrong[] = "DOT R0=D4.3.5 END0 ";
	static const struct {
		const char *rcpt, *events, *text;
	} cases[] = {
		{"Carl@virt.test", done, "delivered to maildir"},
		{"carl+x@virt.test", done, "delivered to maildir"},
		{"dora@virt.test", done, "delivered to mailbox"},
		{"deep@virt.test", done, "delivered to maildir"},
		{"anyone@all.test", done, "delivered to maildir"},
		{"nobody@virt.test", "DOT R0=F5.1.1 END0 ", "unknown user: \"nobody@virt.test\""},
		{"up@virt.test", wrong, "bad mailbox in virtual_mailbox_maps"},
		{"root@virt.test", wrong, "bad value in virtual_uid_maps"},
		{"low@virt.test", wrong, "bad value in virtual_uid_maps"},
		{"text@virt.test", wrong, "bad value in virtual_uid_maps"},
		{"nouid@none.test", wrong, "recipient not in virtual_uid_maps"},
		{"gid0@virt.test", wrong, "bad value in virtual_gid_maps"},
		{"anna@virt.test", "DOT R0=D4.2.0 END0 ", "Permission denied"},
	};
	struct stage s;
	struct stat st;
	world_write(world_path("boxes"),
		"carl@virt.test carl/\ndora@virt.test dora\ndeep@virt.test a/b/c/deep/\n@all.test "
		"all/\n"
		"up@virt.test ../up/\nroot@virt.test r/\nlow@virt.test l/\ntext@virt.test t/\n"
		"nouid@none.test n/\ngid0@virt.test g/\nanna@virt.test anna/\n",
		0, 0644);
	world_write(world_path("uids"),
		"root@virt.test 0\nlow@virt.test 99\ntext@virt.test x1\nanna@virt.test 47001\n"
		"@virt.test 47003\n@all.test 47003\n",
		0, 0644);
	char *text = mem_fmt(
		"myhostname = mx.example\nrecipient_delimiter = +\nvirtual_mailbox_base = %s\n"
		"virtual_mailbox_maps = later:texthash:%s\nvirtual_uid_maps = texthash:%s\n"
		"virtual_gid_maps = inline:{gid0@virt.test=0}, static:47003\n"
		"virtual_mailbox_limit = 1000\n",
		world_path("virtual"), world_path("boxes"), world_path("uids"));
	stage_start(&s, "virtual", text);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		expect(&s, &(struct stage_job){.rcpts = cases[i].rcpt, .content = letter},
			cases[i].events, cases[i].text, cases[i].rcpt);
	ok(stat(world_path("virtual/carl/new/%s", name), &st) == 0 && st.st_uid == VIRT &&
			st.st_gid == VIRT,
		"with the table's user and group");
	ok(strstr(world_read(world_path("virtual/dora")), "\n>From here\n\n") != NULL, "an mbox");
	is_int(world_count(world_path("virtual/a/b/c/deep/new"), NULL), 1, "directories are made");
	ok(access(world_path("virtual/r"), F_OK) != 0 && access(world_path("up"), F_OK) != 0,
		"none for what is refused");
	ok(stage_has_logged(&s, "to=<dora@virt.test>, relay=virtual, delay="),
		"the line in the log");
	char big[1200] = "A: b\r\n\r\n";
	memset(big + 8, 'x', 1000);
	expect(&s, &(struct stage_job){.rcpts = "carl@virt.test", .content = big},
		"DOT R0=F5.2.2 END0 ", "File too large", "over virtual_mailbox_limit");
	is_int(world_count(world_path("virtual/carl/tmp"), NULL), 0, "nothing is left of it");
	expect(&s,
		&(struct stage_job){.rcpts = "carl@virt.test",
			.content = "Delivered-To: <x>\r\nDelivered-To: carl@virt.test\r\n\r\n"},
		"DOT R0=F5.4.6 END0 ", "mail forwarding loop", "a loop");
	stage_end(&s);
	mem_free(text);
}

int main(void)
{
	world_make();
	loop_init();
	test_user();
	test_virtual();
	world_end();
	return done_testing();
}

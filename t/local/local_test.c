/* SPDX-License-Identifier: ISC */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "t/local/stage.h"
#include "t/local/world.h"
#include "t/tap.h"
#include "util/fd.h"
#include "util/mem.h"

/* local: mailboxes of users, and what stands in their way; aliases; mailbox_transport. */

static const char letter[] =
	"From: s@client.test\r\nSubject: hello\r\n\r\nFrom here\r\n.\r\nFro\r\nend\r\n";
static const char looped[] = "From: s@client.test\r\nDelivered-To: Anna@mx.example\r\n\r\nend\r\n";

static char *settings(const char *more)
{
	return mem_fmt(
		"myhostname = mx.example\nmydestination = mx.example\nmyorigin = mx.example\n"
		"recipient_delimiter = +\nmail_spool_directory = %s\nalias_maps = texthash:%s\n"
		"deliver_lock_attempts = 4\n%s",
		world_path("spool"), world_path("aliases"), more);
}

static void start(struct stage *s, const char *more)
{
	char *text = settings(more);
	stage_start(s, "local", text);
	mem_free(text);
}

/* Gives a message and checks what is reported. */
static void expect(struct stage *s, const struct stage_job *j, const char *events, const char *text,
	const char *name)
{
	stage_run(s, j);
	is_str(buf_str(&s->events), events, "%s", name);
	if (!ok(strstr(buf_str(&s->text), text) != NULL, "%s: it says %s", name, text))
		diag("text: %s", buf_str(&s->text));
}

static void expect_letter(
	struct stage *s, const char *rcpts, const char *events, const char *text, const char *name)
{
	expect(s, &(struct stage_job){.rcpts = rcpts, .content = letter}, events, text, name);
}

static void test_mbox(struct stage *s)
{
	const char *box = world_path("spool/anna");
	struct stat st;
	expect_letter(s, "anna@mx.example=orig@x.example", "DOT R0=O2.0.0 END0 ",
		"delivered to mailbox", "mbox");
	const char *text = world_read(box);
	ok(strncmp(text, "From s@client.test  ", 20) == 0, "From_ line");
	const char *rest = strchr(text, '\n');
	is_str(rest,
		"\nReturn-Path: <s@client.test>\nX-Original-To: orig@x.example\n"
		"Delivered-To: anna@mx.example\nFrom: s@client.test\nSubject: hello\n\n>From "
		"here\n.\nFro\n"
		"end\n\n",
		"trace fields, quoted From, blank line");
	ok(stat(box, &st) == 0 && st.st_uid == ANNA && (st.st_mode & 0777) == 0600, "hers alone");
	ok(access(world_path("spool/anna.lock"), F_OK) != 0, "no lock is left");
	ok(stage_has_logged(s, ": ABCDEF12345: to=<anna@mx.example>, orig_to=<orig@x.example>, "
			       "relay=local, delay="),
		"the line in the log");
	ok(stage_has_logged(s, ", dsn=2.0.0, status=sent (delivered to mailbox)\n"), "its end");
	off_t before = st.st_size;
	expect(s,
		&(struct stage_job){.rcpts = "ANNA+box@mx.example",
			.content = "A: b\r\n\r\nno end",
			.sender = ""},
		"DOT R0=O2.0.0 END0 ", "delivered to mailbox", "an extension, the null sender");
	text = world_read(box) + before;
	ok(strncmp(text, "From MAILER-DAEMON  ", 20) == 0, "From_ line of a bounce");
	ok(strstr(text, "\nA: b\n\nno end\n\n") != NULL, "a last line gets its end");
	expect_letter(s, "anna@mx.example bert@mx.example nobody-here@mx.example",
		"DOT R0=O2.0.0 R1=O2.0.0 R2=F5.1.1 END0 ", "unknown user: \"nobody-here\"",
		"three at once");
	ok(stat(world_path("spool/bert"), &st) == 0 && st.st_uid == BERT, "to each his own");
	expect_letter(s, "root@mx.example", "DOT R0=D4.3.5 END0 ", "no delivery as root", "root");
	ok(access(world_path("spool/root"), F_OK) != 0, "nothing was written as root");
	expect_letter(
		s, "../anna@mx.example", "DOT R0=F5.1.1 END0 ", "unknown user", "a path as a name");
	expect(s, &(struct stage_job){.rcpts = "anna@mx.example", .content = looped},
		"DOT R0=F5.4.6 END0 ", "mail forwarding loop for anna@mx.example", "a loop");
}

static void test_files_in_the_way(struct stage *s)
{
	const char *box = world_path("spool/bert"), *other = world_path("other");
	world_write(other, "precious\n", BERT, 0600);
	unlink(box);
	if (symlink(other, box) != 0)
		bail_out("symlink");
	expect_letter(
		s, "bert@mx.example", "DOT R0=D4.2.0 END0 ", "cannot open file", "symbolic link");
	is_str(world_read(other), "precious\n", "not followed");
	unlink(box);
	if (link(other, box) != 0)
		bail_out("link");
	expect_letter(
		s, "bert@mx.example", "DOT R0=D4.2.0 END0 ", "has more than one link", "hard link");
	is_str(world_read(other), "precious\n", "not written to");
	unlink(box);
	world_write(box, "", ANNA, 0666);
	expect_letter(s, "bert@mx.example", "DOT R0=D4.2.0 END0 ", "is not owned by recipient",
		"somebody else's");
	is_str(world_read(box), "", "not written to");
	unlink(box);
	if (mkfifo(box, 0666) != 0 || chown(box, BERT, BERT) != 0)
		bail_out("mkfifo");
	expect_letter(
		s, "bert@mx.example", "DOT R0=D4.2.0 END0 ", "is not a regular file", "a pipe");
	unlink(box);
	mkdir(box, 0777);
	expect_letter(
		s, "bert@mx.example", "DOT R0=D4.2.0 END0 ", "cannot open file", "a directory");
	rmdir(box);
	/* A link in place of the lock file gives nothing away either. */
	if (symlink(world_path("spool/made"), world_path("spool/bert.lock")) != 0)
		bail_out("symlink");
	expect_letter(s, "bert@mx.example", "DOT R0=D4.2.0 END0 ", "unable to create lock file",
		"a link as lock");
	ok(access(world_path("spool/made"), F_OK) != 0, "nothing was made through it");
	unlink(world_path("spool/bert.lock"));
}

static void test_locks(struct stage *s)
{
	const char *lock = world_path("spool/bert.lock"), *box = world_path("spool/bert");
	world_write(lock, "", BERT, 0600);
	expect_letter(s, "bert@mx.example", "DOT R0=D4.2.0 END0 ", "unable to create lock file",
		"locked");
	ok(access(lock, F_OK) == 0, "another's lock stays");
	world_run("touch -d '1 hour ago' %s", lock);
	expect_letter(s, "bert@mx.example", "DOT R0=O2.0.0 END0 ", "delivered",
		"a stale lock is taken away");
	char host[256] = "";
	(void)gethostname(host, sizeof(host) - 1);
	char *mark = mem_fmt("gatepost 4711 %s\n", host);
	world_write(lock, mark, BERT, 0600);
	expect_letter(s, "bert@mx.example", "DOT R0=O2.0.0 END0 ", "delivered",
		"a lock of a delivery that was killed, too");
	world_write(lock, mark, BERT, 0600);
	int held = open(lock, O_RDWR | O_CLOEXEC);
	if (held < 0 || flock(held, LOCK_EX | LOCK_NB) != 0)
		bail_out("flock");
	expect_letter(s, "bert@mx.example", "DOT R0=D4.2.0 END0 ", "unable to create lock file",
		"not one of a living process");
	fd_close(&held);
	mem_free(mark);
	mark = mem_fmt("gatepost 4711 not%s\n", host);
	world_write(lock, mark, BERT, 0600);
	expect_letter(s, "bert@mx.example", "DOT R0=D4.2.0 END0 ", "unable to create lock file",
		"nor one of another machine");
	mem_free(mark);
	unlink(lock);
	int fd = open(box, O_RDWR | O_CLOEXEC);
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	if (fd < 0 || fcntl(fd, F_SETLK, &l) != 0)
		bail_out("fcntl");
	expect_letter(s, "bert@mx.example", "DOT R0=D4.2.0 END0 ",
		"unable to lock for exclusive access", "locked by fcntl");
	fd_close(&fd);
}

static void test_body_in_file(struct stage *s)
{
	size_t size = 200000;
	char *body = mem_alloc(size + 1);
	for (size_t i = 0; i < size; i += 50)
		memcpy(body + i, "12345678901234567890123456789012345678901234567\r\n\n", 50);
	struct stage_job j = {.rcpts = "bert@mx.example", .content = "A: b\r\n\r\n", .body = body};
	unlink(world_path("spool/bert"));
	expect(s, &j, "DOT R0=O2.0.0 END0 ", "delivered to mailbox", "a large body");
	const char *text = strstr(world_read(world_path("spool/bert")), "\n\n");
	is_int(text != NULL ? strlen(text) : 0, 2 + size - size / 50 + 1, "all of it");
	struct stat before, after;
	stat(world_path("spool/bert"), &before);
	j.has_bad_sum = true;
	expect(s, &j, "DOT END4 ", "", "a damaged body is not delivered");
	stat(world_path("spool/bert"), &after);
	is_int(after.st_size, before.st_size, "what was written of it is taken back");
	mem_free(body);
}

struct alias_case {
	const char *rcpt, *content, *events, *text, *message;
};

static void test_aliases(struct stage *s)
{
	static const char done[] = "DOT R0=P2.0.0 END0 ";
	static const char mailbox[] = "DOT R0=O2.0.0 END0 ";
	static const char now_later[] = "R0=D4.3.5 END0 ";
	static const struct alias_case cases[] = {
		{"team@mx.example", letter, done, "forwarded as CHILD",
			"sender=s@client.test\nparent=ABCDEF12345\nreason=6 "
			"index=0\nto=anna@mx.example\n"
			"orig=team@mx.example\nto=bert@mx.example\norig=team@mx.example\n"},
		{"Deep+x@mx.example", letter, done, "forwarded as CHILD",
			"to=anna@mx.example\norig=Deep+x@mx.example\nto=bert@mx.example\n"
			"orig=Deep+x@mx.example\nto=far@next.test\norig=Deep+x@mx.example\nFrom: "
			"s"},
		{"diamond@mx.example", letter, done, "forwarded",
			"to=anna@mx.example\norig=diamond@mx.example\nto=bert@mx.example\n"
			"orig=diamond@mx.example\nFrom:"},
		{"ext+one@mx.example", letter, done, "forwarded", "to=one@next.test"},
		{"ext+two@mx.example", letter, done, "forwarded", "to=any@next.test"},
		{"quoted@mx.example", letter, done, "forwarded", "to=a, b@next.test"},
		{"left@mx.example", letter, done, "forwarded", "to=left@mx.example"},
		{"self@mx.example", letter, done, "forwarded", "to=self@mx.example"},
		{"team@mx.example", "Delivered-To: team@mx.example\r\n\r\n", "DOT R0=F5.4.6 END0 ",
			"mail forwarding loop for team@mx.example", NULL},
		{"anna2@mx.example", "Delivered-To: anna2@mx.example\r\n\r\n",
			"DOT R0=F5.1.1 END0 ", "unknown user: \"anna2\"", NULL},
		{"bert@mx.example", "Delivered-To: bert@mx.example\r\n\r\n", mailbox,
			"delivered to mailbox", NULL},
		{"bert@mx.example",
			"Delivered-To: bert@mx.example\r\nDelivered-To: bert@mx.example\r\n\r\n",
			"DOT R0=F5.4.6 END0 ", "loop", NULL},
		{"command@mx.example", letter, now_later,
			"does not deliver to commands: \"|/bin/x y\"", NULL},
		{"file@mx.example", letter, now_later, "does not deliver to files: /var/x", NULL},
		{"list@mx.example", letter, now_later, "does not deliver to lists in files", NULL},
		{"bad@mx.example", letter, now_later, "bad address", NULL},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct alias_case *t = &cases[i];
		buf_reset(&s->message);
		expect(s, &(struct stage_job){.rcpts = t->rcpt, .content = t->content}, t->events,
			t->text, t->rcpt);
		if (t->message == NULL)
			is_int(s->message.len, 0, "%s: no new message", t->rcpt);
		else if (!ok(strstr(buf_str(&s->message), t->message) != NULL,
				 "%s: the new message", t->rcpt))
			diag("%s", buf_str(&s->message));
	}
	buf_reset(&s->message);
	stage_run(s, &(struct stage_job){
			     .rcpts = "team@mx.example", .content = letter, .body = "b\r\n"});
	ok(strstr(buf_str(&s->message), "end\r\nb\r\nheader=Delivered-To: team@mx.example\r\n") !=
			NULL,
		"content as it is, Delivered-To on top");
	s->refuse = 451;
	expect_letter(s, "team@mx.example", "DOT R0=D4.3.0 END0 ", "no", "refused for now");
	s->refuse = 554;
	expect_letter(s, "team@mx.example", "DOT R0=F5.6.0 END0 ", "no", "refused");
	s->refuse = 0;
}

static const char aliases[] = "team anna, bert\ndeep mid, far@next.test\nmid team, team\ndiamond "
			      "team, team2\nteam2 team, anna\n"
			      "ext+one one@next.test\next any@next.test\nquoted \"a, "
			      "b\"@next.test\nleft right\nright left\n"
			      "self self\nanna2 anna2, other@next.test\nbert bert, "
			      "copy@next.test\ncommand \"|/bin/x y\"\n"
			      "file /var/x\nlist :include:/etc/x\nbad a@b@c@\n";

/* A delivery outlives qmgr; a new one is told. */
static void test_new_qmgr(struct stage *s)
{
	const char *lock = world_path("spool/anna.lock");
	world_write(lock, "", ANNA, 0600);
	stage_give(s, &(struct stage_job){.rcpts = "anna@mx.example", .content = letter});
	stage_wait_event(s, "DOT");
	stage_new_qmgr(s);
	stage_wait_event(s, "HALL");
	unlink(lock);
	stage_wait_event(s, "HEND");
	is_str(buf_str(&s->events), "HELD HALL HR0=O2.0.0 HEND ",
		"a new qmgr hears of it, and of its end");
}

/* What a killed child did, nobody knows. */
static void test_killed_child(struct stage *s)
{
	const char *lock = world_path("spool/anna.lock");
	world_write(lock, "", ANNA, 0600);
	stage_give(s, &(struct stage_job){.rcpts = "anna@mx.example", .content = letter});
	stage_wait_event(s, "DOT");
	/* The child of an earlier delivery may still be there: what is killed first may be that. */
	for (int i = 0; i < 200 && strstr(buf_str(&s->events), "END0") == NULL; i++, stage_turn())
		(void)world_kill(ANNA);
	stage_wait_event(s, "END0");
	is_str(buf_str(&s->events), "DOT R0=D4.3.0 END0 ", "a child is killed: later");
	ok(stage_has_logged(s,
		   "warning: ABCDEF12345: to=<anna@mx.example>: in doubt: delivery process "
		   "died; sending again\n"),
		"the log says that another copy may come");
	unlink(lock);
}

/* The end of the parent is the end of its children: nobody writes behind a new qmgr's back. */
static void test_stop(struct stage *s)
{
	const char *lock = world_path("spool/anna.lock");
	struct stat before, after;
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	stat(world_path("spool/anna"), &before);
	world_write(lock, "", ANNA, 0600);
	stage_give(s, &(struct stage_job){.rcpts = "anna@mx.example", .content = letter});
	stage_wait_event(s, "DOT");
	stage_end(s);
	/* What it left behind is ours now: the spawner, which ends, and its child, which is killed.
	 */
	int status = 0, killed = 0;
	while (waitpid(-1, &status, 0) > 0)
		killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	is_int(killed, 1, "its child is killed");
	unlink(lock);
	stat(world_path("spool/anna"), &after);
	is_int(after.st_size, before.st_size, "and has written nothing");
}

/* /var/mail as distributions have it, and one that is full. */
static void test_spools(void)
{
	struct stage s;
	struct stat st;
	world_run("rm -rf %s/* && chgrp mail %s && chmod 2775 %s", world_path("spool"),
		world_path("spool"), world_path("spool"));
	start(&s, "");
	expect_letter(
		&s, "anna@mx.example", "DOT R0=O2.0.0 END0 ", "delivered", "a spool of group mail");
	ok(stat(world_path("spool/anna"), &st) == 0 && st.st_uid == ANNA &&
			(st.st_mode & 0777) == 0600,
		"the mailbox is hers alone");
	world_run("chmod 755 %s", world_path("spool"));
	expect_letter(&s, "anna@mx.example", "DOT R0=D4.2.0 END0 ", "Permission denied",
		"a spool that nobody may write to");
	world_run("mount -t tmpfs -o size=64k,mode=1777 tmpfs %s", world_path("spool"));
	char *big = mem_fmt("%0100000d\r\n", 1);
	expect_letter(
		&s, "anna@mx.example", "DOT R0=O2.0.0 END0 ", "delivered", "a small file system");
	stat(world_path("spool/anna"), &st);
	off_t before = st.st_size;
	expect(&s,
		&(struct stage_job){
			.rcpts = "anna@mx.example", .content = "A: b\r\n\r\n", .body = big},
		"DOT R0=D4.3.1 END0 ", "No space left on device", "is full");
	stat(world_path("spool/anna"), &st);
	is_int(st.st_size, before, "what was written of it is taken back");
	ok(access(world_path("spool/anna.lock"), F_OK) != 0, "no lock is left");
	mem_free(big);
	stage_end(&s);
	world_run("umount %s && chmod 1777 %s", world_path("spool"), world_path("spool"));
}

static void test_limits(void)
{
	struct stage s;
	struct stat before, after;
	world_write(world_path("aliases"), aliases, 0, 0644);
	start(&s, "mailbox_size_limit = 1000\nsoft_bounce = no\n");
	unlink(world_path("spool/anna"));
	expect_letter(&s, "anna@mx.example", "DOT R0=O2.0.0 END0 ", "delivered", "below the limit");
	char big[1200] = "A: b\r\n\r\n";
	memset(big + 8, 'x', 1000);
	stat(world_path("spool/anna"), &before);
	expect(&s, &(struct stage_job){.rcpts = "anna@mx.example", .content = big},
		"DOT R0=F5.2.2 END0 ", "File too large", "over it");
	stat(world_path("spool/anna"), &after);
	is_int(after.st_size, before.st_size, "nothing was written");
	stage_end(&s);
}

static void test_rest(void)
{
	struct stage s;
	start(&s, "mailbox_transport = lmtp:unix:/run/x\nsoft_bounce = yes\n");
	expect_letter(
		&s, "anna@mx.example", "R0=R4.3.0 END0 ", "lmtp:unix:/run/x", "mailbox_transport");
	ok(stage_has_logged(&s, ": ABCDEF12345: passing <anna@mx.example> to transport=lmtp\n"),
		"the log");
	expect(&s,
		&(struct stage_job){.rcpts = "team@mx.example",
			.content = "Delivered-To: team@mx.example\r\n\r\n"},
		"DOT R0=D4.4.6 END0 ", "loop", "soft_bounce");
	stage_end(&s);
	start(&s, "luser_relay = admin+$local@next.test\n");
	expect_letter(
		&s, "Nobody-here+x@mx.example", "DOT R0=P2.0.0 END0 ", "forwarded", "luser_relay");
	ok(strstr(buf_str(&s.message),
		   "to=admin+Nobody-here+x@next.test\norig=Nobody-here+x@mx.example\n") != NULL,
		"to whom it says");
	expect_letter(&s, "anna@mx.example", "DOT R0=O2.0.0 END0 ", "delivered to mailbox",
		"others as ever");
	expect(&s,
		&(struct stage_job){.rcpts = "nobody-here@mx.example",
			.content = "Delivered-To: nobody-here@mx.example\r\n\r\n"},
		"DOT R0=F5.4.6 END0 ", "loop", "a circle");
	stage_end(&s);
	char *text = settings("");
	char *later = mem_fmt("%salias_maps = later:texthash:%s\n", text, world_path("aliases"));
	stage_start(&s, "local", later);
	expect_letter(&s, "deep@mx.example bert@mx.example", "DOT R0=P2.0.0 R1=P2.0.0 END0 ",
		"forwarded", "a table that answers late");
	stage_end(&s);
	mem_free(later);
	later = mem_fmt("%salias_maps = fail:x\n", text);
	stage_start(&s, "local", later);
	expect_letter(&s, "anna@mx.example", "R0=D4.3.0 END0 ", "table lookup failed",
		"a table that fails");
	stage_end(&s);
	mem_free(later);
	mem_free(text);
}

int main(void)
{
	struct stage s;
	world_make();
	loop_init();
	world_write(world_path("aliases"), "", 0, 0644);
	start(&s, "");
	test_mbox(&s);
	test_files_in_the_way(&s);
	test_locks(&s);
	test_body_in_file(&s);
	stage_end(&s);
	world_write(world_path("aliases"), aliases, 0, 0644);
	start(&s, "");
	test_aliases(&s);
	stage_end(&s);
	start(&s, "deliver_lock_attempts = 20\n");
	test_new_qmgr(&s);
	test_killed_child(&s);
	test_stop(&s);
	test_spools();
	test_limits();
	test_rest();
	world_end();
	return done_testing();
}

/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "queue/envelope.h"
#include "queue/file.h"
#include "t/client/peer.h"
#include "t/client/worker.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

static struct peer a, b;
static struct worker w;
static uint16_t port;

#define SETTINGS "myhostname=client.test; inet_interfaces=192.0.2.99; smtp_randomize_addresses=no;"

/* No time ends by itself what a test is about. */
static const char settings[] = SETTINGS "smtp_connection_cache_time_limit=100s";

static const char content[] = "Subject: x\r\n\r\nbody\r\n";

/* A next hop at the peers' port; self.test is about port 25 alone. */
static char *hop(const char *name)
{
	return strcmp(name, "self.test") == 0 ? mem_str(name) : mem_fmt("%s:%u", name, port);
}

static void send_job(struct job_spec spec, const char *name)
{
	char *nexthop = hop(name);
	spec.nexthop = nexthop;
	spec.content = spec.content != NULL ? spec.content : content;
	buf_reset(&w.events);
	worker_job(&w, &spec);
	mem_free(nexthop);
}

/* What qmgr is told till the job's end, without the word of idle sessions. */
static const char *outcome(void)
{
	static struct buf out = BUF_INIT(65536);
	worker_wait(&w.ended, w.ended + 1);
	struct slice rest = buf_slice(&w.events), word;
	buf_reset(&out);
	while (slice_token(&rest, " ", &word)) {
		if (!slice_starts(word, "IDLE")) {
			buf_add_fmt(&out, "%s%.*s", out.len > 0 ? " " : "", SLICE_FMT(word));
		}
	}
	return buf_str(&out);
}

static const char *deliver(struct job_spec spec, const char *name)
{
	send_job(spec, name);
	return outcome();
}

/* The next delivery opens a session of its own. */
static void fresh(void)
{
	peer_cut(&a);
	peer_cut(&b);
	for (int i = 0; i < 5; i++) {
		loop_once(clock_mono() + 10 * CLOCK_MSEC);
	}
	peer_reset(&a);
	peer_reset(&b);
}

static bool logged(const char *text)
{
	int64_t deadline = clock_mono() + 20 * CLOCK_SEC;
	while (clock_mono() < deadline) {
		if (strstr(worker_read_log(&w), text) != NULL) {
			return true;
		}
		loop_once(clock_mono() + 10 * CLOCK_MSEC);
	}
	diag("no \"%s\" in:\n%s", text, buf_str(&w.log));
	return false;
}

/* Whether the server's commands are, or begin with, these: the last one may come behind the job's
 * end. */
static bool begins(const struct peer *p, const char *text)
{
	int64_t deadline = clock_mono() + 20 * CLOCK_SEC;
	while (!slice_starts(buf_slice(&p->commands), text) && clock_mono() < deadline) {
		loop_once(clock_mono() + 10 * CLOCK_MSEC);
	}
	return slice_starts(buf_slice(&p->commands), text);
}

#define PIPE "PIPELINING,SIZE 100000,8BITMIME,SMTPUTF8,DSN"
#define PLAIN "SIZE 100000,8BITMIME,SMTPUTF8,DSN"

/* What a single server does at each step, with and without pipelining. */
static const struct {
	const char *what, *keywords, *rcpts;
	const char *greeting, *ehlo, *mail, *rcpt, *data, *dot;
	const char *events, *commands;
} cases[] = {
	{"all is well", PIPE, "u", .events = "DOT R0=O2.0.0 END1",
		.commands = "EHLO MAIL +RCPT +DATA"},
	{"the same step by step", PLAIN, "u", .events = "DOT R0=O2.0.0 END1",
		.commands = "EHLO MAIL RCPT DATA"},
	{"three recipients", PIPE, "u v x", .events = "DOT R0=O2.0.0 R1=O2.0.0 R2=O2.0.0 END1",
		.commands = "EHLO MAIL +RCPT +RCPT +RCPT +DATA"},
	{"one of three unknown", PIPE, "u r5 x", .events = "R1=F5.1.1 DOT R0=O2.0.0 R2=O2.0.0 END1",
		.commands = "EHLO MAIL +RCPT +RCPT +RCPT +DATA"},
	{"one of three later", PLAIN, "u r4 x", .events = "R1=D4.2.1 DOT R0=O2.0.0 R2=O2.0.0 END1",
		.commands = "EHLO MAIL RCPT RCPT RCPT DATA"},
	{"nobody accepted", PIPE, "r5 r4", .events = "R0=F5.1.1 R1=D4.2.1 END1",
		.commands = "EHLO MAIL +RCPT +RCPT +DATA"},
	{"nobody accepted, step by step", PLAIN, "r5 r4", .events = "R0=F5.1.1 R1=D4.2.1 END1",
		.commands = "EHLO MAIL RCPT RCPT"},
	{"nobody accepted, yet 354", PIPE, "r5", .data = "354 go on", .events = "R0=F5.1.1 END1",
		.commands = "EHLO MAIL +RCPT +DATA"},
	{"MAIL refused", PIPE, "u v", .mail = "550 5.7.1 not you",
		.events = "R0=F5.7.1 R1=F5.7.1 END1", .commands = "EHLO MAIL +RCPT +RCPT +DATA"},
	{"MAIL refused, step by step", PLAIN, "u", .mail = "451 4.7.1 not now",
		.events = "R0=D4.7.1 END1", .commands = "EHLO MAIL"},
	{"MAIL refused, RCPT and DATA taken", PIPE, "u", .mail = "550 5.7.1 not you",
		.rcpt = "250 ok", .data = "354 go", .events = "R0=F5.7.1 END0",
		.commands = "EHLO MAIL +RCPT +DATA"},
	{"DATA refused", PIPE, "u r5", .data = "554 5.7.1 no data",
		.events = "R1=F5.1.1 R0=F5.7.1 END1", .commands = "EHLO MAIL +RCPT +RCPT +DATA"},
	{"DATA answered with 250", PLAIN, "u", .data = "250 ok", .events = "R0=D4.5.0 END1",
		.commands = "EHLO MAIL RCPT DATA"},
	{"content refused", PIPE, "u v", .dot = "554 5.6.0 spam",
		.events = "DOT R0=F5.6.0 R1=F5.6.0 END1", .commands = "EHLO MAIL +RCPT +DATA"},
	{"content deferred", PIPE, "u", .dot = "451 4.3.0 later", .events = "DOT R0=D4.3.0 END1",
		.commands = "EHLO MAIL +RCPT +DATA"},
	{"lost after the dot", PIPE, "u v", .dot = "drop", .events = "DOT R0=D4.4.2 R1=D4.4.2 END0",
		.commands = "EHLO MAIL +RCPT +RCPT +DATA"},
	{"lost at RCPT", PIPE, "u", .rcpt = "drop", .events = "R0=D4.4.2 END0",
		.commands = "EHLO MAIL +RCPT"},
	{"lost at MAIL", PLAIN, "u", .mail = "drop", .events = "R0=D4.4.2 END0",
		.commands = "EHLO MAIL"},
	{"lost at DATA", PLAIN, "u", .data = "drop", .events = "R0=D4.4.2 END0",
		.commands = "EHLO MAIL RCPT DATA"},
	{"lost at EHLO", PIPE, "u", .ehlo = "drop", .events = "R0=D4.4.2 END2", .commands = "EHLO"},
	{"lost at connect", PIPE, "u", .greeting = "drop", .events = "R0=D4.4.2 END2",
		.commands = ""},
	{"5xx at the door", PIPE, "u", .greeting = "554 5.7.1 go away", .events = "R0=D4.7.1 END2",
		.commands = "QUIT"},
	{"421 at the door", PIPE, "u", .greeting = "421 4.3.2 busy", .events = "R0=D4.3.2 END2",
		.commands = "QUIT"},
	{"no EHLO: HELO", PIPE, "u", .ehlo = "502 5.5.1 what?", .events = "DOT R0=O2.0.0 END1",
		.commands = "EHLO HELO MAIL RCPT DATA"},
	{"421 to EHLO", PIPE, "u", .ehlo = "421 4.3.2 busy", .events = "R0=D4.3.2 END2",
		.commands = "EHLO QUIT"},
	{"421 to MAIL", PLAIN, "u", .mail = "421 4.3.2 busy", .events = "R0=D4.3.2 END0",
		.commands = "EHLO MAIL QUIT"},
	{"552 at RCPT means 452", PLAIN, "u", .rcpt = "552 5.5.3 too many",
		.events = "R0=D4.5.3 END1", .commands = "EHLO MAIL RCPT"},
	{"not SMTP at all", PIPE, "u", .greeting = "HTTP/1.1 400 Bad Request",
		.events = "R0=D4.5.0 END2", .commands = ""},
	{"8-bit text, no 8BITMIME needed", "PIPELINING", "u", .events = "DOT R0=O2.0.0 END1",
		.commands = "EHLO MAIL +RCPT +DATA"},
};

static void test_cases(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fresh();
		a.keywords = cases[i].keywords;
		a.greeting = cases[i].greeting;
		a.ehlo = cases[i].ehlo;
		a.mail = cases[i].mail;
		a.rcpt = cases[i].rcpt;
		a.data = cases[i].data;
		a.dot = cases[i].dot;
		is_str(deliver((struct job_spec){.rcpts = cases[i].rcpts}, "[127.0.0.1]"),
			cases[i].events, "%s", cases[i].what);
		/* Recipients of a step are in one packet or not, as the kernel likes. */
		ok(strstr(cases[i].commands, "+") != NULL || begins(&a, cases[i].commands),
			"commands: %s", buf_str(&a.commands));
	}
}

/* A server that says nothing, at each stage, and the parameter whose time ends it. */
static const struct {
	const char *name, *events, *commands;
	size_t stage; /* offset of its reply in struct peer */
} silences[] = {
	{"smtp_helo_timeout", "R0=D4.4.2 END2", "", offsetof(struct peer, greeting)},
	{"smtp_mail_timeout", "R0=D4.4.2 END0", "EHLO MAIL", offsetof(struct peer, mail)},
	{"smtp_rcpt_timeout", "R0=D4.4.2 END0", "EHLO MAIL RCPT", offsetof(struct peer, rcpt)},
	{"smtp_data_init_timeout", "R0=D4.4.2 END0", "EHLO MAIL RCPT DATA",
		offsetof(struct peer, data)},
	{"smtp_data_done_timeout", "DOT R0=D4.4.2 END0", "EHLO MAIL RCPT DATA",
		offsetof(struct peer, dot)},
	{"lmtp_lhlo_timeout", "R0=D4.4.2 END2", "", offsetof(struct peer, greeting)},
	{"lmtp_mail_timeout", "R0=D4.4.2 END0", "LHLO MAIL", offsetof(struct peer, mail)},
	{"lmtp_rcpt_timeout", "R0=D4.4.2 END0", "LHLO MAIL RCPT", offsetof(struct peer, rcpt)},
	{"lmtp_data_init_timeout", "R0=D4.4.2 END0", "LHLO MAIL RCPT DATA",
		offsetof(struct peer, data)},
};

/* By a worker that has little patience there, and much elsewhere. */
static void test_silence(void)
{
	for (size_t i = 0; i < COUNT_OF(silences); i++) {
		bool lmtp = silences[i].name[0] == 'l';
		struct buf set = BUF_INIT(4096);
		buf_add_str(&set, SETTINGS);
		for (size_t k = 0; k < COUNT_OF(silences); k++) {
			buf_add_fmt(&set, "; %s=%s", silences[k].name, k == i ? "1s" : "100s");
		}
		fresh();
		a.lmtp = lmtp;
		a.keywords = PLAIN;
		*(const char **)(void *)((char *)&a + silences[i].stage) = "hold";
		worker_start(&w, lmtp, buf_str(&set));
		is_str(deliver((struct job_spec){.rcpts = "u"},
			       lmtp ? "inet:127.0.0.1" : "[127.0.0.1]"),
			silences[i].events, "%s", silences[i].name);
		ok(begins(&a, silences[i].commands), "commands: %s", buf_str(&a.commands));
		worker_stop(&w);
		a.lmtp = false;
		buf_clear(&set);
	}
}

/* By one that keeps no session for long. */
static void test_idle(void)
{
	fresh();
	worker_start(&w, false, SETTINGS "smtp_connection_cache_time_limit=1s");
	is_str(deliver((struct job_spec){.rcpts = "u"}, "one.test"), "DOT R0=O2.0.0 END1",
		"a session is idle");
	worker_wait_event(&w, "IDLE0");
	ok(strstr(buf_str(&w.events), "IDLE0") != NULL, "it ends, qmgr is told");
	int64_t deadline = clock_mono() + 20 * CLOCK_SEC;
	while (strstr(buf_str(&a.commands), "QUIT") == NULL && clock_mono() < deadline) {
		loop_once(clock_mono() + 10 * CLOCK_MSEC);
	}
	ok(strstr(buf_str(&a.commands), "QUIT") != NULL, "with QUIT: %s", buf_str(&a.commands));
	worker_stop(&w);
}

static void test_reuse(void)
{
	fresh();
	is_str(deliver((struct job_spec){.rcpts = "u"}, "one.test"), "DOT R0=O2.0.0 END1", "first");
	unsigned asked = w.asked;
	is_str(deliver((struct job_spec){.rcpts = "v"}, "one.test"), "DOT R0=O2.0.0 END1",
		"second");
	is_int(a.connections, 1, "by the same session");
	is_int(w.asked, asked, "without asking the resolver");
	ok(logged("conn_use=2, "), "as the log says");
	is_str(deliver((struct job_spec){.rcpts = "r5"}, "one.test"), "R0=F5.1.1 END1",
		"one is refused");
	is_str(deliver((struct job_spec){.rcpts = "x"}, "one.test"), "DOT R0=O2.0.0 END1", "then");
	ok(strstr(buf_str(&a.commands), "RSET +MAIL") != NULL, "RSET goes before MAIL");

	is_str(deliver((struct job_spec){.rcpts = "u"}, "one.test"), "DOT R0=O2.0.0 END1", "again");
	a.mail = "drop";
	worker_wait_event(&w, "IDLE1");
	peer_cut(&a);
	a.mail = NULL;
	is_str(deliver((struct job_spec){.rcpts = "v"}, "one.test"), "DOT R0=O2.0.0 END1",
		"the server closed an idle session: a new one");
	a.mail = "drop";
	is_str(deliver((struct job_spec){.rcpts = "v"}, "one.test"), "R0=D4.4.2 END0",
		"closed at MAIL: once more, then deferred");
	a.mail = NULL;
	is_str(deliver((struct job_spec){.rcpts = "u"}, "one.test"), "DOT R0=O2.0.0 END1", "again");
	a.mail = "421 4.4.2 idle for too long";
	a.connections = 0;
	is_str(deliver((struct job_spec){.rcpts = "v"}, "one.test"), "R0=D4.4.2 END0",
		"421 to the next MAIL: once more, then deferred");
	is_int(a.connections, 1, "by a new session");
}

/* The worker sees all at once what comes until wake_worker, in the order in which it came. */
static void stop_worker(void)
{
	int status = 0;
	ok(kill(w.pid, SIGSTOP) == 0 && waitpid(w.pid, &status, WUNTRACED) == w.pid &&
			WIFSTOPPED(status),
		"smtp-client is held up");
}

/* What a server has said unasked, or that it has gone, is no answer to the next command. */
static void test_unread(void)
{
	static const struct {
		const char *what, *before, *said; /* said NULL: it closes the connection */
	} rows[] = {
		{"421", "", "421 4.4.2 idle for too long\r\n"},
		{"a refusal", "", "550 5.7.1 go away\r\n"},
		{"a 250", "", "250 2.0.0 Ok\r\n"},
		{"the begin of a reply", "", "250-2.0.0 Ok\r\n"},
		{"one that was read", "250-2.0.0 Ok\r\n", ""},
		{"the end", "", NULL},
	};
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		fresh();
		is_str(deliver((struct job_spec){.rcpts = "u"}, "one.test"), "DOT R0=O2.0.0 END1",
			"%s: a session", rows[i].what);
		worker_wait_event(&w, "IDLE1");
		peer_say(&a, rows[i].before);
		stop_worker();
		send_job((struct job_spec){.rcpts = "v"}, "one.test");
		(void)ipc_flush(w.qmgr);
		if (rows[i].said != NULL) {
			peer_say(&a, rows[i].said);
		} else {
			peer_cut(&a);
		}
		(void)kill(w.pid, SIGCONT);
		is_str(outcome(), "DOT R0=O2.0.0 END1", "%s: the next message is delivered",
			rows[i].what);
		is_int(a.connections, 2, "%s: by a session of its own", rows[i].what);
		is_int(a.messages, 2, "%s: once", rows[i].what);
	}
}

/* What plans of back-off and notices go by. */
static void test_facts(void)
{
	static const struct {
		const char *nexthop, *rcpts, *greeting, *ehlo, *mail, *rcpt, *data, *dot, *keywords;
		const char *facts;
	} rows[] = {
		{"[127.0.0.1]", "u", .facts = "dot/250/2 "},
		{"[127.0.0.1]", "u r5 r4", .keywords = "PIPELINING",
			.facts = "rcpt/550/0 rcpt/450/0 dot/250/0 "},
		{"nx.test", "u", .facts = "dns/0/0 "},
		{"self.test", "u", .facts = "dns/0/0 "},
		{"[127.0.0.3]", "u", .facts = "connect/0/0 "},
		{"[127.0.0.1]", "u", .greeting = "554 5.7.1 no", .facts = "greeting/554/0 "},
		{"[127.0.0.1]", "u", .greeting = "drop", .facts = "greeting/0/0 "},
		{"[127.0.0.1]", "u", .ehlo = "421 4.3.2 busy", .facts = "helo/421/0 "},
		{"[127.0.0.1]", "u v", .mail = "451 4.7.1 no", .facts = "mail/451/0 mail/451/0 "},
		{"[127.0.0.1]", "u", .mail = "drop", .keywords = "SIZE", .facts = "mail/0/0 "},
		{"[127.0.0.1]", "u", .rcpt = "552 5.5.3 many", .facts = "rcpt/452/0 "},
		{"[127.0.0.1]", "u", .data = "451 4.3.0 no", .facts = "data/451/0 "},
		{"[127.0.0.1]", "u", .dot = "554 5.6.0 no", .facts = "dot/554/0 "},
		{"[127.0.0.1]", "u", .dot = "drop", .facts = "dot/0/0 "},
		{"[127.0.0.1]", "u", .keywords = "SIZE 1", .facts = "mail/0/0 "},
	};
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		fresh();
		a.keywords = rows[i].keywords != NULL ? rows[i].keywords : a.keywords;
		a.greeting = rows[i].greeting;
		a.ehlo = rows[i].ehlo;
		a.mail = rows[i].mail;
		a.rcpt = rows[i].rcpt;
		a.data = rows[i].data;
		a.dot = rows[i].dot;
		buf_reset(&w.facts);
		(void)deliver((struct job_spec){.rcpts = rows[i].rcpts}, rows[i].nexthop);
		is_str(buf_str(&w.facts), rows[i].facts, "facts %zu", i);
	}
}

/* The same where TLS is required; of a login see auth.t. */
static void test_facts_of_tls(void)
{
	static const struct {
		const char *keywords, *events, *facts;
	} rows[] = {
		{"SIZE", "R0=D4.7.4 END2", "tls/0/0 "},
		{"STARTTLS", "R0=F5.5.2 END0", "tls/502/0 "},
	};
	char *more = mem_fmt("%s; smtp_tls_security_level=encrypt", settings);
	worker_start(&w, false, more);
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		fresh();
		a.keywords = rows[i].keywords;
		buf_reset(&w.facts);
		is_str(deliver((struct job_spec){.rcpts = "u"}, "[127.0.0.1]"), rows[i].events,
			"TLS is required: %s", rows[i].keywords);
		is_str(buf_str(&w.facts), rows[i].facts, "facts of %s", rows[i].keywords);
	}
	worker_stop(&w);
	mem_free(more);
}

/* Next hops behind one host share its sessions. */
static void test_site(void)
{
	fresh();
	is_str(deliver((struct job_spec){.rcpts = "u"}, "one.test"), "DOT R0=O2.0.0 END1",
		"a session");
	is_str(deliver((struct job_spec){.rcpts = "v"}, "also.test"), "DOT R0=O2.0.0 END1",
		"another next hop behind the same host");
	is_int(a.connections, 1, "by the same session");
	unsigned asked = w.asked;
	is_str(deliver((struct job_spec){.rcpts = "v"}, "also.test"), "DOT R0=O2.0.0 END1",
		"once more");
	is_int(w.asked, asked, "it is that one's now: nobody is asked");
	is_str(deliver((struct job_spec){.rcpts = "v"}, "two.test"), "DOT R0=O2.0.0 END1",
		"another name of the host's");
	is_int(a.connections, 2, "by a session of its own");
	is_str(deliver((struct job_spec){.rcpts = "u"}, "one.test"), "DOT R0=O2.0.0 END1",
		"back again");
	is_int(a.connections, 2, "by the first");
	a.mail = "421 4.4.2 idle for too long";
	is_str(deliver((struct job_spec){.rcpts = "u"}, "also.test"), "R0=D4.4.2 END0",
		"a dead one: a new session");
	is_int(a.connections, 3, "once");
}

static void test_servers(void)
{
	fresh();
	is_str(deliver((struct job_spec){.rcpts = "u"}, "two.test"), "DOT R0=O2.0.0 END1",
		"the first of two");
	ok(a.messages == 1 && b.connections == 0, "gets it");
	fresh();
	a.greeting = "554 5.7.1 go away";
	is_str(deliver((struct job_spec){.rcpts = "u"}, "two.test"), "DOT R0=O2.0.0 END1",
		"the first refuses all: the second");
	is_int(b.messages, 1, "gets it");
	fresh();
	is_str(deliver((struct job_spec){.rcpts = "u r4 r5"}, "two.test"),
		"R2=F5.1.1 DOT R0=O2.0.0 R1=D4.2.1 END1", "a temporary refusal is tried at both");
	ok(a.connections == 1 && b.connections == 1, "once each");
	fresh();
	a.mail = "451 4.3.0 no";
	is_str(deliver((struct job_spec){.rcpts = "u v"}, "two.test"),
		"DOT R0=O2.0.0 R1=O2.0.0 END1", "MAIL refused for now: the second");
	fresh();
	a.mail = "550 5.3.0 no";
	is_str(deliver((struct job_spec){.rcpts = "u"}, "two.test"), "R0=F5.3.0 END1",
		"for ever: returned");
	is_int(b.connections, 0, "the second is not asked");
	fresh();
	a.dot = "drop";
	is_str(deliver((struct job_spec){.rcpts = "u"}, "two.test"), "DOT R0=D4.4.2 END0",
		"lost after the dot: it waits");
	is_int(b.connections, 0, "the second gets no copy");
	ok(logged("sending end of data -- message may be sent more than once"),
		"and the log says why");
	fresh();
	is_str(deliver((struct job_spec){.rcpts = "u"}, "down.test"), "DOT R0=O2.0.0 END1",
		"the first is down: the second");
	char *text = mem_fmt("connect to a.down.test[127.0.0.3]:%u: Connection refused", port);
	ok(logged(text), "the log says so");
	mem_free(text);
}

static void test_names(void)
{
	is_str(deliver((struct job_spec){.rcpts = "u"}, "nx.test"), "R0=F5.4.4 END0",
		"no such domain");
	ok(logged("relay=none, "), "without a relay");
	ok(logged("dsn=5.4.4, status=bounced (Host or domain name not found. Name service error "
		  "for "
		  "name=nx.test type=A: Host not found)"),
		"in Postfix's words");
	is_str(deliver((struct job_spec){.rcpts = "u"}, "null.test"), "R0=F5.1.0 END0", "null MX");
	ok(logged("(Domain null.test does not accept mail (nullMX))"), "in words");
	is_str(deliver((struct job_spec){.rcpts = "u"}, "fail.test"), "R0=D4.4.3 END2",
		"name servers fail");
	is_str(deliver((struct job_spec){.rcpts = "u"}, "self.test"), "R0=F5.4.6 END0",
		"the best MX is us");
	ok(logged("(mail for self.test loops back to myself)"), "in words");
	is_str(deliver((struct job_spec){.rcpts = "u"}, "[127.0.0.3]"), "R0=D4.4.1 END2",
		"refused");
	is_str(deliver((struct job_spec){.rcpts = "u"}, "[a]b"), "R0=D4.3.5 END2",
		"no next hop at all");
	fresh();
	is_str(deliver((struct job_spec){.rcpts = "u"}, "[127.0.0.3]:1, nx.test, [127.0.0.1]"),
		"DOT R0=O2.0.0 END1", "several next hops in order");
}

static void test_parameters(void)
{
	static const unsigned bit8 = QUEUE_FLAG_8BIT;
	fresh();
	is_str(deliver((struct job_spec){.rcpts = "u",
			       .flags = bit8,
			       .envid = "ab+2Bc",
			       .ret = 2,
			       .notify = 6,
			       .orcpt = "rfc822;u+2Bx@example.test"},
		       "[127.0.0.1]"),
		"DOT R0=O2.0.0 END1", "with everything");
	is_str(buf_str(&a.mail_line),
		"MAIL FROM:<from@example.test> SIZE=20 BODY=8BITMIME RET=HDRS ENVID=ab+2Bc",
		"MAIL");
	is_str(buf_str(&a.rcpt_line),
		"RCPT TO:<u@example.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;u+2Bx@example.test",
		"RCPT");
	fresh();
	a.keywords = "PIPELINING,SIZE 10";
	is_str(deliver((struct job_spec){.rcpts = "u"}, "[127.0.0.1]"), "R0=F5.3.4 END1",
		"too large");
	ok(logged("message size 20 exceeds size limit 10 of server 127.0.0.1[127.0.0.1]"),
		"in words");
	fresh();
	a.keywords = "SIZE";
	is_str(deliver((struct job_spec){.rcpts = "u", .flags = bit8}, "[127.0.0.1]"),
		"DOT R0=O2.0.0 END1", "8-bit content, no 8BITMIME");
	is_str(buf_str(&a.mail_line), "MAIL FROM:<from@example.test>", "its size is not known");
	fresh();
	a.keywords = "SIZE";
	is_str(deliver((struct job_spec){.rcpts = "\xc3\xbc"}, "[127.0.0.1]"), "R0=F5.6.7 END1",
		"a UTF-8 address, no SMTPUTF8");
	is_str(buf_str(&a.commands), "EHLO", "nothing was tried");
	is_str(deliver((struct job_spec){.rcpts = "u", .flags = QUEUE_FLAG_SMTPUTF8},
		       "[127.0.0.1]"),
		"DOT R0=O2.0.0 END1", "asked for, but not needed");
	fresh();
	is_str(deliver((struct job_spec){.rcpts = "\xc3\xbc", .sender = "a b@example.test"},
		       "[127.0.0.1]"),
		"DOT R0=O2.0.0 END1", "SMTPUTF8 is there");
	is_str(buf_str(&a.mail_line), "MAIL FROM:<\"a b\"@example.test> SIZE=20 SMTPUTF8",
		"and used");
	is_str(deliver((struct job_spec){.rcpts = "u", .sender = ""}, "[127.0.0.1]"),
		"DOT R0=O2.0.0 END1", "the null sender");
	is_str(buf_str(&a.mail_line), "MAIL FROM:<> SIZE=20", "is <>");
}

static void test_content(void)
{
	static char large[200000], lines[3000];
	fresh();
	is_str(deliver((struct job_spec){.rcpts = "u",
			       .content = "a\r\n.b\r\n..\r\nc",
			       .flags = QUEUE_FLAG_DOT_LINE},
		       "[127.0.0.1]"),
		"DOT R0=O2.0.0 END1", "dots");
	is_str(buf_str(&a.content), "a\r\n..b\r\n...\r\nc\r\n.\r\n",
		"are stuffed, the end is a line's");
	memset(lines, 'x', sizeof(lines));
	memcpy(lines + 2998, "\r\n", 2);
	is_str(deliver((struct job_spec){.rcpts = "u", .content = lines, .content_len = 3000},
		       "[127.0.0.1]"),
		"DOT R0=O2.0.0 END1", "a long line");
	ok(strstr(buf_str(&a.content), "x\r\n x") != NULL && a.content.len == 3000 + 3 * 3 + 3,
		"is folded");
	for (size_t i = 0; i < sizeof(large); i += 100) {
		memset(large + i, 'a' + (int)(i / 100 % 26), 98);
		memcpy(large + i + 98, "\r\n", 2);
	}
	is_str(deliver(
		       (struct job_spec){
			       .rcpts = "u", .content = large, .content_len = sizeof(large)},
		       "[127.0.0.1]"),
		"DOT R0=O2.0.0 END1", "200 KB");
	ok(a.content.len == sizeof(large) + 3 &&
			memcmp(buf_str(&a.content), large, sizeof(large)) == 0,
		"arrive as they are");
	is_str(deliver((struct job_spec){.rcpts = "u", .content = "", .content_len = 0},
		       "[127.0.0.1]"),
		"DOT R0=O2.0.0 END1", "nothing at all");
	is_str(buf_str(&a.content), ".\r\n", "is a lone dot");
	is_str(deliver(
		       (struct job_spec){
			       .rcpts = "u", .content = "abc", .flags = QUEUE_FLAG_BODY_FILE},
		       "[127.0.0.1]"),
		"R0=D4.3.0 END6", "a body that did not come: not delivered");
}

/* A large body comes as a descriptor, and each 64 KB is looked at before it goes out. */
static void test_body(void)
{
	static char body[300000];
	char dir[] = "/tmp/gp-body-XXXXXX", path[QUEUE_PATH_MAX + 64];
	struct queue_root root;
	struct queue_body *out = NULL;
	struct slice id = SLICE_LIT("ABCDEF12345");
	struct iovec iov = {body, sizeof(body)};
	int fd = -1;

	for (size_t i = 0; i < sizeof(body); i += 50) {
		memset(body + i, 'a' + (int)(i / 50 % 26), 48);
		memcpy(body + i + 48, "\r\n", 2);
	}
	body[50] = '.';
	bool made = mkdtemp(dir) != NULL && queue_root_open(dir, &root) == 0 &&
		    queue_root_make(&root) == 0 && queue_body_create(&root, id, &out) == 0 &&
		    queue_body_append(out, &iov, 1) == 0 && queue_body_sync(out) == 0;
	ok(made, "a body of 300 KB is made");
	queue_body_close(&out);
	is_int(queue_body_open(&root, QUEUE_PLACE_JOURNAL, id, &fd), 0, "and opened");
	struct job_spec spec = {.rcpts = "u v",
		.content = "Subject: x\r\n\r\n",
		.body_fd = fd,
		.body_size = sizeof(body),
		.flags = QUEUE_FLAG_BODY_FILE | QUEUE_FLAG_DOT_LINE};
	fresh();
	is_str(deliver(spec, "[127.0.0.1]"), "DOT R0=O2.0.0 R1=O2.0.0 END1", "it is delivered");
	is_int(a.content.len, 14 + sizeof(body) + 1 + 3, "whole, with one dot more");

	queue_file_path(QUEUE_PLACE_JOURNAL, id, true, path);
	int damage = openat(root.fd, path, O_WRONLY | O_CLOEXEC);
	is_int(pwrite(damage, "!", 1, 200000), 1, "a byte of its fourth 64 KB is damaged");
	close(damage);
	fresh();
	is_str(deliver(spec, "[127.0.0.1]"), "R0=D4.3.0 R1=D4.3.0 END4", "then it is not");
	ok(a.messages == 0 && a.content.len < 200000,
		"the server gets neither the damage nor a dot");
	close(fd);
	(void)unlinkat(root.fd, path, 0);
	queue_root_close(&root);
	char *cleanup = mem_fmt("rm -rf %s", dir);
	is_int(system(cleanup), 0, "cleaned up");
	mem_free(cleanup);
}

/* Q5: jobs outlive qmgr, and a new one is told of them. */
static void test_qmgr_dies(void)
{
	fresh();
	char *nexthop = hop("[127.0.0.1]");
	struct job_spec spec = {.nexthop = nexthop, .rcpts = "u r5", .content = content};
	a.dot = "hold";
	buf_reset(&w.events);
	worker_job(&w, &spec);
	worker_wait_event(&w, "DOT");
	w.room = 0;
	buf_reset(&w.events);
	worker_new_qmgr(&w);
	worker_wait_event(&w, "HALL");
	struct slice events = buf_slice(&w.events);
	ok(slice_starts(events, "HELD") && slice_find_str(events, "/2 HR1=F5.1.1 HALL ") > 0,
		"the new one is told: %s", buf_str(&w.events));
	worker_wait(&w.room, 49);
	is_int(w.room, 49, "one place is taken");
	peer_release(&a, "250 2.0.0 Ok: at last");
	worker_wait_event(&w, "HEND");
	ok(slice_find_str(buf_slice(&w.events), "HR0=O2.0.0 IDLE1 HEND") > 0, "and of its end");
	worker_wait(&w.room, 50);
	is_int(w.room, 50, "which makes room");
	a.dot = NULL;
	is_str(deliver((struct job_spec){.rcpts = "u"}, "[127.0.0.1]"), "DOT R0=O2.0.0 END1",
		"it works on for the new one");
	mem_free(nexthop);
}

static void test_cancel(void)
{
	fresh();
	char *nexthop = hop("[127.0.0.1]");
	struct job_spec spec = {.nexthop = nexthop, .rcpts = "u", .content = content};
	a.keywords = PLAIN;
	a.mail = "hold";
	buf_reset(&w.events);
	worker_job(&w, &spec);
	while (a.commands.len < 9) {
		loop_once(clock_mono() + 10 * CLOCK_MSEC);
	}
	(void)ipc_send(w.qmgr, PROTO_JOB_CANCEL, w.last_id);
	worker_wait_event(&w, "END");
	is_str(buf_str(&w.events), "R0=U4.3.2 END0 ", "withdrawn before the dot");
	fresh();
	a.dot = "hold";
	buf_reset(&w.events);
	worker_job(&w, &spec);
	worker_wait_event(&w, "DOT");
	(void)ipc_send(w.qmgr, PROTO_JOB_CANCEL, w.last_id);
	(void)ipc_flush(w.qmgr);
	loop_once(clock_mono() + 50 * CLOCK_MSEC);
	peer_release(&a, "250 2.0.0 Ok");
	worker_wait_event(&w, "END");
	ok(slice_starts(buf_slice(&w.events), "DOT R0=O2.0.0 "), "not behind it: %s",
		buf_str(&w.events));
	mem_free(nexthop);
}

/* A new generation: the old one ends when its jobs have. */
static void test_drain(void)
{
	fresh();
	char *nexthop = hop("[127.0.0.1]");
	struct job_spec spec = {.nexthop = nexthop, .rcpts = "u", .content = content};
	a.dot = "hold";
	buf_reset(&w.events);
	worker_job(&w, &spec);
	worker_wait_event(&w, "DOT");
	ipc_begin(w.master, PROTO_DRAIN, 0);
	ipc_put_u64(w.master, FIELD_FLAGS, 0);
	(void)ipc_end(w.master);
	worker_wait_event(&w, "LEAVING");
	a.dot = NULL;
	worker_job(&w, &spec);
	worker_wait(&w.ended, w.ended + 1);
	ok(strstr(buf_str(&w.events), "LEAVING DOT R0=O2.0.0 END0") != NULL,
		"drained: a job that was on its way is done: %s", buf_str(&w.events));
	ok(!w.gone, "what is at work is waited for");
	peer_release(&a, "250 2.0.0 Ok");
	worker_wait(&w.ended, w.ended + 1);
	worker_wait_true(&w.gone);
	ok(w.gone, "then it ends");
	mem_free(nexthop);
	worker_stop(&w);
}

/* More recipients than fit into one packet, with PIPELINING and without. */
static void test_many(const char *keywords)
{
	enum { MANY = 1500 };
	struct buf rcpts = BUF_INIT(1 << 20);
	for (int i = 0; i < MANY; i++) {
		buf_add_fmt(&rcpts, "%s%04d.a-name-that-is-long-enough-to-fill-a-packet-soon ",
			i % 3 == 0 ? "r5" : "u", i);
	}
	fresh();
	a.keywords = keywords;
	const char *events = deliver((struct job_spec){.rcpts = buf_str(&rcpts)}, "[127.0.0.1]");
	unsigned good = 0, bad = 0;
	for (const char *at = events; (at = strchr(at, '=')) != NULL; at++) {
		good += at[1] == 'O';
		bad += at[1] == 'F';
	}
	ok(good == MANY / 3 * 2 && bad == MANY / 3, "%d recipients, a third of them unknown", MANY);
	buf_clear(&rcpts);
}

/* The address that relays see follows the rules of any other (RFC 6531, 3.6). */
static void test_relay_sender(void)
{
	static const struct {
		const char *relay_sender, *sender, *keywords, *events, *mail, *what, *more;
	} rows[] = {
		{"r\xc3\xa9@example.test", NULL, "SIZE", "R0=F5.6.7 END1", NULL,
			"one in UTF-8, no SMTPUTF8"},
		{"r\xc3\xa9@example.test", NULL, "SMTPUTF8", "DOT R0=O2.0.0 END1",
			"MAIL FROM:<r\xc3\xa9@example.test> SMTPUTF8", "one in UTF-8"},
		{"r@example.test", "\xc3\xa9@example.test", "SIZE", "DOT R0=O2.0.0 END1",
			"MAIL FROM:<r@example.test> SIZE=20", "in the place of one in UTF-8"},
		{"\"r s\"@example.test", NULL, "SIZE", "DOT R0=O2.0.0 END1",
			"MAIL FROM:<\"r s\"@example.test> SIZE=20", "a quoted one"},
		{"\"r s\"@example.test", NULL, "SIZE", "DOT R0=O2.0.0 END1",
			"MAIL FROM:<r s@example.test> SIZE=20", "as it is",
			"smtp_quote_rfc821_envelope=no"},
		{"", NULL, "SIZE", "DOT R0=O2.0.0 END1", "MAIL FROM:<from@example.test> SIZE=20",
			"none, and fallback_relay", "smtp_fallback_relay=$fallback_relay"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *more = mem_fmt("%s; fallback_relay=[127.0.0.2]:%u; relay_sender=%s; %s",
			settings, port, rows[i].relay_sender,
			rows[i].more != NULL ? rows[i].more : "");

		fresh();
		b.keywords = rows[i].keywords;
		worker_start(&w, false, more);
		is_str(deliver((struct job_spec){.rcpts = "u", .sender = rows[i].sender},
			       "nx.test"),
			rows[i].events, "relay_sender: %s", rows[i].what);
		if (rows[i].mail != NULL)
			is_str(buf_str(&b.mail_line), rows[i].mail, "what the relay hears");
		mem_free(more);
		worker_stop(&w);
	}
}

/* Where nothing else can be reached. */
static void test_fallback(void)
{
	char *more =
		mem_fmt("%s; smtp_fallback_relay=[127.0.0.2]:%u; relay_sender=relay@example.test;"
			"best_mx_transport=local:here",
			settings, port);
	fresh();
	worker_start(&w, false, more);
	is_str(deliver((struct job_spec){.rcpts = "u"}, "one.test"), "DOT R0=O2.0.0 END1",
		"reachable");
	ok(a.messages == 1 && b.messages == 0, "goes there");
	ok(slice_starts(buf_slice(&a.mail_line), "MAIL FROM:<from@example.test>"),
		"with its sender");
	is_str(deliver((struct job_spec){.rcpts = "u"}, "nx.test"), "DOT R0=O2.0.0 END1",
		"no such domain");
	is_int(b.messages, 1, "goes to the fall-back");
	ok(slice_ends(buf_slice(&w.facts), "dot/250/3 "), "which qmgr counts: %s",
		buf_str(&w.facts));
	ok(slice_starts(buf_slice(&b.mail_line), "MAIL FROM:<relay@example.test>"),
		"with relay_sender");
	is_str(deliver((struct job_spec){.rcpts = "u"}, "[127.0.0.3]"), "DOT R0=O2.0.0 END1",
		"refused: too");
	is_str(deliver((struct job_spec){.rcpts = "u v"}, "self.test"),
		"R0=R4.3.0 local:here R1=R4.3.0 local:here END0",
		"the best MX is us: best_mx_transport");
	fresh();
	is_str(deliver((struct job_spec){.rcpts = "r4", .sender = ""}, "one.test"),
		"R0=D4.2.1 END1", "a temporary refusal: too");
	ok(slice_starts(buf_slice(&b.mail_line), "MAIL FROM:<> "), "the null sender stays");
	is_str(deliver((struct job_spec){.rcpts = "r5"}, "one.test"), "R0=F5.1.1 END1",
		"a permanent one");
	is_int(b.connections, 1, "does not");
	mem_free(more);
	worker_stop(&w);
}

/* How many servers, and how long one. */
static void test_limits(void)
{
	static const char busy[] = "421 4.3.2 busy", never[] = "554 5.7.1 go away";
	static const struct {
		const char *settings, *nexthop, *rcpts, *greeting, *events;
		unsigned first, second; /* connections to 127.0.0.1 and 127.0.0.2 */
	} rows[] = {
		{"smtp_mx_address_limit=1", "two.test", "u", busy, "R0=D4.3.2 END2", 1, 0},
		{"smtp_mx_address_limit=2", "two.test", "u", busy, "DOT R0=O2.0.0 END1", 1, 1},
		{"smtp_mx_address_limit=0", "two.test", "u", busy, "DOT R0=O2.0.0 END1", 1, 1},
		{"smtp_mx_session_limit=1", "two.test", "r4", NULL, "R0=D4.2.1 END1", 1, 0},
		{"smtp_mx_session_limit=2", "two.test", "r4", NULL, "R0=D4.2.1 END1", 1, 1},
		{"smtp_mx_session_limit=1", "two.test", "u", busy, "DOT R0=O2.0.0 END1", 1, 1},
		{"smtp_mx_session_limit=1; smtp_fallback_relay=[127.0.0.2]:%u", "one.test", "r4",
			NULL, "R0=D4.2.1 END1", 1, 1},
		{"smtp_skip_5xx_greeting=no", "two.test", "u v", never, "R0=F5.7.1 R1=F5.7.1 END0",
			1, 0},
		{"smtp_skip_5xx_greeting=no", "two.test", "u", busy, "DOT R0=O2.0.0 END1", 1, 1},
		{"smtp_defer_if_no_mx_address_found=no", "nohost.test", "u", NULL, "R0=F5.4.4 END0",
			0, 0},
		{"smtp_defer_if_no_mx_address_found=yes", "nohost.test", "u", NULL,
			"R0=D4.4.4 END2", 0, 0},
		{"lmtp_mx_address_limit=1", "inet:two.test", "u", busy, "R0=D4.3.2 END2", 1, 0},
		{"lmtp_mx_session_limit=1", "inet:two.test", "r4", NULL, "R0=D4.2.1 END1", 1, 0},
		{"lmtp_skip_5xx_greeting=no", "inet:two.test", "u", never, "R0=F5.7.1 END0", 1, 0},
		{"lmtp_skip_5xx_greeting=yes", "inet:two.test", "u", never, "DOT R0=O2.1.5 END1", 1,
			1},
	};
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct slice rest = slice_str(rows[i].settings), more;
		bool lmtp = slice_starts(rest, "lmtp"),
		     has_port = slice_part(&rest, '%', &more) && rest.p != NULL;
		char *all = mem_fmt("%s; %.*s", settings, SLICE_FMT(more));
		char *whole = has_port ? mem_fmt("%s%u", all, port) : mem_str(all);
		fresh();
		worker_start(&w, lmtp, whole);
		a.lmtp = b.lmtp = lmtp;
		a.greeting = rows[i].greeting;
		is_str(deliver((struct job_spec){.rcpts = rows[i].rcpts}, rows[i].nexthop),
			rows[i].events, "%s, %s", rows[i].settings, rows[i].nexthop);
		ok(a.connections == rows[i].first && b.connections == rows[i].second,
			"%s: %u and %u connections", rows[i].settings, a.connections,
			b.connections);
		worker_stop(&w);
		mem_free(all);
		mem_free(whole);
	}
}

/* How often, and how long, a session is used. */
static void test_reuse_limits(void)
{
	char *more = mem_fmt("%s; smtp_connection_reuse_count_limit=2", settings);
	fresh();
	worker_start(&w, false, more);
	for (int i = 0; i < 6; i++) {
		(void)deliver((struct job_spec){.rcpts = "u"}, "one.test");
	}
	ok(a.messages == 6 && a.connections == 2, "used again twice: %u connections for %u",
		a.connections, a.messages);
	worker_stop(&w);
	mem_free(more);

	more = mem_fmt("%s; smtp_connection_reuse_time_limit=1s", settings);
	worker_start(&w, false, more);
	/* Young it is when all this has taken less than its second. */
	const char *young = NULL;
	int64_t begun = 0;
	for (int i = 0; i < 20 && (i == 0 || clock_mono() - begun >= CLOCK_SEC); i++) {
		fresh();
		begun = clock_mono();
		young = deliver((struct job_spec){.rcpts = "u"}, "one.test");
	}
	is_str(young, "DOT R0=O2.0.0 END1", "a session that is young is kept");
	fresh();
	a.dot = "hold";
	send_job((struct job_spec){.rcpts = "u"}, "one.test");
	worker_wait_event(&w, "DOT");
	int64_t old = clock_mono() + CLOCK_SEC;
	while (clock_mono() < old) {
		loop_once(old);
	}
	peer_release(&a, "250 2.0.0 Ok");
	is_str(outcome(), "DOT R0=O2.0.0 END0", "an old one is not");
	worker_stop(&w);
	mem_free(more);
}

/* Master ends: what has no dot is given back, the rest has its second. */
static void test_stop(void)
{
	fresh();
	char *nexthop = hop("[127.0.0.1]");
	struct job_spec spec = {.nexthop = nexthop, .rcpts = "u", .content = content};
	a.dot = "hold";
	buf_reset(&w.events);
	worker_job(&w, &spec);
	worker_wait_event(&w, "DOT");
	b.greeting = "hold";
	char *other = hop("[127.0.0.2]");
	spec.nexthop = other;
	worker_job(&w, &spec);
	worker_wait(&b.connections, 1);
	ipc_free(&w.master);
	worker_wait_event(&w, "END0");
	is_str(buf_str(&w.events), "DOT LEAVING R0=U4.3.2 END0 ", "what has no dot is given back");
	buf_reset(&w.events);
	worker_job(&w, &spec);
	worker_wait_event(&w, "END0");
	is_str(buf_str(&w.events), "R0=U4.3.2 END0 ", "what still comes, too");
	peer_release(&a, "250 2.0.0 Ok");
	worker_wait_event(&w, "R0=O2.0.0");
	ok(strstr(buf_str(&w.events), "R0=O2.0.0 END0") != NULL, "the other is waited for");
	mem_free(nexthop);
	mem_free(other);
	worker_stop(&w);
}

static void test_lmtp(void)
{
	fresh();
	worker_start(&w, true, settings);
	a.lmtp = true;
	is_str(deliver((struct job_spec){.rcpts = "u d4 r5 d5"}, "inet:127.0.0.1"),
		"R2=F5.1.1 DOT R0=O2.1.5 R1=D4.2.2 R3=F5.2.2 END1", "LMTP: a reply for each");
	ok(slice_starts(buf_slice(&a.commands), "LHLO MAIL"), "after LHLO");
	ok(logged("lmtp["), "under its own name");
	is_str(deliver((struct job_spec){.rcpts = "d4 d5"}, "inet:127.0.0.1"),
		"DOT R0=D4.2.2 R1=F5.2.2 END1", "both refused");
	buf_reset(&w.events);
	struct job_spec spec = {.nexthop = "unix:/nowhere", .rcpts = "u", .content = content};
	worker_job(&w, &spec);
	worker_wait_event(&w, "END");
	is_str(buf_str(&w.events), "R0=D4.4.1 END2 ", "a socket that is not there");
	ok(logged("connect to client.test[/nowhere]: No such file or directory"), "in words");
	worker_stop(&w);

	static const struct {
		const char *final, *keywords, *facts;
	} rows[] = {{"no", "SIZE", "dot/250/0 "}, {"yes", "SIZE", "dot/250/4 "},
		{"yes", "SIZE,DSN", "dot/250/2 "}};
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		char *more = mem_fmt("%s; lmtp_assume_final=%s", settings, rows[i].final);
		fresh();
		worker_start(&w, true, more);
		a.lmtp = true;
		a.keywords = rows[i].keywords;
		(void)deliver((struct job_spec){.rcpts = "u"}, "inet:127.0.0.1");
		is_str(buf_str(&w.facts), rows[i].facts, "lmtp_assume_final=%s, %s", rows[i].final,
			rows[i].keywords);
		worker_stop(&w);
		mem_free(more);
	}
}

/* What a message itself asks for (RFC 8689), of servers without TLS. */
static void test_wishes(void)
{
	static const struct {
		const char *level;
		unsigned flags;
		const char *nexthop, *events, *what;
		unsigned tried;
	} rows[] = {
		{"secure", 0, "one.test", "R0=D4.7.4 END2", "level secure, no TLS", 1},
		{"secure", QUEUE_FLAG_TLS_OPTIONAL, "one.test", "DOT R0=O2.0.0 END1",
			"TLS-Required: no", 1},
		{"dane-only", QUEUE_FLAG_TLS_OPTIONAL, "[127.0.0.1]", "DOT R0=O2.0.0 END1",
			"TLS-Required: no, whatever the level", 1},
		{"none", QUEUE_FLAG_REQUIRETLS, "[127.0.0.1]", "R0=F5.7.30 END0",
			"REQUIRETLS, at level none too", 1},
		{"dane; smtp_dns_support_level=dnssec", QUEUE_FLAG_REQUIRETLS, "one.test",
			"R0=F5.7.30 END0", "REQUIRETLS, at level dane without records", 0},
		{"may", QUEUE_FLAG_REQUIRETLS, "two.test", "R0=F5.7.30 END0",
			"REQUIRETLS: every host is tried", 2},
		{"encrypt", QUEUE_FLAG_REQUIRETLS | QUEUE_FLAG_TLS_OPTIONAL, "[127.0.0.1]",
			"R0=F5.7.30 END0", "REQUIRETLS is stronger", 1},
		{"may", 0, "[127.0.0.1]", "DOT R0=O2.0.0 END1", "level may", 1},
		{"may; requiretls_enable=no", QUEUE_FLAG_REQUIRETLS, "[127.0.0.1]",
			"DOT R0=O2.0.0 END1", "REQUIRETLS to a server of one's own", 1},
	};
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		char *more = mem_fmt("%s;smtp_tls_security_level=%s", settings, rows[i].level);
		fresh();
		worker_start(&w, false, more);
		is_str(deliver((struct job_spec){.rcpts = "u", .flags = rows[i].flags},
			       rows[i].nexthop),
			rows[i].events, "%s", rows[i].what);
		is_int(a.connections + b.connections, rows[i].tried, "as many hosts");
		worker_stop(&w);
		mem_free(more);
	}
}

/* Both at one port, whoever else on this machine looks for one. */
static void start_peers(void)
{
	for (int i = 0; i < 100; i++) {
		port = 0;
		if (!peer_start(&a, "127.0.0.1", &port)) {
			continue;
		}
		if (peer_start(&b, "127.0.0.2", &port)) {
			return;
		}
		peer_stop(&a);
	}
	bail_out("no port for two servers");
}

int main(void)
{
	log_set_level(LOG_LEVEL_NONE);
	loop_init();
	start_peers();
	worker_start(&w, false, settings);
	test_cases();
	test_reuse();
	test_unread();
	test_facts();
	test_site();
	test_servers();
	test_names();
	test_parameters();
	test_content();
	test_body();
	test_qmgr_dies();
	test_cancel();
	test_many(PIPE);
	test_many(PLAIN);
	test_drain();
	test_fallback();
	test_relay_sender();
	test_facts_of_tls();
	test_silence();
	test_idle();
	test_limits();
	test_reuse_limits();
	worker_start(&w, false, settings);
	test_stop();
	test_lmtp();
	test_wishes();
	peer_stop(&a);
	peer_stop(&b);
	return done_testing();
}

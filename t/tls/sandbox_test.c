/* SPDX-License-Identifier: ISC */
/*
 * The system calls that lib/tls needs once its contexts are made: a filter kills this process at
 * any other. Handshakes, new chains, names, tickets and verification go on behind it.
 */
#include "config.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "t/tap.h"
#include "t/tls/kit.h"
#include "util/err.h"
#include "util/mem.h"

#ifndef GP_SANITIZE
#define ALLOW(name)                                             \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 1), \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static void lock(void)
{
	static struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		/* Of lib/tls and OpenSSL; sysinfo is qsort's, of stores with many authorities. */
		ALLOW(recvfrom),
		ALLOW(sendto),
		ALLOW(getpid),
		ALLOW(getrandom),
		ALLOW(rt_sigprocmask),
		ALLOW(futex),
		ALLOW(brk),
		ALLOW(mmap),
		ALLOW(munmap),
		ALLOW(mremap),
		ALLOW(madvise),
		ALLOW(sysinfo),
		ALLOW(clock_gettime),
		/* Of the event loop, of ipc and of this test. */
		ALLOW(epoll_ctl),
		ALLOW(epoll_wait),
		ALLOW(epoll_pwait),
		ALLOW(epoll_pwait2),
		ALLOW(read),
		ALLOW(write),
		ALLOW(recvmsg),
		ALLOW(sendmsg),
		ALLOW(close),
		ALLOW(fcntl),
		ALLOW(socketpair),
		ALLOW(exit_group),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = {sizeof(filter) / sizeof(*filter), filter};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		bail_out("no filter");
}

struct certs {
	struct cert ca, middle, rsa, ec, ed, other;
};

/* The chain of the service changes each time; every other one asks for a name. */
static void one_handshake(int i, struct signer *v, const struct certs *all,
	struct tls_context *server, struct tls_context *client)
{
	static const char *const mx[] = {"mx.test"};
	struct tls_ask ask = plain_client;
	struct pair p;

	v->chains = 0;
	v->name = NULL;
	if (i % 3 == 0)
		signer_add(v, &all->rsa, &all->middle);
	else
		signer_add(v, i % 3 == 1 ? &all->ec : &all->ed, NULL);
	if (i % 2) {
		v->name = "other.test";
		v->name_from = 1;
		signer_add(v, &all->other, NULL);
	}
	signer_send(v);
	signer_ticket_key(v, (char)i, clock_real() + 60 * CLOCK_SEC);
	ask.level = TLS_VERIFY;
	ask.match = mx;
	ask.match_n = 1;
	ask.servername = i % 2 ? "other.test" : "mx.test";
	ask.protocols = i % 4 < 2 ? "TLSv1.3" : "TLSv1.2";
	ask.session_key = "x";
	pair_tls(&p, server, &plain_server, client, &ask);
	pair_run(&p);
	is_int(p.server.done, 0, "handshake %d %s", i, buf_str(&p.server.why));
	stream_write_slice(p.server.s, SLICE_LIT("220 x\r\n"));
	ok(end_expect(&p.client, "220 x\r\n"), "bytes");
	if (p.client.done == 0)
		is_str(tls_trust_word(tls_facts(p.client.t)), i % 2 ? "Trusted" : "Verified",
			"what it is");
	pair_free(&p);
}
#endif

int main(void)
{
#ifdef GP_SANITIZE
	skip_all("a sanitizer needs system calls of its own");
#else
	struct certs all;
	struct tls_context *server, *client;
	struct signer *v;
	char *file;
	int i;

	loop_init();
	clock_load_zone();
	all.ca = cert_new("P-256", "Test CA", NULL, NULL, CERT_CA);
	all.middle = cert_new("RSA", "Middle CA", NULL, &all.ca, CERT_CA);
	all.rsa = cert_new("RSA", "mx.test", "DNS:mx.test", &all.middle, 0);
	all.ec = cert_new("P-256", "mx.test", "DNS:mx.test", &all.ca, 0);
	all.ed = cert_new("ED25519", "mx.test", "DNS:mx.test", &all.ca, 0);
	all.other = cert_new("P-256", "other.test", "DNS:other.test", &all.ca, 0);
	file = cert_file(&all.ca);
	{
		struct tls_settings s = {.side = TLS_SERVER,
			.ca_file = file,
			.append_default_ca = true,
			.ask_cert = true,
			.tickets = true,
			.listener = "test/inet"};

		server = context_of(&s);
	}
	client = context(TLS_CLIENT, file);
	unlink(file);
	v = signer_new();
	pass("before the filter");
	fflush(stdout);
	lock();
	for (i = 0; i < 12; i++)
		one_handshake(i, v, &all, server, client);
	signer_kill(&v);
	tls_context_free(&server);
	tls_context_free(&client);
	mem_free(file);
	cert_free(&all.ca);
	cert_free(&all.middle);
	cert_free(&all.rsa);
	cert_free(&all.ec);
	cert_free(&all.ed);
	cert_free(&all.other);
	return done_testing();
#endif
}

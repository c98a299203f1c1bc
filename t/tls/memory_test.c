/* SPDX-License-Identifier: ISC */
/* What an idle session holds, and that nothing is left behind it. */
#include "config.h"

#include <malloc.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "t/tap.h"
#include "t/tls/kit.h"
#include "util/fd.h"

enum { SESSIONS = 100, MOST = 24 * 1024 };

/* The clients are in another process, so that their memory is not counted. */
static void run_clients(const int *fd, int version)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	char bytes[16];
	int i;

	SSL_CTX_set_max_proto_version(ctx, version);
	for (i = 0; i < SESSIONS; i++) {
		SSL *ssl = SSL_new(ctx);

		SSL_set_fd(ssl, fd[i]);
		if (SSL_connect(ssl) != 1 || SSL_read(ssl, bytes, sizeof(bytes)) <= 0)
			_exit(1);
	}
	for (;;)
		pause();
}

static bool all_greeted(void *arg)
{
	struct end *e = arg;
	int i;

	for (i = 0; i < SESSIONS; i++) {
		if (e[i].done == PENDING)
			return false;
		if (e[i].done == 0 && e[i].got.limit != 0) {
			e[i].got.limit = 0;
			stream_write_slice(e[i].s, SLICE_LIT("220 hello\r\n"));
		}
	}
	return true;
}

static size_t used(void)
{
	return mallinfo2().uordblks;
}

static void measure(struct tls_context *server, int version, const char *name, bool last)
{
	static struct end ends[SESSIONS];
	struct pair p[SESSIONS];
	int theirs[SESSIONS], i, good = 0;
	size_t before, bytes;
	pid_t child;

	for (i = 0; i < SESSIONS; i++) {
		pair_new(&p[i]);
		theirs[i] = dup(stream_fd(p[i].client.s));
		stream_free(&p[i].client.s);
		fd_set_nonblock(theirs[i], false);
	}
	child = fork();
	if (child == 0)
		run_clients(theirs, version);
	before = used();
	for (i = 0; i < SESSIONS; i++) {
		ends[i] = p[i].server;
		end_owns(&ends[i]);
		close(theirs[i]);
		end_start(&ends[i], server, &plain_server);
	}
	until(all_greeted, ends);
	run_for(100 * CLOCK_MSEC);
	bytes = (used() - before) / SESSIONS;
	for (i = 0; i < SESSIONS; i++)
		good += ends[i].done == 0;
	is_int(good, SESSIONS, "%s: sessions", name);
	if (last) {
		diag("%s: %zu bytes a session", name, bytes);
#ifndef GP_SANITIZE
		ok(bytes > 1000 && bytes < MOST, "%s: at most %d bytes a session", name, MOST);
#endif
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	for (i = 0; i < SESSIONS; i++) {
		buf_clear(&p[i].client.got);
		stream_free(&ends[i].s);
		buf_clear(&ends[i].why);
		buf_clear(&ends[i].got);
	}
}

int main(void)
{
	struct cert leaf;
	struct signer *v;
	struct tls_context *server;
	size_t before;

	loop_init();
	leaf = cert_new("P-256", "mx.test", "DNS:mx.test", NULL, 0);
	v = signer_new();
	signer_add(v, &leaf, NULL);
	signer_send(v);
	signer_ticket_key(v, 'a', clock_real() + 3600 * CLOCK_SEC);
	server = context(TLS_SERVER, NULL);
	measure(server, TLS1_2_VERSION, "TLS 1.2", false);
	measure(server, TLS1_3_VERSION, "TLS 1.3", false);
	before = used();
	measure(server, TLS1_2_VERSION, "TLS 1.2", true);
	measure(server, TLS1_3_VERSION, "TLS 1.3", true);
#ifndef GP_SANITIZE
	/* The pool of fibres, 32 KB each, may have grown. */
	ok(used() < before + 1000 * SESSIONS, "nothing is left: %zd bytes",
		(ssize_t)(used() - before));
#else
	(void)before;
#endif
	tls_context_free(&server);
	signer_kill(&v);
	cert_free(&leaf);
	return done_testing();
}

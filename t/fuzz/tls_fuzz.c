/* SPDX-License-Identifier: ISC */
/*
 * Bytes of a peer before it has shown that it knows any key. The first one says whether a server
 * (even) or a client reads the rest; then the peer closes. No handshake can succeed.
 */
#include "t/fuzz/fuzz.h"

#include <sys/socket.h>
#include <unistd.h>

#include "t/tls/kit.h"
#include "util/err.h"

static struct tls_context *contexts[2];

static void start(void)
{
	static struct cert cert;
	struct signer *v;

	loop_init();
	cert = cert_new("P-256", "mx.test", "DNS:mx.test", NULL, 0);
	v = signer_new();
	signer_add(v, &cert, NULL);
	signer_send(v);
	contexts[0] = context(TLS_SERVER, NULL);
	contexts[1] = context(TLS_CLIENT, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tls_ask ask = plain_client;
	struct pair p;
	int i, fd;

	if (contexts[0] == NULL)
		start();
	if (size == 0 || size > 60000)
		return 0;
	pair_new(&p);
	fd = stream_fd(p.client.s);
	ask.level = TLS_ENCRYPT;
	ask.servername = "mx.test";
	end_start(&p.server, contexts[data[0] & 1], data[0] & 1 ? &ask : &plain_server);
	if (write(fd, data + 1, size - 1) < 0)
		return 0;
	shutdown(fd, SHUT_WR);
	for (i = 0; i < 20 && p.server.done == PENDING; i++)
		loop_once(clock_mono());
	FUZZ_ASSERT(p.server.done < 0);
	pair_free(&p);
	return 0;
}

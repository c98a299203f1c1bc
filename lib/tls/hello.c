/* SPDX-License-Identifier: ISC */

#include "tls/tls_private.h"
#include "util/err.h"
#include "util/mem.h"

enum { HOST_MAX = 255, HOST_NAME = 0 };

/* The name of RFC 6066, 3; ERR_NOT_FOUND: none, or one that no host can have. */
static int wanted_name(SSL *ssl, char out[static HOST_MAX + 1])
{
	const unsigned char *p;
	size_t len, n, i;

	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &len) != 1 || len < 6 ||
		p[2] != HOST_NAME)
		return ERR_NOT_FOUND;
	n = (size_t)p[3] << 8 | p[4];
	if (n == 0 || n > HOST_MAX || n > len - 5)
		return ERR_NOT_FOUND;
	for (i = 0; i < n; i++) {
		char c = (char)p[5 + i];

		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '.' &&
			c != '_') {
			out[0] = '\0';
			return ERR_NOT_FOUND;
		}
		out[i] = c;
	}
	out[n] = '\0';
	return 0;
}

/* A ticket is good for the listener and the name that it was given for, and for nothing else. */
static bool bind_tickets(SSL *ssl, const char *listener, const char *name)
{
	unsigned char md[EVP_MAX_MD_SIZE];
	struct buf both = BUF_INIT(2000);
	unsigned n = 0;
	bool done;

	buf_add(&both, listener, strlen(listener) + 1);
	buf_add_str(&both, name);
	done = !buf_failed(&both) &&
	       EVP_Digest(buf_str(&both), both.len, md, &n, EVP_sha256(), NULL) == 1 &&
	       SSL_set_session_id_context(ssl, md, n) == 1;
	buf_clear(&both);
	return done;
}

void tls_hello_forget(struct tls *t)
{
	if (t->name != NULL) {
		tls_name_withdraw(t->name);
		mem_free(t->name->name);
		mem_free(t->name);
	}
	t->name = NULL;
}

static int fail(struct tls *t, int *alert, const char *why)
{
	*alert = SSL_AD_INTERNAL_ERROR;
	t->err = ERR_TEMP;
	if (t->why == NULL)
		t->why = mem_fmt("SSL_accept error: %s", why);
	return SSL_CLIENT_HELLO_ERROR;
}

int tls_hello(SSL *ssl, int *alert, void *arg)
{
	struct tls *t = SSL_get_app_data(ssl);
	struct tls_chains *chains;
	char sent[HOST_MAX + 1] = "";
	const char *name = t->chain;

	wanted_name(ssl, sent);
	if (name == NULL)
		name = sent;
	if (!bind_tickets(ssl, t->c->listener, sent))
		return fail(t, alert, "no session context");
	if (name[0] == '\0')
		return SSL_CLIENT_HELLO_SUCCESS;
	if (tls_name_find(slice_str(name), &chains) != 0) {
		if (t->name_failed)
			return fail(t, alert, "vault did not say which chain belongs to the name");
		tls_hello_forget(t);
		t->name = mem_alloc(sizeof(*t->name));
		t->name->name = mem_str(name);
		return SSL_CLIENT_HELLO_RETRY;
	}
	tls_hello_forget(t);
	if (chains == NULL)
		return SSL_CLIENT_HELLO_SUCCESS;
	SSL_certs_clear(ssl);
	if (tls_chains_use(chains, NULL, ssl) == 0)
		return fail(t, alert, "the chain of the name is of no use");
	mem_free(t->sni);
	t->sni = mem_str(name);
	return SSL_CLIENT_HELLO_SUCCESS;
}

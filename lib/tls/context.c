/* SPDX-License-Identifier: ISC */
#include <dirent.h>
#include <errno.h>

#include "tls/tls_private.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

static const long ticket_lifetime = 3600;

/* All that OpenSSL loads, reads or fetches for all contexts. No file of configuration is read. */
int tls_library_start(void)
{
	unsigned char seed;
	static bool done;

	if (done)
		return 0;
	if (OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_LOAD_SSL_STRINGS |
				     OPENSSL_INIT_LOAD_CRYPTO_STRINGS,
		    NULL) != 1 ||
		RAND_bytes(&seed, 1) != 1 || ASYNC_init_thread(TLS_JOBS, 0) != 1 ||
		tls_provider_load() != 0 || tls_tickets_init() != 0)
		return ERR_STATE;
	done = true;
	return 0;
}

/* ------------------------------------------------------------- authorities */

static int load_file(struct tls_context *c, const char *path, struct buf *why)
{
	X509_LOOKUP *lookup = X509_STORE_add_lookup(c->store, X509_LOOKUP_file());
	int n = 0;

	errno = 0;
	if (lookup != NULL)
		n = X509_load_cert_crl_file(lookup, path, X509_FILETYPE_PEM);
	if (n > 0) {
		ERR_clear_error();
		return 0;
	}
	buf_add_fmt(why, "cannot load the certificates of authorities in %s: ", log_qs(path));
	if (errno != 0)
		buf_add_str(why, strerror(errno));
	else
		tls_add_reason(why);
	ERR_clear_error();
	return ERR_SYS;
}

/* Names as c_rehash makes them: others are not looked at by OpenSSL either. */
static bool is_hash_name(const char *name)
{
	size_t n = strspn(name, "0123456789abcdef");

	return n == 8 && name[8] == '.' && name[9] != '\0' &&
	       name[9 + strspn(name + 9, "0123456789")] == '\0';
}

/* OpenSSL would open these files when it needs them: there is no file system then. */
static int load_path(struct tls_context *c, const char *path, struct buf *why)
{
	DIR *dir = opendir(path);
	const struct dirent *e;
	int err = 0;

	if (dir == NULL) {
		buf_add_fmt(why, "cannot open the directory %s: %s", log_qs(path), strerror(errno));
		return ERR_SYS;
	}
	while (err == 0 && (e = readdir(dir)) != NULL) {
		char *file;

		if (!is_hash_name(e->d_name))
			continue;
		file = mem_fmt("%s/%s", path, e->d_name);
		err = load_file(c, file, why);
		mem_free(file);
	}
	closedir(dir);
	return err;
}

static int load_defaults(struct tls_context *c)
{
	struct buf why = BUF_INIT(TLS_WHY_MAX);

	/* A machine without the package of authorities has neither. */
	if (load_file(c, X509_get_default_cert_file(), &why) != 0)
		buf_reset(&why);
	load_path(c, X509_get_default_cert_dir(), &why);
	buf_clear(&why);
	return 0;
}

static int load_authorities(struct tls_context *c, const struct tls_settings *s, struct buf *why)
{
	int err = 0;

	c->store = X509_STORE_new();
	if (s->ca_file != NULL && s->ca_file[0] != '\0') {
		err = load_file(c, s->ca_file, why);
		if (err == 0 && s->ask_cert)
			c->authorities = SSL_load_client_CA_file(s->ca_file);
	}
	if (err == 0 && s->ca_path != NULL && s->ca_path[0] != '\0')
		err = load_path(c, s->ca_path, why);
	if (err == 0 && s->append_default_ca)
		err = load_defaults(c);
	ERR_clear_error();
	return err;
}

/* ----------------------------------------------------------------- SSL_CTX */

static void log_step(const SSL *ssl, int where, int result)
{
	const char *side = where & SSL_ST_CONNECT ? "SSL_connect" : "SSL_accept";

	if (where & SSL_CB_LOOP)
		log_info("%s:%s", side, SSL_state_string_long(ssl));
	else if (where & SSL_CB_ALERT)
		log_info("SSL3 alert %s:%s:%s", where & SSL_CB_READ ? "read" : "write",
			SSL_alert_type_string_long(result), SSL_alert_desc_string_long(result));
}

static int new_session(SSL *ssl, SSL_SESSION *session)
{
	tls_session_came(SSL_get_app_data(ssl), session);
	return 1;
}

static void set_server(struct tls_context *c, SSL_CTX *ctx)
{
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_timeout(ctx, ticket_lifetime);
	SSL_CTX_set_num_tickets(ctx, c->tickets ? 1 : 0);
	if (!c->tickets)
		SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
	if (c->preempt)
		SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, tls_ticket_key);
	SSL_CTX_set_client_hello_cb(ctx, tls_hello, NULL);
	SSL_CTX_set_dh_auto(ctx, 1);
	if (c->ask_cert) {
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE, NULL);
		if (c->authorities != NULL)
			SSL_CTX_set_client_CA_list(ctx, SSL_dup_CA_list(c->authorities));
	}
}

static void set_client(struct tls_context *c, SSL_CTX *ctx)
{
	/* RFC 5746, 4.1: no peer is renegotiated with, so old ones do no harm. */
	SSL_CTX_set_options(ctx, SSL_OP_LEGACY_SERVER_CONNECT);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_dane_enable(ctx);
	if (c->cache != NULL) {
		SSL_CTX_set_session_cache_mode(
			ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
		SSL_CTX_sess_set_new_cb(ctx, new_session);
	} else
		SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
}

static SSL_CTX *make_ssl(struct tls_context *c)
{
	SSL_CTX *ctx =
		SSL_CTX_new(c->side == TLS_SERVER ? TLS_server_method() : TLS_client_method());

	if (ctx == NULL)
		return NULL;
	/* What is weak is refused by protocol, grade and exclusion, as in Postfix. */
	SSL_CTX_set_security_level(ctx, 0);
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_ALL |
					 SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_max_cert_list(ctx, TLS_CERT_LIST);
	SSL_CTX_set_verify_depth(ctx, c->depth);
	SSL_CTX_set1_cert_store(ctx, c->store);
	SSL_CTX_set_cert_verify_callback(ctx, tls_verify, NULL);
	if (c->groups[0] != '\0')
		SSL_CTX_set1_groups_list(ctx, c->groups);
	if (c->ciphers != NULL)
		SSL_CTX_set_cipher_list(ctx, c->ciphers);
	if (c->log_level >= 2)
		SSL_CTX_set_info_callback(ctx, log_step);
	if (c->side == TLS_SERVER)
		set_server(c, ctx);
	else
		set_client(c, ctx);
	return ctx;
}

/* The service's chains are in c->ssl; sessions that run keep the one they began with. */
int tls_context_chains(struct tls_context *c)
{
	unsigned version;
	struct tls_chains *chains = tls_chains_service(&version);
	SSL_CTX *ctx;

	if (version == c->version)
		return 0;
	ctx = make_ssl(c);
	if (ctx == NULL)
		return ERR_TEMP;
	if (chains != NULL && tls_chains_use(chains, ctx, NULL) < chains->n) {
		struct buf why = BUF_INIT(TLS_WHY_MAX);

		tls_add_reason(&why);
		log_warning("a certificate chain is not used: %s", buf_str(&why));
		buf_clear(&why);
	}
	ERR_clear_error();
	SSL_CTX_free(c->ssl);
	c->ssl = ctx;
	c->version = version;
	return 0;
}

/* ----------------------------------------------------------------- context */

static void copy_settings(struct tls_context *c, const struct tls_settings *s)
{
	int i;

	c->side = s->side;
	c->depth = s->depth > 0 ? s->depth : 9;
	c->log_level = s->log_level;
	c->ask_cert = s->ask_cert;
	c->preempt = s->preempt;
	c->tickets = s->tickets;
	c->listener = mem_str(s->listener != NULL ? s->listener : "");
	c->handshakes = s->handshakes > 0 ? s->handshakes : TLS_HANDSHAKES;
	for (i = 0; i < TLS_GRADES; i++)
		c->lists[i] = mem_str(s->lists[i]);
	if (s->side == TLS_CLIENT && s->sessions > 0)
		c->cache = tls_cache_new(s->sessions, s->session_time);
}

static int set_digest(struct tls_context *c, const char *name, struct buf *why)
{
	c->digest = EVP_MD_fetch(NULL, name != NULL && name[0] != '\0' ? name : "sha256", NULL);
	ERR_clear_error();
	if (c->digest != NULL)
		return 0;
	buf_add_fmt(why, "unknown digest \"%s\"; expected a name like sha256", log_qs(name));
	return ERR_SYNTAX;
}

int tls_context_new(const struct tls_settings *s, struct tls_context **out, struct buf *why)
{
	struct tls_context *c = mem_alloc(sizeof(*c));
	struct buf groups = BUF_INIT(1000);
	int err;

	*out = NULL;
	if (tls_library_start() != 0) {
		buf_add_str(why, "OpenSSL does not start: ");
		tls_add_reason(why);
		mem_free(c);
		errno = ENOSYS;
		return ERR_SYS;
	}
	copy_settings(c, s);
	err = set_digest(c, s->digest, why);
	if (err == 0)
		err = tls_groups_list(s->groups != NULL ? s->groups : "", &groups, why);
	c->groups = mem_str(buf_str(&groups));
	buf_clear(&groups);
	if (err == 0)
		err = load_authorities(c, s, why);
	if (err == 0) {
		c->ssl = make_ssl(c);
		err = c->ssl != NULL ? 0 : ERR_SYS;
	}
	ERR_clear_error();
	if (err != 0)
		tls_context_free(&c);
	*out = c;
	return err;
}

void tls_context_free(struct tls_context **cp)
{
	struct tls_context *c = *cp;
	int i;

	*cp = NULL;
	if (c == NULL)
		return;
	SSL_CTX_free(c->ssl);
	X509_STORE_free(c->store);
	sk_X509_NAME_pop_free(c->authorities, X509_NAME_free);
	EVP_MD_free(c->digest);
	for (i = 0; i < TLS_GRADES; i++)
		mem_free(c->lists[i]);
	tls_cache_free(&c->cache);
	mem_free(c->listener);
	mem_free(c->groups);
	mem_free(c->ciphers);
	mem_free(c);
}

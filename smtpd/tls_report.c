/* SPDX-License-Identifier: ISC */
#include "smtpd/tls_report.h"

#include "util/err.h"
#include "util/log.h"

enum { LINE_LIMIT = 4096 };

/* ---- the log ---- */

/* In Postfix's words: an error of TLS itself comes with its reason in a line of its own. */
void tls_report_failure(const struct session *s, const char *why, int err)
{
	static const char prefix[] = "SSL_accept error: ";

	if (strncmp(why, prefix, strlen(prefix)) == 0)
		why += strlen(prefix);
	switch (err) {
	case ERR_CLOSED:
	case ERR_SYS: log_info("SSL_accept error from %s: %s", s->namaddr, why); break;
	case ERR_TIMEOUT:
		log_info("SSL_accept error from %s: Connection timed out", s->namaddr);
		break;
	default:
		log_info("SSL_accept error from %s: -1", s->namaddr);
		log_warning("TLS library problem: %s", why);
		break;
	}
}

void tls_report_distrust(const struct session *s, const struct tls_facts *f)
{
	struct slice why = slice_str(f->trust_error);
	/* Postfix says whose certificate it is in some of these lines. */
	bool names_client = slice_ends(why, "not yet valid") || slice_ends(why, "has expired") ||
			    slice_starts(why, "num=");

	log_info("%scertificate verification failed for %s: %s", names_client ? "client " : "",
		s->namaddr, f->trust_error);
}

void tls_report_success(const struct session *s, const struct tls_facts *f, int log_level)
{
	struct buf line = BUF_INIT(LINE_LIMIT);

	if (f->has_cert && log_level > 1)
		log_info("%s: subject_CN=%s, issuer_CN=%s, fingerprint=%s, pkey_fingerprint=%s",
			s->namaddr, f->subject_cn, f->issuer_cn, f->fingerprint,
			f->key_fingerprint);
	if (log_level > 0) {
		tls_add_summary(&line, f);
		log_info("%s TLS connection established from %s%s%s: %s", tls_trust_word(f),
			s->namaddr, *f->sni != '\0' ? " to " : "", f->sni, buf_str(&line));
	}
	buf_clear(&line);
}

/* ---- Received: ---- */

/* The text of a comment: brackets in pairs, nothing that would end it (RFC 5322, 3.2.2). */
static void add_comment(struct buf *out, const char *text)
{
	unsigned open = 0;

	for (; *text != '\0'; text++) {
		char c = *text;

		if (c < 32 || c == 127 || c == '\\' || (c == ')' && open == 0))
			c = '?';
		open += c == '(' ? 1 : 0;
		open -= c == ')' ? 1 : 0;
		(void)buf_add_char(out, c);
	}
	while (open-- > 0)
		(void)buf_add_char(out, ')');
}

static void add_detail(struct buf *out, const char *name, const char *curve, int bits)
{
	(void)buf_add_fmt(out, " %s", name);
	if (*curve != '\0')
		(void)buf_add_fmt(out, " (%s)", curve);
	else if (bits > 0)
		(void)buf_add_fmt(out, " (%d bits)", bits);
}

static void add_server_side(struct buf *out, const struct tls_facts *t)
{
	if (*t->kex == '\0' && *t->server_sig == '\0')
		return;
	(void)buf_add_char(out, '\0');
	if (*t->kex != '\0') {
		(void)buf_add_str(out, " key-exchange");
		add_detail(out, t->kex, t->kex_group, t->kex_bits);
	}
	if (*t->server_sig != '\0') {
		(void)buf_add_str(out, " server-signature");
		add_detail(out, t->server_sig, t->server_sig_curve, t->server_sig_bits);
		if (*t->server_digest != '\0')
			(void)buf_add_fmt(out, " server-digest %s", t->server_digest);
	}
}

static void add_client_side(struct buf *out, const struct tls_facts *t)
{
	if (*t->client_sig == '\0')
		return;
	(void)buf_add_char(out, '\0');
	(void)buf_add_str(out, " client-signature");
	add_detail(out, t->client_sig, t->client_sig_curve, t->client_sig_bits);
	if (*t->client_digest != '\0')
		(void)buf_add_fmt(out, " client-digest %s", t->client_digest);
}

static void add_cert(struct buf *out, const struct tls_facts *t, bool asks_cert)
{
	if (!t->has_cert) {
		(void)buf_add_str(out, asks_cert ? "(Client did not present a certificate)"
						 : "(No client certificate requested)");
		return;
	}
	(void)buf_add_str(out, "(Client CN \"");
	add_comment(out, t->subject_cn);
	(void)buf_add_str(out, "\", Issuer \"");
	add_comment(out, t->issuer_cn);
	(void)buf_add_fmt(out, "\" (%s))", t->is_trusted ? "verified OK" : "not verified");
}

void tls_report_trace(const struct tls_facts *t, bool asks_cert, struct buf *lines)
{
	(void)buf_add_fmt(lines, "(using %s with cipher %s (%d/%d bits)", t->protocol, t->cipher,
		t->used_bits, t->cipher_bits);
	add_server_side(lines, t);
	add_client_side(lines, t);
	(void)buf_add_char(lines, ')');
	(void)buf_add_char(lines, '\0');
	add_cert(lines, t, asks_cert);
}

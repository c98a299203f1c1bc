/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "tls/tls_private.h"
#include "util/mem.h"

static bool is_transient(void)
{
	return errno == EAGAIN || errno == EINTR;
}

/* What is held, and more behind it, in one call. Bytes of p that went; -1: none of them. */
static ssize_t send_both(struct tls *t, const char *p, size_t len)
{
	struct iovec parts[] = {
		{(void *)(uintptr_t)buf_str(&t->held), t->held.len}, {(void *)(uintptr_t)p, len}};
	struct msghdr all = {.msg_iov = parts, .msg_iovlen = len > 0 ? 2 : 1};
	size_t first = t->held.len;
	ssize_t n = sendmsg(t->fd, &all, MSG_NOSIGNAL);

	if (n < 0)
		return -1;
	buf_consume(&t->held, (size_t)n < first ? (size_t)n : first);
	if (t->held.len > 0 || (size_t)n == first) {
		errno = EAGAIN;
		return -1;
	}
	return n - (ssize_t)first;
}

bool tls_bio_release(struct tls *t)
{
	if (t->held.len == 0 || t->is_dead)
		return true;
	if (send_both(t, NULL, 0) < 0 && !is_transient())
		buf_reset(&t->held); /* who reads learns why */
	buf_release(&t->held);
	return t->held.len == 0;
}

/* Every flight but the first: it may be the last, with something to be sent right behind it. */
static bool is_held(const struct tls *t, size_t len)
{
	return t->phase == TLS_PHASE_HANDSHAKE && t->has_written &&
	       t->held.len + len <= TLS_HELD_MAX;
}

static int bio_write(BIO *bio, const char *p, int len)
{
	struct tls *t = BIO_get_data(bio);
	ssize_t n;

	BIO_clear_retry_flags(bio);
	if (t->is_dead || len <= 0)
		return -1;
	t->has_asked = true;
	if (is_held(t, (size_t)len) && buf_add(&t->held, p, (size_t)len) == 0)
		return len;
	t->has_written = true;
	n = t->held.len > 0 ? send_both(t, p, (size_t)len)
			    : send(t->fd, p, (size_t)len, MSG_NOSIGNAL);
	if (n < 0 && is_transient())
		BIO_set_retry_write(bio);
	return (int)n;
}

static int bio_read(BIO *bio, char *p, int len)
{
	struct tls *t = BIO_get_data(bio);
	ssize_t n;

	BIO_clear_retry_flags(bio);
	if (t->is_dead || len <= 0)
		return -1;
	/* The answer to what went a moment ago is not here; when it comes, the loop knows. */
	if (t->phase == TLS_PHASE_HANDSHAKE && t->has_asked) {
		BIO_set_retry_read(bio);
		return -1;
	}
	n = recv(t->fd, p, (size_t)len, 0);
	if (n < 0 && is_transient())
		BIO_set_retry_read(bio);
	if (n == 0)
		t->is_eof = true;
	return (int)n;
}

static long bio_ctrl(BIO *bio, int what, long number, void *p)
{
	const struct tls *t = BIO_get_data(bio);

	if (what == BIO_CTRL_FLUSH)
		return 1;
	return what == BIO_CTRL_EOF ? t->is_eof : 0;
}

BIO *tls_bio_new(struct tls *t)
{
	static BIO_METHOD *method;
	BIO *bio;

	if (method == NULL) {
		method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
		BIO_meth_set_write(method, bio_write);
		BIO_meth_set_read(method, bio_read);
		BIO_meth_set_ctrl(method, bio_ctrl);
	}
	bio = BIO_new(method);
	if (bio != NULL) {
		BIO_set_data(bio, t);
		BIO_set_init(bio, 1);
	}
	return bio;
}

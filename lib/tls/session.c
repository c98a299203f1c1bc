/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <sys/socket.h>

#include "tls/tls_private.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

/* The session whose handshake OpenSSL is in, for its callbacks. */
static struct tls *running;
/* Handshakes that found no fibre. */
static TAILQ_HEAD(, tls) job_queue = TAILQ_HEAD_INITIALIZER(job_queue);

/* ----------------------------------------------------------- end of handshake */

static void inactive(struct tls *t)
{
	struct tls *next;

	if (t->waits_for_job)
		TAILQ_REMOVE(&job_queue, t, job_link);
	t->waits_for_job = false;
	if (!t->is_active)
		return;
	t->is_active = false;
	t->c->active--;
	next = TAILQ_FIRST(&job_queue);
	if (next != NULL) {
		TAILQ_REMOVE(&job_queue, next, job_link);
		next->waits_for_job = false;
		stream_retry(next->s);
	}
}

/* on_done comes at the end of the iteration: it may free what we are called from. */
static void end_handshake(struct tls *t, int err, const char *why)
{
	if (t->phase >= TLS_PHASE_REPORT)
		return;
	inactive(t);
	t->phase = TLS_PHASE_REPORT;
	t->err = err;
	if (t->why == NULL && why != NULL)
		t->why = mem_str(why);
	loop_soon(&t->report);
}

static void report(void *arg)
{
	struct tls *t = arg;

	t->phase = t->err == 0 ? TLS_PHASE_OPEN : TLS_PHASE_FAILED;
	/* Behind the stream's own task, which sends what the owner says now. */
	loop_soon(&t->release);
	stream_set_arg(t->s, t->owner, t->owner_arg);
	/* What came behind the handshake, and what the owner has written meanwhile. */
	if (t->err == 0 && (SSL_has_pending(t->ssl) || stream_unsent(t->s) > 0))
		stream_retry(t->s);
	t->events->on_done(t, t->err, t->arg);
}

/* -------------------------------------------------------------- handshake */

struct slice tls_session_key(const struct tls *t)
{
	return slice_of(t->session_key, t->session_key_len);
}

static void keep_session(struct tls *t, SSL_SESSION *session)
{
	const struct tls_facts *f = &t->facts;

	tls_cache_add(t->c->cache, tls_session_key(t), session,
		(f->is_trusted ? TLS_KEPT_TRUSTED : 0) | (f->is_matched ? TLS_KEPT_MATCHED : 0) |
			(f->is_dane ? TLS_KEPT_DANE : 0));
}

/* Takes session over. */
void tls_session_came(struct tls *t, SSL_SESSION *session)
{
	if (t->session_key == NULL || t->c->cache == NULL || t->is_dead) {
		SSL_SESSION_free(session);
	} else if (t->phase == TLS_PHASE_OPEN || t->phase == TLS_PHASE_REPORT) {
		keep_session(t, session);
	} else {
		SSL_SESSION_free(t->fresh);
		t->fresh = session;
	}
}

static void succeeded(struct tls *t)
{
	SSL_clear_mode(t->ssl, SSL_MODE_ASYNC);
	tls_facts_set(t);
	tls_check_clear(&t->check);
	end_handshake(t, 0, NULL);
	/* A ticket of TLS 1.2 that was renewed: OpenSSL tells of new sessions alone. */
	if (t->fresh == NULL && t->facts.is_reused && t->session_key != NULL &&
		SSL_version(t->ssl) < TLS1_3_VERSION)
		t->fresh = SSL_get1_session(t->ssl);
	if (t->fresh != NULL)
		keep_session(t, t->fresh);
	t->fresh = NULL;
}

static const char *call_name(const struct tls *t)
{
	return t->c->side == TLS_SERVER ? "SSL_accept" : "SSL_connect";
}

static void failed(struct tls *t, int err)
{
	struct buf why = BUF_INIT(2 * TLS_WHY_MAX);

	t->is_broken = true;
	if (t->why == NULL && err == ERR_CORRUPT) {
		buf_add_fmt(&why, "%s error: ", call_name(t));
		tls_add_reason(&why);
	} else if (t->why == NULL) {
		buf_add_fmt(&why, "%s error: %s", call_name(t),
			err == ERR_CLOSED ? "lost connection" : err_str(err));
	}
	end_handshake(t, err, buf_str(&why));
	buf_clear(&why);
	ERR_clear_error();
}

static void signature_came(struct tls_sign *s, void *arg)
{
	struct tls *t = arg;

	stream_retry(t->s);
}

static void name_came(struct tls_name_wait *w, int result, void *arg)
{
	struct tls *t = arg;

	t->name_failed = result != 0;
	stream_retry(t->s);
}

/* OpenSSL wants something that is not the socket's. */
static void wait_for_vault(struct tls *t, int want)
{
	if (want == SSL_ERROR_WANT_ASYNC_JOB) {
		if (!t->waits_for_job)
			TAILQ_INSERT_TAIL(&job_queue, t, job_link);
		t->waits_for_job = true;
	} else if (want == SSL_ERROR_WANT_ASYNC && t->sign != NULL) {
		if (!t->sign->is_open && t->sign->result == ERR_LATER) {
			t->sign->done = signature_came;
			t->sign->arg = t;
			tls_sign_ask(t->sign);
		}
	} else if (want == SSL_ERROR_WANT_CLIENT_HELLO_CB && t->name != NULL) {
		t->name->done = name_came;
		t->name->arg = t;
		if (t->name->at == NULL && tls_name_ask(t->name) != 0) {
			t->name_failed = true;
			stream_retry(t->s);
		}
	}
}

/* First those tasks that stand before it now. */
static void release(void *arg)
{
	struct tls *t = arg;

	if (!t->may_release)
		loop_soon(&t->release);
	else if (!tls_bio_release(t) && t->phase == TLS_PHASE_OPEN)
		stream_retry(t->s); /* with the next read, for which the owner may wait */
	t->may_release = true;
}

static int advance(struct tls *t)
{
	int r, e, saved;

	ERR_clear_error();
	errno = 0;
	running = t;
	t->has_asked = false;
	r = SSL_do_handshake(t->ssl);
	saved = errno;
	running = NULL;
	if (r == 1) {
		succeeded(t);
		return LOOP_READ;
	}
	e = SSL_get_error(t->ssl, r);
	switch (e) {
	case SSL_ERROR_WANT_READ: return LOOP_READ;
	case SSL_ERROR_WANT_WRITE: return LOOP_WRITE;
	case SSL_ERROR_WANT_ASYNC:
	case SSL_ERROR_WANT_ASYNC_JOB:
	case SSL_ERROR_WANT_CLIENT_HELLO_CB: wait_for_vault(t, e); return 0;
	case SSL_ERROR_ZERO_RETURN: failed(t, ERR_CLOSED); return 0;
	case SSL_ERROR_SYSCALL:
		errno = saved;
		failed(t, saved != 0 ? ERR_SYS : ERR_CLOSED);
		return 0;
	default: failed(t, t->is_eof ? ERR_CLOSED : t->err != 0 ? t->err : ERR_CORRUPT); return 0;
	}
}

/* What the socket must be ready for; 0: it waits for something else, or is over. */
static int handshake(struct tls *t)
{
	int want;

	if (!tls_bio_release(t))
		return LOOP_WRITE;
	want = advance(t);
	/* The last words are held until the owner has had his turn. */
	if (t->phase == TLS_PHASE_REPORT && t->err == 0)
		return want;
	return tls_bio_release(t) ? want : LOOP_WRITE;
}

/* In the fibre. The asking is done outside, where the stack is large. */
int tls_wait_for_signature(struct tls_sign *s)
{
	struct tls *t = running;

	if (t == NULL || ASYNC_get_current_job() == NULL)
		return ERR_STATE;
	t->sign = s;
	while (s->result == ERR_LATER && !t->is_dead && ASYNC_pause_job() == 1)
		;
	t->sign = NULL;
	if (s->result == 0 || t->is_dead)
		return s->result;
	t->err = ERR_TEMP;
	if (t->why == NULL)
		t->why = mem_fmt("%s error: %s", call_name(t), s->why);
	return s->result;
}

/* ------------------------------------------------------------------ filter */

/* Of a call that did not succeed. */
static int result_of(struct tls *t, int r, int saved, int *want)
{
	switch (SSL_get_error(t->ssl, r)) {
	case SSL_ERROR_WANT_READ: *want = LOOP_READ; return ERR_AGAIN;
	case SSL_ERROR_WANT_WRITE: *want = LOOP_WRITE; return ERR_AGAIN;
	case SSL_ERROR_ZERO_RETURN: return ERR_CLOSED;
	case SSL_ERROR_SYSCALL:
		t->is_broken = true;
		errno = saved != 0 ? saved : ECONNRESET;
		return ERR_SYS;
	default:
		t->is_broken = true;
		/* Cut off: no close_notify, so nobody knows whether that was the end. */
		errno = ECONNRESET;
		return t->is_eof ? ERR_SYS : ERR_CORRUPT;
	}
}

/* wish: what the call waits for behind the report, which changes no wish. */
static int not_open(const struct tls *t, int wish, int *want)
{
	if (t->phase == TLS_PHASE_FAILED)
		return ERR_CORRUPT;
	*want = t->phase == TLS_PHASE_REPORT && t->err == 0 ? wish : 0;
	return ERR_AGAIN;
}

static int filter_read(void *filter, int fd, void *p, size_t len, size_t *done, int *want)
{
	struct tls *t = filter;
	size_t n;
	int r, err, also;

	if (t->phase == TLS_PHASE_HANDSHAKE) {
		*want = handshake(t);
		return ERR_AGAIN;
	}
	if (t->phase != TLS_PHASE_OPEN)
		return not_open(t, LOOP_READ, want);
	/* The peer may wait for the rest of the last flight, and the owner for the peer. */
	also = tls_bio_release(t) ? 0 : LOOP_WRITE;
	*want = LOOP_READ | also;
	t->more = false;
	if (t->later != 0) {
		errno = t->later_errno;
		return t->later;
	}
	do {
		ERR_clear_error();
		errno = 0;
		r = SSL_read_ex(t->ssl, (char *)p + *done, len - *done, &n);
		if (r == 1)
			*done += n;
	} while (r == 1 && *done < len && SSL_has_pending(t->ssl));
	if (r == 1) {
		t->more = SSL_has_pending(t->ssl);
		return 0;
	}
	err = result_of(t, r, errno, want);
	*want |= also;
	ERR_clear_error();
	if (err == ERR_AGAIN || *done == 0)
		return *done > 0 ? 0 : err;
	t->later = err;
	t->later_errno = errno;
	t->more = true;
	return 0;
}

/* What was written before TLS. */
static int write_plain(struct tls *t, const void *p, size_t len, size_t *done, int *want)
{
	ssize_t n = send(t->fd, p, len, MSG_NOSIGNAL);

	if (n < 0) {
		*want = LOOP_WRITE;
		return errno == EAGAIN || errno == EINTR ? ERR_AGAIN : ERR_SYS;
	}
	*done = (size_t)n;
	return 0;
}

static int filter_write(void *filter, int fd, const void *p, size_t len, size_t *done, int *want)
{
	struct tls *t = filter;
	int r, err;

	if (t->phase == TLS_PHASE_DRAIN)
		return write_plain(t, p, len, done, want);
	if (t->phase != TLS_PHASE_OPEN)
		return not_open(t, LOOP_WRITE, want);
	if (t->is_broken) {
		errno = ECONNRESET;
		return ERR_SYS;
	}
	ERR_clear_error();
	errno = 0;
	r = SSL_write_ex(t->ssl, p, len, done);
	if (r == 1)
		return 0;
	err = result_of(t, r, errno, want);
	ERR_clear_error();
	return err;
}

static bool filter_pending(void *filter)
{
	const struct tls *t = filter;

	return t->more;
}

/* Peers that saw no close_notify would not resume the session. */
static void filter_shutdown(void *filter, int fd)
{
	struct tls *t = filter;

	if (t->phase != TLS_PHASE_OPEN || t->is_broken)
		return;
	ERR_clear_error();
	SSL_shutdown(t->ssl);
	ERR_clear_error();
}

/* A paused handshake must come to its end before it can be freed: its fibre has a stack. */
static void end_fibre(struct tls *t)
{
	int i;

	t->is_dead = true;
	if (t->sign != NULL)
		tls_sign_withdraw(t->sign);
	for (i = 0; i < 100 && t->ssl != NULL && SSL_waiting_for_async(t->ssl); i++) {
		running = t;
		SSL_do_handshake(t->ssl);
		running = NULL;
	}
	ERR_clear_error();
}

static void filter_free(void *filter)
{
	struct tls *t = filter;

	loop_task_cancel(&t->report);
	loop_task_cancel(&t->release);
	end_fibre(t);
	tls_hello_forget(t);
	inactive(t);
	SSL_free(t->ssl);
	buf_clear(&t->held);
	SSL_SESSION_free(t->fresh);
	tls_check_clear(&t->check);
	tls_facts_clear(t);
	mem_free(t->session_key);
	mem_free(t->chain);
	mem_free(t->sni);
	mem_free(t->trust_error);
	mem_free(t->why);
	mem_free(t);
}

static const struct stream_filter filter_ops = {
	filter_read, filter_write, filter_pending, filter_shutdown, filter_free};

/* -------------------------------------------------------- stream's events */

static void begin(struct tls *t)
{
	t->phase = TLS_PHASE_HANDSHAKE;
	stream_read(t->s, true);
	stream_retry(t->s);
}

static void on_input(struct stream *s, void *arg)
{
}

static void on_end(struct stream *s, int err, void *arg)
{
	struct tls *t = arg;
	struct buf why = BUF_INIT(TLS_WHY_MAX);

	buf_add_fmt(&why, "%s error: %s", call_name(t),
		err == ERR_CLOSED ? "lost connection" : err_str(err));
	t->is_broken = true;
	end_handshake(t, err, buf_str(&why));
	buf_clear(&why);
}

static void on_drained(struct stream *s, void *arg);
static const struct stream_events own_events = {on_input, on_drained, on_end};

static void on_drained(struct stream *s, void *arg)
{
	struct tls *t = arg;

	if (t->phase == TLS_PHASE_DRAIN)
		begin(t);
}

/* ------------------------------------------------------------------- start */

struct tls *tls_session_new(
	struct tls_context *c, struct stream *s, const struct tls_events *events, void *arg)
{
	struct tls *t = mem_alloc(sizeof(*t));
	BIO *bio;

	t->c = c;
	t->s = s;
	t->fd = stream_fd(s);
	t->events = events;
	t->arg = arg;
	loop_task_init(&t->report, report, t);
	loop_task_init(&t->release, release, t);
	buf_init(&t->held, TLS_HELD_MAX);
	t->ssl = SSL_new(c->ssl);
	bio = t->ssl != NULL ? tls_bio_new(t) : NULL;
	if (bio == NULL) {
		tls_session_free(&t);
		return NULL;
	}
	SSL_set_bio(t->ssl, bio, bio);
	SSL_set_app_data(t->ssl, t);
	return t;
}

void tls_session_free(struct tls **t)
{
	filter_free(*t);
	*t = NULL;
}

static void discard(struct stream *s)
{
	size_t n = stream_discard(s);

	if (n > 0)
		log_warning("%zu bytes sent before the TLS handshake are discarded", n);
}

/* From here on the session is its stream's. */
void tls_session_begin(struct tls *t)
{
	t->is_active = true;
	t->c->active++;
	discard(t->s);
	t->owner = stream_owner(t->s, &t->owner_arg);
	stream_set_arg(t->s, &own_events, t);
	stream_filter(t->s, &filter_ops, t);
	stream_flush(t->s);
	if (t->phase == TLS_PHASE_DRAIN && stream_unsent(t->s) == 0)
		begin(t);
}

const char *tls_why(const struct tls *t)
{
	return t->why != NULL ? t->why : "";
}

const struct tls_facts *tls_facts(const struct tls *t)
{
	return &t->facts;
}

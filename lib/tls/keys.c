/* SPDX-License-Identifier: ISC */
#include "tls/keys.h"

#include "tls/chain.h"
#include "tls/tls_private.h"
#include "util/dict.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

enum { NAME_SECONDS = 60, FLAG_FIRST = 1, FLAG_LAST = 2 };

TAILQ_HEAD(signs, tls_sign);
TAILQ_HEAD(names, tls_name);

/* One vault worker. */
struct tls_vault {
	TAILQ_ENTRY(tls_vault) link;
	struct ipc *c;
	unsigned open;             /* signatures asked */
	struct tls_chains *coming; /* until the last has come */
	struct tls_chains *said;   /* what it has said last */
};

/* What is known, or asked, about an SNI name. */
struct tls_name {
	TAILQ_ENTRY(tls_name) link; /* in open while asked, else in kept: the oldest first */
	char *name;
	bool is_open;
	struct tls_vault *at;
	uint64_t id;
	int64_t due; /* of the question; then of the answer */
	struct tls_chains *coming, *chains;
	TAILQ_HEAD(, tls_name_wait) waits;
};

static struct {
	TAILQ_HEAD(tls_vaults, tls_vault) vaults;
	struct tls_chains *service;
	const struct tls_vault *source; /* who has said these; NULL: nobody who lives */
	unsigned version;
	struct signs signs;
	struct names open, kept;
	struct dict *names;
	struct loop_timer deadline;
	bool is_ready;
} link;

static void overdue(void *arg);

static void init(void)
{
	if (link.is_ready)
		return;
	link.is_ready = true;
	TAILQ_INIT(&link.vaults);
	TAILQ_INIT(&link.signs);
	TAILQ_INIT(&link.open);
	TAILQ_INIT(&link.kept);
	link.names = dict_new(TLS_SNI_KEPT, NULL);
	loop_timer_init(&link.deadline, overdue, NULL);
}

/* ---------------------------------------------------------------- deadline */

static void set_deadline(void)
{
	const struct tls_sign *s = TAILQ_FIRST(&link.signs);
	const struct tls_name *n = TAILQ_FIRST(&link.open);
	int64_t due = s != NULL ? s->due : CLOCK_NEVER;

	if (n != NULL && n->due < due)
		due = n->due;
	loop_timer_set(&link.deadline, due);
}

static struct tls_vault *find_vault(const struct ipc *c)
{
	struct tls_vault *v;

	init();
	TAILQ_FOREACH(v, &link.vaults, link)
	if (v->c == c)
		return v;
	return NULL;
}

/* The one with the fewest open requests; of several the newest, since others may be leaving. */
static struct tls_vault *choose_vault(void)
{
	struct tls_vault *v, *best = NULL;

	init();
	TAILQ_FOREACH(v, &link.vaults, link)
	if (best == NULL || v->open <= best->open)
		best = v;
	return best;
}

/*
 * Another one, until each was asked: while files are replaced not all of them have the same keys.
 */
static struct tls_vault *next_vault(const struct tls_sign *s)
{
	struct tls_vault *v = TAILQ_NEXT(s->at, link);
	unsigned n = 0;

	if (v == NULL)
		v = TAILQ_FIRST(&link.vaults);
	for (const struct tls_vault *i = TAILQ_FIRST(&link.vaults); i != NULL;
		i = TAILQ_NEXT(i, link))
		n++;
	return s->refusals < n ? v : NULL;
}

/* -------------------------------------------------------------- signatures */

static void end_sign(struct tls_sign *s, int result)
{
	if (s->at != NULL) {
		s->at->open--;
		ipc_set_arg(s->at->c, s->id, true, NULL);
		s->at = NULL;
	}
	TAILQ_REMOVE(&link.signs, s, link);
	s->is_open = false;
	s->result = result;
}

static void send_sign(struct tls_sign *s, struct tls_vault *v)
{
	struct ipc *c = v->c;

	s->id = ipc_ask(c);
	ipc_begin(c, PROTO_TLS_SIGN, s->id);
	ipc_put_bytes(c, FIELD_KEY_ID, slice_of(s->key, TLS_KEY_ID));
	ipc_put_u64(c, FIELD_SCHEME, s->scheme);
	ipc_put_bytes(c, FIELD_HANDSHAKE, s->input);
	if (ipc_end(c) != 0)
		return; /* its end is told, or its deadline comes */
	ipc_set_arg(c, s->id, true, s);
	s->at = v;
	v->open++;
}

void tls_sign_ask(struct tls_sign *s)
{
	struct tls_vault *v = choose_vault();

	s->result = ERR_LATER;
	s->is_open = true;
	s->due = loop_now();
	if (s->input.len > proto_field_max(FIELD_HANDSHAKE)) {
		TAILQ_INSERT_HEAD(&link.signs, s, link);
	} else {
		s->due += TLS_SIGN_MSEC * CLOCK_MSEC;
		TAILQ_INSERT_TAIL(&link.signs, s, link);
		if (v != NULL)
			send_sign(s, v);
	}
	set_deadline();
}

void tls_sign_withdraw(struct tls_sign *s)
{
	if (s->is_open)
		end_sign(s, ERR_TEMP);
	s->result = ERR_TEMP;
}

static void refused(struct tls_sign *s, int result, const char *why)
{
	end_sign(s, result);
	strlcpy(s->why, why, sizeof(s->why));
	s->done(s, s->arg);
}

static void sign_answered(struct ipc_msg *m)
{
	struct tls_sign *s = m->arg;
	uint64_t result = ipc_u64(m, FIELD_RESULT);
	struct slice sig = ipc_bytes(m, FIELD_SIGNATURE);
	struct tls_vault *v;

	if (s == NULL)
		return;
	if (result == 0 && sig.len > 0 && sig.len <= sizeof(s->signature)) {
		end_sign(s, 0);
		memcpy(s->signature, sig.p, sig.len);
		s->len = sig.len;
		s->done(s, s->arg);
		return;
	}
	s->refusals++;
	if (result == RESULT_DEFERRED && (v = next_vault(s)) != NULL) {
		s->at->open--;
		s->at = NULL;
		send_sign(s, v);
		return;
	}
	if (result == RESULT_DEFERRED)
		refused(s, ERR_TEMP, "vault cannot sign now");
	else if (result == 0)
		refused(s, ERR_DENIED, "vault sent no signature");
	else
		refused(s, ERR_DENIED, log_q(ipc_bytes(m, FIELD_TEXT)));
}

/* --------------------------------------------------------------- SNI names */

static void forget_name(struct tls_name *n)
{
	TAILQ_REMOVE(n->is_open ? &link.open : &link.kept, n, link);
	if (n->at != NULL)
		ipc_set_arg(n->at->c, n->id, true, NULL);
	dict_remove(link.names, slice_str(n->name));
	tls_chains_release(&n->coming);
	tls_chains_release(&n->chains);
	mem_free(n->name);
	mem_free(n);
}

/* Those who wait are told; they find the answer, if there is one, by its name. */
static void name_done(struct tls_name *n, int result)
{
	struct tls_name_wait *w;

	TAILQ_REMOVE(&link.open, n, link);
	n->is_open = false;
	n->at = NULL;
	n->due = loop_now() + NAME_SECONDS * CLOCK_SEC;
	TAILQ_INSERT_TAIL(&link.kept, n, link);
	while ((w = TAILQ_FIRST(&n->waits)) != NULL) {
		TAILQ_REMOVE(&n->waits, w, link);
		w->at = NULL;
		w->done(w, result, w->arg);
	}
	if (result != 0)
		forget_name(n);
}

static void send_name(struct tls_name *n, struct tls_vault *v)
{
	tls_chains_release(&n->coming);
	n->id = ipc_ask(v->c);
	ipc_begin(v->c, PROTO_TLS_NAME, n->id);
	ipc_put_str(v->c, FIELD_NAME, n->name);
	if (ipc_end(v->c) != 0)
		return;
	ipc_set_arg(v->c, n->id, true, n);
	n->at = v;
}

int tls_name_find(struct slice name, struct tls_chains **chains)
{
	struct tls_name *n;

	*chains = NULL;
	init();
	n = dict_get(link.names, name);
	if (n == NULL || n->is_open || n->due < loop_now())
		return ERR_LATER;
	*chains = n->chains;
	return 0;
}

static struct tls_name *add_name(const char *name)
{
	struct tls_name *n = TAILQ_FIRST(&link.kept);

	if (dict_count(link.names) >= TLS_SNI_KEPT) {
		if (n == NULL)
			return NULL;
		forget_name(n);
	}
	n = mem_alloc(sizeof(*n));
	n->name = mem_str(name);
	n->is_open = true;
	n->due = loop_now() + TLS_SIGN_MSEC * CLOCK_MSEC;
	TAILQ_INIT(&n->waits);
	TAILQ_INSERT_TAIL(&link.open, n, link);
	dict_set(link.names, slice_str(n->name), n);
	return n;
}

int tls_name_ask(struct tls_name_wait *w)
{
	struct tls_name *n;
	struct tls_vault *v;

	init();
	n = dict_get(link.names, slice_str(w->name));
	if (n != NULL && !n->is_open) {
		forget_name(n);
		n = NULL;
	}
	if (n == NULL) {
		n = add_name(w->name);
		if (n == NULL)
			return ERR_TEMP;
		v = choose_vault();
		if (v != NULL)
			send_name(n, v);
		set_deadline();
	}
	w->at = n;
	TAILQ_INSERT_TAIL(&n->waits, w, link);
	return 0;
}

void tls_name_withdraw(struct tls_name_wait *w)
{
	if (w->at != NULL)
		TAILQ_REMOVE(&w->at->waits, w, link);
	w->at = NULL;
}

static void name_chain(struct ipc_msg *m)
{
	struct tls_name *n = m->arg;
	struct buf why = BUF_INIT(200);

	if (n == NULL)
		return;
	if (n->coming == NULL)
		n->coming = tls_chains_new();
	if (tls_chains_add(
		    n->coming, ipc_bytes(m, FIELD_KEY_ID), ipc_bytes(m, FIELD_CERTS), &why) != 0)
		log_warning("chain of SNI name %s not used: %s", log_qs(n->name), buf_str(&why));
	buf_clear(&why);
}

static void name_end(struct ipc_msg *m)
{
	struct tls_name *n = m->arg;
	uint64_t result = ipc_u64(m, FIELD_RESULT);

	if (n == NULL)
		return;
	if (result == 0 && n->coming != NULL && n->coming->n > 0) {
		n->chains = n->coming;
		n->coming = NULL;
	} else
		tls_chains_release(&n->coming);
	name_done(n, result == 1 || n->chains != NULL ? 0 : ERR_TEMP);
}

/* ------------------------------------------------------------------ chains */

struct tls_chains *tls_chains_service(unsigned *version)
{
	*version = link.version;
	return link.service;
}

bool tls_keys_ready(void)
{
	return link.service != NULL && link.service->n > 0;
}

static void use_chains(const struct tls_vault *v)
{
	const struct tls_chains *old = link.service, *new = v->said;

	link.source = v;
	if (old != NULL &&
		old->n == new->n &&memcmp(old->digest, new->digest, sizeof(new->digest)) == 0)
		return;
	tls_chains_release(&link.service);
	link.service = tls_chains_hold(v->said);
	link.version++;
}

static void chains_complete(struct tls_vault *v)
{
	tls_chains_release(&v->said);
	v->said = v->coming;
	v->coming = NULL;
	use_chains(v);
}

/*
 * An old vault's word may come behind that of the one that follows it. When it has gone nobody has
 * its keys, and the other one has no reason to say its own once more.
 */
static void use_chains_of_others(void)
{
	struct tls_vault *v;

	link.source = NULL;
	TAILQ_FOREACH_REVERSE(v, &link.vaults, tls_vaults, link)
	{
		if (v->said != NULL) {
			use_chains(v);
			return;
		}
	}
}

static void chain_came(struct tls_vault *v, struct ipc_msg *m)
{
	uint64_t flags = ipc_u64(m, FIELD_FLAGS);
	struct buf why = BUF_INIT(200);

	if (flags & FLAG_FIRST)
		tls_chains_release(&v->coming);
	if (v->coming == NULL)
		v->coming = tls_chains_new();
	if (ipc_has(m, FIELD_CERTS) && tls_chains_add(v->coming, ipc_bytes(m, FIELD_KEY_ID),
					       ipc_bytes(m, FIELD_CERTS), &why) != 0)
		log_warning("certificate chain not used: %s", buf_str(&why));
	buf_clear(&why);
	if (flags & FLAG_LAST)
		chains_complete(v);
}

/* ------------------------------------------------------------------- peers */

/* Questions that nobody was asked, now that there is somebody. */
static void ask_again(void)
{
	struct tls_sign *s;
	struct tls_name *n;
	struct tls_vault *v;

	TAILQ_FOREACH(s, &link.signs, link)
	if (s->at == NULL && (v = choose_vault()) != NULL)
		send_sign(s, v);
	TAILQ_FOREACH(n, &link.open, link)
	if (n->at == NULL && (v = choose_vault()) != NULL)
		send_name(n, v);
}

void tls_keys_peer_new(struct ipc *vault)
{
	struct tls_vault *v = mem_alloc(sizeof(*v));

	init();
	v->c = vault;
	TAILQ_INSERT_TAIL(&link.vaults, v, link);
	ask_again();
}

void tls_keys_peer_msg(struct ipc *vault, struct ipc_msg *m)
{
	struct tls_vault *v = find_vault(vault);

	if (v == NULL)
		return;
	switch (m->type) {
	case PROTO_TLS_CHAIN: chain_came(v, m); break;
	case PROTO_TLS_NAME_CHAIN: name_chain(m); break;
	case PROTO_TLS_NAME_END: name_end(m); break;
	case PROTO_TLS_SIGNED: sign_answered(m); break;
	case PROTO_TLS_TICKETS:
		tls_tickets_add(
			v, ipc_bytes(m, FIELD_TICKET_KEY), (int64_t)ipc_u64(m, FIELD_UNTIL));
		break;
	default: break;
	}
}

void tls_keys_peer_gone(struct ipc *vault)
{
	struct tls_vault *v = find_vault(vault);
	struct tls_sign *s;
	struct tls_name *n;

	if (v == NULL)
		return;
	TAILQ_REMOVE(&link.vaults, v, link);
	TAILQ_FOREACH(s, &link.signs, link)
	if (s->at == v)
		s->at = NULL;
	TAILQ_FOREACH(n, &link.open, link)
	if (n->at == v)
		n->at = NULL;
	tls_tickets_orphan(v);
	tls_chains_release(&v->coming);
	tls_chains_release(&v->said);
	if (link.source == v)
		use_chains_of_others();
	mem_free(v);
	ask_again();
}

static void overdue(void *arg)
{
	struct tls_sign *s;
	struct tls_name *n;

	while ((s = TAILQ_FIRST(&link.signs)) != NULL && s->due <= loop_now())
		refused(s, ERR_TEMP,
			s->input.len > proto_field_max(FIELD_HANDSHAKE)
				? "the handshake is too long to be signed"
				: "vault did not answer in time");
	while ((n = TAILQ_FIRST(&link.open)) != NULL && n->due <= loop_now()) {
		if (n->at != NULL)
			ipc_set_arg(n->at->c, n->id, true, NULL);
		name_done(n, ERR_TEMP);
	}
	set_deadline();
}

/* SPDX-License-Identifier: ISC */
#include "vault/login.h"

#include <stdlib.h>
#include <sys/queue.h>

#include "conf/conf.h"
#include "sasl/exchange.h"
#include "sasl/mechanism.h"
#include "sasl/prep.h"
#include "util/base64.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/wire.h"
#include "vault/crew.h"
#include "vault/key.h"
#include "vault/tables.h"

/* What the client's next message is. */
enum { QUESTIONS = 100, NONCE = 18, TLS_MAX = 8192, FLAG_OFFERED = 1 };

enum step {
	STEP_PLAIN,
	STEP_NAME,
	STEP_PASSWORD,
	STEP_FIRST,
	STEP_FINAL,
	STEP_SEEN, /* the server's signature */
	STEP_EXTERNAL,
	STEP_NONE,
};

struct login {
	LIST_ENTRY(login) next;
	struct ipc *ipc;
	uint64_t id;
	struct tables *tables;
	enum step step;
	char *client;             /* owned; address */
	struct buf name, authzid; /* as the client said */
	struct buf password;
	struct buf key; /* what was found in a table */
	bool known;
	struct buf records;
	struct later later;
	struct sasl_scram_server scram;
	struct buf bindings; /* "type NUL data", counted */
	/* EXTERNAL: names of the certificate, counted, and where the next one begins. */
	struct buf cert_names;
	size_t next_name;
	struct crew_check *check;
};

static LIST_HEAD(, login) logins = LIST_HEAD_INITIALIZER(logins);
static size_t count;

static const char wrong[] = "authentication failure",
		  no_name[] = "no name of the certificate is a login",
		  malformed[] = "malformed message",
		  table_fails[] = "the password table cannot be read",
		  busy[] = "too many password checks are waiting",
		  unbound[] = "no such channel binding",
		  downgraded[] = "the list of mechanisms was changed on its way";

size_t login_count(void)
{
	return count;
}

bool login_is_of(const struct ipc *c)
{
	const struct login *l;

	LIST_FOREACH(l, &logins, next)
	if (l->ipc == c)
		return true;
	return false;
}

static void login_free(struct login *l)
{
	LIST_REMOVE(l, next);
	count--;
	later_clear(&l->later);
	crew_cancel(&l->check);
	sasl_scram_clear(&l->scram);
	mem_free(l->client);
	buf_clear(&l->name);
	buf_clear(&l->authzid);
	buf_clear(&l->password);
	buf_clear(&l->key);
	buf_clear(&l->records);
	buf_wipe_clear(&l->bindings);
	buf_clear(&l->cert_names);
	mem_free(l);
}

/* The same login with the same wrong password gives the same mark (row F1). */
static uint64_t mark_of(struct login *l)
{
	uint8_t out[SASL_KEY];
	uint64_t mark;

	key_derive("wrong password", buf_slice(&l->name), buf_slice(&l->password), out);
	memcpy(&mark, out, sizeof(mark));
	return mark;
}

static void done(struct login *l, enum proto_result result, const char *why)
{
	ipc_begin(l->ipc, PROTO_AUTH_DONE, l->id);
	ipc_put_u64(l->ipc, FIELD_RESULT, result);
	if (result == RESULT_OK)
		ipc_put_text(l->ipc, FIELD_LOGIN, buf_slice(&l->key));
	else if (l->name.len > 0)
		ipc_put_text(l->ipc, FIELD_LOGIN, buf_slice(&l->name));
	if (why != NULL)
		ipc_put_str(l->ipc, FIELD_TEXT, why);
	if (result == RESULT_FAILED && l->password.len > 0)
		ipc_put_u64(l->ipc, FIELD_MARK, mark_of(l));
	(void)ipc_end(l->ipc);
	ipc_set_arg(l->ipc, l->id, false, NULL);
	login_free(l);
}

static void ask(struct login *l, struct slice challenge, enum step then)
{
	l->step = then;
	ipc_begin(l->ipc, PROTO_AUTH_CHALLENGE, l->id);
	ipc_put_bytes(l->ipc, FIELD_SECRET, challenge);
	(void)ipc_end(l->ipc);
}

/* ---- a password ---- */

static bool is_other_identity(const struct login *l)
{
	return l->authzid.len > 0 && !slice_eq(buf_slice(&l->authzid), buf_slice(&l->name));
}

static void checked(int err, bool match, void *arg)
{
	struct login *l = arg;

	l->check = NULL;
	if (err != 0)
		done(l, RESULT_DEFERRED, busy);
	else if (match && l->known && !is_other_identity(l))
		done(l, RESULT_OK, NULL);
	else
		done(l, RESULT_FAILED, wrong);
}

static void check_password(struct login *l)
{
	if (!l->known)
		tables_stand_in(l->tables, buf_slice(&l->name), &l->records);
	l->check = crew_check(
		slice_str(l->client), buf_slice(&l->records), buf_slice(&l->password), checked, l);
	if (l->check == NULL)
		done(l, RESULT_DEFERRED, busy);
}

/* ---- SCRAM ---- */

static void challenge(struct login *l)
{
	struct sasl_scram s;
	struct buf nonce = BUF_INIT(100);
	uint8_t bytes[NONCE];

	if (!l->known || sasl_records_scram(buf_slice(&l->records), &s) != 0) {
		l->known = false;
		tables_stand_in_scram(l->tables, buf_slice(&l->name), &s);
	}
	arc4random_buf(bytes, sizeof(bytes));
	base64_encode(&nonce, slice_of(bytes, sizeof(bytes)));
	sasl_scram_challenge(&l->scram, &s, buf_slice(&nonce));
	ask(l, buf_slice(&l->scram.server_first), STEP_FINAL);
	buf_clear(&nonce);
	explicit_bzero(&s, sizeof(s));
}

static void prove(struct login *l, struct slice message)
{
	struct buf out = BUF_INIT(100);
	int r = sasl_scram_finish(&l->scram, message, &out);

	if (r == 0 && l->known && !is_other_identity(l))
		ask(l, buf_slice(&out), STEP_SEEN);
	else
		done(l, RESULT_FAILED, r == ERR_SYNTAX ? malformed : wrong);
	buf_clear(&out);
}

/* The data of the kind of binding that the client has chosen. */
static bool bind(struct login *l)
{
	struct reader in = reader_of(buf_slice(&l->bindings));

	if (l->scram.binding != SASL_BINDING_CHOSEN)
		return true;
	while (in.in.len > 0) {
		struct slice data = reader_counted(&in, in.in.len), type;

		if (slice_part(&data, '\0', &type) &&
			slice_eq(type, buf_slice(&l->scram.binding_type)))
			return buf_add_slice(&l->scram.binding_data, data) == 0;
	}
	return false;
}

/* ---- EXTERNAL ---- */

/* The next name of the certificate, of those that the client wants to be (all when it says none).
 */
static bool next_name(struct login *l)
{
	struct slice name;

	do {
		struct reader in = reader_of(slice_from(buf_slice(&l->cert_names), l->next_name));

		name = reader_counted(&in, in.in.len);
		if (in.err != 0 || name.len == 0)
			return false;
		l->next_name = l->cert_names.len - in.in.len;
	} while (l->authzid.len > 0 && !slice_case_eq(name, buf_slice(&l->authzid)));
	buf_reset(&l->name);
	return buf_add_slice(&l->name, name) == 0;
}

/* A name counts as login when it stands in a table, whatever password belongs to it. */
static void look_for_cert(void *arg)
{
	struct login *l = arg;
	int r = ERR_NOT_FOUND;

	do {
		if (l->name.len > 0)
			r = tables_find(
				l->tables, buf_slice(&l->name), &l->later, &l->key, &l->records);
	} while (r == ERR_NOT_FOUND && next_name(l));
	if (r == ERR_LATER)
		return;
	if (r == 0)
		done(l, RESULT_OK, NULL);
	else if (r == ERR_NOT_FOUND)
		done(l, RESULT_FAILED, no_name);
	else
		done(l, RESULT_DEFERRED, table_fails);
}

static void take_external(struct login *l, struct slice message)
{
	if (message.len > 0 && (!sasl_is_text(message) || message.len > SASL_LOGIN_MAX)) {
		done(l, RESULT_FAILED, malformed);
		return;
	}
	(void)buf_add_slice(&l->authzid, message);
	look_for_cert(l);
}

/* ---- both ---- */

static void look(void *arg)
{
	struct login *l = arg;
	bool is_scram = l->step == STEP_FIRST;
	int r = tables_find(l->tables, buf_slice(&l->name), &l->later, &l->key, &l->records);

	if (r == ERR_LATER)
		return;
	l->known = r == 0;
	if (r != 0 && r != ERR_NOT_FOUND)
		done(l, RESULT_DEFERRED, table_fails);
	else if (is_scram)
		challenge(l);
	else
		check_password(l);
}

static bool is_too_long(const struct login *l)
{
	return l->name.len > SASL_LOGIN_MAX || buf_failed(&l->name) || buf_failed(&l->authzid) ||
	       l->password.len > SASL_PASSWORD_MAX || buf_failed(&l->password);
}

/* In one form, however it was typed (RFC 4616, 2; RFC 5802, 5.1). */
static bool set_names(struct login *l, struct slice name, struct slice authzid)
{
	return sasl_prep(name, SASL_PREP_QUERY, &l->name) == 0 &&
	       (authzid.len == 0 || sasl_prep(authzid, SASL_PREP_QUERY, &l->authzid) == 0);
}

static void take_plain(struct login *l, struct slice message)
{
	struct sasl_plain p;

	if (sasl_plain_parse(message, &p) != 0 || !set_names(l, p.login, p.authzid)) {
		done(l, RESULT_FAILED, malformed);
		return;
	}
	(void)buf_add_slice(&l->password, p.password);
	if (is_too_long(l))
		done(l, RESULT_FAILED, malformed);
	else
		look(l);
}

static void take_name(struct login *l, struct slice message)
{
	if (!set_names(l, message, SLICE_NONE) || is_too_long(l)) {
		done(l, RESULT_FAILED, malformed);
		return;
	}
	ask(l, SLICE_LIT("Password:"), STEP_PASSWORD);
}

static void take_password(struct login *l, struct slice message)
{
	if (!sasl_is_text(message) || message.len > SASL_PASSWORD_MAX) {
		done(l, RESULT_FAILED, malformed);
		return;
	}
	(void)buf_add_slice(&l->password, message);
	look(l);
}

static void take_first(struct login *l, struct slice message)
{
	int r = sasl_scram_begin(&l->scram, message);

	if (r == 0 && !set_names(l, buf_slice(&l->scram.login), buf_slice(&l->scram.authzid)))
		r = ERR_SYNTAX;
	if (r != 0 || is_too_long(l)) {
		buf_reset(&l->name);
		done(l, RESULT_FAILED, r == ERR_DENIED ? downgraded : malformed);
	} else if (!bind(l)) {
		done(l, RESULT_FAILED, unbound);
	} else {
		look(l);
	}
}

static void take_message(struct login *l, struct slice message)
{
	switch (l->step) {
	case STEP_PLAIN: take_plain(l, message); break;
	case STEP_NAME: take_name(l, message); break;
	case STEP_PASSWORD: take_password(l, message); break;
	case STEP_FIRST: take_first(l, message); break;
	case STEP_FINAL: prove(l, message); break;
	case STEP_EXTERNAL: take_external(l, message); break;
	case STEP_SEEN:
		if (message.len == 0)
			done(l, RESULT_OK, NULL);
		else
			done(l, RESULT_FAILED, malformed);
		break;
	default: done(l, RESULT_FAILED, malformed); break;
	}
}

static enum step first_step(struct slice mechanism)
{
	if (slice_case_eq_str(mechanism, "PLAIN"))
		return STEP_PLAIN;
	if (slice_case_eq_str(mechanism, "LOGIN"))
		return STEP_NAME;
	if (slice_case_eq_str(mechanism, "EXTERNAL"))
		return STEP_EXTERNAL;
	return slice_case_eq_str(mechanism, "SCRAM-SHA-256") ||
			       slice_case_eq_str(mechanism, "SCRAM-SHA-256-PLUS")
		       ? STEP_FIRST
		       : STEP_NONE;
}

static void run_look(void *arg)
{
	struct login *l = arg;

	if (l->step == STEP_EXTERNAL)
		look_for_cert(l);
	else
		look(l);
}

/* What smtpd says of the client's TLS. */
static void take_tls(struct login *l, const struct ipc_msg *msg)
{
	struct slice value;
	size_t at = 0;

	if (sasl_is_bound(ipc_bytes(msg, FIELD_MECHANISM)))
		l->scram.binding = SASL_BINDING_CHOSEN;
	else if ((ipc_u64(msg, FIELD_FLAGS) & FLAG_OFFERED) != 0)
		l->scram.binding = SASL_BINDING_OFFERED;
	while (ipc_next(msg, FIELD_BINDING, &at, &value))
		wire_counted(&l->bindings, value);
	at = 0;
	while (ipc_next(msg, FIELD_CERT_NAME, &at, &value))
		if (sasl_is_text(value) && value.len <= SASL_LOGIN_MAX)
			wire_counted(&l->cert_names, value);
}

static struct login *login_new(struct ipc *c, struct ipc_msg *msg)
{
	struct login *l = mem_alloc(sizeof(*l));

	l->ipc = c;
	l->id = msg->id;
	l->client = slice_dup(ipc_bytes(msg, FIELD_CLIENT_ADDR));
	l->step = first_step(ipc_bytes(msg, FIELD_MECHANISM));
	buf_init(&l->name, SASL_LOGIN_MAX);
	buf_init(&l->authzid, SASL_LOGIN_MAX);
	buf_init(&l->key, 2 * SASL_LOGIN_MAX);
	l->password = BUF_SECRET(SASL_PASSWORD_MAX);
	l->records = BUF_SECRET(SASL_RECORDS_MAX);
	sasl_scram_init(&l->scram);
	buf_init(&l->bindings, TLS_MAX);
	buf_init(&l->cert_names, TLS_MAX);
	take_tls(l, msg);
	later_init(&l->later, QUESTIONS, run_look, l);
	LIST_INSERT_HEAD(&logins, l, next);
	count++;
	ipc_set_arg(c, msg->id, false, l);
	return l;
}

void login_begin(struct ipc *c, struct ipc_msg *msg, const char *service)
{
	struct login *l = login_new(c, msg);

	l->tables = tables_of(service);
	if (l->tables == NULL) {
		log_warning("service %s has no password tables; expected "
			    "\"gatepost service vault restart\" after a change of its settings",
			service);
		done(l, RESULT_DEFERRED, table_fails);
	} else if (l->step == STEP_NONE) {
		done(l, RESULT_FAILED, "Invalid authentication mechanism");
	} else if (ipc_has(msg, FIELD_SECRET)) {
		take_message(l, ipc_bytes(msg, FIELD_SECRET));
	} else {
		ask(l, l->step == STEP_NAME ? SLICE_LIT("Username:") : SLICE_NONE, l->step);
	}
}

void login_msg(struct ipc *c, struct ipc_msg *msg)
{
	struct login *l = msg->arg;

	if (l == NULL)
		return;
	if (msg->type == PROTO_AUTH_RESPONSE)
		take_message(l, ipc_bytes(msg, FIELD_SECRET));
	else
		login_free(l);
}

void login_forget(struct ipc *c)
{
	struct login *l, *next;

	LIST_FOREACH_SAFE(l, &logins, next, next)
	if (l->ipc == c)
		login_free(l);
}

/* SPDX-License-Identifier: ISC */
#include "smtpd/xclient.h"

#include "queue/envelope.h"
#include "smtp/ehlo.h"
#include "smtp/xattr.h"
#include "smtpd/auth.h"
#include "smtpd/gate.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

/* One command's attributes; values owned. kind counts where the attribute was said. */
struct attributes {
	unsigned said; /* 1 << XATTR_* */
	enum smtp_xattr_kind kind[XATTRS];
	char *value[XATTRS];
};

struct xforward {
	unsigned said;       /* 1 << XATTR_* */
	char *value[XATTRS]; /* owned; NULL: not said, or not available */
};

static void attributes_clear(struct attributes *a)
{
	for (int i = 0; i < XATTRS; i++)
		mem_free(a->value[i]);
}

static int attributes_parse(
	struct slice args, unsigned allowed, struct attributes *a, struct buf *reply)
{
	struct buf value = BUF_INIT(1024);
	enum smtp_xattr_kind kind;
	enum smtp_xattr which;
	int err;

	*a = (struct attributes){0};
	while ((err = smtp_xattr_next(&args, allowed, &which, &kind, &value, reply)) == 0) {
		a->said |= 1u << which;
		a->kind[which] = kind;
		mem_free(a->value[which]);
		a->value[which] = kind == XATTR_VALUE ? slice_dup(buf_slice(&value)) : NULL;
	}
	buf_clear(&value);
	return err == ERR_NOT_FOUND ? 0 : err;
}

static bool was_said(const struct attributes *a, enum smtp_xattr which)
{
	return (a->said & 1u << which) != 0;
}

/* What both commands want first; false: it is answered. */
static bool take(struct session *s, enum smtp_verb verb, bool may, unsigned allowed,
	struct slice args, struct attributes *a)
{
	struct buf reply = BUF_INIT(1024);

	*a = (struct attributes){0};
	if (s->transaction != NULL)
		(void)buf_add_str(&reply, "503 5.5.1 Error: MAIL transaction in progress");
	else if (args.len == 0)
		(void)buf_add_fmt(
			&reply, "501 5.5.4 Syntax: %s attribute=value...", smtp_verb_name(verb));
	else if (!may)
		(void)buf_add_str(&reply, "550 5.7.0 Error: insufficient authorization");
	else
		(void)attributes_parse(args, allowed, a, &reply);
	bool good = reply.len == 0;
	if (!good)
		session_reply_text(s, buf_slice(&reply));
	session_count(s, verb, good);
	buf_clear(&reply);
	return good && s->state != CLOSED;
}

/* XCLIENT. */

static enum policy_name_status status_of(enum smtp_xattr_kind kind)
{
	if (kind == XATTR_VALUE)
		return POLICY_NAME_OK;
	return kind == XATTR_TEMPUNAVAIL ? POLICY_NAME_TEMP : POLICY_NAME_UNKNOWN;
}

/* A name that is said is taken as it is; that of an address alone is looked up. */
static void use_names(struct session *s, const struct attributes *a)
{
	s->name_known = !was_said(a, XATTR_ADDR) || was_said(a, XATTR_NAME);
	if (was_said(a, XATTR_NAME)) {
		const char *name = a->value[XATTR_NAME];

		mem_free(s->name);
		s->name = mem_str(name != NULL ? name : "unknown");
		s->name_status = s->forward_status = status_of(a->kind[XATTR_NAME]);
		if (!was_said(a, XATTR_REVERSE_NAME)) {
			mem_free(s->reverse_name);
			s->reverse_name = mem_str(s->name);
			s->reverse_status = s->name_status;
		}
	}
	if (was_said(a, XATTR_REVERSE_NAME)) {
		const char *name = a->value[XATTR_REVERSE_NAME];

		mem_free(s->reverse_name);
		s->reverse_name = mem_str(name != NULL ? name : "unknown");
		s->reverse_status = status_of(a->kind[XATTR_REVERSE_NAME]);
	}
}

static void use_addr(const char *value, char addr[NET_ADDR_TEXT])
{
	struct net_addr parsed;

	if (value == NULL || net_addr_parse(slice_str(value), 0, &parsed) != 0)
		(void)memcpy(addr, "unknown", sizeof("unknown"));
	else
		net_addr_text(&parsed, addr);
}

static void use_port(const struct attributes *a, enum smtp_xattr which, uint16_t *port)
{
	uint64_t n = 0;

	if (!was_said(a, which))
		return;
	if (a->value[which] != NULL)
		(void)slice_u64(slice_str(a->value[which]), 0, UINT16_MAX, &n);
	*port = (uint16_t)n;
}

static void use_login(struct session *s, const struct attributes *a)
{
	mem_free(s->login);
	mem_free(s->sasl_method);
	s->login = s->sasl_method = NULL;
	if (a->value[XATTR_LOGIN] == NULL)
		return;
	s->login = mem_str(a->value[XATTR_LOGIN]);
	s->sasl_method = mem_str("XCLIENT");
}

static void use(struct session *s, const struct attributes *a)
{
	use_names(s, a);
	if (was_said(a, XATTR_ADDR))
		use_addr(a->value[XATTR_ADDR], s->addr);
	if (was_said(a, XATTR_DESTADDR))
		use_addr(a->value[XATTR_DESTADDR], s->server_addr);
	use_port(a, XATTR_PORT, &s->port);
	use_port(a, XATTR_DESTPORT, &s->server_port);
	use_login(s, a);
	mem_free(s->helo);
	s->helo = a->value[XATTR_HELO] != NULL ? mem_str(a->value[XATTR_HELO]) : NULL;
	s->esmtp = a->value[XATTR_PROTO] != NULL && a->value[XATTR_PROTO][0] == 'E';
	session_set_namaddr(s);
}

/* Nothing that was decided about the client before it was another one. */
static void forget(struct session *s)
{
	for (int i = 0; i < 3; i++) {
		mem_free(s->deferral[i]);
		s->deferral[i] = NULL;
	}
	s->is_denied = s->bdat_failed = false;
	tally_leave(&s->tally);
	gate_cancel(s);
	xforward_clear(s);
}

void xclient_command(struct session *s, struct slice args)
{
	struct attributes a;

	if (take(s, SMTP_XCLIENT, s->may_xclient, smtp_xclient_attributes, args, &a)) {
		forget(s);
		use(s, &a);
		session_identify(s);
	}
	attributes_clear(&a);
}

/* XFORWARD. */

void xforward_clear(struct session *s)
{
	if (s->xforward != NULL)
		for (int i = 0; i < XATTRS; i++)
			mem_free(s->xforward->value[i]);
	mem_free(s->xforward);
	s->xforward = NULL;
}

void xforward_command(struct session *s, struct slice args)
{
	struct attributes a;

	if (take(s, SMTP_XFORWARD, s->may_xforward, smtp_xforward_attributes, args, &a)) {
		if (s->xforward == NULL)
			s->xforward = mem_alloc(sizeof(*s->xforward));
		for (int i = 0; i < XATTRS; i++) {
			if (!was_said(&a, (enum smtp_xattr)i))
				continue;
			mem_free(s->xforward->value[i]);
			s->xforward->value[i] = a.value[i];
			s->xforward->said |= 1u << i;
			a.value[i] = NULL;
		}
		session_reply(s, "250 2.0.0 Ok");
	}
	attributes_clear(&a);
}

void xforward_add_log(const struct session *s, struct buf *line)
{
	char *const *value;

	if (s->xforward == NULL)
		return;
	value = s->xforward->value;
	if (value[XATTR_IDENT] != NULL)
		(void)buf_add_fmt(line, ", orig_queue_id=%s", log_qs(value[XATTR_IDENT]));
	if (value[XATTR_NAME] == NULL && value[XATTR_ADDR] == NULL)
		return;
	(void)buf_add_fmt(line, ", orig_client=%s",
		value[XATTR_NAME] != NULL ? value[XATTR_NAME] : "unknown");
	(void)buf_add_fmt(line, "[%s]", value[XATTR_ADDR] != NULL ? value[XATTR_ADDR] : "unknown");
	if (settings.log_port && value[XATTR_PORT] != NULL)
		(void)buf_add_fmt(line, ":%s", value[XATTR_PORT]);
}

static struct slice value_of(const struct session *s, enum smtp_xattr which)
{
	return slice_str(s->xforward->value[which]);
}

/* What is said of a client leaves nothing of the real one. */
static bool is_another(const struct session *s)
{
	static const enum smtp_xattr about[] = {
		XATTR_NAME, XATTR_ADDR, XATTR_PORT, XATTR_HELO, XATTR_PROTO};

	for (size_t i = 0; i < sizeof(about) / sizeof(about[0]); i++)
		if ((s->xforward->said & 1u << about[i]) != 0)
			return true;
	return false;
}

void xforward_fill(const struct session *s, struct message_spec *spec)
{
	static const struct slice unknown = {"unknown", 7};
	struct slice source;

	if (s->xforward == NULL)
		return;
	spec->origin_ident = value_of(s, XATTR_IDENT);
	source = value_of(s, XATTR_SOURCE);
	if (source.len > 0)
		spec->flags = (spec->flags & ~(uint64_t)QUEUE_FLAG_COMPLETE) |
			      (slice_eq_str(source, "LOCAL") ? QUEUE_FLAG_COMPLETE : 0);
	if (!is_another(s))
		return;
	spec->flags |= QUEUE_FLAG_FORWARDED;
	spec->origin_name = value_of(s, XATTR_NAME);
	spec->origin_addr = value_of(s, XATTR_ADDR);
	spec->origin_helo = value_of(s, XATTR_HELO);
	spec->origin_protocol = value_of(s, XATTR_PROTO);
	if (spec->origin_name.len == 0)
		spec->origin_name = unknown;
	if (spec->origin_addr.len == 0)
		spec->origin_addr = unknown;
	if (slice_u64(value_of(s, XATTR_PORT), 0, UINT16_MAX, &spec->origin_port) != 0)
		spec->origin_port = 0;
}

/* Who may. */

void xclient_begin(struct session *s)
{
	struct slice name = slice_str(s->name), addr = slice_str(s->addr);

	s->may_xclient = !s->is_local && match_host(settings.xclient_hosts, name, addr, NULL) == 0;
	s->may_xforward =
		!s->is_local && match_host(settings.xforward_hosts, name, addr, NULL) == 0;
	s->may_verp = s->is_local || match_host(settings.verp_hosts, name, addr, NULL) == 0;
}

void xclient_add_ehlo(const struct session *s, struct buf *lines)
{
	if (s->may_verp && !s->is_local && (s->discarded & EHLO_XVERP) == 0)
		(void)buf_add_str(lines, "250-XVERP\r\n");
	if (s->may_xclient && (s->discarded & EHLO_XCLIENT) == 0)
		(void)buf_add_str(lines,
			"250-XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR "
			"DESTPORT\r\n");
	if (s->may_xforward && (s->discarded & EHLO_XFORWARD) == 0)
		(void)buf_add_str(lines, "250-XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT\r\n");
}

/* SPDX-License-Identifier: ISC */
#include "smtp-client/xforward.h"

#include <stdio.h>

#include "conf/conf.h"
#include "mail/address.h"
#include "queue/envelope.h"
#include "smtp-client/setting.h"
#include "smtp/xattr.h"

/* "unknown" is what smtpd says of a client without a name. */
static bool is_known(const char *value)
{
	return value != NULL && value[0] != '\0' && strcmp(value, "unknown") != 0;
}

static const char *ident(const struct job *j)
{
	return is_known(j->origin_ident) ? j->origin_ident : j->id;
}

/* Without what says of TLS, AUTH and UTF-8 (RFC 3848, RFC 6531). */
static const char *protocol(const char *value)
{
	if (!is_known(value)) {
		return NULL;
	}
	return slice_starts(slice_str(value), "SMTP") ? "SMTP" : "ESMTP";
}

/* NULL: not known, or this server does not want it. port has room for its digits. */
static const char *value_of(const struct session *s, enum smtp_xattr a, char port[8])
{
	const struct job *j = s->delivery->job;
	const char *value = NULL;
	switch (a) {
	case XATTR_NAME: value = j->client_name; break;
	case XATTR_ADDR: value = j->client_addr; break;
	case XATTR_PORT:
		(void)snprintf(port, 8, "%u", j->client_port & 0xffff);
		value = j->client_port > 0 ? port : NULL;
		break;
	case XATTR_PROTO: value = protocol(j->client_protocol); break;
	case XATTR_HELO: value = j->client_helo; break;
	case XATTR_IDENT: value = ident(j); break;
	case XATTR_SOURCE:
		value = (j->flags & QUEUE_FLAG_COMPLETE) != 0 ? "LOCAL" : "REMOTE";
		break;
	default: break;
	}
	return is_known(value) && (s->ehlo.xforward & 1U << a) != 0 ? value : NULL;
}

static unsigned command_of(enum smtp_xattr a)
{
	return a == XATTR_NAME || a == XATTR_ADDR || a == XATTR_PORT ? XFORWARD_CLIENT
								     : XFORWARD_REST;
}

unsigned xforward_commands(const struct session *s)
{
	char port[8];
	unsigned commands = 0;
	if (!conf_bool(setting_of(P_smtp_send_xforward_command))) {
		return 0;
	}
	for (unsigned a = 0; a < XATTRS; a++) {
		if (value_of(s, (enum smtp_xattr)a, port) != NULL) {
			commands |= command_of((enum smtp_xattr)a);
		}
	}
	return commands;
}

void xforward_add(struct buf *out, const struct session *s, unsigned command)
{
	char port[8];
	buf_add_str(out, "XFORWARD");
	for (unsigned a = 0; a < XATTRS; a++) {
		const char *value = value_of(s, (enum smtp_xattr)a, port);
		if (value != NULL && command_of((enum smtp_xattr)a) == command) {
			struct slice text = slice_first(slice_str(value), XATTR_VALUE_LIMIT);
			buf_add_fmt(out, " %s=", smtp_xattr_name((enum smtp_xattr)a));
			if (a == XATTR_ADDR && memchr(text.p, ':', text.len) != NULL &&
				!slice_case_starts(text, "IPv6:")) {
				buf_add_str(out, "IPv6:");
			}
			address_xtext_encode(out, text);
		}
	}
	buf_add_str(out, "\r\n");
}

/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_AUTH_BACKEND_H
#define SMTPD_AUTH_BACKEND_H

#include "util/buf.h"

/*
 * Who checks logins for smtpd: vault, by tables, or Dovecot's auth socket. A backend is asked to
 * begin and then, after each challenge, to go on; it answers by challenge or done, once for each
 * time, from the event loop or from inside the call. After done or cancel it knows the exchange no
 * more. It need not watch the clock: auth.c does.
 */
struct auth_exchange;

enum auth_result { AUTH_OK, AUTH_WRONG, AUTH_LATER };

struct auth_outcome {
	enum auth_result result;
	struct slice login; /* AUTH_OK: who it is; else who was tried, if that is known */
	struct slice why;
	bool has_mark;
	uint64_t mark; /* the same for the same wrong password of the same login */
};

struct auth_events {
	/* Decoded. */
	void (*challenge)(struct auth_exchange *x, struct slice message);
	void (*done)(struct auth_exchange *x, const struct auth_outcome *o);
};

struct auth_backend {
	/* message: the initial response, decoded; p is NULL when there is none. */
	void (*begin)(struct auth_exchange *x, struct slice message);
	void (*respond)(struct auth_exchange *x, struct slice message);
	void (*cancel)(struct auth_exchange *x);
	/* Calls visit for each mechanism with its properties (sasl/mechanism.h). */
	void (*walk)(void (*visit)(const char *name, unsigned properties, void *arg), void *arg);
	int wait_sec;  /* for an answer */
	bool can_bind; /* to TLS: mechanisms whose names end in -PLUS */
};

/* Embedded by auth.c. */
struct auth_exchange {
	const struct auth_events *events;
	const struct auth_backend *backend;
	void *state;                 /* the backend's */
	const char *mechanism;       /* in upper case */
	const char *client, *server; /* addresses */
	uint16_t client_port, server_port;
	bool is_secured;     /* inside of TLS */
	bool offers_binding; /* a -PLUS mechanism was to be had */
	/* -PLUS: "type NUL data" of each kind that the session has, counted (util/wire.h). */
	struct slice bindings;
	/* EXTERNAL: what the client's trusted certificate is for; borrowed. */
	const char *const *names;
	size_t names_n;
};

extern const struct auth_backend auth_vault, auth_dovecot;

#endif

/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_SETTINGS_H
#define SMTPD_SETTINGS_H

#include <sys/types.h>

#include "map/match.h"
#include "policy/policy.h"

/*
 * What this listener's sessions need of the settings, worked out once: a generation of workers
 * never changes its settings.
 */
enum bare_lf { BARE_LF_NORMALIZE, BARE_LF_REJECT, BARE_LF_NOTE, BARE_LF_NO };

struct settings {
	const char *hostname; /* myhostname */
	const char *banner;   /* smtpd_banner */
	unsigned discarded;   /* EHLO_*: smtpd_discard_ehlo_keywords */
	bool vrfy, expn, helo_required, log_port, name_lookup, strict_pipelining, utf8, soft_bounce;
	bool deliver_by;        /* smtpd_deliver_by_enable */
	int64_t deliver_by_min; /* seconds */
	bool show_login;        /* smtpd_sasl_authenticated_header */
	bool wants_server_addr; /* something asks where clients have connected to */
	bool keep_cr;           /* cleanup_replace_stray_cr_lf = no */
	enum bare_lf bare_lf;
	int bare_lf_code;
	struct match *bare_lf_exclusions, *count_exceptions, *submitters;
	uint64_t size_limit;          /* 0: none */
	uint64_t stranger_size_limit; /* incoming_message_size_limit; 0: none of its own */
	int64_t timeout, error_sleep; /* microseconds */
	bool wants_proxy;             /* smtpd_upstream_proxy_protocol */
	int64_t proxy_timeout;
	struct match *xclient_hosts, *xforward_hosts, *verp_hosts;
	int64_t min_rate;                  /* bytes a second */
	size_t line_limit, response_limit; /* smtpd_sasl_response_limit */
	int rcpt_limit, rcpt_overshoot;
	unsigned tells; /* enum mail_class: of whose sessions the postmaster gets transcripts */
	uint64_t count_limit; /* smtpd_client_connection_count_limit */
	struct match *noop_words, *forbidden_words;
	struct map_list *command_filter, *discard_maps; /* NULL: none */
	struct policy *policy;
};

extern struct settings settings;

/* From the settings in force; opens tables, so it runs before rights are dropped. May log_fatal. */
void settings_open(void);

/* The lines of EHLO's reply behind the first one, for a client from whom these are kept. */
void settings_add_ehlo(struct buf *out, unsigned discarded);
/* SMTP_OPT_* of MAIL and RCPT for it. */
unsigned settings_options(unsigned discarded);

/* Does word stand in a list of commands, in any case? */
bool settings_has_word(struct slice list, struct slice word);

/*
 * authorized_submit_users: is this user on it? Users named in the list itself are known by their
 * names, all others by their uids.
 */
bool settings_may_submit(uid_t uid);

#endif

/* SPDX-License-Identifier: ISC */
#include "smtpd/settings.h"

#include <pwd.h>
#include <stdio.h>

#include "conf/conf.h"
#include "mail/mailclass.h"
#include "smtp/command.h"
#include "smtp/ehlo.h"
#include "smtpd/auth.h"
#include "smtpd/etrn.h"
#include "smtpd/footer.h"
#include "smtpd/limits.h"
#include "smtpd/gate.h"
#include "smtpd/starttls.h"
#include "smtpd/stress.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

struct settings settings;

static const struct {
	const char *name;
	unsigned bit;
} keywords[] = {
	{"PIPELINING", EHLO_PIPELINING},
	{"SIZE", EHLO_SIZE},
	{"VRFY", EHLO_VRFY},
	{"EXPN", EHLO_EXPN},
	{"ETRN", EHLO_ETRN},
	{"STARTTLS", EHLO_STARTTLS},
	{"ENHANCEDSTATUSCODES", EHLO_ENHANCEDSTATUSCODES},
	{"8BITMIME", EHLO_8BITMIME},
	{"DSN", EHLO_DSN},
	{"SMTPUTF8", EHLO_SMTPUTF8},
	{"CHUNKING", EHLO_CHUNKING},
	{"REQUIRETLS", EHLO_REQUIRETLS},
	{"DELIVERBY", EHLO_DELIVERBY},
};

static unsigned offered(unsigned discarded)
{
	unsigned bits = 0;

	for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++)
		bits |= keywords[i].bit;
	if (!settings.vrfy)
		bits &= ~(unsigned)EHLO_VRFY;
	if (!settings.expn)
		bits &= ~(unsigned)EHLO_EXPN;
	if (!settings.utf8)
		bits &= ~(unsigned)EHLO_SMTPUTF8;
	if (!settings.deliver_by)
		bits &= ~(unsigned)EHLO_DELIVERBY;
	return bits & ~discarded;
}

void settings_add_ehlo(struct buf *out, unsigned discarded)
{
	unsigned bits = offered(discarded), left = bits;

	for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++) {
		if ((bits & keywords[i].bit) == 0)
			continue;
		left &= ~keywords[i].bit;
		(void)buf_add_fmt(out, "250%c%s", left != 0 ? '-' : ' ', keywords[i].name);
		if (keywords[i].bit == EHLO_SIZE)
			(void)buf_add_fmt(
				out, " %lld", (long long)conf_int(P_smtpd_advertised_size_limit));
		if (keywords[i].bit == EHLO_DELIVERBY && settings.deliver_by_min > 0)
			(void)buf_add_fmt(out, " %lld", (long long)settings.deliver_by_min);
		(void)buf_add_str(out, "\r\n");
	}
}

unsigned settings_options(unsigned discarded)
{
	static const struct {
		unsigned keyword, option;
	} pairs[] = {
		{EHLO_SIZE, SMTP_OPT_SIZE},
		{EHLO_8BITMIME, SMTP_OPT_8BITMIME},
		{EHLO_DSN, SMTP_OPT_DSN},
		{EHLO_SMTPUTF8, SMTP_OPT_UTF8},
		{EHLO_REQUIRETLS, SMTP_OPT_REQUIRETLS},
		{EHLO_DELIVERBY, SMTP_OPT_DELIVERBY},
	};
	unsigned options = 0, bits = offered(discarded);

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		if ((bits & pairs[i].keyword) != 0)
			options |= pairs[i].option;
	if (conf_bool(P_strict_rfc821_envelopes))
		options |= SMTP_OPT_STRICT;
	if (auth_is_enabled())
		options |= SMTP_OPT_AUTH;
	if (conf_bool(P_strict_smtputf8))
		options |= SMTP_OPT_UTF8_STRICT;
	return options;
}

static enum bare_lf bare_lf_policy(const char *text)
{
	if (strcmp(text, "reject") == 0)
		return BARE_LF_REJECT;
	if (strcmp(text, "note") == 0)
		return BARE_LF_NOTE;
	return strcmp(text, "no") == 0 ? BARE_LF_NO : BARE_LF_NORMALIZE;
}

static struct match *open_match(enum param p, int flags)
{
	struct buf why = BUF_INIT(1024);
	struct match *m = NULL;

	if (match_open(conf_str(p), flags, &why, &m) != 0)
		log_fatal("%s: %s", conf_name(p), buf_str(&why));
	buf_clear(&why);
	return m;
}

/* NULL: there are none. */
static struct map_list *open_maps(enum param p)
{
	struct buf why = BUF_INIT(1024);
	struct map_list *list = NULL;

	if (map_list_open(conf_str(p), &why, &list) != 0)
		log_fatal("%s: %s", conf_name(p), buf_str(&why));
	if (map_list_is_empty(list))
		map_list_close(&list);
	buf_clear(&why);
	return list;
}

/*
 * Users named in authorized_submit_users, looked up while the machine's files can still be seen: a
 * session knows its user by number only.
 */
enum { SUBMITTERS_MAX = 1000 };

static struct {
	uid_t uid;
	char *name; /* owned */
} submitters[SUBMITTERS_MAX];
static size_t submitters_n;

static void find_submitters(void)
{
	struct slice rest = slice_str(conf_str(P_authorized_submit_users)), word;

	while (slice_token(&rest, ", \t\r\n", &word) && submitters_n < SUBMITTERS_MAX) {
		if (slice_starts(word, "!"))
			word = slice_from(word, 1);
		char *name = slice_dup(word);
		struct passwd *pw = slice_find(word, ':') < 0 ? getpwnam(name) : NULL;

		if (pw != NULL) {
			submitters[submitters_n].uid = pw->pw_uid;
			submitters[submitters_n++].name = name;
		} else {
			mem_free(name);
		}
	}
}

static void open_policy(void)
{
	struct buf why = BUF_INIT(1024);

	if (policy_open(&why, &settings.policy) != 0)
		log_fatal("%s", buf_str(&why));
	buf_clear(&why);
}

static void read_limits(void)
{
	settings.min_rate = conf_int(P_smtpd_min_data_rate);
	settings.line_limit = (size_t)conf_int(P_line_length_limit);
	settings.response_limit = (size_t)conf_int(P_smtpd_sasl_response_limit);
	settings.rcpt_limit = (int)conf_int(P_smtpd_recipient_limit);
	settings.rcpt_overshoot = (int)conf_int(P_smtpd_recipient_overshoot_limit);
	settings.count_limit = (uint64_t)conf_int(P_smtpd_client_connection_count_limit);
	if (conf_bool(P_smtpd_enforce_size_limit))
		settings.size_limit = (uint64_t)conf_int(P_message_size_limit);
	settings.stranger_size_limit = (uint64_t)conf_int(P_incoming_message_size_limit);
}

void settings_open(void)
{
	settings.hostname = conf_str(P_myhostname);
	settings.banner = conf_str(P_smtpd_banner);
	settings.vrfy = !conf_bool(P_disable_vrfy_command);
	settings.expn = !conf_bool(P_disable_expn_command);
	settings.helo_required = conf_bool(P_smtpd_helo_required);
	settings.log_port = conf_bool(P_smtpd_client_port_logging);
	settings.name_lookup = conf_bool(P_smtpd_peername_lookup);
	settings.strict_pipelining = conf_bool(P_smtpd_forbid_unauth_pipelining);
	settings.utf8 = conf_bool(P_smtputf8_enable);
	settings.deliver_by = conf_bool(P_smtpd_deliver_by_enable);
	settings.deliver_by_min = conf_time(P_smtpd_deliver_by_min_time) / CLOCK_SEC;
	settings.show_login = conf_bool(P_smtpd_sasl_authenticated_header);
	settings.soft_bounce = conf_bool(P_soft_bounce);
	settings.keep_cr = !conf_bool(P_cleanup_replace_stray_cr_lf);
	settings.bare_lf = bare_lf_policy(conf_str(P_smtpd_forbid_bare_newline));
	settings.bare_lf_code = (int)conf_int(P_smtpd_forbid_bare_newline_reject_code);
	settings.discarded = ehlo_keywords(slice_str(conf_str(P_smtpd_discard_ehlo_keywords)));
	settings.noop_words = open_match(P_smtpd_noop_commands, 0);
	settings.forbidden_words = open_match(P_smtpd_forbidden_commands, 0);
	settings.command_filter = open_maps(P_smtpd_command_filter);
	settings.discard_maps = open_maps(P_smtpd_discard_ehlo_keyword_address_maps);
	settings.bare_lf_exclusions =
		open_match(P_smtpd_forbid_bare_newline_exclusions, MATCH_PARENT);
	settings.count_exceptions = open_match(P_smtpd_client_event_limit_exceptions, MATCH_PARENT);
	settings.submitters = open_match(P_authorized_submit_users, 0);
	settings.xclient_hosts = open_match(P_smtpd_authorized_xclient_hosts, 0);
	settings.xforward_hosts = open_match(P_smtpd_authorized_xforward_hosts, 0);
	settings.tells = mail_classes(slice_str(conf_str(P_notify_classes))) &
			 ~(unsigned)(MAIL_CLASS_2BOUNCE | MAIL_CLASS_DELAY);
	settings.verp_hosts = open_match(P_smtpd_authorized_verp_clients, 0);
	settings.wants_proxy = *conf_str(P_smtpd_upstream_proxy_protocol) != '\0';
	settings.proxy_timeout = conf_time(P_smtpd_upstream_proxy_timeout);
	find_submitters();
	read_limits();
	stress_open();
	starttls_open();
	auth_open();
	limits_open();
	open_policy();
	gate_open();
	footer_open();
	etrn_open();
	settings.wants_server_addr = policy_uses(settings.policy, "check_policy_service");
}

bool settings_has_word(struct slice list, struct slice word)
{
	struct slice item;

	while (slice_token(&list, ", \t\r\n", &item))
		if (slice_case_eq(item, word))
			return true;
	return false;
}

bool settings_may_submit(uid_t uid)
{
	char number[16];

	for (size_t i = 0; i < submitters_n; i++)
		if (submitters[i].uid == uid)
			return match_domain(settings.submitters, slice_str(submitters[i].name),
				       NULL) == 0;
	(void)snprintf(number, sizeof(number), "%u", (unsigned)uid);
	return match_domain(settings.submitters, slice_str(number), NULL) == 0;
}

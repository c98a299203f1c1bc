/* SPDX-License-Identifier: ISC */
#include <stdio.h>

#include "conf/params.h"
#include "server/server.h"
#include "smtp-client/setting.h"
#include "t/tap.h"

/* As master says it to the program. */
static bool is_lmtp;

bool server_is_lmtp(void)
{
	return is_lmtp;
}

/* What LMTP does not know, or has alone. */
static const char *const smtp_alone[] = {"smtp_fallback_relay", "smtp_always_send_ehlo",
	"smtp_never_send_ehlo", "smtp_tls_dane_insecure_mx_policy"};
static const char *const lmtp_alone[] = {"lmtp_assume_final"};

/* Of another name than smtp_ with another letter. */
static const struct {
	const char *smtp, *lmtp;
} renamed[] = {{"smtp_helo_name", "lmtp_lhlo_name"}, {"smtp_helo_timeout", "lmtp_lhlo_timeout"},
	{"smtp_discard_ehlo_keywords", "lmtp_discard_lhlo_keywords"},
	{"smtp_discard_ehlo_keyword_address_maps", "lmtp_discard_lhlo_keyword_address_maps"}};

/* Defaults that differ, as in Postfix. */
static const char *const other_default[] = {"smtp_tcp_port", "smtp_connect_timeout",
	"smtp_skip_quit_response", "smtp_tls_security_level"};

static bool is_among(const char *name, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(name, list[i]) == 0)
			return true;
	return false;
}
#define IS_AMONG(name, list) is_among(name, list, sizeof(list) / sizeof(list[0]))

static const char *expected(const char *smtp)
{
	static char name[128];

	for (size_t i = 0; i < sizeof(renamed) / sizeof(renamed[0]); i++)
		if (strcmp(smtp, renamed[i].smtp) == 0)
			return renamed[i].lmtp;
	(void)snprintf(name, sizeof(name), "l%s", smtp + 1);
	return name;
}

/* "$smtp_x" and "$lmtp_x" are the same default. */
static bool is_same_default(const char *smtp, const char *lmtp)
{
	if (smtp[0] == '$' && strncmp(smtp + 1, "smtp_", 5) == 0)
		return lmtp[0] == '$' && strcmp(lmtp + 1, expected(smtp + 1)) == 0;
	return strcmp(smtp, lmtp) == 0;
}

/* A row of the SMTP client, and the one of LMTP. */
static void check_pair(enum param smtp, enum param lmtp)
{
	const struct param_row *s = param_row(smtp), *l = param_row(lmtp);

	is_str(l->name, expected(s->name), "LMTP reads its own for %s", s->name);
	ok(s->type == l->type && s->min == l->min && s->max == l->max && s->programs == l->programs,
		"%s is of the kind of %s", l->name, s->name);
	ok(IS_AMONG(s->name, other_default) || is_same_default(s->def, l->def),
		"its default \"%s\" is \"%s\"", l->def, s->def);
}

static void check_row(enum param p)
{
	const char *name = param_row(p)->name;
	enum param read;

	is_lmtp = false;
	if (setting_of(p) != p)
		fail("SMTP reads %s", name);
	is_lmtp = true;
	read = setting_of(p);
	if (strncmp(name, "smtp_", 5) != 0 || IS_AMONG(name, smtp_alone)) {
		if (read != p)
			fail("LMTP reads %s", name);
	} else if (read == p) {
		fail("LMTP has a row of its own for %s", name);
	} else {
		check_pair(p, read);
	}
}

/* Nothing of LMTP that is never read. */
static void check_lmtp_row(enum param p)
{
	const char *name = param_row(p)->name;

	if (strncmp(name, "lmtp_", 5) != 0 || IS_AMONG(name, lmtp_alone))
		return;
	is_lmtp = true;
	for (int i = 0; i < P_COUNT; i++)
		if ((enum param)i != p && setting_of((enum param)i) == p)
			return;
	fail("%s is read in the place of another", name);
}

int main(void)
{
	for (int i = 0; i < P_COUNT; i++) {
		check_row((enum param)i);
		check_lmtp_row((enum param)i);
	}
	return done_testing();
}

/* SPDX-License-Identifier: ISC */
#include "conf/check_trust.h"

#include <sys/stat.h>
#include <unistd.h>

#include "util/err.h"
#include "util/mem.h"

enum { PATHS_LIMIT = 10000 };

static const struct {
	enum param p;
	bool is_list, is_directory;
} rows[] = {
	{P_smtpd_tls_CAfile, false, false},
	{P_smtpd_tls_CApath, false, true},
	{P_smtp_tls_CAfile, false, false},
	{P_smtp_tls_CApath, false, true},
	{P_smtp_tls_trust_anchor_file, true, false},
	{P_lmtp_tls_CAfile, false, false},
	{P_lmtp_tls_CApath, false, true},
	{P_lmtp_tls_trust_anchor_file, true, false},
};

static const char *why_not(const char *path, bool is_directory)
{
	struct stat st;

	if (stat(path, &st) != 0 || access(path, R_OK) != 0)
		return err_str(ERR_SYS);
	if (is_directory)
		return S_ISDIR(st.st_mode) ? NULL : "not a directory";
	return S_ISREG(st.st_mode) ? NULL : "not a plain file";
}

static void check_row(const struct conf *c, size_t i, struct dict *seen, struct mistakes *m)
{
	const struct setting *s = set_find(c, slice_str(conf_name(rows[i].p)));
	struct slice rest = slice_str(set_str(c, rows[i].p)), item = slice_trim(rest);

	while (rows[i].is_list ? line_item(&rest, &item) : item.len > 0) {
		char *path = slice_dup(item);
		const char *why = why_not(path, rows[i].is_directory);

		/* What several services share is said once. */
		if (why != NULL && dict_get(seen, item) == NULL) {
			mistakes_error(m, s != NULL ? set_place(s, 0) : (struct place){0},
				"%s: %s: %s; expected a readable %s", conf_name(rows[i].p), path,
				why, rows[i].is_directory ? "directory" : "file");
			(void)dict_set(seen, item, seen);
		}
		mem_free(path);
		item = rows[i].is_list ? item : SLICE_NONE;
	}
}

/* Without it all mail of the service would wait. */
static void check_dane(const struct conf *c, bool is_lmtp, struct dict *seen, struct mistakes *m)
{
	enum param p = is_lmtp ? P_lmtp_tls_security_level : P_smtp_tls_security_level;
	enum param support = is_lmtp ? P_lmtp_dns_support_level : P_smtp_dns_support_level;
	const struct setting *s = set_find(c, slice_str(conf_name(p)));
	struct slice level = slice_str(set_str(c, p));

	if (!slice_starts(level, "dane") || strcmp(set_str(c, support), "dnssec") == 0 ||
		dict_get(seen, level) != NULL)
		return;
	mistakes_warning(m, s != NULL ? set_place(s, 0) : (struct place){0},
		"%s = %.*s without validated answers of name servers; expected %s = dnssec, mail "
		"waits",
		conf_name(p), SLICE_FMT(level), conf_name(support));
	(void)dict_set(seen, level, seen);
}

void check_trust(const struct instance *in, struct mistakes *m)
{
	struct dict *seen = dict_new(PATHS_LIMIT, NULL);

	for (size_t i = 0; i < in->services.count; i++) {
		const struct service *v = &in->services.service[i];

		for (size_t k = 0; k < sizeof(rows) / sizeof(*rows); k++) {
			unsigned readers = param_row(rows[k].p)->programs;

			if (!v->is_disabled && (check_program(v->program) & readers) != 0)
				check_row(in->settings[i], k, seen, m);
		}
		if (!v->is_disabled && check_program(v->program) == PROG_CLIENT)
			check_dane(in->settings[i], v->is_lmtp, seen, m);
	}
	dict_free(&seen);
}

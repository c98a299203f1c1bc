/* SPDX-License-Identifier: ISC */
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/check.h"
#include "conf/check_text.h"
#include "conf/check_trust.h"
#include "conf/value.h"
#include "conf/vault.h"
#include "util/err.h"
#include "util/mem.h"

enum {
	PATH_LIMIT = 4096,
	NAMES_LIMIT = 20000,
	TRANSPORTS_LIMIT = 1 << 20,
	RESTRICTIONS_MAX = 10000
};

static const struct {
	const char *program;
	unsigned programs;
} programs_of[] = {{"smtpd", PROG_SMTPD}, {"smtp-client", PROG_CLIENT}, {"cleanup", PROG_CLEANUP},
	{"qmgr", PROG_QMGR}, {"local", PROG_LOCAL}, {"virtual", PROG_LOCAL}, {"pipe", PROG_LOCAL},
	{"vault", PROG_VAULT}, {"resolver", PROG_RESOLVER}, {"tally", PROG_TALLY},
	{"monitor", PROG_MONITOR}};

/* Types that are a file, and how its name ends. */
static const struct {
	const char *type, *suffix;
} files[] = {{"hash", ".db"}, {"btree", ".db"}, {"lmdb", ".lmdb"}, {"pem", ""}, {"cidr", ""},
	{"pcre", ""}, {"texthash", ""}, {"regexp", ""}};
enum { REPLACED = 4 }; /* that many of them, from the first on, while workers run */

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

unsigned check_program(const char *program)
{
	for (size_t i = 0; i < COUNT(programs_of); i++) {
		if (strcmp(programs_of[i].program, program) == 0)
			return programs_of[i].programs;
	}
	return 0;
}

static struct slice without_prefixes(struct slice spec)
{
	while (slice_starts(spec, "!"))
		spec = slice_from(spec, 1);
	while (slice_starts(spec, "proxy:"))
		spec = slice_from(spec, strlen("proxy:"));
	return spec;
}

static size_t file_type(struct slice spec, struct slice *name)
{
	if (slice_starts(spec, "later:"))
		spec = slice_from(spec, strlen("later:"));
	for (size_t i = 0; i < COUNT(files); i++) {
		size_t n = strlen(files[i].type);

		*name = slice_from(spec, n + 1);
		if (slice_starts(spec, files[i].type) && spec.len > n + 1 && spec.p[n] == ':')
			return name->p[0] == '{' ? COUNT(files) : i;
	}
	return COUNT(files);
}

bool check_table_is_indexed(struct slice spec)
{
	struct slice name;

	return file_type(spec, &name) < REPLACED;
}

int check_table_path(struct slice spec, const char *dir, struct buf *path)
{
	struct slice name = spec;
	size_t type = COUNT(files);

	if (!slice_starts(spec, "/")) {
		type = file_type(spec, &name);
		if (type == COUNT(files))
			return ERR_NOT_FOUND;
	}
	if (name.p[0] != '/')
		buf_add_fmt(path, "%s/", dir);
	buf_add_slice(path, name);
	return buf_add_str(path, type != COUNT(files) ? files[type].suffix : "");
}

static struct place place_of(
	const struct conf *c, struct slice name, const char *text, struct slice item)
{
	const struct setting *s = set_find(c, name);
	struct place none = {0};

	if (s == NULL)
		return none;
	/* Only where nothing was expanded do offsets in both texts agree. */
	return set_place(s, strcmp(s->value, text) == 0 ? (size_t)(item.p - text) : 0);
}

struct table_walk {
	const struct conf *c;
	enum param p;
	struct slice name; /* of the setting: that of p, or of a class */
	const char *text;
	void (*visit)(enum param p, struct slice spec, struct place where, void *arg);
	void *arg;
};

/* One table, and those that it is made of. */
static void walk_table(const struct table_walk *w, struct slice spec, struct slice item, int depth)
{
	struct slice parts = value_table_parts(spec), part;

	w->visit(w->p, spec, place_of(w->c, w->name, w->text, item), w->arg);
	while (depth > 0 && line_item(&parts, &part))
		walk_table(w, without_prefixes(part), part, depth - 1);
}

static void walk_list(const struct table_walk *w, struct slice list, bool with_files)
{
	struct slice item;

	while (line_item(&list, &item)) {
		struct slice spec = without_prefixes(item), inside = value_without_braces(spec);

		if (value_has_name(item)) {
			(void)line_item(&list, &item);
			continue;
		}
		/* { type:name, attribute=value } behind a restriction. */
		if (inside.p != spec.p)
			walk_list(w, inside, false);
		else if (!value_is_address(spec) &&
			 (slice_find(spec, ':') > 0 || (with_files && slice_starts(spec, "/"))))
			walk_table(w, spec, item, VALUE_TABLE_DEPTH);
	}
}

/* The lists of smtpd_restriction_classes. */
static void walk_classes(const struct conf *c,
	void (*visit)(enum param p, struct slice spec, struct place where, void *arg), void *arg)
{
	struct slice names = slice_str(set_str(c, P_smtpd_restriction_classes)), name;

	while (line_item(&names, &name)) {
		const char *text = set_other(c, name);
		struct table_walk w = {c, P_smtpd_restriction_classes, name, text, visit, arg};

		if (text != NULL)
			walk_list(&w, slice_str(text), false);
	}
}

void check_walk_tables(const struct conf *c, unsigned programs,
	void (*visit)(enum param p, struct slice spec, struct place where, void *arg), void *arg)
{
	for (int i = 0; i < P_COUNT; i++) {
		const struct param_row *row = param_row((enum param)i);
		const char *text = set_str(c, (enum param)i);
		struct table_walk w = {c, (enum param)i, slice_str(row->name), text, visit, arg};

		if ((row->programs & programs) != 0 && row->type == PARAM_FILE && *text != '\0')
			visit((enum param)i, slice_str(text),
				place_of(c, w.name, text, slice_str(text)), arg);
		if ((row->programs & programs) != 0 &&
			(row->type == PARAM_MAPS || row->type == PARAM_MATCH ||
				row->type == PARAM_RESTRICT))
			walk_list(&w, slice_str(text), row->type == PARAM_MATCH);
	}
	if (param_row(P_smtpd_restriction_classes)->programs & programs)
		walk_classes(c, visit, arg);
}

struct table_check {
	const struct instance *in;
	size_t i; /* service */
	const struct conf *c;
	struct mistakes *m;
	struct dict *seen; /* paths that were reported */
	bool of_defaults;  /* this round is for values that no file sets */
};

/* NULL: a file that can be read. */
static const char *why_no_file(const char *path)
{
	struct stat st;

	if (stat(path, &st) != 0 || access(path, R_OK) != 0)
		return err_str(ERR_SYS);
	return S_ISREG(st.st_mode) ? NULL : "not a plain file";
}

/* Lists that smtpd cannot wait for: an answer that comes later would never be one. */
static bool is_read_at_once(enum param p)
{
	static const enum param lists[] = {P_mynetworks, P_smtpd_safe_clients,
		P_smtpd_client_event_limit_exceptions, P_smtpd_ban_exempt_clients,
		P_smtpd_authorized_xclient_hosts, P_smtpd_authorized_xforward_hosts,
		P_smtpd_sasl_exceptions_networks, P_smtpd_sasl_mechanism_filter,
		P_smtpd_forbid_bare_newline_exclusions, P_smtpd_noop_commands,
		P_smtpd_forbidden_commands};

	for (size_t i = 0; i < COUNT(lists); i++)
		if (lists[i] == p)
			return true;
	return false;
}

static bool is_asked(struct slice spec)
{
	return slice_starts(spec, "socketmap:") || slice_starts(spec, "tcp:") ||
	       slice_starts(spec, "unix:");
}

static void check_table(enum param p, struct slice spec, struct place where, void *arg)
{
	struct table_check *t = arg;
	struct buf path = BUF_INIT(PATH_LIMIT);
	const char *why = NULL;

	/* What vault opens is looked at where it is named. */
	if ((param_row(p)->programs & check_program(t->in->services.service[t->i].program)) == 0 &&
		!vault_reads(t->in, t->i, p))
		return;
	if (where.path != NULL && !t->of_defaults && is_read_at_once(p) && is_asked(spec))
		mistakes_error(t->m, where,
			"%s: %.*s answers later; expected a table that answers at once",
			conf_name(p), SLICE_FMT(spec));
	/* What a default refers to is looked at where it stands. */
	if ((where.path == NULL) == t->of_defaults &&
		(!t->of_defaults || strchr(param_row(p)->def, '$') == NULL) &&
		check_table_path(spec, set_str(t->c, P_queue_directory), &path) == 0 &&
		dict_get(t->seen, buf_slice(&path)) == NULL)
		why = why_no_file(buf_str(&path));
	if (why != NULL)
		dict_set(t->seen, buf_slice(&path), t);
	/* A machine without aliases has local users all the same. */
	if (why != NULL && t->of_defaults)
		mistakes_warning(t->m, where,
			"%s: %s: %s; expected the file that \"gatemap %.*s\" or newaliases makes",
			conf_name(p), buf_str(&path), why, SLICE_FMT(spec));
	else if (why != NULL && check_table_is_indexed(spec))
		mistakes_error(t->m, where,
			"%s: %s: %s; expected the file that \"gatemap %.*s\" makes", conf_name(p),
			buf_str(&path), why, SLICE_FMT(spec));
	else if (why != NULL)
		mistakes_error(t->m, where, "%s: %s: %s; expected a readable file", conf_name(p),
			buf_str(&path), why);
	buf_clear(&path);
}

static void check_tables(const struct instance *in, struct mistakes *m)
{
	struct table_check t = {.in = in, .m = m, .seen = dict_new(NAMES_LIMIT, NULL)};

	for (int round = 0; round < 2; round++) {
		t.of_defaults = round == 1;
		for (size_t i = 0; i < in->services.count; i++) {
			t.c = in->settings[i];
			t.i = i;
			check_walk_tables(t.c,
				check_program(in->services.service[i].program) | PROG_VAULT,
				check_table, &t);
		}
	}
	dict_free(&t.seen);
}

static const struct {
	enum param p;
	bool is_group;
} owners[] = {{P_smtpd_owner, false}, {P_cleanup_owner, false}, {P_qmgr_owner, false},
	{P_client_owner, false}, {P_vault_owner, false}, {P_resolver_owner, false},
	{P_tally_owner, false}, {P_default_privs, false}, {P_queue_group, true},
	{P_setgid_group, true}};

static bool has_vault(const struct instance *in)
{
	for (size_t i = 0; i < in->services.count; i++) {
		const struct service *v = &in->services.service[i];

		if (strcmp(v->program, "vault") == 0 && !v->is_disabled)
			return true;
	}
	return false;
}

static void check_owners(const struct instance *in, struct mistakes *m)
{
	const struct conf *c = in->main;

	for (size_t i = 0; i < COUNT(owners); i++) {
		if (owners[i].p == P_vault_owner && !has_vault(in))
			continue;
		const char *name = set_str(c, owners[i].p);
		const struct setting *s = set_find(c, slice_str(conf_name(owners[i].p)));
		struct place where = s != NULL ? set_place(s, 0) : (struct place){0};
		const struct passwd *pw = NULL;

		if (owners[i].is_group) {
			if (getgrnam(name) == NULL)
				mistakes_error(m, where,
					"%s: no group \"%s\"; expected the one that \"groupadd "
					"--system %s\" makes",
					conf_name(owners[i].p), name, name);
			continue;
		}
		pw = getpwnam(name);
		if (pw == NULL)
			mistakes_error(m, where,
				"%s: no user \"%s\"; expected the one that \"useradd --system "
				"--user-group "
				"--no-create-home --home-dir /nonexistent --shell "
				"/usr/sbin/nologin %s\" makes",
				conf_name(owners[i].p), name, name);
		else if (pw->pw_uid == 0)
			mistakes_error(m, where,
				"%s: \"%s\" is root; expected a user without rights",
				conf_name(owners[i].p), name);
	}
}

struct name_check {
	const struct instance *in;
	struct dict *references;
	struct mistakes *m;
};

/* NAME_destination_rate_delay: NAME is a transport. */
static bool is_of_transport(const struct name_check *k, struct slice name)
{
	size_t prefix = 0;

	if (param_find_transport(name, &prefix) == P_COUNT)
		return false;
	for (size_t i = 0; i < k->in->services.count; i++) {
		if (slice_eq_str(slice_first(name, prefix), k->in->services.service[i].name))
			return true;
	}
	return false;
}

/* A row that no program reads, or a name of Postfix without one. Its default costs nothing. */
static bool has_no_effect(const struct name_check *k, struct slice name, const struct setting *s)
{
	enum param p = param_find(name);
	size_t prefix = 0;

	if (dict_get(k->references, name) != NULL)
		return false;
	if (p == P_COUNT && is_of_transport(k, name))
		p = param_find_transport(name, &prefix);
	return p == P_COUNT ? param_is_unsupported(name)
			    : param_row(p)->programs == PROG_NONE &&
				      strcmp(s->value, param_row(p)->def) != 0;
}

/* qmgr's limit is one for all transports. */
static bool is_of_recipients(struct slice name)
{
	return slice_ends(name, "_recipient_limit") ||
	       slice_ends(name, "_recipient_refill_limit") ||
	       slice_ends(name, "_recipient_refill_delay");
}

/* smtpd does what postscreen does, by parameters that are mostly named alike. */
static void warn_of_no_effect(struct slice name, struct place where, struct mistakes *m)
{
	static const char before[] = "postscreen_";
	struct buf ours = BUF_INIT(1000);

	if (slice_starts(name, before)) {
		(void)buf_add_str(&ours, "smtpd_");
		(void)buf_add_slice(&ours, slice_from(name, sizeof(before) - 1));
		if (param_find(buf_slice(&ours)) == P_COUNT) {
			buf_reset(&ours);
			(void)buf_add_str(
				&ours, "smtpd_greet_wait, smtpd_dnsbl_sites or smtpd_safe_clients");
		}
	}
	if (is_of_recipients(name))
		(void)buf_add_str(&ours, "qmgr_message_recipient_limit");
	mistakes_warning(m, where, "%.*s is not supported; expected %s, it has no effect",
		SLICE_FMT(name), ours.len > 0 ? buf_str(&ours) : "another");
	buf_clear(&ours);
}

static bool check_name(struct slice name, const struct setting *s, void *arg)
{
	const struct name_check *k = arg;
	struct place where = {s->path, s->line, s->column};
	const char *nearest = NULL;
	size_t prefix = 0;

	if (has_no_effect(k, name, s)) {
		warn_of_no_effect(name, where, k->m);
		return true;
	}
	if (param_find(name) != P_COUNT || dict_get(k->references, name) != NULL ||
		is_of_transport(k, name))
		return true;
	if (param_find_transport(name, &prefix) != P_COUNT) {
		mistakes_error(k->m, where,
			"%.*s is for a service \"%.*s\"; expected one that master.cf lists",
			SLICE_FMT(name), (int)prefix, name.p);
		return true;
	}
	nearest = param_nearest(name);
	mistakes_error(k->m, where, "unknown parameter \"%.*s\"; expected %s%s%s", SLICE_FMT(name),
		nearest != NULL ? "\"" : "", nearest != NULL ? nearest : "one of gatepost.conf(5)",
		nearest != NULL ? "\"" : "");
	return true;
}

static void check_names(const struct instance *in, struct mistakes *m)
{
	struct name_check k = {in, dict_new(NAMES_LIMIT, NULL), m};

	set_add_references(in->main, k.references);
	for (size_t i = 0; i < in->services.count; i++)
		set_add_references(in->settings[i], k.references);
	set_walk(in->main, check_name, &k);
	for (size_t i = 0; i < in->services.count; i++)
		set_walk(in->settings[i], check_name, &k);
	dict_free(&k.references);
}

static bool is_below(const char *path, struct slice directory)
{
	size_t n = directory.len;

	while (n > 1 && directory.p[n - 1] == '/')
		n--;
	return slice_starts(slice_str(path), "/") && strlen(path) >= n &&
	       slice_eq(slice_first(slice_str(path), n), slice_first(directory, n)) &&
	       (path[n] == '/' || path[n] == '\0' || n == 1);
}

/* The directory that holds path, links followed; empty when it does not exist. */
static void real_directory(const char *path, char real[PATH_MAX])
{
	char *copy = slice_dup(slice_first(slice_str(path), (size_t)(strrchr(path, '/') - path)));

	if (realpath(*copy != '\0' ? copy : "/", real) == NULL)
		*real = '\0';
	mem_free(copy);
}

/* A log may be where the administrator said that logs are, or beside the configuration. */
static void check_log(const struct conf *c, struct mistakes *m)
{
	const char *path = set_str(c, P_maillog_file);
	struct slice own = slice_str(set_str(c, P_config_directory));
	const struct setting *s = set_find(c, SLICE_LIT("maillog_file"));
	struct slice rest = slice_str(set_str(c, P_maillog_file_prefixes)), item;

	char real[PATH_MAX] = "";

	if (strchr(path, '/') != NULL)
		real_directory(path, real);
	if (s == NULL || *path == '\0' || is_below(path, own) || is_below(real, own))
		return;
	while (line_item(&rest, &item)) {
		if (is_below(path, item))
			return;
	}
	mistakes_error(m, set_place(s, 0),
		"maillog_file: \"%s\" is not below maillog_file_prefixes; expected one of %s", path,
		set_str(c, P_maillog_file_prefixes));
}

static void check_programs(const struct instance *in, struct mistakes *m)
{
	for (size_t i = 0; i < in->services.count; i++) {
		const struct service *v = &in->services.service[i];
		char *path = mem_fmt("%s/%s", set_str(in->main, P_daemon_directory), v->program);
		struct place where = {in->services.path, v->line, v->column};

		if (v->kind == COMMAND_WORKER && !v->is_disabled && access(path, X_OK) != 0)
			mistakes_error(m, v->is_implied ? (struct place){0} : where,
				"%s: %s; expected a program in daemon_directory", path,
				err_str(ERR_SYS));
		mem_free(path);
	}
}

/* Two would want the same queue, or count apart. */
static void check_single(const struct instance *in, const char *program, struct mistakes *m)
{
	const struct service *first = NULL;

	for (size_t i = 0; i < in->services.count; i++) {
		const struct service *v = &in->services.service[i];

		if (strcmp(v->program, program) != 0 || v->is_disabled)
			continue;
		if (first != NULL)
			mistakes_error(m, (struct place){in->services.path, v->line, v->column},
				"%s/%s is a second %s; expected one, it stands in line %u", v->name,
				service_type_name(v->type), program, first->line);
		else
			first = v;
	}
}

static bool is_transport(const struct instance *in, struct slice name, const char **nearest)
{
	unsigned best = UINT_MAX;

	*nearest = NULL;
	for (size_t i = 0; i < in->services.count; i++) {
		const struct service *v = &in->services.service[i];
		unsigned d = 0;

		if (v->type == SERVICE_INET)
			continue;
		d = param_distance(name, slice_str(v->name));
		if (d == 0)
			return true;
		if (d < best && param_is_near(d, name.len)) {
			best = d;
			*nearest = v->name;
		}
	}
	return false;
}

/* TRANSPORT or TRANSPORT:NEXTHOP: a service of master.cf. */
static void check_transports(const struct instance *in, const struct conf *c, struct mistakes *m)
{
	static const enum param transports[] = {P_default_transport, P_relay_transport,
		P_local_transport, P_virtual_transport, P_mailbox_transport, P_best_mx_transport,
		P_address_verify_default_transport, P_address_verify_relay_transport,
		P_address_verify_local_transport, P_address_verify_virtual_transport};

	for (size_t i = 0; i < COUNT(transports); i++) {
		const char *text = set_str(c, transports[i]), *nearest = NULL;
		const struct setting *s = set_find(c, slice_str(conf_name(transports[i])));
		struct slice name = slice_first(slice_str(text), strcspn(text, ":"));

		if (name.len == 0 || is_transport(in, name, &nearest))
			continue;
		/* "$default_transport": that one's mistake, said once. */
		if (*set_raw(c, transports[i]) == '$')
			continue;
		mistakes_error(m, s != NULL ? set_place(s, 0) : (struct place){0},
			"%s: no service \"%.*s\"; expected %s%s%s", conf_name(transports[i]),
			SLICE_FMT(name), nearest != NULL ? "\"" : "",
			nearest != NULL ? nearest : "one that master.cf lists",
			nearest != NULL ? "\"" : "");
	}
}

/* A name that is none leaves mail going that was to wait. */
static void check_deferred(const struct instance *in, const struct conf *c, struct mistakes *m)
{
	const struct setting *s = set_find(c, slice_str(conf_name(P_defer_transports)));
	const char *text = set_str(c, P_defer_transports), *nearest = NULL;
	struct slice rest = slice_str(text), item;

	while (s != NULL && line_item(&rest, &item)) {
		size_t at = strcmp(s->value, text) == 0 ? (size_t)(item.p - text) : 0;

		if (!is_transport(in, item, &nearest))
			mistakes_warning(m, set_place(s, at),
				"%s: no service \"%.*s\"; expected %s%s%s, nothing waits by it",
				conf_name(P_defer_transports), SLICE_FMT(item),
				nearest != NULL ? "\"" : "",
				nearest != NULL ? nearest : "one that master.cf lists",
				nearest != NULL ? "\"" : "");
	}
}

/* What holds between parameters. */

static bool is_guard(struct slice name)
{
	return slice_case_eq_str(name, "reject") || slice_case_eq_str(name, "defer") ||
	       slice_case_eq_str(name, "defer_if_permit") ||
	       slice_case_eq_str(name, "reject_unauth_destination") ||
	       slice_case_eq_str(name, "defer_unauth_destination");
}

/*
 * Whether a guard is reached: 1 yes, 0 no, -1 the list ends before any. As lib/policy does it. left
 * bounds the walk, since classes may lead to themselves.
 */
static int guards(const struct conf *c, struct slice list, unsigned *left)
{
	struct slice item, argument;
	bool softened = false;

	while (*left > 0 && line_item(&list, &item)) {
		const char *class = set_other(c, item);
		int found = 0;

		(*left)--;
		if (value_has_argument(item) && !line_item(&list, &argument))
			return 0;
		if (slice_case_eq_str(item, "warn_if_reject")) {
			softened = true;
			continue;
		}
		if (slice_case_eq_str(item, "permit"))
			return -1;
		if (is_guard(item))
			found = 1;
		else if (class != NULL)
			found = guards(c, slice_str(class), left);
		if (found != 0 && !softened)
			return found;
		softened = false;
	}
	return 0;
}

static bool has_guard(const struct conf *c, enum param list)
{
	unsigned left = RESTRICTIONS_MAX;

	return guards(c, slice_str(set_str(c, list)), &left) > 0;
}

static void check_relay_control(const struct instance *in, struct mistakes *m)
{
	for (size_t i = 0; i < in->services.count; i++) {
		const struct conf *c = in->settings[i];
		const struct setting *s = set_find(c, SLICE_LIT("smtpd_relay_restrictions"));

		if (strcmp(in->services.service[i].program, "smtpd") != 0)
			continue;
		if (!has_guard(c, P_smtpd_relay_restrictions) &&
			!has_guard(c, P_smtpd_recipient_restrictions))
			mistakes_error(m, s != NULL ? set_place(s, 0) : (struct place){0},
				"smtpd_relay_restrictions and smtpd_recipient_restrictions let "
				"anybody relay; expected reject_unauth_destination, "
				"defer_unauth_destination, reject, defer or defer_if_permit in one "
				"of them");
	}
}

static void check_sandbox(const struct conf *c, struct mistakes *m)
{
	const struct setting *s = set_find(c, slice_str(conf_name(P_sandbox)));

	if (s != NULL && !set_bool(c, P_sandbox))
		mistakes_warning(m, set_place(s, 0),
			"sandbox = no: what breaks into a process is not held; expected yes but "
			"for debugging");
}

/* Which program answers which transport, for qmgr. */
static void name_transports(struct instance *in)
{
	struct buf text = BUF_INIT(TRANSPORTS_LIMIT);

	for (size_t i = 0; i < in->services.count; i++) {
		const struct service *v = &in->services.service[i];

		if (v->type != SERVICE_INET && !v->is_disabled)
			buf_add_fmt(&text, "%s%s=%s", text.len != 0 ? " " : "", v->name,
				v->kind == COMMAND_MISSING ? "missing" : v->program);
	}
	for (size_t i = 0; i < in->services.count; i++)
		set_override(in->settings[i], SLICE_LIT("transport_programs"), buf_slice(&text),
			NULL, NULL);
	buf_clear(&text);
}

const char *instance_needs_restart(const struct conf *before, const struct conf *now)
{
	static const enum param fixed[] = {P_queue_directory, P_data_directory, P_daemon_directory};

	for (size_t i = 0; i < COUNT(fixed); i++) {
		if (strcmp(set_str(before, fixed[i]), set_str(now, fixed[i])) != 0)
			return conf_name(fixed[i]);
	}
	return NULL;
}

void instance_read(struct instance *in, const char *dir, int checks, struct mistakes *m)
{
	*in = (struct instance){.main = conf_new(dir)};
	/* Without it all else would be judged by defaults. */
	if (set_read_main(in->main, m) != 0)
		return;
	set_build(in->main, m);
	services_read(&in->services, in->main, m);
	in->settings = mem_array(in->services.count + 1, sizeof(*in->settings));
	for (size_t i = 0; i < in->services.count; i++) {
		in->settings[i] =
			service_settings(&in->services, &in->services.service[i], in->main);
		set_build(in->settings[i], m);
	}
	check_leave_out_vault(in);
	check_names(in, m);
	check_relay_control(in, m);
	check_log(in->main, m);
	check_sandbox(in->main, m);
	check_texts(in->main, m);
	check_single(in, "qmgr", m);
	check_single(in, "tally", m);
	check_transports(in, in->main, m);
	check_deferred(in, in->main, m);
	/* What -o says. What is inherited is reported where it stands, once. */
	for (size_t i = 0; i < in->services.count; i++) {
		check_listener(&in->services, &in->services.service[i], m);
		check_texts(in->settings[i], m);
		check_sandbox(in->settings[i], m);
		check_transports(in, in->settings[i], m);
	}
	if ((checks & CHECK_OWNERS) != 0)
		check_owners(in, m);
	if ((checks & CHECK_PROGRAMS) != 0)
		check_programs(in, m);
	vault_check(in, (checks & CHECK_TABLES) != 0, m);
	if ((checks & CHECK_TABLES) != 0) {
		check_tables(in, m);
		check_trust(in, m);
	}
	name_transports(in);
}

void instance_clear(struct instance *in)
{
	for (size_t i = 0; in->settings != NULL && i < in->services.count; i++)
		conf_free(&in->settings[i]);
	mem_free(in->settings);
	services_clear(&in->services);
	conf_free(&in->main);
	*in = (struct instance){0};
}

/* SPDX-License-Identifier: ISC */
#include "tools/check_tables.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conf/plans.h"
#include "conf/vault.h"
#include "mail/template.h"
#include "map/match.h"
#include "sasl/mechanism.h"
#include "util/dict.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

enum { WHY_LIMIT = 65536, PATH_LIMIT = 4096, PLANS_SAID = 10, NAMES_SAID = 10 };

static bool looks_at_indexed, is_cleanup;
static const struct services *services;
static const struct conf *opening; /* whose queue_directory relative names start from */

static int open_file(const char *spec, int *fd)
{
	struct buf path = BUF_INIT(PATH_LIMIT);
	int r = check_table_path(slice_str(spec), set_str(opening, P_queue_directory), &path);

	*fd = -1;
	if (r == 0) {
		*fd = open(buf_str(&path), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		r = *fd >= 0 ? 0 : errno == ENOENT ? ERR_NOT_FOUND : ERR_SYS;
	}
	buf_clear(&path);
	return r;
}

static void report(struct mistakes *m, struct place where, enum param p, const struct buf *why)
{
	struct slice rest = slice_trim(buf_slice(why)), line;

	while (slice_part(&rest, '\n', &line))
		mistakes_error(m, where, "%s: %.*s", conf_name(p), SLICE_FMT(line));
}

/* ---- names in backoff_plan_maps that backoff_plans does not have ---- */

struct plan_check {
	const struct plans *plans;
	struct dict *seen;
	struct mistakes *m;
	struct place where;
};

static bool check_plan(struct slice key, struct slice value, void *arg)
{
	struct plan_check *k = arg;
	struct slice name = slice_trim(value);

	(void)key;
	if (!plans_has(k->plans, name) && dict_get(k->seen, name) == NULL &&
		dict_set(k->seen, name, k) == 0)
		mistakes_warning(k->m, k->where,
			"%s: no plan \"%.*s\"; expected one of backoff_plans, the default is used",
			conf_name(P_backoff_plan_maps), SLICE_FMT(name));
	return dict_count(k->seen) < PLANS_SAID;
}

static void check_plans(struct map *map, struct place where, struct mistakes *m)
{
	struct buf why = BUF_INIT(WHY_LIMIT);
	struct plan_check k = {.m = m, .where = where};
	struct plans *plans = NULL;
	size_t at;

	/* What is wrong with the plans themselves is said of them. */
	if (plans_parse(slice_str(set_str(opening, P_backoff_plans)), &why, &at, &plans) == 0) {
		k.plans = plans;
		k.seen = dict_new(PLANS_SAID, NULL);
		(void)map_walk(map, check_plan, &k);
		dict_free(&k.seen);
	}
	plans_free(&plans);
	buf_clear(&why);
}

/* ---- names in tables of transports that master.cf does not have ---- */

struct transport_check {
	struct dict *seen;
	struct mistakes *m;
	struct place where;
	enum param p;
};

static bool is_service(struct slice name)
{
	for (size_t i = 0; i < services->count; i++)
		if (services->service[i].type != SERVICE_INET &&
			slice_eq_str(name, services->service[i].name))
			return true;
	return false;
}

static bool check_transport(struct slice key, struct slice value, void *arg)
{
	struct transport_check *k = arg;
	ptrdiff_t colon = slice_find(value, ':');
	struct slice name = slice_trim(slice_first(value, colon < 0 ? value.len : (size_t)colon));
	bool is_dunno = colon < 0 && slice_case_eq_str(name, "DUNNO");

	(void)key;
	if (name.len > 0 && !is_dunno && slice_find(name, '$') < 0 && !is_service(name) &&
		dict_get(k->seen, name) == NULL && dict_set(k->seen, name, k) == 0)
		mistakes_warning(k->m, k->where,
			"%s: no service \"%.*s\"; expected one that master.cf lists, mail for it "
			"waits",
			conf_name(k->p), SLICE_FMT(name));
	return dict_count(k->seen) < NAMES_SAID;
}

static void check_transports(enum param p, struct map *map, struct place where, struct mistakes *m)
{
	struct transport_check k = {.m = m, .where = where, .p = p};

	k.seen = dict_new(NAMES_SAID, NULL);
	(void)map_walk(map, check_transport, &k);
	dict_free(&k.seen);
}

static void check_table(enum param p, struct slice spec, struct place where, void *arg)
{
	struct buf why = BUF_INIT(WHY_LIMIT), path = BUF_INIT(PATH_LIMIT);
	char *name = slice_dup(spec);
	struct map *map = NULL;
	int fd = -1;

	if (spec.p[0] == '/' || (where.path == NULL && *param_row(p)->def == '$')) {
		/* A file of a match list is read with the list; "$transport_maps", where it stands.
		 */
	} else if (map_open(name, &why, &map) != 0) {
		report(arg, where, p, &why);
	} else if (looks_at_indexed && map_is_failed(map) && open_file(name, &fd) == 0) {
		/* One that is missing is reported by conf/check.h. */
		buf_add_fmt(&why, "%s is damaged; expected the file that \"gatemap %s\" makes",
			name, name);
		report(arg, where, p, &why);
	} else if (p == P_backoff_plan_maps && !map_is_failed(map)) {
		check_plans(map, where, arg);
	} else if ((p == P_transport_maps || p == P_sender_dependent_default_transport_maps) &&
		   is_cleanup && !map_is_failed(map)) {
		check_transports(p, map, where, arg);
	}
	if (fd >= 0)
		close(fd);
	map_close(&map);
	mem_free(name);
	buf_clear(&why);
	buf_clear(&path);
}

static void check_match(const struct conf *c, enum param p, struct mistakes *m)
{
	const struct setting *s = set_find(c, slice_str(conf_name(p)));
	struct buf why = BUF_INIT(WHY_LIMIT);
	struct match *match = NULL;

	if (s != NULL && match_open(set_str(c, p), 0, &why, &match) != 0)
		report(m, set_place(s, 0), p, &why);
	match_close(&match);
	buf_clear(&why);
}

struct template_check {
	struct mistakes *m;
	const char *path;
};

static void report_template(
	enum template_grade grade, unsigned line, unsigned column, const char *text, void *arg)
{
	const struct template_check *k = arg;
	struct place where = {k->path, line, column};

	if (grade == TEMPLATE_ERROR)
		mistakes_error(k->m, where, "%s", text);
	else
		mistakes_warning(k->m, where, "%s", text);
}

/* bounce_template_file; that it is there was looked at by conf/check.h. */
static void check_templates(const struct conf *c, struct mistakes *m)
{
	struct template_check k = {m, set_str(c, P_bounce_template_file)};
	struct buf file = BUF_INIT(TEMPLATE_FILE_LIMIT), text = BUF_INIT(TEMPLATE_TEXT_LIMIT);
	struct templates *t = templates_new();
	int fd = *k.path != '\0' ? open(k.path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK) : -1;

	if (fd >= 0 && fd_read_all(fd, &file) == ERR_LIMIT)
		mistakes_error(m, (struct place){k.path, 0, 0},
			"more than %d bytes; expected a file of templates", TEMPLATE_FILE_LIMIT);
	else if (fd >= 0)
		templates_parse(t, buf_slice(&file), report_template, &k);
	for (int i = 0; fd >= 0 && i < TEMPLATES; i++) {
		buf_reset(&text);
		(void)template_expand(
			templates_get(t, (enum template_kind)i), c, report_template, &k, &text);
	}
	fd_close(&fd);
	templates_free(&t);
	buf_clear(&file);
	buf_clear(&text);
}

/* What a service that authenticates cannot do without. */
static void check_authentication(const struct instance *in, size_t i, struct mistakes *m)
{
	const struct conf *c = in->settings[i];
	const struct setting *s = set_find(c, slice_str(conf_name(P_smtpd_sasl_security_options)));
	struct buf why = BUF_INIT(WHY_LIMIT);
	struct sasl_options o;

	if (strcmp(in->services.service[i].program, "smtpd") == 0 &&
		set_bool(c, P_smtpd_sasl_auth_enable) &&
		sasl_options_parse(
			slice_str(set_str(c, P_smtpd_sasl_security_options)), &why, &o) != 0)
		report(m, s != NULL ? set_place(s, 0) : (struct place){0},
			P_smtpd_sasl_security_options, &why);
	s = set_find(c, slice_str(conf_name(P_smtpd_sasl_type)));
	if (check_wants_vault(in, i) && *set_str(c, P_smtpd_sasl_password_maps) == '\0')
		mistakes_error(m, s != NULL ? set_place(s, 0) : (struct place){0},
			"smtpd_sasl_type: \"table\" without a table; expected one in "
			"smtpd_sasl_password_maps");
	buf_clear(&why);
}

/* ---- keys and chains, which vault alone reads: it is run for that ---- */

enum { GROUPS_MAX = 100, ARGUMENTS = 3 };

struct chains {
	char *argument[ARGUMENTS + GROUPS_MAX + 1];
	struct place where[GROUPS_MAX];
	size_t n;
};

static void add_group(const char *group, struct place where, void *arg)
{
	struct chains *k = arg;

	for (size_t i = 0; i < k->n; i++)
		if (strcmp(k->argument[ARGUMENTS + i], group) == 0)
			return;
	if (k->n < GROUPS_MAX) {
		k->where[k->n] = where;
		k->argument[ARGUMENTS + k->n++] = mem_str(group);
	}
}

static int run_vault(char *const *argument, struct buf *out)
{
	int ends[2], status = 0, r = 0;
	pid_t pid = -1;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return ERR_SYS;
	pid = fork();
	if (pid == 0) {
		(void)dup2(ends[1], STDOUT_FILENO);
		(void)execv(argument[0], argument);
		_exit(127);
	}
	(void)close(ends[1]);
	r = pid > 0 ? fd_read_all(ends[0], out) : ERR_SYS;
	(void)close(ends[0]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return r == 0 && (!WIFEXITED(status) || WEXITSTATUS(status) > 1) ? ERR_SYS : r;
}

void check_chains_inside(const struct instance *in, struct mistakes *m)
{
	static const char warning[] = "warning: "; /* vault's word for it */
	struct chains k = {.n = 0};
	struct buf out = BUF_INIT(GROUPS_MAX * WHY_LIMIT);
	struct slice rest, line;

	vault_walk_chains(in, add_group, &k);
	k.argument[0] = mem_fmt("%s/vault", set_str(in->main, P_daemon_directory));
	k.argument[1] = mem_str("--check");
	k.argument[2] = mem_str(set_str(in->main, P_queue_directory));
	if (k.n > 0 && run_vault(k.argument, &out) != 0)
		mistakes_warning(m, (struct place){0},
			"keys and certificates were not looked at: %s cannot be run",
			k.argument[0]);
	rest = buf_slice(&out);
	for (size_t i = 0; i < k.n && slice_part(&rest, '\n', &line); i++)
		if (slice_starts(line, warning))
			mistakes_warning(m, k.where[i], "%.*s",
				SLICE_FMT(slice_from(line, strlen(warning))));
		else if (line.len > 0)
			mistakes_error(m, k.where[i], "%.*s", SLICE_FMT(line));
	for (size_t i = 0; i < ARGUMENTS + k.n; i++)
		mem_free(k.argument[i]);
	buf_clear(&out);
}

void check_tables_inside(const struct instance *in, bool with_indexed, struct mistakes *m)
{
	looks_at_indexed = with_indexed;
	services = &in->services;
	/* What is logged when a daemon opens a damaged table is said here in another way. */
	log_set_level(LOG_LEVEL_NONE);
	map_set_opener(open_file);
	for (size_t i = 0; i < in->services.count; i++) {
		unsigned programs = check_program(in->services.service[i].program);

		check_authentication(in, i, m);
		opening = in->settings[i];
		is_cleanup = (programs & PROG_CLEANUP) != 0;
		check_walk_tables(opening, programs, check_table, m);
		if (programs & PROG_CLEANUP)
			check_templates(opening, m);
		for (int p = 0; p < P_COUNT; p++) {
			const struct param_row *row = param_row((enum param)p);

			if (row->type == PARAM_MATCH && (row->programs & programs) != 0)
				check_match(opening, (enum param)p, m);
		}
	}
}

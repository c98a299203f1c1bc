/* SPDX-License-Identifier: ISC */
#include "conf/vault.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/err.h"
#include "util/mem.h"

enum { TEXT_LIMIT = 4 << 20, PATHS_LIMIT = 20000, PATH_LIMIT = 4096 };

/* The parameters of one program that name secrets. */
struct side {
	enum param chains, pairs[2][2]; /* certificate and key */
	enum param relay, sender_dependent, auth, tokens;
};

static const struct side server_side = {P_smtpd_tls_chain_files,
	{{P_smtpd_tls_cert_file, P_smtpd_tls_key_file},
		{P_smtpd_tls_eccert_file, P_smtpd_tls_eckey_file}},
	P_COUNT, P_COUNT, P_COUNT, P_COUNT};
static const struct side smtp_side = {P_smtp_tls_chain_files,
	{{P_smtp_tls_cert_file, P_smtp_tls_key_file},
		{P_smtp_tls_eccert_file, P_smtp_tls_eckey_file}},
	P_smtp_sasl_password_maps, P_smtp_sender_dependent_authentication, P_smtp_sasl_auth_enable,
	P_smtp_sasl_token_files};

/* The same of LMTP. */
static const struct side *lmtp_side(void)
{
	static struct side s;
	static bool is_made;

	if (is_made)
		return &s;
	is_made = true;
	s.chains = param_lmtp(smtp_side.chains);
	for (int i = 0; i < 4; i++)
		s.pairs[i / 2][i % 2] = param_lmtp(smtp_side.pairs[i / 2][i % 2]);
	s.relay = param_lmtp(smtp_side.relay);
	s.sender_dependent = param_lmtp(smtp_side.sender_dependent);
	s.auth = param_lmtp(smtp_side.auth);
	s.tokens = param_lmtp(smtp_side.tokens);
	return &s;
}

/* NULL: a service without secrets. */
static const struct side *side_of(const struct service *v)
{
	if (v->is_disabled || v->kind != COMMAND_WORKER)
		return NULL;
	if (strcmp(v->program, "smtpd") == 0)
		return &server_side;
	if (strcmp(v->program, "smtp-client") == 0)
		return v->is_lmtp ? lmtp_side() : &smtp_side;
	return NULL;
}

bool check_wants_vault(const struct instance *in, size_t i)
{
	return side_of(&in->services.service[i]) == &server_side &&
	       set_bool(in->settings[i], P_smtpd_sasl_auth_enable) &&
	       strcmp(set_str(in->settings[i], P_smtpd_sasl_type), "table") == 0;
}

static bool is_some(const char *file)
{
	return *file != '\0' && strcmp(file, "none") != 0;
}

bool vault_has_chain(const struct service *v, const struct conf *c)
{
	const struct side *s = side_of(v);

	return s != NULL &&
	       (*set_str(c, s->chains) != '\0' || is_some(set_str(c, s->pairs[0][0])) ||
		       is_some(set_str(c, s->pairs[1][0])));
}

static const char *relay_maps(const struct side *s, const struct conf *c)
{
	return s->relay != P_COUNT ? set_str(c, s->relay) : "";
}

static const char *sni_maps(const struct side *s, const struct conf *c)
{
	return s == &server_side ? set_str(c, P_tls_server_sni_maps) : "";
}

static bool has_secrets(const struct instance *in, size_t i)
{
	const struct service *v = &in->services.service[i];
	const struct conf *c = in->settings[i];
	const struct side *s = side_of(v);

	return s != NULL && (check_wants_vault(in, i) || vault_has_chain(v, c) ||
				    *sni_maps(s, c) != '\0' || *relay_maps(s, c) != '\0');
}

/* The vault that must know of the secrets of `only`, if it has any. */
static size_t vault_along(const struct instance *in, const struct service *only)
{
	size_t i = in->services.count;

	if (only == NULL || !has_secrets(in, (size_t)(only - in->services.service)))
		return i;
	while (i > 0 && strcmp(in->services.service[i - 1].program, "vault") != 0)
		i--;
	return i > 0 ? i - 1 : in->services.count;
}

bool vault_reads(const struct instance *in, size_t i, enum param p)
{
	const struct side *s = side_of(&in->services.service[i]);

	if (p == P_smtpd_sasl_password_maps)
		return check_wants_vault(in, i);
	return s != NULL && (p == s->relay || (p == P_tls_server_sni_maps && s == &server_side));
}

void check_leave_out_vault(struct instance *in)
{
	bool wanted = false;

	for (size_t i = 0; i < in->services.count; i++)
		wanted = wanted || has_secrets(in, i);
	for (size_t i = 0; i < in->services.count; i++) {
		struct service *v = &in->services.service[i];

		if (strcmp(v->program, "vault") == 0 && v->is_implied && !wanted)
			v->is_disabled = true;
	}
}

/* ---- what master tells vault ---- */

/* A value that was expanded will be so once more. */
static void add_value(struct buf *out, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '$')
			(void)buf_add_char(out, '$');
		(void)buf_add_char(out, *text);
	}
}

static void add_group(struct buf *out, const char *text)
{
	(void)buf_add_str(out, "{ ");
	add_value(out, text);
	(void)buf_add_str(out, " } ");
}

struct given {
	struct buf maps, files, services;
};

static void add_maps(struct given *g, const char *maps)
{
	add_group(&g->services, maps);
	add_value(&g->maps, maps);
	(void)buf_add_char(&g->maps, ' ');
}

static void add_file(struct given *g, const char *path)
{
	(void)buf_add_str(&g->files, VAULT_FILE);
	add_value(&g->files, path);
	(void)buf_add_char(&g->files, ' ');
	add_value(&g->services, path);
	(void)buf_add_char(&g->services, ' ');
}

static void add_pair(struct given *g, const struct conf *c, const enum param pair[2])
{
	if (!is_some(set_str(c, pair[0])))
		return;
	(void)buf_add_str(&g->services, "{ ");
	add_file(g, set_str(c, pair[0]));
	add_file(g, set_str(c, pair[1]));
	(void)buf_add_str(&g->services, "} ");
}

static void add_chains(struct given *g, const struct conf *c, const struct side *s)
{
	struct slice rest = slice_str(set_str(c, s->chains)), item;

	(void)buf_add_str(&g->services, "{ ");
	while (line_item(&rest, &item)) {
		char *path = slice_dup(item);

		add_file(g, path);
		mem_free(path);
	}
	if (*set_str(c, s->chains) == '\0') {
		add_pair(g, c, s->pairs[0]);
		add_pair(g, c, s->pairs[1]);
	}
	(void)buf_add_str(&g->services, "} ");
}

static void add_tokens(struct given *g, const struct conf *c, const struct side *s)
{
	struct slice rest = slice_str(s->tokens != P_COUNT ? set_str(c, s->tokens) : ""), item;

	(void)buf_add_str(&g->services, "{ ");
	while (line_item(&rest, &item)) {
		char *path = slice_dup(item);

		add_file(g, path);
		mem_free(path);
	}
	(void)buf_add_str(&g->services, "} ");
}

static void add_service(struct given *g, const struct instance *in, size_t i)
{
	const struct service *v = &in->services.service[i];
	const struct conf *c = in->settings[i];
	const struct side *s = side_of(v);
	bool with_logins = check_wants_vault(in, i);

	(void)buf_add_fmt(&g->services, "{ %s/%s ", v->name, service_type_name(v->type));
	add_group(&g->services, with_logins ? set_str(c, P_smtpd_sasl_local_domain) : "");
	add_maps(g, with_logins ? set_str(c, P_smtpd_sasl_password_maps) : "");
	add_chains(g, c, s);
	add_maps(g, sni_maps(s, c));
	add_maps(g, relay_maps(s, c));
	(void)buf_add_fmt(&g->services, "%s ",
		s->sender_dependent != P_COUNT && set_bool(c, s->sender_dependent) ? "yes" : "no");
	add_tokens(g, c, s);
	(void)buf_add_str(&g->services, "} ");
}

static void set_to(struct conf *c, enum param p, struct slice value)
{
	set_override(c, slice_str(conf_name(p)), value, NULL, NULL);
}

size_t check_give_vault(struct instance *in, const struct service *only)
{
	size_t along = vault_along(in, only);
	struct given g = {BUF_INIT(TEXT_LIMIT), BUF_INIT(TEXT_LIMIT), BUF_INIT(TEXT_LIMIT)};
	struct mistakes m;

	mistakes_init(&m);
	for (size_t i = 0; i < in->services.count; i++)
		if (has_secrets(in, i))
			add_service(&g, in, i);
	for (size_t i = 0; i < in->services.count; i++) {
		struct conf *c = in->settings[i];

		set_to(c, P_smtpd_sasl_password_maps, SLICE_NONE);
		set_to(c, P_smtp_sasl_password_maps, SLICE_NONE);
		set_to(c, P_lmtp_sasl_password_maps, SLICE_NONE);
		if (strcmp(in->services.service[i].program, "vault") == 0) {
			set_to(c, P_vault_tables, buf_slice(&g.maps));
			set_to(c, P_vault_files, buf_slice(&g.files));
			set_to(c, P_vault_services, buf_slice(&g.services));
			(void)set_build(c, &m);
		}
	}
	mistakes_clear(&m);
	buf_clear(&g.maps);
	buf_clear(&g.files);
	buf_clear(&g.services);
	return along;
}

bool vault_grants(const struct conf *settings, struct slice spec)
{
	struct slice rest = slice_str(set_str(settings, P_vault_files)), item;

	while (line_item(&rest, &item))
		if (slice_eq(item, spec))
			return true;
	return false;
}

void vault_walk_chains(const struct instance *in,
	void (*visit)(const char *group, struct place where, void *arg), void *arg)
{
	for (size_t i = 0; i < in->services.count; i++) {
		const struct side *side = side_of(&in->services.service[i]);
		const struct conf *c = in->settings[i];
		struct given g = {BUF_INIT(TEXT_LIMIT), BUF_INIT(TEXT_LIMIT), BUF_INIT(TEXT_LIMIT)};
		enum param p = P_COUNT;
		const struct setting *s = NULL;

		if (side == NULL || !vault_has_chain(&in->services.service[i], c))
			continue;
		p = *set_str(c, side->chains) != '\0'        ? side->chains
		    : is_some(set_str(c, side->pairs[0][0])) ? side->pairs[0][0]
							     : side->pairs[1][0];
		s = set_find(c, slice_str(conf_name(p)));
		add_chains(&g, c, side);
		visit(buf_str(&g.services), s != NULL ? set_place(s, 0) : (struct place){0}, arg);
		buf_clear(&g.files);
		buf_clear(&g.services);
	}
}

/* ---- what check finds ---- */

struct key_check {
	const struct conf *c;
	struct dict *seen;
	struct mistakes *m;
};

static bool is_token(enum param p)
{
	return p == P_smtp_sasl_token_files || p == P_lmtp_sasl_token_files;
}

static void check_file(const struct key_check *k, enum param p, struct slice name, size_t offset)
{
	const struct setting *s = set_find(k->c, slice_str(conf_name(p)));
	struct buf spec = BUF_INIT(PATH_LIMIT), path = BUF_INIT(PATH_LIMIT);
	struct stat st;
	const char *why = NULL;

	(void)buf_add_fmt(&spec, VAULT_FILE "%.*s", SLICE_FMT(name));
	if (check_table_path(buf_slice(&spec), set_str(k->c, P_queue_directory), &path) == 0 &&
		dict_get(k->seen, buf_slice(&path)) == NULL) {
		if (stat(buf_str(&path), &st) != 0 || access(buf_str(&path), R_OK) != 0)
			why = err_str(ERR_SYS);
		else if (!S_ISREG(st.st_mode))
			why = "not a plain file";
	}
	if (why != NULL) {
		(void)dict_set(k->seen, buf_slice(&path), k->seen);
		mistakes_error(k->m, s != NULL ? set_place(s, offset) : (struct place){0},
			"%s: %s: %s; expected a readable %sfile", conf_name(p), buf_str(&path), why,
			is_token(p) ? "" : "PEM ");
	}
	buf_clear(&spec);
	buf_clear(&path);
}

static void check_chain_files(const struct key_check *k, const struct side *side)
{
	const char *text = set_str(k->c, side->chains);
	const struct setting *s = set_find(k->c, slice_str(conf_name(side->chains)));
	struct slice rest = slice_str(text), item;

	while (line_item(&rest, &item))
		check_file(k, side->chains, item,
			s != NULL && strcmp(s->value, text) == 0 ? (size_t)(item.p - text) : 0);
	for (int i = 0; i < 2 && *text == '\0'; i++) {
		if (!is_some(set_str(k->c, side->pairs[i][0])))
			continue;
		for (int j = 0; j < 2; j++)
			check_file(k, side->pairs[i][j],
				slice_str(set_str(k->c, side->pairs[i][j])), 0);
	}
}

static void check_token_files(const struct key_check *k, const struct side *side)
{
	struct slice rest = SLICE_NONE, item;

	if (side->tokens == P_COUNT)
		return;
	rest = slice_str(set_str(k->c, side->tokens));
	while (line_item(&rest, &item))
		check_file(k, side->tokens, item, 0);
}

/* vault has descriptors of tables alone, not of files that are named in them. */
static void check_sni(const struct key_check *k)
{
	const char *text = set_str(k->c, P_tls_server_sni_maps);
	const struct setting *s = set_find(k->c, SLICE_LIT("tls_server_sni_maps"));
	struct slice rest = slice_str(text), item;

	while (s != NULL && line_item(&rest, &item)) {
		struct slice spec =
			slice_starts(item, "proxy:") ? slice_from(item, strlen("proxy:")) : item;

		if (!check_table_is_indexed(spec))
			mistakes_error(k->m,
				set_place(s,
					strcmp(s->value, text) == 0 ? (size_t)(item.p - text) : 0),
				"tls_server_sni_maps: %.*s is no indexed file; expected a table "
				"that \"gatemap -F\" makes, of the type hash, btree or lmdb",
				SLICE_FMT(item));
	}
}

/* ---- levels that need a certificate ---- */

/* What turns TLS on for a port; NULL: nothing does. */
static const struct setting *tls_setting(const struct conf *c, bool *is_mandatory)
{
	static const struct {
		enum param p;
		const char *value; /* NULL: yes */
		bool is_mandatory;
	} rows[] = {{P_smtpd_tls_wrappermode, NULL, true},
		{P_smtpd_tls_security_level, "encrypt", true},
		{P_smtpd_tls_security_level, "may", false}, {P_smtpd_enforce_tls, NULL, true},
		{P_smtpd_use_tls, NULL, false}};
	bool has_level = *set_str(c, P_smtpd_tls_security_level) != '\0';

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		enum param p = rows[i].p;

		if (has_level && (p == P_smtpd_enforce_tls || p == P_smtpd_use_tls))
			continue;
		*is_mandatory = rows[i].is_mandatory;
		if (rows[i].value == NULL ? set_bool(c, p)
					  : strcmp(set_str(c, p), rows[i].value) == 0)
			return set_find(c, slice_str(conf_name(p)));
	}
	return NULL;
}

/* What services share is said once. */
static bool is_said(const struct key_check *k, const struct setting *s)
{
	char where[PATH_LIMIT];

	(void)snprintf(where, sizeof(where), "%s:%u:%u", s->path != NULL ? s->path : "", s->line,
		s->column);
	if (dict_get(k->seen, slice_str(where)) != NULL)
		return true;
	(void)dict_set(k->seen, slice_str(where), k->seen);
	return false;
}

static void check_level(const struct key_check *k, const struct service *v)
{
	bool is_mandatory = false;
	const struct setting *s = tls_setting(k->c, &is_mandatory);

	if (v->type != SERVICE_INET || s == NULL || vault_has_chain(v, k->c) || is_said(k, s))
		return;
	if (is_mandatory)
		mistakes_error(k->m, set_place(s, 0),
			"TLS is required of clients, but there is no certificate; expected one in "
			"smtpd_tls_chain_files");
	else
		mistakes_warning(k->m, set_place(s, 0),
			"TLS is not offered, since there is no certificate; expected one in "
			"smtpd_tls_chain_files");
}

/* ---- logins that need credentials ---- */

static void check_login(const struct key_check *k, const struct side *side)
{
	const struct setting *s = NULL;

	if (side->auth == P_COUNT || !set_bool(k->c, side->auth) ||
		*set_str(k->c, side->relay) != '\0')
		return;
	s = set_find(k->c, slice_str(conf_name(side->auth)));
	if (s != NULL && !is_said(k, s))
		mistakes_error(k->m, set_place(s, 0),
			"%s: there are no credentials to log in with; expected a table in %s",
			conf_name(side->auth), conf_name(side->relay));
}

void vault_check(const struct instance *in, bool with_files, struct mistakes *m)
{
	struct key_check k = {.m = m, .seen = dict_new(PATHS_LIMIT, NULL)};
	const struct setting *reported = NULL;

	for (size_t i = 0; i < in->services.count; i++) {
		const struct side *side = side_of(&in->services.service[i]);
		const struct setting *s =
			set_find(in->settings[i], SLICE_LIT("tls_server_sni_maps"));

		k.c = in->settings[i];
		if (side != NULL && with_files) {
			check_chain_files(&k, side);
			check_token_files(&k, side);
		}
		if (side == &server_side)
			check_level(&k, &in->services.service[i]);
		else if (side != NULL)
			check_login(&k, side);
		if (side == &server_side && s != NULL &&
			(reported == NULL || s->line != reported->line)) {
			check_sni(&k);
			reported = s;
		}
	}
	dict_free(&k.seen);
}

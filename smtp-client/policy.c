/* SPDX-License-Identifier: ISC */
#include "smtp-client/policy.h"

#include <string.h>

#include "map/map.h"
#include "server/server.h"
#include "smtp-client/anchors.h"
#include "smtp-client/setting.h"
#include "smtp/xattr.h"
#include "util/dict.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

enum { KEY_LIMIT = 1 << 20, POLICY_KNOWN = 1000 };

static struct {
	struct policy *plain; /* what the parameters say */
	struct buf why;       /* why they say nothing that can be used, or empty */
	struct map_list *tables;
	struct dict *known; /* values of tables to what they mean, counted */
} policy = {.why = BUF_INIT(POLICY_VALUE_LIMIT)};

/* ---- The object. ---- */

static struct policy *policy_new(enum tls_level level)
{
	struct policy *p = mem_alloc(sizeof(*p));
	p->refs = 1;
	p->level = level;
	p->reuse = conf_bool(setting_of(P_smtp_tls_connection_reuse));
	return p;
}

struct policy *policy_ref(struct policy *p)
{
	p->refs++;
	return p;
}

void policy_unref(struct policy **pp)
{
	struct policy *p = *pp;
	*pp = NULL;
	if (p == NULL || --p->refs > 0) {
		return;
	}
	mem_free(p->protocols);
	mem_free(p->grade);
	mem_free(p->exclude);
	mem_free(p->servername);
	for (size_t i = 0; i < p->match_n; i++) {
		mem_free(p->match[i]);
	}
	mem_free(p->anchors);
	mem_free(p->anchor_files);
	mem_free(p->key);
	mem_free(p);
}

static int add_words(struct policy *p, struct slice text, const char *sep)
{
	struct slice word;
	while (slice_token(&text, sep, &word)) {
		if (p->match_n == POLICY_WORDS) {
			return ERR_LIMIT;
		}
		p->match[p->match_n++] = slice_dup(word);
	}
	return 0;
}

static void add_field(struct buf *key, char mark, const char *value)
{
	if (value != NULL) {
		buf_add_fmt(key, "\n%c%s", mark, value);
	}
}

/* All that makes one policy differ from another; parameters are the same for all of them. */
static void make_key(struct policy *p)
{
	struct buf key = BUF_INIT(KEY_LIMIT);
	buf_add_str(&key, tls_level_name(p->level));
	add_field(&key, 'p', p->protocols);
	add_field(&key, 'g', p->grade);
	add_field(&key, 'e', p->exclude);
	add_field(&key, 's', p->servername);
	for (size_t i = 0; i < p->match_n; i++) {
		add_field(&key, 'm', p->match[i]);
	}
	add_field(&key, 'a', p->anchor_files);
	add_field(&key, 'r', p->reuse ? "yes" : NULL);
	mem_free(p->key);
	p->key = slice_dup(buf_slice(&key));
	buf_clear(&key);
}

/* ---- Names to match, fingerprints, anchors: of the parameters where the entry has none. ---- */

static void add_text(char **text, struct slice more)
{
	char *joined = mem_fmt("%s%.*s\n", *text != NULL ? *text : "", SLICE_FMT(more));
	mem_free(*text);
	*text = joined;
}

static int add_anchors(struct policy *p, struct slice path, struct buf *why)
{
	const char *text = anchors_find(path);
	if (text == NULL) {
		buf_add_fmt(why, "trust anchors of %s are not known; files are read at start",
			log_q(path));
		return ERR_SYNTAX;
	}
	add_text(&p->anchors, slice_str(text));
	add_text(&p->anchor_files, path);
	return 0;
}

static int default_anchors(struct policy *p, struct buf *why)
{
	struct slice rest = slice_str(conf_str(setting_of(P_smtp_tls_trust_anchor_file))), path;
	int r = 0;
	if (p->anchors != NULL) {
		return 0;
	}
	while (r == 0 && slice_token(&rest, ", \t\r\n", &path)) {
		r = add_anchors(p, path, why);
	}
	return r;
}

static int default_names(struct policy *p, struct buf *why)
{
	enum param row = p->level == TLS_VERIFY ? setting_of(P_smtp_tls_verify_cert_match)
						: setting_of(P_smtp_tls_secure_cert_match);
	int r = p->match_n > 0 ? 0 : add_words(p, slice_str(conf_str(row)), ", \t\r\n:");
	if (r == 0 && p->match_n == 0) {
		buf_add_fmt(why, "no names to match at security level \"%s\"",
			tls_level_name(p->level));
		r = ERR_SYNTAX;
	}
	return r == 0 ? default_anchors(p, why) : r;
}

static int default_fingerprints(struct policy *p, struct buf *why)
{
	const char *text = conf_str(setting_of(P_smtp_tls_fingerprint_cert_match));
	int r = p->match_n > 0 ? 0 : add_words(p, slice_str(text), ", \t\r\n");
	if (r == 0 && p->match_n == 0) {
		buf_add_str(why, "configured at fingerprint security level, but with no "
				 "fingerprints to match");
		r = ERR_SYNTAX;
	}
	return r;
}

static int check_servername(const struct policy *p, struct buf *why)
{
	const char *name =
		p->servername != NULL ? p->servername : conf_str(setting_of(P_smtp_tls_servername));
	if (*name != '\0' && !smtp_is_hostname(slice_str(name))) {
		buf_add_fmt(why, "\"%s\" specifies an invalid hostname", log_qs(name));
		return ERR_SYNTAX;
	}
	return 0;
}

/* Fills in what the parameters say, and looks at what lib/tls will be told. */
static int complete(struct policy *p, struct buf *why)
{
	struct buf exclude = BUF_INIT(POLICY_VALUE_LIMIT);
	int r = 0;
	if (p->level == TLS_FINGERPRINT) {
		r = default_fingerprints(p, why);
	} else if (p->level == TLS_VERIFY || p->level == TLS_SECURE) {
		r = default_names(p, why);
	}
	if (r == 0 && p->level > TLS_NONE) {
		policy_add_exclusions(&exclude, p, p->level);
		r = check_servername(p, why);
		r = r == 0 ? tls_check_protocols(policy_protocols(p, p->level), why) : r;
		r = r == 0 ? tls_check_ciphers(policy_grade(p, p->level), buf_str(&exclude), why)
			   : r;
	}
	buf_clear(&exclude);
	if (r == ERR_LIMIT) {
		buf_add_fmt(why, "more than %d names to match", POLICY_WORDS);
		r = ERR_SYNTAX;
	}
	if (r == 0) {
		make_key(p);
	}
	return r;
}

const char *policy_protocols(const struct policy *p, enum tls_level level)
{
	if (p->protocols != NULL) {
		return p->protocols;
	}
	return conf_str(level > TLS_MAY ? setting_of(P_smtp_tls_mandatory_protocols)
					: setting_of(P_smtp_tls_protocols));
}

const char *policy_grade(const struct policy *p, enum tls_level level)
{
	if (p->grade != NULL) {
		return p->grade;
	}
	return conf_str(level > TLS_MAY ? setting_of(P_smtp_tls_mandatory_ciphers)
					: setting_of(P_smtp_tls_ciphers));
}

void policy_add_exclusions(struct buf *out, const struct policy *p, enum tls_level level)
{
	if (p->exclude != NULL) {
		buf_add_str(out, p->exclude);
	} else {
		buf_add_str(out, conf_str(setting_of(P_smtp_tls_exclude_ciphers)));
		if (level > TLS_MAY) {
			buf_add_fmt(out, " %s",
				conf_str(setting_of(P_smtp_tls_mandatory_exclude_ciphers)));
		}
	}
	/* An anonymous server cannot be verified, what is not encrypted is not secure. */
	if (level > TLS_MAY) {
		buf_add_str(out, level > TLS_ENCRYPT ? " aNULL" : " eNULL");
	}
}

/* ---- An entry of the table. ---- */

enum attribute { PROTOCOLS, CIPHERS, EXCLUDE, SERVERNAME, MATCH, TAFILE, REUSE, RPK };

static const char *const attributes[] = {"protocols", "ciphers", "exclude", "servername", "match",
	"tafile", "connection_reuse", "enable_rpk"};

static int take_once(char **to, const char *name, struct slice value, struct buf *why)
{
	if (*to != NULL) {
		buf_add_fmt(why, "attribute \"%s\" is specified multiple times", name);
		return ERR_SYNTAX;
	}
	*to = slice_dup(value);
	return 0;
}

static int invalid_here(const struct policy *p, const char *name, struct buf *why)
{
	buf_add_fmt(why, "attribute \"%s\" invalid at security level \"%s\"", name,
		tls_level_name(p->level));
	return ERR_SYNTAX;
}

static int take_reuse(struct policy *p, const char *name, struct slice value, struct buf *why)
{
	p->reuse = slice_case_eq_str(value, "yes");
	if (p->reuse || slice_case_eq_str(value, "no")) {
		return 0;
	}
	buf_add_fmt(why, "attribute \"%s\" has bad value: \"%s\"", name, log_q(value));
	return ERR_SYNTAX;
}

static int take_match(struct policy *p, const char *name, struct slice value, struct buf *why)
{
	if (p->level != TLS_FINGERPRINT && p->level != TLS_VERIFY && p->level != TLS_SECURE) {
		return invalid_here(p, name, why);
	}
	return add_words(p, value, p->level == TLS_FINGERPRINT ? "|" : ":");
}

static int take_value(struct policy *p, enum attribute a, struct slice value, struct buf *why)
{
	const char *name = attributes[a];
	if (value.len == 0 && a != EXCLUDE && a != SERVERNAME) {
		buf_add_fmt(why, "attribute \"%s\" has empty value", name);
		return ERR_SYNTAX;
	}
	switch (a) {
	case PROTOCOLS: return take_once(&p->protocols, name, value, why);
	case CIPHERS: return take_once(&p->grade, name, value, why);
	case EXCLUDE: return take_once(&p->exclude, name, value, why);
	case SERVERNAME: return take_once(&p->servername, name, value, why);
	case MATCH: return take_match(p, name, value, why);
	case TAFILE:
		return p->level == TLS_VERIFY || p->level == TLS_SECURE
			       ? add_anchors(p, value, why)
			       : invalid_here(p, name, why);
	case REUSE: return take_reuse(p, name, value, why);
	case RPK: break;
	}
	return 0;
}

static int take_attribute(struct policy *p, struct slice word, struct buf *why)
{
	struct slice rest = word, name;
	if (!slice_part(&rest, '=', &name) || rest.p == NULL || name.len == 0) {
		buf_add_fmt(why, "malformed attribute/value pair \"%s\"", log_q(word));
		return ERR_SYNTAX;
	}
	for (size_t a = 0; a < sizeof(attributes) / sizeof(attributes[0]); a++) {
		if (slice_case_eq_str(name, attributes[a])) {
			return take_value(p, (enum attribute)a, rest, why);
		}
	}
	buf_add_fmt(why, "invalid attribute name: \"%s\"", log_q(name));
	return ERR_SYNTAX;
}

static int parse_level(struct slice *rest, enum tls_level *level, struct buf *why)
{
	struct slice word;
	*level = TLS_NONE;
	if (!slice_token(rest, ", \t\r\n", &word)) {
		buf_add_str(why, "invalid empty policy");
		return ERR_SYNTAX;
	}
	if (tls_level_parse(word, level) != 0) {
		buf_add_fmt(why, "invalid security level \"%s\"", log_q(word));
		return ERR_SYNTAX;
	}
	return 0;
}

static int parse(struct slice rest, const char *where, struct policy **out, struct buf *why)
{
	struct slice word;
	enum tls_level level = TLS_NONE;
	int r = parse_level(&rest, &level, why);
	struct policy *p = policy_new(level);
	while (r == 0 && slice_token(&rest, ", \t\r\n", &word)) {
		if (level == TLS_NONE) {
			log_warning("%s: ignoring attribute \"%s\" with TLS disabled", where,
				log_q(word));
		} else {
			r = take_attribute(p, word, why);
		}
	}
	r = r == 0 ? complete(p, why) : r;
	if (r != 0) {
		policy_unref(&p);
	}
	*out = p;
	return r == ERR_LIMIT ? ERR_SYNTAX : r;
}

int policy_parse(struct slice value, const char *where, struct policy **p, struct buf *why)
{
	struct buf what = BUF_INIT(POLICY_VALUE_LIMIT);
	int r = parse(value, where, p, &what);
	if (r != 0) {
		buf_add_fmt(why, "%s: %s", where,
			what.len > 0 ? buf_str(&what) : "more than can be used");
	}
	buf_clear(&what);
	return r;
}

void policy_set_level(struct policy **pp, enum tls_level level)
{
	struct policy *old = *pp, *p = policy_new(level);
	struct buf why = BUF_INIT(POLICY_VALUE_LIMIT);
	p->protocols = mem_str(old->protocols);
	p->grade = mem_str(old->grade);
	p->exclude = mem_str(old->exclude);
	p->servername = mem_str(old->servername);
	p->reuse = old->reuse;
	if (complete(p, &why) != 0) {
		/* The names to match are the parameters' alone: nothing is, then. */
		log_warning("TLS policy: %s", buf_str(&why));
		make_key(p);
	}
	buf_clear(&why);
	policy_unref(pp);
	*pp = p;
}

/* ---- A next hop's. ---- */

static void free_known(void *p)
{
	struct policy *known = p;
	policy_unref(&known);
}

/* A table has few different values, and ciphers cost time to be looked at. */
static void remember(struct slice value, struct policy *p)
{
	if (dict_set(policy.known, value, policy_ref(p)) != 0) {
		policy_unref(&p);
		dict_free(&policy.known);
		policy.known = dict_new(POLICY_KNOWN, free_known);
	}
}

static enum tls_level default_level(struct buf *why)
{
	enum tls_level level = TLS_NONE;
	const char *name = conf_str(setting_of(P_smtp_tls_security_level));
	if (*name == '\0') {
		if (conf_bool(setting_of(P_smtp_enforce_tls))) {
			bool names = conf_bool(setting_of(P_smtp_tls_enforce_peername));
			return names ? TLS_VERIFY : TLS_ENCRYPT;
		}
		return conf_bool(setting_of(P_smtp_use_tls)) ? TLS_MAY : TLS_NONE;
	}
	if (tls_level_parse(slice_str(name), &level) != 0) {
		buf_add_fmt(why, "invalid security level \"%s\"", name);
	}
	return level;
}

static void read_anchors(void)
{
	struct slice rest = slice_str(conf_str(setting_of(P_smtp_tls_trust_anchor_file))), path;
	anchors_init();
	while (slice_token(&rest, ", \t\r\n", &path)) {
		(void)anchors_read(path);
	}
	anchors_read_tables(policy.tables);
}

void policy_init(void)
{
	struct buf why = BUF_INIT(POLICY_VALUE_LIMIT);
	enum param maps = setting_of(P_smtp_tls_policy_maps);
	if (map_list_open(conf_str(maps), &why, &policy.tables) != 0) {
		log_fatal("%s: %s", conf_name(maps), buf_str(&why));
	}
	read_anchors();
	policy.known = dict_new(POLICY_KNOWN, free_known);
	policy.plain = policy_new(default_level(&policy.why));
	if (policy.why.len == 0) {
		(void)complete(policy.plain, &policy.why);
	}
	if (policy.why.len > 0) {
		log_warning("%s", log_q(buf_slice(&policy.why)));
	}
	buf_clear(&why);
}

static int found(int r, struct slice key, struct slice value, struct policy **p, struct buf *why)
{
	char *where = mem_fmt("%s, next-hop destination \"%s\"",
		conf_name(setting_of(P_smtp_tls_policy_maps)), log_q(key));
	struct policy *known = r == 0 ? dict_get(policy.known, value) : NULL;
	if (known != NULL) {
		*p = policy_ref(known);
	} else if (r == 0) {
		r = policy_parse(value, where, p, why);
		if (r == 0) {
			remember(value, *p);
		}
	} else {
		buf_add_fmt(why, "%s: lookup error", where);
	}
	mem_free(where);
	return r;
}

/* A domain is followed by its parents, ".parent" each; anything else is looked up as it is. */
static struct slice parent_of(struct slice key)
{
	ptrdiff_t dot = key.len > 0 ? slice_find(slice_from(key, 1), '.') : -1;
	return dot >= 0 ? slice_from(key, (size_t)dot + 1) : SLICE_NONE;
}

static bool is_domain(struct slice site)
{
	bool has_letter = false;
	for (size_t i = 0; i < site.len; i++) {
		has_letter = has_letter || strchr("0123456789.", site.p[i]) == NULL;
	}
	return has_letter && smtp_is_hostname(site);
}

int policy_find(struct slice site, struct later *l, struct policy **p, struct buf *why)
{
	bool parents = is_domain(site);
	struct buf value = BUF_INIT(POLICY_VALUE_LIMIT);
	int r = ERR_NOT_FOUND;
	*p = NULL;
	while (r == ERR_NOT_FOUND && site.len > 0 && !map_list_is_empty(policy.tables)) {
		r = map_list_find(policy.tables, site, l, &value);
		if (r != ERR_NOT_FOUND && r != ERR_LATER) {
			r = found(r, site, buf_slice(&value), p, why);
		}
		site = parents ? parent_of(site) : SLICE_NONE;
	}
	if (r == ERR_NOT_FOUND) {
		r = policy.why.len > 0 ? ERR_SYNTAX : 0;
		buf_add_slice(why, buf_slice(&policy.why));
		*p = r == 0 ? policy_ref(policy.plain) : NULL;
	}
	buf_clear(&value);
	return r;
}

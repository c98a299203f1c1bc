/* SPDX-License-Identifier: ISC */
#include "smtp-client/checks.h"

#include "conf/conf.h"
#include "mail/header.h"
#include "smtp-client/setting.h"
#include "smtp-client/tables.h"
#include "util/err.h"
#include "util/log.h"

enum { WHY_LIMIT = 4096, LOGGED = 60 };

static const enum param names[CHECKS_KINDS] = {P_smtp_header_checks, P_smtp_mime_header_checks,
	P_smtp_nested_header_checks, P_smtp_body_checks};

static struct map_list *tables[CHECKS_KINDS];

static const char *name_of(enum checks_kind kind)
{
	return conf_name(setting_of(names[kind]));
}

void checks_init(void)
{
	/* Each line of a header or body goes through these tables. */
	map_set_machine_code(true);
	for (int i = 0; i < CHECKS_KINDS; i++) {
		tables_open(setting_of(names[i]), &tables[i]);
	}
	map_set_machine_code(false);
}

bool checks_is_on(enum checks_kind kind)
{
	return !map_list_is_empty(tables[kind]);
}

enum checks_kind checks_kind_of(const struct mime_data *field)
{
	if (field->field != MIME_OTHER_FIELD || field->section == MIME_MULTIPART) {
		return CHECKS_MIME;
	}
	return field->section == MIME_NESTED ? CHECKS_NESTED : CHECKS_HEADER;
}

void checks_add_key(struct buf *out, struct slice field, struct slice name)
{
	struct slice rest = field, line;
	buf_add_slice(out, name);
	rest = slice_from(rest, (size_t)(slice_find(rest, ':') > 0 ? slice_find(rest, ':') : 0));
	for (bool first = true; rest.len > 0 && slice_part(&rest, '\n', &line); first = false) {
		if (!first) {
			buf_add_char(out, '\n');
		}
		buf_add_slice(out, slice_ends(line, "\r") ? slice_first(line, line.len - 1) : line);
	}
}

/* ---- Actions. ---- */

struct found {
	enum checks_kind kind;
	const char *id;
	struct slice key, args;
};

static void log_action(const struct found *f, const char *action)
{
	struct buf line = BUF_INIT(WHY_LIMIT);
	log_quote(&line, f->key, LOGGED);
	if (f->args.len > 0) {
		buf_add_str(&line, ": ");
		log_quote(&line, f->args, WHY_LIMIT / 2);
	}
	log_info("%s: %s: %s %s", f->id, action, f->kind == CHECKS_BODY ? "body" : "header",
		buf_str(&line));
	buf_clear(&line);
}

/* A text for another line; a header's must be one. */
static bool has_text(const struct found *f, const char *action)
{
	if (f->args.len == 0) {
		log_warning("%s action without text in %s map", action, name_of(f->kind));
		return false;
	}
	if (f->kind != CHECKS_BODY && header_name_len(f->args) == 0) {
		log_warning("bad %s header text \"%s\" in %s map -- need \"headername: "
			    "headervalue\"",
			action, log_q(f->args), name_of(f->kind));
		return false;
	}
	return true;
}

/* value: action and text as the table has them. */
static void apply(const struct found *f, struct slice action, struct slice value,
	struct checks_result *result)
{
	if (slice_case_eq_str(action, "WARN")) {
		log_action(f, "warning");
	} else if (slice_case_eq_str(action, "INFO")) {
		log_action(f, "info");
	} else if (slice_case_eq_str(action, "REPLACE")) {
		if (has_text(f, "REPLACE")) {
			log_action(f, "replace");
			result->fate = CHECKS_REPLACE;
		}
	} else if (slice_case_eq_str(action, "PREPEND")) {
		if (has_text(f, "PREPEND")) {
			log_action(f, "prepend");
			result->prepend = true;
		}
	} else if (slice_case_eq_str(action, "STRIP")) {
		log_action(f, "strip");
		result->fate = CHECKS_DROP;
	} else if (slice_case_eq_str(action, "IGNORE")) {
		result->fate = CHECKS_DROP;
	} else if (!slice_case_eq_str(action, "DUNNO") && !slice_case_eq_str(action, "OK")) {
		log_warning("unsupported command in %s map: %s", name_of(f->kind), log_q(value));
	}
}

/* What a pattern has taken from a folded field has its lines as the key has them. */
static void add_text(struct buf *out, struct slice text)
{
	struct slice line;
	while (text.len > 0 && slice_part(&text, '\n', &line)) {
		if (line.len > 0) {
			buf_add_str(out, out->len > 0 ? "\r\n" : "");
			buf_add_slice(out, line);
		}
	}
}

int checks_find(enum checks_kind kind, const char *id, struct slice key, struct later *l,
	struct checks_result *result)
{
	struct buf value = BUF_INIT((size_t)conf_int(P_header_size_limit) + MAP_VALUE_LIMIT);
	result->fate = CHECKS_KEEP;
	result->prepend = false;
	buf_reset(&result->text);
	int r = map_list_find(tables[kind], key, l, &value);
	if (r == 0) {
		struct found f = {.kind = kind, .id = id, .key = key, .args = buf_slice(&value)};
		struct slice action = SLICE_NONE;
		(void)slice_token(&f.args, " \t", &action);
		f.args = slice_trim(f.args);
		apply(&f, action, buf_slice(&value), result);
		if (result->prepend || result->fate == CHECKS_REPLACE) {
			add_text(&result->text, f.args);
		}
	}
	if ((r == ERR_TEMP && buf_failed(&value)) || buf_failed(&result->text)) {
		r = ERR_LIMIT;
	}
	buf_clear(&value);
	return r == ERR_NOT_FOUND ? 0 : r;
}

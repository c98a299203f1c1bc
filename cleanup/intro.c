/* SPDX-License-Identifier: ISC */
#include "cleanup/intro.h"

#include "server/server.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"

static struct templates *templates;
static struct intro intros[TEMPLATES];

static void warn(
	enum template_grade grade, unsigned line, unsigned column, const char *text, void *arg)
{
	(void)grade;
	log_warning("%s, line %u, column %u: %s", buf_str(arg), line, column, log_qs(text));
}

static void read_file(const char *path, void *arg)
{
	struct buf file = BUF_INIT(TEMPLATE_FILE_LIMIT);
	int fd = -1, err = server_open_table(path, &fd);

	if (err == 0)
		err = fd_read_all(fd, &file);
	if (err == 0)
		templates_parse(templates, buf_slice(&file), warn, arg);
	else
		log_warning("bounce_template_file %s: %s", path, err_str(err));
	fd_close(&fd);
	buf_clear(&file);
}

static void expand_one(enum template_kind kind, void *arg)
{
	struct intro *intro = &intros[kind];
	struct slice text;

	buf_init(&intro->text, TEMPLATE_TEXT_LIMIT);
	intro->template = templates_get(templates, kind);
	if (template_expand(intro->template, set_in_force(), warn, arg, &intro->text) != 0) {
		templates_drop(templates, kind);
		(void)template_expand(intro->template, set_in_force(), NULL, NULL, &intro->text);
	}
	text = buf_slice(&intro->text);
	intro->has_dot_line = slice_starts(text, ".") || slice_find_str(text, "\n.") >= 0;
}

void intro_open(void)
{
	const char *path = conf_str(P_bounce_template_file);
	struct buf name = BUF_INIT(4096);

	templates = templates_new();
	(void)buf_add_str(&name, path);
	if (*path != '\0')
		read_file(path, &name);
	for (int i = 0; i < TEMPLATES; i++)
		expand_one((enum template_kind)i, &name);
	buf_clear(&name);
}

const struct intro *intro_of(enum dsn_kind kind)
{
	static const enum template_kind of[] = {[DSN_FAILED] = TEMPLATE_FAILURE,
		[DSN_DELAYED] = TEMPLATE_DELAY,
		[DSN_DELIVERED] = TEMPLATE_SUCCESS,
		[DSN_TRACED] = TEMPLATE_VERIFY};

	return &intros[of[kind]];
}

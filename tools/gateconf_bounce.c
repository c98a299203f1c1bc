/* SPDX-License-Identifier: ISC */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "mail/template.h"
#include "tools/gateconf.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

/* gateconf -b and -t: what notices begin with. */
struct show {
	struct gateconf *g;
	const char *path;
};

static void tell(
	enum template_grade grade, unsigned line, unsigned column, const char *text, void *arg)
{
	const struct show *s = arg;
	struct place where = {s->path, line, column};

	if (grade == TEMPLATE_ERROR)
		mistakes_error(&s->g->mistakes, where, "%s", text);
	else
		mistakes_warning(&s->g->mistakes, where, "%s", text);
}

static int read_file(struct show *s, struct templates *t)
{
	struct buf file = BUF_INIT(TEMPLATE_FILE_LIMIT);
	int fd = open(s->path, O_RDONLY | O_CLOEXEC), err = fd < 0 ? ERR_SYS : 0;

	if (err == 0)
		err = fd_read_all(fd, &file);
	if (err == 0)
		templates_parse(t, buf_slice(&file), tell, s);
	else
		fprintf(stderr, "%s: fatal: open %s: %s\n", gateconf_name, s->path, err_str(err));
	fd_close(&fd);
	buf_clear(&file);
	return err == 0 ? 0 : 1;
}

static void print(struct show *s, const struct templates *t, const struct conf *c)
{
	struct buf out = BUF_INIT(TEMPLATES * (TEMPLATE_TEXT_LIMIT + 4096));

	for (int i = 0; i < TEMPLATES; i++) {
		enum template_kind kind = (enum template_kind)i;

		buf_add_str(&out, i > 0 ? "\n" : "");
		if (s->g->bounce_source) {
			template_print(templates_get(t, kind), kind, &out);
			continue;
		}
		buf_add_fmt(&out, "expanded_%s_text = <<EOF\n", template_name(kind));
		(void)template_expand(templates_get(t, kind), c, tell, s, &out);
		buf_add_str(&out, "EOF\n");
	}
	fwrite(buf_str(&out), 1, out.len, stdout);
	buf_clear(&out);
}

int gateconf_bounce(struct gateconf *g, char **names)
{
	struct conf *c = conf_new(g->dir);
	struct templates *t = templates_new();
	struct show s = {.g = g};
	int r = 0;

	if (*names != NULL && names[1] != NULL) {
		fprintf(stderr, "%s: fatal: options -b and -t require at most one template file\n",
			gateconf_name);
		r = 1;
		goto out;
	}
	set_read_main(c, &g->mistakes);
	set_build(c, &g->mistakes);
	s.path = *names != NULL ? *names : set_str(c, P_bounce_template_file);
	if (*s.path != '\0')
		r = read_file(&s, t);
	if (r == 0)
		print(&s, t, c);
out:
	templates_free(&t);
	conf_free(&c);
	return r;
}

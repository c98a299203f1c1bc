/* SPDX-License-Identifier: ISC */
#ifndef MAIL_TEMPLATE_H
#define MAIL_TEMPLATE_H

#include "conf/set.h"

/*
 * What notices to people begin with: four templates, built in or of a file (bounce_template_file),
 * whose format is that of Postfix; see gatepost-bounce(5). Pure.
 */
enum template_kind {
	TEMPLATE_FAILURE,
	TEMPLATE_DELAY,
	TEMPLATE_SUCCESS,
	TEMPLATE_VERIFY,
	TEMPLATES
};

enum { TEMPLATE_FILE_LIMIT = 1 << 20, TEMPLATE_TEXT_LIMIT = 256 << 10 };

struct template
{
	char *charset, *from, *subject; /* owned */
	char *copy_subject;             /* owned; for the postmaster; NULL: subject */
	char *text;                     /* owned; lines that end in LF, $name not replaced */
	unsigned line;                  /* where the text begins in the file; 0: built in */
	unsigned first;                 /* where the template does */
};

/* "failure", "delay", "success", "verify". */
const char *template_name(enum template_kind kind);

struct templates;
struct templates *templates_new(void); /* owned; the built-in ones */
void templates_free(struct templates **t);
/* The built-in one again. */
void templates_drop(struct templates *t, enum template_kind kind);
const struct template *templates_get(const struct templates *t, enum template_kind kind);

/*
 * Takes over what a file says. Each mistake is told with its line and column (0: the whole line);
 * the template it is in stays as it was.
 */
enum template_grade { TEMPLATE_WARNING, TEMPLATE_ERROR };
typedef void (*template_tell)(
	enum template_grade grade, unsigned line, unsigned column, const char *text, void *arg);
void templates_parse(struct templates *t, struct slice file, template_tell tell, void *arg);

/*
 * The text with each $name replaced by its value in a built set. Beside the parameters there are
 * delay_warning_time and maximal_queue_lifetime with _seconds, _minutes, _hours, _days or _weeks
 * behind them. What is wrong in a template of a file is told; tell may be NULL. ERR_SYNTAX,
 * ERR_LIMIT: nothing is appended.
 */
int template_expand(const struct template *t, const struct conf *c, template_tell tell, void *arg,
	struct buf *out);

/* As a file holds it, "NAME_template = <<EOF …". */
void template_print(const struct template *t, enum template_kind kind, struct buf *out);

#endif

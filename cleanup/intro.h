/* SPDX-License-Identifier: ISC */
#ifndef CLEANUP_INTRO_H
#define CLEANUP_INTRO_H

#include "mail/dsn.h"
#include "mail/template.h"

/* What notices begin with: the templates of bounce_template_file, made ready when we start. */
struct intro {
	const struct template *template;
	struct buf text; /* each $name replaced */
	bool has_dot_line;
};

/*
 * While files can be opened. What is wrong with the file is logged; a bad template must not keep
 * notices from being made, so the built-in one serves then.
 */
void intro_open(void);
const struct intro *intro_of(enum dsn_kind kind);

#endif

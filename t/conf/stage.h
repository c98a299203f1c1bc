/* SPDX-License-Identifier: ISC */
#ifndef T_CONF_STAGE_H
#define T_CONF_STAGE_H

#include "util/buf.h"

/* A configuration directory of a test: made by stage_begin, gone with its two files by stage_end.
 */
extern char stage_dir[];

void stage_begin(void);
void stage_end(void);
void stage_write(const char *name, const char *text);
/* Lines of mistakes without the directory's name; owned. */
char *stage_mistakes(const struct buf *text);

#endif

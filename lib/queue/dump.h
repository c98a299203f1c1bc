/* SPDX-License-Identifier: ISC */
#ifndef QUEUE_DUMP_H
#define QUEUE_DUMP_H

#include <stdio.h>

#include "queue/io.h"

/*
 * What is in a file of the queue, as text, a record or event a line; damage is shown and the rest
 * goes on. For people and tests; generations are shown by their first 4 bytes alone. The kind of
 * the file is told by its name. path is below root. ERR_NOT_FOUND, ERR_SYS, ERR_SYNTAX
 * (no file of the queue).
 */
int queue_dump(const struct queue_root *root, const char *path, FILE *out);

#endif

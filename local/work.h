/* SPDX-License-Identifier: ISC */
#ifndef LOCAL_WORK_H
#define LOCAL_WORK_H

#include <stdbool.h>

#include "conf/conf.h"

/*
 * The front's work on jobs: for one recipient after the other it makes a plan, has it carried out,
 * logs and reports.
 *
 * spawner: connection to it (owned); limit: jobs at once.
 */
void work_init(int spawner, unsigned limit);

/* The program's status filter, as long as there are rights to open tables. */
void work_open_filter(enum param p);

/* The spawner logs there, too. */
void work_log_new(bool is_file, int fd);

#endif

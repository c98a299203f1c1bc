/* SPDX-License-Identifier: ISC */
#ifndef MAP_FILES_H
#define MAP_FILES_H

#include "map/map.h"

/*
 * Tables for a process that has paths and no event loop: the spawner of virtual. Files are opened
 * by their names, unix: tables answered by NSS, and what a table wants to do later is done as soon
 * as it was asked.
 */
void map_files_use(void);
/*
 * Opens the tables of a parameter's text as map_list_open does; their indexed files are watched (a
 * limited number of them).
 */
int map_files_open(const char *text, struct buf *why, struct map_list **list);
/* Indexed files that were replaced since are opened afresh. */
void map_files_refresh(void);
/* As map_list_find, without "later". */
int map_files_find(struct map_list *list, struct slice key, struct buf *value);

#endif

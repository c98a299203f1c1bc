/* SPDX-License-Identifier: ISC */
#ifndef MAP_KEYED_H
#define MAP_KEYED_H

#include "util/slice.h"

/*
 * "KEY VALUE" of a table source. A blank inside double quotes does not end the key (the quotes
 * stay: an address is looked up in its quoted form); a backslash takes the next byte as it is.
 * False when one of the two is empty.
 */
bool keyed_split(struct slice logical, struct slice *key, struct slice *value);

#endif

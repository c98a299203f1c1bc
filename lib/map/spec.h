/* SPDX-License-Identifier: ISC */
#ifndef MAP_SPEC_H
#define MAP_SPEC_H

#include "util/slice.h"

/* Lists in parameters: items separated by comma or white space; "{ … }" keeps its inside together,
 * also as the end of an item ("inline:{ a=b, c=d }"). */

/* Takes the next item off the front; false at the end. A brace that is not closed runs to the end.
 */
bool spec_token(struct slice *rest, struct slice *token);
/* "{ TEXT }" becomes TEXT, trimmed. ERR_SYNTAX: no such form. */
int spec_strip_braces(struct slice *text);
/* Without "proxy:" in front. */
struct slice spec_without_proxy(struct slice spec);

#endif

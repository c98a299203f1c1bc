/* SPDX-License-Identifier: ISC */
#ifndef CONF_FEEDBACK_H
#define CONF_FEEDBACK_H

#include "util/buf.h"

/*
 * How far one delivery moves the concurrency of its destination, as Postfix writes it: "0.25" (from
 * 0 to 1; "1/8" is the same in parts), "1/concurrency", "1/sqrt_concurrency".
 */
enum feedback_shape { FEEDBACK_CONSTANT, FEEDBACK_INVERSE, FEEDBACK_INVERSE_SQRT };
enum { FEEDBACK_MAX = 1000 }; /* before "/concurrency" */

/* ERR_SYNTAX, ERR_RANGE: why is "what is wrong; expected what". */
int feedback_parse(struct slice text, struct buf *why, double *base, enum feedback_shape *shape);

#endif

/* SPDX-License-Identifier: ISC */
#ifndef MAIL_STATUS_FILTER_H
#define MAIL_STATUS_FILTER_H

#include "conf/conf.h"
#include "map/map.h"

/*
 * Delivery status filters (default_delivery_status_filter and its kin): "STATUS TEXT" of a
 * delivery, such as "5.1.1 unknown user", is looked up, and what is found takes its place. A
 * temporary failure may become a permanent one and the other way round; success stays success,
 * failure stays failure. A result that would change that, or that has no status, and a table that
 * fails or would answer later leave things as they are, with a warning.
 */
enum { STATUS_FILTER_TEXT_MAX = 8192, STATUS_FILTER_STATUS = 16 };

struct status_filter {
	enum param param;
	struct map_list *maps; /* NULL: there is none */
};

/* As long as there are rights to open tables. One that is wrong ends the program. */
void status_filter_open(struct status_filter *f, enum param p);
/* text is changed in place; its limit cuts what is found. True: it was changed. */
bool status_filter_apply(
	const struct status_filter *f, char status[STATUS_FILTER_STATUS], struct buf *text);

#endif

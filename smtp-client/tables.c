/* SPDX-License-Identifier: ISC */
#include "smtp-client/tables.h"

#include "util/log.h"

enum { WHY_LIMIT = 1024 };

void tables_open(enum param p, struct map_list **list)
{
	struct buf why = BUF_INIT(WHY_LIMIT);
	*list = NULL;
	if (conf_str(p)[0] != '\0' && map_list_open(conf_str(p), &why, list) != 0) {
		log_fatal("%s: %s", conf_name(p), log_q(buf_slice(&why)));
	}
	buf_clear(&why);
}

void tables_open_match(enum param p, int flags, struct match **m)
{
	struct buf why = BUF_INIT(WHY_LIMIT);
	*m = NULL;
	if (conf_str(p)[0] != '\0' && match_open(conf_str(p), flags, &why, m) != 0) {
		log_fatal("%s: %s", conf_name(p), log_q(buf_slice(&why)));
	}
	buf_clear(&why);
}

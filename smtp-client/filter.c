/* SPDX-License-Identifier: ISC */
#include "smtp-client/filter.h"

#include "smtp-client/setting.h"
#include "smtp-client/tables.h"
#include "util/err.h"
#include "util/log.h"

static struct map_list *replies;

void filter_init(void)
{
	tables_open(setting_of(P_smtp_reply_filter), &replies);
}

static int filter_line(struct slice line, struct buf *out, void *arg)
{
	struct session *s = arg;
	struct buf value = BUF_INIT(MAP_VALUE_LIMIT);
	int r = map_list_find(replies, line, &s->later, &value);
	if (r == 0) {
		log_debug("< %s: %s: read as another line", s->relay, log_q(line));
		r = buf_add_slice(out, buf_slice(&value)) == 0 ? 0 : ERR_LIMIT;
	} else if (r != ERR_NOT_FOUND && r != ERR_LATER) {
		log_warning("%s: lookup error for \"%s\"",
			conf_name(setting_of(P_smtp_reply_filter)), log_q(line));
		r = ERR_TEMP;
	}
	buf_clear(&value);
	return r;
}

void filter_attach(struct session *s)
{
	if (replies != NULL) {
		s->reply.filter = filter_line;
		s->reply.filter_arg = s;
	}
}

/* SPDX-License-Identifier: ISC */
#include "mail/status_filter.h"

#include <stdio.h>

#include "util/err.h"
#include "util/log.h"

void status_filter_open(struct status_filter *f, enum param p)
{
	struct buf why = BUF_INIT(1024);

	*f = (struct status_filter){.param = p};
	if (conf_str(p)[0] != '\0' && map_list_open(conf_str(p), &why, &f->maps) != 0)
		log_fatal("%s: %s", conf_name(p), log_q(buf_slice(&why)));
	buf_clear(&why);
}

static bool is_number(struct slice s)
{
	uint64_t n = 0;

	return s.len > 0 && s.len <= 3 && slice_u64(s, 0, 999, &n) == 0;
}

/* "5.1.1". */
static bool is_status(struct slice s)
{
	struct slice class, subject;

	return slice_part(&s, '.', &class) && class.len == 1 &&
	       memchr("245", class.p[0], 3) != NULL && slice_part(&s, '.', &subject) &&
	       is_number(subject) && is_number(s);
}

static bool take(const struct status_filter *f, struct slice found, char *status, struct buf *text)
{
	struct slice rest = found, word = SLICE_NONE;
	bool was_good = status[0] == '2';

	if (!slice_token(&rest, " \t", &word) || !is_status(word)) {
		log_warning("%s: \"%s\" has no status code", conf_name(f->param), log_q(found));
		return false;
	}
	if ((word.p[0] == '2') != was_good) {
		log_warning("%s: \"%s\" would change whether mail was delivered",
			conf_name(f->param), log_q(found));
		return false;
	}
	(void)snprintf(status, STATUS_FILTER_STATUS, "%.*s", SLICE_FMT(word));
	buf_reset(text);
	(void)buf_add_slice(text, slice_first(slice_trim(rest), text->limit - 1));
	return true;
}

bool status_filter_apply(
	const struct status_filter *f, char status[STATUS_FILTER_STATUS], struct buf *text)
{
	struct buf key = BUF_INIT(STATUS_FILTER_TEXT_MAX + STATUS_FILTER_STATUS);
	struct buf value = BUF_INIT(STATUS_FILTER_TEXT_MAX);
	bool changed = false;
	int r = ERR_NOT_FOUND;

	if (f->maps == NULL)
		return false;
	(void)buf_add_fmt(&key, "%s %.*s", status, SLICE_FMT(buf_slice(text)));
	r = map_list_find(f->maps, buf_slice(&key), NULL, &value);
	if (r == 0)
		changed = take(f, slice_trim(buf_slice(&value)), status, text);
	else if (r != ERR_NOT_FOUND)
		log_warning(
			"%s: lookup error for \"%s\"", conf_name(f->param), log_q(buf_slice(&key)));
	buf_clear(&key);
	buf_clear(&value);
	return changed;
}

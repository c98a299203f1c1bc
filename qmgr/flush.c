/* SPDX-License-Identifier: ISC */
#include "qmgr/flush.h"

#include "qmgr/active.h"
#include "qmgr/active_index.h"
#include "qmgr/active_private.h"
#include "qmgr/qmgr.h"
#include "qmgr/transport.h"
#include "util/dict.h"

#define WISHES 1000 /* with more at a time, all that is asked for is meant */

static struct dict *wishes; /* next hops and domains, in lower case */
static bool is_all;

/* Until the messages that were asked for have been looked at. */
static void wish(struct slice name)
{
	static char mark;
	struct buf key = BUF_INIT(QUEUE_STRING_MAX);

	if (!active_has_asked() && qmgr_has_walked()) {
		dict_free(&wishes);
		is_all = false;
	}
	if (wishes == NULL)
		wishes = dict_new(WISHES, NULL);
	if (buf_add_lower(&key, name) != 0 || dict_set(wishes, buf_slice(&key), &mark) != 0)
		is_all = true;
	buf_clear(&key);
}

size_t flush_all(void)
{
	is_all = is_all || !qmgr_has_walked();
	schedule_revive(qmgr.schedule, qmgr_time(), NULL, SLICE_NONE);
	return schedule_flush_all(qmgr.schedule, qmgr_time());
}

bool flush_is_open(void)
{
	return !qmgr_has_walked() && (is_all || wishes != NULL);
}

size_t flush_site(struct slice name)
{
	wish(name);
	return transport_flush(name);
}

static bool is_wish(struct slice name)
{
	struct buf key = BUF_INIT(QUEUE_STRING_MAX);
	bool is;

	buf_add_lower(&key, name);
	is = dict_get(wishes, buf_slice(&key)) != NULL;
	buf_clear(&key);
	return is;
}

bool flush_means(const struct queue_message *m)
{
	struct queue_recipient to;

	if (is_all || wishes == NULL)
		return is_all;
	for (uint32_t i = 0; i < m->env.recipients; i++) {
		if (!active_is_open(&m->r[i]))
			continue;
		queue_store_recipient(m, i, &to);
		if (is_wish(to.nexthop) || is_wish(active_domain(to.address)))
			return true;
	}
	return false;
}

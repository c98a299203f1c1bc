/* SPDX-License-Identifier: ISC */
#include "local/delivery.h"
#include "local/work.h"

/* virtual: what a recipient is stands in tables that the spawner's children look into. */

int plan_open(struct buf *why)
{
	(void)why;
	work_open_filter(P_virtual_delivery_status_filter);
	return 0;
}

int plan_make(const struct job_rcpt *r, struct later *l, struct plan *p)
{
	(void)r;
	(void)l;
	plan_clear(p);
	p->kind = PLAN_DELIVER;
	return 0;
}

bool plan_unknown(const struct job_rcpt *r, struct plan *p)
{
	(void)r;
	(void)p;
	return false;
}

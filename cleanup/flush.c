/* SPDX-License-Identifier: ISC */
#include "cleanup/flush.h"

#include "cleanup/cleanup.h"
#include "cleanup/link.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

/* Open at once: more than these wishes are dropped. */
enum { FLUSHES = 1000, QUESTIONS = 100, ADDRESS_MAX = 1024 };

struct flush {
	struct later later;
	struct route_result route;
	struct buf address; /* some recipient of the domain */
};

static size_t open_flushes;

static void flush_free(struct flush *f)
{
	later_clear(&f->later);
	route_result_clear(&f->route);
	buf_clear(&f->address);
	mem_free(f);
	open_flushes--;
}

static void run(void *arg)
{
	struct flush *f = arg;
	int err = route_resolve(
		cleanup.route, buf_slice(&f->address), SLICE_NONE, &f->later, &f->route);

	if (err == ERR_LATER)
		return;
	if (err != 0)
		log_warning("the route of %s cannot be looked up: %s",
			log_q(buf_slice(&f->address)), err_str(err));
	else if (f->route.nexthop.len > 0)
		link_flush(buf_slice(&f->route.nexthop));
	flush_free(f);
}

void flush_domain(struct slice domain)
{
	struct flush *f = NULL;

	if (open_flushes == FLUSHES)
		return;
	open_flushes++;
	f = mem_alloc(sizeof(*f));
	later_init(&f->later, QUESTIONS, run, f);
	route_result_init(&f->route);
	buf_init(&f->address, ADDRESS_MAX);
	(void)buf_add_fmt(&f->address, "etrn@%.*s", SLICE_FMT(domain));
	run(f);
}

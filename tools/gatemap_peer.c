/* SPDX-License-Identifier: ISC */
#include "conf/grant.h"
#include "net/addr.h"
#include "net/pool.h"
#include "tools/gatemap.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

/* Tables that are asked over a socket: a command connects by itself and waits for the answer. */

struct connection {
	void (*done)(int err, int fd, void *arg);
	void *arg;
	int fd, err;
};

enum { CONNECTIONS = 64 };

static struct connection *open_ones[CONNECTIONS]; /* by handle - 1; not handed over yet */
static bool woken;

static void hand_over(void *arg)
{
	struct connection *c = *(struct connection **)arg;

	*(struct connection **)arg = NULL;
	if (c->done != NULL)
		c->done(c->err, c->fd, c->arg);
	else
		fd_close(&c->fd);
	mem_free(c);
}

static uint64_t connect_to(const char *name, void (*done)(int err, int fd, void *arg), void *arg)
{
	struct net_addr a;
	size_t i = 0;

	while (i < CONNECTIONS && open_ones[i] != NULL)
		i++;
	if (i == CONNECTIONS)
		return 0;
	struct connection *c = open_ones[i] = mem_alloc(sizeof(*c));
	*c = (struct connection){.done = done, .arg = arg, .fd = -1};
	c->err = grant_address(name, &a) == 0 ? net_connect(&a, NULL, &c->fd) : ERR_SYNTAX;
	loop_defer(hand_over, &open_ones[i]);
	return i + 1;
}

static void cancel(uint64_t handle)
{
	if (open_ones[handle - 1] != NULL)
		open_ones[handle - 1]->done = NULL;
}

static void wake(void *arg)
{
	(void)arg;
	woken = true;
}

void gatemap_peers_init(void)
{
	loop_init();
	pool_set_connector(connect_to, cancel);
	map_set_deferrer(loop_defer);
	map_peers_init();
}

int gatemap_find(struct map *m, struct slice key, struct buf *value)
{
	struct later l;
	int r;

	later_init(&l, 1000, wake, NULL);
	for (;;) {
		woken = false;
		r = map_find(m, key, &l, value);
		if (r != ERR_LATER)
			break;
		while (!woken)
			loop_once(loop_now() + CLOCK_SEC);
	}
	later_clear(&l);
	return r;
}

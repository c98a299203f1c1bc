/* SPDX-License-Identifier: ISC */
#include "server/counters.h"

#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/fd.h"

struct slot {
	_Atomic uint64_t value[COUNTER_COUNT];
};

_Static_assert(sizeof(struct slot) * COUNTERS_SLOTS == COUNTERS_SIZE, "a slot is a cache line");

static struct slot *mine;
static struct slot *all;

void *counters_open(int fd)
{
	void *page = mmap(NULL, COUNTERS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return page != MAP_FAILED ? page : NULL;
}

int counters_map(int fd, unsigned slot)
{
	if (slot >= COUNTERS_SLOTS)
		return ERR_RANGE;
	all = counters_open(fd);
	if (all == NULL)
		return ERR_SYS;
	mine = &all[slot];
	return 0;
}

void counters_add(enum counter c, int64_t n)
{
	if (mine != NULL)
		atomic_fetch_add_explicit(&mine->value[c], (uint64_t)n, memory_order_relaxed);
}

_Atomic uint64_t *counters_at(enum counter c)
{
	return mine != NULL ? &mine->value[c] : NULL;
}

uint64_t counters_sum(enum counter c)
{
	uint64_t sum = 0;

	for (unsigned i = 0; all != NULL && i < COUNTERS_SLOTS; i++)
		sum += counters_read(all, i, c);
	return sum;
}

void *counters_new(const char *name, int *fd)
{
	void *page = NULL;

	if (fd_memory(name, fd) == 0 && ftruncate(*fd, COUNTERS_SIZE) == 0)
		page = counters_open(*fd);
	return page;
}

uint64_t counters_read(const void *page, unsigned slot, enum counter c)
{
	const struct slot *slots = page;

	return atomic_load_explicit(&slots[slot].value[c], memory_order_relaxed);
}

void counters_clear(void *page, unsigned slot)
{
	struct slot *slots = page;

	atomic_store_explicit(&slots[slot].value[COUNTER_SESSIONS], 0, memory_order_relaxed);
	atomic_store_explicit(&slots[slot].value[COUNTER_STRESS], 0, memory_order_relaxed);
	atomic_store_explicit(&slots[slot].value[COUNTER_FORBIDDEN], 0, memory_order_relaxed);
	atomic_store_explicit(&slots[slot].value[COUNTER_LEAVING], 0, memory_order_relaxed);
}

void counters_close(void *page)
{
	if (page != NULL)
		munmap(page, COUNTERS_SIZE);
}

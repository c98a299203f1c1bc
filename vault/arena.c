/* SPDX-License-Identifier: ISC */
#include "vault/arena.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/log.h"

/*
 * Blocks of 64 bytes times a power of two, or a quarter, a half, three quarters more; free ones of
 * each size in a list. A block begins with its size; what is behind the last block was never used.
 */
enum { HEAD = 16, SMALLEST = 64, STEPS = 4, CLASSES = STEPS * 21 };

struct block {
	size_t class;
	struct block *next; /* when it is free */
};

static struct {
	uint8_t *base;
	size_t size, end, used;
	struct block *free[CLASSES];
} arena;

static bool openssl_began;

static size_t class_size(size_t class)
{
	size_t base = (size_t)SMALLEST << (class / STEPS);

	return base + base / STEPS * (class % STEPS);
}

static size_t class_of(size_t size)
{
	size_t class = 0;

	while (class < CLASSES && class_size(class) < size)
		class ++;
	return class;
}

/* No page of it is written anywhere, and no process but this has it. */
static void *map_secret(size_t size)
{
#ifdef SYS_memfd_secret
	int fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
	void *p = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, (off_t)size) == 0)
		p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	fd_close(&fd);
	if (p != MAP_FAILED && madvise(p, size, MADV_DONTFORK) != 0) {
		munmap(p, size);
		p = MAP_FAILED;
	}
	return p;
#else
	(void)size;
	return MAP_FAILED;
#endif
}

static void *map_locked(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return p;
	/* What cannot be is no reason to do without the rest. */
	(void)mlock2(p, size, MLOCK_ONFAULT);
	(void)madvise(p, size, MADV_DONTDUMP);
	(void)madvise(p, size, MADV_WIPEONFORK);
	return p;
}

static bool map_arena(bool may_be_secret)
{
	void *p = MAP_FAILED;

	/* A limit of locked memory may leave room for less. */
	for (size_t size = ARENA_SIZE; p == MAP_FAILED && may_be_secret && size >= ARENA_LEAST;
		size /= 4) {
		p = map_secret(size);
		arena.size = size;
	}
	bool is_secret = p != MAP_FAILED;
	if (!is_secret) {
		arena.size = ARENA_SIZE;
		p = map_locked(arena.size);
	}
	if (p == MAP_FAILED)
		log_fatal("no memory for keys can be had");
	arena.base = p;
	return is_secret;
}

bool arena_open(void)
{
	return arena.base == NULL && map_arena(true);
}

void arena_leave(void)
{
	if (openssl_began)
		log_panic("a process without this memory was forked behind OpenSSL's first use");
	memset(&arena, 0, sizeof(arena));
}

static struct block *take(size_t class)
{
	struct block *b = arena.free[class];
	size_t size = class_size(class);

	if (b != NULL) {
		arena.free[class] = b->next;
	} else if (size <= arena.size - arena.end) {
		b = (struct block *)(void *)(arena.base + arena.end);
		arena.end += size;
		b->class = class;
	}
	return b;
}

static struct block *block_of(void *p)
{
	struct block *b = (struct block *)(void *)((uint8_t *)p - HEAD);

	if (!arena_has(p) || b->class >= CLASSES)
		log_panic("memory of keys is not as it was");
	return b;
}

void *arena_alloc(size_t size)
{
	size_t class = size <= SIZE_MAX - HEAD ? class_of(size + HEAD) : CLASSES;

	if (arena.base == NULL)
		map_arena(false);
	struct block *b = class < CLASSES ? take(class) : NULL;
	if (b == NULL)
		return NULL;
	arena.used += class_size(class);
	return (uint8_t *)b + HEAD;
}

void arena_free(void *p)
{
	if (p == NULL)
		return;
	struct block *b = block_of(p);
	size_t size = class_size(b->class);
	explicit_bzero(p, size - HEAD);
	arena.used -= size;
	b->next = arena.free[b->class];
	arena.free[b->class] = b;
}

void *arena_resize(void *p, size_t size)
{
	if (p == NULL)
		return arena_alloc(size);
	size_t room = class_size(block_of(p)->class) - HEAD;
	if (size <= room)
		return p;
	void *fresh = arena_alloc(size);
	if (fresh == NULL)
		return NULL;
	memcpy(fresh, p, room);
	arena_free(p);
	return fresh;
}

size_t arena_used(void)
{
	return arena.used;
}

bool arena_has(const void *p)
{
	const uint8_t *at = p;

	return arena.base != NULL && at >= arena.base + HEAD && at < arena.base + arena.end;
}

/* ---- OpenSSL ---- */

static void *ssl_alloc(size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	openssl_began = true;
	return size > 0 ? arena_alloc(size) : NULL;
}

static void ssl_free(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	arena_free(p);
}

static void *ssl_resize(void *p, size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	if (size == 0) {
		arena_free(p);
		return NULL;
	}
	return arena_resize(p, size);
}

void arena_use(void)
{
	if (CRYPTO_set_mem_functions(ssl_alloc, ssl_resize, ssl_free) != 1)
		log_fatal("OpenSSL has allocated memory already");
}

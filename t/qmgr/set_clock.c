/* SPDX-License-Identifier: ISC */
/*
 * Loaded before libc into the programs of a test: their real time is off by what stands, in
 * microseconds, in the file that GP_CLOCK names. The clock of the machine is nobody's to set, and a
 * time namespace has none of its own.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset;
static int (*real)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("GP_CLOCK");
	int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *at = fd >= 0 ? mmap(NULL, sizeof(*offset), PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;

	if (fd >= 0)
		close(fd);
	*(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
	offset = at != MAP_FAILED ? at : NULL;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
	int result = real != NULL ? real(id, ts) : (int)syscall(SYS_clock_gettime, id, ts);
	int64_t usec;

	if (result != 0 || offset == NULL || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE))
		return result;
	usec = *offset + ts->tv_nsec / 1000;
	ts->tv_sec += usec / 1000000 - (usec % 1000000 < 0);
	ts->tv_nsec = (usec % 1000000 + (usec % 1000000 < 0 ? 1000000 : 0)) * 1000;
	return 0;
}

/* SPDX-License-Identifier: ISC */
#ifndef UTIL_MEM_H
#define UTIL_MEM_H

#include <stddef.h>

/*
 * The only file that calls malloc(3). Out of memory is fatal, so nothing a peer feeds may grow
 * without a limit. All memory is returned zeroed, except what mem_resize adds.
 */
void *mem_alloc(size_t size);                     /* owned; size may be 0 */
void *mem_array(size_t n, size_t size);           /* owned; overflow is fatal */
void *mem_resize(void *p, size_t n, size_t size); /* owned; p may be NULL; new part undefined */
void *mem_dup(const void *p, size_t len); /* owned copy of len bytes plus a NUL behind them */
char *mem_str(const char *s);             /* owned copy; NULL stays NULL */
char *mem_fmt(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* owned */
void mem_free(void *p);                                                    /* NULL is fine */
void mem_wipe_free(void *p, size_t len); /* wipes len bytes first: for secrets */

#endif

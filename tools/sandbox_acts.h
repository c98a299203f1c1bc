/* SPDX-License-Identifier: ISC */
#ifndef TOOLS_SANDBOX_ACTS_H
#define TOOLS_SANDBOX_ACTS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "priv/priv.h"

/*
 * What a process that was broken into would try next. An act returns 0 when it has been done, or
 * -1 with errno; it undoes what it can. It runs in a process that ends behind it.
 */
struct sandbox_act {
	const char *what;
	int (*run)(pid_t outside); /* a process out of the sandbox: who started this one */
	uint64_t may;              /* 1 << SANDBOX_*: whose work it is */
};

extern const struct sandbox_act sandbox_acts[];
extern const size_t sandbox_acts_n;

#endif

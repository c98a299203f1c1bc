/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_STRESS_H
#define SMTPD_STRESS_H

#include <stdint.h>

/*
 * When the sessions of a port run short, new ones get the limits that its parameters have with
 * "stress = yes": smtpd_timeout, smtpd_starttls_timeout, the error limits,
 * smtpd_junk_command_limit, smtpd_rset_limit. It begins at STRESS_ON per cent of the sessions that
 * the port may have and ends below STRESS_OFF; a session keeps the limits that it began with. Each
 * worker sees it by itself, from the port's shared counters, within a second; the first and the
 * last of them log it.
 */
enum { STRESS_ON = 90, STRESS_OFF = 70 };

struct bounds {
	int64_t timeout, error_sleep, starttls_timeout; /* microseconds */
	int soft_errors, hard_errors, junk, rsets;
	const char *stress; /* "yes" or empty: what policy servers are told */
};

/* From the settings in force, before rights are dropped. */
void stress_open(void);
/* For a session that begins now, and counts already. */
const struct bounds *stress_bounds(void);

#endif

/* SPDX-License-Identifier: ISC */
#include "ipc/role.h"

#include <stddef.h>
#include <string.h>

static const char *const names[ROLE_COUNT] = {
	[ROLE_MASTER] = "master",
	[ROLE_SMTPD] = "smtpd",
	[ROLE_CLEANUP] = "cleanup",
	[ROLE_QMGR] = "qmgr",
	[ROLE_KEEPER] = "keeper",
	[ROLE_CLIENT] = "smtp-client",
	[ROLE_LOCAL] = "local",
	[ROLE_VAULT] = "vault",
	[ROLE_RESOLVER] = "resolver",
	[ROLE_TALLY] = "tally",
	[ROLE_MONITOR] = "monitor",
	[ROLE_TOOL] = "tool",
	[ROLE_NSS] = "nss",
};

static const struct {
	const char *program;
	enum role role;
} programs[] = {
	{"smtpd", ROLE_SMTPD},
	{"cleanup", ROLE_CLEANUP},
	{"qmgr", ROLE_QMGR},
	{"smtp-client", ROLE_CLIENT},
	{"local", ROLE_LOCAL},
	{"virtual", ROLE_LOCAL},
	{"pipe", ROLE_LOCAL},
	{"vault", ROLE_VAULT},
	{"resolver", ROLE_RESOLVER},
	{"tally", ROLE_TALLY},
	{"monitor", ROLE_MONITOR},
	{"nss", ROLE_NSS},
};

static const struct {
	enum role from, to;
} connections[] = {
	{ROLE_SMTPD, ROLE_CLEANUP},
	{ROLE_SMTPD, ROLE_RESOLVER},
	{ROLE_SMTPD, ROLE_TALLY},
	{ROLE_SMTPD, ROLE_NSS},
	{ROLE_SMTPD, ROLE_VAULT},
	{ROLE_QMGR, ROLE_TALLY},
	{ROLE_QMGR, ROLE_RESOLVER},
	{ROLE_CLEANUP, ROLE_QMGR},
	{ROLE_CLEANUP, ROLE_NSS},
	{ROLE_QMGR, ROLE_CLIENT},
	{ROLE_QMGR, ROLE_LOCAL},
	{ROLE_CLIENT, ROLE_RESOLVER},
	{ROLE_CLIENT, ROLE_VAULT},
	{ROLE_LOCAL, ROLE_CLEANUP},
};

const char *role_name(enum role r)
{
	return (unsigned)r < ROLE_COUNT ? names[r] : "unknown";
}

int role_of_program(const char *program)
{
	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
		if (strcmp(programs[i].program, program) == 0)
			return (int)programs[i].role;
	return -1;
}

_Bool role_connects(enum role from, enum role to)
{
	for (size_t i = 0; i < sizeof(connections) / sizeof(connections[0]); i++)
		if (connections[i].from == from && connections[i].to == to)
			return 1;
	return 0;
}

/* SPDX-License-Identifier: ISC */
#include "mail/stage.h"

const char *stage_str(enum stage s)
{
	static const char *const names[STAGE_COUNT] = {"none", "dns", "connect", "greeting", "tls",
		"auth", "helo", "mail", "rcpt", "data", "dot"};

	return (unsigned)s < STAGE_COUNT ? names[s] : names[STAGE_NONE];
}

/* SPDX-License-Identifier: ISC */
#include "util/err.h"

#include <errno.h>
#include <string.h>

const char *err_str(int err)
{
	switch (err) {
	case ERR_OK: return "no error";
	case ERR_SYS: return strerror(errno);
	case ERR_LIMIT: return "limit exceeded";
	case ERR_SYNTAX: return "malformed input";
	case ERR_RANGE: return "value out of range";
	case ERR_NOT_FOUND: return "not found";
	case ERR_AGAIN: return "nothing available now";
	case ERR_SHORT: return "input ends too early";
	case ERR_CLOSED: return "closed by the peer";
	case ERR_CORRUPT: return "data is damaged";
	case ERR_STATE: return "not allowed in this state";
	case ERR_TIMEOUT: return "timed out";
	case ERR_DENIED: return "not permitted";
	case ERR_EXISTS: return "exists already";
	case ERR_TEMP: return "temporary failure";
	case ERR_LATER: return "the answer comes later";
	case ERR_FULL: return "no space left in the queue";
	default: return "unknown error";
	}
}

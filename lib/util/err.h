/* SPDX-License-Identifier: ISC */
#ifndef UTIL_ERR_H
#define UTIL_ERR_H

/*
 * Results. Every function that can fail returns 0 or one of these; out-parameters come last and
 * are set empty first. ERR_SYS: errno says what happened. Who decides logs; who returns does not.
 */
enum err {
	ERR_OK = 0,
	ERR_SYS = -1,       /* a system call failed: see errno */
	ERR_LIMIT = -2,     /* a limit given at creation would be exceeded */
	ERR_SYNTAX = -3,    /* input is not of the expected form */
	ERR_RANGE = -4,     /* a number or length is outside its bounds */
	ERR_NOT_FOUND = -5, /* looked for, certainly not there; never used for "could not look" */
	ERR_AGAIN = -6,     /* nothing now, later perhaps */
	ERR_SHORT = -7,     /* input ends before it is complete */
	ERR_CLOSED = -8,    /* the peer closed in good order */
	ERR_CORRUPT = -9,   /* checksum or structure is damaged */
	ERR_STATE = -10,    /* not allowed in this state */
	ERR_TIMEOUT = -11,  /* a deadline passed */
	ERR_DENIED = -12,   /* not allowed to this peer or user */
	ERR_EXISTS = -13,   /* there already */
	ERR_TEMP = -14,     /* a table, peer or name server failed; ask again later */
	ERR_LATER = -15,    /* the answer comes later: see lib/util/later.h */
	ERR_FULL = -16,     /* no space left on the queue's file system, or over its limit */
};

/* Constant text for a result; for ERR_SYS that of the present errno. Never NULL. */
const char *err_str(int err);

#endif

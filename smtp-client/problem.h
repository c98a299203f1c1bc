/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_PROBLEM_H
#define CLIENT_PROBLEM_H

#include "mail/stage.h"
#include "util/buf.h"

/* Why something failed: what goes into the log, to qmgr and into a DSN. */
struct problem {
	char status[16];       /* "4.4.1" */
	unsigned code;         /* of the reply that says it; 0: none does */
	enum stage stage;      /* STAGE_NONE: what the session shows */
	struct buf text;       /* for the log and the notice */
	struct buf diagnostic; /* the server's own words, or empty */
	char *remote;          /* owned: "host[address]:port"; NULL: none was reached */
};

void problem_clear(struct problem *p);
/* No server has said it: neither code nor stage, which the caller may set. */
void problem_set(struct problem *p, const char *status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
bool problem_is_soft(const struct problem *p);

#endif

/* SPDX-License-Identifier: ISC */
#ifndef VAULT_TOKEN_H
#define VAULT_TOKEN_H

#include "util/buf.h"

/*
 * Files that hold an access token each (smtp_sasl_token_files), for credentials that name one in
 * place of a password: "login:{FILE}/path". Whoever refreshes the token writes the file anew; it is
 * read each time it is needed.
 */
enum { TOKEN_FILES_MAX = 1000, TOKEN_MAX = 8192 };

/* While rights are there: a list of paths. */
void token_open(struct slice paths);
/* master has opened a file afresh. True: it is one of these, fd is taken over. */
bool token_file(const char *name, int fd);
/*
 * password stands for a file: 0, out has its text without blanks around it. ERR_NOT_FOUND: it is a
 * password. ERR_STATE: that file is not among them; ERR_SYS: it cannot be read, or is empty.
 */
int token_find(struct slice password, struct buf *out);

#endif

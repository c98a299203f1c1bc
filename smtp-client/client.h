/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

/* The program is to end and no job is at work: it ends soon, unless one was on its way. */
void client_idle(void);

#endif

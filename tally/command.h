/* SPDX-License-Identifier: ISC */
#ifndef TALLY_COMMAND_H
#define TALLY_COMMAND_H

#include <stdbool.h>

/*
 * "gatepost ban": who may connect to tally's UNIX listener, and is root (or, without root, the user
 * of the instance), sees and changes bans.
 */
void command_listener(int fd, const char *address, bool is_unix);

#endif

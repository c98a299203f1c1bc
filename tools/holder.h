/* SPDX-License-Identifier: ISC */
#ifndef TOOLS_HOLDER_H
#define TOOLS_HOLDER_H

#include "util/buf.h"

/*
 * Which process listens on a TCP port, from /proc: "pid 123 (postfix)" is appended. False when it
 * cannot be seen (another user's, another machine's /proc).
 */
bool holder_of_port(uint16_t port, struct buf *out);

#endif

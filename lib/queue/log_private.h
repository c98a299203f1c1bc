/* SPDX-License-Identifier: ISC */
#ifndef QUEUE_LOG_PRIVATE_H
#define QUEUE_LOG_PRIVATE_H

#include "queue/log.h"

/* Inside of the log. Modules: log.c (writes the chain), log_read.c (makes and reads pieces). */
#define PIECE_MAGIC 0x314c5147u /* "GQL1" */
#define PIECE_VERSION 1
#define PIECE_HEAD_LEN 64

#endif

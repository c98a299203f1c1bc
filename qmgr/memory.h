/* SPDX-License-Identifier: ISC */
#ifndef QMGR_MEMORY_H
#define QMGR_MEMORY_H

#include "qmgr/transport.h"

/*
 * What the scheduler has learnt of destinations and sites, over a restart: written by the keeper
 * (queue/kept.h) now and then and at a clean stop, read at the start. Damage is a warning and a
 * fresh begin. No restart fills a bucket: behind a stop that was not clean nobody knows what went
 * since the last writing, and each bucket is as good as empty at the start.
 */

/* The store is open, no mail was read. */
void memory_start(void);
/* Writes it if there is something new and it is time. */
void memory_tick(void);
/* The store is about to be closed. */
void memory_save(void);
/* A job is over: there may be something new. */
void memory_touch(void);
/* A destination that mail is for, maybe unknown before; its site (empty: one of its own). */
void memory_meet(const struct transport *t, struct slice key);
void memory_meet_site(const struct transport *t, struct slice key, struct slice site);

#endif

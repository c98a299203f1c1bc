/* SPDX-License-Identifier: ISC */
#ifndef QMGR_KEEPER_H
#define QMGR_KEEPER_H

/*
 * The keeper: a fork of qmgr that executes the store's orders and does all the waiting for the
 * disk. Orders and replies go over a socket pair, each behind its length (u32). It shares the
 * queue's lock with qmgr and lives no longer than the order at hand once qmgr is gone; without it
 * qmgr ends, and the next start recovers (Q13).
 */

/* Forks it. lock: the queue's lock, kept open by both. Before any thread, watch or peer exists. */
void keeper_start(int lock);
/* Begins to watch its connection; orders that the store has are sent. */
void keeper_attach(void);
/* The store has an order. */
void keeper_order(void);

#endif

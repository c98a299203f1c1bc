/* SPDX-License-Identifier: ISC */
#ifndef TALLY_KEY_H
#define TALLY_KEY_H

#include "util/slice.h"

/*
 * What tally knows of clients, logins and addresses is found by keys of 128 bits: SipHash of what
 * they are made of, with a secret that stays with the data. So a record is small, no client can
 * choose collisions, and the files name nobody.
 */
enum { KEY_PARTS = 4, KEY_SECRET = 32 };

struct key {
	uint64_t word[2];
};

/* Drawn anew at the first start, kept in the store. */
extern uint8_t key_secret[KEY_SECRET];

/* kind: what the key is for. Each part's length counts too. Parts together: 8 KB; more is cut. */
struct key key_of(char kind, const struct slice part[KEY_PARTS]);

#define KEY_OF(kind, ...) key_of((kind), (const struct slice[KEY_PARTS]){__VA_ARGS__})

#endif

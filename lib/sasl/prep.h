/* SPDX-License-Identifier: ISC */
#ifndef SASL_PREP_H
#define SASL_PREP_H

#include "util/buf.h"

/*
 * SASLprep (RFC 4013), which SCRAM and PLAIN ask for: one form for what people type as the same
 * login or password, however their keyboards write it (U+00E9, or e and U+0301). The profile is
 * libidn's, of which this is the only user; ASCII is not changed.
 */

/* Bytes of the form of a login or password of TEXT bytes, at most. */
#define SASL_PREP_MAX(text) (12 * (text))

enum sasl_prep_use {
	SASL_PREP_QUERY, /* compared with what is stored: characters that are not assigned pass */
	SASL_PREP_STORED
};
/*
 * Appends the form of s to out. ERR_SYNTAX: not text, or what RFC 4013 prohibits, or nothing is
 * left; ERR_LIMIT. Nothing of s is left elsewhere in memory.
 */
int sasl_prep(struct slice s, enum sasl_prep_use use, struct buf *out);

#endif

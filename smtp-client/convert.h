/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_CONVERT_H
#define CLIENT_CONVERT_H

#include "util/later.h"

/*
 * Content that is changed on its way to the server: fields and lines by tables (checks.h,
 * generic.h), and 8-bit parts to quoted-printable or base64 for a server without 8BITMIME. In this
 * order, as Postfix: conversion, checks, addresses. Streaming: what is held is one field, one line
 * and some output, whatever the message.
 *
 * Conversion (RFC 2045, 6): of what is labelled 8bit or binary, a text and a report become
 * quoted-printable as with Postfix; a part of any other type, and what is labelled binary, becomes
 * base64, in which every byte stays what it was; one of several parts, or a message, gets the label
 * 7bit and its parts are converted. What is not labelled goes as it is. Of message/partial and
 * message/external-body nothing can be converted (RFC 2046, 5.2.2 and 5.2.3): 8-bit bytes in them
 * are a failure.
 */
struct convert;

/* Whether tables may change content. */
bool convert_has_tables(void);

/* id: of the message, for the log; borrowed. wake(arg): an answer that was waited for has come. */
struct convert *convert_new(const char *id, bool to_7bit, void (*wake)(void *arg), void *arg);
void convert_free(struct convert **c);
/*
 * Takes content off the front of *in, whose memory must stay until ERR_AGAIN. 0: *piece is what
 * goes out, borrowed until the next call; ERR_AGAIN: *in is used up; ERR_CLOSED: all is given out
 * (is_last); ERR_LATER: a table's answer comes later; ERR_TEMP: a table failed; ERR_DENIED: it
 * cannot be converted, see convert_why.
 */
int convert_next(struct convert *c, struct slice *in, bool is_last, struct slice *piece);
/* Enhanced status code and text. */
const char *convert_why(const struct convert *c, const char **status);

#endif

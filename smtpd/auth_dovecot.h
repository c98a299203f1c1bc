/* SPDX-License-Identifier: ISC */
#ifndef SMTPD_AUTH_DOVECOT_H
#define SMTPD_AUTH_DOVECOT_H

/*
 * Dovecot's auth socket (its protocol 1.1 and later): one connection of this worker for all
 * sessions. It is made at the start, and again when it is lost; meanwhile clients are put off.
 * A server that speaks something else, or does not greet in DOVECOT_SEC, is left and tried again.
 */
enum { DOVECOT_SEC = 10, DOVECOT_AGAIN_MSEC = 1000 };

/* path: of smtpd_sasl_path. Rights are gone. */
void auth_dovecot_start(const char *path, const char *service);

#endif

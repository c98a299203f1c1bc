/* SPDX-License-Identifier: ISC */
#ifndef TLS_ABOUT_H
#define TLS_ABOUT_H

/* The TLS library, for people who ask for it (gateconf -T). All strings are constants. */

/* "OpenSSL 3.0.17 1 Jul 2025": what this was built with, and what runs. */
const char *tls_about_compiled(void);
const char *tls_about_running(void);
/* Kinds of keys for certificates that the library knows, the at-th of them; NULL: there are no
 * more. */
const char *tls_about_key_kind(unsigned at);

#endif

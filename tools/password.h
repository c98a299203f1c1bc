/* SPDX-License-Identifier: ISC */
#ifndef TOOLS_PASSWORD_H
#define TOOLS_PASSWORD_H

/* "gatepost password [--scheme SCHEME] LOGIN": prints the line for a password table's source. */
int password_command(const char *scheme, const char *login);

#endif

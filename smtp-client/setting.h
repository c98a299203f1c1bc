/* SPDX-License-Identifier: ISC */
#ifndef CLIENT_SETTING_H
#define CLIENT_SETTING_H

#include "conf/conf.h"

/*
 * The row to read, as this program speaks: the one of SMTP, or the one that LMTP has of its own
 * (param_lmtp). Nothing that LMTP has of its own is read in another way (t/client/settings.t).
 */
enum param setting_of(enum param smtp);

#endif

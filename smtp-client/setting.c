/* SPDX-License-Identifier: ISC */
#include "smtp-client/setting.h"

#include "conf/params.h"
#include "server/server.h"

enum param setting_of(enum param smtp)
{
	static enum param lmtp[P_COUNT];
	static bool is_made;

	if (!server_is_lmtp())
		return smtp;
	for (int i = 0; i < P_COUNT && !is_made; i++) {
		enum param own = param_lmtp((enum param)i);

		lmtp[i] = own != P_COUNT ? own : (enum param)i;
	}
	is_made = true;
	return lmtp[smtp];
}

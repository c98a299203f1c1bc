/* SPDX-License-Identifier: ISC */
#include "util/users.h"

#include "t/tap.h"
#include "util/log.h"

int main(void)
{
	static const struct {
		const char *list;
		bool daemon, bin;
	} rows[] = {
		{"static:anyone", true, true},
		{"", false, false},
		{"daemon", true, false},
		{"!daemon, static:all", false, true},
		{"!bin static:all", true, false},
		{"static:all, !daemon", true, true},
		{"daemon,bin", true, true},
		{"nosuchuser, bin", false, true},
		{"hash:/etc/users", false, false},
	};
	const uid_t uid_daemon = 1, uid_bin = 2; /* of Debian's base-passwd, fixed */
	static struct users *u;

	log_set_level(LOG_LEVEL_NONE);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		users_set(&u, rows[i].list);
		is_int(users_has(u, uid_daemon), rows[i].daemon, "\"%s\": daemon", rows[i].list);
		is_int(users_has(u, uid_bin), rows[i].bin, "\"%s\": bin", rows[i].list);
		ok(users_has(u, 0), "\"%s\": root", rows[i].list);
	}
	ok(!users_has(NULL, uid_bin), "no list, nobody");
	return done_testing();
}

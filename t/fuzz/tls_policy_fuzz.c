/* SPDX-License-Identifier: ISC */
#include "conf/mistake.h"
#include "conf/set.h"
#include "smtp-client/policy.h"
#include "t/fuzz/fuzz.h"
#include "util/err.h"
#include "util/log.h"

static void set_up(void)
{
	struct conf *c = conf_new("/etc/x");
	struct mistakes m;

	mistakes_init(&m);
	FUZZ_ASSERT(set_build(c, &m) == 0);
	conf_install(&c);
	mistakes_clear(&m);
	log_set_level(LOG_LEVEL_NONE);
	policy_init();
}

/* A value is understood or there is a reason, in one line; it never means less than it says. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool is_set_up;
	struct slice value = slice_of(data, size), rest = value, word = SLICE_NONE;
	struct buf why = BUF_INIT(1 << 20);
	struct policy *p = NULL, *again = NULL;
	enum tls_level level = TLS_NONE;
	int r;

	if (!is_set_up)
		set_up();
	is_set_up = true;
	r = policy_parse(value, "fuzz", &p, &why);
	FUZZ_ASSERT((r == 0) == (p != NULL) && (r == 0 || r == ERR_SYNTAX));
	FUZZ_ASSERT((r != 0) == (why.len > 0) && slice_is_printable(buf_slice(&why)));
	if (r == 0) {
		FUZZ_ASSERT(slice_token(&rest, ", \t\r\n", &word));
		FUZZ_ASSERT(tls_level_parse(word, &level) == 0 && level == p->level);
		FUZZ_ASSERT(p->match_n <= POLICY_WORDS);
		FUZZ_ASSERT(level < TLS_FINGERPRINT || level > TLS_SECURE || p->match_n > 0);
		FUZZ_ASSERT(policy_parse(value, "fuzz", &again, &why) == 0);
		FUZZ_ASSERT(strcmp(p->key, again->key) == 0);
		policy_unref(&again);
		policy_set_level(&p, TLS_MAY);
		FUZZ_ASSERT(p->level == TLS_MAY);
	}
	policy_unref(&p);
	buf_clear(&why);
	return 0;
}

/* SPDX-License-Identifier: ISC */
#include "conf/master_cf.h"
#include "t/fuzz/fuzz.h"
#include "util/err.h"

/*
 * Both files and the settings of a service: main.cf, a form feed, master.cf. What was read without
 * a mistake must come out of set_encode and conf_decode the same; the bytes alone must not break
 * conf_decode either.
 */
static void round_trip(const struct conf *c)
{
	struct buf bytes = BUF_INIT(16 << 20), again = BUF_INIT(16 << 20), why = BUF_INIT(65536);
	struct conf *copy = NULL;

	set_encode(c, &bytes);
	FUZZ_ASSERT(conf_decode(buf_slice(&bytes), &why, &copy) == 0);
	for (int i = 0; i < P_COUNT; i++)
		FUZZ_ASSERT(strcmp(set_str(c, (enum param)i), set_str(copy, (enum param)i)) == 0);
	conf_free(&copy);
	buf_clear(&bytes);
	buf_clear(&again);
	buf_clear(&why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = slice_of(data, size), main_cf = SLICE_NONE;
	struct conf *c = conf_new("/etc/x"), *decoded = NULL;
	struct buf why = BUF_INIT(65536);
	struct services services;
	struct mistakes m;

	mistakes_init(&m);
	if (conf_decode(rest, &why, &decoded) == 0)
		conf_free(&decoded);
	if (!slice_part(&rest, '\f', &main_cf))
		main_cf = SLICE_NONE;
	set_read_text(c, "main.cf", main_cf, &m);
	if (set_build(c, &m) == 0 && m.errors == 0)
		round_trip(c);
	services_read_text(&services, c, "master.cf", rest, &m);
	for (size_t i = 0; i < services.count && !services.service[i].is_implied; i++) {
		struct conf *own = service_settings(&services, &services.service[i], c);

		if (set_build(own, &m) == 0 && m.errors == 0)
			round_trip(own);
		conf_free(&own);
	}
	services_clear(&services);
	conf_free(&c);
	mistakes_clear(&m);
	buf_clear(&why);
	return 0;
}

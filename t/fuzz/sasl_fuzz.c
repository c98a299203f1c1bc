/* SPDX-License-Identifier: ISC */
#include "t/fuzz/fuzz.h"

#include "sasl/exchange.h"
#include "sasl/mechanism.h"
#include "sasl/prep.h"
#include "util/base64.h"
#include "util/err.h"

/* A client's two messages of SCRAM, a line each. The record is nobody's: no proof can be right. */
static void scram(struct slice in)
{
	static const struct sasl_scram record = {.iterations = 4096, .salt_len = 16};
	struct sasl_scram_server x;
	struct slice first;
	struct buf out = BUF_INIT(200);

	sasl_scram_init(&x);
	if (slice_part(&in, '\n', &first) && sasl_scram_begin(&x, first) == 0) {
		FUZZ_ASSERT(sasl_is_text(buf_slice(&x.login)));
		sasl_scram_challenge(&x, &record, SLICE_LIT("server"));
		FUZZ_ASSERT(sasl_scram_finish(&x, in, &out) != 0);
		FUZZ_ASSERT(out.len == 0);
	}
	sasl_scram_clear(&x);
	buf_clear(&out);
}

/* A form is its own form. */
static void prep(struct slice in)
{
	struct buf once = BUF_INIT(1 << 16), twice = BUF_INIT(1 << 16);

	if (in.len <= SASL_PASSWORD_MAX && sasl_prep(in, SASL_PREP_STORED, &once) == 0) {
		FUZZ_ASSERT(sasl_is_text(buf_slice(&once)));
		FUZZ_ASSERT(once.len <= SASL_PREP_MAX(in.len));
		if (sasl_prep(buf_slice(&once), SASL_PREP_STORED, &twice) == 0)
			FUZZ_ASSERT(slice_eq(buf_slice(&once), buf_slice(&twice)));
	}
	buf_clear(&once);
	buf_clear(&twice);
}

static void plain(struct slice in)
{
	struct sasl_plain p;

	if (sasl_plain_parse(in, &p) != 0)
		return;
	FUZZ_ASSERT(p.authzid.len + p.login.len + p.password.len + 2 == in.len);
	FUZZ_ASSERT(sasl_is_text(p.login) && sasl_is_text(p.password));
}

/* A SCRAM record as it is written again is the same but for the case of its name. */
static void records(struct slice in)
{
	struct sasl_record r;
	struct buf again = BUF_INIT(2 * SASL_RECORDS_MAX);
	struct slice rest = in;
	int err;

	while ((err = sasl_record_next(&rest, &r)) != ERR_NOT_FOUND) {
		if (err != 0 || r.kind != SASL_RECORD_SCRAM)
			continue;
		FUZZ_ASSERT(r.scram.salt_len > 0 && r.scram.salt_len <= SASL_SALT_MAX);
		buf_reset(&again);
		sasl_scram_format(&r.scram, &again);
		FUZZ_ASSERT(sasl_records_are_good(buf_slice(&again)));
	}
	buf_clear(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_of(data, size);
	struct sasl_options o;
	struct buf why = BUF_INIT(500);

	scram(in);
	plain(in);
	prep(in);
	records(in);
	(void)sasl_options_parse(in, &why, &o);
	buf_clear(&why);
	return 0;
}

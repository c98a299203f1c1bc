/* SPDX-License-Identifier: ISC */
#include "t/fuzz/fuzz.h"

#include "vault/handshake.h"

enum { LEAST = 64 + 4 + 32 };

/*
 * Side, kind of key, scheme, then what is to be signed. What is good for one side is not for the
 * other, and nothing short is good.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned bits[PEM_KINDS] = {2048, 2048, 256, 253, 456};
	struct handshake_how how;
	const char *why = NULL;

	if (size < 4)
		return 0;
	enum pem_kind kind = (enum pem_kind)(data[1] % PEM_KINDS);
	uint64_t scheme = (uint64_t)data[2] << 8 | data[3];
	struct slice input = slice_of(data + 4, size - 4);
	enum role role = data[0] & 1 ? ROLE_SMTPD : ROLE_CLIENT,
		  other = data[0] & 1 ? ROLE_CLIENT : ROLE_SMTPD;
	int r = handshake_check(role, input, scheme, kind, bits[kind], &how, &why);
	FUZZ_ASSERT((r == 0) == (why == NULL));
	if (r == 0) {
		FUZZ_ASSERT(input.len >= LEAST);
		FUZZ_ASSERT(
			handshake_check(other, input, scheme, kind, bits[kind], &how, &why) != 0);
	}
	return 0;
}

/* SPDX-License-Identifier: ISC */
#include "util/base64.h"

#include "t/tap.h"
#include "util/err.h"

static const struct {
	const char *plain, *coded;
} vectors[] = {
	/* RFC 4648, 10 */
	{"", ""},
	{"f", "Zg=="},
	{"fo", "Zm8="},
	{"foo", "Zm9v"},
	{"foob", "Zm9vYg=="},
	{"fooba", "Zm9vYmE="},
	{"foobar", "Zm9vYmFy"},
	{"\xfb\xff\xbf", "+/+/"},
};

static const char *const malformed[] = {
	"Z",
	"Zg",
	"Zg=",
	"Zg===",
	"=",
	"====",
	"Z===",
	"Zg==Zg==",
	"Zm=v",
	"Zm9v\n",
	"Zm 9",
	"Zm9-",
	"Zm9_",
	"Zh==",
	"Zm9=",
	("\xc3\xa4"
	 "AA"),
};

static void test_vectors(void)
{
	struct buf out = BUF_INIT(100);

	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		buf_reset(&out);
		base64_encode(&out, slice_str(vectors[i].plain));
		is_slice(buf_slice(&out), vectors[i].coded, "encode vector %zu", i);
		buf_reset(&out);
		is_int(base64_decode(&out, slice_str(vectors[i].coded)), 0, "decode vector %zu", i);
		is_slice(buf_slice(&out), vectors[i].plain, "decoded vector %zu", i);
	}
	buf_clear(&out);
}

static void test_malformed(void)
{
	struct buf out = BUF_INIT(100);

	buf_add_str(&out, "kept");
	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
		int r = base64_decode(&out, slice_str(malformed[i]));

		is_int(r, ERR_SYNTAX, "refused: '%s'", malformed[i]);
		is_slice(buf_slice(&out), "kept", "nothing is added");
	}
	is_int(base64_decode(&out, slice_of("Zg\0=", 4)), ERR_SYNTAX, "a NUL is refused");
	buf_clear(&out);
}

static void test_all_bytes(void)
{
	struct buf in = BUF_INIT(256), coded = BUF_INIT(1000), out = BUF_INIT(256);

	for (int c = 0; c < 256; c++)
		buf_add_char(&in, (char)c);
	base64_encode(&coded, buf_slice(&in));
	is_int(coded.len, 344, "256 bytes are 344 characters");
	is_int(base64_decode(&out, buf_slice(&coded)), 0, "decoded");
	ok(slice_eq(buf_slice(&in), buf_slice(&out)), "every byte comes back");
	buf_clear(&in);
	buf_clear(&coded);
	buf_clear(&out);
}

static void test_limit(void)
{
	struct buf out = BUF_INIT(4);

	is_int(base64_decode(&out, SLICE_LIT("Zm9vYmFy")), ERR_LIMIT, "six bytes into four");
	buf_clear(&out);
	base64_encode(&out, SLICE_LIT("abcd"));
	ok(buf_failed(&out), "eight characters into four");
	buf_clear(&out);
}

int main(void)
{
	test_vectors();
	test_malformed();
	test_all_bytes();
	test_limit();
	return done_testing();
}

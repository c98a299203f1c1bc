/* SPDX-License-Identifier: ISC */
#include <stdint.h>

#include "t/tap.h"
#include "util/buf.h"
#include "util/err.h"
#include "vault/arena.h"
#include "vault/handshake.h"

enum { MOST = 70000, BLANKS = 64 };

/* ---- inputs ---- */

static struct buf input = BUF_INIT(MOST);

static void add_n(char c, size_t n)
{
	while (n-- > 0)
		(void)buf_add_char(&input, c);
}

static void tls13(const char *context, size_t hash)
{
	buf_reset(&input);
	add_n(' ', BLANKS);
	(void)buf_add(&input, context, strlen(context) + 1);
	add_n('h', hash);
}

/* A ServerKeyExchange of a named curve. */
static void tls12(int type, int group, int len, size_t point, char first)
{
	buf_reset(&input);
	add_n('r', 64);
	(void)buf_add_char(&input, (char)type);
	(void)buf_add_char(&input, (char)(group >> 8));
	(void)buf_add_char(&input, (char)group);
	(void)buf_add_char(&input, (char)len);
	if (point > 0)
		(void)buf_add_char(&input, first);
	add_n('p', point > 0 ? point - 1 : 0);
}

static void message(int type, size_t len)
{
	(void)buf_add_char(&input, (char)type);
	(void)buf_add_char(&input, (char)(len >> 16));
	(void)buf_add_char(&input, (char)(len >> 8));
	(void)buf_add_char(&input, (char)len);
	/* Hellos begin with the version. */
	if (len >= 2) {
		(void)buf_add_str(&input, "\3\3");
		len -= 2;
	}
	add_n('m', len);
}

/* "1:40 2:40 11:900 …": messages by type and length. */
static void transcript(const char *text)
{
	struct slice rest = slice_str(text), item;

	buf_reset(&input);
	while (slice_token(&rest, " ", &item)) {
		uint64_t type = 0, len = 0;
		struct slice first;

		(void)slice_part(&item, ':', &first);
		(void)slice_u64(first, 0, 255, &type);
		(void)slice_u64(item, 0, MOST, &len);
		message((int)type, (size_t)len);
	}
}

static bool is_signed(enum role role, uint64_t scheme, enum pem_kind kind, unsigned bits)
{
	struct handshake_how how;
	const char *why = NULL;
	int r = handshake_check(role, buf_slice(&input), scheme, kind, bits, &how, &why);

	if ((r == 0) == (why != NULL))
		fail("a reason when, and only when, it is refused");
	return r == 0;
}

#define SERVER ROLE_SMTPD, HS_ECDSA_SHA256, PEM_EC, 256
#define CLIENT ROLE_CLIENT, HS_ECDSA_SHA256, PEM_EC, 256

static const char server[] = "TLS 1.3, server CertificateVerify",
		  client[] = "TLS 1.3, client CertificateVerify";
static const char full[] = "1:200 2:80 11:900 12:100 13:40 14:0 11:700 16:66";

static void check_13(void)
{
	static const struct {
		const char *context;
		size_t hash;
		bool of_server, of_client;
	} rows[] = {
		{server, 32, true, false},
		{server, 48, true, false},
		{client, 32, false, true},
		{client, 48, false, true},
		{server, 31, false, false},
		{server, 33, false, false},
		{server, 64, false, false},
		{server, 0, false, false},
		{"TLS 1.3, server certificateVerify", 32, false, false},
		{"TLS 1.2, server CertificateVerify", 32, false, false},
		{"", 32, false, false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		tls13(rows[i].context, rows[i].hash);
		is_int(is_signed(SERVER), rows[i].of_server, "server, 1.3, row %zu", i);
		is_int(is_signed(CLIENT), rows[i].of_client, "client, 1.3, row %zu", i);
	}
	tls13(server, 32);
	for (size_t at = 0; at < BLANKS; at += 21) {
		char *p = (char *)(uintptr_t)(buf_str(&input) + at);

		*p = '\t';
		ok(!is_signed(SERVER), "a byte of the blanks is another");
		*p = ' ';
	}
	ok(is_signed(SERVER), "all are blanks again");
	ok(!is_signed(ROLE_QMGR, HS_ECDSA_SHA256, PEM_EC, 256), "another role");
	ok(!is_signed(ROLE_CLEANUP, HS_ECDSA_SHA256, PEM_EC, 256), "and another");
}

static void check_12_server(void)
{
	static const struct {
		int type, group, len;
		size_t point;
		char first;
		bool good;
	} rows[] = {
		{3, 23, 65, 65, 4, true},
		{3, 24, 97, 97, 4, true},
		{3, 25, 133, 133, 4, true},
		{3, 29, 32, 32, 'x', true},
		{3, 30, 56, 56, 'x', true},
		{3, 23, 65, 64, 4, false},
		{3, 23, 65, 66, 4, false},
		{3, 23, 64, 64, 4, false},
		{3, 23, 65, 65, 2, false},
		{3, 29, 33, 33, 'x', false},
		{1, 23, 65, 65, 4, false},
		{2, 23, 65, 65, 4, false},
		{3, 22, 65, 65, 4, false},
		{3, 0, 32, 32, 'x', false},
		{3, 256 + 29, 32, 32, 'x', false},
		{3, 29, 0, 0, 0, false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		tls12(rows[i].type, rows[i].group, rows[i].len, rows[i].point, rows[i].first);
		is_int(is_signed(SERVER), rows[i].good, "server, 1.2, row %zu", i);
		ok(!is_signed(CLIENT), "no client signs it, row %zu", i);
	}
}

static void check_12_client(void)
{
	static const struct {
		const char *messages;
		bool good;
	} rows[] = {
		{full, true},
		{"1:200 2:80 11:900 22:500 12:100 13:40 14:0 11:700 16:66", true},
		{"1:200 2:80 11:30000 12:100 13:20000 14:0 11:9000 16:66", true},
		{"1:200 2:80 11:900 12:100 13:40 14:0 11:700", false},
		{"1:200 2:80 11:900 12:100 13:40 14:0 11:700 16:66 16:66", false},
		{"1:200 2:80 11:900 12:100 13:40 14:0 11:700 16:66 20:12", false},
		{"2:80 1:200 11:900 12:100 13:40 14:0 11:700 16:66", false},
		{"1:200 2:80 11:900 13:40 12:100 14:0 11:700 16:66", false},
		{"1:200 2:80 11:900 12:100 14:0 11:700 16:66", false},
		{"1:200 2:80 11:900 13:40 14:0 11:700 16:66", false},
		{"1:20 2:80 11:900 12:100 13:40 14:0 11:700 16:66", false},
		{"1:200", false},
		{"", false},
		{"16:66", false},
	};
	struct buf copy = BUF_INIT(MOST);

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		transcript(rows[i].messages);
		is_int(is_signed(CLIENT), rows[i].good, "client, 1.2: %s", rows[i].messages);
		ok(!is_signed(SERVER), "no server signs it: %s", rows[i].messages);
	}
	transcript(full);
	(void)buf_add_slice(&copy, buf_slice(&input));
	for (size_t cut = 1; cut < copy.len; cut += 97) {
		buf_reset(&input);
		(void)buf_add_slice(&input, slice_first(buf_slice(&copy), copy.len - cut));
		ok(!is_signed(CLIENT), "cut off by %zu", cut);
	}
	buf_clear(&copy);
}

static void check_schemes(void)
{
	static const struct {
		uint64_t scheme;
		enum pem_kind kind;
		unsigned bits;
		bool in_13, in_12;
	} rows[] = {
		{0x0401, PEM_RSA, 2048, false, true},
		{0x0501, PEM_RSA, 2048, false, true},
		{0x0601, PEM_RSA, 2048, false, true},
		{0x0804, PEM_RSA, 2048, true, true},
		{0x0805, PEM_RSA, 2048, true, true},
		{0x0806, PEM_RSA, 2048, true, true},
		{0x0809, PEM_RSA_PSS, 2048, true, true},
		{0x080b, PEM_RSA_PSS, 2048, true, true},
		{0x0403, PEM_EC, 256, true, true},
		{0x0503, PEM_EC, 384, true, true},
		{0x0603, PEM_EC, 521, true, true},
		{0x0403, PEM_EC, 384, false, true},
		{0x0503, PEM_EC, 256, false, true},
		{0x0807, PEM_ED25519, 253, true, true},
		{0x0808, PEM_ED448, 448, true, true},
		/* SHA-1, MD5, DSA, none at all. */
		{0x0201, PEM_RSA, 2048, false, false},
		{0x0203, PEM_EC, 256, false, false},
		{0x0101, PEM_RSA, 2048, false, false},
		{0x0402, PEM_RSA, 2048, false, false},
		{0, PEM_RSA, 2048, false, false},
		{0x10403, PEM_EC, 256, false, false},
		/* Of another kind of key. */
		{0x0804, PEM_RSA_PSS, 2048, false, false},
		{0x0809, PEM_RSA, 2048, false, false},
		{0x0403, PEM_RSA, 2048, false, false},
		{0x0804, PEM_EC, 256, false, false},
		{0x0807, PEM_ED448, 456, false, false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		tls13(server, 32);
		is_int(is_signed(ROLE_SMTPD, rows[i].scheme, rows[i].kind, rows[i].bits),
			rows[i].in_13, "scheme %04llx in 1.3, row %zu",
			(unsigned long long)rows[i].scheme, i);
		tls12(3, 29, 32, 32, 'x');
		is_int(is_signed(ROLE_SMTPD, rows[i].scheme, rows[i].kind, rows[i].bits),
			rows[i].in_12, "scheme %04llx in 1.2, row %zu",
			(unsigned long long)rows[i].scheme, i);
	}
}

/* ---- memory ---- */

enum { BLOCKS = 500 };

static uint32_t next_random(void)
{
	static uint32_t x = 12345;

	return x = x * 1664525 + 1013904223;
}

static bool is_all(const uint8_t *p, size_t n, uint8_t byte)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != byte)
			return false;
	return true;
}

static void check_arena(void)
{
	static struct {
		uint8_t *p;
		size_t size;
	} blocks[BLOCKS];
	bool good = true;
	size_t before = arena_used();

	for (int round = 0; round < 20000; round++) {
		size_t i = next_random() % BLOCKS, size = next_random() >> (8 + next_random() % 20);

		size = size % 9000 + 1;
		good = good &&
		       (blocks[i].p == NULL || is_all(blocks[i].p, blocks[i].size, (uint8_t)i));
		if (next_random() % 3 == 0) {
			arena_free(blocks[i].p);
			blocks[i].p = NULL;
			continue;
		}
		size_t kept = blocks[i].p == NULL     ? 0
			      : size < blocks[i].size ? size
						      : blocks[i].size;
		blocks[i].p = arena_resize(blocks[i].p, size);
		good = good && blocks[i].p != NULL && arena_has(blocks[i].p) &&
		       (uintptr_t)blocks[i].p % 16 == 0 && is_all(blocks[i].p, kept, (uint8_t)i);
		memset(blocks[i].p, (int)i, size);
		blocks[i].size = size;
	}
	ok(good, "blocks keep what is in them");
	for (size_t i = 0; i < BLOCKS; i++)
		arena_free(blocks[i].p);
	is_int(arena_used(), before, "all is free again");

	uint8_t *p = arena_alloc(3000);
	memset(p, 'k', 3000);
	arena_free(p);
	uint8_t *q = arena_alloc(3000);
	ok(q == p, "a block is used again");
	ok(is_all(q, 3000, 0), "and was overwritten when it was freed");
	arena_free(q);
	ok(arena_alloc(SIZE_MAX) == NULL && arena_alloc(SIZE_MAX - 8) == NULL &&
			arena_alloc(ARENA_SIZE) == NULL,
		"what does not fit is not there");
	ok(!arena_has(&good), "the stack is no arena");
}

static void free_foreign(void)
{
	static char bytes[100];

	arena_free(bytes + 50);
}

int main(void)
{
	char text[400];

	arena_use();
	ok(arena_open() || true, "it is mapped");
	check_arena();
	ok(tap_child(free_foreign, text, sizeof(text)) != 0, "another's memory is not freed");
	check_13();
	check_12_server();
	check_12_client();
	check_schemes();
	buf_clear(&input);
	return done_testing();
}

/* SPDX-License-Identifier: ISC */
#include "sasl/exchange.h"
#include "sasl/mechanism.h"
#include "sasl/prep.h"
#include "t/tap.h"
#include "util/base64.h"
#include "util/err.h"

/* RFC 7677, 3. */
static const char salt_text[] = "W22ZaJ0SNY7soEsUEjb6gQ==";
static const char nonce_text[] = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
static const char first_text[] = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
static const char challenge_text[] = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
				     "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
static const char final_text[] = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
				 "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
static const char verifier_text[] = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

static struct sasl_scram record_of(const char *password)
{
	struct sasl_scram s;
	struct buf salt = BUF_INIT(64);

	(void)base64_decode(&salt, slice_str(salt_text));
	sasl_scram_make(slice_str(password), buf_slice(&salt), 4096, &s);
	buf_clear(&salt);
	return s;
}

static int finish(const char *first, const char *password, const char *final, struct buf *out)
{
	struct sasl_scram_server x;
	struct sasl_scram s = record_of(password);

	sasl_scram_init(&x);
	int r = sasl_scram_begin(&x, slice_str(first));
	if (r == 0) {
		sasl_scram_challenge(&x, &s, slice_str(nonce_text));
		if (strcmp(first, first_text) == 0)
			is_str(buf_str(&x.server_first), challenge_text, "the challenge");
		r = sasl_scram_finish(&x, slice_str(final), out);
	}
	sasl_scram_clear(&x);
	return r;
}

static void test_scram(void)
{
	static const char *const bad_finals[] = {"", "p=", "c=biws", "c=biws,r=x,p=AA==",
		"c=eSws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
		"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=AAAA",
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
		"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
		"c=biws,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="};
	struct buf out = BUF_INIT(200);

	is_int(finish(first_text, "pencil", final_text, &out), 0, "RFC 7677: proof");
	is_str(buf_str(&out), verifier_text, "RFC 7677: the server's signature");
	buf_reset(&out);
	is_int(finish(first_text, "pencils", final_text, &out), ERR_DENIED, "another password");
	is_int(out.len, 0, "says nothing then");
	for (size_t i = 0; i < COUNT_OF(bad_finals); i++)
		is_int(finish(first_text, "pencil", bad_finals[i], &out), ERR_SYNTAX,
			"bad client-final-message %zu", i);
	buf_clear(&out);
}

static void test_scram_first(void)
{
	static const struct {
		const char *message, *login, *authzid;
	} good[] = {
		{"n,,n=user,r=abc", "user", ""},
		{"y,,n=user,r=abc,x=extension", "user", ""},
		{"n,a=boss,n=a=2Cb=3Dc,r=abc", "a,b=c", "boss"},
		{"n,,n=\xc3\xa4,r=abc", "\xc3\xa4", ""},
	};
	static const char *const bad[] = {"", "n", "n,,", "n,,n=user", "n,,n=,r=abc",
		"n,,n=user,r=", "p=tls-unique,,n=user,r=abc", "n,,n=a=2Db,r=abc", "n,,n=a=,r=abc",
		"n,,m=x,n=user,r=abc", "x,,n=user,r=abc", "n,b=x,n=user,r=abc", "n,,n=us\ter,r=abc",
		"n,,n=us\xff,r=abc", "n,,n=user,r=a bc", "n,,r=abc,n=user"};
	struct sasl_scram_server x;

	for (size_t i = 0; i < COUNT_OF(good); i++) {
		sasl_scram_init(&x);
		is_int(sasl_scram_begin(&x, slice_str(good[i].message)), 0, "%s", good[i].message);
		is_str(buf_str(&x.login), good[i].login, "its login");
		is_str(buf_str(&x.authzid), good[i].authzid, "its other identity");
		sasl_scram_clear(&x);
	}
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		sasl_scram_init(&x);
		is_int(sasl_scram_begin(&x, slice_str(bad[i])), ERR_SYNTAX,
			"bad client-first-message %zu", i);
		sasl_scram_clear(&x);
	}
}

/* The client's half: client-final-message for a header and what binds it. */
static void prove(const struct sasl_scram_server *x, const char *header, const char *binding,
	const char *first_bare, struct buf *out)
{
	struct buf bind = BUF_INIT(500), text = BUF_INIT(2000), salt = BUF_INIT(64);
	uint8_t salted[SASL_KEY], key[SASL_KEY], stored[SASL_KEY], signature[SASL_KEY];

	(void)base64_decode(&salt, slice_str(salt_text));
	sasl_pbkdf2(slice_str("pencil"), buf_slice(&salt), 4096, salted);
	sasl_hmac(slice_of(salted, SASL_KEY), slice_str("Client Key"), key);
	sasl_sha256(slice_of(key, SASL_KEY), stored);
	(void)buf_add_fmt(&bind, "%s%s", header, binding);
	(void)buf_add_str(out, "c=");
	base64_encode(out, buf_slice(&bind));
	(void)buf_add_fmt(out, ",r=%s", buf_str(&x->nonce));
	(void)buf_add_fmt(&text, "%s,%s,%s", first_bare, buf_str(&x->server_first), buf_str(out));
	sasl_hmac(slice_of(stored, SASL_KEY), buf_slice(&text), signature);
	for (size_t i = 0; i < SASL_KEY; i++)
		key[i] ^= signature[i];
	(void)buf_add_str(out, ",p=");
	base64_encode(out, slice_of(key, SASL_KEY));
	buf_clear(&bind);
	buf_clear(&text);
	buf_clear(&salt);
}

static void test_scram_binding(void)
{
	static const struct {
		enum sasl_binding mode;
		const char *header;          /* as the client sends it */
		const char *client, *server; /* what it thinks binds it, and what does */
		int begin, finish;
		const char *name;
	} rows[] = {
		{SASL_BINDING_CHOSEN, "p=tls-exporter,,", "abc", "abc", 0, 0, "bound"},
		{SASL_BINDING_CHOSEN, "p=tls-exporter,,", "abc", "abd", 0, ERR_SYNTAX,
			"a session of two halves"},
		{SASL_BINDING_CHOSEN, "p=tls-exporter,,", "", "abc", 0, ERR_SYNTAX,
			"bound to nothing"},
		{SASL_BINDING_CHOSEN, "n,,", "", "abc", ERR_SYNTAX, 0, "-PLUS without binding"},
		{SASL_BINDING_CHOSEN, "y,,", "", "abc", ERR_SYNTAX, 0, "-PLUS that was not seen"},
		{SASL_BINDING_CHOSEN, "p=,,", "", "", ERR_SYNTAX, 0, "no name of a binding"},
		{SASL_BINDING_CHOSEN, "p=a b,,", "", "", ERR_SYNTAX, 0, "none either"},
		{SASL_BINDING_OFFERED, "n,,", "", "", 0, 0, "a client that cannot"},
		{SASL_BINDING_OFFERED, "y,,", "", "", ERR_DENIED, 0, "a list that was cut"},
		{SASL_BINDING_OFFERED, "p=tls-exporter,,", "", "", ERR_SYNTAX, 0,
			"bound without -PLUS"},
		{SASL_BINDING_NONE, "y,,", "", "", 0, 0, "no -PLUS here"},
	};
	static const char bare[] = "n=user,r=xyz";

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct sasl_scram_server x;
		struct sasl_scram s = record_of("pencil");
		struct buf message = BUF_INIT(2000), out = BUF_INIT(200);

		sasl_scram_init(&x);
		x.binding = rows[i].mode;
		(void)buf_add_fmt(&message, "%s%s", rows[i].header, bare);
		is_int(sasl_scram_begin(&x, buf_slice(&message)), rows[i].begin,
			"%s: first message", rows[i].name);
		if (rows[i].begin == 0) {
			(void)buf_add_str(&x.binding_data, rows[i].server);
			sasl_scram_challenge(&x, &s, slice_str(nonce_text));
			buf_reset(&message);
			prove(&x, rows[i].header, rows[i].client, bare, &message);
			is_int(sasl_scram_finish(&x, buf_slice(&message), &out), rows[i].finish,
				"%s: proof", rows[i].name);
		}
		sasl_scram_clear(&x);
		buf_clear(&message);
		buf_clear(&out);
	}
}

static void test_plain(void)
{
	static const struct {
		struct slice message;
		int want;
		const char *authzid, *login, *password;
	} rows[] = {
		{SLICE_LIT("\0joe\0secret"), 0, "", "joe", "secret"},
		{SLICE_LIT("boss\0joe@x\0p w"), 0, "boss", "joe@x", "p w"},
		{SLICE_LIT(""), ERR_SYNTAX, "", "", ""},
		{SLICE_LIT("\0joe"), ERR_SYNTAX, "", "", ""},
		{SLICE_LIT("\0joe\0"), ERR_SYNTAX, "", "", ""},
		{SLICE_LIT("\0\0secret"), ERR_SYNTAX, "", "", ""},
		{SLICE_LIT("\0joe\0sec\0ret"), ERR_SYNTAX, "", "", ""},
		{SLICE_LIT("\0jo\ne\0secret"), ERR_SYNTAX, "", "", ""},
		{SLICE_LIT("\0joe\0sec\xffret"), ERR_SYNTAX, "", "", ""},
		{SLICE_LIT("bo\rss\0joe\0secret"), ERR_SYNTAX, "", "", ""},
	};
	struct sasl_plain p;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		is_int(sasl_plain_parse(rows[i].message, &p), rows[i].want, "PLAIN %zu", i);
		if (rows[i].want != 0)
			continue;
		is_slice(p.authzid, rows[i].authzid, "authzid");
		is_slice(p.login, rows[i].login, "login");
		is_slice(p.password, rows[i].password, "password");
	}
}

static void test_records(void)
{
	static const char *const bad[] = {"", "secret", "{PLAIN}secret", "{CRYPT}secret",
		"$1$abc$0123456789012345678901", "$5$salt$short", "$5$", "$y$", "$6$x",
		"{SCRAM-SHA-256}", "{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==",
		"{SCRAM-SHA-256}4095,W22ZaJ0SNY7soEsUEjb6gQ==,"
		"WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
		"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
		"{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,AAAA,AAAA",
		"{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,"
		"WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
		"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=,more",
		"$5$salt:x$0123456789012345678901234567890123456789012"};
	static const char scram[] = "{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,"
				    "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
				    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
	struct buf text = BUF_INIT(2000);
	struct sasl_scram s = record_of("pencil");

	for (size_t i = 0; i < COUNT_OF(bad); i++)
		ok(!sasl_records_are_good(slice_str(bad[i])), "no record: %s", bad[i]);
	sasl_scram_format(&s, &text);
	is_str(buf_str(&text), scram, "a record as it is written (the keys of RFC 7677's user)");
	ok(sasl_records_are_good(buf_slice(&text)), "and read");
	ok(sasl_records_verify(buf_slice(&text), SLICE_LIT("pencil")), "its password");
	ok(!sasl_records_verify(buf_slice(&text), SLICE_LIT("pencils")), "not another");
	(void)buf_add_str(&text, "  {CRYPT}");
	is_int(sasl_crypt_make(SLICE_LIT("second"), &text), 0, "a hash of crypt is made");
	ok(sasl_records_are_good(buf_slice(&text)), "two records: %s", buf_str(&text));
	ok(sasl_records_verify(buf_slice(&text), SLICE_LIT("pencil")), "the password of the one");
	ok(sasl_records_verify(buf_slice(&text), SLICE_LIT("second")), "and of the other");
	ok(!sasl_records_verify(buf_slice(&text), SLICE_LIT("third")), "and no other");
	ok(!sasl_records_verify(buf_slice(&text), SLICE_LIT("pen\ncil")), "no control characters");
	(void)buf_add_str(&text, " clear");
	ok(!sasl_records_are_good(buf_slice(&text)), "a clear password among them");
	buf_clear(&text);
}

/* One hash of each kind, made by crypt(3) for "pencil". */
static void test_hashes(void)
{
	static const char *const hashes[] = {
		"$y$j75$0123456789abcdefghijk/$U/yfz6fzm9qbgO2vv5e.ciGZruXTHy7F6981gmHkGF7",
		"$6$rounds=1000$saltstring$"
		"Dst5SzMCiLiSWQN0EnEgf8DNbHOJRybf7gWFoq4HhaAWnZcpnsBwYgTSajPGyhfsjkr51qmiDafX//"
		"8bUiGTO1",
		"$5$rounds=1000$saltstring$IDMRVjjzM7pxdq5saV3T0Syncing1KAt3iS2GewFZH1",
		"$2b$04$abcdefghijklmnopqrstuu/FyAyuZSl3DbPdvio4KrIBdz2k2yhV2",
	};

	for (size_t i = 0; i < COUNT_OF(hashes); i++) {
		ok(sasl_records_are_good(slice_str(hashes[i])), "hash %zu", i);
		ok(sasl_records_verify(slice_str(hashes[i]), SLICE_LIT("pencil")), "its password");
		ok(!sasl_records_verify(slice_str(hashes[i]), SLICE_LIT("Pencil")), "no other");
	}
}

static void test_prep(void)
{
	static const struct {
		const char *text, *query, *stored; /* NULL: ERR_SYNTAX */
	} rows[] = {
		/* RFC 4013, 3. */
		{"I\xc2\xadX", "IX", "IX"},
		{"user", "user", "user"},
		{"USER", "USER", "USER"},
		{"\xc2\xaa", "a", "a"},
		{"\xe2\x85\xa8", "IX", "IX"},
		{"\x07", NULL, NULL},
		{"\xd8\xa7\x31", NULL, NULL},
		{"", NULL, NULL},
		{"p w~ \\\"", "p w~ \\\"", "p w~ \\\""},
		{"e\xcc\x81t\xc3\xa9", "\xc3\xa9t\xc3\xa9", "\xc3\xa9t\xc3\xa9"},
		{"a\xc2\xa0"
		 "b\xe3\x80\x80"
		 "c",
			"a b c", "a b c"},
		{"\xc2\xad", NULL, NULL},      /* nothing is left */
		{"a\xc2\x80", NULL, NULL},     /* C1 control */
		{"a\xee\x80\x80", NULL, NULL}, /* private use */
		{"a\xef\xbf\xbe", NULL, NULL}, /* no character */
		{"a\xe2\x80\x8e", NULL, NULL}, /* changes display */
		{"a\xf3\xa0\x81\xa1", NULL, NULL},
		{"\xd7\x90\xd7\x91", "\xd7\x90\xd7\x91", "\xd7\x90\xd7\x91"},
		{"\xf0\x9f\x94\x91", "\xf0\x9f\x94\x91", NULL}, /* after Unicode 3.2 */
		{"a\xff", NULL, NULL},
		{"a\xc0\x80", NULL, NULL},
		{"a\xed\xa0\x80", NULL, NULL},
	};
	struct buf out = BUF_INIT(200), longest = BUF_INIT(20000);

	for (size_t i = 0; i < 2 * COUNT_OF(rows); i++) {
		enum sasl_prep_use use = i % 2 == 0 ? SASL_PREP_QUERY : SASL_PREP_STORED;
		const char *want = i % 2 == 0 ? rows[i / 2].query : rows[i / 2].stored;

		buf_reset(&out);
		is_int(sasl_prep(slice_str(rows[i / 2].text), use, &out),
			want != NULL ? 0 : ERR_SYNTAX, "SASLprep %zu", i);
		is_str(buf_str(&out), want != NULL ? want : "", "its form");
	}
	/* U+FDFA is the one that grows most. */
	while (longest.len < SASL_PASSWORD_MAX - 3)
		(void)buf_add_str(&longest, "\xef\xb7\xba");
	out.limit = 20000;
	buf_reset(&out);
	is_int(sasl_prep(buf_slice(&longest), SASL_PREP_QUERY, &out), 0, "the longest");
	ok(out.len > 10 * longest.len && out.len <= SASL_PREP_MAX(longest.len), "%zu bytes",
		out.len);
	buf_clear(&longest);
	buf_clear(&out);
}

/* Records by gatepost are of the prepared form, those of others of what was typed. */
static void test_forms(void)
{
	static const char typed[] = "e\xcc\x81\xc2\xbd", form[] = "\xc3\xa9"
								  "1\xe2\x81\x84"
								  "2";
	struct sasl_scram s = record_of(form);
	struct buf ours = BUF_INIT(500), theirs = BUF_INIT(500);

	sasl_scram_format(&s, &ours);
	s = record_of(typed);
	sasl_scram_format(&s, &theirs);
	ok(sasl_records_verify(buf_slice(&ours), slice_str(typed)), "as it was typed");
	ok(sasl_records_verify(buf_slice(&ours), slice_str(form)), "as it would be prepared");
	ok(sasl_records_verify(buf_slice(&theirs), slice_str(typed)), "a record of what was typed");
	ok(!sasl_records_verify(buf_slice(&theirs), slice_str(form)), "not another way");
	ok(!sasl_records_verify(buf_slice(&ours), SLICE_LIT("e\xcc\x81")), "not another password");
	s = record_of("a\xee\x80\x80");
	buf_reset(&theirs);
	sasl_scram_format(&s, &theirs);
	ok(sasl_records_verify(buf_slice(&theirs), SLICE_LIT("a\xee\x80\x80")),
		"one that has no form");
	buf_clear(&ours);
	buf_clear(&theirs);
}

static void test_options(void)
{
	static const struct {
		const char *text;
		unsigned properties;
		bool permitted;
	} rows[] = {
		{"", SASL_PLAINTEXT, true},
		{"noanonymous", SASL_PLAINTEXT, true},
		{"noanonymous", SASL_ANONYMOUS, false},
		{"noanonymous, noplaintext", SASL_PLAINTEXT, false},
		{"NoPlaintext", SASL_MUTUAL_AUTH, true},
		{"mutual_auth", SASL_PLAINTEXT, false},
		{"mutual_auth", SASL_MUTUAL_AUTH, true},
		{"forward_secrecy", SASL_MUTUAL_AUTH, false},
		{"nodictionary noactive", SASL_DICTIONARY, false},
	};
	struct sasl_options o;
	struct buf why = BUF_INIT(200);

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		is_int(sasl_options_parse(slice_str(rows[i].text), &why, &o), 0, "options: %s",
			rows[i].text);
		is_int(sasl_options_permit(&o, rows[i].properties), rows[i].permitted, "row %zu",
			i);
	}
	is_int(sasl_options_parse(SLICE_LIT("noplain"), &why, &o), ERR_SYNTAX, "an unknown option");
	ok(strstr(buf_str(&why), "\"noplain\"") != NULL, "is named");
	buf_clear(&why);
	ok(sasl_is_mechanism(SLICE_LIT("SCRAM-SHA-256")), "a mechanism");
	ok(!sasl_is_mechanism(SLICE_LIT("")) && !sasl_is_mechanism(SLICE_LIT("A B")) &&
			!sasl_is_mechanism(SLICE_LIT("ABCDEFGHIJKLMNOPQRSTU")),
		"no mechanisms");
	is_int(sasl_property(SLICE_LIT("mutual-auth")), SASL_MUTUAL_AUTH, "a property");
	is_int(sasl_property(SLICE_LIT("private")), 0, "none that counts");
}

int main(void)
{
	test_scram();
	test_scram_first();
	test_scram_binding();
	test_plain();
	test_records();
	test_hashes();
	test_prep();
	test_forms();
	test_options();
	return done_testing();
}

/* SPDX-License-Identifier: ISC */
/* What becomes of content on its way out: by tables, and for a server without 8BITMIME. */
#include "t/tap.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf/conf.h"
#include "map/map.h"
#include "net/loop.h"
#include "smtp-client/checks.h"
#include "smtp-client/convert.h"
#include "smtp-client/generic.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

#define TEN(x) x x x x x x x x x x

static char dir[] = "/tmp/gp-convert-XXXXXX";

/* Each table behind "later", which answers from the loop; t/client/content.t has them without. */
static const char settings[] =
	"compatibility_level = 3.6\nmyhostname = own.example\nmydomain = example\n"
	"mydestination = own.example\ninet_interfaces = 127.0.0.1\nrecipient_delimiter = +\n"
	"header_size_limit = 500\nmime_nesting_limit = 2\n"
	"mime_boundary_length_limit = 10\n"
	"smtp_generic_maps = later:inline:{{anna@own.example=a.b@far.test}, "
	"{bert=bert.x@far.test}, "
	"{@in.example=@out.example}, {bad@own.example=<>}, "
	"{utf@own.example=gr\xc3\xbcn@far.test}}\n"
	"smtp_header_checks = later:pcre:{{/^X-Drop:/ IGNORE}, {/^X-Strip:/ STRIP gone}, "
	"{/^X-Info: (.*)/ INFO it is $$1}, {/^X-Warn:/ WARN}, {/^X-New: (.*)/ REPLACE X-Newer: "
	"$$1}, "
	"{/^X-Huge: (.*)/ REPLACE X-Huger: " TEN(
		TEN("$$1$$1$$1")) "}, "
				  "{/^X-Top:/ PREPEND X-Upper: x}, {/^X-Bad:/ REPLACE nothing}, "
				  "{/^X-Bad2:/ PREPEND}, "
				  "{/^X-Odd:/ REJECT no}, {/^X-Ok:/ DUNNO}, {/^X-Fold: a\\n\\tb$$/ "
				  "IGNORE}, "
				  "{/^X-Long: 0/ IGNORE}, {/^Content-Type:/ IGNORE}, {/^To: swap/ "
				  "REPLACE To: "
				  "bert@own.example}}\n"
				  "smtp_mime_header_checks = later:pcre:{{/^Content-Disposition:/ "
				  "IGNORE}, {/^X-Part:/ "
				  "IGNORE}, "
				  "{/^X-Drop:/ PREPEND X-Mime: seen}}\n"
				  "smtp_nested_header_checks = later:pcre:{{/^X-Drop:/ REPLACE "
				  "X-Nested: 1}}\n"
				  "smtp_body_checks = later:pcre:{{/^drop/ IGNORE}, {/^new (.*)/ "
				  "REPLACE old $$1}, "
				  "{/^top/ PREPEND above}, {/^gr=C3=BC/ WARN encoded}}\n";

struct row {
	const char *what, *content, *want;
};

/* "|" is a line end. */
static const struct row by_tables[] = {
	{"nothing to do", "A: b|B : c| d||one|two|", "A: b|B : c| d||one|two|"},
	{"no line end at the end", "A: b||one", "A: b||one"},
	{"fields alone", "A: b|B: c|", "A: b|B: c|"},
	{"nothing", "", ""},
	{"IGNORE and STRIP", "A: b|X-Drop: 1| 2|X-Strip: 3|C: d||one|", "A: b|C: d||one|"},
	{"INFO, WARN, DUNNO", "X-Info: 1|X-Warn: 2|X-Ok: 3||", "X-Info: 1|X-Warn: 2|X-Ok: 3||"},
	{"REPLACE and PREPEND", "X-New: 1|X-Top: 2||", "X-Newer: 1|X-Upper: x|X-Top: 2||"},
	{"a folded field in REPLACE", "X-New: 1|\t2| 3|A: b||", "X-Newer: 1|\t2| 3|A: b||"},
	{"bad texts and actions", "X-Bad: 1|X-Bad2: 2|X-Odd: 3||", "X-Bad: 1|X-Bad2: 2|X-Odd: 3||"},
	{"the whole field, lines by LF", "X-Fold : a|\tb|B: c||", "B: c||"},
	{"a text that is too long", "A: b|X-Huge: " TEN(TEN("1234")) "||one|",
		"!5.3.0 a table makes too long a text of a header or line"},
	{"not the fields of MIME", "Content-Type: text/plain|A: b||",
		"Content-Type: text/plain|A: b||"},
	{"nor those of parts",
		"Content-Type: multipart/x; boundary=b|Content-Disposition: x||--b|X-Part: "
		"1|X-Drop: "
		"1|A: b||text|--b|Content-Type: message/rfc822||X-Drop: 1|X-Part: 2||x|--b--|",
		"Content-Type: multipart/x; boundary=b||--b|X-Mime: seen|X-Drop: 1|A: b||text|--b|"
		"Content-Type: message/rfc822||X-Nested: 1|X-Part: 2||x|--b--|"},
	{"lines of the body", "A: b||drop this|new text|top|x|", "A: b||old text|above|top|x|"},
	{"addresses",
		"From: \"A. Nna\" <Anna@Own.example>|To: x@far.test, bert@own.example (B),|\t"
		"c+d@in.example|Subject: anna@own.example|Cc: bad@own.example||anna@own.example|",
		"From: \"A. Nna\" <a.b@far.test>|To: x@far.test, bert.x@far.test (B),|\t"
		"c+d@out.example|Subject: anna@own.example|Cc: bad@own.example||anna@own.example|"},
	{"extensions are not carried over",
		"From: anna+x@own.example|Resent-From: anna@own.example||",
		"From: a.b@far.test|Resent-From: a.b@far.test||"},
	{"not those inside", "Content-Type: message/rfc822||From: anna@own.example||x|",
		"Content-Type: message/rfc822||From: anna@own.example||x|"},
	{"what REPLACE has made, too", "To: swap@x||", "To: bert.x@far.test||"},
};

/* 55 bytes fill a line of base64 with their line end. */
#define X55 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X55_CODED                                \
	"eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eH" \
	"h4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eA0K"
#define X56_CODED                                \
	"eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eH" \
	"h4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHgN"
#define X57_CODED                                \
	"eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eH" \
	"h4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4"

static const struct row by_conversion[] = {
	{"no label", "A: b||gr\xc3\xbc\xc3\x9f|", "A: b||gr\xc3\xbc\xc3\x9f|"},
	{"text", "Content-Transfer-Encoding: 8bit|A: b||gr\xc3\xbc\xc3\x9f = |x|",
		"A: b|Content-Transfer-Encoding: quoted-printable||gr=C3=BC=C3=9F =3D=20|x|"},
	{"no line end", "Content-Transfer-Encoding: 8bit||\xe9",
		"Content-Transfer-Encoding: "
		"quoted-printable||=E9|"},
	{"other types", "Content-Type: image/x|Content-Transfer-Encoding: 8bit||\xff\x01|",
		"Content-Type: image/x|Content-Transfer-Encoding: base64||/wENCg==|"},
	{"other types, binary",
		"Content-Type: image/x|Content-Transfer-Encoding: binary||\xff\x01|",
		"Content-Type: image/x|Content-Transfer-Encoding: base64||/wENCg==|"},
	{"text that is binary", "Content-Transfer-Encoding: binary||\xe9|",
		"Content-Transfer-Encoding: base64||6Q0K|"},
	{"LF alone in it", "Content-Transfer-Encoding: binary||\xe9\n\xea",
		"Content-Transfer-Encoding: base64||6Qrq|"},
	{"lines of base64", "Content-Type: image/x|Content-Transfer-Encoding: 8bit||" X55 "|y|",
		"Content-Type: image/x|Content-Transfer-Encoding: base64||" X55_CODED "|eQ0K|"},
	{"a line end over two of them",
		"Content-Type: image/x|Content-Transfer-Encoding: 8bit||x" X55 "|y|",
		"Content-Type: image/x|Content-Transfer-Encoding: base64||" X56_CODED "|CnkNCg==|"},
	{"the last line of base64 is full",
		"Content-Type: image/x|Content-Transfer-Encoding: 8bit||" X55 "|",
		"Content-Type: image/x|Content-Transfer-Encoding: base64||" X55_CODED "|"},
	{"a line end before a boundary",
		"Content-Type: multipart/x; boundary=b||--b|Content-Type: image/x|"
		"Content-Transfer-Encoding: 8bit||\xff|\x01||--b|Content-Type: image/x|"
		"Content-Transfer-Encoding: binary||\xff\x01|--b--|post|",
		"Content-Type: multipart/x; boundary=b||--b|Content-Type: image/x|"
		"Content-Transfer-Encoding: base64||/w0KAQ0K|--b|Content-Type: image/x|"
		"Content-Transfer-Encoding: base64||/wE=|--b--|post|"},
	{"parts of full lines",
		"Content-Type: multipart/x; boundary=b||--b|Content-Type: image/x|"
		"Content-Transfer-Encoding: 8bit||xx" X55 "|--b|"
		"Content-Transfer-Encoding: 8bit||\xe9|--b--|",
		"Content-Type: multipart/x; boundary=b||--b|Content-Type: image/x|"
		"Content-Transfer-Encoding: base64||" X57_CODED "|--b|"
		"Content-Transfer-Encoding: quoted-printable||=E9|--b--|"},
	{"parts of nothing",
		"Content-Type: multipart/x; boundary=b||--b|Content-Type: image/x|"
		"Content-Transfer-Encoding: binary||--b|Content-Type: image/x|"
		"Content-Transfer-Encoding: binary|||--b--|",
		"Content-Type: multipart/x; boundary=b||--b|Content-Type: image/x|"
		"Content-Transfer-Encoding: base64||--b|Content-Type: image/x|"
		"Content-Transfer-Encoding: base64||--b--|"},
	{"no empty line, no boundary",
		"Content-Type: multipart/x; boundary=b||--b|Content-Type: image/x|"
		"Content-Transfer-Encoding: 8bit|\xff\x01|",
		"Content-Type: multipart/x; boundary=b||--b|Content-Type: image/x|"
		"Content-Transfer-Encoding: base64||/wENCg==|"},
	{"checks of its lines",
		"Content-Type: image/x|Content-Transfer-Encoding: binary||" X55 "|\x76\xba\x29|",
		"Content-Type: image/x|Content-Transfer-Encoding: base64||" X55_CODED "|"},
	{"base64 stays", "Content-Transfer-Encoding: base64||w7w=|",
		"Content-Transfer-Encoding: base64||w7w=|"},
	{"parts",
		"Content-Type: multipart/x; boundary=b|Content-Transfer-Encoding: 8bit||pre|--b|"
		"Content-Transfer-Encoding: 8bit|A: b||\xe9|--b||plain|--b|Content-Type: text/html|"
		"Content-Transfer-Encoding: 8bit||\xea=|--b--|post|",
		"Content-Type: multipart/x; boundary=b|Content-Transfer-Encoding: 7bit||pre|--b|A: "
		"b|Content-Transfer-Encoding: quoted-printable||=E9|--b||plain|--b|Content-Type: "
		"text/html|Content-Transfer-Encoding: quoted-printable||=EA=3D|--b--|post|"},
	{"a message inside",
		"Content-Type: message/rfc822|Content-Transfer-Encoding: 8bit||A: b|"
		"Content-Transfer-Encoding: 8bit||\xe9|",
		"Content-Type: message/rfc822|Content-Transfer-Encoding: 7bit||A: b|"
		"Content-Transfer-Encoding: quoted-printable||=E9|"},
	{"a report of 8 bit", "Content-Type: message/x|Content-Transfer-Encoding: 8bit||\xe9|",
		"Content-Type: message/x|Content-Transfer-Encoding: quoted-printable||=E9|"},
	{"no empty line",
		"Content-Type: multipart/x; boundary=b||--b|Content-Transfer-Encoding: "
		"8bit|\xe9|--b--|",
		"Content-Type: multipart/x; boundary=b||--b|Content-Transfer-Encoding: "
		"quoted-printable"
		"||=E9|--b--|"},
	{"a part of a message without 8 bit",
		"Content-Type: message/partial|Content-Transfer-Encoding: 8bit||x|",
		"Content-Type: message/partial|Content-Transfer-Encoding: 7bit||x|"},
	{"a part of a message",
		"Content-Type: message/partial|Content-Transfer-Encoding: 8bit||\xe9|",
		"!5.6.3 8-bit data inside a part of type message/partial or message/external-body "
		"cannot be converted"},
	{"no empty line behind what holds parts",
		"Content-Type: multipart/x; boundary=b|Content-Transfer-Encoding: 8bit|\xe9|--b|"
		"Content-Transfer-Encoding: 8bit||\xe9|",
		"Content-Type: multipart/x; boundary=b|Content-Transfer-Encoding: 7bit||\xe9|--b|"
		"Content-Transfer-Encoding: quoted-printable||=E9|"},
	{"too deep",
		"Content-Type: multipart/x; boundary=a||--a|Content-Type: multipart/x; boundary=b||"
		"--b|Content-Type: multipart/x; boundary=c||--c|Content-Type: multipart/x; "
		"boundary=d"
		"||\xe9|",
		"!5.6.0 MIME nesting exceeds safety limit"},
	{"boundaries that are the same up to the limit",
		"Content-Type: multipart/x; boundary=0123456789A||--0123456789B|"
		"Content-Transfer-Encoding: 8bit||\xe9|--012345678|\xe9|--0123456789--|\xe9|",
		"Content-Type: multipart/x; boundary=0123456789A||--0123456789B|"
		"Content-Transfer-Encoding: quoted-printable||=E9|--012345678|=E9|--0123456789--|"
		"\xe9|"},
	{"checks come behind it", "Content-Transfer-Encoding: 8bit||gr\xc3\xbc|drop|",
		"Content-Transfer-Encoding: quoted-printable||gr=C3=BC|"},
};

static void put_settings(void)
{
	char *path = mem_fmt("%s/main.cf", dir);
	struct buf why = BUF_INIT(65536);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || fd_write_full(fd, settings, strlen(settings)) != 0 ||
		conf_load(dir, NULL, &why) != 0) {
		bail_out("settings: %s", buf_str(&why));
	}
	fd_close(&fd);
	(void)unlink(path);
	mem_free(path);
	buf_clear(&why);
}

static struct slice lines(const char *text, struct buf *out)
{
	buf_reset(out);
	for (; *text != '\0'; text++) {
		if (*text == '|') {
			buf_add_str(out, "\r\n");
		} else {
			buf_add_char(out, *text);
		}
	}
	return buf_slice(out);
}

static void wake(void *arg)
{
	*(bool *)arg = true;
}

/* All of it, in chunks of step bytes. */
static void run(struct slice text, size_t step, bool to_7bit, struct buf *out)
{
	bool awake = false, is_last = false;
	struct convert *c = convert_new("ID", to_7bit, wake, &awake);
	char *chunk = NULL;
	struct slice in = SLICE_NONE, piece;
	int r = ERR_AGAIN;

	buf_reset(out);
	while (r != ERR_CLOSED && r != ERR_DENIED && r != ERR_TEMP && r != ERR_LIMIT) {
		r = convert_next(c, &in, is_last, &piece);
		if (r == 0) {
			buf_add_slice(out, piece);
		} else if (r == ERR_AGAIN) {
			mem_free(chunk);
			in = slice_first(text, step);
			text = slice_from(text, in.len);
			is_last = in.len == 0;
			chunk = mem_dup(in.p, in.len);
			in.p = chunk;
		} else if (r == ERR_LATER) {
			awake = false;
			while (!awake)
				loop_once(0); /* not a millisecond later */
		}
	}
	if (r != ERR_CLOSED) {
		const char *status = "", *why = err_str(r);
		if (r == ERR_DENIED) {
			why = convert_why(c, &status);
		}
		buf_reset(out);
		buf_add_fmt(out, "!%s %s", status, why);
	}
	mem_free(chunk);
	convert_free(&c);
}

static void test_rows(const struct row *rows, size_t n, bool to_7bit)
{
	struct buf content = BUF_INIT(65536), want = BUF_INIT(65536), out = BUF_INIT(65536);

	for (size_t i = 0; i < n; i++) {
		struct slice text = lines(rows[i].content, &content);
		(void)lines(rows[i].want, &want);
		run(text, text.len + 1, to_7bit, &out);
		is_slice(buf_slice(&out), buf_str(&want), "%s", rows[i].what);
		for (size_t step = 1; step < 40; step = step * 2 + 1) {
			run(text, step, to_7bit, &out);
			if (!slice_eq(buf_slice(&out), buf_slice(&want))) {
				fail("%s, by %zu", rows[i].what, step);
			}
		}
	}
	buf_clear(&content);
	buf_clear(&want);
	buf_clear(&out);
}

/* A field over header_size_limit: looked at by its begin, and gone as a whole. */
static void test_long_field(bool to_7bit)
{
	struct buf text = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20);

	buf_add_str(&text, "X-Long: 0");
	for (int i = 0; i < 200; i++) {
		buf_add_fmt(&text, "\r\n line %d", i);
	}
	buf_add_str(&text, "\r\nA: b\r\n\r\nx\r\n");
	run(buf_slice(&text), 100, to_7bit, &out);
	is_slice(buf_slice(&out), "A: b\r\n\r\nx\r\n", "a long field is dropped whole");
	buf_reset(&text);
	buf_add_str(&text, "X-Other: 0");
	for (int i = 0; i < 200; i++) {
		buf_add_fmt(&text, "\r\n line %d", i);
	}
	buf_add_str(&text, "\r\n\r\nx\r\n");
	run(buf_slice(&text), 100, to_7bit, &out);
	ok(slice_eq(buf_slice(&out), buf_slice(&text)), "another one stays whole");
	buf_clear(&text);
	buf_clear(&out);
}

/* Long lines and much of them: what is encoded has no long line and is the same when decoded. */
static void test_large(void)
{
	struct buf text = BUF_INIT(1 << 22), out = BUF_INIT(1 << 24);
	struct slice rest, line;
	bool good = true;

	buf_add_str(&text, "Content-Transfer-Encoding: 8bit\r\n\r\n");
	for (int i = 0; i < 30000; i++) {
		buf_add_char(&text, (char)(i * 7 % 251));
		if (i % 2503 == 0) {
			buf_add_str(&text, "\r\n");
		}
	}
	run(buf_slice(&text), 65536, true, &out);
	rest = buf_slice(&out);
	while (slice_part(&rest, '\n', &line)) {
		good = good && line.len <= 77 && slice_is_ascii(line);
	}
	ok(good && out.len > text.len, "30 KB: short lines of 7 bit");
	run(buf_slice(&text), 1000, false, &out);
	ok(slice_eq(buf_slice(&out), buf_slice(&text)), "30 KB: without conversion the same");
	buf_clear(&text);
	buf_clear(&out);
}

int main(void)
{
	if (mkdtemp(dir) == NULL) {
		bail_out("no directory");
	}
	put_settings();
	(void)rmdir(dir);
	loop_init();
	map_set_deferrer(loop_defer);
	checks_init();
	generic_init();
	test_rows(by_tables, COUNT_OF(by_tables), false);
	test_rows(by_conversion, COUNT_OF(by_conversion), true);
	test_long_field(false);
	test_long_field(true);
	test_large();
	return done_testing();
}

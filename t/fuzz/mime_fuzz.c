/* SPDX-License-Identifier: ISC */
#include "t/fuzz/fuzz.h"

#include "mime/b64.h"
#include "mime/mime.h"
#include "mime/qp.h"
#include "util/base64.h"
#include "util/mem.h"

/*
 * The first byte says how the rest is cut, the second how much is held. However it is cut, the
 * events are the same; their bytes are those that came; lines of quoted-printable and of base64 are
 * short and are the text again when they are decoded.
 */
static int value_of(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void decode(struct slice line, struct buf *out)
{
	for (size_t i = 0; i < line.len; i++) {
		if (line.p[i] != '=') {
			buf_add_char(out, line.p[i]);
			continue;
		}
		if (i + 1 == line.len)
			return;
		FUZZ_ASSERT(i + 2 < line.len);
		buf_add_char(out, (char)(value_of(line.p[i + 1]) * 16 + value_of(line.p[i + 2])));
		i += 2;
	}
}

static void check_base64(struct slice text)
{
	struct b64_encoder b = {0};
	struct buf line = BUF_INIT(B64_LINE), back = BUF_INIT(text.len + 1);
	struct slice first = slice_first(text, text.len / 3), rest = slice_from(text, first.len);

	while (b64_encode(&b, &first, &line) || b64_encode(&b, &rest, &line)) {
		FUZZ_ASSERT(line.len == B64_LINE && !slice_ends(buf_slice(&line), "="));
		FUZZ_ASSERT(base64_decode(&back, buf_slice(&line)) == 0);
	}
	b64_end(&b, &line);
	FUZZ_ASSERT(line.len <= B64_LINE && base64_decode(&back, buf_slice(&line)) == 0);
	FUZZ_ASSERT(slice_eq(buf_slice(&back), text));
	buf_clear(&line);
	buf_clear(&back);
}

static void check_encoding(struct slice text)
{
	struct qp_encoder q = {0};
	struct slice line, rest = text;
	struct buf back = BUF_INIT(text.len + 1);

	while (qp_encode(&q, &rest, &line)) {
		FUZZ_ASSERT(line.len <= QP_LINE && line.p[line.len - 1] == '=');
		decode(line, &back);
	}
	line = qp_end_line(&q);
	FUZZ_ASSERT(line.len <= QP_LINE && !slice_ends(line, " ") && !slice_ends(line, "\t"));
	decode(line, &back);
	FUZZ_ASSERT(slice_eq(buf_slice(&back), text));
	buf_clear(&back);
}

static void note(struct buf *events, enum mime_event event, const struct mime *m,
	const struct mime_data *d, bool by_lines)
{
	if (by_lines || event != MIME_BODY)
		buf_add_fmt(events, "%d %d %d %d %d %d %d %zu %zu\n", event, d->section, d->field,
			d->begins, d->is_blank, m->part.type, m->part.domain, d->text.len,
			d->eol.len);
}

static unsigned run(struct slice text, size_t step, const struct mime_limits *limits, int options,
	struct buf *events)
{
	struct mime m;
	struct mime_data d;
	enum mime_event event = MIME_MORE;
	struct buf back = BUF_INIT(text.len + 1);
	struct slice rest = text;

	mime_init(&m, limits, options);
	while (event != MIME_END) {
		struct slice chunk = slice_first(rest, step);
		char *copy = mem_dup(chunk.p, chunk.len);
		struct slice in = slice_of(copy, chunk.len);

		rest = slice_from(rest, chunk.len);
		while ((event = mime_next(&m, &in, chunk.len == 0, &d)) != MIME_MORE &&
			event != MIME_END) {
			note(events, event, &m, &d, (options & MIME_PRIMARY_ONLY) == 0);
			buf_add_slice(&back, d.text);
			buf_add_slice(&back, d.eol);
			FUZZ_ASSERT(event != MIME_HEADER || d.name.len > 0);
			FUZZ_ASSERT(event != MIME_HEADER ||
				    d.text.len <= limits->header + MIME_LINE + 2);
			FUZZ_ASSERT(event != MIME_BODY || (options & MIME_PRIMARY_ONLY) ||
				    d.text.len <= MIME_LINE);
			if (event == MIME_BODY) {
				check_encoding(d.text);
				check_base64(d.text);
			}
		}
		FUZZ_ASSERT(m.depth <= limits->nesting + 1);
		mem_free(copy);
	}
	FUZZ_ASSERT(slice_eq(buf_slice(&back), text));
	unsigned errors = m.errors;
	mime_clear(&m);
	buf_clear(&back);
	return errors;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int options[] = {
		0, MIME_LOOK_8BIT, MIME_ALL_MESSAGES | MIME_LOOK_8BIT, MIME_PRIMARY_ONLY};
	struct slice text = slice_of(data, size);

	if (size < 2)
		return 0;
	struct mime_limits limits = {.header = data[1] * 4u + 1,
		.boundary = data[1] % 32u + 1,
		.nesting = data[1] % 5u + 1};
	text = slice_from(text, 2);
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		struct buf whole = BUF_INIT(1 << 24), cut = BUF_INIT(1 << 24);
		unsigned errors = run(text, text.len + 1, &limits, options[i], &whole);

		FUZZ_ASSERT(run(text, data[0] % 64 + 1u, &limits, options[i], &cut) == errors);
		FUZZ_ASSERT(slice_eq(buf_slice(&whole), buf_slice(&cut)));
		buf_clear(&whole);
		buf_clear(&cut);
	}
	return 0;
}

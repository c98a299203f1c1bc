/* SPDX-License-Identifier: ISC */
#include "util/err.h"

#include "smtp/ehlo.h"
#include "smtp/xattr.h"

#include <string.h>

static const struct {
	const char *name;
	unsigned bit;
} keywords[] = {
	{"PIPELINING", EHLO_PIPELINING},
	{"SIZE", EHLO_SIZE},
	{"8BITMIME", EHLO_8BITMIME},
	{"DSN", EHLO_DSN},
	{"SMTPUTF8", EHLO_SMTPUTF8},
	{"CHUNKING", EHLO_CHUNKING},
	{"ENHANCEDSTATUSCODES", EHLO_ENHANCEDSTATUSCODES},
	{"STARTTLS", EHLO_STARTTLS},
	{"AUTH", EHLO_AUTH},
	{"VRFY", EHLO_VRFY},
	{"ETRN", EHLO_ETRN},
	{"EXPN", EHLO_EXPN},
	{"HELP", EHLO_HELP},
	{"XCLIENT", EHLO_XCLIENT},
	{"XFORWARD", EHLO_XFORWARD},
	{"XVERP", EHLO_XVERP},
	{"REQUIRETLS", EHLO_REQUIRETLS},
	{"BINARYMIME", EHLO_BINARYMIME},
	{"DELIVERBY", EHLO_DELIVERBY},
	{"silent-discard", EHLO_SILENT_DISCARD},
};

static unsigned keyword_bit(struct slice word)
{
	for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++)
		if (slice_case_eq_str(word, keywords[i].name))
			return keywords[i].bit;
	return 0;
}

unsigned ehlo_keywords(struct slice list)
{
	struct slice word;
	unsigned bits = 0;

	while (slice_token(&list, ", \t\r\n", &word))
		bits |= keyword_bit(word);
	return bits;
}

/* Mechanisms of one AUTH line, in upper case, behind those of an earlier one. */
static void add_mechanisms(struct ehlo *e, struct slice words)
{
	struct slice word;
	size_t len = strlen(e->auth);

	while (slice_token(&words, " \t", &word)) {
		if (len + word.len + 2 > sizeof(e->auth))
			return;
		if (len > 0)
			e->auth[len++] = ' ';
		for (size_t i = 0; i < word.len; i++) {
			char c = word.p[i];
			e->auth[len++] = c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
		}
		e->auth[len] = '\0';
	}
}

static void add_attributes(struct ehlo *e, struct slice words)
{
	struct slice word;

	while (slice_token(&words, " \t", &word))
		for (unsigned a = 0; a < XATTRS; a++)
			if (slice_case_eq_str(word, smtp_xattr_name((enum smtp_xattr)a)))
				e->xforward |= 1U << a & smtp_xforward_attributes;
}

static void take_keyword(struct ehlo *e, struct slice line, unsigned discard)
{
	struct slice word = SLICE_NONE;

	if (!slice_token(&line, " \t", &word))
		return;
	/* The form of servers older than RFC 2554. */
	if (slice_case_starts(word, "AUTH=")) {
		if ((discard & EHLO_AUTH) == 0 && (e->features & EHLO_AUTH) == 0) {
			e->features |= EHLO_AUTH;
			add_mechanisms(e, slice_from(word, 5));
			add_mechanisms(e, line);
		}
		return;
	}
	unsigned bit = keyword_bit(word) & ~discard & ~(unsigned)EHLO_SILENT_DISCARD;
	if (bit == EHLO_SIZE)
		(void)slice_u64(slice_trim(line), 0, UINT64_MAX, &e->size);
	if (bit == EHLO_DELIVERBY && slice_token(&line, " \t,", &word))
		(void)slice_u64(word, 0, UINT64_MAX, &e->min_by);
	if (bit == EHLO_AUTH) {
		/* What the proper form says replaces what an old form said. */
		e->auth[0] = '\0';
		add_mechanisms(e, line);
	}
	if (bit == EHLO_XFORWARD)
		add_attributes(e, line);
	e->features |= bit;
}

void ehlo_parse(const struct reply *r, unsigned discard, struct ehlo *e)
{
	struct slice rest = buf_slice(&r->text), line, word;

	*e = (struct ehlo){0};
	if (!reply_next_line(&rest, &line))
		return;
	if (slice_token(&line, " \t", &word) && word.len < sizeof(e->name))
		memcpy(e->name, word.p, word.len);
	while (reply_next_line(&rest, &line))
		take_keyword(e, line, discard);
}

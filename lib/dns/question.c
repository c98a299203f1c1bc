/* SPDX-License-Identifier: ISC */
#include "dns/question.h"

#include <idn2.h>

#include <string.h>

#include "util/buf.h"
#include "util/err.h"

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool is_question_char(unsigned char c)
{
	return c > ' ' && c < 127 && c != '\\' && c != '"' && c != ';' && c != '@' && c != '$';
}

static int name_copy(char out[static DNS_NAME_MAX + 1], struct slice name)
{
	if (slice_ends(name, ".")) {
		name.len--;
	}
	if (name.len == 0 || name.len > DNS_NAME_MAX) {
		return ERR_SYNTAX;
	}
	size_t label = 0;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.p[i];
		if (c == '.') {
			if (label == 0) {
				return ERR_SYNTAX;
			}
			label = 0;
		} else if (!is_question_char((unsigned char)c) || ++label > 63) {
			return ERR_SYNTAX;
		}
		out[i] = lower(c);
	}
	out[name.len] = '\0';
	return label > 0 ? 0 : ERR_SYNTAX;
}

static int name_to_ascii(char out[static DNS_NAME_MAX + 1], struct slice name)
{
	char in[DNS_NAME_MAX * 4 + 1];
	if (name.len >= sizeof(in) || memchr(name.p, 0, name.len) != NULL || !slice_is_utf8(name)) {
		return ERR_SYNTAX;
	}
	memcpy(in, name.p, name.len);
	in[name.len] = '\0';
	uint8_t *ascii = NULL;
	const uint8_t *u8 = (const uint8_t *)in;
	if (idn2_lookup_u8(u8, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK) {
		return ERR_SYNTAX;
	}
	int r = name_copy(out, slice_str((const char *)ascii));
	idn2_free(ascii);
	return r;
}

int dns_question_set(struct dns_question *q, enum dns_type type, struct slice name)
{
	*q = (struct dns_question){.type = type};
	int r = slice_is_ascii(name) ? name_copy(q->name, name) : name_to_ascii(q->name, name);
	if (r != 0) {
		q->name[0] = '\0';
	}
	return r;
}

int dns_reverse_name(struct slice addr, char name[static DNS_NAME_MAX + 1])
{
	static const char hex[] = "0123456789abcdef";
	struct buf b = BUF_INIT(DNS_NAME_MAX);
	const uint8_t *a = (const uint8_t *)addr.p;
	name[0] = '\0';
	if (addr.len == 4) {
		buf_add_fmt(&b, "%u.%u.%u.%u.in-addr.arpa", a[3], a[2], a[1], a[0]);
	} else if (addr.len == 16) {
		for (int i = 15; i >= 0; i--) {
			buf_add_fmt(&b, "%c.%c.", hex[a[i] & 15], hex[a[i] >> 4]);
		}
		buf_add_str(&b, "ip6.arpa");
	} else {
		return ERR_RANGE;
	}
	strlcpy(name, buf_str(&b), DNS_NAME_MAX + 1);
	buf_clear(&b);
	return 0;
}

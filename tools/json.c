/* SPDX-License-Identifier: ISC */
#include "tools/json.h"

#include <stdio.h>

void json_string(struct slice s)
{
	putchar('"');
	while (s.len != 0) {
		unsigned char c = (unsigned char)s.p[0];
		size_t n = slice_utf8_len(s);

		if (n > 1)
			printf("%.*s", (int)n, s.p);
		else if (n == 0)
			putchar('?');
		else if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 32 || c == 127)
			printf("\\u%04x", c);
		else
			putchar(c);
		s = slice_from(s, n == 0 ? 1 : n);
	}
	putchar('"');
}

void json_member(const char *name, struct slice value, bool is_first)
{
	printf("%s\"%s\": ", is_first ? "" : ", ", name);
	json_string(value);
}

void json_number(const char *name, uint64_t value, bool is_first)
{
	printf("%s\"%s\": %llu", is_first ? "" : ", ", name, (unsigned long long)value);
}

/* SPDX-License-Identifier: ISC */
#include "mail/template.h"
#include "t/fuzz/fuzz.h"

/* Any file leaves four templates that print, and what is printed is read as the same again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct conf *c;
	struct templates *t = templates_new(), *again = templates_new();
	struct buf once = BUF_INIT(16 << 20), twice = BUF_INIT(16 << 20);
	struct mistakes m;

	mistakes_init(&m);
	if (c == NULL) {
		c = conf_new("/etc/x");
		FUZZ_ASSERT(set_build(c, &m) == 0);
	}
	templates_parse(t, slice_of(data, size), NULL, NULL);
	for (int i = 0; i < TEMPLATES; i++) {
		enum template_kind kind = (enum template_kind)i;

		buf_reset(&once);
		(void)template_expand(templates_get(t, kind), c, NULL, NULL, &once);
		buf_reset(&once);
		template_print(templates_get(t, kind), kind, &once);
		/* A line "EOF" of the text would end it. */
		if (strstr(templates_get(t, kind)->text, "EOF\n") != NULL)
			continue;
		templates_parse(again, buf_slice(&once), NULL, NULL);
		buf_reset(&twice);
		template_print(templates_get(again, kind), kind, &twice);
		FUZZ_ASSERT(slice_eq(buf_slice(&once), buf_slice(&twice)));
	}
	templates_free(&t);
	templates_free(&again);
	buf_clear(&once);
	buf_clear(&twice);
	mistakes_clear(&m);
	return 0;
}

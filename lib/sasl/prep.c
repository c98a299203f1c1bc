/* SPDX-License-Identifier: ISC */
#include "sasl/prep.h"

#include <malloc.h>
#include <stringprep.h>

#include "sasl/mechanism.h"
#include "util/err.h"
#include "util/mem.h"

/* libidn gives back memory with the password in it: the C library is to overwrite it meanwhile. */
static int prepare(char *text, size_t size, enum sasl_prep_use use)
{
	int flags = use == SASL_PREP_STORED ? STRINGPREP_NO_UNASSIGNED : 0;
	int err;

#ifdef M_PERTURB
	(void)mallopt(M_PERTURB, 0xff);
#endif
	err = stringprep(text, size, (Stringprep_profile_flags)flags, stringprep_saslprep);
#ifdef M_PERTURB
	(void)mallopt(M_PERTURB, 0);
#endif
	return err == STRINGPREP_OK ? 0 : ERR_SYNTAX;
}

int sasl_prep(struct slice s, enum sasl_prep_use use, struct buf *out)
{
	size_t size;
	char *text;
	int err;

	if (!sasl_is_text(s))
		return ERR_SYNTAX;
	if (slice_is_ascii(s))
		return buf_add_slice(out, s);
	size = SASL_PREP_MAX(s.len) + 1;
	text = mem_array(size, 1);
	memcpy(text, s.p, s.len);
	err = prepare(text, size, use);
	if (err == 0)
		err = sasl_is_text(slice_str(text)) ? buf_add_str(out, text) : ERR_SYNTAX;
	mem_wipe_free(text, size);
	return err;
}

/* SPDX-License-Identifier: ISC */
#include "sasl/mechanism.h"

#include "util/err.h"

const struct sasl_mechanism sasl_table_mechanisms[] = {
	{"SCRAM-SHA-256-PLUS", SASL_MUTUAL_AUTH},
	{"SCRAM-SHA-256", SASL_MUTUAL_AUTH},
	{"EXTERNAL", 0},
	{"PLAIN", SASL_PLAINTEXT},
	{"LOGIN", SASL_PLAINTEXT},
	{NULL, 0},
};

static const struct {
	const char *name;
	unsigned property;
} properties[] = {
	{"plaintext", SASL_PLAINTEXT},
	{"anonymous", SASL_ANONYMOUS},
	{"dictionary", SASL_DICTIONARY},
	{"active", SASL_ACTIVE},
	{"forward-secrecy", SASL_FORWARD_SECRECY},
	{"mutual-auth", SASL_MUTUAL_AUTH},
};

static const struct {
	const char *name;
	unsigned forbidden, wanted;
} options[] = {
	{"noplaintext", SASL_PLAINTEXT, 0},
	{"noanonymous", SASL_ANONYMOUS, 0},
	{"nodictionary", SASL_DICTIONARY, 0},
	{"noactive", SASL_ACTIVE, 0},
	{"forward_secrecy", 0, SASL_FORWARD_SECRECY},
	{"mutual_auth", 0, SASL_MUTUAL_AUTH},
};

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

bool sasl_is_mechanism(struct slice name)
{
	for (size_t i = 0; i < name.len; i++) {
		char c = name.p[i];

		if (!(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
			c != '-' && c != '_')
			return false;
	}
	return name.len > 0 && name.len <= SASL_NAME_MAX;
}

bool sasl_is_bound(struct slice name)
{
	return slice_case_ends(name, "-PLUS");
}

unsigned sasl_property(struct slice name)
{
	for (size_t i = 0; i < COUNT(properties); i++)
		if (slice_eq_str(name, properties[i].name))
			return properties[i].property;
	return 0;
}

int sasl_options_parse(struct slice text, struct buf *why, struct sasl_options *o)
{
	struct slice word;

	*o = (struct sasl_options){0};
	while (slice_token(&text, ", \t\r\n", &word)) {
		size_t i = 0;

		while (i < COUNT(options) && !slice_case_eq_str(word, options[i].name))
			i++;
		if (i == COUNT(options)) {
			(void)buf_add_fmt(why,
				"\"%.*s\" is no option; expected noplaintext, noanonymous, "
				"nodictionary, noactive, forward_secrecy or mutual_auth",
				SLICE_FMT(slice_first(word, 40)));
			return ERR_SYNTAX;
		}
		o->forbidden |= options[i].forbidden;
		o->wanted |= options[i].wanted;
	}
	return 0;
}

bool sasl_options_permit(const struct sasl_options *o, unsigned p)
{
	return (p & o->forbidden) == 0 && (p & o->wanted) == o->wanted;
}

bool sasl_is_text(struct slice s)
{
	return s.len > 0 && slice_is_printable(s) && slice_is_utf8(s);
}

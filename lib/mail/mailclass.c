/* SPDX-License-Identifier: ISC */
#include "mail/mailclass.h"

static const struct {
	const char *name;
	unsigned bits;
} classes[] = {
	{"bounce", MAIL_CLASS_BOUNCE | MAIL_CLASS_2BOUNCE},
	{"2bounce", MAIL_CLASS_2BOUNCE},
	{"data", MAIL_CLASS_DATA},
	{"delay", MAIL_CLASS_DELAY},
	{"policy", MAIL_CLASS_POLICY},
	{"protocol", MAIL_CLASS_PROTOCOL},
	{"resource", MAIL_CLASS_RESOURCE},
	{"software", MAIL_CLASS_SOFTWARE},
};

/* What says more than the code: the first that fits. */
static const struct {
	const char *begin;
	unsigned bit;
} replies[] = {
	{"452 4.5.3", MAIL_CLASS_POLICY}, /* too many recipients */
	{"452 ", MAIL_CLASS_RESOURCE},    /* no space */
	{"451 4.3.0 Error: queue", MAIL_CLASS_RESOURCE},
	{"451 4.3.5", MAIL_CLASS_SOFTWARE}, /* a mistake in the configuration */
	{"451 4.6.0", MAIL_CLASS_SOFTWARE},
	{"451 4.3.0", MAIL_CLASS_DATA},
	{"451 ", MAIL_CLASS_DATA},
	{"421 4.3.0", MAIL_CLASS_DATA},
	{"421 4.7.0", MAIL_CLASS_PROTOCOL}, /* too many errors */
	{"552 ", MAIL_CLASS_BOUNCE},        /* too large */
	{"554 5.4.6", MAIL_CLASS_BOUNCE},   /* a loop */
	{"550 5.1.1", MAIL_CLASS_BOUNCE},
	{"450 4.", MAIL_CLASS_POLICY},
	{"550 5.7", MAIL_CLASS_POLICY},
	{"535 ", MAIL_CLASS_POLICY},
	{"553 5.6.7", MAIL_CLASS_PROTOCOL},
	{"554 5.5", MAIL_CLASS_PROTOCOL},
};

unsigned mail_classes(struct slice list)
{
	struct slice word;
	unsigned bits = 0;

	while (slice_token(&list, ", \t\r\n", &word))
		for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
			if (slice_case_eq_str(word, classes[i].name))
				bits |= classes[i].bits;
	return bits;
}

/* An unknown user is as mail that would have come back. */
static unsigned class_of_refusal(struct slice reply)
{
	struct slice status = slice_from(slice_first(reply, 9), 4);

	if (reply.len > 9 && (slice_eq_str(status, "5.1.1") || slice_eq_str(status, "5.1.0") ||
				     slice_eq_str(status, "5.1.6")))
		return MAIL_CLASS_BOUNCE;
	return slice_starts(reply, "451 4.3.") ? 0 : MAIL_CLASS_POLICY;
}

unsigned mail_class_of_reply(struct slice reply, bool is_refusal)
{
	unsigned bit = 0;
	bool bad = reply.len > 3 && (reply.p[0] == '4' || reply.p[0] == '5');

	if (bad && is_refusal)
		bit = class_of_refusal(reply);
	for (size_t i = 0; bad && bit == 0 && i < sizeof(replies) / sizeof(replies[0]); i++)
		if (slice_starts(reply, replies[i].begin))
			bit = replies[i].bit;
	if (bad && bit == 0 && reply.p[0] == '5')
		bit = MAIL_CLASS_PROTOCOL;
	return bit;
}

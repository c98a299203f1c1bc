/* SPDX-License-Identifier: ISC */
#include "resolver/probe.h"

#include "util/log.h"

static struct {
	const char *what;
	bool asked;
	struct engine_ask ask;
} probe;

void probe_init(const char *what)
{
	probe.what = what;
}

void probe_reset(void)
{
	engine_cancel(&probe.ask);
	probe.asked = false;
}

static void warn(const char *reason)
{
	log_warning("DNSSEC validation may be unavailable");
	log_warning("reason: %s", reason);
}

static void answered(void *arg, struct slice encoded)
{
	struct buf reason = BUF_INIT(1024);
	struct dns_answer a;
	if (dns_answer_parse(encoded, &a) != 0 || a.status == DNS_TEMP) {
		buf_add_fmt(&reason, "dnssec_probe '%s' received no response: Server failure",
			log_qs(probe.what));
	} else if (!a.secure) {
		buf_add_fmt(&reason,
			"dnssec_probe '%s' received a response that is not DNSSEC validated",
			log_qs(probe.what));
	}
	if (reason.len > 0) {
		warn(buf_str(&reason));
	}
	buf_clear(&reason);
}

void probe_run(struct engine *e)
{
	struct slice rest = slice_str(probe.what), type;
	struct dns_question q = {0};
	if (probe.asked || engine_has_validated(e) || rest.len == 0) {
		return;
	}
	probe.asked = true;
	if (!engine_is_trusted(e)) {
		warn("neither \"options trust-ad\" of resolv.conf nor resolver_trust_ad says that "
		     "the name servers can be trusted");
		return;
	}
	if (!slice_part(&rest, ':', &type) || dns_type_parse(type, &q.type) != 0 ||
		(!slice_eq_str(rest, ".") && dns_question_set(&q, q.type, rest) != 0)) {
		log_warning("dnssec_probe '%s' is not a type and a name", log_qs(probe.what));
		return;
	}
	probe.ask = (struct engine_ask){.done = answered};
	engine_ask(e, &q, &probe.ask);
}

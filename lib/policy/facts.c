/* SPDX-License-Identifier: ISC */
#include "policy/facts.h"

#include "conf/conf.h"
#include "util/clock.h"

static struct slice local_part(struct slice address)
{
	ptrdiff_t at = slice_find_last(address, '@');

	return at < 0 ? address : slice_first(address, (size_t)at);
}

static struct slice domain_part(struct slice address)
{
	ptrdiff_t at = slice_find_last(address, '@');

	return at < 0 ? SLICE_NONE : slice_from(address, (size_t)at + 1);
}

static struct slice shown_sender(const struct policy_facts *f)
{
	return f->sender.p != NULL && f->sender.len == 0 ? SLICE_LIT("<>") : f->sender;
}

static bool find(const struct policy_facts *f, struct slice name, struct slice *value)
{
	const struct {
		const char *name;
		struct slice value;
	} facts[] = {
		{"client", f->namaddr},
		{"client_address", f->client_addr},
		{"client_name", f->client_name},
		{"reverse_client_name", f->reverse_name},
		{"helo_name", f->helo},
		{"server_name", slice_str(conf_str(P_myhostname))},
		{"sender", shown_sender(f)},
		{"sender_name", local_part(shown_sender(f))},
		{"sender_domain", domain_part(f->sender)},
		{"recipient", f->recipient},
		{"recipient_name", local_part(f->recipient)},
		{"recipient_domain", domain_part(f->recipient)},
	};

	for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++) {
		if (slice_eq_str(name, facts[i].name)) {
			*value = facts[i].value;
			return true;
		}
	}
	return false;
}

const char *facts_quote(struct slice value, struct buf *out)
{
	buf_reset(out);
	for (size_t i = 0; i < value.len; i++) {
		char c = value.p[i];

		(void)buf_add_str(out, c == '$' ? "$" : "");
		(void)buf_add_char(out, c >= ' ' && c < 127 ? c : '_');
	}
	return buf_str(out);
}

/* "Nov 01 10:00:00": the log's, but with two digits for the day. */
static void add_local_time(struct buf *out)
{
	struct buf text = BUF_INIT(64);
	struct slice s;

	clock_add_syslog(&text, clock_real());
	s = buf_slice(&text);
	(void)buf_add_slice(out, slice_first(s, 4));
	(void)buf_add_char(out, s.len > 4 && s.p[4] != ' ' ? s.p[4] : '0');
	(void)buf_add_slice(out, slice_from(s, 5));
	buf_clear(&text);
}

const char *facts_lookup(const struct policy_facts *f, struct slice name, struct buf *out)
{
	struct slice value;

	buf_reset(out);
	if (slice_eq_str(name, "localtime"))
		add_local_time(out);
	else if (slice_eq_str(name, "client_port") && f->client_port != 0)
		(void)buf_add_fmt(out, "%u", f->client_port);
	else if (slice_eq_str(name, "client_port"))
		(void)buf_add_str(out, "unknown");
	else if (find(f, name, &value))
		return facts_quote(value, out);
	else
		return NULL;
	return buf_str(out);
}

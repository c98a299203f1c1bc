/* SPDX-License-Identifier: ISC */
#include "t/tap.h"

#include "net/range.h"
#include "util/err.h"

static const struct {
	const char *text, *printed; /* NULL: it is none */
} rows[] = {
	{"192.0.2.1", "192.0.2.1"},
	{"192.0.2.1/32", "192.0.2.1"},
	{"192.0.2.129/25", "192.0.2.128/25"},
	{"192.0.2.1/0", "0.0.0.0/0"},
	{"2001:db8::1", "2001:db8::1"},
	{"2001:db8:ffff::1/33", "2001:db8:8000::/33"},
	{"::ffff:192.0.2.1", "192.0.2.1"},
	{"::/0", "::/0"},
	{"", NULL},
	{"192.0.2", NULL},
	{"192.0.2.1/33", NULL},
	{"192.0.2.1/", NULL},
	{"192.0.2.1/x", NULL},
	{"2001:db8::1/129", NULL},
	{"host.example", NULL},
	{"192.0.2.1 ", NULL},
};

static struct net_range range(const char *text)
{
	struct net_range r;

	if (net_range_parse(slice_str(text), &r) != 0)
		bail_out("%s", text);
	return r;
}

static const char *found(const struct range_set *s, const char *addr, int *bits)
{
	static char text[NET_RANGE_TEXT];
	struct net_range a = range(addr);
	const void *record = range_set_find(s, &a, bits);

	if (record == NULL)
		return NULL;
	net_range_text(record, text);
	return text;
}

int main(void)
{
	char text[NET_RANGE_TEXT];
	struct net_range r;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		int err = net_range_parse(slice_str(rows[i].text), &r);

		if (err == 0)
			net_range_text(&r, text);
		is_str(err == 0 ? text : NULL, rows[i].printed, "'%s'", rows[i].text);
	}
	r = range("192.0.2.77");
	net_range_mask(&r, 24, 64);
	net_range_text(&r, text);
	is_str(text, "192.0.2.0/24", "the network of an IPv4 client");
	r = range("2001:db8:1:2:3:4:5:6");
	net_range_mask(&r, 24, 64);
	net_range_text(&r, text);
	is_str(text, "2001:db8:1:2::/64", "of an IPv6 client");

	struct range_set *s = range_set_new(sizeof(struct net_range), 100, NULL, NULL);
	static const char *const in[] = {"192.0.2.0/24", "192.0.2.7", "0.0.0.0/0", "2001:db8::/32"};
	for (size_t i = 0; i < COUNT_OF(in); i++) {
		r = range(in[i]);
		ok(range_set_add(s, &r) != NULL, "%s is in", in[i]);
	}
	int bits = 128;
	is_str(found(s, "192.0.2.7", &bits), "192.0.2.7", "the address itself first");
	is_str(found(s, "192.0.2.7", &bits), "192.0.2.0/24", "then its network");
	is_str(found(s, "192.0.2.7", &bits), "0.0.0.0/0", "then a larger one");
	ok(found(s, "192.0.2.7", &bits) == NULL, "no more");
	bits = 128;
	is_str(found(s, "2001:db8::25", &bits), "2001:db8::/32", "IPv6");
	bits = 128;
	ok(found(s, "2001:db9::25", &bits) == NULL, "0.0.0.0/0 is IPv4 alone");
	bits = 128;
	is_str(found(s, "192.0.2.0/25", &bits), "192.0.2.0/24", "a network in another one");
	r = range("192.0.2.0/24");
	range_set_remove(s, range_set_get(s, &r));
	bits = 128;
	is_str(found(s, "192.0.2.8", &bits), "0.0.0.0/0", "removed");
	range_set_free(&s);
	return done_testing();
}

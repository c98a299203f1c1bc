/* SPDX-License-Identifier: ISC */
#include "t/fuzz/fuzz.h"

#include "dns/hosts.h"
#include "dns/nexthop.h"
#include "dns/packet.h"
#include "dns/resolvconf.h"
#include "util/err.h"

/* A reply of any shape: what is made of it must be a sound answer. */
static void fuzz_reply(struct slice in)
{
	struct dns_question q;
	struct dns_follow follow;
	struct buf sent = BUF_INIT(DNS_QUERY_MAX), answer = BUF_INIT(DNS_ANSWER_MAX + 512);
	struct dns_answer a;
	enum dns_type type = in.len > 0 ? (enum dns_type)(unsigned char)in.p[0] : DNS_MX;

	in = slice_from(in, 1);
	if (dns_question_set(&q, type, SLICE_LIT("a.example")) == 0 &&
		dns_packet_query(&sent, &q, 0x1234, DNS_QUERY_EDNS) == 0) {
		(void)dns_packet_check(buf_slice(&sent), in, false);
		int r = dns_packet_parse(in, &q, &answer, &follow);
		FUZZ_ASSERT(r != 0 || dns_answer_parse(buf_slice(&answer), &a) == 0);
		FUZZ_ASSERT(r != ERR_AGAIN || follow.to.name[0] != '\0');
	}
	buf_clear(&sent);
	buf_clear(&answer);
}

/* What comes from the resolver is a peer's input too. */
static void fuzz_encoded(struct slice in)
{
	static struct hosts h, again;
	struct dns_answer a;
	struct dns_record r;
	struct buf b = BUF_INIT(1 << 20);
	unsigned n = 0;

	if (dns_answer_parse(in, &a) == 0) {
		unsigned count = a.count;
		while (dns_answer_next(&a, &r)) {
			n++;
		}
		FUZZ_ASSERT(n == count);
	}
	if (hosts_decode(in, &h) == 0) {
		hosts_encode(&b, &h);
		FUZZ_ASSERT(hosts_decode(buf_slice(&b), &again) == 0 && again.n == h.n);
		for (unsigned i = 0; i < h.hosts; i++) {
			struct slice rest = h.host[i].records, data;
			for (n = 0; host_record_next(&rest, &data); n++) {
			}
			FUZZ_ASSERT(n == h.host[i].count);
		}
		hosts_order(&h, true, 0, true, 5);
		FUZZ_ASSERT(h.n <= 5);
	}
	buf_clear(&b);
}

static void fuzz_text(struct slice in)
{
	struct resolvconf rc;
	struct nexthop nh;
	struct slice rest = in;

	resolvconf_parse(in, &rc);
	FUZZ_ASSERT(rc.servers >= 1 && rc.servers <= RESOLVCONF_SERVERS);
	for (int i = 0; i < 2; i++) {
		rest = in;
		while (nexthop_next(&rest, i == 1, &nh) != ERR_NOT_FOUND) {
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_of(data, size);

	if (size > 0) {
		switch (data[0] % 3) {
		case 0: fuzz_reply(slice_from(in, 1)); break;
		case 1: fuzz_encoded(slice_from(in, 1)); break;
		default: fuzz_text(slice_from(in, 1)); break;
		}
	}
	return 0;
}

# SPDX-License-Identifier: ISC
noinst_LIBRARIES += lib/dns/libdns.a
lib_dns_libdns_a_CPPFLAGS = $(AM_CPPFLAGS) $(LDNS_CFLAGS) $(IDN2_CFLAGS)
lib_dns_libdns_a_SOURCES = \
	%D%/answer.c %D%/answer.h \
	%D%/cache.c %D%/cache.h \
	%D%/client.c %D%/client.h \
	%D%/hosts.c %D%/hosts.h \
	%D%/hostsfile.c %D%/hostsfile.h \
	%D%/nexthop.c %D%/nexthop.h \
	%D%/packet.c %D%/packet.h \
	%D%/question.c %D%/question.h \
	%D%/resolvconf.c %D%/resolvconf.h \
	%D%/site.c %D%/site.h
GP_DNS_LIBS = lib/dns/libdns.a $(LDNS_LIBS) $(IDN2_LIBS)

check_PROGRAMS += t/dns/packet_test
t_dns_packet_test_SOURCES = t/dns/packet_test.c
t_dns_packet_test_LDADD = t/libtap.a $(GP_DNS_LIBS) lib/util/libutil.a $(BSD_LIBS)

check_PROGRAMS += t/dns/answer_test
t_dns_answer_test_SOURCES = t/dns/answer_test.c
t_dns_answer_test_LDADD = t/libtap.a $(GP_DNS_LIBS) lib/util/libutil.a $(BSD_LIBS)

check_PROGRAMS += t/dns/hosts_test
t_dns_hosts_test_SOURCES = t/dns/hosts_test.c
t_dns_hosts_test_LDADD = t/libtap.a $(GP_DNS_LIBS) lib/util/libutil.a $(BSD_LIBS)

check_PROGRAMS += t/dns/nexthop_test
t_dns_nexthop_test_SOURCES = t/dns/nexthop_test.c
t_dns_nexthop_test_LDADD = t/libtap.a $(GP_DNS_LIBS) lib/util/libutil.a $(BSD_LIBS)

check_PROGRAMS += t/dns/resolvconf_test
t_dns_resolvconf_test_SOURCES = t/dns/resolvconf_test.c
t_dns_resolvconf_test_LDADD = t/libtap.a $(GP_DNS_LIBS) lib/util/libutil.a $(BSD_LIBS)

check_PROGRAMS += t/dns/hostsfile_test
t_dns_hostsfile_test_SOURCES = t/dns/hostsfile_test.c
t_dns_hostsfile_test_LDADD = t/libtap.a $(GP_DNS_LIBS) lib/util/libutil.a $(BSD_LIBS)

check_PROGRAMS += t/dns/site_test
t_dns_site_test_SOURCES = t/dns/site_test.c
t_dns_site_test_LDADD = t/libtap.a $(GP_DNS_LIBS) lib/util/libutil.a $(BSD_LIBS)

check_PROGRAMS += t/dns/client_test
t_dns_client_test_SOURCES = t/dns/client_test.c
t_dns_client_test_LDADD = t/libtap.a lib/dns/libdns.a lib/ipc/libipc.a lib/net/libnet.a lib/util/libutil.a \
	$(BSD_LIBS) $(EVENT_LIBS) $(LDNS_LIBS) $(IDN2_LIBS)

FUZZ_TARGETS += t/fuzz/dns_fuzz
t_fuzz_dns_fuzz_LDADD = $(FUZZ_MAIN) $(GP_DNS_LIBS) lib/util/libutil.a $(BSD_LIBS)

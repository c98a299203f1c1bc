# SPDX-License-Identifier: ISC
pkglibexec_PROGRAMS += resolver/resolver
resolver_resolver_SOURCES = %D%/main.c %D%/engine.c %D%/engine.h %D%/host.c %D%/host.h \
	%D%/lookup.c %D%/lookup.h %D%/probe.c %D%/probe.h %D%/site.c %D%/site.h
resolver_resolver_CPPFLAGS = $(AM_CPPFLAGS)
resolver_resolver_LDADD = lib/dns/libdns.a $(SERVER_LIBS) \
	$(LDNS_LIBS) $(IDN2_LIBS)

check_PROGRAMS += t/resolver/engine_test
t_resolver_engine_test_SOURCES = t/resolver/engine_test.c %D%/engine.c %D%/host.c %D%/lookup.c %D%/site.c
t_resolver_engine_test_CPPFLAGS = $(AM_CPPFLAGS)
t_resolver_engine_test_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=loop_now
t_resolver_engine_test_LDADD = t/libtap.a lib/dns/libdns.a lib/ipc/libipc.a lib/net/libnet.a lib/util/libutil.a \
	$(BSD_LIBS) $(EVENT_LIBS) $(LDNS_LIBS) $(IDN2_LIBS)

check_PROGRAMS += t/resolver/hosts_test
t_resolver_hosts_test_SOURCES = t/resolver/hosts_test.c %D%/engine.c %D%/host.c %D%/lookup.c
t_resolver_hosts_test_CPPFLAGS = $(AM_CPPFLAGS)
t_resolver_hosts_test_LDADD = t/libtap.a lib/dns/libdns.a lib/ipc/libipc.a lib/net/libnet.a lib/util/libutil.a \
	$(BSD_LIBS) $(EVENT_LIBS) $(LDNS_LIBS) $(IDN2_LIBS)

dist_man8_MANS += man/resolver.8

check_SCRIPTS += t/resolver/dane.t t/resolver/kept.t t/resolver/settings.t t/resolver/sites.t t/resolver/servers.t

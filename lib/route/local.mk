# SPDX-License-Identifier: ISC
noinst_LIBRARIES += lib/route/libroute.a
lib_route_libroute_a_SOURCES = %D%/entry.c %D%/expand.c %D%/lookup.c %D%/plan.c %D%/resolve.c %D%/route.c %D%/route.h %D%/route_priv.h

check_SCRIPTS += t/route/rows.t
EXTRA_DIST += t/route/rows.t
check_PROGRAMS += t/route/route_test
t_route_route_test_SOURCES = t/route/route_test.c
t_route_route_test_LDADD = t/libtap.a lib/route/libroute.a lib/mail/libmail.a lib/map/libmap.a \
	lib/conf/libconf.a lib/net/libnet.a lib/util/libutil.a \
	$(BSD_LIBS) $(EVENT_LIBS) $(DB_LIBS) $(PCRE2_LIBS)

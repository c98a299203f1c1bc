# SPDX-License-Identifier: ISC
noinst_LIBRARIES += lib/net/libnet.a
lib_net_libnet_a_SOURCES = %D%/addr.c %D%/addr.h %D%/listen.c %D%/listen.h %D%/loop.c %D%/loop.h %D%/pool.c %D%/pool.h %D%/range.c %D%/range.h %D%/stream.c %D%/stream.h
lib_net_libnet_a_CPPFLAGS = $(AM_CPPFLAGS) $(EVENT_CFLAGS)

check_PROGRAMS += t/net/net_test
t_net_net_test_LDADD = t/libtap.a lib/net/libnet.a lib/util/libutil.a $(BSD_LIBS) $(EVENT_LIBS)
check_PROGRAMS += t/net/listen_test
t_net_listen_test_LDADD = t/libtap.a lib/net/libnet.a lib/util/libutil.a $(BSD_LIBS) $(EVENT_LIBS)
check_PROGRAMS += t/net/pool_test
t_net_pool_test_LDADD = t/libtap.a lib/net/libnet.a lib/util/libutil.a $(BSD_LIBS) $(EVENT_LIBS)
check_PROGRAMS += t/net/range_test
t_net_range_test_LDADD = t/libtap.a lib/net/libnet.a lib/util/libutil.a $(BSD_LIBS) $(EVENT_LIBS)

# SPDX-License-Identifier: ISC
pkglibexec_PROGRAMS += tally/tally
tally_tally_SOURCES = %D%/main.c %D%/cache.c %D%/cache.h %D%/count.c %D%/count.h %D%/key.c %D%/key.h
tally_tally_LDADD = $(SERVER_LIBS)

check_PROGRAMS += t/tally/count_test
t_tally_count_test_SOURCES = t/tally/count_test.c %D%/count.c
t_tally_count_test_CPPFLAGS = $(AM_CPPFLAGS)
t_tally_count_test_LDADD = t/libtap.a lib/util/libutil.a $(BSD_LIBS)

check_PROGRAMS += t/policy/tally_client_test
t_policy_tally_client_test_SOURCES = t/policy/tally_client_test.c
t_policy_tally_client_test_LDADD = t/libtap.a lib/policy/libpolicy.a lib/ipc/libipc.a lib/net/libnet.a \
	lib/util/libutil.a $(BSD_LIBS) $(EVENT_LIBS)

dist_man8_MANS += man/tally.8

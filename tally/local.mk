# SPDX-License-Identifier: ISC
pkglibexec_PROGRAMS += tally/tally
tally_tally_SOURCES = %D%/main.c %D%/tell.h %D%/command.c %D%/command.h %D%/count.c %D%/count.h %D%/peaks.c %D%/peaks.h %D%/share.c %D%/share.h \
	$(tally_core)
tally_tally_LDADD = lib/policy/libpolicy.a $(SERVER_LIBS)
tally_core = tally/bans.c tally/bans.h tally/cache.c tally/cache.h tally/grey.c tally/grey.h tally/key.c tally/key.h \
	tally/rates.c tally/rates.h tally/state.c tally/state.h tally/store.c tally/store.h

check_PROGRAMS += t/tally/count_test
t_tally_count_test_SOURCES = t/tally/count_test.c %D%/count.c
t_tally_count_test_CPPFLAGS = $(AM_CPPFLAGS)
t_tally_count_test_LDADD = t/libtap.a lib/util/libutil.a $(BSD_LIBS)

check_PROGRAMS += t/tally/peaks_test
t_tally_peaks_test_SOURCES = t/tally/peaks_test.c %D%/peaks.c
t_tally_peaks_test_CPPFLAGS = $(AM_CPPFLAGS)
t_tally_peaks_test_LDADD = t/libtap.a lib/util/libutil.a $(BSD_LIBS)

check_PROGRAMS += t/policy/tally_client_test
t_policy_tally_client_test_SOURCES = t/policy/tally_client_test.c
t_policy_tally_client_test_LDADD = t/libtap.a lib/policy/libpolicy.a lib/ipc/libipc.a lib/net/libnet.a \
	lib/util/libutil.a $(BSD_LIBS) $(EVENT_LIBS)

dist_man8_MANS += man/tally.8

check_PROGRAMS += t/tally/state_test
t_tally_state_test_SOURCES = t/tally/state_test.c $(tally_core)
t_tally_state_test_CPPFLAGS = $(AM_CPPFLAGS)
t_tally_state_test_LDADD = t/libtap.a lib/policy/libpolicy.a lib/net/libnet.a lib/util/libutil.a $(BSD_LIBS) $(EVENT_LIBS)
check_SCRIPTS += t/tally/bans.t t/tally/rates.t

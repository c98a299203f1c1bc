# SPDX-License-Identifier: ISC
noinst_LIBRARIES += lib/policy/libpolicy.a
lib_policy_libpolicy_a_SOURCES = \
	%D%/policy.c %D%/policy.h \
	%D%/list.c %D%/verdict.c \
	%D%/action.c %D%/access.c %D%/access.h \
	%D%/restrict.c %D%/restrict.h \
	%D%/restrict_client.c %D%/restrict_helo.c \
	%D%/restrict_sender.c %D%/restrict_recipient.c \
	%D%/tally_client.c %D%/tally_client.h

check_PROGRAMS += t/policy/policy_test
t_policy_policy_test_SOURCES = t/policy/policy_test.c
t_policy_policy_test_LDADD = t/libtap.a lib/policy/libpolicy.a lib/route/libroute.a lib/mail/libmail.a \
	lib/map/libmap.a lib/conf/libconf.a lib/util/libutil.a $(DB_LIBS) $(PCRE2_LIBS) $(BSD_LIBS)

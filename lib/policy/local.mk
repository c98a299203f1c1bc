# SPDX-License-Identifier: ISC
noinst_LIBRARIES += lib/policy/libpolicy.a
lib_policy_libpolicy_a_SOURCES = \
	%D%/policy.c %D%/policy.h \
	%D%/list.c %D%/verdict.c \
	%D%/action.c %D%/access.c %D%/access.h %D%/restrict_access.c \
	%D%/direct.c %D%/direct.h \
	%D%/facts.c %D%/facts.h \
	%D%/restrict.c %D%/restrict.h \
	%D%/restrict_client.c %D%/restrict_helo.c \
	%D%/restrict_sender.c %D%/restrict_recipient.c \
	%D%/names.c %D%/names.h \
	%D%/sieve.c %D%/sieve.h \
	%D%/rbl.c %D%/rbl.h \
	%D%/restrict_dns.c %D%/restrict_mx.c \
	%D%/service.c \
	%D%/known_bans.c %D%/known_bans.h \
	%D%/verify.c %D%/verify.h \
	%D%/tally_client.c %D%/tally_client.h

GP_POLICY_TEST_LIBS = t/libtap.a lib/policy/libpolicy.a lib/route/libroute.a lib/mail/libmail.a \
	lib/dns/libdns.a $(SERVER_LIBS) $(LDNS_LIBS) $(IDN2_LIBS)
GP_POLICY_STAGE = t/policy/stage.c t/policy/stage.h
check_PROGRAMS += t/policy/policy_test t/policy/restrict_test t/policy/ccert_test
t_policy_ccert_test_SOURCES = t/policy/ccert_test.c $(GP_POLICY_STAGE)
t_policy_ccert_test_LDADD = $(GP_POLICY_TEST_LIBS)
t_policy_policy_test_SOURCES = t/policy/policy_test.c $(GP_POLICY_STAGE)
t_policy_policy_test_LDADD = $(GP_POLICY_TEST_LIBS)
t_policy_restrict_test_SOURCES = t/policy/restrict_test.c $(GP_POLICY_STAGE)
t_policy_restrict_test_LDADD = $(GP_POLICY_TEST_LIBS)
check_SCRIPTS += t/policy/rows.t t/policy/fails.t t/policy/ports.t
dist_man5_MANS += man/gatepost-access.5
check_PROGRAMS += t/policy/dns_test t/policy/verify_test
t_policy_verify_test_SOURCES = t/policy/verify_test.c
t_policy_verify_test_LDADD = $(GP_POLICY_TEST_LIBS)
t_policy_dns_test_SOURCES = t/policy/dns_test.c $(GP_POLICY_STAGE)
t_policy_dns_test_LDADD = $(GP_POLICY_TEST_LIBS)
check_SCRIPTS += t/policy/dns.t t/policy/service.t t/policy/verify.t
check_SCRIPTS += t/policy/ccert.t t/policy/differential.t t/policy/differential_more.t t/policy/postscreen.t t/policy/relay_matrix.t t/policy/programs.t
EXTRA_DIST += t/lib/Gatepost/Policy.pm t/lib/Gatepost/PolicyCases.pm t/lib/Gatepost/PolicyCompare.pm t/lib/Gatepost/Dovecot.pm
dist_man5_MANS += man/gatepost-restrictions.5
dist_man7_MANS += man/gatepost-policy.7

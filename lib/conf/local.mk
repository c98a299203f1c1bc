# SPDX-License-Identifier: ISC
noinst_LIBRARIES += lib/conf/libconf.a
lib_conf_libconf_a_SOURCES = \
	%D%/conf.c %D%/conf.h %D%/set.h \
	%D%/expand.c %D%/expand.h \
	%D%/feedback.c %D%/feedback.h \
	%D%/line.c %D%/line.h \
	%D%/machine.c %D%/machine.h \
	%D%/capacity.c %D%/capacity.h \
	%D%/check.c %D%/check.h \
	%D%/check_text.c %D%/check_text.h \
	%D%/check_trust.c %D%/check_trust.h \
	%D%/grant.c %D%/grant.h \
	%D%/main_cf.c \
	%D%/master_cf.c %D%/master_cf.h %D%/services.def \
	%D%/mistake.c %D%/mistake.h \
	%D%/params.c %D%/params.h \
	%D%/plans.c %D%/plans.h \
	%D%/rate.c %D%/rate.h \
	%D%/value.c %D%/value.h \
	%D%/vault.c %D%/vault.h \
	%D%/params.def %D%/postfix_names.def %D%/restrictions.def %D%/table_types.def

conf_test_libs = t/libtap.a lib/conf/libconf.a lib/net/libnet.a lib/util/libutil.a $(BSD_LIBS)
CONF_STAGE = t/conf/stage.c t/conf/stage.h
check_PROGRAMS += t/conf/conf_test
t_conf_conf_test_SOURCES = t/conf/conf_test.c $(CONF_STAGE)
t_conf_conf_test_LDADD = $(conf_test_libs)
check_PROGRAMS += t/conf/feedback_test
t_conf_feedback_test_LDADD = $(conf_test_libs)
check_PROGRAMS += t/conf/plans_test
t_conf_plans_test_LDADD = $(conf_test_libs)
check_PROGRAMS += t/conf/grant_test
t_conf_grant_test_LDADD = $(conf_test_libs)
check_PROGRAMS += t/conf/master_cf_test
t_conf_master_cf_test_SOURCES = t/conf/master_cf_test.c $(CONF_STAGE)
t_conf_master_cf_test_LDADD = $(conf_test_libs)
check_SCRIPTS += t/conf/gateconf.t t/conf/check.t t/conf/mistakes.t

# What params.def says, for people: made at build time.
noinst_PROGRAMS += lib/conf/confdoc
lib_conf_confdoc_SOURCES = %D%/confdoc.c
lib_conf_confdoc_LDADD = lib/conf/libconf.a lib/util/libutil.a $(BSD_LIBS)

man5_MANS = man/gatepost.conf.5
man/gatepost.conf.5: lib/conf/confdoc
	$(AM_V_GEN)$(MKDIR_P) man && lib/conf/confdoc gatepost.conf.5 > $@.new && mv $@.new $@
CLEANFILES += man/gatepost.conf.5

FUZZ_TARGETS += t/fuzz/conf_fuzz
t_fuzz_conf_fuzz_LDADD = $(FUZZ_MAIN) lib/conf/libconf.a lib/util/libutil.a $(BSD_LIBS)

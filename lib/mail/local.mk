# SPDX-License-Identifier: ISC
noinst_LIBRARIES += lib/mail/libmail.a
lib_mail_libmail_a_SOURCES = \
	%D%/address.c %D%/address.h \
	%D%/attempt.c %D%/attempt.h \
	%D%/complete.c \
	%D%/dsn.c %D%/dsn.h \
	%D%/header.c %D%/header.h %D%/header_address.c %D%/header_edit.c \
	%D%/mailclass.c %D%/mailclass.h \
	%D%/stage.c %D%/stage.h \
	%D%/status_filter.c %D%/status_filter.h \
	%D%/talk.c %D%/talk.h \
	%D%/template.c %D%/template.h \
	%D%/verp.c %D%/verp.h \
	%D%/xtext.c

check_PROGRAMS += t/mail/address_test
t_mail_address_test_SOURCES = t/mail/address_test.c
t_mail_address_test_LDADD = t/libtap.a lib/mail/libmail.a lib/util/libutil.a $(BSD_LIBS)

check_PROGRAMS += t/mail/header_test
t_mail_header_test_SOURCES = t/mail/header_test.c
t_mail_header_test_LDADD = t/libtap.a lib/mail/libmail.a lib/util/libutil.a $(BSD_LIBS)

check_PROGRAMS += t/mail/verp_test
t_mail_verp_test_SOURCES = t/mail/verp_test.c
t_mail_verp_test_LDADD = t/libtap.a lib/mail/libmail.a lib/util/libutil.a $(BSD_LIBS)

check_PROGRAMS += t/mail/template_test
t_mail_template_test_SOURCES = t/mail/template_test.c
t_mail_template_test_LDADD = t/libtap.a lib/mail/libmail.a lib/conf/libconf.a lib/net/libnet.a lib/util/libutil.a $(BSD_LIBS) $(EVENT_LIBS)
dist_man5_MANS += man/gatepost-bounce.5

FUZZ_TARGETS += t/fuzz/template_fuzz
t_fuzz_template_fuzz_LDADD = $(FUZZ_MAIN) lib/mail/libmail.a lib/conf/libconf.a lib/net/libnet.a lib/util/libutil.a $(BSD_LIBS) $(EVENT_LIBS)
FUZZ_TARGETS += t/fuzz/header_fuzz
t_fuzz_header_fuzz_LDADD = $(FUZZ_MAIN) lib/mail/libmail.a lib/util/libutil.a $(BSD_LIBS)
FUZZ_TARGETS += t/fuzz/address_fuzz
t_fuzz_address_fuzz_LDADD = $(FUZZ_MAIN) lib/mail/libmail.a lib/util/libutil.a $(BSD_LIBS)

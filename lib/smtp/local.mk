# SPDX-License-Identifier: ISC
noinst_LIBRARIES += lib/smtp/libsmtp.a
lib_smtp_libsmtp_a_SOURCES = \
	%D%/dot.c %D%/dot.h \
	%D%/ehlo.c %D%/ehlo.h \
	%D%/reply.c %D%/reply.h

check_PROGRAMS += t/smtp/reply_test
t_smtp_reply_test_SOURCES = t/smtp/reply_test.c
t_smtp_reply_test_LDADD = t/libtap.a lib/smtp/libsmtp.a lib/util/libutil.a $(BSD_LIBS)

check_PROGRAMS += t/smtp/ehlo_test
t_smtp_ehlo_test_SOURCES = t/smtp/ehlo_test.c
t_smtp_ehlo_test_LDADD = t/libtap.a lib/smtp/libsmtp.a lib/util/libutil.a $(BSD_LIBS)

check_PROGRAMS += t/smtp/dot_test
t_smtp_dot_test_SOURCES = t/smtp/dot_test.c
t_smtp_dot_test_LDADD = t/libtap.a lib/smtp/libsmtp.a lib/util/libutil.a $(BSD_LIBS)

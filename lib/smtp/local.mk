# SPDX-License-Identifier: ISC
noinst_LIBRARIES += lib/smtp/libsmtp.a
lib_smtp_libsmtp_a_SOURCES = \
	%D%/command.c %D%/command.h \
	%D%/content.c %D%/content.h \
	%D%/dot.c %D%/dot.h \
	%D%/ehlo.c %D%/ehlo.h \
	%D%/params.c \
	%D%/proxy.c %D%/proxy.h \
	%D%/reply.c %D%/reply.h \
	%D%/xattr.c %D%/xattr.h

smtp_test_libs = t/libtap.a lib/smtp/libsmtp.a lib/mail/libmail.a lib/util/libutil.a $(BSD_LIBS)
check_PROGRAMS += t/smtp/command_test t/smtp/content_test t/smtp/dot_test t/smtp/ehlo_test \
	t/smtp/proxy_test t/smtp/reply_test t/smtp/xattr_test
t_smtp_command_test_SOURCES = t/smtp/command_test.c
t_smtp_command_test_LDADD = $(smtp_test_libs)
t_smtp_content_test_SOURCES = t/smtp/content_test.c
t_smtp_content_test_LDADD = $(smtp_test_libs)
t_smtp_dot_test_SOURCES = t/smtp/dot_test.c
t_smtp_dot_test_LDADD = $(smtp_test_libs)
t_smtp_ehlo_test_SOURCES = t/smtp/ehlo_test.c
t_smtp_ehlo_test_LDADD = $(smtp_test_libs)
t_smtp_proxy_test_SOURCES = t/smtp/proxy_test.c
t_smtp_proxy_test_LDADD = $(smtp_test_libs)
t_smtp_xattr_test_SOURCES = t/smtp/xattr_test.c
t_smtp_xattr_test_LDADD = $(smtp_test_libs)
t_smtp_reply_test_SOURCES = t/smtp/reply_test.c
t_smtp_reply_test_LDADD = $(smtp_test_libs)

FUZZ_TARGETS += t/fuzz/smtp_command_fuzz t/fuzz/smtp_content_fuzz t/fuzz/smtp_head_fuzz t/fuzz/smtp_reply_fuzz
smtp_fuzz_libs = $(FUZZ_MAIN) lib/smtp/libsmtp.a lib/mail/libmail.a lib/util/libutil.a $(BSD_LIBS)
t_fuzz_smtp_command_fuzz_LDADD = $(smtp_fuzz_libs)
t_fuzz_smtp_content_fuzz_LDADD = $(smtp_fuzz_libs)
t_fuzz_smtp_head_fuzz_LDADD = $(smtp_fuzz_libs)
t_fuzz_smtp_reply_fuzz_LDADD = $(smtp_fuzz_libs)

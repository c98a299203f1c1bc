# SPDX-License-Identifier: ISC
pkglibexec_PROGRAMS += cleanup/cleanup
cleanup_cleanup_SOURCES = \
	%D%/action.c %D%/action.h \
	%D%/author.c %D%/author.h \
	%D%/cleanup.h \
	%D%/commit.c %D%/commit.h \
	%D%/content.c %D%/content.h \
	%D%/drop.c %D%/drop.h \
	%D%/intro.c %D%/intro.h \
	%D%/link.c %D%/link.h \
	%D%/main.c \
	%D%/message.c %D%/message.h \
	%D%/notice.c %D%/notice.h %D%/notice_make.c %D%/notice_private.h \
	%D%/pickup.c %D%/pickup.h \
	%D%/recipients.c %D%/recipients.h \
	%D%/requeue.c %D%/requeue.h \
	%D%/resolve.c %D%/resolve.h \
	%D%/rewrite.c %D%/rewrite.h \
	%D%/space.c %D%/space.h \
	%D%/trace.c %D%/trace.h \
	%D%/transcript.c %D%/transcript.h
cleanup_cleanup_LDADD = lib/route/libroute.a lib/queue/libqueue.a lib/smtp/libsmtp.a lib/mail/libmail.a $(SERVER_LIBS)
dist_man8_MANS += man/cleanup.8

# This process plays master, authors and qmgr.
noinst_LIBRARIES += t/cleanup/libharness.a
t_cleanup_libharness_a_SOURCES = t/cleanup/author.c t/cleanup/author.h t/cleanup/harness.c t/cleanup/harness.h
GP_CLEANUP_TEST_LIBS = t/cleanup/libharness.a t/libtap.a lib/queue/libqueue.a $(SERVER_LIBS)
check_SCRIPTS += t/cleanup/sync.t t/cleanup/dsn.t t/cleanup/reports.t t/cleanup/told.t t/cleanup/dsn_postfix.t
EXTRA_DIST += t/lib/Gatepost/Dsn.pm t/lib/dsn-read
check_PROGRAMS += t/cleanup/cleanup_test t/cleanup/link_test t/cleanup/notice_test
t_cleanup_cleanup_test_SOURCES = t/cleanup/cleanup_test.c
t_cleanup_cleanup_test_LDADD = $(GP_CLEANUP_TEST_LIBS)
t_cleanup_link_test_SOURCES = t/cleanup/link_test.c
t_cleanup_link_test_LDADD = $(GP_CLEANUP_TEST_LIBS)
t_cleanup_notice_test_SOURCES = t/cleanup/notice_test.c
t_cleanup_notice_test_LDADD = $(GP_CLEANUP_TEST_LIBS)

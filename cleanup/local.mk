# SPDX-License-Identifier: ISC
pkglibexec_PROGRAMS += cleanup/cleanup
cleanup_cleanup_SOURCES = \
	%D%/author.c %D%/author.h \
	%D%/cleanup.h \
	%D%/commit.c %D%/commit.h \
	%D%/content.c %D%/content.h \
	%D%/link.c %D%/link.h \
	%D%/main.c \
	%D%/message.c %D%/message.h \
	%D%/recipients.c %D%/recipients.h \
	%D%/resolve.c %D%/resolve.h \
	%D%/space.c %D%/space.h \
	%D%/trace.c %D%/trace.h
cleanup_cleanup_LDADD = lib/route/libroute.a lib/queue/libqueue.a lib/mail/libmail.a $(SERVER_LIBS)

check_PROGRAMS += t/cleanup/cleanup_test
t_cleanup_cleanup_test_SOURCES = t/cleanup/cleanup_test.c t/cleanup/harness.c t/cleanup/harness.h
t_cleanup_cleanup_test_LDADD = t/libtap.a lib/queue/libqueue.a $(SERVER_LIBS)

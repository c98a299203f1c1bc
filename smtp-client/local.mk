# SPDX-License-Identifier: ISC
pkglibexec_PROGRAMS += smtp-client/smtp-client
smtp_client_smtp_client_SOURCES = \
	%D%/main.c \
	%D%/command.c %D%/command.h \
	%D%/content.c %D%/content.h \
	%D%/delivery.c %D%/delivery.h \
	%D%/outcome.c %D%/outcome.h \
	%D%/self.c %D%/self.h \
	%D%/session.c %D%/session.h \
	%D%/xact.c %D%/xact.h
smtp_client_smtp_client_LDADD = lib/queue/libqueue.a lib/smtp/libsmtp.a lib/mail/libmail.a \
	lib/dns/libdns.a $(SERVER_LIBS) $(LDNS_LIBS) $(IDN2_LIBS)

dist_man8_MANS += man/smtp-client.8

check_SCRIPTS += t/client/settings.t
EXTRA_DIST += t/client/settings.t
check_PROGRAMS += t/client/client_test
t_client_client_test_SOURCES = t/client/client_test.c t/client/peer.c t/client/peer.h \
	t/client/worker.c t/client/worker.h
t_client_client_test_LDADD = t/libtap.a lib/queue/libqueue.a lib/dns/libdns.a $(SERVER_LIBS) $(LDNS_LIBS) $(IDN2_LIBS)

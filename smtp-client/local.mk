# SPDX-License-Identifier: ISC
pkglibexec_PROGRAMS += smtp-client/smtp-client
smtp_client_smtp_client_SOURCES = \
	%D%/main.c \
	%D%/anchors.c %D%/anchors.h \
	%D%/auth.c %D%/auth.h \
	%D%/body.c %D%/body.h \
	%D%/checks.c %D%/checks.h \
	%D%/command.c %D%/command.h \
	%D%/content.c %D%/content.h \
	%D%/convert.c %D%/convert.h \
	%D%/dane.c %D%/dane.h \
	%D%/delivery.c %D%/delivery.h \
	%D%/filter.c %D%/filter.h \
	%D%/generic.c %D%/generic.h \
	%D%/hello.c %D%/hello.h \
	%D%/kept.c %D%/kept.h \
	%D%/known_logins.c %D%/known_logins.h \
	%D%/level.c %D%/level.h \
	%D%/outcome.c %D%/outcome.h \
	%D%/policy.c %D%/policy.h \
	%D%/problem.c %D%/problem.h \
	%D%/self.c %D%/self.h \
	%D%/servers.c %D%/servers.h \
	%D%/setting.c %D%/setting.h \
	%D%/session.c %D%/session.h \
	%D%/sift.c %D%/sift.h \
	%D%/source.c %D%/source.h \
	%D%/starttls.c %D%/starttls.h \
	%D%/tables.c %D%/tables.h \
	%D%/transcript.c %D%/transcript.h \
	%D%/xact.c %D%/xact.h \
	%D%/xforward.c %D%/xforward.h
smtp_client_smtp_client_LDADD = lib/route/libroute.a lib/mime/libmime.a lib/sasl/libsasl.a lib/queue/libqueue.a lib/smtp/libsmtp.a lib/mail/libmail.a \
	lib/dns/libdns.a lib/tls/libtls.a $(SERVER_LIBS) $(LDNS_LIBS) $(TLS_LIBS) $(SASL_LIBS)

dist_man8_MANS += man/smtp-client.8

check_SCRIPTS += t/client/auth.t t/client/content.t t/client/nasty.t t/client/options.t t/client/settings.t t/client/tls.t t/client/tls_later.t t/client/tls_peers.t t/client/tls_real.t t/client/tls_ways.t t/client/tls_wishes.t
EXTRA_DIST += t/client/auth.t t/client/content.t t/client/nasty.t t/client/options.t t/client/settings.t t/client/tls.t t/client/tls_later.t t/client/tls_peers.t t/client/tls_real.t t/client/tls_ways.t t/client/tls_wishes.t
check_PROGRAMS += t/client/client_test
t_client_client_test_SOURCES = t/client/client_test.c t/client/peer.c t/client/peer.h \
	t/client/worker.c t/client/worker.h
t_client_client_test_LDADD = t/libtap.a lib/queue/libqueue.a lib/mail/libmail.a lib/dns/libdns.a $(SERVER_LIBS) $(LDNS_LIBS) $(IDN2_LIBS)
check_PROGRAMS += t/client/convert_test
t_client_convert_test_SOURCES = t/client/convert_test.c smtp-client/checks.c smtp-client/convert.c smtp-client/generic.c smtp-client/setting.c smtp-client/tables.c
t_client_convert_test_LDADD = t/libtap.a lib/route/libroute.a lib/mime/libmime.a lib/queue/libqueue.a lib/mail/libmail.a \
	$(SERVER_LIBS)
check_PROGRAMS += t/client/setting_test
t_client_setting_test_SOURCES = t/client/setting_test.c smtp-client/setting.c
t_client_setting_test_LDADD = t/libtap.a lib/conf/libconf.a lib/util/libutil.a $(BSD_LIBS)
check_PROGRAMS += t/client/policy_test
t_client_policy_test_SOURCES = t/client/policy_test.c smtp-client/anchors.c smtp-client/dane.c smtp-client/policy.c smtp-client/setting.c
t_client_policy_test_LDADD = t/libtap.a lib/smtp/libsmtp.a lib/mail/libmail.a lib/dns/libdns.a lib/tls/libtls.a $(SERVER_LIBS) \
	$(LDNS_LIBS) $(TLS_LIBS)
FUZZ_TARGETS += t/fuzz/tls_policy_fuzz
t_fuzz_tls_policy_fuzz_SOURCES = t/fuzz/tls_policy_fuzz.c smtp-client/anchors.c smtp-client/policy.c smtp-client/setting.c
t_fuzz_tls_policy_fuzz_LDADD = $(FUZZ_MAIN) lib/smtp/libsmtp.a lib/mail/libmail.a lib/dns/libdns.a lib/tls/libtls.a $(SERVER_LIBS) \
	$(LDNS_LIBS) $(TLS_LIBS)

# SPDX-License-Identifier: ISC
pkglibexec_PROGRAMS += smtpd/smtpd
smtpd_smtpd_SOURCES = \
	%D%/answer.c %D%/answer.h \
	%D%/auth.c %D%/auth.h %D%/auth_backend.h \
	%D%/auth_dovecot.c %D%/auth_dovecot.h \
	%D%/auth_vault.c %D%/auth_vault.h \
	%D%/author.c %D%/author.h \
	%D%/command.c \
	%D%/content.c %D%/content.h \
	%D%/dialogue.c %D%/dialogue.h \
	%D%/dnsbl.c %D%/dnsbl.h \
	%D%/etrn.c %D%/etrn.h \
	%D%/evaluation.c %D%/evaluation.h \
	%D%/farewell.c %D%/farewell.h \
	%D%/footer.c %D%/footer.h \
	%D%/gate.c %D%/gate.h \
	%D%/inquiry.c %D%/inquiry.h \
	%D%/limits.c %D%/limits.h \
	%D%/main.c \
	%D%/peername.c %D%/peername.h \
	%D%/proxy.c %D%/proxy.h \
	%D%/recipient.c %D%/recipient.h \
	%D%/probe.c %D%/probe.h \
	%D%/report.c %D%/report.h \
	%D%/session.c %D%/session.h \
	%D%/settings.c %D%/settings.h \
	%D%/starttls.c %D%/starttls.h \
	%D%/stress.c %D%/stress.h \
	%D%/tls_report.c %D%/tls_report.h \
	%D%/transcript.c %D%/transcript.h \
	%D%/transaction.c %D%/transaction.h \
	%D%/xclient.c %D%/xclient.h
dist_man7_MANS += man/gatepost-standards.7
dist_man8_MANS += man/smtpd.8

smtpd_smtpd_LDADD = lib/policy/libpolicy.a lib/sasl/libsasl.a lib/route/libroute.a lib/smtp/libsmtp.a lib/mail/libmail.a \
	lib/dns/libdns.a lib/tls/libtls.a $(SERVER_LIBS) $(LDNS_LIBS) $(TLS_LIBS)

# Tests run smtpd alone on a stage that plays master and cleanup.
noinst_PROGRAMS += t/smtpd/stage
t_smtpd_stage_SOURCES = t/smtpd/stage.c
t_smtpd_stage_LDADD = $(SERVER_LIBS)
check_SCRIPTS += t/smtpd/chaos.t t/smtpd/client.t t/smtpd/commands.t t/smtpd/complete.t t/smtpd/content.t t/smtpd/dialogue.t t/smtpd/footer.t t/smtpd/gate.t t/smtpd/limits.t t/smtpd/loglines.t t/smtpd/peers.t \
	t/smtpd/relay.t t/smtpd/sendmail.t t/smtpd/stress.t t/smtpd/tls.t t/smtpd/tls_auth.t t/smtpd/tls_clients.t t/smtpd/tls_hostile.t t/smtpd/tls_loglines.t t/smtpd/tls_trust.t t/smtpd/upstream.t
EXTRA_DIST += t/lib/Gatepost/Stage.pm t/lib/Gatepost/Tls.pm

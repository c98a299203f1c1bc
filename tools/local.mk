# SPDX-License-Identifier: ISC

# gatemap: tables and aliases
dist_man1_MANS += man/gatemap.1
sbin_PROGRAMS += tools/gatemap
tools_gatemap_SOURCES = %D%/gatemap.c %D%/gatemap.h %D%/gatemap_build.c %D%/gatemap_message.c \
	%D%/gatemap_password.c %D%/gatemap_peer.c %D%/gatemap_query.c %D%/gatemap_source.c %D%/json.c %D%/json.h
tools_gatemap_LDADD = lib/sasl/libsasl.a lib/map/libmap.a lib/mail/libmail.a lib/conf/libconf.a lib/net/libnet.a \
	lib/util/libutil.a $(DB_LIBS) $(PCRE2_LIBS) $(EVENT_LIBS) $(BSD_LIBS) $(SASL_LIBS)

# gateq: the queue
dist_man1_MANS += man/gateq.1
sbin_PROGRAMS += tools/gateq
tools_gateq_SOURCES = %D%/gateq.c %D%/gateq.h %D%/gateq_ask.c %D%/gateq_direct.c %D%/gateq_dry.c %D%/gateq_dry.h %D%/gateq_filter.c %D%/gateq_filter.h \
	%D%/gateq_postfix.c %D%/gateq_qshape.c %D%/gateq_summary.c %D%/gateq_summary.h %D%/gateq_print.c %D%/json.c %D%/json.h
tools_gateq_LDADD = lib/queue/libqueue.a lib/mail/libmail.a lib/conf/libconf.a lib/ipc/libipc.a \
	lib/net/libnet.a lib/util/libutil.a $(BSD_LIBS) $(EVENT_LIBS)

check_PROGRAMS += t/gateq/gateq_test t/queue/drop_test
t_gateq_gateq_test_SOURCES = t/gateq/gateq_test.c %D%/gateq_filter.c %D%/gateq_print.c %D%/gateq_summary.c %D%/json.c
t_gateq_gateq_test_LDADD = lib/mail/libmail.a t/libtap.a lib/util/libutil.a $(BSD_LIBS)
t_queue_drop_test_SOURCES = t/queue/drop_test.c
t_queue_drop_test_LDADD = $(QUEUE_LIBS)
check_SCRIPTS += t/gateq/offline.t t/gateq/views.t
check_SCRIPTS += t/tools/commands.t t/tools/install.t t/tools/options.t

# gatepost: the instance
dist_man1_MANS += man/gatepost.1
sbin_PROGRAMS += tools/gatepost
tools_gatepost_SOURCES = %D%/gatepost.c %D%/gatepost.h %D%/gatepost_ban.c %D%/gatepost_dirs.c %D%/gatepost_sandbox.c %D%/gatepost_start.c \
	%D%/gatepost_state.c %D%/json.c %D%/json.h %D%/check_tables.c %D%/check_tables.h %D%/holder.c %D%/holder.h \
	%D%/password.c %D%/password.h %D%/sandbox_acts.c %D%/sandbox_acts.h
tools_gatepost_LDADD = lib/priv/libpriv.a lib/sasl/libsasl.a lib/mail/libmail.a lib/map/libmap.a lib/conf/libconf.a lib/ipc/libipc.a lib/net/libnet.a lib/util/libutil.a \
	$(BSD_LIBS) $(EVENT_LIBS) $(DB_LIBS) $(PCRE2_LIBS) $(SASL_LIBS) $(SECCOMP_LIBS)

# sendmail: mail from local programs; mailq and newaliases by name
dist_man1_MANS += man/sendmail.1
sbin_PROGRAMS += tools/sendmail
tools_sendmail_SOURCES = %D%/sendmail.c %D%/sendmail.h %D%/sendmail_drop.c %D%/sendmail_message.c %D%/sendmail_submit.c
tools_sendmail_LDADD = lib/queue/libqueue.a lib/smtp/libsmtp.a lib/mail/libmail.a lib/conf/libconf.a lib/net/libnet.a \
	lib/util/libutil.a $(BSD_LIBS) $(EVENT_LIBS)

# gateconf: parameters
dist_man1_MANS += man/gateconf.1
sbin_PROGRAMS += tools/gateconf
tools_gateconf_SOURCES = %D%/gateconf.c %D%/gateconf.h %D%/gateconf_bounce.c %D%/gateconf_list.c %D%/gateconf_edit.c %D%/gateconf_master.c %D%/gateconf_service.c \
	%D%/json.c %D%/json.h
tools_gateconf_LDADD = lib/mail/libmail.a lib/conf/libconf.a lib/tls/libtls.a lib/util/libutil.a $(CRYPTO_LIBS) $(BSD_LIBS)

# The set-gid helper of sendmail: libc alone.
check_SCRIPTS += t/e2e/maildrop.t t/e2e/returned.t
dist_man8_MANS += man/maildrop.8
pkglibexec_PROGRAMS += maildrop
maildrop_SOURCES = %D%/maildrop.c
# A sanitizer that looks for leaks traces the program, which a set-gid one forbids.
maildrop_CFLAGS = $(AM_CFLAGS)
if SANITIZERS
maildrop_CFLAGS += -fno-sanitize=address
endif
# Who installs as root gets it with its group; gatepost check says what is missing.
install-data-hook: install-maildrop
.PHONY: install-maildrop
install-maildrop:
	-cd '$(DESTDIR)$(pkglibexecdir)' && chgrp gp-drop maildrop 2>/dev/null && chmod 2755 maildrop || \
		echo "maildrop is not set-gid yet: groupadd --system gp-drop; chgrp gp-drop $(pkglibexecdir)/maildrop; chmod 2755 $(pkglibexecdir)/maildrop"

pkglibexec_PROGRAMS += queue-dump
queue_dump_SOURCES = %D%/queue_dump.c
queue_dump_LDADD = lib/queue/libqueue.a lib/util/libutil.a $(BSD_LIBS)

# Each command by Postfix's names.
POSTFIX_LINKS = postmap=gatemap postalias=gatemap postqueue=gateq postsuper=gateq postcat=gateq qshape=gateq \
	mailq=sendmail newaliases=sendmail postconf=gateconf
if POSTFIX_NAMES
install-exec-hook: install-postfix-links
uninstall-hook: uninstall-postfix-links
endif
.PHONY: install-postfix-links uninstall-postfix-links
install-postfix-links:
	cd '$(DESTDIR)$(sbindir)' && for l in $(POSTFIX_LINKS); do \
		rm -f $${l%%=*} && $(LN_S) $${l#*=} $${l%%=*} || exit 1; done
uninstall-postfix-links:
	-cd '$(DESTDIR)$(sbindir)' && for l in $(POSTFIX_LINKS); do rm -f $${l%%=*}; done

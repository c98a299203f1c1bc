# SPDX-License-Identifier: ISC

# gatemap: tables and aliases
dist_man1_MANS += man/gatemap.1
sbin_PROGRAMS += tools/gatemap
tools_gatemap_SOURCES = %D%/gatemap.c %D%/gatemap.h %D%/gatemap_build.c %D%/gatemap_query.c \
	%D%/gatemap_source.c
tools_gatemap_LDADD = lib/map/libmap.a lib/conf/libconf.a lib/util/libutil.a $(DB_LIBS) $(PCRE2_LIBS) \
	$(BSD_LIBS)

if POSTFIX_NAMES
install-exec-hook: install-gatemap-links
uninstall-hook: uninstall-gatemap-links
endif
.PHONY: install-gatemap-links uninstall-gatemap-links
install-gatemap-links:
	cd '$(DESTDIR)$(sbindir)' && for l in postmap postalias; do rm -f $$l && $(LN_S) gatemap $$l; done
uninstall-gatemap-links:
	-cd '$(DESTDIR)$(sbindir)' && rm -f postmap postalias

# gateq: the queue
dist_man1_MANS += man/gateq.1
sbin_PROGRAMS += tools/gateq
tools_gateq_SOURCES = %D%/gateq.c %D%/gateq.h %D%/gateq_ask.c %D%/gateq_direct.c %D%/gateq_postfix.c \
	%D%/gateq_print.c
tools_gateq_LDADD = lib/queue/libqueue.a lib/mail/libmail.a lib/conf/libconf.a lib/ipc/libipc.a \
	lib/net/libnet.a lib/util/libutil.a $(BSD_LIBS) $(EVENT_LIBS)

check_SCRIPTS += t/gateq/offline.t
check_SCRIPTS += t/tools/commands.t t/tools/install.t

if POSTFIX_NAMES
install-exec-hook: install-gateq-links
uninstall-hook: uninstall-gateq-links
endif
.PHONY: install-gateq-links uninstall-gateq-links
install-gateq-links:
	cd '$(DESTDIR)$(sbindir)' && for l in postqueue postsuper postcat; do rm -f $$l && $(LN_S) gateq $$l; done
uninstall-gateq-links:
	-cd '$(DESTDIR)$(sbindir)' && rm -f postqueue postsuper postcat

# gatepost: the instance
dist_man1_MANS += man/gatepost.1
sbin_PROGRAMS += tools/gatepost
tools_gatepost_SOURCES = %D%/gatepost.c %D%/check_tables.c %D%/check_tables.h %D%/holder.c %D%/holder.h
tools_gatepost_LDADD = lib/map/libmap.a lib/conf/libconf.a lib/ipc/libipc.a lib/net/libnet.a lib/util/libutil.a \
	$(BSD_LIBS) $(EVENT_LIBS) $(DB_LIBS) $(PCRE2_LIBS)

# sendmail: mail from local programs; mailq and newaliases by name
dist_man1_MANS += man/sendmail.1
sbin_PROGRAMS += tools/sendmail
tools_sendmail_SOURCES = %D%/sendmail.c %D%/sendmail.h %D%/sendmail_message.c %D%/sendmail_submit.c
tools_sendmail_LDADD = lib/smtp/libsmtp.a lib/mail/libmail.a lib/conf/libconf.a lib/net/libnet.a \
	lib/util/libutil.a $(BSD_LIBS) $(EVENT_LIBS)

if POSTFIX_NAMES
install-exec-hook: install-sendmail-links
uninstall-hook: uninstall-sendmail-links
endif
.PHONY: install-sendmail-links uninstall-sendmail-links
install-sendmail-links:
	cd '$(DESTDIR)$(sbindir)' && for l in mailq newaliases; do rm -f $$l && $(LN_S) sendmail $$l; done
uninstall-sendmail-links:
	-cd '$(DESTDIR)$(sbindir)' && rm -f mailq newaliases

# gateconf: parameters
dist_man1_MANS += man/gateconf.1
sbin_PROGRAMS += tools/gateconf
tools_gateconf_SOURCES = %D%/gateconf.c %D%/gateconf.h %D%/gateconf_edit.c %D%/gateconf_master.c
tools_gateconf_LDADD = lib/conf/libconf.a lib/util/libutil.a $(BSD_LIBS)

if POSTFIX_NAMES
install-exec-hook: install-gateconf-links
uninstall-hook: uninstall-gateconf-links
endif
.PHONY: install-gateconf-links uninstall-gateconf-links
install-gateconf-links:
	cd '$(DESTDIR)$(sbindir)' && rm -f postconf && $(LN_S) gateconf postconf
uninstall-gateconf-links:
	-cd '$(DESTDIR)$(sbindir)' && rm -f postconf

pkglibexec_PROGRAMS += queue-dump
queue_dump_SOURCES = %D%/queue_dump.c
queue_dump_LDADD = lib/queue/libqueue.a lib/util/libutil.a $(BSD_LIBS)

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

# SPDX-License-Identifier: ISC
# Sample files. An installed file that somebody has edited is never written over.
EXTRA_DIST += %D%/master.cf %D%/aliases %D%/gatepost.service.in
etc/main.cf: lib/conf/confdoc
	$(AM_V_GEN)$(MKDIR_P) etc && lib/conf/confdoc main.cf > $@.new && mv $@.new $@
CLEANFILES += etc/main.cf etc/gatepost.service
noinst_DATA = etc/main.cf etc/gatepost.service

# For whom it is: copied to /etc/systemd/system, or packaged.
etc/gatepost.service: $(srcdir)/%D%/gatepost.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) etc && sed 's|[@]sbindir[@]|$(sbindir)|' $(srcdir)/%D%/gatepost.service.in > $@.new && mv $@.new $@

install-data-local: etc/main.cf
	$(MKDIR_P) '$(DESTDIR)$(pkgsysconfdir)'
	for f in etc/main.cf $(srcdir)/etc/master.cf $(srcdir)/etc/aliases; do \
		to='$(DESTDIR)$(pkgsysconfdir)'/$${f##*/}; \
		test -e "$$to" || $(INSTALL_DATA) $$f "$$to" || exit 1; \
	done
uninstall-local:
	for f in etc/main.cf $(srcdir)/etc/master.cf $(srcdir)/etc/aliases; do \
		to='$(DESTDIR)$(pkgsysconfdir)'/$${f##*/}; \
		if cmp -s $$f "$$to"; then rm -f "$$to"; fi; \
	done

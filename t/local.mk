# SPDX-License-Identifier: ISC
# The suite: t/run builds everything, then runs check_PROGRAMS and check_SCRIPTS under prove.
noinst_LIBRARIES += t/libtap.a
t_libtap_a_SOURCES = %D%/tap.c %D%/tap.h

# Fuzz targets (t/fuzz/standalone.c says how to add one): their corpus is part of the suite, unless
# they are built to search for more.
noinst_LIBRARIES += t/fuzz/libfuzz.a
t_fuzz_libfuzz_a_SOURCES = %D%/fuzz/failed.c %D%/fuzz/fuzz.h
EXTRA_DIST += %D%/fuzz/corpus
if FUZZERS
noinst_PROGRAMS += $(FUZZ_TARGETS)
FUZZ_MAIN = $(FUZZ_ENGINE) t/fuzz/libfuzz.a
else
check_PROGRAMS += $(FUZZ_TARGETS)
t_fuzz_libfuzz_a_SOURCES += %D%/fuzz/standalone.c
FUZZ_MAIN = t/fuzz/libfuzz.a t/libtap.a
endif

EXTRA_DIST += %D%/run %D%/long $(check_SCRIPTS)
GP_KIT =
EXTRA_DIST += $(GP_KIT)
# The longest first.
check_SCRIPTS += %D%/e2e/kill.t %D%/e2e/slow.t %D%/e2e/disk.t %D%/e2e/doubt.t %D%/e2e/dns.t \
	%D%/e2e/control.t %D%/e2e/etrn.t %D%/e2e/local.t %D%/e2e/peers.t %D%/e2e/queue.t %D%/e2e/relay.t \
	%D%/e2e/restart.t %D%/e2e/requeue.t %D%/e2e/rewrite.t %D%/e2e/shapes.t %D%/e2e/chroot.t %D%/e2e/damage.t %D%/e2e/frames.t %D%/e2e/log.t %D%/e2e/tables.t %D%/e2e/asked.t
check_SCRIPTS += %D%/kit/kit.t %D%/kit/dns.t %D%/kit/peers.t %D%/style.t
GP_KIT += %D%/lib/make-users %D%/lib/peers-setup %D%/lib/Gatepost/Certs.pm %D%/lib/Gatepost/Dns.pm %D%/lib/Gatepost/Dnssec.pm \
	%D%/lib/Gatepost/Instance.pm %D%/lib/Gatepost/Kit.pm %D%/lib/Gatepost/Ledger.pm %D%/lib/Gatepost/Maildrop.pm \
	%D%/lib/Gatepost/Netns.pm \
	%D%/lib/Gatepost/Pace.pm %D%/lib/Gatepost/Peers.pm %D%/lib/Gatepost/Sasl.pm %D%/lib/Gatepost/Script.pm %D%/lib/Gatepost/Sink.pm %D%/lib/Gatepost/Smtp.pm \
	%D%/lib/Gatepost/Tables.pm %D%/lib/Gatepost/TlsSink.pm %D%/lib/Gatepost/Vault.pm

# Scripts go first: they are the long ones, so a parallel run ends sooner.
.PHONY: test-list dev-links
test-list: $(check_PROGRAMS) $(check_SCRIPTS) $(check_DATA)
	@for t in $(check_SCRIPTS) $(check_PROGRAMS); do echo $$t; done > test-list
CLEANFILES += test-list

# An instance takes one directory of daemons and one of commands: links to what was just built.
all-local: dev-links
dev-links:
	@mkdir -p libexec sbin
	@for p in $(pkglibexec_PROGRAMS); do ln -sf ../$$p libexec/; done
	@for p in $(sbin_PROGRAMS); do ln -sf ../$$p sbin/; done
	@for l in mailq:sendmail newaliases:sendmail postmap:gatemap postalias:gatemap \
	    postconf:gateconf postqueue:gateq postsuper:gateq postcat:gateq qshape:gateq; do \
		test ! -e sbin/$${l#*:} || ln -sf $${l#*:} sbin/$${l%:*}; done

.PHONY: check-long
check-long:
	$(top_srcdir)/t/long

check-local:
	@GP_BUILD='$(abs_top_builddir)' $(top_srcdir)/t/run $(GP_TESTS)

clean-local:
	-rm -rf libexec sbin later

# SPDX-License-Identifier: ISC
noinst_LIBRARIES += lib/priv/libpriv.a
lib_priv_libpriv_a_CFLAGS = $(AM_CFLAGS) $(SECCOMP_CFLAGS)
lib_priv_libpriv_a_SOURCES = %D%/filter.c %D%/landlock.c %D%/priv.c %D%/priv.h %D%/priv_private.h %D%/roles.def \
	%D%/dirs.def %D%/sandbox.def

check_PROGRAMS += t/priv/priv_test
t_priv_priv_test_LDADD = t/libtap.a lib/priv/libpriv.a lib/util/libutil.a $(BSD_LIBS) $(SECCOMP_LIBS)

# Stands in for an exploit in t/priv.
noinst_PROGRAMS += t/priv/inject
t_priv_inject_SOURCES = t/priv/inject.c
t_priv_inject_LDADD = $(BSD_LIBS)

check_SCRIPTS += t/priv/sandbox.t t/priv/security.t t/priv/break.t t/priv/descriptors.t

dist_man7_MANS += man/gatepost-security.7

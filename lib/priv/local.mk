# SPDX-License-Identifier: ISC
noinst_LIBRARIES += lib/priv/libpriv.a
lib_priv_libpriv_a_SOURCES = %D%/priv.c %D%/priv.h %D%/roles.def %D%/dirs.def

check_PROGRAMS += t/priv/priv_test
t_priv_priv_test_LDADD = t/libtap.a lib/priv/libpriv.a lib/util/libutil.a $(BSD_LIBS)

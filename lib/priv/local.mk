# SPDX-License-Identifier: ISC
noinst_LIBRARIES += lib/priv/libpriv.a
lib_priv_libpriv_a_SOURCES = %D%/priv.c %D%/priv.h

# SPDX-License-Identifier: ISC
noinst_LIBRARIES += lib/util/libutil.a
lib_util_libutil_a_SOURCES = \
	%D%/base64.c %D%/base64.h \
	%D%/buf.c %D%/buf.h \
	%D%/clock.c %D%/clock.h \
	%D%/crc32c.c %D%/crc32c.h \
	%D%/dict.c %D%/dict.h \
	%D%/err.c %D%/err.h \
	%D%/fd.c %D%/fd.h \
	%D%/hash.c %D%/hash.h \
	%D%/later.c %D%/later.h \
	%D%/log.c %D%/log.h \
	%D%/mem.c %D%/mem.h \
	%D%/slice.c %D%/slice.h \
	%D%/wire.c %D%/wire.h

check_PROGRAMS += t/util/base64_test
t_util_base64_test_SOURCES = t/util/base64_test.c
t_util_base64_test_LDADD = t/libtap.a lib/util/libutil.a $(BSD_LIBS)

# SPDX-License-Identifier: ISC
noinst_LIBRARIES += lib/mime/libmime.a
lib_mime_libmime_a_SOURCES = \
	%D%/b64.c %D%/b64.h \
	%D%/field.c \
	%D%/mime.c %D%/mime.h \
	%D%/qp.c %D%/qp.h

mime_test_libs = t/libtap.a lib/mime/libmime.a lib/mail/libmail.a lib/util/libutil.a $(BSD_LIBS)
check_PROGRAMS += t/mime/b64_test t/mime/mime_test t/mime/qp_test
t_mime_b64_test_SOURCES = t/mime/b64_test.c t/mime/rows.h
t_mime_b64_test_LDADD = $(mime_test_libs)
t_mime_mime_test_SOURCES = t/mime/mime_test.c
t_mime_mime_test_LDADD = $(mime_test_libs)
t_mime_qp_test_SOURCES = t/mime/qp_test.c t/mime/rows.h
t_mime_qp_test_LDADD = $(mime_test_libs)

FUZZ_TARGETS += t/fuzz/mime_fuzz
t_fuzz_mime_fuzz_LDADD = $(FUZZ_MAIN) lib/mime/libmime.a lib/mail/libmail.a lib/util/libutil.a $(BSD_LIBS)

# SPDX-License-Identifier: ISC
# What a program needs that checks or makes records.
SASL_LIBS = $(CRYPTO_LIBS) $(CRYPT_LIBS) $(IDN_LIBS)
noinst_LIBRARIES += lib/sasl/libsasl.a
lib_sasl_libsasl_a_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS) $(IDN_CFLAGS)
lib_sasl_libsasl_a_SOURCES = \
	%D%/client.c %D%/client.h \
	%D%/crypto.c %D%/crypto.h \
	%D%/exchange.c %D%/exchange.h \
	%D%/mechanism.c %D%/mechanism.h \
	%D%/prep.c %D%/prep.h \
	%D%/record.c %D%/record.h

check_PROGRAMS += t/sasl/sasl_test
t_sasl_sasl_test_SOURCES = t/sasl/sasl_test.c
t_sasl_sasl_test_LDADD = t/libtap.a lib/sasl/libsasl.a lib/util/libutil.a $(SASL_LIBS) $(BSD_LIBS)

FUZZ_TARGETS += t/fuzz/sasl_fuzz
t_fuzz_sasl_fuzz_LDADD = $(FUZZ_MAIN) lib/sasl/libsasl.a lib/util/libutil.a $(SASL_LIBS) $(BSD_LIBS)

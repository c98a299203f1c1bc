# SPDX-License-Identifier: ISC
noinst_LIBRARIES += lib/tls/libtls.a
lib_tls_libtls_a_CFLAGS = $(AM_CFLAGS) $(SSL_CFLAGS)
lib_tls_libtls_a_SOURCES = \
	%D%/about.c %D%/about.h \
	%D%/bio.c \
	%D%/cache.c \
	%D%/chain.c %D%/chain.h \
	%D%/cipher.c \
	%D%/context.c \
	%D%/facts.c \
	%D%/hello.c \
	%D%/keys.c %D%/keys.h \
	%D%/log.c \
	%D%/name.c %D%/openssl.h \
	%D%/provider.c \
	%D%/session.c %D%/start.c \
	%D%/ticket.c \
	%D%/tls.h %D%/tls_private.h \
	%D%/verify.c

# What a program links that uses it, behind it.
TLS_LIBS = $(SSL_LIBS) $(CRYPTO_LIBS) $(IDN2_LIBS)

noinst_LIBRARIES += t/tls/libkit.a
t_tls_libkit_a_CFLAGS = $(AM_CFLAGS) $(SSL_CFLAGS)
t_tls_libkit_a_SOURCES = t/tls/kit.c t/tls/kit.h
TLS_TEST_LIBS = t/tls/libkit.a t/libtap.a lib/tls/libtls.a lib/ipc/libipc.a lib/net/libnet.a lib/util/libutil.a $(TLS_LIBS) \
	$(BSD_LIBS) $(EVENT_LIBS)

check_PROGRAMS += t/tls/handshake_test
t_tls_handshake_test_CFLAGS = $(AM_CFLAGS) $(SSL_CFLAGS)
t_tls_handshake_test_LDADD = $(TLS_TEST_LIBS)
check_PROGRAMS += t/tls/verify_test
t_tls_verify_test_CFLAGS = $(AM_CFLAGS) $(SSL_CFLAGS)
t_tls_verify_test_LDADD = $(TLS_TEST_LIBS)
check_PROGRAMS += t/tls/resume_test
t_tls_resume_test_CFLAGS = $(AM_CFLAGS) $(SSL_CFLAGS)
t_tls_resume_test_LDADD = $(TLS_TEST_LIBS)
check_PROGRAMS += t/tls/settings_test
t_tls_settings_test_CFLAGS = $(AM_CFLAGS) $(SSL_CFLAGS)
t_tls_settings_test_LDADD = $(TLS_TEST_LIBS)
check_PROGRAMS += t/tls/memory_test
t_tls_memory_test_CFLAGS = $(AM_CFLAGS) $(SSL_CFLAGS)
t_tls_memory_test_LDADD = $(TLS_TEST_LIBS)

FUZZ_TARGETS += t/fuzz/tls_fuzz
t_fuzz_tls_fuzz_CFLAGS = $(AM_CFLAGS) $(SSL_CFLAGS)
t_fuzz_tls_fuzz_LDADD = $(FUZZ_MAIN) $(TLS_TEST_LIBS)
check_PROGRAMS += t/tls/sandbox_test
t_tls_sandbox_test_CFLAGS = $(AM_CFLAGS) $(SSL_CFLAGS)
t_tls_sandbox_test_LDADD = $(TLS_TEST_LIBS)

# SPDX-License-Identifier: ISC
pkglibexec_PROGRAMS += vault/vault
vault_vault_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS)
VAULT_KEYS = %D%/arena.c %D%/arena.h \
	%D%/openssl.h \
	%D%/handshake.c %D%/handshake.h \
	%D%/pem.c %D%/pem.h
vault_vault_SOURCES = %D%/main.c $(VAULT_KEYS) \
	%D%/chain.c %D%/chain.h \
	%D%/crew.c %D%/crew.h \
	%D%/key.c %D%/key.h \
	%D%/login.c %D%/login.h \
	%D%/relay.c %D%/relay.h \
	%D%/service.c %D%/service.h \
	%D%/sign.c %D%/sign.h \
	%D%/sni.c %D%/sni.h \
	%D%/tables.c %D%/tables.h \
	%D%/ticket.c %D%/ticket.h %D%/token.c %D%/token.h
vault_vault_LDADD = lib/sasl/libsasl.a lib/mail/libmail.a $(SERVER_LIBS) $(SASL_LIBS)
dist_man8_MANS += man/vault.8
check_SCRIPTS += t/vault/auth.t t/vault/crowd.t t/vault/dovecot.t t/vault/records.t

# A stage for vault alone, used by the tests in t/vault, and the parts of it that need no process.
noinst_PROGRAMS += t/vault/stage
t_vault_stage_SOURCES = t/vault/stage.c
t_vault_stage_LDADD = $(SERVER_LIBS)
check_SCRIPTS += t/vault/chains.t
check_SCRIPTS += t/vault/check.t t/vault/memory.t t/vault/renew.t t/vault/refuse.t t/vault/relay.t t/vault/sni.t
check_PROGRAMS += t/vault/keys_test
t_vault_keys_test_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS)
t_vault_keys_test_SOURCES = t/vault/keys_test.c $(VAULT_KEYS)
t_vault_keys_test_LDADD = t/libtap.a lib/util/libutil.a $(CRYPTO_LIBS) $(BSD_LIBS)
check_PROGRAMS += t/vault/ticket_test
t_vault_ticket_test_CFLAGS = $(AM_CFLAGS) $(SSL_CFLAGS)
t_vault_ticket_test_SOURCES = t/vault/ticket_test.c %D%/ticket.c %D%/ticket.h %D%/arena.c %D%/arena.h
t_vault_ticket_test_LDADD = $(TLS_TEST_LIBS)
FUZZ_TARGETS += t/fuzz/handshake_fuzz
t_fuzz_handshake_fuzz_SOURCES = t/fuzz/handshake_fuzz.c vault/handshake.c vault/handshake.h
t_fuzz_handshake_fuzz_LDADD = $(FUZZ_MAIN) lib/util/libutil.a $(BSD_LIBS)

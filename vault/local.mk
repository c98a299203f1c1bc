# SPDX-License-Identifier: ISC
pkglibexec_PROGRAMS += vault/vault
vault_vault_SOURCES = %D%/main.c \
	%D%/crew.c %D%/crew.h \
	%D%/key.c %D%/key.h \
	%D%/login.c %D%/login.h \
	%D%/tables.c %D%/tables.h
vault_vault_LDADD = lib/sasl/libsasl.a $(SERVER_LIBS) $(SASL_LIBS)
dist_man8_MANS += man/vault.8
check_SCRIPTS += t/vault/auth.t t/vault/crowd.t t/vault/dovecot.t t/vault/records.t

# SPDX-License-Identifier: ISC
# Measurements; the programs are built when bench/run asks for them.
EXTRA_PROGRAMS += %D%/sink %D%/fill %D%/auth_load %D%/tally_state %D%/tls_load
bench_sink_SOURCES = %D%/sink.c
bench_sink_CFLAGS = $(AM_CFLAGS) $(SSL_CFLAGS)
bench_sink_LDADD = $(SSL_LIBS) $(CRYPTO_LIBS) $(BSD_LIBS)
bench_fill_SOURCES = %D%/fill.c
bench_fill_LDADD = lib/queue/libqueue.a lib/util/libutil.a $(BSD_LIBS)
bench_auth_load_SOURCES = %D%/auth_load.c
bench_auth_load_LDADD = lib/sasl/libsasl.a lib/util/libutil.a $(SASL_LIBS) $(BSD_LIBS)
bench_tls_load_SOURCES = %D%/tls_load.c
bench_tls_load_CFLAGS = $(AM_CFLAGS) $(SSL_CFLAGS)
bench_tls_load_LDADD = lib/util/libutil.a $(SSL_LIBS) $(CRYPTO_LIBS) $(BSD_LIBS)
bench_tally_state_SOURCES = bench/tally_state.c tally/count.c tally/count.h $(tally_core)
bench_tally_state_CPPFLAGS = $(AM_CPPFLAGS)
bench_tally_state_LDADD = lib/policy/libpolicy.a lib/net/libnet.a lib/util/libutil.a $(BSD_LIBS) $(EVENT_LIBS)
CLEANFILES += %D%/sink %D%/fill %D%/auth_load %D%/tally_state %D%/tls_load
EXTRA_DIST += %D%/run %D%/README.md %D%/Bench/Auth.pm %D%/Bench/Lab.pm %D%/Bench/Million.pm %D%/Bench/Mta.pm %D%/Bench/Policy.pm %D%/Bench/Slow.pm %D%/Bench/Tls.pm

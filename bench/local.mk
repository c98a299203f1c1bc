# SPDX-License-Identifier: ISC
# Measurements; the sink is built when bench/run asks for it.
EXTRA_PROGRAMS += %D%/sink
bench_sink_SOURCES = %D%/sink.c
bench_sink_LDADD = $(BSD_LIBS)
CLEANFILES += %D%/sink
EXTRA_DIST += %D%/run %D%/Bench/Lab.pm %D%/Bench/Mta.pm

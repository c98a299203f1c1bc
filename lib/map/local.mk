# SPDX-License-Identifier: ISC
noinst_LIBRARIES += lib/map/libmap.a
lib_map_libmap_a_CFLAGS = $(AM_CFLAGS) $(PCRE2_CFLAGS)
lib_map_libmap_a_SOURCES = \
	%D%/asked.c \
	%D%/bdb.c %D%/bdb.h \
	%D%/build.c %D%/build.h \
	%D%/cidr.c \
	%D%/combined.c \
	%D%/driver.h \
	%D%/files.c %D%/files.h \
	%D%/keyed.c %D%/keyed.h \
	%D%/list.c \
	%D%/lmdb.c %D%/lmdb.h %D%/lmdb_build.c \
	%D%/map.c %D%/map.h \
	%D%/match.c %D%/match.h \
	%D%/net.c %D%/net.h \
	%D%/nss.c %D%/nss.h \
	%D%/pattern.c %D%/pattern.h \
	%D%/pcre.c \
	%D%/peer.c %D%/peer.h \
	%D%/peer_net.c \
	%D%/regexp.c \
	%D%/rules.c %D%/rules.h \
	%D%/spec.c %D%/spec.h \
	%D%/static.c \
	%D%/text.c %D%/text.h

GP_MAP_TEST_LIBS = t/libtap.a lib/map/libmap.a lib/util/libutil.a $(DB_LIBS) $(PCRE2_LIBS) $(BSD_LIBS)
check_PROGRAMS += t/map/files_test t/map/map_test t/map/match_test t/map/table_file_test
t_map_files_test_SOURCES = t/map/files_test.c
t_map_files_test_LDADD = $(GP_MAP_TEST_LIBS)
t_map_map_test_SOURCES = t/map/map_test.c
t_map_map_test_LDADD = $(GP_MAP_TEST_LIBS)
t_map_match_test_SOURCES = t/map/match_test.c
t_map_match_test_LDADD = $(GP_MAP_TEST_LIBS)
t_map_table_file_test_SOURCES = t/map/table_file_test.c
t_map_table_file_test_LDADD = $(GP_MAP_TEST_LIBS)
check_SCRIPTS += t/map/gatemap.t t/map/mistakes.t t/map/types.t
dist_man5_MANS += man/gatepost-tables.5

FUZZ_TARGETS += t/fuzz/map_fuzz
t_fuzz_map_fuzz_LDADD = $(FUZZ_MAIN) lib/map/libmap.a lib/util/libutil.a $(DB_LIBS) $(PCRE2_LIBS) $(BSD_LIBS)
check_SCRIPTS += t/map/postfix.t

# SPDX-License-Identifier: ISC
noinst_LIBRARIES += lib/util/libutil.a
lib_util_libutil_a_SOURCES = \
	%D%/aged.c %D%/aged.h \
	%D%/backoff.c %D%/backoff.h %D%/base64.c %D%/base64.h \
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
	%D%/stamp.c %D%/stamp.h %D%/slice.c %D%/slice.h \
	%D%/users.c %D%/users.h \
	%D%/wire.c %D%/wire.h

util_test_libs = t/libtap.a lib/util/libutil.a $(BSD_LIBS)
check_PROGRAMS += t/util/aged_test
t_util_aged_test_LDADD = $(util_test_libs)
check_PROGRAMS += t/util/backoff_test t/util/stamp_test
t_util_backoff_test_LDADD = $(util_test_libs)
t_util_stamp_test_LDADD = $(util_test_libs)
check_PROGRAMS += t/util/base64_test
t_util_base64_test_LDADD = $(util_test_libs)
check_PROGRAMS += t/util/buf_test
t_util_buf_test_LDADD = $(util_test_libs)
check_PROGRAMS += t/util/clock_test
t_util_clock_test_LDADD = $(util_test_libs)
check_PROGRAMS += t/util/dict_test
t_util_dict_test_LDADD = $(util_test_libs)
check_PROGRAMS += t/util/err_test
t_util_err_test_LDADD = $(util_test_libs)
check_PROGRAMS += t/util/fd_test
t_util_fd_test_LDADD = $(util_test_libs)
check_PROGRAMS += t/util/hash_test
t_util_hash_test_LDADD = $(util_test_libs)
check_PROGRAMS += t/util/later_test
t_util_later_test_LDADD = $(util_test_libs)
check_PROGRAMS += t/util/log_test
t_util_log_test_LDADD = $(util_test_libs)
check_PROGRAMS += t/util/mem_test
t_util_mem_test_LDADD = $(util_test_libs)
check_PROGRAMS += t/util/slice_test
t_util_slice_test_LDADD = $(util_test_libs)
check_PROGRAMS += t/util/users_test
t_util_users_test_LDADD = $(util_test_libs)
check_PROGRAMS += t/util/wire_test
t_util_wire_test_LDADD = $(util_test_libs)

FUZZ_TARGETS += t/fuzz/base64_fuzz t/fuzz/wire_fuzz
t_fuzz_base64_fuzz_LDADD = $(FUZZ_MAIN) lib/util/libutil.a $(BSD_LIBS)
t_fuzz_wire_fuzz_LDADD = $(FUZZ_MAIN) lib/util/libutil.a $(BSD_LIBS)

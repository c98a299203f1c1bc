# SPDX-License-Identifier: ISC
noinst_LIBRARIES += lib/queue/libqueue.a
lib_queue_libqueue_a_SOURCES = \
	%D%/body.c \
	%D%/drop.c %D%/drop.h \
	%D%/dump.c %D%/dump.h \
	%D%/envelope.c %D%/envelope.h \
	%D%/event.c %D%/event.h \
	%D%/file.c %D%/file.h \
	%D%/id.c %D%/id.h \
	%D%/io.c %D%/io.h \
	%D%/journal.c %D%/journal.h \
	%D%/keeper.c %D%/keeper.h %D%/keeper_file.c %D%/keeper_private.h \
	%D%/kept.c %D%/kept.h \
	%D%/log.c %D%/log.h %D%/log_private.h %D%/log_read.c \
	%D%/order.h \
	%D%/segment.c %D%/segment.h \
	%D%/show.c %D%/show.h \
	%D%/state.c %D%/state.h \
	%D%/store.c %D%/store.h %D%/store_private.h \
	%D%/store_child.c %D%/store_event.c %D%/store_journal.c %D%/store_message.c \
	%D%/store_order.c %D%/store_out.c %D%/store_reply.c %D%/store_start.c %D%/store_table.c

check_PROGRAMS += t/queue/model_test
t_queue_model_test_SOURCES = t/queue/model_test.c t/queue/model_scripts.c \
	t/queue/model_scripts.h t/queue/disk.c t/queue/disk.h t/queue/world.c \
	t/queue/world.h
t_queue_model_test_LDADD = lib/queue/libqueue.a t/libtap.a lib/util/libutil.a $(BSD_LIBS)

FUZZ_TARGETS += t/fuzz/queue_fuzz
t_fuzz_queue_fuzz_LDADD = $(FUZZ_MAIN) lib/queue/libqueue.a lib/util/libutil.a $(BSD_LIBS)

dist_man5_MANS += man/gatepost-queue.5

QUEUE_LIBS = lib/queue/libqueue.a t/libtap.a lib/util/libutil.a $(BSD_LIBS)
check_PROGRAMS += t/queue/kept_test
t_queue_kept_test_SOURCES = t/queue/kept_test.c t/queue/disk.c t/queue/disk.h
t_queue_kept_test_LDADD = $(QUEUE_LIBS)
check_PROGRAMS += t/queue/log_test
t_queue_log_test_SOURCES = t/queue/log_test.c t/queue/disk.c t/queue/disk.h
t_queue_log_test_LDADD = $(QUEUE_LIBS)
check_PROGRAMS += t/queue/store_test
t_queue_store_test_SOURCES = t/queue/store_test.c t/queue/disk.c t/queue/disk.h
t_queue_store_test_LDADD = $(QUEUE_LIBS)
check_PROGRAMS += t/queue/state_test t/queue/id_test t/queue/envelope_test t/queue/damage_test
t_queue_state_test_SOURCES = t/queue/state_test.c
t_queue_state_test_LDADD = $(QUEUE_LIBS)
t_queue_id_test_SOURCES = t/queue/id_test.c t/queue/disk.c t/queue/disk.h
t_queue_id_test_LDADD = $(QUEUE_LIBS)
t_queue_envelope_test_SOURCES = t/queue/envelope_test.c
t_queue_envelope_test_LDADD = $(QUEUE_LIBS)
t_queue_damage_test_SOURCES = t/queue/damage_test.c t/queue/disk.c t/queue/disk.h
t_queue_damage_test_LDADD = $(QUEUE_LIBS)

EXTRA_PROGRAMS += bench/queue_append
bench_queue_append_SOURCES = bench/queue_append.c
bench_queue_append_LDADD = lib/queue/libqueue.a lib/util/libutil.a $(BSD_LIBS)
CLEANFILES += bench/queue_append

# SPDX-License-Identifier: ISC
noinst_LIBRARIES += lib/queue/libqueue.a
lib_queue_libqueue_a_SOURCES = \
	%D%/dump.h %D%/envelope.c %D%/envelope.h %D%/event.c %D%/event.h %D%/file.h %D%/id.c \
	%D%/id.h \
	%D%/io.c %D%/io.h %D%/journal.c %D%/journal.h %D%/keeper.h %D%/segment.c %D%/segment.h %D%/state.c %D%/state.h %D%/store.h

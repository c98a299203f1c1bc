# SPDX-License-Identifier: ISC
noinst_LIBRARIES += qmgr/libschedule.a
qmgr_libschedule_a_SOURCES = \
	%D%/schedule.c %D%/schedule.h \
	%D%/schedule_dest.c \
	%D%/schedule_index.c \
	%D%/schedule_job.c \
	%D%/schedule_memory.c \
	%D%/schedule_priv.h \
	%D%/schedule_rate.c \
	%D%/schedule_site.c \
	%D%/schedule_timer.c \
	%D%/schedule_turn.c \
	%D%/schedule_window.c

pkglibexec_PROGRAMS += qmgr/qmgr
qmgr_qmgr_SOURCES = \
	%D%/ack.c %D%/ack.h \
	%D%/active.c %D%/active.h \
	%D%/active_end.c %D%/active_route.c \
	%D%/active_index.c %D%/active_index.h \
	%D%/active_private.h \
	%D%/ask.c %D%/ask.h \
	%D%/command.c %D%/command.h %D%/command_private.h \
	%D%/command_change.c %D%/command_see.c \
	%D%/content.c %D%/content.h \
	%D%/flush.c %D%/flush.h \
	%D%/frames.c %D%/frames.h \
	%D%/handout.c %D%/handout.h \
	%D%/held.c %D%/held.h \
	%D%/job.c %D%/job.h \
	%D%/late.c %D%/late.h \
	%D%/intake.c %D%/intake.h \
	%D%/keeper.c %D%/keeper.h \
	%D%/line.c %D%/line.h \
	%D%/main.c %D%/qmgr.h \
	%D%/memory.c %D%/memory.h \
	%D%/names.c %D%/names.h \
	%D%/plan.c %D%/plan.h \
	%D%/pickup.c %D%/pickup.h \
	%D%/probe.c %D%/probe.h \
	%D%/report.c %D%/report.h \
	%D%/show.c %D%/show.h \
	%D%/site.c %D%/site.h \
	%D%/transport.c %D%/transport.h \
	%D%/worker.c %D%/worker.h
qmgr_qmgr_LDADD = qmgr/libschedule.a lib/queue/libqueue.a lib/mail/libmail.a $(SERVER_LIBS) -lm $(BSD_CTOR_LIBS)

dist_man8_MANS += man/qmgr.8

check_PROGRAMS += t/qmgr/schedule_test t/qmgr/rate_test t/qmgr/memory_test t/qmgr/cost_test \
	t/qmgr/simulation_test t/qmgr/site_test t/qmgr/active_test t/qmgr/names_test
SCHEDULE_TEST_LIBS = t/libtap.a qmgr/libschedule.a lib/util/libutil.a $(BSD_LIBS) -lm
t_qmgr_schedule_test_SOURCES = t/qmgr/schedule_test.c t/qmgr/rig.c t/qmgr/rig.h
t_qmgr_schedule_test_LDADD = $(SCHEDULE_TEST_LIBS)
t_qmgr_rate_test_SOURCES = t/qmgr/rate_test.c t/qmgr/rig.c t/qmgr/rig.h
t_qmgr_rate_test_LDADD = $(SCHEDULE_TEST_LIBS)
t_qmgr_memory_test_SOURCES = t/qmgr/memory_test.c t/qmgr/rig.c t/qmgr/rig.h
t_qmgr_memory_test_LDADD = $(SCHEDULE_TEST_LIBS)
t_qmgr_cost_test_SOURCES = t/qmgr/cost_test.c
t_qmgr_cost_test_LDADD = $(SCHEDULE_TEST_LIBS)
t_qmgr_simulation_test_SOURCES = t/qmgr/simulation_test.c
t_qmgr_simulation_test_LDADD = $(SCHEDULE_TEST_LIBS)
t_qmgr_site_test_SOURCES = t/qmgr/site_test.c qmgr/site.c
t_qmgr_site_test_LDADD = $(SCHEDULE_TEST_LIBS)
t_qmgr_active_test_SOURCES = t/qmgr/active_test.c qmgr/active.c qmgr/active_index.c \
	qmgr/names.c
t_qmgr_active_test_LDADD = t/libtap.a qmgr/libschedule.a lib/queue/libqueue.a lib/util/libutil.a \
	$(BSD_LIBS) -lm
t_qmgr_names_test_SOURCES = t/qmgr/names_test.c qmgr/names.c
t_qmgr_names_test_LDADD = t/libtap.a lib/queue/libqueue.a lib/util/libutil.a $(BSD_LIBS)

check_SCRIPTS += t/qmgr/worker.t t/qmgr/retry.t t/qmgr/full.t t/qmgr/unread.t t/qmgr/drain.t \
	t/qmgr/attempts.t t/qmgr/rates.t t/qmgr/logfull.t t/qmgr/gone.t \
	t/qmgr/sites.t t/qmgr/suspended.t t/qmgr/unrouted.t t/qmgr/flush.t t/qmgr/clock.t t/qmgr/bytes.t

# For LD_PRELOAD, so without the flags of everything else.
check_DATA = t/qmgr/set_clock.so
t/qmgr/set_clock.so: t/qmgr/set_clock.c
	$(AM_V_CC)$(MKDIR_P) t/qmgr && $(CC) -std=c17 -D_GNU_SOURCE -Wall -Wextra -O2 -fPIC \
		-shared -o $@ $(top_srcdir)/t/qmgr/set_clock.c -ldl
CLEANFILES += t/qmgr/set_clock.so
EXTRA_DIST += t/qmgr/set_clock.c

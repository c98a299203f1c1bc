# SPDX-License-Identifier: ISC
noinst_LIBRARIES += qmgr/libschedule.a
qmgr_libschedule_a_SOURCES = \
	%D%/schedule.c %D%/schedule.h \
	%D%/schedule_dest.c \
	%D%/schedule_fair.c \
	%D%/schedule_index.c \
	%D%/schedule_priv.h

check_PROGRAMS += t/qmgr/schedule_test t/qmgr/simulation_test
t_qmgr_schedule_test_SOURCES = t/qmgr/schedule_test.c
t_qmgr_schedule_test_LDADD = t/libtap.a qmgr/libschedule.a lib/util/libutil.a $(BSD_LIBS) -lm
t_qmgr_simulation_test_SOURCES = t/qmgr/simulation_test.c
t_qmgr_simulation_test_LDADD = t/libtap.a qmgr/libschedule.a lib/util/libutil.a $(BSD_LIBS) -lm

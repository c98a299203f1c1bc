# SPDX-License-Identifier: ISC
pkglibexec_PROGRAMS += master/master
master_master_SOURCES = %D%/main.c %D%/master.h %D%/plan.c %D%/worker.c %D%/handover.c \
	%D%/listen.c %D%/table.c %D%/outside.c %D%/log_fd.c %D%/dirs.c %D%/control.c
master_master_LDADD = lib/server/libserver.a lib/priv/libpriv.a lib/conf/libconf.a lib/ipc/libipc.a \
	lib/net/libnet.a lib/util/libutil.a $(BSD_LIBS) $(EVENT_LIBS) $(SECCOMP_LIBS)

noinst_PROGRAMS += t/master/fakeworker
t_master_fakeworker_SOURCES = t/master/fakeworker.c
t_master_fakeworker_LDADD = $(SERVER_LIBS)
check_SCRIPTS += t/master/life.t

dist_man8_MANS += man/master.8
dist_man5_MANS += man/master.cf.5
dist_man7_MANS += man/gatepost.7

# SPDX-License-Identifier: ISC
pkglibexec_PROGRAMS += local/local local/virtual local/nss
LOCAL_SOURCES = local/main.c \
	local/become.c local/become.h \
	local/child.c \
	local/content.c local/content.h \
	local/deliver.c local/deliver.h \
	local/delivery.h \
	local/forward.c local/forward.h \
	local/front.c local/front.h \
	local/mailbox.h local/maildir.c local/mbox.c \
	local/plan.c \
	local/spawner.c local/spawner.h \
	local/target.h \
	local/work.c local/work.h
LOCAL_LIBS = lib/queue/libqueue.a lib/mail/libmail.a $(SERVER_LIBS)
local_local_SOURCES = $(LOCAL_SOURCES) local/alias.c local/alias.h local/plan_local.c local/target_local.c
local_local_LDADD = $(LOCAL_LIBS)
local_virtual_SOURCES = $(LOCAL_SOURCES) local/plan_virtual.c local/target_virtual.c
local_virtual_LDADD = $(LOCAL_LIBS)
local_nss_SOURCES = local/nss.c
local_nss_LDADD = $(SERVER_LIBS)
dist_man8_MANS += man/local.8 man/virtual.8 man/nss.8

LOCAL_STAGE = t/local/stage.c t/local/stage.h t/local/world.c t/local/world.h
check_PROGRAMS += t/local/local_test t/local/maildir_test t/local/nss_test
t_local_local_test_SOURCES = t/local/local_test.c $(LOCAL_STAGE)
t_local_local_test_LDADD = t/libtap.a $(SERVER_LIBS)
t_local_maildir_test_SOURCES = t/local/maildir_test.c $(LOCAL_STAGE)
t_local_maildir_test_LDADD = t/libtap.a $(SERVER_LIBS)
t_local_nss_test_SOURCES = t/local/nss_test.c $(LOCAL_STAGE)
t_local_nss_test_LDADD = t/libtap.a $(SERVER_LIBS)
check_SCRIPTS += t/local/kill.t

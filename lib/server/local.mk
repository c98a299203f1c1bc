# SPDX-License-Identifier: ISC
noinst_LIBRARIES += lib/server/libserver.a
lib_server_libserver_a_SOURCES = %D%/ask.c %D%/counters.c %D%/counters.h %D%/death.c %D%/death.h %D%/desk.c %D%/desk.h %D%/job.c %D%/job.h %D%/nss_client.c %D%/peers.c \
	%D%/server.c %D%/server.h %D%/server_priv.h %D%/spawn.c %D%/spawn.h

# What every program that master starts links with, in this order.
SERVER_LIBS = lib/server/libserver.a lib/map/libmap.a lib/priv/libpriv.a lib/conf/libconf.a \
	lib/ipc/libipc.a lib/net/libnet.a lib/util/libutil.a \
	$(BSD_LIBS) $(EVENT_LIBS) $(DB_LIBS) $(PCRE2_LIBS) $(SECCOMP_LIBS)

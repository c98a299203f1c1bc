# SPDX-License-Identifier: ISC
noinst_LIBRARIES += lib/ipc/libipc.a
lib_ipc_libipc_a_SOURCES = %D%/ipc.c %D%/ipc.h %D%/proto.c %D%/proto.def %D%/proto.h %D%/role.c %D%/role.h

check_PROGRAMS += t/ipc/ipc_test
t_ipc_ipc_test_LDADD = t/libtap.a lib/ipc/libipc.a lib/net/libnet.a lib/util/libutil.a $(BSD_LIBS) $(EVENT_LIBS)

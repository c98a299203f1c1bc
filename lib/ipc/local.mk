# SPDX-License-Identifier: ISC
noinst_LIBRARIES += lib/ipc/libipc.a
lib_ipc_libipc_a_SOURCES = %D%/ipc.c %D%/ipc.h %D%/ipc_priv.h %D%/message.c %D%/request.c %D%/proto.c %D%/proto.def %D%/proto.h %D%/role.c %D%/role.h

check_PROGRAMS += t/ipc/ipc_test
t_ipc_ipc_test_LDADD = t/libtap.a lib/ipc/libipc.a lib/net/libnet.a lib/util/libutil.a $(BSD_LIBS) $(EVENT_LIBS)

# gatepost-ipc(5) is made from the rows.
noinst_PROGRAMS += lib/ipc/proto-man
lib_ipc_proto_man_LDADD = lib/ipc/libipc.a lib/util/libutil.a $(BSD_LIBS)
nodist_man5_MANS += man/gatepost-ipc.5
CLEANFILES += man/gatepost-ipc.5
man/gatepost-ipc.5: lib/ipc/proto-man$(EXEEXT)
	$(AM_V_GEN)$(MKDIR_P) man && lib/ipc/proto-man > $@

FUZZ_TARGETS += t/fuzz/ipc_fuzz
t_fuzz_ipc_fuzz_LDADD = $(FUZZ_MAIN) lib/ipc/libipc.a lib/util/libutil.a $(BSD_LIBS)

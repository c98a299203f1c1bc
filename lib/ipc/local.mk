# SPDX-License-Identifier: ISC
noinst_LIBRARIES += lib/ipc/libipc.a
lib_ipc_libipc_a_SOURCES = %D%/ipc.c %D%/ipc.h %D%/proto.c %D%/proto.def %D%/proto.h %D%/role.c %D%/role.h

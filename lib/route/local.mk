# SPDX-License-Identifier: ISC
noinst_LIBRARIES += lib/route/libroute.a
lib_route_libroute_a_SOURCES = %D%/expand.c %D%/lookup.c %D%/resolve.c %D%/route.c %D%/route.h %D%/route_priv.h

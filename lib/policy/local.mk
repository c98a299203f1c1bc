# SPDX-License-Identifier: ISC
noinst_LIBRARIES += lib/policy/libpolicy.a
lib_policy_libpolicy_a_SOURCES = \
	%D%/policy.c %D%/policy.h \
	%D%/restrict.c %D%/restrict.h \
	%D%/tally_client.c %D%/tally_client.h

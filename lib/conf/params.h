/* SPDX-License-Identifier: ISC */
#ifndef CONF_PARAMS_H
#define CONF_PARAMS_H

#include "conf/conf.h"

/* The rows of params.def, and what else a name may be. */
enum param_type {
	PARAM_STR,
	PARAM_RAW, /* a text that is expanded when it is used */
	PARAM_BOOL,
	PARAM_INT,
	PARAM_SIZE,
	PARAM_TIME,
	PARAM_MAPS,
	PARAM_MATCH,
	PARAM_RESTRICT,
	PARAM_LIST,
	PARAM_ENUM,
	PARAM_FILE, /* a file that its programs read when they start */
	PARAM_RATE, /* conf/rate.h */
};

struct param_row {
	const char *name, *def; /* def "@": worked out from the machine */
	enum param_type type;
	int64_t min, max; /* max INT64_MAX: none */
	unsigned programs;
	const char *text;
};

const struct param_row *param_row(enum param p);
/* P_COUNT when there is none. */
enum param param_find(struct slice name);
/* A parameter of Postfix that is not supported. */
bool param_is_unsupported(struct slice name);
/* Rows that stand for a setting of each transport (transport_destination_rate_delay). */
bool param_is_transport(enum param p);
/* For NAME_destination_rate_delay: the row, with the length of NAME; P_COUNT: no such setting. */
enum param param_find_transport(struct slice name, size_t *prefix);
/*
 * The row that LMTP has of its own for one of the SMTP client (smtp_helo_name: lmtp_lhlo_name);
 * P_COUNT: none.
 */
enum param param_lmtp(enum param smtp);
/* The row whose name is nearest; NULL when none is near. */
const char *param_nearest(struct slice name);

/* Changes that make a of b, adjacent swaps as one; UINT_MAX for names too long to be compared. */
unsigned param_distance(struct slice a, struct slice b);
/* Whether a name at that distance is worth naming. */
bool param_is_near(unsigned distance, size_t length);

#endif

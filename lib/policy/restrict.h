/* SPDX-License-Identifier: ISC */
#ifndef POLICY_RESTRICT_H
#define POLICY_RESTRICT_H

#include "map/match.h"
#include "policy/policy.h"
#include "route/route.h"
#include "util/dict.h"

/*
 * Inside lib/policy: restrictions and what they see of an evaluation. To add one: its line in
 * lib/conf/restrictions.def, a row in an array of your own file (ended by a row without name), that
 * array's name in list.c, a function.
 *
 * A function runs from its beginning each time an answer has come: it keeps nothing between two
 * runs, and asks through e->later. It returns 0 with a result; ERR_LATER; or ERR_TEMP, which
 * becomes "451 4.3.0 <…>: Temporary lookup failure".
 */
enum restrict_result {
	RESTRICT_DUNNO,  /* no decision: go on */
	RESTRICT_OK,     /* permitted as far as this list goes */
	RESTRICT_REFUSED /* a policy_reject… was called and said so */
};

enum restrict_argument {
	RESTRICT_NONE,
	RESTRICT_TABLE,  /* type:name, or { type:name, attribute=value, … } */
	RESTRICT_TEXT,   /* one word, or { … } */
	RESTRICT_NUMBER, /* decimal */
};

enum {
	RESTRICT_GUARDS_RELAY = 1, /* counts as a relay decision at start-up */
	RESTRICT_ENDS = 2,         /* what stands behind it in a list is never reached */
};

struct policy_eval;
struct policy_list;
struct restriction;

/* A restriction in a list, with its argument. */
struct policy_item {
	const struct restriction *row; /* NULL: a class */
	struct policy_list *list;      /* of the class; borrowed */
	struct access_table *table;    /* RESTRICT_TABLE; owned */
	uint64_t number;
	char *text;  /* owned: the argument without its braces; for a class, its name */
	void *state; /* what row->open made of it */
};

struct restriction {
	const char *name;
	enum restrict_argument argument;
	unsigned flags;
	/* NULL: warn_if_reject. */
	int (*run)(struct policy_eval *e, const struct policy_item *item,
		enum restrict_result *result);
	/* May be NULL. ERR_SYNTAX with why. */
	int (*open)(struct policy *p, struct policy_item *item, struct buf *why);
	void (*close)(struct policy_item *item);
};

/* Arrays of rows, each ended by one without a name. */
extern const struct restriction restrict_rows[], restrict_client_rows[], restrict_helo_rows[],
	restrict_sender_rows[], restrict_recipient_rows[], access_rows[], restrict_dns_rows[],
	restrict_mx_rows[], rbl_rows[], service_rows[], verify_rows[];

struct policy_list {
	char *parameter; /* owned: its name, or that of the class */
	struct policy_item *items;
	size_t n;
};

/* What a text is about: "<NAME>: CLASS rejected: …". */
struct policy_about {
	struct slice name;
	const char *class;
};

/* Those of Postfix; compared by address. */
extern const char policy_client[], policy_reverse_client[], policy_ccert[], policy_login[],
	policy_helo[], policy_sender[], policy_recipient[], policy_etrn[], policy_data[],
	policy_end_of_data[];

/* A temporary decision that is remembered (defer_if_permit, defer_if_reject). */
struct policy_deferral {
	bool is_active;
	int code;
	char status[16];
	struct buf text;
};

struct policy_eval {
	struct policy *policy;
	enum policy_stage stage;
	const struct policy_facts *facts;
	struct later *later;
	struct policy_verdict *verdict;
	struct policy_about about; /* of the list that is being run */
	const char *parameter;     /* likewise */
	/* Completed (address_complete); p NULL: there is none. */
	struct slice sender, recipient;
	struct policy_deferral *if_permit, *if_reject;
	unsigned depth, warn_depth; /* of lists; of the warn_if_reject in force, 0: none */
	bool is_discarded, sender_is_checked, recipient_is_checked;
};

enum {
	POLICY_LIST_CLIENT,
	POLICY_LIST_HELO,
	POLICY_LIST_SENDER,
	POLICY_LIST_RELAY,
	POLICY_LIST_RECIPIENT,
	POLICY_LIST_DATA,
	POLICY_LIST_END_OF_DATA,
	POLICY_LIST_ETRN,
	POLICY_LISTS
};

struct policy {
	struct policy_list lists[POLICY_LISTS], completed; /* local_header_rewrite_clients */
	struct dict *classes;                              /* name → struct policy_list, owned */
	struct dict *results; /* text of a table's entry → struct policy_list, owned */
	struct match *mynetworks, *safe;
	struct route *route;
	struct map_list *login_maps, *clientcerts, *dns_filter;
	struct direct_hosts *direct; /* permit_direct_delivery_hosts; NULL: not used */
	struct address_rules rules;
	uint64_t outgoing_limit; /* bytes for a recipient elsewhere; 0: none of its own */
	const char *null_key, *delimiters, *permit_log;
	bool delay, relay_first, untrusted_routing, reject_unlisted, reject_unlisted_sender,
		show_table, header_from, access_parents, soft_bounce, auth_enabled;
	/* Memory of the evaluation under way: there is one at a time. */
	struct policy_deferral if_permit, if_reject;
	struct buf sender, recipient, followed, value, reason, namaddr;
};

/* 0; ERR_SYNTAX with why. tables: may the text name any (that of a table's entry may not)? */
int policy_list_open(struct policy *p, const char *parameter, struct slice text, bool tables,
	struct buf *why, struct policy_list *list);
void policy_list_close(struct policy_list *list);
/* Is there a restriction that guards against relaying, and can it be reached? */
bool policy_list_guards(const struct policy_list *list);
/* The first that decides. 0 or ERR_LATER. */
int policy_list_run(
	struct policy_eval *e, const struct policy_list *list, enum restrict_result *result);

/*
 * Refusals. fmt gives the text behind code and status. What comes back is the result: after
 * warn_if_reject a refusal is but a note, RESTRICT_DUNNO. A 5xx is replaced by what an earlier
 * defer_if_reject said. The class of the status is made that of the code.
 */
enum restrict_result policy_reject(struct policy_eval *e, int code, const char *status,
	const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* "<NAME>: CLASS rejected: TEXT"; the status is fitted to the class (policy_status). */
enum restrict_result policy_reject_about(struct policy_eval *e, struct policy_about about, int code,
	const char *status, const char *text);
/*
 * Failures of ours, which warn_if_reject does not soften: 451 4.3.5 Server configuration error;
 * and, of a table, 451 4.3.5 <NAME>: CLASS rejected: Server configuration error.
 */
enum restrict_result policy_reject_server(struct policy_eval *e);
enum restrict_result policy_reject_table(struct policy_eval *e, struct policy_about about);
/* 451 4.3.0 <NAME>: Temporary lookup failure; likewise. */
enum restrict_result policy_reject_lookup(struct policy_eval *e, struct slice name);
/*
 * A temporary error: permission will become this deferral. With warn_if_reject it is a note at
 * once. The first one is kept.
 */
enum restrict_result policy_defer_if_permit(struct policy_eval *e, int code, const char *status,
	const char *fmt, ...) __attribute__((format(printf, 4, 5)));
enum restrict_result policy_defer_if_reject(struct policy_eval *e, int code, const char *status,
	const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* RESTRICT_OK, noted where smtpd_log_access_permit_actions wants it. action as written. */
enum restrict_result policy_permit(
	struct policy_eval *e, struct slice action, struct policy_about about);

/* "5.1.1" as it fits the class: an address code of a sender where a recipient is meant, … */
const char *policy_status(const char *class, const char *status, char out[16]);
/* Takes an enhanced status code off the front of *text, if one is there; else def. */
void policy_split_status(struct slice *text, const char *def, char out[16]);

void policy_note(struct policy_eval *e, enum policy_note_kind kind, struct slice value,
	const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/*
 * What stands in an access table or in a policy server's answer: carries out value, which table
 * gave for key. 0 with a result, or ERR_LATER. value may be e->policy->value: it is copied.
 */
int policy_do(struct policy_eval *e, const char *table, struct slice key, struct slice value,
	struct policy_about about, enum restrict_result *result);

/* Is the recipient one that we take from anybody: our own or relayed for, without a route in it? */
int policy_is_own_destination(struct policy_eval *e, bool *own);
/* Unknown addresses of our own classes. */
int policy_check_recipient(struct policy_eval *e, enum restrict_result *result);
int policy_check_sender(struct policy_eval *e, enum restrict_result *result);
/* header_from_login_match. 0 or ERR_LATER. */
int policy_check_header_from(struct policy_eval *e);

#endif

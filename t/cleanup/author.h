/* SPDX-License-Identifier: ISC */
#ifndef T_CLEANUP_AUTHOR_H
#define T_CLEANUP_AUTHOR_H

#include "t/cleanup/harness.h"

/* smtpd, as far as cleanup sees it. */
struct author {
	struct ipc *ipc;
	char id[32];
	bool is_opened, is_over, is_done, is_lost, has_facts;
	uint64_t code, size, hops, grants;
	char status[16], text[256], from[512];
	bool is_full, is_leaving, has_durable;
	char durable[32]; /* of ID_DURABLE */
	int overs;        /* answers so far */
};

/* Who the client is: elsewhere, on this machine, or a local user without a connection. */
/*
 * NEAR: its headers are ours to complete. FORWARDED: far, and it says that it speaks for another.
 */
enum { CLIENT_FAR, CLIENT_NEAR, CLIENT_USER, CLIENT_FORWARDED };

void author_connect(struct harness *h, struct author *a);
/* Begins a message and waits for its queue id; gives the request's id. */
uint64_t author_open(struct author *a, const char *sender, int client);
/* Without waiting. */
uint64_t author_begin(struct author *a, const char *sender, int client);
void author_rcpt(struct author *a, uint64_t id, const char *address);
/* In frames of step bytes, waiting for credit. */
void author_data(struct author *a, uint64_t id, struct slice data, size_t step);
void author_end(struct author *a, uint64_t id, uint64_t flags);
void author_commit(struct author *a, uint64_t id);
/* All of it from sender@far.example, and waits for the answer. */
void author_send(struct author *a, int client, const char *rcpt, struct slice data, size_t step);

#endif

/* SPDX-License-Identifier: ISC */
#ifndef T_LOCAL_STAGE_H
#define T_LOCAL_STAGE_H

#include "ipc/ipc.h"

/*
 * local or virtual with this test in the place of master, qmgr and cleanup. What it says stands in
 * events, in short words: DOT · R<index>=<letter><status> (O delivered, D deferred, F failed, R
 * another transport, U untried) · END<flags>.
 */
struct stage {
	pid_t pid;
	struct ipc *master, *qmgr, *cleanup; /* nss: qmgr alone, in the place of an smtpd */
	enum role role;
	bool is_ready, is_gone;
	unsigned room, ended;
	struct buf events;
	struct buf text;    /* of the last report */
	struct buf message; /* what cleanup got: envelope in words, then the content */
	uint64_t request;   /* of the last job */
	unsigned refuse;    /* cleanup answers this reply code in place of accepting */
	char log_path[64];
};

struct stage_job {
	const char *rcpts; /* addresses, blank separated; "a=b": orig_to b */
	const char *content;
	const char *sender; /* NULL: s@client.test */
	const char *body;   /* in a file, behind the content */
	unsigned attempts;
	bool has_bad_sum;
};

/* settings: "name = value" lines; program: "local", "virtual" or "nss". */
void stage_start(struct stage *s, const char *program, const char *settings);
/* Ends it; the test fails when it has to be killed. */
void stage_end(struct stage *s);
/* Gives a job and waits for its end; events and text are those of this job. */
void stage_run(struct stage *s, const struct stage_job *j);
void stage_give(struct stage *s, const struct stage_job *j);
void stage_wait_event(struct stage *s, const char *word);
/* nss: "0 VALUE", "1", "2" as NSS_ANSWER says. Until the next call. */
const char *stage_look_up(struct stage *s, const char *name, const char *key);
void stage_turn(void); /* once around the loop */
void stage_new_qmgr(struct stage *s);
/* Whether a line with all of this is in the log. */
bool stage_has_logged(const struct stage *s, const char *text);

#endif

/* SPDX-License-Identifier: ISC */
#include "t/policy/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf/conf.h"
#include "map/map.h"
#include "t/tap.h"
#include "util/err.h"

#define QUESTIONS 100 /* of one evaluation */
#define AGAIN 100

static char dir[] = "/tmp/gp-policy-XXXXXX";
static char main_cf[sizeof(dir) + sizeof("/main.cf")];
static bool (*answer)(void);
static unsigned wakes;

/* What tables of the type later have asked for. */
static struct {
	void (*run)(void *arg);
	void *arg;
} asked[1000];
static size_t asked_n;

static void defer(void (*run)(void *arg), void *arg)
{
	if (asked_n == COUNT_OF(asked))
		bail_out("more questions than this test has room for");
	asked[asked_n].run = run;
	asked[asked_n++].arg = arg;
}

static bool answer_tables(void)
{
	size_t n = asked_n;

	asked_n = 0;
	for (size_t i = 0; i < n; i++)
		asked[i].run(asked[i].arg);
	return n > 0;
}

static void wake(void *arg)
{
	(void)arg;
	wakes++;
}

void stage_open(bool (*own_answer)(void))
{
	FILE *f;

	if (mkdtemp(dir) == NULL)
		bail_out("mkdtemp");
	(void)snprintf(main_cf, sizeof(main_cf), "%s/main.cf", dir);
	f = fopen(main_cf, "w");
	if (f == NULL || fclose(f) != 0)
		bail_out("%s", main_cf);
	answer = own_answer != NULL ? own_answer : answer_tables;
	map_set_deferrer(defer);
}

void stage_close(void)
{
	(void)unlink(main_cf);
	(void)rmdir(dir);
}

struct policy *stage_load(const char *const *settings, struct buf *why)
{
	struct policy *p = NULL;

	if (conf_load(dir, settings, why) != 0)
		bail_out("settings: %s", buf_str(why));
	buf_reset(why);
	(void)policy_open(why, &p);
	return p;
}

int stage_check(struct policy *p, enum policy_stage stage, const struct policy_facts *f,
	struct policy_verdict *v)
{
	struct later l;
	int again = 0;

	later_init(&l, QUESTIONS, wake, NULL);
	while (policy_check(p, stage, f, &l, v) == ERR_LATER && again++ < AGAIN)
		if (!answer())
			bail_out("nothing was asked, and nothing decided");
	later_clear(&l);
	return again;
}

unsigned stage_wakes(void)
{
	return wakes;
}

int stage_code(const struct policy_verdict *v)
{
	return v->action == POLICY_REJECT ? v->code : 0;
}

void stage_add_reply(const struct policy_verdict *v, struct buf *out)
{
	if (stage_code(v) != 0)
		buf_add_fmt(out, "%d %s %.*s", v->code, v->status, SLICE_FMT(buf_slice(&v->text)));
}

void stage_add_notes(const struct policy_verdict *v, struct buf *out)
{
	struct policy_note n;
	size_t at = 0;

	while (policy_note_next(v, &at, &n)) {
		buf_add_fmt(out, "%s: %.*s", policy_note_word(n.kind), SLICE_FMT(n.text));
		if (n.value.len > 0)
			buf_add_fmt(out, " (%.*s)", SLICE_FMT(n.value));
		buf_add_char(out, '\n');
	}
}

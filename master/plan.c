/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <unistd.h>

#include "config.h"

#include "master/master.h"
#include "server/counters.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

struct unit *unit_find(struct slice key)
{
	struct unit *u = NULL;

	TAILQ_FOREACH(u, &master.units, next)
	{
		if (slice_eq_str(key, u->key))
			return u;
	}
	return NULL;
}

static struct unit *unit_of(const struct service *v)
{
	char *key = mem_fmt("%s/%s", v->name, service_type_name(v->type));
	struct unit *u = unit_find(slice_str(key));

	mem_free(key);
	return u;
}

static struct unit *unit_new(const struct service *v)
{
	struct unit *u = mem_alloc(sizeof(*u));

	u->name = mem_str(v->name);
	u->key = mem_fmt("%s/%s", v->name, service_type_name(v->type));
	u->type = v->type;
	TAILQ_INIT(&u->workers);
	u->page = counters_new(u->key, &u->page_fd);
	if (u->page == NULL)
		log_fatal("shared page of %s: %s", u->key, err_str(ERR_SYS));
	worker_init(u);
	TAILQ_INSERT_TAIL(&master.units, u, next);
	return u;
}

void plan_drop(struct plan **pp)
{
	struct plan *p = *pp;

	*pp = NULL;
	if (p == NULL || --p->users > 0)
		return;
	listen_release(p);
	conf_free(&p->settings);
	mem_free(p->listener);
	mem_free(p);
}

/* The plan of one service of an instance that was read; NULL: not to be started. */
static int plan_make(struct instance *in, size_t i, int64_t wait, struct buf *why, struct plan **pp)
{
	const struct service *v = &in->services.service[i];
	const struct unit *u = unit_of(v);
	struct plan *p = NULL;
	int r = 0;

	*pp = NULL;
	if (v->kind != COMMAND_WORKER || v->is_disabled)
		return 0;
	p = mem_alloc(sizeof(*p));
	*p = (struct plan){.users = 1,
		.generation = master.generation + 1,
		.settings = in->settings[i],
		.program = v->program,
		.is_lmtp = v->is_lmtp,
		.programs = check_program(v->program)};
	in->settings[i] = NULL;
	p->role = (enum role)role_of_program(v->program);
	p->capacity = capacity_of(v, p->settings);
	if (u == NULL || !u->is_stopped)
		r = listen_for(v, p->settings, wait, p, why);
	if (r != 0)
		plan_drop(&p);
	*pp = p;
	return r;
}

static void adopt(struct unit *u, struct plan *p)
{
	struct plan *before = u->plan;

	u->plan = p;
	worker_unpause(u);
	if (p == NULL && before != NULL)
		listen_release(before);
	if (p == NULL)
		worker_stop_unit(u, false);
	else if (before != NULL && worker_is_kept(p->role))
		worker_settings(u);
	else if (!u->is_stopped)
		worker_replace(u);
	plan_drop(&before);
}

int plan_read(struct instance *in, struct buf *why)
{
	const struct conf *before = master.in.main;
	const char *fixed = NULL;
	struct mistakes m;
	int r = 0;

	mistakes_init(&m);
	instance_read(in, master.dir,
		CHECK_TABLES | CHECK_PROGRAMS | (master.is_development ? 0 : CHECK_OWNERS), &m);
	if (m.errors == 0 && before != NULL)
		fixed = instance_needs_restart(before, in->main);
	buf_add_slice(why, m.errors != 0 ? buf_slice(&m.text) : SLICE_NONE);
	if (fixed != NULL)
		buf_add_fmt(why, "error: %s has changed; expected a restart\n", fixed);
	r = m.errors != 0 || fixed != NULL ? ERR_SYNTAX : 0;
	mistakes_clear(&m);
	return r;
}

/* Ports come last: they wait for what is behind them. */
static void adopt_all(const struct instance *in, struct plan **plans, const struct service *only)
{
	struct unit *u = NULL;

	TAILQ_FOREACH(u, &master.units, next)
	{
		if (only == NULL && services_find(&in->services, slice_str(u->key)) == NULL)
			adopt(u, NULL);
	}
	for (int is_port = 0; is_port < 2; is_port++) {
		for (size_t i = 0; i < in->services.count; i++) {
			const struct service *v = &in->services.service[i];
			bool serves = plans[i] != NULL && plans[i]->role == ROLE_SMTPD;

			if (serves != is_port || (only != NULL && v != only && plans[i] == NULL))
				continue;
			u = unit_of(v);
			if (u == NULL && plans[i] != NULL)
				u = unit_new(v);
			if (u != NULL)
				adopt(u, plans[i]);
		}
	}
}

int plan_load(struct unit *only, struct buf *why)
{
	bool is_first = master.generation == 0;
	int64_t wait = is_first ? clock_mono() + MASTER_BIND_WAIT_MSEC * CLOCK_MSEC : 0;
	struct instance in;
	int r = plan_read(&in, why);
	struct plan **plans = mem_array(in.services.count + 1, sizeof(*plans));
	const struct service *one =
		only != NULL ? services_find(&in.services, slice_str(only->key)) : NULL;
	size_t vault = r == 0 ? check_give_vault(&in, one) : 0;

	if (r == 0 && only != NULL && one == NULL) {
		buf_add_fmt(why, "error: %s is not in master.cf any more; expected a reload\n",
			only->key);
		r = ERR_NOT_FOUND;
	}
	for (size_t i = 0; r == 0 && i < in.services.count; i++) {
		if (only == NULL || one == &in.services.service[i] || i == vault)
			r = plan_make(&in, i, wait, why, &plans[i]);
	}
	if (r == 0) {
		if (!is_first && only == NULL)
			log_info("reload -- version %s, configuration %s", PACKAGE_VERSION,
				master.dir);
		master.generation++;
		adopt_all(&in, plans, one);
	}
	for (size_t i = 0; r != 0 && i < in.services.count; i++)
		plan_drop(&plans[i]);
	if (r == 0 && only == NULL) {
		instance_clear(&master.in);
		master.in = in;
	} else {
		instance_clear(&in);
	}
	mem_free(plans);
	return r;
}

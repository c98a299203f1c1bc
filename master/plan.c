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

struct unit *unit_find(struct slice name)
{
	struct unit *u = NULL, *found = NULL;

	TAILQ_FOREACH(u, &master.units, next)
	{
		if (slice_eq_str(name, u->key))
			return u;
		if (slice_eq_str(name, u->name) && (found == NULL || u->type == SERVICE_INET))
			found = u;
	}
	return found;
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
	u->page_fd = -1;
	if (fd_memory(u->key, &u->page_fd) != 0 || ftruncate(u->page_fd, COUNTERS_SIZE) != 0)
		log_fatal("shared page of %s: %s", u->key, err_str(ERR_SYS));
	u->page = counters_open(u->page_fd);
	if (u->page == NULL)
		log_fatal("shared page of %s: %s", u->key, err_str(ERR_SYS));
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
	p->role =
		strcmp(v->program, "nss") == 0 ? ROLE_NSS : (enum role)role_of_program(v->program);
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
	u->pause = u->backoff = 0;
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

/* Parameters that stay as they were at the start. */
static int check_fixed(const struct instance *in, struct buf *why)
{
	static const enum param fixed[] = {P_queue_directory, P_data_directory, P_daemon_directory};

	for (size_t i = 0; master.in.main != NULL && i < sizeof(fixed) / sizeof(*fixed); i++) {
		if (strcmp(set_str(in->main, fixed[i]), master_str(fixed[i])) != 0) {
			buf_add_fmt(why,
				"error: %s has changed; expected a restart, not a reload\n",
				conf_name(fixed[i]));
			return ERR_STATE;
		}
	}
	return 0;
}

static int read_instance(struct instance *in, struct buf *why)
{
	struct mistakes m;
	int r = 0;

	mistakes_init(&m);
	instance_read(in, master.dir,
		CHECK_TABLES | CHECK_PROGRAMS | (master.is_development ? 0 : CHECK_OWNERS), &m);
	if (m.errors != 0) {
		buf_add_slice(why, buf_slice(&m.text));
		r = ERR_SYNTAX;
	} else {
		r = check_fixed(in, why);
	}
	mistakes_clear(&m);
	return r;
}

static bool is_listed(const struct instance *in, const struct unit *u)
{
	for (size_t i = 0; i < in->services.count; i++) {
		if (strcmp(in->services.service[i].name, u->name) == 0 &&
			in->services.service[i].type == u->type)
			return true;
	}
	return false;
}

/* Ports come last: they wait for what is behind them. */
static void adopt_all(struct instance *in, struct plan **plans)
{
	struct unit *u = NULL;

	TAILQ_FOREACH(u, &master.units, next)
	{
		if (!is_listed(in, u))
			adopt(u, NULL);
	}
	for (int is_port = 0; is_port < 2; is_port++) {
		for (size_t i = 0; i < in->services.count; i++) {
			bool serves = plans[i] != NULL && plans[i]->role == ROLE_SMTPD;

			if (serves != is_port)
				continue;
			u = unit_of(&in->services.service[i]);
			if (u == NULL && plans[i] != NULL)
				u = unit_new(&in->services.service[i]);
			if (u != NULL)
				adopt(u, plans[i]);
		}
	}
}

/* Which program answers which transport, for qmgr. */
static void add_programs(struct instance *in)
{
	struct buf text = BUF_INIT(MASTER_TEXT_LIMIT);

	for (size_t i = 0; i < in->services.count; i++) {
		const struct service *v = &in->services.service[i];

		if (v->type != SERVICE_INET && !v->is_disabled)
			buf_add_fmt(&text, "%s%s=%s", text.len != 0 ? " " : "", v->name,
				v->kind == COMMAND_MISSING ? "missing" : v->program);
	}
	for (size_t i = 0; i < in->services.count; i++)
		set_override(in->settings[i], SLICE_LIT("transport_programs"), buf_slice(&text),
			NULL, NULL);
	buf_clear(&text);
}

int plan_load(struct buf *why)
{
	bool is_first = master.generation == 0;
	int64_t wait = is_first ? clock_mono() + MASTER_BIND_WAIT_MSEC * CLOCK_MSEC : 0;
	struct instance in;
	struct plan **plans = NULL;
	int r = read_instance(&in, why);

	if (r == 0) {
		add_programs(&in);
		check_give_vault(&in);
	}
	plans = mem_array(in.services.count + 1, sizeof(*plans));
	for (size_t i = 0; r == 0 && i < in.services.count; i++)
		r = plan_make(&in, i, wait, why, &plans[i]);
	if (r != 0) {
		for (size_t i = 0; i < in.services.count; i++)
			plan_drop(&plans[i]);
		instance_clear(&in);
	} else {
		master.generation++;
		if (!is_first)
			log_info("reload -- version %s, configuration %s", PACKAGE_VERSION,
				master.dir);
		instance_clear(&master.in);
		master.in = in;
		adopt_all(&master.in, plans);
	}
	mem_free(plans);
	return r;
}

int plan_load_unit(struct unit *u, struct buf *why)
{
	struct instance in;
	struct plan *p = NULL;
	int r = read_instance(&in, why);
	bool found = false;

	if (r == 0) {
		add_programs(&in);
		check_give_vault(&in);
	}
	for (size_t i = 0; r == 0 && i < in.services.count; i++) {
		if (strcmp(in.services.service[i].name, u->name) != 0 ||
			in.services.service[i].type != u->type)
			continue;
		found = true;
		r = plan_make(&in, i, 0, why, &p);
	}
	if (r == 0 && !found) {
		buf_add_fmt(
			why, "error: %s is not in master.cf any more; expected a reload\n", u->key);
		r = ERR_NOT_FOUND;
	}
	if (r == 0) {
		master.generation++;
		adopt(u, p);
	}
	instance_clear(&in);
	return r;
}

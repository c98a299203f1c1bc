/* SPDX-License-Identifier: ISC */
#include "conf/check.h"

/*
 * What vault alone is told: the password tables of every service that authenticates by table. The
 * settings of all others lose the parameter, since a table may stand in its name (inline).
 */
enum { TEXT_LIMIT = 4 << 20 };

bool check_wants_vault(const struct instance *in, size_t i)
{
	const struct service *v = &in->services.service[i];

	return !v->is_disabled && strcmp(v->program, "smtpd") == 0 &&
	       set_bool(in->settings[i], P_smtpd_sasl_auth_enable) &&
	       strcmp(set_str(in->settings[i], P_smtpd_sasl_type), "table") == 0;
}

void check_leave_out_vault(struct instance *in)
{
	bool wanted = false;

	for (size_t i = 0; i < in->services.count; i++)
		wanted = wanted || check_wants_vault(in, i);
	for (size_t i = 0; i < in->services.count; i++) {
		struct service *v = &in->services.service[i];

		if (strcmp(v->program, "vault") == 0 && v->is_implied && !wanted)
			v->is_disabled = true;
	}
}

/* A value that was expanded will be so once more. */
static void add_value(struct buf *out, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '$')
			(void)buf_add_char(out, '$');
		(void)buf_add_char(out, *text);
	}
}

static void add_service(struct buf *maps, struct buf *services, const struct instance *in, size_t i)
{
	const struct service *v = &in->services.service[i];
	const char *tables = set_str(in->settings[i], P_smtpd_sasl_password_maps);

	add_value(maps, tables);
	(void)buf_add_char(maps, ' ');
	(void)buf_add_fmt(services, "{ %s/%s { ", v->name, service_type_name(v->type));
	add_value(services, set_str(in->settings[i], P_smtpd_sasl_local_domain));
	(void)buf_add_str(services, " } { ");
	add_value(services, tables);
	(void)buf_add_str(services, " } } ");
}

void check_give_vault(struct instance *in)
{
	struct buf maps = BUF_INIT(TEXT_LIMIT), services = BUF_INIT(TEXT_LIMIT);
	struct mistakes m;

	mistakes_init(&m);
	for (size_t i = 0; i < in->services.count; i++)
		if (check_wants_vault(in, i))
			add_service(&maps, &services, in, i);
	for (size_t i = 0; i < in->services.count; i++) {
		struct conf *c = in->settings[i];

		set_override(c, slice_str(conf_name(P_smtpd_sasl_password_maps)), SLICE_NONE, NULL,
			NULL);
		if (strcmp(in->services.service[i].program, "vault") == 0) {
			set_override(c, slice_str(conf_name(P_vault_password_maps)),
				buf_slice(&maps), NULL, NULL);
			set_override(c, slice_str(conf_name(P_vault_services)),
				buf_slice(&services), NULL, NULL);
			(void)set_build(c, &m);
		}
	}
	mistakes_clear(&m);
	buf_clear(&maps);
	buf_clear(&services);
}

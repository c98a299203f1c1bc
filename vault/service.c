/* SPDX-License-Identifier: ISC */
#include "vault/service.h"

#include "conf/conf.h"
#include "conf/line.h"
#include "util/log.h"
#include "util/mem.h"
#include "vault/token.h"

enum { SERVICES_MAX = 1000 };

static struct service *services[SERVICES_MAX];
static size_t count;

/* "{ … }" off the front. */
static struct slice take_group(struct slice *rest)
{
	struct slice item;

	if (!line_item(rest, &item) || item.len < 2 || item.p[0] != '{' ||
		item.p[item.len - 1] != '}')
		log_fatal("vault_services is not as master writes it");
	return slice_trim(slice_first(slice_from(item, 1), item.len - 2));
}

static void open_service(struct slice text)
{
	struct service *v = mem_alloc(sizeof(*v));
	struct slice name, word;

	if (count == SERVICES_MAX || !line_item(&text, &name))
		log_fatal("vault_services has too many services, or one without a name");
	v->name = slice_dup(name);
	struct slice domain = take_group(&text), logins = take_group(&text),
		     chain = take_group(&text), sni = take_group(&text), relay = take_group(&text);
	bool by_sender = line_item(&text, &word) && slice_eq_str(word, "yes");
	if (slice_trim(text).len > 0)
		token_open(take_group(&text));
	if (logins.len > 0)
		v->logins = tables_open(v->name, domain, logins);
	if (chain.len > 0)
		v->chain = chain_open(chain);
	if (sni.len > 0)
		v->sni = sni_open(sni);
	if (relay.len > 0)
		v->relay = relay_open(relay, by_sender);
	services[count++] = v;
}

void service_open(void)
{
	struct slice rest = slice_str(conf_str(P_vault_services));

	while (slice_trim(rest).len > 0)
		open_service(take_group(&rest));
}

const struct service *service_of(const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(services[i]->name, name) == 0)
			return services[i];
	return NULL;
}

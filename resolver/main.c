/* SPDX-License-Identifier: ISC */
#include <fcntl.h>
#include <sys/queue.h>

#include "dns/hostsfile.h"
#include "resolver/engine.h"
#include "resolver/lookup.h"
#include "resolver/probe.h"
#include "resolver/site.h"
#include "server/server.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"

/* resolver: answers the questions of the other processes, see resolver(8). */

struct request {
	LIST_ENTRY(request) link; /* in the asker's list */
	struct ipc *to;
	uint64_t id;
	struct engine_ask ask;
	struct lookup *lookup;
	bool wants_dane;
	struct site_lookup *site;
};

enum { ASKS_HOSTS_FILE = 1 }; /* a flag of DNS_QUERY */

LIST_HEAD(request_list, request);

static struct engine *engine;
static struct resolvconf servers;
static bool configured, has_hosts;
static struct hostsfile *hosts_file; /* owned; NULL: none */

static void log_servers(void)
{
	struct buf text = BUF_INIT(1024);
	for (unsigned i = 0; i < servers.servers; i++) {
		buf_add_fmt(&text, "%s%s", i > 0 ? ", " : "", servers.server[i].text);
	}
	log_info("name servers: %s", buf_str(&text));
	buf_clear(&text);
}

static void configure(int fd)
{
	struct buf text = BUF_INIT(RESOLVCONF_SIZE_MAX);
	if (fd_read_all(fd, &text) != 0) {
		log_warning("%s: cannot be read", conf_str(P_resolver_config));
	}
	resolvconf_parse(buf_slice(&text), &servers);
	servers.trust_ad = servers.trust_ad || conf_bool(P_resolver_trust_ad);
	buf_clear(&text);
	configured = true;
	if (engine != NULL && engine_configure(engine, &servers)) {
		log_servers();
		probe_reset();
	}
}

static void take_hosts(int fd)
{
	struct buf text = BUF_INIT(HOSTSFILE_SIZE_MAX);
	if (fd_read_all(fd, &text) != 0) {
		log_warning("%s: cannot be read whole", conf_str(P_resolver_hosts_file));
	}
	hostsfile_free(&hosts_file);
	hosts_file = hostsfile_parse(buf_slice(&text));
	host_set_file(hosts_file);
	has_hosts = true;
	buf_clear(&text);
}

static void data_dir(const char *name, int fd)
{
	if (strcmp(name, conf_name(P_resolver_config)) == 0) {
		configure(fd);
	} else if (strcmp(name, conf_name(P_resolver_hosts_file)) == 0) {
		take_hosts(fd);
	}
	fd_close(&fd);
}

/* What master has not handed over is read here, while the rights are there. */
static void init(void)
{
	int fd = configured ? -1 : open(conf_str(P_resolver_config), O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		configure(fd);
		fd_close(&fd);
	} else if (!configured) {
		log_warning("%s: %s; using a name server on 127.0.0.1", conf_str(P_resolver_config),
			err_str(ERR_SYS));
		resolvconf_parse(SLICE_NONE, &servers);
		servers.trust_ad = conf_bool(P_resolver_trust_ad);
	}
	if (!has_hosts && (fd = open(conf_str(P_resolver_hosts_file), O_RDONLY | O_CLOEXEC)) >= 0) {
		take_hosts(fd);
		fd_close(&fd);
	}
}

static void start(void)
{
	engine =
		engine_new((size_t)conf_int(P_resolver_cache_limit), conf_time(P_resolver_timeout));
	(void)engine_configure(engine, &servers);
	probe_init(conf_str(P_dnssec_probe));
}

static void request_free(struct request *r)
{
	LIST_REMOVE(r, link);
	engine_cancel(&r->ask);
	lookup_free(&r->lookup);
	site_free(&r->site);
	mem_free(r);
}

static void reply(struct request *r, enum proto_msg type, struct slice value)
{
	ipc_begin(r->to, type, r->id);
	ipc_put_bytes(r->to, FIELD_VALUE, value);
	(void)ipc_end(r->to);
	request_free(r);
}

static void answered(void *arg, struct slice answer)
{
	reply(arg, PROTO_DNS_ANSWER, answer);
}

static void hosts_found(void *arg, const struct hosts *h)
{
	struct request *r = arg;
	struct buf b = BUF_INIT(HOSTS_ENCODED_MAX);
	hosts_encode(&b, h);
	r->lookup = NULL;
	if (r->wants_dane) {
		probe_run(engine);
	}
	reply(r, PROTO_DNS_HOSTS_ANSWER, buf_slice(&b));
	buf_clear(&b);
}

/* What resolver_hosts_file says, for who wants to know; empty: nothing. */
static struct slice known(const struct dns_question *q, const struct ipc_msg *msg)
{
	bool wanted = q->type == DNS_PTR || (ipc_u64(msg, FIELD_FLAGS) & ASKS_HOSTS_FILE) != 0;
	return wanted ? hostsfile_find(hosts_file, q->type, slice_str(q->name)) : SLICE_NONE;
}

static void query(struct request *r, const struct ipc_msg *msg)
{
	struct dns_question q;
	uint64_t type = ipc_u64(msg, FIELD_TYPE);
	if (type > UINT16_MAX ||
		dns_question_set(&q, (enum dns_type)type, ipc_bytes(msg, FIELD_KEY)) != 0) {
		struct buf b = BUF_INIT(64);
		dns_answer_begin(&b, DNS_NXDOMAIN, false, 0, SLICE_NONE);
		answered(r, buf_slice(&b));
		buf_clear(&b);
		return;
	}
	struct slice answer = known(&q, msg);
	if (answer.len > 0) {
		answered(r, answer);
		return;
	}
	r->ask = (struct engine_ask){.done = answered, .arg = r};
	engine_ask(engine, &q, &r->ask);
}

static void hosts(struct request *r, const struct ipc_msg *msg)
{
	unsigned flags = (unsigned)ipc_u64(msg, FIELD_FLAGS) & LOOKUP_FLAGS;
	uint16_t port = (uint16_t)ipc_u64(msg, FIELD_PORT);
	struct lookup *l = NULL;
	r->wants_dane = (flags & LOOKUP_TLSA) != 0;
	lookup_new(engine, ipc_bytes(msg, FIELD_KEY), flags, port, hosts_found, r, &l);
	if (l != NULL) {
		r->lookup = l;
	}
}

static void site_found(void *arg, int result, struct slice site, uint32_t ttl)
{
	struct request *r = arg;
	char *text = slice_dup(site);
	r->site = NULL;
	ipc_begin(r->to, PROTO_DNS_SITE_ANSWER, r->id);
	ipc_put_u64(r->to, FIELD_RESULT, result == 0 ? RESULT_OK : RESULT_DEFERRED);
	if (result == 0) {
		ipc_put_str(r->to, FIELD_SITE, text);
		ipc_put_u64(r->to, FIELD_TTL, ttl);
	}
	(void)ipc_end(r->to);
	mem_free(text);
	request_free(r);
}

static void find_site(struct request *r, const struct ipc_msg *msg)
{
	struct site_lookup *l = NULL;
	site_new(engine, ipc_bytes(msg, FIELD_NEXTHOP), site_found, r, &l);
	if (l != NULL) {
		r->site = l;
	}
}

static void peer_new(struct server_peer *peer)
{
	struct request_list *list = mem_alloc(sizeof(*list));
	LIST_INIT(list);
	peer->arg = list;
}

static void peer_msg(struct server_peer *peer, struct ipc_msg *msg)
{
	struct request *r = mem_alloc(sizeof(*r));
	r->to = peer->ipc;
	r->id = msg->id;
	LIST_INSERT_HEAD((struct request_list *)peer->arg, r, link);
	if (msg->type == PROTO_DNS_HOSTS) {
		hosts(r, msg);
	} else if (msg->type == PROTO_DNS_SITE) {
		find_site(r, msg);
	} else {
		query(r, msg);
	}
}

static void peer_gone(struct server_peer *peer)
{
	struct request_list *list = peer->arg;
	while (!LIST_EMPTY(list)) {
		request_free(LIST_FIRST(list));
	}
	mem_free(list);
}

int main(int argc, char **argv)
{
	static const struct server_spec spec = {
		.role = ROLE_RESOLVER,
		.program = PROG_RESOLVER,
		.init = init,
		.start = start,
		.data_dir = data_dir,
		.peer_new = peer_new,
		.peer_msg = peer_msg,
		.peer_gone = peer_gone,
	};
	return server_main(argc, argv, &spec);
}

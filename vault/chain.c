/* SPDX-License-Identifier: ISC */
#include "vault/chain.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "conf/line.h"
#include "conf/vault.h"
#include "net/loop.h"
#include "server/server.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mem.h"
#include "vault/arena.h"

enum { FILES_MAX = 10000, ITEMS_MAX = 64, FILE_MAX_BYTES = 1 << 20, NO_FILE = -1 };

/* A file that master handed over. It stays open, since its chain may have to be read again. */
struct file {
	char *name; /* "pem:/path" */
	int fd;
};

struct item {
	int file, key; /* indexes; key NO_FILE: the file holds keys and certificates in turn */
};

struct chain {
	LIST_ENTRY(chain) next;
	char *text; /* as in the settings */
	struct item items[ITEMS_MAX];
	size_t items_n;
	struct pem_pairs pairs, old;
	struct loop_timer again, forget;
};

static LIST_HEAD(, chain) chains = LIST_HEAD_INITIALIZER(chains);
static struct file *files[FILES_MAX];
static size_t files_n;
static bool opens_paths;
static void (*on_change)(const struct chain *c);

static const char *path_of(const struct file *f)
{
	return f->name + strlen(VAULT_FILE);
}

static int file_index(struct slice path)
{
	struct file *f = NULL;
	size_t i = 0;

	for (i = 0; i < files_n; i++)
		if (slice_eq_str(path, path_of(files[i])))
			return (int)i;
	if (files_n == FILES_MAX)
		log_fatal("there are more than %d files of chains and keys", FILES_MAX);
	f = mem_alloc(sizeof(*f));
	f->name = mem_fmt(VAULT_FILE "%.*s", SLICE_FMT(path));
	/* One that is not there is reported when it is to be read. */
	if (opens_paths)
		f->fd = open(path_of(f), O_RDONLY | O_CLOEXEC | O_NOCTTY);
	else
		(void)server_open_file(f->name, &f->fd);
	files[files_n++] = f;
	return (int)i;
}

static void add_item(struct chain *c, struct slice item)
{
	struct item *i = &c->items[c->items_n];
	struct slice file, key;

	if (c->items_n == ITEMS_MAX)
		log_fatal("a chain has more than %d files", ITEMS_MAX);
	c->items_n++;
	*i = (struct item){NO_FILE, NO_FILE};
	if (item.p[0] == '{') {
		item = slice_first(slice_from(item, 1), item.len - 2);
		if (!line_item(&item, &file) || !line_item(&item, &key))
			log_fatal("vault_services is not as master writes it");
		i->file = file_index(file);
		i->key = file_index(key);
	} else {
		i->file = file_index(item);
	}
}

static void read_again(void *arg);
static void forget_old(void *arg);

struct chain *chain_open(struct slice group)
{
	struct chain *c = NULL;
	struct slice item;

	LIST_FOREACH(c, &chains, next)
	if (slice_eq_str(group, c->text))
		return c;
	c = mem_alloc(sizeof(*c));
	c->text = slice_dup(group);
	STAILQ_INIT(&c->pairs);
	STAILQ_INIT(&c->old);
	loop_timer_init(&c->again, read_again, c);
	loop_timer_init(&c->forget, forget_old, c);
	while (line_item(&group, &item))
		add_item(c, item);
	LIST_INSERT_HEAD(&chains, c, next);
	return c;
}

/* ---- reading ---- */

/* The file in memory that nobody else sees; NULL with errno. */
static char *read_secret(int fd, size_t *len)
{
	char *text = fd >= 0 ? arena_alloc(FILE_MAX_BYTES) : NULL;
	ssize_t n = 0;

	*len = 0;
	if (text == NULL) {
		errno = fd >= 0 ? ENOMEM : ENOENT;
		return NULL;
	}
	while (*len < FILE_MAX_BYTES &&
		((n = pread(fd, text + *len, FILE_MAX_BYTES - *len, (off_t)*len)) > 0 ||
			(n < 0 && errno == EINTR)))
		*len += n > 0 ? (size_t)n : 0;
	if (n == 0)
		return text;
	if (n > 0)
		errno = EFBIG;
	arena_free(text);
	return NULL;
}

static int no_file(struct pem_reader *r, const struct file *f)
{
	(void)buf_add_fmt(&r->why, "%s: %s; expected a PEM file", path_of(f), err_str(ERR_SYS));
	return ERR_SYS;
}

static int read_item(struct pem_reader *r, const struct item *i)
{
	const struct file *f = files[i->file], *k = i->key != NO_FILE ? files[i->key] : NULL;
	size_t len = 0, key_len = 0;
	char *text = read_secret(f->fd, &len), *key = NULL;
	int err = 0;

	if (text == NULL)
		return no_file(r, f);
	if (k == NULL)
		err = pem_add(r, path_of(f), slice_of(text, len));
	else if ((key = read_secret(k->fd, &key_len)) == NULL)
		err = no_file(r, k);
	else
		err = pem_add_pair(
			r, path_of(f), slice_of(text, len), path_of(k), slice_of(key, key_len));
	arena_free(text);
	arena_free(key);
	return err;
}

static bool is_same(const struct pem_pairs *a, const struct pem_pairs *b)
{
	const struct pem_pair *p = STAILQ_FIRST(a), *q = STAILQ_FIRST(b);

	while (p != NULL && q != NULL && slice_eq(buf_slice(&p->certs), buf_slice(&q->certs))) {
		p = STAILQ_NEXT(p, next);
		q = STAILQ_NEXT(q, next);
	}
	return p == NULL && q == NULL;
}

static void log_warnings(const struct pem_reader *r)
{
	struct slice rest = buf_slice(&r->warnings), line;

	while (slice_token(&rest, "\n", &line))
		log_warning("%.*s", SLICE_FMT(line));
}

static void take(struct chain *c, struct pem_reader *r)
{
	log_warnings(r);
	if (is_same(&c->pairs, &r->pairs))
		return;
	pem_pairs_clear(&c->old);
	STAILQ_CONCAT(&c->old, &c->pairs);
	STAILQ_CONCAT(&c->pairs, &r->pairs);
	loop_timer_set(&c->forget, loop_now() + CHAIN_OLD_SECONDS * CLOCK_SEC);
	if (on_change != NULL)
		on_change(c);
}

static int read_chain(struct chain *c, struct pem_reader *r)
{
	int err = 0;

	pem_begin(r);
	for (size_t i = 0; err == 0 && i < c->items_n; i++)
		err = read_item(r, &c->items[i]);
	return err == 0 ? pem_end(r) : err;
}

int chain_check(struct slice group, struct buf *why)
{
	struct pem_reader r;
	int err = 0;

	opens_paths = true;
	err = read_chain(
		chain_open(slice_trim(slice_first(slice_from(group, 1), group.len - 2))), &r);
	(void)buf_add_slice(why, buf_slice(&r.why));
	/* The first of them is enough. */
	struct slice warnings = buf_slice(&r.warnings), line;
	if (err == 0 && slice_token(&warnings, "\n", &line))
		(void)buf_add_fmt(why, CHAIN_WARNING "%.*s", SLICE_FMT(line));
	pem_clear(&r);
	return err;
}

static void read_again(void *arg)
{
	struct chain *c = arg;
	struct pem_reader r;

	if (read_chain(c, &r) == 0) {
		log_info("%s: the new certificate is in force", path_of(files[c->items[0].file]));
		take(c, &r);
	} else {
		log_error("%s; %s", buf_str(&r.why),
			STAILQ_EMPTY(&c->pairs) ? "there is no certificate"
						: "the certificate in force stays");
	}
	pem_clear(&r);
}

static void forget_old(void *arg)
{
	struct chain *c = arg;

	pem_pairs_clear(&c->old);
}

void chain_start(void (*changed)(const struct chain *c))
{
	struct chain *c = NULL;
	struct pem_reader r;

	LIST_FOREACH(c, &chains, next)
	{
		if (read_chain(c, &r) == 0)
			take(c, &r);
		else if (server_follows())
			log_fatal("%s; what is in force stays", buf_str(&r.why));
		else
			log_error("%s; there is no certificate", buf_str(&r.why));
		pem_clear(&r);
	}
	on_change = changed;
}

static bool uses(const struct chain *c, const struct file *f)
{
	for (size_t i = 0; i < c->items_n; i++)
		if (files[c->items[i].file] == f ||
			(c->items[i].key != NO_FILE && files[c->items[i].key] == f))
			return true;
	return false;
}

void chain_file(const char *name, int fd)
{
	struct chain *c = NULL;

	for (size_t i = 0; i < files_n; i++) {
		if (strcmp(files[i]->name, name) != 0)
			continue;
		fd_close(&files[i]->fd);
		files[i]->fd = fd;
		fd = -1;
		LIST_FOREACH(c, &chains, next)
		if (uses(c, files[i]))
			loop_timer_set(&c->again, loop_now() + CHAIN_SETTLE_MSEC * CLOCK_MSEC);
	}
	fd_close(&fd);
}

/* ---- what was read ---- */

const struct pem_pairs *chain_pairs(const struct chain *c)
{
	return &c->pairs;
}

static const struct pem_pair *find(const struct pem_pairs *pairs, const uint8_t id[PEM_ID])
{
	const struct pem_pair *p = NULL;

	STAILQ_FOREACH(p, pairs, next)
	if (memcmp(p->id, id, PEM_ID) == 0)
		break;
	return p;
}

const struct pem_pair *chain_find(const struct chain *c, const uint8_t id[PEM_ID])
{
	const struct pem_pair *p = find(&c->pairs, id);

	return p != NULL ? p : find(&c->old, id);
}

bool chain_knows(const uint8_t id[PEM_ID])
{
	const struct chain *c = NULL;

	LIST_FOREACH(c, &chains, next)
	if (chain_find(c, id) != NULL)
		return true;
	return false;
}

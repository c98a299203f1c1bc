/* SPDX-License-Identifier: ISC */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf/conf.h"
#include "tools/gateq_filter.h"
#include "util/dict.h"
#include "util/err.h"
#include "util/mem.h"

/*
 * qshape, with the options and the table of Postfix's: how many recipients (with -s messages) of
 * each domain are how old. A message goes by and is forgotten; domains stay, DOMAINS of them at
 * most, beyond which only the total counts.
 */
enum {
	BUCKETS_MAX = 60,
	DOMAINS = 200000,
	NAME_MIN = 18, /* columns of a name at least */
	WIDTH = 80,
	BATCH = 1000,
	BATCH_TOP = 20
};

static const char usage[] =
	"usage: qshape [-lps] [-b bucket_count] [-c config_dir] [-m min_subdomains]\n"
	"              [-N batch_msg_count] [-n batch_top_domains] [-t bucket_time]\n"
	"              [-w terminal_width] [queue_name ...]\n";

struct domain {
	char *name;                       /* owned; a parent's begins with a dot */
	uint64_t counts[BUCKETS_MAX + 1]; /* 0: all */
	uint64_t subdomains;
};

static struct {
	bool by_sender, parents, linear;
	uint64_t min_subdomains, buckets, minutes, width, batch, top;
	char **queues;
	int64_t now;
	struct dict *domains; /* name → struct domain, owned */
	struct domain total;
	uint64_t messages;
} shape = {.min_subdomains = 5, .buckets = 10, .minutes = 5, .width = WIDTH};

/* ---- Counting. ---- */

static void domain_free(void *p)
{
	struct domain *d = p;

	mem_free(d->name);
	mem_free(d);
}

/* NULL: there are too many. */
static struct domain *find_domain(struct slice name)
{
	struct domain *d = dict_get(shape.domains, name);

	if (d != NULL)
		return d;
	d = mem_alloc(sizeof(*d));
	d->name = slice_dup(name);
	if (dict_set(shape.domains, name, d) == 0)
		return d;
	domain_free(d);
	return NULL;
}

/* From 1 on: each as long as all before it together, or (-l) all of the same length. */
static size_t bucket_of(int64_t arrival)
{
	int64_t age = shape.now - arrival;
	uint64_t units = age > 0 ? (uint64_t)age / (shape.minutes * 60 * CLOCK_SEC) : 0;
	size_t n = 1;

	if (shape.linear)
		n = units < shape.buckets ? (size_t)units + 1 : (size_t)shape.buckets;
	else
		for (; units > 0 && n < shape.buckets; units /= 2)
			n++;
	return n < shape.buckets ? n : (size_t)shape.buckets;
}

/* ".example.com" of "a.example.com" and of ".a.example.com"; none above a domain's last dot. */
static struct slice parent_of(struct slice name)
{
	struct slice rest = slice_from(name, name.p[0] == '.' ? 1 : 0);
	ptrdiff_t dot = slice_find(rest, '.');

	if (dot < 0 || slice_find(slice_from(rest, (size_t)dot + 1), '.') < 0)
		return SLICE_NONE;
	return slice_from(rest, (size_t)dot);
}

static void count_domain(struct slice name, size_t bucket)
{
	bool is_new = false;

	for (bool is_first = true; name.len > 0; is_first = false) {
		struct domain *d = find_domain(name);

		if (d == NULL)
			return;
		d->subdomains += is_new && !is_first;
		is_new = d->counts[0]++ == 0;
		d->counts[bucket]++;
		if (!shape.parents)
			return;
		name = parent_of(name);
	}
}

static void count_address(const char *address, size_t bucket)
{
	const char *domain = gateq_domain(address);
	struct buf name = BUF_INIT(2048);
	struct slice text = slice_str(domain[0] != '\0' ? domain : address);

	while (text.len > 1 && text.p[0] == '.')
		text = slice_from(text, 1);
	while (text.len > 1 && text.p[text.len - 1] == '.')
		text.len--;
	if (text.len == 0)
		(void)buf_add_str(&name, "MAILER-DAEMON");
	else
		(void)buf_add_lower(&name, text);
	shape.total.counts[0]++;
	shape.total.counts[bucket]++;
	count_domain(buf_slice(&name), bucket);
	buf_clear(&name);
}

static bool is_wanted(const char *queue)
{
	for (char **q = shape.queues; *q != NULL; q++)
		if (gateq_filter_queue(*q, queue))
			return true;
	return *shape.queues == NULL && strcmp(queue, "active") == 0;
}

/* ---- The table. ---- */

static size_t digits(uint64_t n)
{
	size_t len = 1;

	for (; n >= 10; n /= 10)
		len++;
	return len;
}

/* Columns of bucket i, and what stands above it. */
static size_t head_of(size_t i, char head[32])
{
	uint64_t limit = shape.minutes * (i == shape.buckets ? i - 1 : i);
	size_t len = digits(shape.total.counts[i]), n;

	if (!shape.linear && i > 1)
		limit = shape.minutes << (i == shape.buckets ? i - 2 : i - 1);
	if (i == 0)
		(void)snprintf(head, 32, "T");
	else
		(void)snprintf(head, 32, "%llu%s", (unsigned long long)limit,
			i == shape.buckets ? "+" : "");
	n = strlen(head);
	if (n > len)
		len = n;
	return len > 2 ? len + 1 : 3;
}

static void print_name(const char *name, size_t width)
{
	size_t len = strlen(name);

	if (len <= width)
		printf("%*s", (int)width, name);
	else if (name[0] == '.')
		printf(".+%s", name + len - (width - 2));
	else
		printf("+%s", name + len - (width - 1));
}

static int compare(const void *a, const void *b)
{
	const struct domain *x = *(struct domain *const *)a, *y = *(struct domain *const *)b;
	size_t m = strlen(x->name), n = strlen(y->name);

	if (x->counts[0] != y->counts[0])
		return x->counts[0] > y->counts[0] ? -1 : 1;
	/* The total stands above a domain that is all of it. */
	if (x == &shape.total || y == &shape.total)
		return x == &shape.total ? -1 : 1;
	if (m != n)
		return m < n ? -1 : 1;
	return strcmp(x->name, y->name);
}

struct list {
	struct domain **all;
	size_t n;
};

static bool add_domain(struct slice key, void *value, void *arg)
{
	struct list *l = arg;
	struct domain *d = value;

	(void)key;
	if (d->name[0] != '.' || d->subdomains >= shape.min_subdomains)
		l->all[l->n++] = d;
	return true;
}

static void print_table(void)
{
	struct list list = {.all = mem_array(dict_count(shape.domains) + 1, sizeof(*list.all))};
	size_t widths[BUCKETS_MAX + 1], name = (size_t)shape.width, sum = 0;
	char heads[BUCKETS_MAX + 1][32];

	list.all[list.n++] = &shape.total;
	dict_walk(shape.domains, add_domain, &list);
	qsort(list.all, list.n, sizeof(*list.all), compare);
	for (size_t i = 0; i <= shape.buckets; i++)
		sum += widths[i] = head_of(i, heads[i]);
	name = name > sum + NAME_MIN ? name - sum : NAME_MIN;
	if (shape.batch > 0 && isatty(STDOUT_FILENO))
		printf("\033[H\033[2J");
	print_name("", name);
	for (size_t i = 0; i <= shape.buckets; i++)
		printf("%*s", (int)widths[i], heads[i]);
	printf("\n");
	for (size_t k = 0; k < list.n && (shape.top == 0 || k < shape.top); k++) {
		print_name(list.all[k]->name, name);
		for (size_t i = 0; i <= shape.buckets; i++)
			printf("%*llu", (int)widths[i], (unsigned long long)list.all[k]->counts[i]);
		printf("\n");
	}
	mem_free(list.all);
}

static void take_message(const struct gateq_message *m, void *arg)
{
	size_t bucket = bucket_of(m->arrival);

	(void)arg;
	if (!is_wanted(m->queue))
		return;
	if (shape.by_sender)
		count_address(m->sender, bucket);
	else
		for (size_t i = 0; i < m->count; i++)
			count_address(m->rcpts[i].address, bucket);
	if (shape.batch > 0 && ++shape.messages % shape.batch == 0)
		print_table();
}

/* ---- The command line. ---- */

static uint64_t number(int option, const char *text, uint64_t max)
{
	uint64_t n;

	if (slice_u64(slice_str(text), 0, max, &n) != 0)
		gateq_fail(1, "fatal: -%c %s: expected a number", option, text);
	return n;
}

static void set(uint64_t *value, uint64_t to, uint64_t above)
{
	if (to > above)
		*value = to;
}

int gateq_qshape(const char *dir, int argc, char **argv)
{
	const struct gateq_backend *backend;
	int c, err;

	if (isatty(STDOUT_FILENO)) {
		shape.batch = BATCH;
		shape.top = BATCH_TOP;
	}
	while ((c = getopt(argc, argv, "lhc:psw:b:t:m:n:N:")) != -1) {
		switch (c) {
		case 'c': dir = optarg; break;
		case 's': shape.by_sender = true; break;
		case 'p': shape.parents = true; break;
		case 'l': shape.linear = true; break;
		case 'w': set(&shape.width, number(c, optarg, 10000), WIDTH); break;
		case 'b': set(&shape.buckets, number(c, optarg, BUCKETS_MAX), 0); break;
		case 't': set(&shape.minutes, number(c, optarg, 1000000), 0); break;
		case 'm': set(&shape.min_subdomains, number(c, optarg, 1000000), 0); break;
		case 'n':
			if (shape.batch > 0)
				shape.top = number(c, optarg, DOMAINS);
			break;
		case 'N':
			if (isatty(STDOUT_FILENO))
				shape.batch = number(c, optarg, UINT32_MAX);
			break;
		default: fputs(usage, stderr); return 1;
		}
	}
	shape.queues = argv + optind;
	err = gateq_open(dir, &backend);
	if (err != 0)
		gateq_fail(1, "fatal: the queue cannot be read: %s", err_str(err));
	shape.now = clock_real();
	shape.domains = dict_new(DOMAINS, domain_free);
	shape.total.name = mem_str("TOTAL");
	err = backend->list(!shape.by_sender, take_message, NULL);
	if (err == 0)
		print_table();
	dict_free(&shape.domains);
	mem_free(shape.total.name);
	gateq_direct_close();
	return err == 0 && fflush(stdout) == 0 ? 0 : 1;
}

const char *gateq_qshape_usage(void)
{
	return usage;
}

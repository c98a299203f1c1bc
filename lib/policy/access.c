/* SPDX-License-Identifier: ISC */
#include "policy/access.h"

#include "mail/address.h"
#include "util/err.h"
#include "util/mem.h"

enum { SUFFIX_MAX = 256, KEY_ROOM = MAP_KEY_LIMIT };

struct access_table {
	struct map *map;
	bool is_pattern; /* asked for whole names and addresses alone */
	/* Keys of our own that this version holds. */
	unsigned version;
	bool is_known, has_domains; /* "@domain" */
	uint8_t stars;              /* "a.b.c.*": bit n is set for n parts before the star */
	uint8_t groups;             /* the same with ':' */
	uint64_t suffixes[SUFFIX_MAX / 64]; /* lengths of what is behind "@*" */
};

int access_open(const char *spec, struct buf *why, struct access_table **out)
{
	struct map *m = NULL;
	int err = map_open(spec, why, &m);

	*out = NULL;
	if (err != 0)
		return err;
	*out = mem_alloc(sizeof(**out));
	(*out)->map = m;
	(*out)->is_pattern = map_is_pattern(m);
	return 0;
}

void access_close(struct access_table **tp)
{
	struct access_table *t = *tp;

	*tp = NULL;
	if (t == NULL)
		return;
	map_close(&t->map);
	mem_free(t);
}

const char *access_name(const struct access_table *t)
{
	return map_spec(t->map);
}

/* Which keys of our own are there. */

static unsigned count_parts(struct slice key, char between)
{
	unsigned n = 0;

	for (size_t i = 0; i < key.len; i++)
		n += key.p[i] == between;
	return n < 8 ? n : 0;
}

static bool note_key(struct slice key, struct slice value, void *arg)
{
	struct access_table *t = arg;

	(void)value;
	if (slice_starts(key, "@*")) {
		size_t n = key.len - 2;

		if (n < SUFFIX_MAX)
			t->suffixes[n / 64] |= UINT64_C(1) << (n % 64);
	} else if (slice_starts(key, "@")) {
		t->has_domains = true;
	} else if (slice_ends(key, ".*")) {
		t->stars |= (uint8_t)(1u << count_parts(key, '.'));
	} else if (slice_ends(key, ":*")) {
		t->groups |= (uint8_t)(1u << count_parts(key, ':'));
	}
	return true;
}

static void learn(struct access_table *t)
{
	struct map *m = t->map;

	if (t->is_known && t->version == map_version(m))
		return;
	t->is_known = true;
	t->version = map_version(m);
	t->has_domains = false;
	t->stars = t->groups = 0;
	memset(t->suffixes, 0, sizeof(t->suffixes));
	/* A type without entries to list has Postfix's keys alone. */
	if (!t->is_pattern)
		(void)map_walk(m, note_key, t);
}

/* One lookup. */

int access_key(struct policy_eval *e, struct access_table *t, struct slice key, bool is_whole,
	struct policy_about about, bool *found, enum restrict_result *result)
{
	struct buf *value = &e->policy->value;
	char kept[256];
	int err;

	*result = RESTRICT_DUNNO;
	if (key.len == 0 || (t->is_pattern && !is_whole))
		return 0;
	err = map_find(t->map, key, e->later, value);
	if (err == ERR_NOT_FOUND)
		return 0;
	*found = true;
	if (err == ERR_LATER)
		return err;
	if (err != 0) {
		policy_note(e, POLICY_WARNING, SLICE_NONE, "%s lookup error for \"%.*s\"",
			access_name(t), SLICE_FMT(key));
		*result = policy_reject_table(e, about);
		return 0;
	}
	/* What it says may lead to other tables, which use the same memory. */
	if (value->len < sizeof(kept)) {
		memcpy(kept, buf_str(value), value->len);
		return policy_do(e, access_name(t), key, slice_of(kept, value->len), about, result);
	}
	char *copy = slice_dup(buf_slice(value));
	err = policy_do(e, access_name(t), key, slice_str(copy), about, result);
	mem_free(copy);
	return err;
}

int access_has(struct policy_eval *e, struct access_table *t, struct slice key)
{
	return map_find(t->map, key, e->later, &e->policy->value);
}

/* Host names. */

static bool is_address(struct slice name)
{
	for (size_t i = 0; i < name.len; i++)
		if ((name.p[i] < '0' || name.p[i] > '9') && name.p[i] != '.')
			return slice_find(name, ':') >= 0;
	return true;
}

int access_domain(struct policy_eval *e, struct access_table *t, struct slice domain, bool is_whole,
	struct policy_about about, bool *found, enum restrict_result *result)
{
	bool numeric = is_address(domain);
	int err = 0;

	while (domain.len > 0) {
		ptrdiff_t dot = -1;

		err = access_key(e, t, domain, is_whole, about, found, result);
		if (err != 0 || *found || numeric || t->is_pattern)
			return err;
		dot = slice_find(slice_from(domain, 1), '.');
		if (dot < 0)
			break;
		/* "example.com", or ".example.com": parent_domain_matches_subdomains. */
		domain = slice_from(domain, (size_t)dot + (e->policy->access_parents ? 2 : 1));
		is_whole = false;
	}
	return err;
}

/* Addresses. */

/* "127.0.3.*", then "127.0.*", as far as there are such keys. */
static int find_star(struct policy_eval *e, struct access_table *t, struct slice address,
	char delim, struct policy_about about, bool *found, enum restrict_result *result)
{
	unsigned lengths = delim == '.' ? t->stars : t->groups;
	char key[64];
	int err = 0;

	for (ptrdiff_t at; err == 0 && !*found && lengths != 0 &&
			   (at = slice_find_last(address, delim)) > 0;) {
		address = slice_first(address, (size_t)at);
		if (address.len + 2 > sizeof(key) ||
			!(lengths & (1u << (count_parts(address, delim) + 1))))
			continue;
		memcpy(key, address.p, address.len);
		key[address.len] = delim;
		key[address.len + 1] = '*';
		err = access_key(e, t, slice_of(key, address.len + 2), false, about, found, result);
	}
	return err;
}

int access_address(struct policy_eval *e, struct access_table *t, struct slice address,
	struct policy_about about, bool *found, enum restrict_result *result)
{
	char delim = slice_find(address, ':') >= 0 ? ':' : '.';
	struct slice part = address;
	bool is_whole = true;
	int err = 0;

	while (err == 0 && part.len > 0) {
		ptrdiff_t at = slice_find_last(part, delim);

		err = access_key(e, t, part, is_whole, about, found, result);
		if (*found || t->is_pattern || at < 0)
			break;
		part = slice_first(part, (size_t)at);
		is_whole = false;
	}
	if (err != 0 || *found)
		return err;
	learn(t);
	return find_star(e, t, address, delim, about, found, result);
}

int access_host(struct policy_eval *e, struct access_table *t, struct slice name,
	struct slice address, struct policy_about about, bool *found, enum restrict_result *result)
{
	int err = access_domain(e, t, name, true, about, found, result);

	if (err == 0 && !*found)
		err = access_address(e, t, address, about, found, result);
	return err;
}

/* Mail addresses. */

struct mail_search {
	struct policy_eval *e;
	struct access_table *t;
	struct policy_about about;
	struct slice local, user, domain;
	bool has_extension;
	bool *found;
	enum restrict_result *result;
};

/* a@b */
static int find_joined(struct mail_search *s, struct slice a, struct slice b, bool is_whole)
{
	char key[KEY_ROOM];

	if (a.len + 1 + b.len > sizeof(key))
		return 0;
	if (a.len > 0)
		memcpy(key, a.p, a.len);
	key[a.len] = '@';
	if (b.len > 0)
		memcpy(key + a.len + 1, b.p, b.len);
	return access_key(s->e, s->t, slice_of(key, a.len + 1 + b.len), is_whole, s->about,
		s->found, s->result);
}

static int find_whole(struct mail_search *s)
{
	int err = find_joined(s, s->local, s->domain, true);

	if (err == 0 && !*s->found && s->has_extension)
		err = find_joined(s, s->user, s->domain, false);
	return err;
}

static int find_user(struct mail_search *s)
{
	int err = find_joined(s, s->local, SLICE_NONE, false);

	if (err == 0 && !*s->found && s->has_extension)
		err = find_joined(s, s->user, SLICE_NONE, false);
	return err;
}

/* "@*" and the end of the domain, longest first: lengths that no key has are left out. */
static int find_suffix(struct mail_search *s)
{
	char key[KEY_ROOM] = "@*";
	int err = 0;

	for (size_t n = s->domain.len < SUFFIX_MAX ? s->domain.len : SUFFIX_MAX - 1;
		n > 0 && err == 0 && !*s->found; n--) {
		if ((s->t->suffixes[n / 64] >> (n % 64) & 1) == 0)
			continue;
		memcpy(key + 2, s->domain.p + s->domain.len - n, n);
		err = access_key(
			s->e, s->t, slice_of(key, n + 2), false, s->about, s->found, s->result);
	}
	return err;
}

static int find_own(struct mail_search *s)
{
	int err = 0;

	learn(s->t);
	if (s->t->has_domains)
		err = find_joined(s, SLICE_NONE, s->domain, false);
	if (err == 0 && !*s->found)
		err = find_suffix(s);
	return err;
}

/*
 * "x%far@here" means x@far where here is local: it is what a table is asked for, and since it may
 * be relayed elsewhere no entry permits it as a recipient (allow_untrusted_routing).
 */
static int follow(struct policy_eval *e, struct slice *address, bool *is_routed)
{
	struct policy *p = e->policy;
	struct slice local, domain;
	enum route_class class = ROUTE_DEFAULT;
	int err;

	address_split(*address, &local, &domain);
	*is_routed = address_has_route(local, &p->rules);
	if (!*is_routed)
		return 0;
	err = route_classify(p->route, domain, e->later, &class);
	if (err == 0 && class == ROUTE_LOCAL &&
		address_follow_route(local, &p->rules, &p->followed) == 0)
		*address = buf_slice(&p->followed);
	return err;
}

static int find_mail(struct policy_eval *e, struct access_table *t, struct slice address,
	struct policy_about about, bool *found, enum restrict_result *result)
{
	struct mail_search s = {.e = e, .t = t, .about = about, .found = found, .result = result};
	struct slice extension;
	bool is_routed = false;
	int err = follow(e, &address, &is_routed);

	*result = RESTRICT_DUNNO;
	if (err != 0)
		return err;
	address_split(address, &s.local, &s.domain);
	s.has_extension =
		address_split_extension(s.local, e->policy->delimiters, &s.user, &extension);
	err = find_whole(&s);
	if (err == 0 && !*found && !t->is_pattern)
		err = access_domain(e, t, s.domain, false, about, found, result);
	if (err == 0 && !*found && !t->is_pattern)
		err = find_user(&s);
	if (err == 0 && !*found && !t->is_pattern)
		err = find_own(&s);
	if (*result == RESTRICT_OK && is_routed && !e->policy->untrusted_routing &&
		about.class == policy_recipient)
		*result = RESTRICT_DUNNO;
	return err;
}

/* In lower case also for patterns, whose $1 may stand in a reply: so does Postfix. */
int access_mail(struct policy_eval *e, struct access_table *t, struct slice address,
	struct policy_about about, bool *found, enum restrict_result *result)
{
	char text[KEY_ROOM];
	struct slice folded = slice_of(text, address.len);

	*result = RESTRICT_DUNNO;
	if (address.len > sizeof(text))
		return 0;
	for (size_t i = 0; i < address.len; i++)
		text[i] = (char)(address.p[i] >= 'A' && address.p[i] <= 'Z' ? address.p[i] | 0x20
									    : address.p[i]);
	return find_mail(e, t, folded, about, found, result);
}

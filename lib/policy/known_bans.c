/* SPDX-License-Identifier: ISC */
#include "policy/known_bans.h"

#include "util/mem.h"
#include "util/wire.h"

struct known {
	struct net_range client; /* first */
	uint8_t turn;
	int64_t until;
};

struct known_bans {
	struct range_set *set;
	uint8_t turn; /* counts the times that all of them came */
};

void known_bans_put(struct buf *out, const struct net_range *client, int64_t until)
{
	(void)buf_add(out, client, NET_RANGE_WIRE);
	wire_u64(out, (uint64_t)until);
}

struct known_bans *known_bans_new(void)
{
	struct known_bans *k = mem_alloc(sizeof(*k));

	k->set = range_set_new(sizeof(struct known), KNOWN_BANS_MAX, NULL, NULL);
	return k;
}

void known_bans_free(struct known_bans **k)
{
	if (*k != NULL)
		range_set_free(&(*k)->set);
	mem_free(*k);
	*k = NULL;
}

static void take_one(struct known_bans *k, const struct net_range *client, int64_t until)
{
	struct known *known = range_set_get(k->set, client);

	if (until == 0) {
		if (known != NULL)
			range_set_remove(k->set, known);
		return;
	}
	if (known == NULL)
		known = range_set_add(k->set, client);
	known->until = until;
	known->turn = k->turn;
}

static void forget_others(struct known_bans *k)
{
	struct known *next = NULL;

	for (struct known *known = range_set_oldest(k->set); known != NULL; known = next) {
		next = range_set_younger(k->set, known);
		if (known->turn != k->turn)
			range_set_remove(k->set, known);
	}
}

bool known_bans_take(struct known_bans *k, struct slice entries, bool first, bool last)
{
	struct net_range client = {0};
	bool any = false;

	if (first)
		k->turn++;
	while (entries.len >= KNOWN_BAN_ENTRY) {
		int64_t until = (int64_t)wire_get_u64(entries.p + NET_RANGE_WIRE);

		memcpy(&client, entries.p, NET_RANGE_WIRE);
		if (client.bits <= 128)
			take_one(k, &client, until);
		any = any || until != 0;
		entries = slice_from(entries, KNOWN_BAN_ENTRY);
	}
	if (last)
		forget_others(k);
	return any;
}

bool known_bans_has(const struct known_bans *k, const struct net_range *client, int64_t now)
{
	const struct known *known = NULL;
	int bits = 128;

	while ((known = range_set_find(k->set, client, &bits)) != NULL)
		if (known->until > now)
			return true;
	return false;
}

size_t known_bans_count(const struct known_bans *k)
{
	return range_set_count(k->set);
}

size_t known_bans_bytes(const struct known_bans *k)
{
	return range_set_bytes(k->set);
}

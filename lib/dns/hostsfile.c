/* SPDX-License-Identifier: ISC */
#include "dns/hostsfile.h"

#include <arpa/inet.h>

#include "dns/packet.h"
#include "util/dict.h"
#include "util/mem.h"

struct hostsfile {
	struct dict *answers; /* "TYPE name" → struct buf */
};

static void free_answer(void *value)
{
	struct buf *answer = value;

	buf_clear(answer);
	mem_free(answer);
}

static void make_key(struct buf *key, enum dns_type type, struct slice name)
{
	(void)buf_add_fmt(key, "%d ", (int)type);
	buf_add_lower(key, name);
}

/* One more record of that name. A PTR question has one answer. */
static void add(struct hostsfile *h, enum dns_type type, struct slice name, struct slice data)
{
	struct buf key = BUF_INIT(DNS_NAME_MAX + 16);
	struct buf *answer;

	make_key(&key, type, name);
	answer = dict_get(h->answers, buf_slice(&key));
	if (answer == NULL) {
		answer = mem_alloc(sizeof(*answer));
		buf_init(answer, DNS_ANSWER_MAX);
		dns_answer_begin(answer, DNS_OK, false, HOSTSFILE_TTL, name);
		dns_answer_add(answer, type, 0, data);
		if (dict_set(h->answers, buf_slice(&key), answer) != 0)
			free_answer(answer);
	} else if (type != DNS_PTR) {
		dns_answer_add(answer, type, 0, data);
	}
	buf_clear(&key);
}

static bool is_name(struct slice word)
{
	return word.len > 0 && word.len <= DNS_NAME_MAX && slice_is_printable(word);
}

/* "ADDRESS NAME [ALIAS ...] [# comment]" */
static void take_line(struct hostsfile *h, struct slice line)
{
	char text[INET6_ADDRSTRLEN], reverse[DNS_NAME_MAX + 1];
	unsigned char addr[16];
	ptrdiff_t comment = slice_find(line, '#');
	struct slice word, data;
	bool is_v4;

	if (comment >= 0)
		line = slice_first(line, (size_t)comment);
	if (!slice_token(&line, " \t\r", &word) || word.len >= sizeof(text))
		return;
	memcpy(text, word.p, word.len);
	text[word.len] = '\0';
	is_v4 = inet_pton(AF_INET, text, addr) == 1;
	if (!is_v4 && inet_pton(AF_INET6, text, addr) != 1)
		return;
	data = slice_of(addr, is_v4 ? 4 : 16);
	(void)dns_reverse_name(data, reverse);
	for (bool first = true; slice_token(&line, " \t\r", &word); first = false) {
		if (!is_name(word))
			continue;
		if (first)
			add(h, DNS_PTR, slice_str(reverse), word);
		add(h, is_v4 ? DNS_A : DNS_AAAA, word, data);
	}
}

struct hostsfile *hostsfile_parse(struct slice text)
{
	struct hostsfile *h = mem_alloc(sizeof(*h));
	struct slice line;

	h->answers = dict_new(HOSTSFILE_NAMES_MAX, free_answer);
	while (slice_part(&text, '\n', &line))
		take_line(h, line);
	return h;
}

void hostsfile_free(struct hostsfile **hp)
{
	struct hostsfile *h = *hp;

	*hp = NULL;
	if (h == NULL)
		return;
	dict_free(&h->answers);
	mem_free(h);
}

struct slice hostsfile_find(const struct hostsfile *h, enum dns_type type, struct slice name)
{
	struct buf key = BUF_INIT(DNS_NAME_MAX + 16);
	const struct buf *answer;

	make_key(&key, type, name);
	answer = h != NULL && !buf_failed(&key) ? dict_get(h->answers, buf_slice(&key)) : NULL;
	buf_clear(&key);
	return answer != NULL ? buf_slice(answer) : SLICE_NONE;
}

/* SPDX-License-Identifier: ISC */
#include "queue/dump.h"

#include <fcntl.h>
#include <inttypes.h>

#include "queue/envelope.h"
#include "queue/file.h"
#include "queue/id.h"
#include "queue/log.h"
#include "queue/segment.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/wire.h"

static void put_time(FILE *out, int64_t real)
{
	struct buf b = BUF_INIT(64);

	clock_add_ctime(&b, real);
	fprintf(out, "%s", buf_str(&b));
	buf_clear(&b);
}

static void put_text(FILE *out, const char *name, struct slice s)
{
	struct buf b = BUF_INIT(4096);

	if (s.len == 0)
		return;
	log_quote(&b, s, 2048);
	fprintf(out, " %s=%s", name, buf_str(&b));
	buf_clear(&b);
}

static void put_number(FILE *out, const char *name, uint64_t v)
{
	if (v != 0)
		fprintf(out, " %s=%" PRIu64, name, v);
}

static void put_generation(FILE *out, const uint8_t generation[QUEUE_GENERATION])
{
	fprintf(out, " generation=%02x%02x%02x%02x", generation[0], generation[1], generation[2],
		generation[3]);
}

static void put_event(FILE *out, const struct queue_event *ev)
{
	static const uint8_t none[QUEUE_GENERATION];

	put_time(out, ev->time);
	fprintf(out, " %s", queue_event_name((enum queue_event_type)ev->type));
	put_text(out, "id", ev->id);
	put_number(out, "no", ev->no);
	for (uint32_t i = 0; i < queue_event_rcpt_count(ev); i++)
		fprintf(out, "%s%" PRIu32, i == 0 ? " recipients=" : ",", queue_event_rcpt(ev, i));
	put_text(out, "dsn", ev->dsn);
	put_text(out, "host", ev->host);
	put_text(out, "text", ev->text);
	put_text(out, "other", ev->other);
	put_number(out, "reason", ev->reason);
	if (ev->type == QUEUE_EV_MOVED)
		fprintf(out, " to=%s", queue_place_name((enum queue_place)ev->place));
	if (ev->due != 0) {
		fprintf(out, " due=");
		put_time(out, ev->due);
	}
	put_number(out, "segment", ev->segment);
	if (memcmp(ev->generation, none, QUEUE_GENERATION) != 0)
		put_generation(out, ev->generation);
	put_number(out, "offset", ev->offset);
	put_number(out, "data", ev->data.len);
	fprintf(out, "\n");
}

static void put_envelope(FILE *out, struct slice bytes)
{
	struct queue_envelope env;
	struct queue_recipient r;
	uint32_t offset = 0, index = 0;
	int err = queue_envelope_decode(bytes, &env);

	if (err != 0) {
		fprintf(out, "  envelope: %s\n", err_str(err));
		return;
	}
	fprintf(out, "  envelope:");
	put_text(out, "id", env.id);
	fprintf(out, " from=<%.*s>", SLICE_FMT(env.sender));
	put_number(out, "size", env.size);
	put_number(out, "header", env.header_len);
	put_number(out, "body_file", env.body_len);
	fprintf(out, " flags=%#" PRIx32, env.flags);
	put_text(out, "client", env.client_name);
	put_text(out, "address", env.client_addr);
	put_text(out, "service", env.service);
	put_text(out, "parent", env.parent);
	put_number(out, "reason", env.reason);
	fprintf(out, "\n");
	while (queue_recipient_next(&env, &offset, &index, &r)) {
		fprintf(out, "  recipient %" PRIu32 ":", r.index);
		put_text(out, "to", r.address);
		put_text(out, "orig_to", r.orig_to);
		put_text(out, "transport", r.transport);
		put_text(out, "nexthop", r.nexthop);
		put_number(out, "notify", r.notify);
		put_number(out, "flags", r.flags);
		fprintf(out, "\n");
	}
}

static int dump_segment(const struct queue_root *root, uint32_t number, FILE *out)
{
	struct queue_segment s;
	struct queue_record rec;
	struct slice payload;
	uint64_t at, gap;
	int err = queue_segment_open(root, number, &s);

	if (err != 0 && err != ERR_CORRUPT)
		return err;
	fprintf(out, "segment %08" PRIX32, number);
	if (err == ERR_CORRUPT) {
		fprintf(out, ": no good head\n");
		queue_segment_close(&s);
		return 0;
	}
	put_generation(out, s.generation);
	fprintf(out, " size=%" PRIu64 " %s\n", s.size,
		s.state == QUEUE_SEGMENT_FREE ? "free" : "in use");
	at = queue_segment_begin(&s);
	while ((err = queue_record_next(&s, &at, queue_segment_end(&s), false, &rec, &gap)) == 0) {
		if (gap > 0)
			fprintf(out, "bad bytes before %" PRIu64 "\n", rec.ref.offset);
		fprintf(out,
			"record %" PRIu32 " offset=%" PRIu64 " id=%s envelope=%" PRIu32
			" content=%" PRIu32 " durable=%" PRIu64 "\n",
			rec.ref.seq, rec.ref.offset, rec.id, rec.ref.envelope_len, rec.content_len,
			rec.durable);
		err = queue_record_payload(&s, &rec, rec.ref.length, false, &payload);
		if (err != 0)
			fprintf(out, "  payload: %s\n", err_str(err));
		else
			put_envelope(out, slice_first(payload, rec.ref.envelope_len));
	}
	queue_segment_close(&s);
	return err == ERR_NOT_FOUND ? 0 : err;
}

static int dump_piece(const struct queue_root *root, int slot, FILE *out)
{
	struct queue_log_piece p;
	struct queue_event ev;
	uint64_t at = QUEUE_BLOCK;
	int err = queue_piece_read(root, slot, &p);

	if (err == ERR_CORRUPT)
		fprintf(out, "piece: no good head (a spare)\n");
	if (err != 0)
		return err == ERR_CORRUPT ? 0 : err;
	fprintf(out, "piece %" PRIu32 " follows=%" PRIu32 " up to %" PRIu64 "\n", p.number, p.prev,
		p.prev_end);
	while (queue_piece_next(
		       slice_of(p.bytes, (size_t)p.size), p.generation, UINT64_MAX, &at, &ev) == 0)
		put_event(out, &ev);
	fprintf(out, "end at %" PRIu64 "\n", at);
	mem_free(p.bytes);
	return 0;
}

static int dump_file(
	const struct queue_root *root, enum queue_place place, struct slice id, FILE *out)
{
	struct queue_file f;
	struct queue_event ev;
	uint32_t last_no = 0;
	int err = queue_file_read(root, place, id, true, &f);

	if (err == ERR_CORRUPT || err == ERR_RANGE)
		fprintf(out, "%.*s: %s\n", SLICE_FMT(id), err_str(err));
	if (err != 0)
		return err == ERR_CORRUPT || err == ERR_RANGE ? 0 : err;
	fprintf(out, "message %.*s envelope=%zu content=%zu\n", SLICE_FMT(id), f.envelope.len,
		f.content.len);
	put_envelope(out, f.envelope);
	while (queue_file_event_next(&f, &last_no, &ev))
		put_event(out, &ev);
	if (f.is_torn)
		fprintf(out, "bad bytes behind the last event\n");
	queue_file_clear(&f);
	return 0;
}

int queue_dump(const struct queue_root *root, const char *path, FILE *out)
{
	struct slice rest = slice_str(path), first, last;
	ptrdiff_t slash = slice_find_last(rest, '/');
	uint64_t slot;

	if (slash == -1)
		return ERR_SYNTAX;
	first = slice_first(rest, (size_t)slice_find(rest, '/'));
	last = slice_from(rest, (size_t)slash + 1);
	if (slice_eq_str(first, "incoming") && queue_segment_number(last.p) != 0)
		return dump_segment(root, queue_segment_number(last.p), out);
	if (slice_eq_str(first, "log") && last.len == 8 && slice_ends(last, ".piece")) {
		for (slot = 0; slot < QUEUE_PIECE_SLOTS; slot++) {
			char name[32];

			queue_piece_path((int)slot, name);
			if (slice_eq_str(rest, name))
				return dump_piece(root, (int)slot, out);
		}
	}
	for (int place = QUEUE_PLACE_DEFERRED; place < QUEUE_PLACES; place++) {
		if (slice_eq_str(first, queue_place_name((enum queue_place)place)) &&
			queue_id_is_valid(last))
			return dump_file(root, (enum queue_place)place, last, out);
	}
	return ERR_SYNTAX;
}

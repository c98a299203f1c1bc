/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "local/content.h"
#include "mail/address.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/hash.h"
#include "util/mem.h"
#include "util/wire.h"

enum { ROOM = 65536, BLOCK = 65536 };

/* CRLF becomes LF; in an mbox a line that begins with "From " gets '>' in front. */
struct writer {
	int fd, err;
	size_t len;
	uint64_t written;
	bool quotes, has_cr;
	int from; /* bytes of "From " held back at the begin of this line; -1: it is another line */
	char last;
	char room[ROOM];
};

static void flush(struct writer *w)
{
	if (w->err == 0)
		w->err = fd_write_full(w->fd, w->room, w->len);
	w->written += w->len;
	w->len = 0;
}

static void put(struct writer *w, char c)
{
	if (w->len == ROOM)
		flush(w);
	w->room[w->len++] = w->last = c;
}

static void put_text(struct writer *w, struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		put(w, s.p[i]);
}

static const char from[] = "From ";

static void put_byte(struct writer *w, char c)
{
	if (w->quotes && w->from >= 0) {
		if (c == from[w->from]) {
			if (from[++w->from] != '\0')
				return;
			put_text(w, SLICE_LIT(">From "));
			w->from = -1;
			return;
		}
		put_text(w, slice_of(from, (size_t)w->from));
		w->from = -1;
	}
	put(w, c);
	if (c == '\n')
		w->from = 0;
}

static void put_content(struct writer *w, struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		bool is_cr = s.p[i] == '\r';
		if (w->has_cr && s.p[i] != '\n')
			put_byte(w, '\r');
		w->has_cr = is_cr;
		if (!is_cr)
			put_byte(w, s.p[i]);
	}
}

/* The last line gets its end, whatever the message had. */
static void end_content(struct writer *w)
{
	if (w->has_cr)
		put_byte(w, '\r');
	if (w->quotes && w->from > 0)
		put_text(w, slice_of(from, (size_t)w->from));
	if (w->last != '\n')
		put(w, '\n');
}

static bool is_block_good(const struct job *j, uint64_t n, struct slice block)
{
	struct slice sums = buf_slice(&j->body_sums);
	if ((n + 1) * 4 > sums.len)
		return true;
	return wire_get_u32(sums.p + n * 4) == crc32c(0, block.p, block.len);
}

static int put_body(struct writer *w, const struct job *j)
{
	char *block = mem_alloc(BLOCK);
	uint64_t at = 0;
	int r = 0;
	while (r == 0 && w->err == 0 && at < j->body_size) {
		size_t want = j->body_size - at < BLOCK ? (size_t)(j->body_size - at) : BLOCK,
		       got = 0;
		while (got < want) {
			ssize_t n = pread(j->body_fd, block + got, want - got,
				(off_t)(j->body_offset + at + got));
			if (n <= 0)
				break;
			got += (size_t)n;
		}
		if (got < want || !is_block_good(j, at / BLOCK, slice_of(block, got)))
			r = ERR_CORRUPT;
		else
			put_content(w, slice_of(block, got));
		at += got;
	}
	mem_free(block);
	return r;
}

/* "NAME: ADDRESS" with what stands around the address. */
static void put_address(
	struct writer *w, const char *before, const char *address, const char *behind)
{
	struct buf line = BUF_INIT(4096);
	buf_add_str(&line, before);
	address_add_external(&line, slice_str(address));
	buf_add_str(&line, behind);
	put_text(w, buf_slice(&line));
	buf_clear(&line);
}

/* "From SENDER  Sat Nov 21 10:00:00 2026" */
static void put_from_line(struct writer *w, const struct job *j)
{
	char date[64] = "";
	char behind[80];
	time_t now = (time_t)(clock_real() / CLOCK_SEC);
	struct tm tm;
	if (localtime_r(&now, &tm) != NULL)
		strftime(date, sizeof(date), "%a %b %e %H:%M:%S %Y", &tm);
	snprintf(behind, sizeof(behind), "  %s\n", date);
	put_address(w, "From ", j->sender, j->sender[0] != '\0' ? behind : "MAILER-DAEMON");
	if (j->sender[0] == '\0')
		put_text(w, slice_str(behind));
}

int content_write(const struct job *j, const struct job_rcpt *r, const struct content_style *style,
	int fd, uint64_t *size)
{
	struct writer *w = mem_alloc(sizeof(*w));
	w->fd = fd;
	w->quotes = style->is_mbox;
	if (style->is_mbox)
		put_from_line(w, j);
	put_address(w, "Return-Path: <", j->sender, ">\n");
	if (style->has_delivered_to) {
		put_address(
			w, "X-Original-To: ", r->orig_to != NULL ? r->orig_to : r->address, "\n");
		put_address(w, "Delivered-To: ", r->address, "\n");
	}
	put_content(w, buf_slice(&j->content));
	int err = j->body_fd >= 0 ? put_body(w, j) : 0;
	end_content(w);
	if (style->is_mbox)
		put(w, '\n');
	int saved = errno;
	flush(w);
	if (err == 0 && w->err != 0) {
		saved = errno;
		err = ERR_SYS;
	}
	*size = w->written;
	mem_free(w);
	errno = saved;
	return err;
}

unsigned content_count_delivered(const struct job *j, const char *recipient)
{
	struct buf external = BUF_INIT(4096);
	struct slice rest = slice_first(buf_slice(&j->content), j->header_len), line;
	unsigned count = 0;
	address_add_external(&external, slice_str(recipient));
	while (slice_part(&rest, '\n', &line)) {
		if (!slice_case_starts(line, "Delivered-To:"))
			continue;
		struct slice value = slice_trim(slice_from(line, strlen("Delivered-To:")));
		count += slice_case_eq(value, buf_slice(&external)) ||
			 slice_case_eq_str(value, recipient);
	}
	buf_clear(&external);
	return count;
}

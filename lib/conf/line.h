/* SPDX-License-Identifier: ISC */
#ifndef CONF_LINE_H
#define CONF_LINE_H

#include "conf/mistake.h"
#include "util/buf.h"

/*
 * Logical lines of main.cf and master.cf: a line that begins with white space goes on with the one
 * before; empty lines and lines whose first other character is '#' are skipped, also in between.
 * Where each byte of a logical line stood is remembered.
 */
enum { LINE_FILE_LIMIT = 4 << 20 };

struct line_piece {
	size_t offset; /* of this piece in the text */
	unsigned line, column;
};

struct line_pieces {
	struct line_piece *piece; /* owned */
	size_t count;
};

struct line_reader {
	struct slice rest; /* of the file */
	unsigned line;     /* number of the next line */
	struct buf text;   /* the logical line */
	struct line_pieces pieces;
};

/* The whole file into out. ERR_SYS, ERR_LIMIT. */
int line_read_file(const char *path, struct buf *out);

/* The same; a file that cannot be read is a mistake. */
int line_read_text(const char *path, struct buf *out, struct mistakes *m);
/* A file with a NUL character is none of ours: ERR_SYNTAX, and a mistake where it stands. */
int line_check_text(struct slice file, const char *path, struct mistakes *m);

void line_init(struct line_reader *r, struct slice file);
void line_clear(struct line_reader *r);
/* The next logical line in r->text; false at the end. */
bool line_next(struct line_reader *r);

/* Line and column of a byte. */
void line_place(const struct line_pieces *p, size_t offset, unsigned *line, unsigned *column);
/* The pieces of the part that begins at offset (to keep with a value); owned. */
struct line_pieces line_part(const struct line_pieces *p, size_t offset);
void line_pieces_clear(struct line_pieces *p);

/*
 * The next item of a list: separated by commas and white space; what stands in { } is not split,
 * however deep. False at the end; an unclosed brace makes the rest one item.
 */
bool line_item(struct slice *rest, struct slice *item);
/* The next word, parted by white space alone; "{ … }" is one. False at the end. */
bool line_word(struct slice *rest, struct slice *word);
/* Whether each { has its }. */
bool line_is_balanced(struct slice s);

#endif

/* SPDX-License-Identifier: ISC */
#include <stdio.h>

#include "ipc/proto.h"

/* Prints gatepost-ipc(5) from the rows of proto.def. */

static const char head[] =
	".\\\" SPDX-License-Identifier: ISC\n"
	".\\\" Made from lib/ipc/proto.def: edit that.\n"
	".Dd November 21, 2026\n"
	".Dt GATEPOST-IPC 5\n"
	".Os\n"
	".Sh NAME\n"
	".Nm gatepost-ipc\n"
	".Nd the protocol between the processes of Gatepost\n"
	".Sh DESCRIPTION\n"
	"The processes of\n"
	".Xr gatepost 7\n"
	"speak frames over pairs of connected UNIX stream sockets, which\n"
	".Xr master 8\n"
	"makes and hands out.\n"
	"A peer's role is what master said, never what the peer says.\n"
	".Pp\n"
	"message\n"
	"number\n"
	"(1), type (1), length (2) and bytes.\n"
	"A frame has at most 65,536 bytes and one descriptor.\n"
	".Pp\n"
	"A message is an\n"
	".Em event ,\n"
	"gives\n"
	"allow\n"
	"closes the connection, as does an unknown, missing, oversized or foreign\n"
	"field.\n"
	"Messages marked\n"
	".Em counted\n"
	"use up credit: a request begins with 262,144 bytes of it, messages marked\n"
	".Em grants\n"
	"give more.\n"
	"dropped\n"
	"until its message marked\n"
	".Em last .\n"
	".Pp\n"
	"Below, a field marked ? may be left out, one marked * may come any number\n"
	"of times.\n"
	".Sh MESSAGES\n";

static const char tail[] = ".Sh SEE ALSO\n"
			   ".Xr gatepost-queue 5 ,\n"
			   ".Xr gatepost 7 ,\n"
			   ".Xr master 8\n";

/* Running text, broken at blanks: mdoc source lines are short. */
static void print_text(const char *before, struct slice text, const char *after)
{
	size_t column = strlen(before);
	const char *sep = "";
	struct slice word;

	fputs(before, stdout);
	while (slice_token(&text, " ", &word)) {
		if (column + word.len > 72) {
			sep = "\n";
			column = 0;
		}
		printf("%s%.*s", sep, SLICE_FMT(word));
		column += word.len + 1;
		sep = " ";
	}
	printf("%s\n", after);
}

/* A row of proto_describe: number, name, from, to, kind, fields, text; split by tabs. */
static void print_row(struct slice row)
{
	struct slice part[7];

	for (int i = 0; i < 6; i++)
		slice_part(&row, '\t', &part[i]);
	part[6] = row;
	printf(".It %.*s Sy %.*s\n", SLICE_FMT(part[0]), SLICE_FMT(part[1]));
	print_text("From ", part[2], "");
	print_text("to ", part[3], ",");
	print_text("", part[4], ".");
	print_text(".br\n", part[6], ".");
	if (part[5].len > 0)
		print_text(".br\nFields: ", part[5], ".");
}

int main(void)
{
	struct buf rows = BUF_INIT(1 << 20);
	struct slice rest, row;

	fputs(head, stdout);
	fputs(".Bl -tag -width 4n\n", stdout);
	proto_describe(&rows);
	rest = buf_slice(&rows);
	while (slice_token(&rest, "\n", &row))
		print_row(row);
	fputs(".El\n", stdout);
	fputs(tail, stdout);
	buf_clear(&rows);
	return ferror(stdout) != 0;
}

/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <string.h>

#include "queue/dump.h"
#include "util/err.h"

static int usage(FILE *out)
{
	fprintf(out, "usage: queue-dump queue_directory file ...\n"
		     "file is below queue_directory: log/00.piece, incoming/00000001.segment,\n"
		     "deferred/1F/0A2B3C4D51F\n");
	return out == stdout ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct queue_root root;
	int status = 0;

	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return usage(stdout);
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		printf("queue-dump (Gatepost)\n");
		return 0;
	}
	if (argc < 3)
		return usage(stderr);
	if (queue_root_open(argv[1], &root) != 0) {
		fprintf(stderr, "queue-dump: %s: %s\n", argv[1], err_str(ERR_SYS));
		return 1;
	}
	for (int i = 2; i < argc; i++) {
		int err = queue_dump(&root, argv[i], stdout);

		if (err == 0)
			continue;
		fprintf(stderr, "queue-dump: %s: %s\n", argv[i],
			err == ERR_SYNTAX ? "not a file of the queue" : err_str(err));
		status = 1;
	}
	queue_root_close(&root);
	return status;
}

/* SPDX-License-Identifier: ISC */

/*
 * A main for fuzz targets without libFuzzer: runs the corpus and speaks TAP, so that each parser
 * meets its corpus in "make check". Every file is parsed whole and, up to PREFIX_MAX bytes, cut off
 * at each length, each time from memory of exactly that size.
 *
 * To add a target NAME:
 *  1. t/fuzz/NAME_fuzz.c defines LLVMFuzzerTestOneInput (t/fuzz/fuzz.h; t/fuzz/base64_fuzz.c is an
 *     example).
 *  2. t/fuzz/corpus/NAME/ gets a few small files, good and bad input, one per case the parser
 *     knows. They are found and distributed by themselves.
 *  3. The local.mk of the parser's folder gets
 *        FUZZ_TARGETS += t/fuzz/NAME_fuzz
 *        t_fuzz_NAME_fuzz_LDADD = $(FUZZ_MAIN) lib/FOLDER/libFOLDER.a ... $(BSD_LIBS)
 *
 * The corpus runs as t/fuzz/NAME_fuzz without arguments, or over the files and directories given.
 * To search for new input, in a build directory of its own:
 *        ../configure CC=clang --enable-fuzzers --enable-sanitizers && make
 *        mkdir new; t/fuzz/NAME_fuzz -max_total_time=60 new ../t/fuzz/corpus/NAME
 * What it finds broken goes into the corpus with the fix.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "t/fuzz/fuzz.h"
#include "t/tap.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

#define INPUT_MAX ((size_t)16 << 20)
#define PREFIX_MAX 2048

static void run_exactly(struct slice in)
{
	/* Not mem_dup: its NUL behind the copy would hide a read over the end. */
	char *copy = mem_array(in.len, 1);

	if (in.len > 0)
		memcpy(copy, in.p, in.len);
	LLVMFuzzerTestOneInput((const uint8_t *)copy, in.len);
	mem_free(copy);
}

static struct slice input;

static void run_input(void)
{
	run_exactly(input);
	for (size_t len = 0; len < input.len && len < PREFIX_MAX; len++)
		run_exactly(slice_first(input, len));
}

/* In a child, so that a crash names its file and the others still run. */
static void run_file(const char *path)
{
	struct buf in = BUF_INIT(INPUT_MAX);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r = fd >= 0 ? fd_read_all(fd, &in) : ERR_SYS;
	char text[4096];

	if (r < 0) {
		fail("%s: %s", path, err_str(r));
	} else {
		input = buf_slice(&in);
		if (!is_int(tap_child(run_input, text, sizeof(text)), 0, "%s", path))
			diag("%s", text);
	}
	fd_close(&fd);
	buf_clear(&in);
}

static int visible(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

static void run_directory(const char *path)
{
	struct dirent **names = NULL;
	int n = scandir(path, &names, visible, alphasort);

	ok(n > 0, "a corpus in %s", path);
	for (int i = 0; i < n; i++) {
		char *file = mem_fmt("%s/%s", path, names[i]->d_name);

		run_file(file);
		mem_free(file);
		mem_free(names[i]);
	}
	mem_free(names);
}

static void run_path(const char *path)
{
	struct stat st;

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		run_directory(path);
	else
		run_file(path);
}

int main(int argc, char **argv)
{
	struct slice name = slice_str(program_invocation_short_name);
	const char *top = getenv("GP_SRC");
	char *corpus = NULL;

	for (int i = 1; i < argc; i++)
		run_path(argv[i]);
	if (argc > 1)
		return done_testing();
	if (!slice_ends(name, "_fuzz"))
		bail_out("the program is not named NAME_fuzz");
	name = slice_first(name, name.len - strlen("_fuzz"));
	corpus = mem_fmt("%s/t/fuzz/corpus/%.*s", top != NULL ? top : "..", SLICE_FMT(name));
	run_path(corpus);
	mem_free(corpus);
	return done_testing();
}

/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "conf/conf.h"
#include "map/nss.h"
#include "map/spec.h"
#include "tools/gatemap.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

struct gatemap_options gatemap_options = {
	.fold = true, .as_owner = true, .source_mode = true, .nul = true, .utf8 = true};
char gatemap_why[4096];

static const char *program = "gatemap";
const char *gatemap_config_dir;
static bool is_conf_loaded;

__attribute__((format(printf, 2, 0))) static void say(
	const char *grade, const char *fmt, va_list ap)
{
	struct buf text = BUF_INIT(65536);
	char line[4096];
	vsnprintf(line, sizeof(line), fmt, ap);
	log_quote(&text, slice_str(line), sizeof(line));
	fflush(stdout);
	fprintf(stderr, "%s: %s: %s\n", program, grade, buf_str(&text));
	buf_clear(&text);
}

void gatemap_warning(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	say("warning", fmt, ap);
	va_end(ap);
}

void gatemap_fatal(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	say("fatal", fmt, ap);
	va_end(ap);
	exit(1);
}

static const char usage_text[] =
	"usage: %s [-%s] [-c config_dir] [-d key] [-q key] [file_type:]file_name...";

static const char help_text[] =
	"\n"
	"  (no option)      build the table from its source\n"
	"  -q, --query KEY  print the value of KEY; of each key on standard input for -\n"
	"  -s, --list       print all entries\n"
	"  -d, --delete KEY delete KEY; each key on standard input for -\n"
	"  -i, --incremental  add entries from standard input to the table\n"
	"  -r, --replace    a later entry replaces an earlier one with the same key\n"
	"  -w, --no-warning no warning about duplicate keys\n"
	"  -A, --aliases    the source has alias syntax (name: value, ...)\n"
	"  -F, --files      values are the content of the files that they name\n"
	"  -f, --no-fold    keys keep upper case\n"
	"  -h, --headers    with -q -: keys are the header fields of a message\n"
	"  -b, --body       with -q -: keys are the lines of its body\n"
	"  -m, --mime       with -h or -b: its parts have headers and bodies, too\n"
	"  -N, -n           store a null byte behind keys and values (default), or none\n"
	"  -o, --as-root    stay root when the source is another user's\n"
	"  -p, --public     do not take the permissions of the source\n"
	"  -U, -u           the source must be UTF-8 (default), or need not\n"
	"  -j, --json       print entries as JSON, one object a line\n"
	"  -c, --config DIR configuration directory\n"
	"  -v               accepted without effect\n"
	"  --help, --version\n";

static const char *letters(void)
{
	if (strcmp(program, "postalias") == 0 || strcmp(program, "newaliases") == 0)
		return "NfijnoprsUuvw";
	return strcmp(program, "postmap") == 0 ? "bFfhijmNnoprsUuvw" : "AbFfhijmNnoprsUuvw";
}

_Noreturn static void usage(void)
{
	gatemap_fatal(usage_text, program, letters());
}

_Noreturn static void help(void)
{
	printf(usage_text, program, letters());
	puts(help_text);
	exit(0);
}

/* main.cf is read when something of it is needed, so that a mistake in it stops no other use. */
static const char *setting(enum param p)
{
	struct buf why = BUF_INIT(65536);
	if (!is_conf_loaded && conf_load(gatemap_config_dir, NULL, &why) != 0) {
		fprintf(stderr, "%s\n", buf_str(&why));
		gatemap_fatal("%s/main.cf cannot be used", gatemap_config_dir);
	}
	is_conf_loaded = true;
	buf_clear(&why);
	return conf_str(p);
}

/* "type:name", with the default type where none stands. */
static char *spec_of(const char *argument)
{
	struct slice s = spec_without_proxy(slice_str(argument));
	if (slice_find(s, ':') > 0)
		return slice_dup(s);
	return mem_fmt("%s:%.*s", setting(P_default_database_type), SLICE_FMT(s));
}

static int open_file(const char *spec, int *fd)
{
	struct buf path = BUF_INIT(4096);
	int r = map_spec_path(spec, &path);
	if (r == 0) {
		*fd = open(buf_str(&path), O_RDONLY | O_CLOEXEC);
		r = *fd >= 0 ? 0 : errno == ENOENT ? ERR_NOT_FOUND : ERR_SYS;
		if (r != 0)
			(void)snprintf(gatemap_why, sizeof(gatemap_why), "open database %s: %s",
				buf_str(&path), strerror(errno));
	}
	buf_clear(&path);
	return r;
}

static int ask_nss(const char *spec, struct slice key, struct later *l, struct buf *value)
{
	(void)l;
	return map_nss_find(slice_from(slice_str(spec), strlen("unix:")), key, value);
}

/* The type and path of "hash:/etc/aliases" in place. */
static void split_spec(char *spec, const char **type, const char **path)
{
	char *colon = strchr(spec, ':');
	*colon = '\0';
	*type = spec;
	*path = colon + 1;
}

static int build_all(char **arguments)
{
	for (; *arguments != NULL; arguments++) {
		const char *type, *path;
		char *spec = spec_of(*arguments);
		split_spec(spec, &type, &path);
		gatemap_build(type, path);
		mem_free(spec);
	}
	return 0;
}

static int remove_from_all(char **arguments, const char *key)
{
	bool found = false;
	for (; *arguments != NULL; arguments++) {
		const char *type, *path;
		char *spec = spec_of(*arguments);
		split_spec(spec, &type, &path);
		found |= gatemap_remove(type, path, key);
		mem_free(spec);
	}
	return found ? 0 : 1;
}

static int query_all(char **arguments, size_t count, const char *key)
{
	char **specs = mem_array(count, sizeof(char *));
	for (size_t i = 0; i < count; i++)
		specs[i] = spec_of(arguments[i]);
	bool found = gatemap_query((const char *const *)specs, count, key);
	for (size_t i = 0; i < count; i++)
		mem_free(specs[i]);
	mem_free(specs);
	return found ? 0 : 1;
}

static int list_all(char **arguments)
{
	for (; *arguments != NULL; arguments++) {
		char *spec = spec_of(*arguments);
		gatemap_list(spec);
		mem_free(spec);
	}
	return 0;
}

/* newaliases: builds what alias_database names. */
static int build_aliases(void)
{
	struct slice rest = slice_str(setting(P_alias_database)), token;
	while (spec_token(&rest, &token)) {
		char *argument = slice_dup(token);
		char *arguments[] = {argument, NULL};
		build_all(arguments);
		mem_free(argument);
	}
	return 0;
}

enum { OPTION_HELP = 1000, OPTION_VERSION };

static const struct option long_options[] = {{"query", required_argument, NULL, 'q'},
	{"list", no_argument, NULL, 's'}, {"delete", required_argument, NULL, 'd'},
	{"incremental", no_argument, NULL, 'i'}, {"replace", no_argument, NULL, 'r'},
	{"no-warning", no_argument, NULL, 'w'}, {"aliases", no_argument, NULL, 'A'},
	{"no-fold", no_argument, NULL, 'f'}, {"as-root", no_argument, NULL, 'o'},
	{"public", no_argument, NULL, 'p'}, {"json", no_argument, NULL, 'j'},
	{"files", no_argument, NULL, 'F'}, {"headers", no_argument, NULL, 'h'},
	{"body", no_argument, NULL, 'b'}, {"mime", no_argument, NULL, 'm'},
	{"config", required_argument, NULL, 'c'}, {"help", no_argument, NULL, OPTION_HELP},
	{"version", no_argument, NULL, OPTION_VERSION}, {NULL, 0, NULL, 0}};

struct task {
	const char *query, *removal;
	bool lists;
};

static void take_option(int c, struct task *task)
{
	struct gatemap_options *o = &gatemap_options;
	switch (c) {
	case 'A': o->aliases = true; break;
	case 'F': o->files = true; break;
	case 'N': o->nul = true; break;
	case 'n': o->nul = false; break;
	case 'b': o->body = true; break;
	case 'c': gatemap_config_dir = optarg; break;
	case 'd': task->removal = optarg; break;
	case 'f': o->fold = false; break;
	case 'h': o->headers = true; break;
	case 'i': o->incremental = true; break;
	case 'j': o->json = true; break;
	case 'm': o->mime = true; break;
	case 'o': o->as_owner = false; break;
	case 'p': o->source_mode = false; break;
	case 'q': task->query = optarg; break;
	case 'r': o->replace = true; break;
	case 's': task->lists = true; break;
	case 'U': o->utf8 = o->utf8_message = true; break;
	case 'u': o->utf8 = false; break;
	case 'v': break;
	case 'w': o->quiet_duplicates = true; break;
	case OPTION_HELP: help();
	case OPTION_VERSION: puts(PACKAGE_STRING); exit(0);
	default: usage();
	}
}

static void check_task(const struct task *task)
{
	struct gatemap_options *o = &gatemap_options;
	if ((task->query != NULL) + (task->removal != NULL) + task->lists > 1)
		gatemap_fatal("specify only one of -s -q or -d");
	if ((o->headers || o->body || o->mime) &&
		(task->query == NULL || strcmp(task->query, "-") != 0))
		gatemap_fatal("specify -b -h or -m only with \"-q -\"");
	if (o->mime && !o->headers && !o->body) {
		gatemap_warning("ignoring -m option without -b or -h");
		o->mime = false;
	}
}

static void read_options(int argc, char **argv, struct task *task)
{
	char accepted[64];
	int c;
	(void)snprintf(accepted, sizeof(accepted), "%sc:d:q:", letters());
	while ((c = getopt_long(argc, argv, accepted, long_options, NULL)) != -1)
		take_option(c, task);
	check_task(task);
}

int main(int argc, char **argv)
{
	struct task task = {0};
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
	if (argc > 0)
		program = slash != NULL ? slash + 1 : argv[0];
	gatemap_config_dir = conf_default_dir();
	gatemap_options.aliases =
		strcmp(program, "postalias") == 0 || strcmp(program, "newaliases") == 0;
	read_options(argc, argv, &task);
	log_init(program, NULL);
	log_set_level(LOG_LEVEL_NONE);
	map_set_opener(open_file);
	map_set_asker(ask_nss);
	gatemap_peers_init();
	map_set_folding(gatemap_options.fold);
	int status = 0;
	if (strcmp(program, "newaliases") == 0)
		status = build_aliases();
	else if (optind >= argc)
		usage();
	else if (task.query != NULL)
		status = query_all(argv + optind, (size_t)(argc - optind), task.query);
	else if (task.removal != NULL)
		status = remove_from_all(argv + optind, task.removal);
	else if (task.lists)
		status = list_all(argv + optind);
	else
		status = build_all(argv + optind);
	if (fflush(stdout) != 0)
		gatemap_fatal("cannot write: %s", strerror(errno));
	return status;
}

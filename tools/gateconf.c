/* SPDX-License-Identifier: ISC */
#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf/conf.h"
#include "tools/gateconf.h"
#include "tls/about.h"
#include "tools/json.h"
#include "util/err.h"
#include "util/mem.h"

enum { VALUE_LIMIT = 1 << 20, FOLD_COLUMN = 80 };

const char *gateconf_name = "gateconf";

static const char usage[] =
	"usage: gateconf [-c DIR] [-dfhHnx] [-o name=value] [name ...]\n"
	"       gateconf [-c DIR] -e name=value ...\n"
	"       gateconf [-c DIR] -X | -# name ...\n"
	"       gateconf [-c DIR] -M [-f] [name[/type] ...]\n"
	"       gateconf [-c DIR] -F [name[/type[/field]] ...]\n"
	"       gateconf [-c DIR] -P [name[/type[/parameter]] ...]\n"
	"       gateconf [-c DIR] -M | -F | -P -e name/type[/...]=value ...\n"
	"       gateconf [-c DIR] -M | -P -X name/type[/parameter] ...\n"
	"       gateconf [-c DIR] -M -# name/type ...\n"
	"       gateconf [-c DIR] -b | -t [template_file]\n"
	"       gateconf -a | -A | -l | -m | -T MODE\n"
	"  -c, --config DIR  configuration directory\n"
	"  -d, --defaults    defaults, whatever main.cf says\n"
	"  -n, --set         only what main.cf sets\n"
	"  -x, --expand      values with every $name replaced\n"
	"  -o, --override NAME=VALUE  as if main.cf said so\n"
	"  -h, --no-name     values alone; -H, --no-value: names alone\n"
	"  -f, --fold        fold long lines\n"
	"  -e, --edit        change main.cf; -X, --remove; -#, --comment\n"
	"  -C CLASS          builtin, service, user or all parameters\n"
	"  -M, --master      lines of master.cf; -P, --options: their -o\n"
	"  -F, --fields      their fields\n"
	"  -j, --json        JSON, one object a line\n"
	"  -m, --types       table types; -l: ways to lock a mailbox\n"
	"  -b, --bounce      what notices begin with; -t, --templates: with each $name\n"
	"  -T, --about compile-version|run-version|public-key-algorithms\n"
	"                    the TLS library\n"
	"  -a, -A            SASL implementations, server and client\n"
	"  -q, --quiet       no word about names that nothing uses\n"
	"  -p, -v            accepted without effect\n"
	"  --help, --version\n";

static void print_json(const char *name, struct slice value)
{
	struct buf text = BUF_INIT(VALUE_LIMIT);
	struct slice word;

	while (slice_token(&value, " \t\r\n", &word)) {
		buf_add_str(&text, text.len != 0 ? " " : "");
		buf_add_slice(&text, word);
	}
	putchar('{');
	json_member("name", slice_str(name), true);
	json_member("value", buf_slice(&text), false);
	puts("}");
	buf_clear(&text);
}

void gateconf_print(const struct gateconf *g, const char *name, struct slice value)
{
	struct buf line = BUF_INIT(VALUE_LIMIT + 1000);
	struct slice word;
	size_t column = 0;

	if (g->json) {
		print_json(name, value);
		return;
	}
	if (!g->no_name)
		buf_add_str(&line, name);
	if (!g->no_name && !g->no_value)
		buf_add_str(&line, " =");
	column = line.len;
	while (!g->no_value && slice_token(&value, " \t\r\n", &word)) {
		bool folds = g->fold && column > 0 && column + 1 + word.len > FOLD_COLUMN;

		if (line.len != 0)
			buf_add_str(&line, folds ? "\n    " : " ");
		buf_add_slice(&line, word);
		column = folds ? 4 + word.len : column + 1 + word.len;
	}
	puts(buf_str(&line));
	buf_clear(&line);
}

static void print_types(void)
{
	static const char *const types[] = {
#define M(type, is_supported) is_supported ? #type : NULL,
#include "conf/table_types.def"
#undef M
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		if (types[i] != NULL)
			puts(types[i]);
	}
}

static void print_words(const char *const *words)
{
	for (; *words != NULL; words++)
		puts(*words);
}

/* -C: 0, or the name is none. */
static int take_class(struct gateconf *g, const char *text)
{
	static const struct {
		const char *name;
		unsigned class;
	} known[] = {{"builtin", GATECONF_BUILTIN}, {"service", GATECONF_SERVICE},
		{"user", GATECONF_USER}, {"all", GATECONF_ALL}};
	struct slice rest = slice_str(text), word;
	unsigned class;

	g->classes = 0;
	while (slice_token(&rest, ", \t", &word)) {
		class = 0;
		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			if (slice_case_eq_str(word, known[i].name))
				class = known[i].class;
		if (class == 0) {
			fprintf(stderr, "%s: fatal: unknown -C option value \"%.*s\" in \"%s\"\n",
				gateconf_name, SLICE_FMT(word), text);
			return 1;
		}
		g->classes |= class;
	}
	return 0;
}

static int wrong_usage(void)
{
	if (strcmp(gateconf_name, "postconf") == 0)
		fputs("postconf: fatal: usage: postconf [-aAbdefFhHjlmMnpPqtvxX#] [-c config_dir] "
		      "[-C class] [-o name=value] [name...]\n",
			stderr);
	else
		fputs(usage, stderr);
	return 1;
}

static int show(struct gateconf *g, const char *const *overrides, char **names)
{
	struct conf *c = conf_new(g->defaults ? GP_SYSCONFDIR : g->dir);
	struct slice name, value;

	if (!g->defaults)
		set_read_main(c, &g->mistakes);
	/* A directory that was named is a setting, as in Postfix. */
	if (!g->defaults && strcmp(g->dir, GP_SYSCONFDIR) != 0)
		set_override(c, SLICE_LIT("config_directory"), slice_str(g->dir), NULL, NULL);
	for (; *overrides != NULL; overrides++) {
		if (set_split(slice_str(*overrides), &name, &value) == 0)
			set_override(c, name, value, NULL, NULL);
	}
	set_build(c, &g->mistakes);
	gateconf_list(g, c, names);
	conf_free(&c);
	return 0;
}

static bool wants_edit(const struct gateconf *g, char **names)
{
	return g->edit || g->remove || g->comment ||
	       (*names != NULL && strchr(*names, '=') != NULL && !g->defaults && !g->only_set);
}

/* What goes together with nothing else: 0, or the one option that is too many was named. */
static int is_alone(const struct gateconf *g, char option, bool has_override)
{
	const struct {
		bool is_given;
		char option;
	} others[] = {{g->defaults, 'd'}, {g->edit, 'e'}, {g->fold, 'f'}, {g->master_fields, 'F'},
		{g->no_name, 'h'}, {g->no_value, 'H'}, {g->json, 'j'}, {g->master, 'M'},
		{g->only_set, 'n'}, {has_override, 'o'}, {g->master_params, 'P'}, {g->expand, 'x'},
		{g->remove, 'X'}, {g->comment, '#'}, {option == 'T' && g->bounce, 'b'},
		{option == 'T' && g->bounce_source, 't'}};

	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		if (others[i].is_given) {
			fprintf(stderr, "%s: fatal: with option -%c, do not specify -%c\n",
				gateconf_name, option, others[i].option);
			return 1;
		}
	return 0;
}

static int print_about(const char *mode)
{
	const char *kind;

	if (strcmp(mode, "compile-version") == 0) {
		puts(tls_about_compiled());
	} else if (strcmp(mode, "run-version") == 0) {
		puts(tls_about_running());
	} else if (strcmp(mode, "public-key-algorithms") == 0) {
		for (unsigned i = 0; (kind = tls_about_key_kind(i)) != NULL; i++)
			puts(kind);
	} else {
		fprintf(stderr, "%s: warning: unknown 'postconf -T' mode: %s\n", gateconf_name,
			mode);
		return 1;
	}
	return 0;
}

static int run_bounce(struct gateconf *g, char **names)
{
	int r;

	if (g->bounce && g->bounce_source) {
		fprintf(stderr, "%s: fatal: specify one of -b and -t\n", gateconf_name);
		return 1;
	}
	mistakes_init(&g->mistakes);
	r = gateconf_bounce(g, names);
	fwrite(buf_str(&g->mistakes.text), 1, g->mistakes.text.len, stderr);
	mistakes_clear(&g->mistakes);
	return r;
}

static int run(struct gateconf *g, const char *const *overrides, char **names)
{
	char *path = mem_fmt("%s/main.cf", g->dir);
	int modes = g->master + g->master_fields + g->master_params, r = 0;

	g->overrides = overrides;

	if (g->about != NULL) {
		r = is_alone(g, 'T', *overrides != NULL);
		r = r != 0 ? r : print_about(g->about);
	} else if (g->bounce || g->bounce_source) {
		r = is_alone(g, g->bounce ? 'b' : 't', *overrides != NULL);
		r = r != 0 ? r : run_bounce(g, names);
	} else if (modes > 1) {
		fprintf(stderr, "%s: fatal: specify one of%s%s%s\n", gateconf_name,
			g->master_fields ? " -F" : "", g->master ? " -M" : "",
			g->master_params ? " -P" : "");
		r = 1;
	} else if (modes > 0 && (g->only_set || g->defaults)) {
		fprintf(stderr, "%s: fatal: with option -%c, do not specify -%c\n", gateconf_name,
			g->master_fields ? 'F'
			: g->master      ? 'M'
					 : 'P',
			g->defaults ? 'd' : 'n');
		r = 1;
	} else if (modes > 0 && wants_edit(g, names)) {
		g->edit = !g->remove && !g->comment;
		r = gateconf_service(g, names);
	} else if (modes > 0) {
		r = gateconf_master(g, names);
	} else if (!g->defaults && access(path, R_OK) != 0) {
		fprintf(stderr, "%s: fatal: open %s: %s\n", gateconf_name, path, err_str(ERR_SYS));
		r = 1;
	} else if (wants_edit(g, names)) {
		r = gateconf_edit(g, names);
	} else {
		mistakes_init(&g->mistakes);
		r = show(g, overrides, names);
		if (g->mistakes.errors != 0 || g->mistakes.warnings != 0)
			fwrite(buf_str(&g->mistakes.text), 1, g->mistakes.text.len, stderr);
		mistakes_clear(&g->mistakes);
	}
	mem_free(path);
	return r;
}

enum { GO_ON = -1 };

/* What is asked for; the exit status when that is all, GO_ON else. */
static int take_options(int argc, char **argv, struct gateconf *g, const char **overrides)
{
	static const struct option options[] = {{"help", no_argument, NULL, 1},
		{"version", no_argument, NULL, 2}, {"config", required_argument, NULL, 'c'},
		{"defaults", no_argument, NULL, 'd'}, {"edit", no_argument, NULL, 'e'},
		{"fold", no_argument, NULL, 'f'}, {"no-name", no_argument, NULL, 'h'},
		{"no-value", no_argument, NULL, 'H'}, {"set", no_argument, NULL, 'n'},
		{"override", required_argument, NULL, 'o'}, {"expand", no_argument, NULL, 'x'},
		{"remove", no_argument, NULL, 'X'}, {"comment", no_argument, NULL, '#'},
		{"master", no_argument, NULL, 'M'}, {"options", no_argument, NULL, 'P'},
		{"fields", no_argument, NULL, 'F'}, {"quiet", no_argument, NULL, 'q'},
		{"types", no_argument, NULL, 'm'}, {"json", no_argument, NULL, 'j'},
		{"bounce", no_argument, NULL, 'b'}, {"templates", no_argument, NULL, 't'},
		{"about", required_argument, NULL, 'T'}, {0}};
	static const char *const servers[] = {"dovecot", "table", NULL};
	static const char *const locks[] = {"flock", "fcntl", "dotlock", NULL};
	size_t count = 0;
	int c = 0;

	while ((c = getopt_long(argc, argv, "#aAbc:C:deFfhHjlmMno:pPqtT:vxX", options, NULL)) !=
		-1) {
		switch (c) {
		case 1: fputs(usage, stdout); return 0;
		case 2: puts(PACKAGE_STRING); return 0;
		case '#': g->comment = true; break;
		case 'a': print_words(servers); return 0;
		/* What smtp-client knows by itself has no name to choose. */
		case 'A': return 0;
		case 'b': g->bounce = true; break;
		case 'c': g->dir = optarg; break;
		case 'C':
			if (take_class(g, optarg) != 0)
				return 1;
			break;
		case 'd': g->defaults = true; break;
		case 'e': g->edit = true; break;
		case 'F': g->master_fields = true; break;
		case 'f': g->fold = true; break;
		case 'h': g->no_name = true; break;
		case 'H': g->no_value = true; break;
		case 'j': g->json = true; break;
		case 'l': print_words(locks); return 0;
		case 'm': print_types(); return 0;
		case 'M': g->master = true; break;
		case 'n': g->only_set = true; break;
		case 'o': overrides[count++] = optarg; break;
		case 'P': g->master_params = true; break;
		case 'q': g->quiet = true; break;
		case 'p':
		case 'v': break;
		case 't': g->bounce_source = true; break;
		case 'T':
			if (g->about != NULL) {
				fprintf(stderr,
					"%s: fatal: At most one -T <mode> option may be "
					"specified\n",
					gateconf_name);
				return 1;
			}
			g->about = optarg;
			break;
		case 'x': g->expand = true; break;
		case 'X': g->remove = true; break;
		default: return wrong_usage();
		}
	}
	return GO_ON;
}

int main(int argc, char **argv)
{
	struct gateconf g = {.dir = conf_default_dir(), .classes = GATECONF_ALL};
	const char **overrides = mem_array((size_t)argc + 1, sizeof(*overrides));

	gateconf_name = strrchr(argv[0], '/') != NULL ? strrchr(argv[0], '/') + 1 : argv[0];
	int r = take_options(argc, argv, &g, overrides);
	if (r == GO_ON)
		r = run(&g, overrides, argv + optind);
	mem_free(overrides);
	return r;
}

/* SPDX-License-Identifier: ISC */
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>

#include "conf/master_cf.h"
#include "util/err.h"
#include "util/mem.h"

enum { COLUMNS = 8 };

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static const struct {
	const char *command, *program;
	enum command_kind kind;
	int flags;
} commands[] = {
#define C(command, program, kind, flags) {command, program, COMMAND_##kind, flags},
#include "conf/services.def"
#undef C
};

static const char *const type_names[] = {"inet", "unix", "fifo", "pass", "unix-dgram"};

/* What every instance has. */
static const struct {
	const char *name, *command;
	bool is_private;
} needed[] = {
	{"cleanup", "cleanup", false},
	{"qmgr", "qmgr", false},
	{"resolver", "resolver", true},
	{"tally", "tally", true},
	{"nss", "nss", true},
	{"vault", "vault", true},
	{"smtp", "smtp-client", true},
	{"relay", "smtp-client", true},
	{"lmtp", "lmtp", true},
	{"local", "local", true},
	{"virtual", "virtual", true},
	{"discard", "discard", true},
	{"error", "error", true},
	{"retry", "retry", true},
	{"sendmail", "smtpd", false},
};

static const struct {
	const char *name;
	uint16_t port;
} ports[] = {{"lmtp", 24}, {"smtp", 25}, {"smtps", 465}, {"submissions", 465}, {"submission", 587}};

/* One line while it is read. */
struct parse {
	struct services *s;
	struct mistakes *m;
	const struct line_reader *line;
	struct slice text; /* the line */
	struct slice rest; /* of it */
	struct service v;
	bool failed;
};

const char *service_type_name(enum service_type type)
{
	return type_names[type];
}

static struct place place_of(const struct parse *p, struct slice at)
{
	struct place where = {.path = p->s->path};

	line_place(&p->line->pieces, at.p != NULL ? (size_t)(at.p - p->text.p) : 0, &where.line,
		&where.column);
	return where;
}

#define MISTAKE(p, at, ...) mistakes_error((p)->m, place_of(p, at), __VA_ARGS__), (p)->failed = true

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void service_clear(struct service *v)
{
	mem_free(v->name);
	mem_free(v->command);
	for (size_t i = 0; i < v->options; i++) {
		mem_free(v->option[i].name);
		mem_free(v->option[i].value);
		line_pieces_clear(&v->option[i].pieces);
	}
	for (size_t i = 0; i < v->arguments; i++)
		mem_free(v->argument[i]);
	mem_free(v->option);
	mem_free(v->argument);
	*v = (struct service){0};
}

void services_clear(struct services *s)
{
	for (size_t i = 0; i < s->count; i++)
		service_clear(&s->service[i]);
	mem_free(s->service);
	mem_free(s->path);
	*s = (struct services){0};
}

static int find_port(struct slice name, uint16_t *port)
{
	uint64_t number = 0;
	char *text = NULL;
	const struct servent *known = NULL;

	if (slice_u64(name, 1, 65535, &number) == 0) {
		*port = (uint16_t)number;
		return 0;
	}
	for (size_t i = 0; i < COUNT(ports); i++) {
		if (slice_eq_str(name, ports[i].name)) {
			*port = ports[i].port;
			return 0;
		}
	}
	text = slice_dup(name);
	known = getservbyname(text, "tcp");
	mem_free(text);
	*port = known != NULL ? ntohs((uint16_t)known->s_port) : 0;
	return known != NULL ? 0 : ERR_SYNTAX;
}

int service_split_address(struct slice name, struct slice *host, uint16_t *port)
{
	ptrdiff_t colon = slice_find_last(name, ':');

	*host = SLICE_NONE;
	if (colon >= 0) {
		*host = slice_first(name, (size_t)colon);
		name = slice_from(name, (size_t)colon + 1);
	}
	if (host->len >= 2 && host->p[0] == '[' && host->p[host->len - 1] == ']')
		*host = slice_first(slice_from(*host, 1), host->len - 2);
	return find_port(name, port);
}

static void parse_type(struct parse *p)
{
	struct slice word = SLICE_NONE;
	size_t i = 0;

	line_word(&p->rest, &word);
	while (i < COUNT(type_names) && !slice_eq_str(word, type_names[i]))
		i++;
	if (i == COUNT(type_names))
		MISTAKE(p, word,
			"service type \"%.*s\"; expected inet, unix, fifo, pass or unix-dgram",
			SLICE_FMT(word));
	p->v.type = (enum service_type)i;
}

/* y, n or '-'. */
static bool parse_choice(struct parse *p, const char *column, bool fallback)
{
	struct slice word = SLICE_NONE;

	line_word(&p->rest, &word);
	if (slice_eq_str(word, "-"))
		return fallback;
	if (!slice_eq_str(word, "y") && !slice_eq_str(word, "n"))
		MISTAKE(p, word, "%s is \"%.*s\"; expected y, n or -", column, SLICE_FMT(word));
	return slice_eq_str(word, "y");
}

static void parse_wakeup(struct parse *p)
{
	struct slice word = SLICE_NONE, number;
	uint64_t seconds = 0;

	line_word(&p->rest, &word);
	number = slice_ends(word, "?") ? slice_first(word, word.len - 1) : word;
	if (!slice_eq_str(word, "-") && slice_u64(number, 0, INT_MAX, &seconds) != 0)
		MISTAKE(p, word, "wakeup time is \"%.*s\"; expected seconds or -", SLICE_FMT(word));
}

static void parse_maxproc(struct parse *p)
{
	struct slice word = SLICE_NONE;
	uint64_t number = 0;

	line_word(&p->rest, &word);
	p->v.maxproc = -1;
	if (slice_eq_str(word, "-"))
		return;
	if (slice_u64(word, 0, INT_MAX, &number) != 0)
		MISTAKE(p, word, "process limit is \"%.*s\"; expected a number or -",
			SLICE_FMT(word));
	p->v.maxproc = (int64_t)number;
}

static void unknown_command(struct parse *p, struct slice word)
{
	const char *nearest = NULL;
	unsigned best = UINT_MAX;

	for (size_t i = 0; i < COUNT(commands); i++) {
		unsigned d = param_distance(word, slice_str(commands[i].command));

		if (commands[i].kind != COMMAND_UNNEEDED && d < best) {
			best = d;
			nearest = commands[i].command;
		}
	}
	if (nearest != NULL && param_is_near(best, word.len))
		MISTAKE(p, word, "unknown command \"%.*s\"; expected \"%s\"", SLICE_FMT(word),
			nearest);
	else
		MISTAKE(p, word, "unknown command \"%.*s\"; expected one of master.cf(5)",
			SLICE_FMT(word));
}

static void parse_command(struct parse *p)
{
	struct slice word = SLICE_NONE;
	size_t i = 0;

	line_word(&p->rest, &word);
	while (i < COUNT(commands) && !slice_eq_str(word, commands[i].command))
		i++;
	if (i == COUNT(commands)) {
		unknown_command(p, word);
		return;
	}
	p->v.command = slice_dup(word);
	p->v.program = commands[i].program;
	p->v.kind = commands[i].kind;
	p->v.is_lmtp = (commands[i].flags & COMMAND_LMTP) != 0;
	if (p->v.kind == COMMAND_MISSING)
		mistakes_warning(p->m, place_of(p, word),
			"command \"%.*s\" is not supported; expected %s, the service is not "
			"started",
			SLICE_FMT(word),
			slice_eq_str(word, "postscreen") ? "smtpd, which does its work"
							 : "another");
}

static struct slice unbrace(struct slice word)
{
	if (word.len >= 2 && word.p[0] == '{' && word.p[word.len - 1] == '}')
		return slice_trim(slice_first(slice_from(word, 1), word.len - 2));
	return word;
}

static void add_option(struct parse *p, struct slice text)
{
	struct slice name, value;
	struct service_option *o = NULL;

	text = unbrace(text);
	if (set_split(text, &name, &value) != 0) {
		MISTAKE(p, text, "\"%.*s\" behind -o; expected name=value", SLICE_FMT(text));
		return;
	}
	p->v.option = mem_resize(p->v.option, p->v.options + 1, sizeof(*o));
	o = &p->v.option[p->v.options++];
	*o = (struct service_option){.name = slice_dup(name),
		.value = slice_dup(value),
		.pieces = line_part(&p->line->pieces,
			(size_t)((value.len != 0 ? value.p : name.p) - p->text.p))};
	line_place(&p->line->pieces, (size_t)(name.p - p->text.p), &o->line, &o->column);
}

static void add_argument(struct service *v, struct slice word)
{
	v->argument = mem_resize(v->argument, v->arguments + 1, sizeof(*v->argument));
	v->argument[v->arguments++] = slice_dup(word);
}

/* Options of ours and Postfix's: -o, -v, -D and, for smtp-client, -l. */
static void parse_arguments(struct parse *p)
{
	struct slice word, value;

	while (line_word(&p->rest, &word)) {
		if (word.p[0] == '{' && word.p[word.len - 1] != '}')
			MISTAKE(p, word, "a \"{\" without its \"}\"; expected { … }");
		else if (slice_eq_str(word, "-o") && line_word(&p->rest, &value))
			add_option(p, value);
		else if (slice_eq_str(word, "-o"))
			MISTAKE(p, word, "-o at the end; expected name=value behind it");
		else if (slice_starts(word, "-o"))
			add_option(p, slice_from(word, 2));
		else if (slice_starts(word, "-v"))
			p->v.verbose = true;
		else if (slice_eq_str(word, "-D"))
			continue;
		else if (slice_eq_str(word, "-l") &&
			 slice_eq_str(slice_str(p->v.program), "smtp-client"))
			p->v.is_lmtp = true;
		else if (p->v.kind == COMMAND_WORKER)
			MISTAKE(p, word, "%s \"%.*s\"; expected %s",
				word.p[0] == '-' ? "option" : "argument", SLICE_FMT(word),
				word.p[0] == '-'
					? "-o name=value or -v"
					: "-o { name = value } where blanks belong to the value");
		else
			add_argument(&p->v, unbrace(word));
	}
}

static bool is_same(const struct service *a, const struct service *b)
{
	return a->type == b->type && strcmp(a->name, b->name) == 0;
}

static void add_service(struct services *s, const struct service *v)
{
	s->service = mem_resize(s->service, s->count + 1, sizeof(*v));
	s->service[s->count++] = *v;
}

static void check_service(struct parse *p, struct slice name)
{
	struct service *v = &p->v;
	struct slice host;
	uint16_t port = 0;

	for (size_t i = 0; i < p->s->count; i++) {
		if (is_same(&p->s->service[i], v))
			MISTAKE(p, name,
				"service %s/%s is listed again; expected it once, it stands in "
				"line %u",
				v->name, type_names[v->type], p->s->service[i].line);
	}
	if (v->type == SERVICE_INET && service_split_address(name, &host, &port) != 0)
		MISTAKE(p, name, "\"%s\" is no address; expected a port or host:port", v->name);
	if (v->type != SERVICE_INET && (strchr(v->name, '/') != NULL || v->name[0] == '.'))
		MISTAKE(p, name, "\"%s\" is no name of a socket; expected one without \"/\"",
			v->name);
	if (v->kind == COMMAND_WORKER && v->type == SERVICE_INET &&
		strcmp(v->program, "smtpd") != 0)
		MISTAKE(p, name, "%s does not serve a port; expected type unix", v->command);
}

static unsigned count_words(struct slice rest)
{
	struct slice word;
	unsigned n = 0;

	while (line_word(&rest, &word))
		n++;
	return n;
}

static void read_line(struct services *s, const struct line_reader *line, struct mistakes *m)
{
	struct parse p = {.s = s, .m = m, .line = line, .text = buf_slice(&line->text)};
	struct slice name = SLICE_NONE;

	p.rest = p.text;
	if (is_blank(p.text.p[0])) {
		MISTAKE(&p, p.text,
			"the first line begins with a blank; expected a service's name");
		return;
	}
	if (count_words(p.text) < COLUMNS) {
		MISTAKE(&p, SLICE_NONE,
			"too few columns; expected name, type, private, unprivileged, chroot, "
			"wakeup, maxproc and command");
		return;
	}
	line_word(&p.rest, &name);
	p.v.name = slice_dup(name);
	line_place(&line->pieces, 0, &p.v.line, &p.v.column);
	parse_type(&p);
	if (!p.failed) {
		p.v.is_private = parse_choice(&p, "private", true);
		parse_choice(&p, "unprivileged", true);
		parse_choice(&p, "chroot", false);
		parse_wakeup(&p);
		parse_maxproc(&p);
	}
	if (!p.failed)
		parse_command(&p);
	if (!p.failed) {
		parse_arguments(&p);
		check_service(&p, name);
	}
	if (p.failed || p.v.kind == COMMAND_UNNEEDED)
		service_clear(&p.v);
	else
		add_service(s, &p.v);
}

/* A service of that name, or, where one is enough, one with that program. */
static bool has_needed(const struct services *s, const char *name, size_t command)
{
	for (size_t i = 0; i < s->count; i++) {
		const struct service *v = &s->service[i];

		if (v->type != SERVICE_INET && strcmp(v->name, name) == 0)
			return true;
		if ((commands[command].flags & COMMAND_SINGLE_SERVICE) != 0 &&
			strcmp(v->program, commands[command].program) == 0)
			return true;
	}
	return false;
}

static void add_needed(struct services *s)
{
	for (size_t i = 0; i < COUNT(needed); i++) {
		struct service v = {.type = SERVICE_UNIX, .maxproc = -1, .is_implied = true};
		size_t c = 0;

		while (strcmp(commands[c].command, needed[i].command) != 0)
			c++;
		if (has_needed(s, needed[i].name, c))
			continue;
		v.name = mem_str(needed[i].name);
		v.command = mem_str(needed[i].command);
		v.program = commands[c].program;
		v.kind = commands[c].kind;
		v.is_lmtp = (commands[c].flags & COMMAND_LMTP) != 0;
		v.is_private = needed[i].is_private;
		add_service(s, &v);
	}
}

/* master_service_disable: type, or name/type as Postfix writes it. */
static void disable(struct services *s, const struct conf *main)
{
	struct slice rest = slice_str(set_str(main, P_master_service_disable)), item;

	while (line_item(&rest, &item)) {
		for (size_t i = 0; i < s->count; i++) {
			struct service *v = &s->service[i];
			char *full = mem_fmt("%s/%s", v->name, type_names[v->type]);

			if (slice_eq_str(item, full) || slice_eq_str(item, type_names[v->type]))
				v->is_disabled = true;
			mem_free(full);
		}
	}
}

void services_read_text(struct services *s, const struct conf *main, const char *path,
	struct slice text, struct mistakes *m)
{
	struct line_reader r;

	*s = (struct services){.path = mem_str(path)};
	if (line_check_text(text, s->path, m) == 0) {
		line_init(&r, text);
		while (line_next(&r))
			read_line(s, &r, m);
		line_clear(&r);
	}
	add_needed(s);
	disable(s, main);
}

void services_read(struct services *s, const struct conf *main, struct mistakes *m)
{
	char *path = mem_fmt("%s/master.cf", set_str(main, P_config_directory));
	struct buf file = BUF_INIT(LINE_FILE_LIMIT);

	(void)line_read_text(path, &file, m);
	services_read_text(s, main, path, buf_slice(&file), m);
	buf_clear(&file);
	mem_free(path);
}

const struct service *services_find(const struct services *s, struct slice name)
{
	ptrdiff_t slash = slice_find_last(name, '/');
	struct slice type = SLICE_NONE;
	const struct service *other = NULL;

	if (slash >= 0) {
		type = slice_from(name, (size_t)slash + 1);
		name = slice_first(name, (size_t)slash);
	}
	for (size_t i = 0; i < s->count; i++) {
		const struct service *v = &s->service[i];

		if (!slice_eq_str(name, v->name))
			continue;
		if (type.len != 0 ? slice_eq_str(type, type_names[v->type])
				  : v->type == SERVICE_INET)
			return v;
		if (type.len == 0 && other == NULL)
			other = v;
	}
	return other;
}

struct conf *service_settings(
	const struct services *s, const struct service *v, const struct conf *main)
{
	struct conf *c = set_copy(main);

	set_override(c, SLICE_LIT("service_name"), slice_str(v->name), NULL, NULL);
	set_override(c, SLICE_LIT("process_name"), slice_str(v->program), NULL, NULL);
	if (v->verbose)
		set_override(c, SLICE_LIT("log_level"), SLICE_LIT("debug"), NULL, NULL);
	for (size_t i = 0; i < v->options; i++) {
		const struct service_option *o = &v->option[i];
		struct line_pieces pieces = {.count = o->pieces.count,
			.piece = mem_dup(
				o->pieces.piece, o->pieces.count * sizeof(*o->pieces.piece))};

		set_override(c, slice_str(o->name), slice_str(o->value), s->path, &pieces);
		set_named(c, slice_str(o->name), o->line, o->column);
	}
	return c;
}

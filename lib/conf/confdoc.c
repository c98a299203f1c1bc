/* SPDX-License-Identifier: ISC */
/*
 * Makes the sample main.cf and gatepost.conf(5) from params.def, at build time.
 * usage: confdoc main.cf | gatepost.conf.5
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "conf/params.h"

static const char *const type_names[] = {[PARAM_STR] = "text",
	[PARAM_RAW] = "text, expanded when it is used",
	[PARAM_BOOL] = "yes or no",
	[PARAM_INT] = "number",
	[PARAM_SIZE] = "bytes",
	[PARAM_TIME] = "time",
	[PARAM_MAPS] = "tables",
	[PARAM_MATCH] = "match list",
	[PARAM_RESTRICT] = "restriction list",
	[PARAM_LIST] = "list",
	[PARAM_ENUM] = "choice",
	[PARAM_FILE] = "file",
	[PARAM_RATE] = "rate"};

static const char *const unsupported[] = {
#define N(name) #name,
#include "conf/postfix_names.def"
#undef N
};

static const char *const restrictions[] = {
#define R(name, argument, is_supported) is_supported ? #name : NULL,
#include "conf/restrictions.def"
#undef R
};

enum { WIDTH = 70 };

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* The sentence; of an ENUM without the choices before it. */
static const char *sentence(const struct param_row *row)
{
	return row->type == PARAM_ENUM ? row->text + strcspn(row->text, " ") + 1 : row->text;
}

static bool is_from_machine(const struct param_row *row)
{
	return strcmp(row->def, "@") == 0;
}

static void sample(void)
{
	puts("# Sample configuration of Gatepost: see gatepost.conf(5) and master.cf(5).\n"
	     "# A line that begins with white space goes on with the one before. After a change:\n"
	     "# gatepost check, then gatepost reload.\n"
	     "\n"
	     "compatibility_level = 3.11\n"
	     "\n"
	     "# Every parameter with its default follows, as a comment.\n");
	for (int i = 0; i < P_COUNT; i++) {
		const struct param_row *row = param_row((enum param)i);

		if (param_is_transport((enum param)i) || i == P_compatibility_level ||
			i == P_service_name || i == P_process_name || i == P_config_directory ||
			row->programs == PROG_NONE || i == P_transport_programs ||
			i == P_mail_version || i == P_stress)
			continue;
		printf("# %s\n#%s =%s%s\n\n", sentence(row), row->name,
			is_from_machine(row) || row->def[0] == '\0' ? "" : " ",
			is_from_machine(row) ? "" : row->def);
	}
}

/* Text as lines of roff: a new one for each sentence, and before a line gets long. */
static void put_text(const char *text)
{
	unsigned column = 0;

	for (; *text != '\0'; text++, column++) {
		bool ends = text[0] == ' ' && column > 0 && text[-1] == '.' &&
			    isupper((unsigned char)text[1]);

		if (text[0] == ' ' && text[1] != '.' &&
			(ends || column + 1 + strcspn(text + 1, " ") > WIDTH)) {
			putchar('\n');
			column = 0;
		} else if (*text == '\\') {
			fputs("\\e", stdout);
			column++;
		} else if (*text == '"') {
			fputs("\\(dq", stdout);
			column += 3;
		} else {
			putchar(*text);
		}
	}
}

static void put_choices(const struct param_row *row)
{
	fputs("Choices:\n", stdout);
	for (const char *p = row->text; *p != ' ';) {
		size_t n = strcspn(p, "| ");
		char end = p[n];

		if (n > 0)
			printf(".Cm %.*s%s\n", (int)n, p, end == ' ' ? " ." : " ,");
		else
			puts("nothing,");
		p += n + (end == '|');
	}
}

static void put_bounds(const struct param_row *row)
{
	if (row->type != PARAM_INT && row->type != PARAM_SIZE && row->type != PARAM_TIME)
		return;
	printf("At least %lld", (long long)row->min);
	if (row->max != INT64_MAX)
		printf(", at most %lld", (long long)row->max);
	puts(row->type == PARAM_TIME ? ", in the unit of the default." : ".");
}

static void put_row(const struct param_row *row)
{
	printf(".It Va %s Pq %s\n", row->name, type_names[row->type]);
	put_text(sentence(row));
	putchar('\n');
	if (row->type == PARAM_ENUM)
		put_choices(row);
	put_bounds(row);
	if (is_from_machine(row))
		puts("The default comes from the machine.");
	else if (row->def[0] == '\0')
		puts("The default is empty.");
	else {
		fputs("Default:\n\\(lq", stdout);
		put_text(row->def);
		puts("\\(rq.");
	}
}

/* In the order of the rows: sentences lean on the ones before. */
static void put_rows(void)
{
	puts(".Sh PARAMETERS\n.Bl -tag -width Ds");
	for (int i = 0; i < P_COUNT; i++) {
		if (param_row((enum param)i)->programs != PROG_NONE)
			put_row(param_row((enum param)i));
	}
	puts(".El");
}

static void put_head(void)
{
	puts(".\\\" SPDX-License-Identifier: ISC\n"
	     ".Dd November 21, 2026\n"
	     ".Dt GATEPOST.CONF 5\n"
	     ".Os\n"
	     ".Sh NAME\n"
	     ".Nm gatepost.conf\n"
	     ".Nd parameters of Gatepost\n"
	     ".Sh DESCRIPTION\n"
	     "Parameters stand in\n"
	     ".Pa main.cf ,\n"
	     "one\n"
	     ".Ql name = value\n"
	     "a line.\n"
	     "A line that begins with white space goes on with the one before.\n"
	     "Empty lines and lines that begin with\n"
	     ".Ql #\n"
	     "are comments, in between too.\n"
	     "Of two settings of one name the last one counts.\n"
	     "A service of\n"
	     ".Xr master.cf 5\n"
	     "can have a value of its own by\n"
	     ".Fl o .\n"
	     "Names, defaults and meaning are those of Postfix 3.12 where it has the\n"
	     "parameter.\n"
	     ".Pp\n"
	     ".Xr gatepost 1\n"
	     ".Cm check\n"
	     "reports every mistake with its place;\n"
	     ".Cm reload\n"
	     "puts a file without mistakes in force.\n"
	     ".Ss Values\n"
	     ".Ql $name ,\n"
	     ".Ql ${name}\n"
	     "and\n"
	     ".Ql $(name)\n"
	     "stand for the value of another parameter, or of a name of your own;\n"
	     ".Ql $$\n"
	     "is the sign itself.\n"
	     ".Ql ${name?text}\n"
	     "is the text when the value is not empty,\n"
	     ".Ql ${name:text}\n"
	     "when it is;\n"
	     ".Ql ${name?{text}:{text}}\n"
	     "has both.\n"
	     ".Ql ${{text} == {text} ? {text} : {text}}\n"
	     "compares, also with != < <= >= and >: as numbers when both sides are,\n"
	     "else as text;\n"
	     "with\n"
	     ".Ql level\n"
	     "behind the operator as versions.\n"
	     ".Pp\n"
	     "A time is a number with\n"
	     ".Cm s , m , h , d\n"
	     "or\n"
	     ".Cm w ;\n"
	     "without one it has the unit of the default.\n"
	     "Items of lists are separated by commas and white space;\n"
	     "what stands in { } is one item.\n"
	     "In match lists\n"
	     ".Ql \\&!\n"
	     "before an item excludes,\n"
	     ".Ql /file\n"
	     "stands for the items in a file, and\n"
	     ".Ql type:name\n"
	     "for the keys of a table, see\n"
	     ".Xr gatepost-tables 5 .\n"
	     ".Pp\n"
	     "A parameter\n"
	     ".Va transport_ Ns Ar something\n"
	     "stands for one of each transport: the transport\n"
	     ".Ql slow\n"
	     "has\n"
	     ".Va slow_destination_rate_delay .");
}

static void put_restrictions(void)
{
	puts(".Sh RESTRICTIONS\nThese may stand in restriction lists; see\n.Xr "
	     "gatepost-restrictions 5 .\n.Bl -bullet -compact");
	for (size_t i = 0; i < COUNT(restrictions); i++) {
		if (restrictions[i] != NULL)
			printf(".It\n.Cm %s\n", restrictions[i]);
	}
	puts(".El");
}

static void put_unsupported(void)
{
	puts(".Sh NOT SUPPORTED\n"
	     "These parameters have no effect, and\n"
	     ".Ql gatepost check\n"
	     "says so.\n"
	     ".Bl -bullet -compact");
	for (int i = 0; i < P_COUNT; i++) {
		if (param_row((enum param)i)->programs == PROG_NONE)
			printf(".It\n.Va %s\n", param_row((enum param)i)->name);
	}
	for (size_t i = 0; i < COUNT(unsupported); i++)
		printf(".It\n.Va %s\n", unsupported[i]);
	puts(".El\n"
	     ".Sh SEE ALSO\n"
	     ".Xr gateconf 1 ,\n"
	     ".Xr gatepost 1 ,\n"
	     ".Xr gatepost-tables 5 ,\n"
	     ".Xr master.cf 5");
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "main.cf") == 0) {
		sample();
	} else if (argc == 2 && strcmp(argv[1], "gatepost.conf.5") == 0) {
		put_head();
		put_rows();
		put_restrictions();
		put_unsupported();
	} else {
		fputs("usage: confdoc main.cf | gatepost.conf.5\n", stderr);
		return 1;
	}
	return ferror(stdout) != 0 || fflush(stdout) != 0;
}

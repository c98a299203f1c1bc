/* SPDX-License-Identifier: ISC */
#include "mail/template.h"

#include "t/tap.h"
#include "util/err.h"

static struct buf told = BUF_INIT(8192);

static void tell(
	enum template_grade grade, unsigned line, unsigned column, const char *text, void *arg)
{
	(void)arg;
	buf_add_fmt(&told, "%s%u:%u: %s|", grade == TEMPLATE_WARNING ? "warning " : "", line,
		column, text);
}

static struct conf *settings(void)
{
	struct conf *c = conf_new("/etc/x");
	struct mistakes m;

	mistakes_init(&m);
	set_read_text(c, "main.cf",
		SLICE_LIT("myhostname = mx.example\nmydomain = example\ndelay_warning_time = 30m\n"
			  "maximal_queue_lifetime = 2d\nmine = of $mydomain\n"),
		&m);
	is_int(set_build(c, &m), 0, "settings");
	mistakes_clear(&m);
	return c;
}

#define HEADERS "Charset: utf-8\nFrom: a <b@c>\nSubject: s: t\nPostmaster-Subject: p\n"

static const struct {
	const char *file, *text,
		*told; /* text: of the failure template, expanded; NULL: built in */
} rows[] = {
	{"", NULL, ""},
	{"# nothing\n  \t\n\n #x\n", NULL, ""},
	{"failure_template = <<EOF\n" HEADERS "\nat $myhostname\n\n  $$5\nEOF\n",
		"at mx.example\n\n  $5\n", ""},
	{"failure_template=<<END\nonly text\nEND", "only text\n", ""},
	{"failure_template = <<E\n\nSubject: no header\nE\n", "Subject: no header\n", ""},
	{"failure_template = <<E\nsubject: x\nE\n", "", ""},
	{"failure_template = one line\n", "one line\n", ""},
	{"failure_template = <<E\nE\n", "", ""},
	{"failure_template = <<E\n\n E\nE \n\\n\nE\n", " E\nE \n\\n\n", ""},
	{"failure_template = <<E\nCharset: utf-8\n\n\xc3\xa9\nE\n", "\xc3\xa9\n", ""},
	{"failure_template = <<E\n\n${mydomain?{y}:{n}} $(mine) ${nosuch:none}\nE\n",
		"y of example none\n", "3:31: \"$nosuch\" is not defined; expected a parameter|"},
	{"failure_template = <<E\n\n$maximal_queue_lifetime_seconds "
	 "$maximal_queue_lifetime_minutes ${maximal_queue_lifetime_hours} "
	 "$maximal_queue_lifetime_days $maximal_queue_lifetime_weeks\n"
	 "$maximal_queue_lifetime $delay_warning_time_minutes\nE\n",
		"172800 2880 48 2 0\n2d 30\n",
		"warning 3:127: \"$maximal_queue_lifetime_weeks\" is 0; expected a smaller unit|"},
	{"failure_template = <<E\n\n$delay_warning_time_years\nE\n", "\n",
		"3:2: \"$delay_warning_time_years\" is not defined; expected a parameter|"},
	/* mistakes */
	{"failure_template\n", NULL,
		"1:1: no name of a template; expected NAME_template = <<WORD|"},
	{"= <<E\nE\n", NULL,
		"1:1: no name of a template; expected NAME_template = <<WORD|"
		"2:1: no name of a template; expected NAME_template = <<WORD|"},
	{"\n failure_template = <<\n", NULL,
		"2:21: no word behind \"<<\"; expected the line that ends the template|"},
	{"failure_template = << END\ntext\nEND of it\n", NULL,
		"1:23: no line \"END\" below; expected it at the end of the template|"},
	{"failed_template = <<E\nfailure_template = x\nE\n# y\n", NULL,
		"1:1: unknown template \"failed_template\"; expected failure_template, "
		"delay_template, success_template or verify_template|"},
	{"failure_template = a\nfailure_template = b\n", "a\n",
		"2:1: \"failure_template\" is there before; expected one|"},
	{"failure_template = <<E\nFrom: a\nX-Y: b\n\nt\nE\n", NULL,
		"3:1: \"X-Y\" is no header of a template; expected Charset, From, Subject or "
		"Postmaster-Subject|"},
	{"failure_template = <<E\nFrom:\nSubject: \xc3\xa9\nCharset: a b\nE\n", NULL,
		"2:1: \"From\" has no value; expected one|"
		"3:1: \"Subject\" has bytes outside of ASCII; expected printable ASCII|"
		"4:1: \"Charset\" is no character set; expected a name such as utf-8|"},
	{"failure_template = <<E\nSubject: s\n\na\nb \xc3\xa9\nE\n", NULL,
		"5:3: byte outside of ASCII; expected a Charset: header that names the character "
		"set|"},
	{"failure_template = <<E\n\na\rb\nE\n", NULL, "3:2: control character; expected text|"},
	{"failure_template = <<E\n\na\n$mydomain ${myhostname\nE\n", NULL,
		"4:1: a \"${\" without its \"}\"; expected ${name}|"},
	{"failure_template = <<E\n\n5 $ or 6\nE\n", NULL,
		"3:1: no name behind \"$\"; expected a name, or \"$$\" for the sign itself|"},
};

static void test_row(const struct conf *c, size_t i)
{
	struct templates *t = templates_new();
	struct buf out = BUF_INIT(8192), usual = BUF_INIT(8192);
	const struct template *f = templates_get(t, TEMPLATE_FAILURE);

	buf_reset(&told);
	is_int(template_expand(f, c, NULL, NULL, &usual), 0, "row %zu: the built-in text", i);
	templates_parse(t, slice_str(rows[i].file), tell, NULL);
	if (template_expand(f, c, tell, NULL, &out) != 0) {
		is_int(out.len, 0, "nothing comes of a mistake");
		templates_drop(t, TEMPLATE_FAILURE);
		is_int(template_expand(f, c, NULL, NULL, &out), 0, "built in again");
	}
	is_str(buf_str(&out), rows[i].text != NULL ? rows[i].text : buf_str(&usual), "its text");
	is_str(buf_str(&told), rows[i].told, "its mistakes");
	templates_free(&t);
	buf_clear(&out);
	buf_clear(&usual);
}

int main(void)
{
	struct conf *c = settings();
	struct templates *t = templates_new(), *again = templates_new();
	const struct template *f;
	struct buf file = BUF_INIT(65536), twice = BUF_INIT(65536);

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		test_row(c, i);
	buf_reset(&told);
	templates_parse(
		t, SLICE_LIT("failure_template = <<EOF\n" HEADERS "\ntext\nEOF\n"), tell, NULL);
	f = templates_get(t, TEMPLATE_FAILURE);
	is_str(f->charset, "utf-8", "Charset:");
	is_str(f->from, "a <b@c>", "From:");
	is_str(f->subject, "s: t", "Subject:");
	is_str(f->copy_subject, "p", "Postmaster-Subject:");
	ok(templates_get(t, TEMPLATE_SUCCESS)->copy_subject == NULL, "which not all have");
	/* What is printed can be read. */
	for (int i = 0; i < TEMPLATES; i++)
		template_print(
			templates_get(t, (enum template_kind)i), (enum template_kind)i, &file);
	templates_parse(again, buf_slice(&file), tell, NULL);
	for (int i = 0; i < TEMPLATES; i++)
		template_print(
			templates_get(again, (enum template_kind)i), (enum template_kind)i, &twice);
	is_str(buf_str(&twice), buf_str(&file), "printed, read, and printed again");
	is_str(buf_str(&told), "", "without a mistake");
	templates_free(&t);
	templates_free(&again);
	ok(t == NULL, "freed");
	conf_free(&c);
	buf_clear(&file);
	buf_clear(&twice);
	buf_clear(&told);
	return done_testing();
}

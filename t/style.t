#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# What the conventions leave to a test: who may include whom, who owns which library, functions that
# are not used, licence lines, the format of the code and of the manual pages. Each rule is first
# shown something bad, so that a rule that sees nothing fails as well.
use strict;
use warnings;
use File::Find;
use File::Temp qw(tempdir);
use Test::More;

my $top = $ENV{GP_SRC} // '.';
chdir $top or BAIL_OUT("$top: $!");

# Rows of the layout: a file includes from its own folder and from rows above.
my @ROWS = (
    [qw(lib/util)], [qw(lib/net)], [qw(lib/ipc lib/priv lib/conf)], [qw(lib/tls lib/map lib/dns)],
    [qw(lib/mail)], [qw(lib/smtp lib/mime lib/queue lib/sasl)], [qw(lib/route)], [qw(lib/policy)],
    [qw(lib/server)],
    [qw(master smtpd cleanup qmgr smtp-client local vault tally resolver monitor)],
    [qw(tools)], [qw(t bench)],
);
my @PROGRAMS = @{ $ROWS[9] };
my %row;
for my $i (0 .. $#ROWS) { $row{$_} = $i for @{ $ROWS[$i] } }

# Headers of a library and the only folders that may see them.
my @OWNED = (
    [qr{^(?:event2/|event\.h)},       'libevent',    qw(lib/net)],
    [qr{^openssl/},                   'OpenSSL',     qw(lib/tls lib/sasl vault bench)],
    [qr{^stringprep\.h$},            'libidn',    qw(lib/sasl)],
    [qr{^(?:db\.h|lmdb\.h|pcre2)},    'the table libraries', qw(lib/map)],
    [qr{^ldns/},                      'ldns',        qw(lib/dns resolver)],
    [qr{^seccomp\.h},                 'libseccomp',  qw(lib/priv)],
);
my $UNUSED = qr/strcpy|strcat|strncpy|v?sprintf|strtok|strtok_r|atoi|strtol/;
my $ALLOC  = qr/malloc|calloc|realloc|reallocarray|recallocarray|free|strn?dup|v?asprintf/;

sub folder_of {
    my ($path) = @_;
    return $path =~ m{^(lib/[^/]+|[^/]+)/} ? $1 : '';
}

# The code without comments and the insides of literals; line numbers stay.
sub code_of {
    my ($text) = @_;
    $text =~ s{(/\*.*?\*/|//[^\n]*)|"((?:\\.|[^"\\\n])*)"|'((?:\\.|[^'\\\n])*)'}
              {defined $1 ? "\n" x ($1 =~ tr/\n//) : defined $2 ? '""' : "' '"}gse;
    return $text;
}

sub each_line {
    my ($text, $check) = @_;
    my ($n, @found) = (0);
    for my $line (split /\n/, $text, -1) {
        $n++;
        push @found, map { [$n, $_] } $check->($line);
    }
    return @found;
}

# Where an included project header lies, or undef: headers of lib/ are named without it.
sub header_of {
    my ($name) = @_;
    my $folder = folder_of($name);
    return $name if $name eq 'config.h';
    return "lib/$name" if exists $row{"lib/$folder"};
    return $folder !~ m{^lib/} && exists $row{$folder} ? $name : undef;
}

sub check_include {
    my ($path, $line) = @_;
    my $own = folder_of($path);
    return unless $line =~ /^\s*#\s*include\s*([<"])([^>"]+)[>"]/;
    my ($how, $name) = ($1, $2);
    if ($how eq '<') {
        return "<$name> belongs to this project: use quotes"
            if -e(header_of($name) // '');
        return map {
            my ($re, $what, @may) = @$_;
            $name =~ $re && !grep({ $_ eq $own } @may) ? "<$name>: $what is for @may only" : ();
        } @OWNED;
    }
    my $header = header_of($name)
        or return qq("$name" does not name its folder as in "util/buf.h");
    my $its = folder_of($header);
    return if $its eq '' || $its eq $own;
    return "$header: $own may not include from a row below"
        if $row{$its} > ($row{$own} // $#ROWS);
    return "$header: $own may not include from the same row" if $row{$its} == $row{$own};
    return "$header: tools may not include from a program"
        if $own eq 'tools' && grep { $_ eq $its } @PROGRAMS;
    return;
}

sub check_includes {
    my ($path, $text) = @_;
    return each_line($text, sub { check_include($path, $_[0]) });
}

# A field or pointer named like a function (table->free(x)) is none of the C library's.
sub check_functions {
    my ($path, $text) = @_;
    my $may_alloc = $path eq 'lib/util/mem.c';
    return each_line(code_of($text), sub {
        my ($line) = @_;
        my @found;
        while ($line =~ /(?<![\w.])(?<!->)($UNUSED|$ALLOC)\s*\(/g) {
            my $name = $1;
            next if $may_alloc && $name =~ /^$ALLOC$/;
            push @found, "$name() is not used here";
        }
        push @found, 'free as a value is not used here'
            if !$may_alloc && $line =~ /[,(=]\s*&?free\s*[,);}]/;
        return @found;
    });
}

sub check_licence {
    my ($path, $text) = @_;
    my @head = (split /\n/, $text, 4)[0 .. 2];
    return grep({ defined && /SPDX-License-Identifier: \S/ } @head) ? () : [1, 'no SPDX line'];
}

# Lines that hold code: no blank ones, no comments.
sub count_code {
    my ($text) = @_;
    return scalar grep {/\S/} split /\n/, code_of($text);
}

# Code that runs as root (DESIGN 7): a folder or files, and what they stay below.
my @ROOT_CODE = (
    ['master', 1500, 'master/*.c'],
    ['local', 400, map {"local/$_.c"} qw(main spawner child become target_local)],
    ['virtual', 400, map {"local/$_.c"} qw(main spawner child become target_virtual)],
);

sub slurp {
    my ($path) = @_;
    open my $fh, '<:raw', $path or return '';
    local $/;
    return scalar <$fh> // '';
}

sub report {
    my ($rule, $files, $check) = @_;
    my @bad = map {
        my $path = $_;
        map { "$path:$_->[0]: $_->[1]" } $check->($path, slurp($path));
    } @$files;
    ok(!@bad, "$rule (" . @$files . ' files)') or diag(join "\n", @bad);
}

# A tool's own words, with file and line in front.
sub tool_says {
    my ($command, $ignore, @files) = @_;
    my @out;
    while (my @some = splice @files, 0, 100) {
        my $pid = open my $fh, '-|';
        defined $pid or BAIL_OUT("fork: $!");
        if (!$pid) {
            open STDERR, '>&', \*STDOUT;
            exec @$command, @some or do { print "$command->[0]: $!\n"; exit 127 };
        }
        push @out, grep { !/$ignore/ } <$fh>;
        close $fh;
    }
    chomp @out;
    return @out;
}

sub format_says {
    return grep { /: (?:error|warning):|^clang-format/ }
        tool_says(['clang-format', '--style=file', '--dry-run', '--Werror'], qr/^$/, @_);
}

sub mandoc_says {
    # Pages of other packages, and an index that is older than they are, are not looked at.
    local $ENV{MANPATH} = tempdir(CLEANUP => 1);
    return tool_says([qw(mandoc -Tlint -W style)], qr/referenced manual not found/, @_);
}

my (@c, @man, @sources);
find({ no_chdir => 1, wanted => sub {
    (my $path = $_) =~ s{^\./}{};
    if (-d && ($path =~ m{^(?:_?build[^/]*|_inst|autom4te\.cache|gatepost-[\d.]+)$} || $path =~ m{(?:^|/)\.[^/.]})) {
        $File::Find::prune = 1;
        return;
    }
    return if !-f || -l;
    push @c, $path if $path =~ /\.(?:c|h|def)$/ && defined $row{ folder_of($path) };
    push @man, $path if $path =~ m{^man/[^/]+\.[1578]$};
    my $first = -B ? '' : slurp($path);
    push @sources, $path
        if $path =~ m{\.(?:c|h|def|pm|pl|t|mk|sh|[1578])$|(?:^|/)(?:Makefile\.am|configure\.ac)$}
        || $first =~ /^#!/ && $path !~ m{^(?:configure|config\.status|build-aux/)};
} }, '.');
@sources = grep { !m{^(?:build-aux|m4)/|^(?:configure|config\.\w+)~?$|/fuzz/corpus/} } @sources;

# Each rule sees what it is there for.
my @bad_includes = (
    ['lib/util/a.c',  '#include "net/loop.h"'],
    ['lib/ipc/a.c',   '#include "conf/conf.h"'],
    ['lib/queue/a.h', '#include "policy/x.h"'],
    ['lib/smtp/a.c',  '#include "queue/id.h"'],
    ['lib/server/a.c', '#include "smtpd/x.h"'],
    ['smtpd/a.c',     '#include "qmgr/x.h"'],
    ['tools/a.c',     '#include "qmgr/x.h"'],
    ['smtpd/a.c',     '#include "t/tap.h"'],
    ['smtpd/a.c',     '#include "session.h"'],
    ['smtpd/a.c',     '# include "lib/util/buf.h"'],
    ['smtpd/a.c',     '#include <util/buf.h>'],
    ['smtpd/a.c',     '#include <event2/event.h>'],
    ['lib/util/a.c',  '#include <openssl/evp.h>'],
    ['lib/conf/a.c',  '#include <pcre2.h>'],
    ['t/map/a.c',     '#include <db.h>'],
    ['lib/net/a.c',   '#include <ldns/ldns.h>'],
);
is(scalar(() = check_includes(@$_)), 1, "seen: $_->[0] $_->[1]") for @bad_includes;
my @good_includes = (
    ['lib/util/a.c', '#include "util/buf.h"'],
    ['lib/util/a.c', '#include <stdio.h>'],
    ['smtpd/a.c',    '#include "server/x.h"'],
    ['smtpd/a.c',    '#include "smtpd/x.h"'],
    ['lib/net/a.c',  '#include <event2/event.h>'],
    ['vault/a.c',    '#include <openssl/evp.h>'],
    ['t/smtpd/a.c',  '#include "smtpd/x.h"'],
    ['lib/dns/a.c',  '#include "config.h"'],
);
is(scalar(() = check_includes(@$_)), 0, "judged: $_->[0] $_->[1]") for @good_includes;
my @functions = (
    ['strcpy(a, b);',                 1],
    ["x;\n\n\tif (atoi (s) > 0)",     1, 3],
    ['sprintf(a, "malloc(1)");',      1],
    ['p = malloc(1);',                1],
    ['free(p); free(q);',             2],
    ['d = dict_new(10, free);',       1],
    ['snprintf(a, 3, "strcpy(");',    0],
    ["/* strcpy(a)\n free(b) */ x",   0],
    ['table->free(t); t.free(t);',    0],
    ['X509_free(x); mem_free(p);',    0],
    ['strtoll_x(); my_atoi(1);',      0],
    ["c = '\"'; strcat(a, b); // \"", 1],
);
for (@functions) {
    my @found = check_functions('smtpd/a.c', $_->[0]);
    is(scalar @found, $_->[1], 'functions in: ' . $_->[0] =~ s/\s+/ /gr);
    is($found[0][0], $_->[2], 'its line') if $_->[2];
}
is(scalar(() = check_functions('lib/util/mem.c', 'free(p); strcpy(a, b);')), 1, 'mem.c may free');
is(scalar(() = check_licence('a.c', "#include <a>\n\n\n/* SPDX-License-Identifier: ISC */\n")), 1,
    'an SPDX line comes too late');
is(scalar(() = check_licence('a.c', "#!/bin/sh\n# SPDX-License-Identifier: ISC\n")), 0, 'or in time');

my $dir = tempdir(CLEANUP => 1);

sub put {
    my ($name, $text) = @_;
    open my $fh, '>', "$dir/$name" or BAIL_OUT("$dir/$name: $!");
    print $fh $text;
    close $fh;
    return "$dir/$name";
}
put('.clang-format', slurp('.clang-format'));
like((format_says(put('a.c', "int a;\nint  b;\n")))[0] // '', qr{a\.c:2:}, 'bad format is seen');
like((mandoc_says(put('a.8', ".Dd November 21, 2026\n.Dt A 8\n.Os\n.Sh NAME\n.Xx\n")))[0] // '',
    qr{a\.8:\d+:}, 'a bad page is seen');
like(`clang-format --version`, qr/version 14\./, 'clang-format 14, whose output is the format');

# The tree.
cmp_ok(scalar @c, '>', 20, 'the sources are found');
report('includes follow the layout', \@c, \&check_includes);
report('functions that are not used', \@c, \&check_functions);
report('each source has its SPDX line', \@sources, \&check_licence);
is(count_code("/* a\n * b */\n\nint a; /* c */\n// d\n\n\tb = \"/*\";\n/* */ c;\n"), 3, 'code is counted');
for (@ROOT_CODE) {
    my ($name, $limit, @patterns) = @$_;
    my ($lines, @files) = (0, map {glob} @patterns);
    $lines += count_code(slurp($_)) for @files;
    ok(@files >= @patterns && $lines > 50 && $lines < $limit, "code of $name that runs as root: $lines lines of $limit")
        or diag("@files");
}
my @unformatted = format_says(grep { /\.[ch]$/ } @c);
ok(!@unformatted, 'clang-format changes nothing') or diag(join "\n", @unformatted);
my @lint = mandoc_says(@man);
ok(!@lint, 'mandoc -Tlint -W style (' . @man . ' pages)') or diag(join "\n", @lint);
done_testing();

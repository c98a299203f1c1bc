#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# What every command and daemon has in common: --help, --version, -c, long options, exit codes; and
# that each has a page which knows the options that --help names.
use strict;
use warnings;
use Gatepost::Kit;
use Test::More;

my ($version) = slurp(build() . '/config.h') =~ /define PACKAGE_STRING "(.*)"/;
my $dir = tempdir('commands');
spew("$dir/main.cf", "queue_directory = $dir/queue\n");

# Standard output alone, and the status.
sub out_of {
    my $command = join ' ', map {"'$_'"} @_;
    my $out = `$command 2>/dev/null </dev/null`;
    return ($? >> 8, $out);
}

sub page { my ($path) = glob(src() . "/man/$_[0].[18]"); return $path ? slurp($path) : '' }

# "-q", "--query": as a reader finds them, in the text of the page and in that of --help.
sub options_of_page {
    my ($page) = glob(src() . "/man/$_[0].1");
    open my $text, '-|', 'mandoc', '-Tascii', $page or die "mandoc: $!";
    local $/;
    return options_of_help(<$text> =~ s/.\x08//gr);
}

sub options_of_help {
    my ($text) = @_;
    return $text =~ /(?<![\w$=-])(--[a-z][\w-]*|-[A-Za-z#])(?=[^\w]|[a-zA-Z]*\b)/g;
}

# By Postfix's names.
my @links = (['gatemap', 'postmap'], ['gatemap', 'postalias'], ['gateconf', 'postconf'], ['gateq', 'postqueue'],
    ['gateq', 'postsuper'], ['gateq', 'postcat'], ['gateq', 'qshape'], ['sendmail', 'mailq'], ['sendmail', 'newaliases']);
for (@links) {
    my ($program, $name) = @$_;
    symlink build() . "/sbin/$program", "$dir/$name" or die "$name: $!";
    is_deeply([out_of("$dir/$name", '--version')], [0, "$version\n"], "$name --version");
    is((out_of("$dir/$name", '--help'))[0], 0, "$name --help");
}

for my $name (qw(gatepost gatemap gateconf gateq sendmail)) {
    my $path = build() . "/sbin/$name";
    is_deeply([out_of($path, '--version')], [0, "$version\n"], "$name --version");
    my ($status, $help) = out_of($path, '--help');
    is($status, 0, "$name --help");
    like($help, qr/\Ausage: $name /, "$name --help goes to standard output");
    my ($wrong, $said) = run_out($path, '--no-such-option');
    is($wrong, $name eq 'sendmail' ? 64 : 1, "$name with a wrong option");
    like($said, qr/usage|--help/, 'says how it is used');
    my %of_page = map { $_ => 1 } options_of_page($name);
    # gateq(1) has those of its other names, too.
    $help .= (out_of("$dir/$_", '--help'))[1] for $name eq 'gateq' ? qw(postqueue postsuper postcat qshape) : ();
    my %of_help = map { $_ => 1 } options_of_help($help);
    is(join(' ', grep { !$of_page{$_} } sort keys %of_help), '', "$name(1) has the options of --help");
    is(join(' ', grep { !$of_help{$_} } sort keys %of_page), '', '--help has those of the page');
}

# Without a configuration each says so; -c and --config are one.
my %needs = (gatepost => ['check'], gatemap => ['-q', 'a', 'hash:/nonexistent/t'],
    gateq => ['list'], gateconf => ['myhostname']);
for my $name (sort keys %needs) {
    my @by = map { [run_out(build() . "/sbin/$name", @$_, @{ $needs{$name} })] }
        ['-c', "$dir/none"], ['--config', "$dir/none"];
    is($by[0][0], 1, "$name -c with a directory that is not there")
        or diag $by[0][1];
    isnt($by[0][1], '', 'says why');
    is_deeply($by[1], $by[0], "$name --config is the same");
    local $ENV{MAIL_CONFIG} = "$dir/none";
    is_deeply([run_out(build() . "/sbin/$name", @{ $needs{$name} })], $by[0], "so is MAIL_CONFIG");
}

for my $name (qw(master smtpd cleanup qmgr smtp-client local virtual resolver tally nss)) {
    my $path = build() . "/libexec/$name";
    is_deeply([out_of($path, '--version')], [0, "$version\n"], "$name --version");
    my ($status, $help) = out_of($path, '--help');
    is($status, 0, "$name --help");
    like($help, qr/gatepost\(1\)/, 'which says what starts it');
    is((run_out($path))[0], 1, "$name alone does not run") if $name ne 'master';
    like(page($name), qr/^\.Dt \U$name\E 8$/m, "$name(8)");
}
ok(-e src() . "/man/$_" || -e build() . "/man/$_", "the page $_")
    for qw(gatepost.conf.5 master.cf.5 gatepost-tables.5 gatepost-queue.5 gatepost-ipc.5 gatepost.7);
done_testing;

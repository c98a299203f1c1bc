#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Each class of mistake in a table that is read as it stands: said with file and line by gatemap, and by
# gatepost check for a table that main.cf names. Sources of hash and btree, and alias syntax, are in
# gatemap.t.
use strict;
use warnings;
use Gatepost::Kit;
use Test::More;

my $dir = tempdir('mistakes');
my $file = "$dir/table";
my $long = 'k' x 70000;
# Types, what stands in line 3, what is said of it.
my @rows = (
    ['cidr', '10.0.0.0/33 x',       'bad network length in "10.0.0.0/33"; expected a number from 0 to 32'],
    ['cidr', '10.0.0.1/8 x',        'non-null host address bits in "10.0.0.1/8"; expected 10.0.0.0/8'],
    ['cidr', '10.0.0.300 x',        'bad address "10.0.0.300"; expected an IPv4 or IPv6 address or network'],
    ['cidr', 'if nonsense',         'bad address "nonsense"; expected an IPv4 or IPv6 address or network'],
    ['cidr', '10.0.0.0/8',          'no result; expected "NETWORK RESULT"'],
    ['cidr pcre regexp', 'endif',   'endif without if; expected an if before it'],
    ['cidr', 'if 10.0.0.0/8',       'if without endif; expected one behind it'],
    ['pcre regexp', 'if /x/',       'if without endif; expected one behind it'],
    ['pcre', '/a(/ x',              'error in the pattern at offset 2: missing closing parenthesis'],
    ['regexp', '/a(/ x',            qr/error in the pattern: /],
    ['pcre regexp', 'if /(/',       qr/error in the pattern/],
    ['pcre regexp', '/a/',          'no result; expected "/PATTERN/FLAGS RESULT"'],
    ['pcre regexp', 'a/ x',         'no pattern in "a/ x"; expected /PATTERN/FLAGS RESULT'],
    ['pcre regexp', '/a x',         'pattern "/a x" does not end; expected another \'/\''],
    ['pcre', '/a/zz x',             'unknown flag "zz"; expected i, m, s, x, A, E, U or X'],
    ['regexp', '/a/zz x',           'unknown flag "zz"; expected i, m or x'],
    ['pcre regexp', '/a/ $9',       'no group $9 in the pattern; it has 0'],
    ['pcre regexp', '/(k)/ $(1',    'bad "$(1" in the result; expected $NUMBER or $$'],
    ['pcre regexp', '!/(x)/ $1',    '$1 behind a negated pattern; expected no $'],
    ['texthash', 'k',               'no value for "k"; expected "KEY VALUE"'],
    ['texthash', 'first other',     '"first": key was given before, with another value'],
    ['texthash', $long,             qr/line too long; expected at most \d+ bytes/],
);
my %good = (cidr => '192.0.2.0/24 OK', pcre => '/^first$/ OK', regexp => '/^first$/ OK', texthash => 'first OK');
for my $row (@rows) {
    my ($types, $line, $want) = @$row;
    for my $type (split ' ', $types) {
        spew($file, "# comment\n$good{$type}\n$line\n");
        my ($status, $out) = run_out(build() . '/sbin/postmap', '-q', '192.0.2.1', "$type:$file");
        my $said = ref $want ? $want : qr/\Q$want\E$/m;
        is($status, 1, "$type: @{[substr $line, 0, 30]}");
        like($out, qr/^postmap: (?:fatal|warning): \Q$file\E:3: $said/m, 'file, line, what is wrong');
        spew("$dir/main.cf", "compatibility_level = 3.6\nqueue_directory = $dir/q\ntransport_maps = $type:$file\n"
                . 'daemon_directory = ' . build() . "/libexec\n");
        spew("$dir/master.cf", "2525 inet n - n - - smtpd\n");
        ($status, $out) = run_out(build() . '/sbin/gatepost', '-c', $dir, 'check');
        is($status, 1, 'gatepost check');
        like($out, qr/\Q$file\E:3:.*$said/, 'says the same');
    }
}
spew($file, "10.0.0.0/33 x\n10.0.0.0/8 OK\nendif\n");
is((run_out(build() . '/sbin/postmap', '-q', '10.1.1.1', "cidr:$file"))[1],
    qq(postmap: warning: $file:1: bad network length in "10.0.0.0/33"; expected a number from 0 to 32\n)
        . "postmap: fatal: $file:3: endif without if; expected an if before it\n", 'two mistakes are two lines');
# What comes before everything else.
for my $type (sort keys %good) {
    spew($file, "  $good{$type}\n");
    my ($status, $out) = run_out(build() . '/sbin/postmap', '-q', '192.0.2.1', "$type:$file");
    like($out, qr/^postmap: fatal: \Q$file\E:1: line begins with a blank, but continues nothing; expected a key$/m,
        "$type: a first line that continues nothing");
}
done_testing;

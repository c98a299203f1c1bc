#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Tables go both ways between Gatepost and Postfix from Debian's package: each reads what the other
# built, and both say the same about a source with mistakes.
use strict;
use warnings;
use Gatepost::Kit;
use Gatepost::Peers;
use Test::More;

my $dir  = tempdir('tables');
my $root = Gatepost::Peers::root_of('postfix');
spew("$dir/main.cf", "compatibility_level = 3.6\n");
spew("$dir/master.cf", '');

# /tmp is the same in the peer's root.
sub theirs { my $program = shift; run_out('chroot', $root, $program, '-c', $dir, @_) }
sub ours { my $program = shift; run_out(build() . "/sbin/$program", @_) }

my @n = 1 .. 2000;
for my $type (qw(hash btree)) {
    spew("$dir/$_$type", join '', map {"key$_\@example.com value $_\n"} @n) for qw(their our);
    is((theirs('postmap', "$type:$dir/their$type"))[0], 0, "$type: Postfix builds");
    is((ours('postmap', "$type:$dir/our$type"))[0],     0, "$type: Gatepost builds");
    for my $who (qw(their our)) {
        my @lists = map { join "\n", sort split /\n/, (&$_('postmap', '-s', "$type:$dir/$who$type"))[1] }
            \&theirs, \&ours;
        is($lists[0], $lists[1], "$type, $who table: both see the same entries");
        is(scalar(split /\n/, $lists[0]), scalar @n, 'all of them');
        for my $read (\&theirs, \&ours) {
            is((&$read('postmap', '-q', 'KEY77@example.com', "$type:$dir/$who$type"))[1], "value 77\n", 'a key');
            is((&$read('postmap', '-q', 'nobody', "$type:$dir/$who$type"))[0], 1, 'no key');
        }
    }
}

my %bad = (
    postmap => "a 1\na 2\nb\nc: d\n x y\ne  f  g\n",
    postalias => "root: a, b\n\"x y\": z\nbad\nu\@d: x\nlast: one,\n\ttwo\n",
);
for my $program (sort keys %bad) {
    my @said;
    for my $who (\&theirs, \&ours) {
        spew("$dir/bad", $bad{$program});
        my ($status, $out) = &$who($program, "hash:$dir/bad");
        my ($listed, $list) = &$who($program, '-s', "hash:$dir/bad");
        # Sendmail's and NIS's signatures are Postfix's alone.
        push @said, join "\n", $status, $out, $listed, grep { !/^(?:@|YP_)/ } sort split /\n/, $list;
    }
    is($said[1], $said[0], "$program: the same warnings, status and entries");
}
done_testing;
